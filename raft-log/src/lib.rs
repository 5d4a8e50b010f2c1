//! The durable half of a Raft node.
//!
//! What it is: a segmented write-ahead log that all groups of a node share
//! ([`WriteAheadLog`]), its snapshots ([`SnapshotStore`]), and the plan of when to take
//! one and how far to trim the log ([`gc`]); [`inspect`] says what is in a folder without
//! changing it. All of it works over a seam to the disk
//! ([`Disk`]) with the real one behind it ([`RealDisk`]) or a simulated one that
//! forgets, tears and fails on demand ([`SimDisk`]); [`conformance`] has the rules for one of
//! your own, as checks.
//! `FORMAT.md` beside this crate's sources describes the files to the byte.
//!
//! What is deliberately absent: threads, clocks and the protocol. The log is a value
//! that one engine owns; whatever waits for the disk is handed out as a job that the
//! owner runs where waiting is allowed.
//!
//! ```
//! use raft_core::{ClusterId, GroupId, HardState, Membership, NodeId, Term, Write, WriteNumber};
//! use raft_log::{LogIdentity, LogOptions, SimDisk, WriteAheadLog};
//! use std::{path::Path, sync::Arc};
//!
//! let node = NodeId::new(1).unwrap();
//! let identity = LogIdentity { cluster: ClusterId(7), node };
//! let options = LogOptions { segment_bytes: 1 << 16, ..LogOptions::default() };
//! let disk = SimDisk::new(1);
//! let (mut log, groups) =
//!     WriteAheadLog::open(Arc::new(disk), Path::new("log"), identity, options)?;
//! assert!(groups.is_empty());
//!
//! let (group, number) = (GroupId(1), WriteNumber(1));
//! log.create_group(group, Membership::of_voters([node]));
//! let hard_state = HardState { term: Term(1), vote: Some(node) };
//! log.stage(group, Write { number, hard_state, change: None });
//! let job = log.next_job().expect("something is staged");
//! assert_eq!(log.complete(job.run())?, [(group, number)]);
//! # Ok::<(), raft_log::LogError>(())
//! ```
//!
//! `examples/log_alone.rs` does it in a real folder, with two groups, and reads back what
//! was written after opening the log anew. `examples/snapshot_speed.rs` measures
//! snapshots, and `examples/payload_compression.rs` what compressing large payloads saves and costs.

mod options;
mod wal;

mod collect_job;
mod jobs;
mod naming;
mod new_segment;
mod opening;
mod placeholder;
mod prepare_job;
mod relocating;
mod room;
mod segments;
mod staging;
mod writing;

mod keeping;
mod pieces;
mod recovery;
mod replay;
mod replayed;
mod scan;

mod block_buffer;
mod checkpoint;
mod frame;
mod frames;
mod group_log;
mod packing;
mod record;

mod backup;
mod snapshot;
mod snapshot_chunk;
mod snapshot_error;
mod snapshot_file;
mod snapshot_part;
mod snapshot_reader;
mod snapshot_receiver;
mod snapshot_writer;

pub mod conformance;
pub mod gc;
pub mod inspect;

mod disk;
mod error;
mod read_only_disk;
mod sim_damage;
mod sim_disk;
mod sim_state;

pub use backup::{Backup, BackupHeader};
pub use collect_job::{CollectDone, CollectJob};
pub use disk::{Disk, DiskFile, RealDisk, Space};
pub use error::{Damage, LogError};
pub use jobs::{ReadJob, WriteDone, WriteJob, Written};
pub use options::{LogIdentity, LogOptions, LogStats, SyncMethod};
pub use prepare_job::{PrepareDone, PrepareError, PrepareJob};
pub use read_only_disk::ReadOnlyDisk;
pub use relocating::{RelocateDone, RelocateJob};
pub use room::{Outstanding, Room, SpaceJob};
pub use sim_disk::{DiskCounts, SimDisk};
pub use sim_state::Torn;
pub use snapshot::{SnapshotRemoval, SnapshotStore};
pub use snapshot_chunk::{pack_piece, unpack_piece};
pub use snapshot_error::SnapshotError;
pub use snapshot_reader::SnapshotReader;
pub use snapshot_receiver::SnapshotReceiver;
pub use snapshot_writer::SnapshotWriter;
pub use wal::{Read, WriteAheadLog};
