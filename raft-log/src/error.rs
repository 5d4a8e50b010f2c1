//! What can go wrong with a log, and what to do then.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use raft_core::{ClusterId, GroupId, Index, NodeId};
use thiserror::Error;

/// Why the log cannot be opened, written or read.
#[derive(Debug, Error)]
pub enum LogError {
    /// The operating system refused. For a write or a sync this is final: what the
    /// disk holds is unknown until the process has been started again.
    #[error(
        "{doing} {}{}{}: {source}{}",
        path.display(), at(*offset), place(*group, *index), remedy(source)
    )]
    Io {
        /// What was being done, as in "cannot sync".
        doing: &'static str,
        /// The file or folder it was done to.
        path: PathBuf,
        /// Where in the file that began, in bytes: of a sync, where what it was for begins.
        /// Nothing where it was done to the file as a whole, or to a folder.
        offset: Option<u64>,
        /// The group whose record was being read, where it was that of one.
        group: Option<GroupId>,
        /// The last index of that record.
        index: Option<Index>,
        /// What the operating system said.
        source: io::Error,
    },
    /// The folder belongs to somebody else. Nothing was changed; start the node with
    /// its own folder, or this folder with its own node and cluster.
    #[error(
        "{} belongs to node {found_node} of cluster {found_cluster}, not to node {node} of \
         cluster {cluster}: start the node with its own folder", file.display()
    )]
    OtherOwner {
        /// The segment that says so.
        file: PathBuf,
        /// The cluster it was written for.
        found_cluster: ClusterId,
        /// The node that wrote it.
        found_node: NodeId,
        /// The cluster that was asked for.
        cluster: ClusterId,
        /// The node that was asked for.
        node: NodeId,
    },
    /// Written in a format this build does not know. Nothing was changed; use the
    /// build that wrote it, or a newer one.
    #[error(
        "{} is written in log format {version}, this build reads formats up to {known}: start the \
         version that wrote it, or a newer one",
        file.display(), known = crate::frame::FORMAT_VERSION
    )]
    UnknownFormat {
        /// The segment that says so.
        file: PathBuf,
        /// The format it names.
        version: u8,
    },
    /// Something that was durable can no longer be read, and not enough is left to go on
    /// without it. Nothing was cut or changed. What is missed while a log is read is made
    /// good when the node is started again. Where it does not start, restore the file, or
    /// have another member take the place of this one.
    #[error(
        "{0}. Nothing was changed: restore the file, or replace this member of the cluster by a \
         new one; a majority of the others goes on without it"
    )]
    Damaged(Damage),
}

/// A place where something that was durable can no longer be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment.
    pub file: PathBuf,
    /// The first byte that makes no sense.
    pub offset: u64,
    /// The group whose record this was, where that can still be told.
    pub group: Option<GroupId>,
    /// The last index of the record, where that can still be told.
    pub index: Option<Index>,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, group, index, what } = self;
        let place = place(*group, *index);
        write!(f, "{} is damaged at byte {offset}{place}: {what}", file.display())
    }
}

impl LogError {
    /// True where the operating system refused because the disk is full, or because a
    /// limit of the user or project is reached.
    #[must_use]
    pub fn is_no_room(&self) -> bool {
        matches!(self, Self::Io { source, .. } if is_no_room(source))
    }
}

pub(crate) fn is_no_room(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn place(group: Option<GroupId>, index: Option<Index>) -> String {
    match (group, index) {
        (Some(group), Some(index)) => format!(" (group {group}, up to index {index})"),
        (Some(group), None) => format!(" (group {group})"),
        _ => String::new(),
    }
}

/// Where in a file something was done.
pub(crate) fn at(offset: Option<u64>) -> String {
    offset.map_or_else(String::new, |offset| format!(" at byte {offset}"))
}

/// What a person can do, by what the operating system says.
pub(crate) fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        _ if is_no_room(why) => {
            ": the disk is full; nothing that was confirmed is lost; make room, and start the \
             node again where it has stopped"
        }
        io::ErrorKind::PermissionDenied => ": let the user that runs the node read and write it",
        io::ErrorKind::UnexpectedEof => {
            ": something has cut the file; restore it, or start the node again, and it fetches what \
             is missing from other members"
        }
        io::ErrorKind::NotFound => ": something has removed it; restore it where it is needed",
        _ => {
            ": see what the system's log says of this disk; where the node has stopped, start it \
             again when the disk works"
        }
    }
}

/// Names the operation and the file in an error of the operating system.
pub(crate) fn io_error<'a>(
    doing: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> LogError + 'a {
    failed(doing, path, None)
}

/// As [`io_error`], and the place in the file.
pub(crate) fn io_error_at<'a>(
    doing: &'static str,
    path: &'a Path,
    offset: u64,
) -> impl FnOnce(io::Error) -> LogError + 'a {
    failed(doing, path, Some(offset))
}

fn failed<'a>(
    doing: &'static str,
    path: &'a Path,
    offset: Option<u64>,
) -> impl FnOnce(io::Error) -> LogError + 'a {
    let path = path.to_owned();
    move |source| LogError::Io { doing, path, offset, group: None, index: None, source }
}
