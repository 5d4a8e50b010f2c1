//! Whose log it is, how large things may become, and what it amounts to.

use raft_core::{ClusterId, NodeId};

/// Whose log it is. Every segment states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogIdentity {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node of that cluster.
    pub node: NodeId,
}

/// How large things may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The size of a segment file, zero-filled when it is created. A frame or a head
    /// that is larger gets a segment of its own size. The first segment of a run is smaller,
    /// where no file waits for it.
    pub segment_bytes: u64,
    /// How many bytes of recent entries stay in memory. Entries that are not yet
    /// durable stay in any case.
    pub cache_bytes: usize,
    /// How what is written becomes durable.
    pub sync_method: SyncMethod,
    /// So many files of a segment's size are kept ready beside the one that the next switch
    /// takes. On a disk that is full they are what terms, votes and the heads that let
    /// segments go are written to: see [`crate::Room`]. At most
    /// [`LogOptions::MAX_RESERVE_SEGMENTS`], which takes the place of a larger number.
    pub reserve_segments: u8,
    /// Where the log has more segments than that, what little is needed of the oldest ones is
    /// written again, so that they can go: see [`crate::WriteAheadLog::relocate`]. Two at
    /// least are worth it: none goes before two more have been begun.
    pub relocate_above_segments: usize,
    /// Commands with larger payloads are compressed (LZ4) where that saves an eighth of them.
    /// `usize::MAX` for never. `FORMAT.md` says what it costs.
    pub compress_above_bytes: usize,
}

/// How what is written becomes durable. Both cost one visit to the disk per write.
///
/// Measured by turns, write by write, some thousands of each on ext4 on a virtual disk that
/// others used as well: for 4, 20 and 272 KiB, `fdatasync` took 116, 201 and 415 us in the
/// best tenth, direct writes 95, 162 and 359; in the middle both waited for the others. Of
/// the thread's time on a processor they took 144, 138 and 199 us against 116, 109 and 136.
/// So direct writes are the default. `cargo xtask bench log` measures both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncMethod {
    /// Written to the page cache, then `fdatasync`.
    Fdatasync,
    /// Written past the page cache, durable when the write returns (`O_DIRECT` and
    /// `O_DSYNC`). Where the file system cannot do that, as [`SyncMethod::Fdatasync`].
    /// What the log's own cache has dropped is read from the disk the first time.
    Direct,
}

impl LogOptions {
    /// As many names for them there are.
    pub const MAX_RESERVE_SEGMENTS: u8 = 100;
}

impl Default for LogOptions {
    /// Segments of 64 MiB, 16 MiB of recent entries, direct writes, one segment in
    /// reserve, and relocation above eight segments.
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            cache_bytes: 16 << 20,
            sync_method: SyncMethod::Direct,
            reserve_segments: 1,
            relocate_above_segments: 8,
            compress_above_bytes: 1024,
        }
    }
}

/// What the log amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Segment files, counted when they are durable.
    pub segments: usize,
    /// Their size.
    pub disk_bytes: u64,
    /// Entries in memory, by [`raft_core::Entry::weight`].
    pub cached_bytes: usize,
    /// Frames that no job has taken yet.
    pub staged_bytes: usize,
    /// Files that wait to become segments; not part of `disk_bytes`.
    pub spare_bytes: u64,
    /// Segments that write jobs have begun since the log was opened.
    pub begun_segments: u64,
    /// Those of them whose file had its name already, so that the write which began them
    /// changed nothing but the file.
    pub named_segments: u64,
    /// Those of them for which a file was ready, so that no write waited for its zeros.
    pub prepared_segments: u64,
    /// Those of the prepared ones whose file had been a segment before.
    pub recycled_segments: u64,
    /// What was written a second time since the log was opened, so that old segments can go.
    pub relocated_bytes: u64,
    /// What compression has saved since the log was opened.
    pub saved_bytes: u64,
}
