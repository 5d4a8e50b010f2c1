//! `raft-node log`.

mod dump;
mod tables;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use raft_log::inspect::{Claims, Report, Standing, inspect};
use raft_log::{LogError, ReadOnlyDisk};

use self::tables::{groups, owner, segments};
use super::{Exit, printed, say};

/// What is to be known of a log.
#[derive(Debug, Subcommand)]
pub(super) enum LogCommand {
    /// Print whose log it is, its segments and its groups
    Inspect(Folder),
    /// Say whether it is intact; ends with 5 where not, and says what that means
    Verify(Folder),
    /// Print every intact frame with its entries, those included that count no more
    Dump(dump::Dump),
}

/// Where a log is.
#[derive(Debug, Args)]
pub(super) struct Folder {
    /// The data folder of a node, or its log folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl LogCommand {
    pub(super) fn run(self) -> Exit {
        match self {
            Self::Inspect(folder) => told(&folder, show),
            Self::Verify(folder) => told(&folder, verdict),
            Self::Dump(dump) => dump.run(),
        }
    }
}

impl Folder {
    /// The folder of the segments. Says so where they may be changing.
    fn log(&self) -> Result<PathBuf, Exit> {
        let below = self.dir.join("log");
        // The lock is on the data folder, whichever of the two was named.
        let (log, data) = if below.is_dir() {
            (below, self.dir.clone())
        } else {
            (self.dir.clone(), self.dir.join(".."))
        };
        if let Err(why) = fs::read_dir(&log) {
            let dir = self.dir.display();
            say(format_args!("raft-node: {dir} cannot be read: {why}; name a node's data folder"));
            return Err(Exit::Wrong);
        }
        if is_locked(&data) {
            say(format_args!(
                "raft-node: {} seems to be in use by a running node: it may be changing, and \
                 what is read may not fit together; stop the node to be sure",
                self.dir.display()
            ));
        }
        Ok(log)
    }
}

/// Whether somebody holds a lock on the folder, as a running node does on its own. It is
/// looked up and not tried, so that no node that starts just now is turned away.
fn is_locked(dir: &Path) -> bool {
    let (Ok(locks), Ok(folder)) = (fs::read_to_string("/proc/locks"), fs::metadata(dir)) else {
        return false;
    };
    let inode = format!(":{}", folder.ino());
    locks.lines().any(|lock| {
        let mut fields = lock.split_whitespace();
        fields.any(|field| field == "FLOCK") && fields.any(|field| field.ends_with(&inode))
    })
}

/// Inspects a folder and lets `tell` print what was found.
fn told(folder: &Folder, tell: fn(&Path, &Report, &mut dyn Write) -> io::Result<()>) -> Exit {
    let log = match folder.log() {
        Ok(log) => log,
        Err(exit) => return exit,
    };
    let report = match inspect(&ReadOnlyDisk, &log) {
        Ok(report) => report,
        Err(why) => return failed(&why),
    };
    if report.segments.is_empty() && report.fault.is_none() {
        say(format_args!("raft-node: {} holds no log of a node", folder.dir.display()));
        return Exit::Wrong;
    }
    let exit = printed(tell(&log, &report, &mut io::stdout().lock()));
    match &report.fault {
        Some(why) => failed(why),
        None if !report.damage.is_empty() => damaged(&report),
        None if holds_anything(&report) => exit,
        None => {
            say(format_args!(
                "raft-node: {} holds no log: nothing in its files counts. A node that has never \
                 run starts on it, and one that has does not: put its log back, or leave it \
                 stopped; a majority of the others goes on without it",
                log.display()
            ));
            Exit::Failed
        }
    }
}

/// Says what is damaged and what that means, where a node can start with it.
fn damaged(report: &Report) -> Exit {
    for place in &report.damage {
        say(format_args!("raft-node: {place}"));
    }
    let mut whole = true;
    for (id, group) in &report.groups {
        let (Some(ended), left) = (group.damaged_up_to, group.last) else { continue };
        whole = false;
        let remedy = if group.membership.voters().len() > 1 {
            "the node fetches it from the other members when it is started, and takes part in \
             elections as if it still had it"
        } else {
            "no other member has it: restore the file, or a backup"
        };
        say(format_args!(
            "raft-node: group {id} has lost what stood after {left}, up to {ended}: {remedy}"
        ));
    }
    if whole {
        say(format_args!("raft-node: no group has lost anything that it needs"));
    }
    Exit::Failed
}

/// Whether the node would keep any of the files.
fn holds_anything(report: &Report) -> bool {
    report.segments.values().any(|segment| segment.standing != Standing::Dead)
}

fn failed(why: &LogError) -> Exit {
    say(format_args!("raft-node: {why}"));
    Exit::Failed
}

fn show(log: &Path, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {}", log.display(), owner(report))?;
    writeln!(
        out,
        "frames up to {} count, those up to {} are known to be durable\n",
        report.last_sequence, report.durable_upto
    )?;
    writeln!(out, "{}\n", segments(report))?;
    if !report.groups.is_empty() {
        writeln!(out, "{}\n", groups(report))?;
    }
    for segment in report.segments.values() {
        for place in &segment.unreadable {
            write!(out, "{}: no frame at byte {}", segment.file.display(), place.offset)?;
            if let Some(Claims { sequence, group, index }) = place.claims {
                write!(out, " (says: sequence {sequence}, group {group}, up to index {index})")?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

/// One line where the log is intact; where not, the fault is said elsewhere.
fn verdict(log: &Path, report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.fault.is_some() || !report.damage.is_empty() || !holds_anything(report) {
        return Ok(());
    }
    let live = report.segments.values().filter(|segment| segment.standing == Standing::Live);
    let entries: u64 = report.groups.values().map(|group| group.entries).sum();
    let remains = if live.clone().all(|segment| segment.unreadable.is_empty()) {
        ""
    } else {
        "; remains of an unfinished write or of an earlier use were found, which nothing needs"
    };
    writeln!(
        out,
        "{}: intact, {}: {} segments, {} groups, {entries} entries{remains}",
        log.display(),
        owner(report),
        live.count(),
        report.groups.len()
    )
}
