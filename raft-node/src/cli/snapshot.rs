//! `raft-node snapshot`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use raft_core::{Membership, NodeId};
use raft_node::config::{MemberAddress, parse_member};
use raft_node::server::backup::{BackupError, Draft, Inspected, LogEnd, inspect, save_offline};
use raft_node::server::restore::{NewMember, RestoreError, restore};

use super::client::on_runtime;
use super::http::{Download, download};
use super::{Cluster, Exit, printed, say, told};

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub(super) enum SnapshotCommand {
    /// Save the state of a cluster in a new file
    ///
    /// A node that runs takes a snapshot and sends it, with everything that was confirmed
    /// before; it goes on serving meanwhile. With --data-dir, the folder of a node that does
    /// not run is read instead, also where its log is lost. The file appears when it is whole and verified, or not at all.
    Save(Save),
    /// Verify a file, and print what is in it; ends with 5 where it is damaged
    Inspect {
        /// The file
        file: PathBuf,
    },
    /// Make a new cluster of one member from a file, in a new data folder
    ///
    /// Works offline. The file is verified first. The new cluster has an id of its own: it
    /// and the one that was saved refuse each other.
    Restore(Restore),
}

/// What to save, and where.
#[derive(Debug, Args)]
pub(super) struct Save {
    /// The new file; nothing is replaced
    file: PathBuf,
    /// Take what the first node that answers has, which may lack what was confirmed last;
    /// for a cluster without a leader
    #[arg(long)]
    stale: bool,
    /// The data folder of a node that does not run, in place of a node that does
    #[arg(long, value_name = "FOLDER", conflicts_with = "stale")]
    data_dir: Option<PathBuf>,
    /// How long a node may take until it begins to send, in milliseconds
    #[arg(long, default_value_t = 600_000)]
    wait_ms: u64,
    #[command(flatten)]
    cluster: Cluster,
}

/// What to restore, and where.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The file
    file: PathBuf,
    /// A folder that is not there yet, to become that of the new cluster's only member
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Who the member is and where it is reached, as ID=PEER/CLIENT; by default the node that
    /// was saved, where it was
    #[arg(long, value_name = "NODE", value_parser = parse_member)]
    at: Option<(NodeId, MemberAddress)>,
    /// What the new cluster is called; by default as the one that was saved
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
}

impl SnapshotCommand {
    pub(super) fn run(self) -> Exit {
        match self {
            Self::Save(Save { file, data_dir: Some(dir), .. }) => offline(&dir, &file),
            Self::Save(save) => save.online(),
            Self::Inspect { file } => match inspect(&file) {
                Ok(inspected) => printed(show(&file, &inspected, &mut std::io::stdout().lock())),
                Err(why) => failed(why),
            },
            Self::Restore(restore) => restore.run(),
        }
    }
}

/// Says why there is no backup.
fn failed(why: BackupError) -> Exit {
    let exit = match &why {
        BackupError::Exists(_)
        | BackupError::DataDir(_)
        | BackupError::NoLog(_)
        | BackupError::Behind(_)
        | BackupError::Nothing(_) => Exit::Wrong,
        BackupError::File { .. }
        | BackupError::Snapshot(_)
        | BackupError::Content { .. }
        | BackupError::Log(_) => Exit::Failed,
    };
    say(format_args!("raft-node: {}", told(&anyhow::Error::new(why))));
    exit
}

impl Save {
    /// Asks the nodes in turn until one has sent everything.
    fn online(&self) -> Exit {
        let query = if self.stale { "?consistency=stale" } else { "" };
        let path = format!("/v1/maintenance/snapshot{query}");
        for endpoint in &self.cluster.endpoints {
            let mut draft = match Draft::begin(&self.file) {
                Ok(draft) => draft,
                Err(why) => return failed(why),
            };
            let (wait, silence) = (self.wait_ms, self.cluster.timeout_ms);
            let limits = [wait, silence].map(Duration::from_millis);
            let sent = download(endpoint, &path, limits, |piece| draft.write_all(piece));
            match on_runtime(sent) {
                Ok(Download::Whole) => return saved(draft.finish(), &self.file),
                Ok(Download::Refused(why) | Download::Failed(why)) => {
                    say(format_args!("raft-node: {endpoint}: {why}"));
                }
                Ok(Download::NotStored(source)) => {
                    let (path, what) = (self.file.clone(), "written");
                    return failed(BackupError::File { path, what, source });
                }
                Err(why) => say(format_args!("raft-node: {}", told(&why))),
            }
        }
        say("raft-node: nothing was saved");
        Exit::Refused
    }
}

