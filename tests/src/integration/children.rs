//! The processes this one has started, so that none outlives it, however it ends.

use std::process::Child;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Those that have not been waited for: their ids cannot belong to anybody else.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// From now on, a signal that ends this process ends its children first.
pub(super) fn end_with_this_process() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot wait for signals")?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for pid in RUNNING.lock().expect("no holder panics").iter() {
                // One that has just ended by itself needs no signal.
                let _ = kill_process(*pid, Signal::KILL);
            }
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

pub(super) fn add(child: &Child) {
    RUNNING.lock().expect("no holder panics").push(Pid::from_child(child));
}

/// To be called right after a child was waited for.
pub(super) fn remove(child: &Child) {
    let pid = Pid::from_child(child);
    RUNNING.lock().expect("no holder panics").retain(|running| *running != pid);
}
