//! A node as a process.

use std::env;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::layout::Place;
use crate::cargo;

/// A node that was started; killed when dropped, should it still run.
pub(crate) struct Node {
    pub(crate) place: Place,
    child: Child,
    end: Option<ExitStatus>,
}

impl Node {
    /// Starts a node whose output goes to its log.
    pub(crate) fn start(binary: &Path, place: &Place) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["serve", "--config", &place.config()]);
        for (name, _) in env::vars_os() {
            if name.to_string_lossy().starts_with("RAFT_") {
                command.env_remove(name); // It would override the written configuration.
            }
        }
        Self::spawn(command, place)
    }

    /// Starts any server in the root of the workspace; its output goes to its log.
    pub(crate) fn spawn(mut command: Command, place: &Place) -> Result<Self> {
        let path = cargo::root().join(place.log());
        let log = File::options().create(true).append(true).open(&path);
        let log = log.with_context(|| format!("cannot write {}", path.display()))?;
        command
            .current_dir(cargo::root())
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("cannot write a log twice")?)
            .stderr(log)
            // Ctrl-C goes to the terminal's foreground group; the nodes hear of it
            // from here, once, and not also from the terminal.
            .process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program}"))?;
        Ok(Self { place: *place, child, end: None })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether the end of the process has not been noticed by [`Self::ended`].
    pub(crate) const fn is_running(&self) -> bool {
        self.end.is_none()
    }

    /// How the process ended, told once.
    pub(crate) fn ended(&mut self) -> Option<String> {
        if self.end.is_some() {
            return None;
        }
        self.end = self.child.try_wait().ok().flatten();
        self.end.map(|status| status.to_string())
    }

    pub(crate) fn ask_to_stop(&self) {
        if self.is_running() {
            // It may have ended a moment ago; that is as good.
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        }
    }

    pub(crate) fn kill(&mut self) {
        if self.child.kill().is_ok() {
            self.end = self.child.wait().ok();
        }
    }

    pub(crate) fn last_log_lines(&self, count: usize) -> Vec<String> {
        let text = fs::read(cargo::root().join(self.place.log())).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(count)..].iter().map(ToString::to_string).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.is_running() {
            self.kill();
        }
    }
}

/// A program as people type it in the root of the workspace.
pub(crate) fn shown(binary: &Path) -> String {
    let below = binary.strip_prefix(cargo::root()).unwrap_or(binary);
    below.display().to_string()
}
