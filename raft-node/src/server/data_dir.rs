//! The folder that holds everything a node must remember.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_core::{ClusterId, Incarnation, NodeId};
use rustix::fs::Access;
use serde::{Deserialize, Serialize};
use thiserror::Error;

const IDENTITY: &str = "identity.json";
const IDENTITY_DRAFT: &str = "identity.json.tmp";
const FORMAT: u32 = 1;

/// What a folder may hold and still count as empty: what file systems put at their
/// root, and the rest of a first write that a crash interrupted.
const IGNORED: [&str; 2] = ["lost+found", IDENTITY_DRAFT];

/// Who a data folder belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// The cluster's name.
    pub cluster: String,
    /// The life of this disk.
    pub incarnation: Incarnation,
    /// The cluster, once it is formed.
    pub formed: Option<FormedCluster>,
    /// Whether the log durably holds its group. From then on a folder without it has
    /// lost it, and with it what this node promised.
    pub log_begun: bool,
    /// Whether this node was told that it is no member any more.
    pub removed: bool,
}

/// A cluster that was formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormedCluster {
    /// Its id.
    pub id: ClusterId,
    /// The incarnations of its initial members, where this node was there when they formed
    /// it; none on a node that joined later.
    pub members: BTreeMap<NodeId, Incarnation>,
}

/// A node's data folder, open for this process alone.
///
/// Invariant: `identity` is what the folder durably holds.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The folder itself; it carries the lock, so that none needs a file.
    folder: FolderLock,
    identity: Option<Identity>,
}

/// Keeps a data folder for this process; the last clone lets go of it.
#[derive(Clone, Debug)]
#[must_use]
pub struct FolderLock(Arc<File>);

/// Why a data folder cannot be used. Nothing in it was created or changed.
#[derive(Debug, Error)]
pub enum DataDirError {
    /// Stop the other process, or use another folder.
    #[error(
        "the data folder {} is in use by another process: stop that one, or give this node a \
         data_dir of its own", .0.display()
    )]
    InUse(PathBuf),
    /// Use the folder of this node and this cluster, or correct the configuration.
    #[error(
        "the data folder {} belongs to node {found_node} of cluster {found_cluster:?}, and this \
         is node {node} of cluster {cluster:?}: correct node_id, cluster or data_dir",
        .path.display()
    )]
    Another {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found_node: NodeId,
        /// Of which cluster.
        found_cluster: String,
        /// Who wanted it.
        node: NodeId,
        /// For which cluster.
        cluster: String,
    },
    /// Use an empty folder, or a node's.
    #[error(
        "the data folder {} is not empty (it holds {found:?}) and was not made by a Raft node: it \
         has no {IDENTITY}; give this node an empty data_dir", .path.display()
    )]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// Restore the file; without it nobody knows whose folder this is.
    #[error("the file {} is not usable: {why}", .path.display())]
    Identity {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Repair the disk or its permissions.
    #[error(
        "the data folder {} cannot be {what}: {source}{}", .path.display(), remedy(.source)
    )]
    Io {
        /// The folder.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What happened.
        source: io::Error,
    },
}

impl DataDir {
    /// Opens the folder of `node` in `cluster` for this process alone, and creates it
    /// where there is none.
    ///
    /// # Errors
    /// Where another process has it, it is another's, or it cannot be written.
    pub fn open(path: &Path, node: NodeId, cluster: &str) -> Result<Self, DataDirError> {
        let failed = |what| move |source| DataDirError::Io { path: path.to_owned(), what, source };
        if !path.try_exists().map_err(failed("looked up"))? {
            let fresh = missing_levels(path);
            fs::create_dir_all(path).map_err(failed("created"))?;
            for level in fresh {
                sync_parent(level).map_err(failed("created durably"))?;
            }
        }
        let entries = fs::read_dir(path).map_err(failed("read"))?;
        rustix::fs::access(path, Access::WRITE_OK | Access::EXEC_OK)
            .map_err(|why| failed("written")(why.into()))?;
        let folder = File::open(path).map_err(failed("opened"))?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(DataDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(why)) => return Err(failed("locked")(why)),
        }

        let identity = read_identity(&path.join(IDENTITY))?;
        match &identity {
            Some(found) if (found.node, &found.cluster[..]) != (node, cluster) => {
                return Err(DataDirError::Another {
                    path: path.to_owned(),
                    found_node: found.node,
                    found_cluster: found.cluster.clone(),
                    node,
                    cluster: cluster.to_owned(),
                });
            }
            Some(_) => {}
            None => must_be_empty(path, entries)?,
        }
        Ok(Self { path: path.to_owned(), folder: FolderLock(Arc::new(folder)), identity })
    }

    /// Opens a folder for this process alone, whosever it is; `None` where it is nobody's.
    ///
    /// # Errors
    /// As for [`open`](Self::open), but for what another node's folder would be.
    pub fn open_as_it_is(path: &Path) -> Result<Option<Self>, DataDirError> {
        match read_identity(&path.join(IDENTITY))? {
            Some(Identity { node, cluster, .. }) => Self::open(path, node, &cluster).map(Some),
            None => Ok(None),
        }
    }

    /// The lock, to be kept by whoever outlives this.
    pub fn lock(&self) -> FolderLock {
        self.folder.clone()
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who the folder belongs to; `None` for an empty one.
    #[must_use]
    pub const fn identity(&self) -> Option<&Identity> {
        self.identity.as_ref()
    }

    /// Makes `identity` durable, in one step: a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// [`DataDirError::Io`]; which of the two the folder holds is unknown then.
    pub fn write_identity(&mut self, identity: Identity) -> Result<(), DataDirError> {
        self.replace_identity(&identity).map_err(|source| DataDirError::Io {
            path: self.path.clone(),
            what: "written",
            source,
        })?;
        self.identity = Some(identity);
        Ok(())
    }

    fn replace_identity(&self, identity: &Identity) -> io::Result<()> {
        let draft = self.path.join(IDENTITY_DRAFT);
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(&Stored::from(identity))?)?;
        file.sync_all()?;
        fs::rename(&draft, self.path.join(IDENTITY))?;
        self.folder.0.sync_all()
    }
}

