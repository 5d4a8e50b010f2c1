//! A snapshot in a file of its own, with whose it is: to be kept elsewhere.
//!
//! The file is a short header and then the snapshot's file as it is (`FORMAT.md`, "Backups").
//! So it can be streamed from a running node without reading it twice, and whoever has it
//! can check all of it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_core::{ClusterId, GroupId, NodeId, SnapshotMeta};

use crate::disk::{Disk, DiskFile, read_exact};
use crate::snapshot_error::{SnapshotError, io_error, io_error_at};
use crate::snapshot_reader::SnapshotReader;

const MAGIC: u32 = u32::from_le_bytes(*b"RBAK");
const VERSION: u8 = 1;
const FIXED: usize = 48;
/// A cluster's name is short; what claims more is no backup.
const MAX_NAME: u64 = 1 << 10;

/// Where a backup comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupHeader {
    /// The cluster.
    pub cluster: ClusterId,
    /// What people call it.
    pub cluster_name: String,
    /// The node whose state it is.
    pub node: NodeId,
    /// When it was made, by that node's clock, in milliseconds since 1970.
    pub made_at_ms: u64,
    /// The length of the snapshot's file in bytes, which follows.
    pub snapshot_bytes: u64,
}

impl BackupHeader {
    /// The bytes that stand before the snapshot's file.
    ///
    /// # Panics
    /// Where the cluster's name is longer than 1 KiB.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let name = self.cluster_name.as_bytes();
        assert!(name.len() as u64 <= MAX_NAME, "a name of {} bytes", name.len());
        let mut out = BytesMut::with_capacity(FIXED + name.len());
        out.put_u32_le(0);
        out.put_u32_le(MAGIC);
        out.put_u8(VERSION);
        out.put_bytes(0, 3);
        out.put_u64_le(self.cluster.0);
        out.put_u64_le(self.node.get());
        out.put_u64_le(self.made_at_ms);
        out.put_u64_le(self.snapshot_bytes);
        out.put_u32_le(name.len() as u32);
        out.put_slice(name);
        let crc = crc32c::crc32c(&out[4..]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out.freeze()
    }
}

/// A backup that can be read.
///
/// Invariant: header, length and the snapshot's own beginning and end are as they should be.
/// Its content is looked at by [`Backup::verify`].
#[derive(Debug)]
pub struct Backup {
    header: BackupHeader,
    group: GroupId,
    reader: SnapshotReader,
}

impl Backup {
    /// Opens a file.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`] also for what is no backup, [`SnapshotError::UnknownFormat`],
    /// [`SnapshotError::Io`]. Of what is damaged behind the header, the byte is counted from
    /// the end of the header.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, SnapshotError> {
        let file = disk.open(path).map_err(io_error("cannot open", path))?;
        let length = file.len().map_err(io_error("cannot measure", path))?;
        let damaged = |offset, what| SnapshotError::Damaged { file: path.to_owned(), offset, what };
        let read = |bytes: u64| {
            let mut read = vec![0; bytes as usize];
            read_exact(&*file, 0, &mut read)
                .map_err(io_error_at("cannot read", path, 0))
                .map(|()| read)
        };
        if length < FIXED as u64 {
            return Err(damaged(length, "it is too short for a backup"));
        }
        let fixed = read(FIXED as u64)?;
        let mut fields = &fixed[4..];
        if fields.get_u32_le() != MAGIC {
            return Err(damaged(4, "it does not begin like a backup"));
        }
        let version = fields.get_u8();
        if version != VERSION {
            return Err(SnapshotError::UnknownFormat { file: path.to_owned(), version });
        }
        fields.advance(3);
        let (cluster, node) = (ClusterId(fields.get_u64_le()), NodeId::new(fields.get_u64_le()));
        let (made_at_ms, snapshot_bytes) = (fields.get_u64_le(), fields.get_u64_le());
        let header_bytes = FIXED as u64 + u64::from(fields.get_u32_le());
        if header_bytes > length.min(FIXED as u64 + MAX_NAME) {
            return Err(damaged(length, "it ends within its header"));
        }
        let whole = read(header_bytes)?;
        let name = String::from_utf8(whole[FIXED..].to_vec()).ok();
        let intact = crc32c::crc32c(&whole[4..]) == (&whole[..4]).get_u32_le();
        let (Some(node), Some(cluster_name), true) = (node, name, intact) else {
            return Err(damaged(0, "the checksum of its header does not fit"));
        };
        if header_bytes.checked_add(snapshot_bytes) != Some(length) {
            return Err(damaged(length, "its length is not what its header says"));
        }
        let header = BackupHeader { cluster, cluster_name, node, made_at_ms, snapshot_bytes };
        let within = Within { file, start: header_bytes, bytes: snapshot_bytes };
        let (group, reader) = SnapshotReader::open(Arc::new(within), path)?;
        Ok(Self { header, group, reader })
    }

    /// Where it comes from.
    #[must_use]
    pub const fn header(&self) -> &BackupHeader {
        &self.header
    }

    /// The group whose state it is.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// What the snapshot is.
    #[must_use]
    pub const fn meta(&self) -> &SnapshotMeta {
        self.reader.meta()
    }

    /// Reads everything and checks it against the checksums.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`], [`SnapshotError::Io`].
    pub fn verify(&mut self) -> Result<(), SnapshotError> {
        self.reader.verify()
    }

    /// Reads the content.
    #[must_use]
    pub fn into_reader(self) -> SnapshotReader {
        self.reader
    }
}

/// A part of a file as a file, to be read only.
#[derive(Debug)]
struct Within {
    file: Arc<dyn DiskFile>,
    start: u64,
    bytes: u64,
}

impl DiskFile for Within {
    fn len(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let left = self.bytes.saturating_sub(offset).min(into.len() as u64);
        self.file.read_at(self.start + offset, &mut into[..left as usize])
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