fn saved(saved: Result<Inspected, BackupError>, file: &Path) -> Exit {
    match saved {
        Ok(saved) => {
            say(format_args!(
                "saved {} keys at index {} of cluster {} in {}, {} bytes, verified",
                saved.content.pairs,
                saved.meta.position.index,
                saved.header.cluster,
                file.display(),
                saved.file_bytes
            ));
            Exit::Done
        }
        Err(why) => failed(why),
    }
}

fn offline(dir: &Path, file: &Path) -> Exit {
    match save_offline(dir, file) {
        Ok(done) => {
            let at = done.saved.meta.position.index;
            match done.log {
                LogEnd::At(last) if last.index > at => say(format_args!(
                    "raft-node: the store holds everything up to index {at}, and the log goes on \
                     to {}: what is in between may have been confirmed and is NOT in the \
                     backup; to have it, start the node, stop it with SIGTERM, and save again",
                    last.index
                )),
                LogEnd::At(_) => {}
                LogEnd::Unknown(why) => say(format_args!(
                    "raft-node: {why}; the store holds everything up to index {at}, and what may \
                     have been confirmed after that is NOT in the backup; use it only where \
                     neither the log can be restored nor another member has more"
                )),
            }
            saved(Ok(done.saved), file)
        }
        Err(why) => failed(why),
    }
}

fn show(file: &Path, inspected: &Inspected, out: &mut dyn Write) -> std::io::Result<()> {
    let Inspected { header, group, meta, content, file_bytes } = inspected;
    let made = utc(header.made_at_ms / 1000);
    writeln!(out, "{}: intact, all checksums verified", file.display())?;
    writeln!(out, "cluster     {} ({})", header.cluster, header.cluster_name)?;
    writeln!(out, "group       {group}")?;
    writeln!(out, "node        {}", header.node)?;
    writeln!(out, "made        {made} UTC, by that node's clock")?;
    writeln!(out, "position    index {}, term {}", meta.position.index, meta.position.term)?;
    writeln!(out, "members     {}", members(&meta.membership))?;
    writeln!(out, "keys        {}", content.pairs)?;
    writeln!(out, "sessions    {}", content.sessions)?;
    writeln!(out, "size        {file_bytes} bytes, {} without compression", meta.bytes)?;
    writeln!(out, "checksum    {:08x} (CRC32C of the content)", meta.checksum)
}

fn members(membership: &Membership) -> String {
    let member = |id: &NodeId| match membership.members().get(id) {
        Some(member) => match MemberAddress::from_data(&member.data) {
            Some(at) => format!("{id}={}/{}", at.peer, at.client),
            None => id.to_string(),
        },
        None => id.to_string(),
    };
    let listed = |ids: &std::collections::BTreeSet<NodeId>| {
        ids.iter().map(member).collect::<Vec<_>>().join(", ")
    };
    let mut text = format!("voters {}", listed(membership.voters()));
    if membership.is_joint() {
        text = format!("{text}; outgoing {}", listed(membership.outgoing()));
    }
    if !membership.learners().is_empty() {
        text = format!("{text}; learners {}", listed(membership.learners()));
    }
    text
}

impl Restore {
    fn run(self) -> Exit {
        let Self { file, to, at, cluster } = self;
        let (node, at) = at.map_or((None, None), |(node, at)| (Some(node), Some(at)));
        match restore(&file, &to, NewMember { node, at, cluster }) {
            Ok(restored) => {
                say(format_args!(
                    "{} holds {} keys as of index {} of cluster {}, and the only member of the new \
                     cluster {}: start node {} on it with --cluster {}, give new nodes empty \
                     folders and --join, and add them with raft-node member add",
                    to.display(),
                    restored.backup.content.pairs,
                    restored.backup.meta.position.index,
                    restored.backup.header.cluster,
                    restored.cluster,
                    restored.node,
                    restored.name
                ));
                Exit::Done
            }
            Err(RestoreError::Backup(why)) => failed(why),
            Err(why) => {
                let exit = match &why {
                    RestoreError::NotNew(_)
                    | RestoreError::OtherGroup { .. }
                    | RestoreError::NoAddress(_)
                    | RestoreError::DataDir(_) => Exit::Wrong,
                    _ => Exit::Failed,
                };
                say(format_args!("raft-node: {}", told(&anyhow::Error::new(why))));
                exit
            }
        }
    }
}

/// Date and time of so many seconds after 1970-01-01. Counted from the first of March of the
/// year 0, where every 400 years have the same days and a leap day ends its year.
fn utc(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + next;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn seconds_are_told_as_a_date() {
        for (seconds, told) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399, "2000-02-28 23:59:59"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_302_027, "2026-11-21 23:00:27"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(utc(seconds), told);
        }
    }
}