/// The identity as it is stored; ids are in hexadecimal, as people see them elsewhere.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format: u32,
    node: u64,
    cluster: String,
    incarnation: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: BTreeMap<u64, String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    log_begun: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
}

impl From<&Identity> for Stored {
    fn from(identity: &Identity) -> Self {
        let formed = identity.formed.as_ref();
        let members = formed.into_iter().flat_map(|formed| &formed.members);
        Self {
            format: FORMAT,
            node: identity.node.get(),
            cluster: identity.cluster.clone(),
            incarnation: identity.incarnation.to_string(),
            cluster_id: formed.map(|formed| formed.id.to_string()),
            members: members.map(|(id, life)| (id.get(), life.to_string())).collect(),
            log_begun: identity.log_begun,
            removed: identity.removed,
        }
    }
}

impl Stored {
    fn identity(&self) -> Result<Identity, String> {
        let node = |id| NodeId::new(id).ok_or_else(|| "a node id is zero".to_owned());
        let members = self
            .members
            .iter()
            .map(|(id, life)| Ok((node(*id)?, Incarnation(hexadecimal(life)?))))
            .collect::<Result<BTreeMap<_, _>, String>>()?;
        let formed = match &self.cluster_id {
            Some(id) => Some(FormedCluster { id: ClusterId(hexadecimal(id)?), members }),
            None if members.is_empty() => None,
            None => return Err("it has members and no cluster_id".to_owned()),
        };
        Ok(Identity {
            node: node(self.node)?,
            cluster: self.cluster.clone(),
            incarnation: Incarnation(hexadecimal(&self.incarnation)?),
            formed,
            log_begun: self.log_begun,
            removed: self.removed,
        })
    }
}

fn read_identity(path: &Path) -> Result<Option<Identity>, DataDirError> {
    let wrong = |why: String| DataDirError::Identity { path: path.to_owned(), why };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(wrong(format!("{why}{}", remedy(&why)))),
    };
    // Another format may have other fields, so it is looked at first.
    let value: serde_json::Value =
        serde_json::from_slice(&text).map_err(|why| wrong(why.to_string()))?;
    if value["format"] != FORMAT {
        let found = &value["format"];
        return Err(wrong(format!(
            "its format is {found}, and this program knows {FORMAT}: start the version of \
             raft-node that wrote the folder, or a newer one"
        )));
    }
    let stored: Stored = serde_json::from_value(value).map_err(|why| wrong(why.to_string()))?;
    stored.identity().map(Some).map_err(wrong)
}

/// Whether a file in a data folder says whose it is.
pub(super) fn is_identity(name: &OsStr) -> bool {
    name == IDENTITY || name == IDENTITY_DRAFT
}

/// What a person can do, where the operating system's words say so.
pub(super) fn remedy(why: &io::Error) -> &'static str {
    match why.kind() {
        ErrorKind::PermissionDenied => {
            ": let the user that runs raft-node read and write it, with all that is in it"
        }
        ErrorKind::ReadOnlyFilesystem => ": mount it writable, or use another data_dir",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            ": the disk is full; nothing that was confirmed is lost; make room and start the node \
             again"
        }
        ErrorKind::NotADirectory => ": a part of the path is a file; correct data_dir",
        _ => "",
    }
}

fn must_be_empty(path: &Path, entries: fs::ReadDir) -> Result<(), DataDirError> {
    for entry in entries {
        let name = match entry {
            Ok(entry) => entry.file_name().to_string_lossy().into_owned(),
            Err(source) => {
                return Err(DataDirError::Io { path: path.to_owned(), what: "read", source });
            }
        };
        if !IGNORED.contains(&&name[..]) {
            return Err(DataDirError::Foreign { path: path.to_owned(), found: name });
        }
    }
    Ok(())
}

/// The folder and those above it that are not there yet. Each is a name in the one above
/// it, to be made durable there.
fn missing_levels(path: &Path) -> Vec<&Path> {
    let named = path.ancestors().filter(|level| !level.as_os_str().is_empty());
    named.take_while(|level| !level.exists()).collect()
}

/// Makes the name of a new folder durable.
fn sync_parent(path: &Path) -> io::Result<()> {
    match path.canonicalize()?.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

fn hexadecimal(text: &str) -> Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| format!("{text:?} is no hexadecimal number"))
}

#[cfg(test)]
#[path = "data_dir_tests.rs"]
mod tests;
