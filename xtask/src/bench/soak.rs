//! Our cluster at full speed for long.

mod verdict;

use std::fs;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use super::generator::{Load, Row};
use super::sampler::Sampler;
use super::servers::{Make, Servers};
use super::table::{mib, number};
use super::{Stop, at_least};
use crate::arguments::Arguments;
use crate::cargo;
use verdict::{Disk, Minute, verdicts};

/// How often the folders are looked into.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long and how hard.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    minutes: usize,
    clients: usize,
}

impl Options {
    pub(crate) fn of(arguments: &mut Arguments) -> Result<Self> {
        Ok(Self {
            // The third minute is compared with the last one.
            minutes: usize::try_from(at_least(arguments, "--minutes", 10, 4)?)?,
            clients: usize::try_from(at_least(arguments, "--clients", 256, 1)?)?,
        })
    }
}

/// Measures, prints every minute, and fails where something grows.
pub(crate) fn run(options: &Options, stop: &Stop) -> Result<()> {
    eprintln!("building raft-node ...");
    let binary = cargo::build_node()?;
    let mut servers = Servers::start(Make::Raft, &binary, stop)?;
    let (endpoints, term) = (servers.endpoints()?, servers.term(stop)?);
    let pids = servers.pids_by_node();
    let sampler = Sampler::start(&pids);
    let folders = Folders::watch(servers.folders());
    let load = Load {
        binary: &binary,
        target: "raft",
        operation: "put",
        endpoints: &endpoints,
        clients: &vec![options.clients; options.minutes],
        seconds: 60,
        warm_up_seconds: 0,
        keys: 100_000,
        value_bytes: 256,
        connections: None,
        prefill: false,
    };
    let leader = servers.pids()?[0];
    let leader = pids.iter().position(|pid| *pid == leader).map_or(0, |at| at + 1);
    println!(
        "node {leader} leads; each minute: memory, log and data folder of each node at their \
         peak, in MiB"
    );
    let mut minutes: Vec<Minute> = Vec::new();
    load.run(&sampler, stop, |row| {
        servers.check()?;
        let samples = sampler.samples();
        let rss = |pid: &u32| samples.peak_rss_mib(*pid, row.began_unix_ms, row.ended_unix_ms);
        let minute = Minute {
            ops_per_second: row.ops_per_second,
            p99_ms: row.p99_ms,
            rss_mib: pids.iter().map(rss).collect(),
            disk: folders.take_peaks(),
        };
        println!("{}", line(minutes.len() + 1, &minute, &row));
        minutes.push(minute);
        Ok(())
    })?;
    let elections = servers.term(stop)?.saturating_sub(term);
    println!("\n{elections} elections\n");
    let verdicts = verdicts(&minutes);
    for verdict in &verdicts {
        println!("{:<7} {}", if verdict.holds { "holds" } else { "FAILS" }, verdict.text);
    }
    let failed = verdicts.iter().filter(|verdict| !verdict.holds).count();
    if failed > 0 {
        bail!("{failed} of {} verdicts fail", verdicts.len());
    }
    Ok(())
}

fn line(number_of: usize, minute: &Minute, row: &Row) -> String {
    let all = |numbers: Vec<String>| numbers.join(" ");
    let rss = all(minute.rss_mib.iter().map(|mib| number(*mib)).collect());
    let log = all(minute.disk.iter().map(|disk| mib(disk.log_bytes)).collect());
    let folder = all(minute.disk.iter().map(|disk| mib(disk.folder_bytes)).collect());
    let troubles = row.refused + row.unknown + row.failed;
    let (ops_per_second, p99) = (minute.ops_per_second, number(minute.p99_ms));
    let line = format!(
        "minute {number_of:>3}: {ops_per_second:.0} ops/s, p99 {p99} ms, memory {rss}, \
         log {log}, folder {folder}"
    );
    if troubles == 0 { line } else { format!("{line}, {troubles} requests did not end well") }
}

/// The largest that each data folder was since it was last asked.
struct Folders {
    peaks: Arc<Mutex<Vec<Disk>>>,
    over: Arc<AtomicBool>,
}

impl Folders {
    fn watch(folders: Vec<std::path::PathBuf>) -> Self {
        let peaks = Arc::new(Mutex::new(vec![Disk::default(); folders.len()]));
        let over = Arc::new(AtomicBool::new(false));
        let (shared, ends) = (Arc::clone(&peaks), Arc::clone(&over));
        thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                let now: Vec<_> = folders.iter().map(|folder| used(folder)).collect();
                let mut peaks = shared.lock().unwrap_or_else(PoisonError::into_inner);
                for (peak, now) in peaks.iter_mut().zip(now) {
                    peak.log_bytes = peak.log_bytes.max(now.log_bytes);
                    peak.folder_bytes = peak.folder_bytes.max(now.folder_bytes);
                }
                drop(peaks);
                thread::sleep(LOOK_EVERY);
            }
        });
        Self { peaks, over }
    }

    fn take_peaks(&self) -> Vec<Disk> {
        let mut peaks = self.peaks.lock().unwrap_or_else(PoisonError::into_inner);
        let nothing = vec![Disk::default(); peaks.len()];
        std::mem::replace(&mut *peaks, nothing)
    }
}

impl Drop for Folders {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
    }
}

fn used(data: &Path) -> Disk {
    Disk { log_bytes: size(&data.join("log")), folder_bytes: size(data) }
}

/// The bytes of all files below a folder. What goes away meanwhile does not count.
fn size(folder: &Path) -> u64 {
    let entry_size = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        let metadata = entry.metadata().ok()?;
        Some(if metadata.is_dir() { size(&entry.path()) } else { metadata.len() })
    };
    fs::read_dir(folder).map_or(0, |entries| entries.filter_map(entry_size).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_as_large_as_all_its_files() -> Result<()> {
        let folder = tempfile::tempdir()?;
        assert_eq!(used(folder.path()), Disk::default());
        fs::create_dir_all(folder.path().join("log/deep"))?;
        fs::write(folder.path().join("log/1"), [0; 100])?;
        fs::write(folder.path().join("log/deep/2"), [0; 20])?;
        fs::write(folder.path().join("store"), [0; 3])?;
        assert_eq!(used(folder.path()), Disk { log_bytes: 120, folder_bytes: 123 });
        Ok(())
    }

    #[test]
    fn peaks_are_told_once() -> Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("store"), [0; 3])?;
        let folders = Folders::watch(vec![folder.path().to_owned()]);
        let peak = loop {
            let peaks = folders.take_peaks();
            if peaks[0] != Disk::default() {
                break peaks[0];
            }
            thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(peak, Disk { log_bytes: 0, folder_bytes: 3 });
        Ok(())
    }
}
