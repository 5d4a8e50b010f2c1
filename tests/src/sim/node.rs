//! One simulated node: a disk that survives, and an engine that does not.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use raft_core::{ClusterId, GroupId, Incarnation, Index, Instant, Member, Membership, NodeId};
use raft_log::gc::GcPolicy;
use raft_log::{Disk, LogOptions, SimDisk, SyncMethod};
use raft_node::engine::{Engine, EngineConfig, EngineSetup, Machines, OpenError};

use super::clock::LocalClock;
use super::contact::Moments;
use super::database::DatabaseDisk;
use super::fault_counts::{FaultCounts, FaultKind};
use super::ledger::Seen;
use super::report::SegmentCounts;
use super::store::{SimStore, StoreDisk, Stores};

/// The groups that every node has.
pub(crate) const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];

/// How long a node waits for another one that it has asked, by its own clock.
pub(super) const FORWARDS: Duration = Duration::from_secs(3);

const CLUSTER: ClusterId = ClusterId(0xc1a5);
/// The disk of whoever has an id first.
const FIRST_DISK: Incarnation = Incarnation(1);

/// The first members of all groups, nodes 1 to `count`.
pub(crate) fn first_members(count: u64) -> Membership {
    let voters: BTreeSet<NodeId> = (1..=count).filter_map(NodeId::new).collect();
    let first = Member { incarnation: FIRST_DISK, ..Member::default() };
    let members = voters.iter().map(|id| (*id, first.clone())).collect();
    let all = Membership::new(voters, [].into(), [].into(), members);
    all.expect("voters with a disk each are a membership")
}

/// A node of the world.
#[derive(Debug)]
pub(crate) struct SimNode {
    pub(crate) id: NodeId,
    /// Tells its disk from that of a node which had its id before.
    pub(crate) incarnation: Incarnation,
    /// Whether it has ever been started. Another one may come in the place of one that has
    /// left, and then is not.
    pub(crate) present: bool,
    settings: Settings,
    /// The members of its groups as it begins; nobody where it is to join.
    first: Membership,
    pub(crate) disk: SimDisk,
    /// What outlives the process of each group's store, in the order of [`GROUPS`].
    pub(super) stores: Stores,
    pub(crate) running: Option<Running>,
    /// Counts the starts; what belongs to an earlier life is void.
    pub(crate) life: u64,
    formed: bool,
    /// Segments that its log has begun in all lives.
    pub(crate) segments: SegmentCounts,
    /// The same for the lives before this one.
    segments_before: SegmentCounts,
    /// Whether each group's log was damaged since it last let go only of what the store has for
    /// good, in the order of [`GROUPS`].
    pub(crate) healed_by_snapshot: [bool; GROUPS.len()],
}

/// What a node is like for as long as the world stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Whether its stores outlive its process.
    pub(crate) keeps: bool,
    /// Whether its stores are the production ones.
    pub(crate) database: bool,
    /// How far clocks may drift apart where leaders answer reads by their leases.
    pub(crate) lease_drift: Option<Duration>,
}

impl Settings {
    fn stores(self, seed: u64) -> Stores {
        if self.database {
            let disk = DatabaseDisk::new(seed);
            return Stores::Database(disk.expect("nothing fails on a disk that nobody has harmed"));
        }
        Stores::Memory(GROUPS.map(|_| StoreDisk::new(self.keeps)))
    }
}

/// What a crash takes away.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) clock: LocalClock,
    pub(crate) moments: Moments,
    /// How each replica stood after the last event, in the order of [`GROUPS`].
    pub(crate) seen: [Seen; GROUPS.len()],
    /// How each stood before it.
    pub(crate) seen_before: [Seen; GROUPS.len()],
    pub(crate) machines: Machines,
    pub(crate) stores: [SimStore; GROUPS.len()],
    /// When the last task of the state machines will be done: they are done in order.
    pub(crate) machines_busy_until: Instant,
    pub(crate) timer: Option<Instant>,
    /// Up to where each group's state was applied when it was shown last.
    pub(crate) shown: [Index; GROUPS.len()],
    /// Reads that the disk had spoiled before this life.
    pub(crate) spoiled_reads_before: u64,
    /// What the disk had refused before this life.
    pub(crate) refusals_before: u64,
    /// The same for the disk of the database.
    pub(crate) database_refusals_before: u64,
    /// Where each group's log began after the last event, in the order of [`GROUPS`].
    pub(crate) floors: [Index; GROUPS.len()],
    /// A paused process does nothing before this moment.
    pub(crate) paused_until: Instant,
}

impl SimNode {
    /// One of the first members of all groups.
    pub(crate) fn first(id: NodeId, disk_seed: u64, settings: Settings, all: Membership) -> Self {
        Self {
            id,
            incarnation: FIRST_DISK,
            present: true,
            settings,
            first: all,
            disk: SimDisk::new(disk_seed),
            stores: settings.stores(disk_seed),
            running: None,
            life: 0,
            formed: false,
            segments: SegmentCounts::default(),
            healed_by_snapshot: Default::default(),
            segments_before: SegmentCounts::default(),
        }
    }

    /// One that may come later.
    pub(crate) fn spare(id: NodeId, disk_seed: u64, settings: Settings) -> Self {
        let node = Self::first(id, disk_seed, settings, Membership::empty());
        Self { present: false, ..node }
    }

    /// One in the place of this one. What this one's lives have left behind is void. Where it
    /// gets the same id, it is told from this one by its disk.
    pub(crate) fn successor(&self, id: NodeId, disk_seed: u64) -> Self {
        let new = Self::spare(id, disk_seed, self.settings);
        let again = Incarnation(self.incarnation.0 + 1);
        let incarnation = if id == self.id { again } else { new.incarnation };
        Self { life: self.life + 1, incarnation, ..new }
    }

    /// Starts the node on what its disk holds.
    pub(crate) fn start(
        &mut self,
        seed: u64,
        now: Instant,
        clock: LocalClock,
    ) -> Result<(), OpenError> {
        self.life += 1;
        let refusals_before = self.refusals();
        let database_refusals_before = self.database_refusals();
        self.segments_before = self.segments;
        let mut machines = Machines::default();
        let opened = self.stores.open();
        let stores = opened.map_err(|source| OpenError::Restore { group: GROUPS[0], source })?;
        for (group, store) in GROUPS.into_iter().zip(&stores) {
            machines.insert(group, store.machine());
        }
        let setup = EngineSetup {
            cluster: CLUSTER,
            node: self.id,
            incarnation: self.incarnation,
            dir: PathBuf::from("data"),
            seed,
            config: config(seed, self.settings.lease_drift),
        };
        let shown = clock.shows(now);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let mut engine = Engine::open(setup, &disk, &mut machines, shown)?;
        for group in GROUPS {
            // A crash may have come between opening and the first write; a node that
            // has once answered anything holds the group for ever, or knows that its disk has
            // lost what may have been a group.
            if engine.view(group).is_none() {
                engine.create_group(group, self.first.clone(), &mut machines, shown)?;
                assert!(!self.formed, "node {} lost group {group}", self.id);
            }
        }
        self.running = Some(Running {
            engine,
            clock,
            moments: Moments::default(),
            seen: Default::default(),
            seen_before: Default::default(),
            machines,
            stores,
            machines_busy_until: now,
            timer: None,
            shown: Default::default(),
            floors: Default::default(),
            spoiled_reads_before: self.disk.counts().spoiled_reads(),
            refusals_before,
            database_refusals_before,
            paused_until: now,
        });
        Ok(())
    }

    /// Notes that the node has promised something: its groups are durable.
    pub(crate) fn promised(&mut self) {
        self.formed = true;
        if let Some(running) = &self.running {
            let in_this_life = SegmentCounts::of(&running.engine.log_stats());
            self.segments = self.segments_before.plus(in_this_life);
        }
    }

    pub(crate) fn store(&self, group: GroupId) -> Option<&SimStore> {
        let place = GROUPS.iter().position(|known| *known == group)?;
        self.running.as_ref().map(|running| &running.stores[place])
    }

    /// Whether its disk has a snapshot of a group at this index or later.
    pub(crate) fn has_snapshot_from(&self, group: GroupId, index: Index) -> bool {
        let names = self.disk.list(Path::new("data/snapshots")).unwrap_or_default();
        let (from, end) = (format!("{:016x}-{:016x}", group.0, index.0), group.0 + 1);
        let end = format!("{end:016x}");
        let complete = names.iter().filter(|name| name.ends_with(".snap"));
        complete.into_iter().any(|name| *name >= from && *name < end)
    }

    /// Up to where each group's state would outlive a crash; `None` where none would.
    pub(crate) fn durable(&self) -> [(GroupId, Option<Index>); GROUPS.len()] {
        std::array::from_fn(|place| (GROUPS[place], self.stores.durable(place)))
    }

    /// Whether its stores are the production ones.
    pub(crate) const fn has_database(&self) -> bool {
        self.settings.database
    }

    /// Whether a crash has begun in the middle of a change of one of its disks.
    pub(crate) fn is_stopped(&self) -> bool {
        self.disk.is_stopped() || self.stores.disk().is_some_and(SimDisk::is_stopped)
    }

    /// The disks lose their power, or only the process that uses them ends.
    pub(crate) fn crash_disks(&self, power: bool) {
        for disk in [Some(&self.disk), self.stores.disk()].into_iter().flatten() {
            if power {
                disk.crash_power();
            } else {
                disk.crash_process();
            }
        }
    }

    /// Power is lost at the change with this number from now of a disk: every second time
    /// that of the database, where there is one.
    pub(crate) fn stop_at(&self, change: u64) {
        match self.stores.disk().filter(|_| change.is_multiple_of(2)) {
            Some(disk) => disk.stop_at(change),
            None => self.disk.stop_at(change),
        }
    }

    /// What was to go wrong with its disks does not any more.
    pub(crate) fn heal_disks(&self) {
        for disk in [Some(&self.disk), self.stores.disk()].into_iter().flatten() {
            if !disk.is_stopped() {
                disk.stop_at(u64::MAX / 2);
            }
            disk.fail_at(u64::MAX / 2, io::ErrorKind::Other);
            disk.fail_next_syncs(0);
            disk.fail_reads_after(0, 0);
            disk.misdirect_next_reads(0);
            disk.limit_bytes(u64::MAX);
        }
    }

    /// The disk of its database where there is one and `first_choice` says so; else that of
    /// its log.
    pub(crate) fn either_disk(&self, first_choice: bool) -> &SimDisk {
        self.stores.disk().filter(|_| first_choice).unwrap_or(&self.disk)
    }

    /// How often the disk of its log has refused something, or read it wrong.
    pub(crate) fn refusals(&self) -> u64 {
        refusals(&self.disk)
    }

    /// The same for the disk of its database.
    pub(crate) fn database_refusals(&self) -> u64 {
        self.stores.disk().map_or(0, refusals)
    }

    /// Whether the disk of its database has refused something since the process started: then
    /// the database gives up.
    pub(crate) fn database_is_refused(&self) -> bool {
        let before = self.running.as_ref().map(|running| running.database_refusals_before);
        before.is_some_and(|before| self.database_refusals() > before)
    }

    /// What its disks have refused or read wrong.
    pub(crate) fn disk_faults(&self) -> FaultCounts {
        let mut counts = faults_of(&self.disk);
        counts.count_all(FaultKind::FailedDatabase, self.database_refusals());
        counts
    }

    /// Sets the stores back by some flushes; false where they keep nothing.
    pub(crate) fn set_stores_back(&self) -> bool {
        self.stores.set_back()
    }

    /// Of all its stores; see [`Stores::flushes`].
    pub(crate) fn flushes(&self) -> (u64, u64) {
        self.stores.flushes()
    }
}

/// What a disk has refused or read wrong.
pub(crate) fn faults_of(disk: &SimDisk) -> FaultCounts {
    let disk = disk.counts();
    let mut counts = FaultCounts::default();
    counts.count_all(FaultKind::FailedSync, disk.failed_syncs);
    counts.count_all(FaultKind::FailedChange, disk.failed_changes);
    counts.count_all(FaultKind::FailedRead, disk.failed_reads);
    counts.count_all(FaultKind::MisdirectedRead, disk.misdirected_reads);
    counts.count_all(FaultKind::NoRoom, disk.without_room);
    counts
}

fn refusals(disk: &SimDisk) -> u64 {
    let disk = disk.counts();
    disk.failed_syncs + disk.failed_changes + disk.without_room + disk.spoiled_reads()
}

pub(crate) const fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}

/// Small sizes, so that segments, snapshots and pages turn over within seconds.
fn config(seed: u64, lease_drift: Option<Duration>) -> EngineConfig {
    let defaults = EngineConfig::default();
    // What leaks is missing soon, at times very soon.
    let (max_flight_bytes, max_uncommitted_bytes) = match seed.is_multiple_of(5) {
        true => (2 << 10, 2 << 10),
        false => (8 << 10, 16 << 10),
    };
    EngineConfig {
        forward_timeout: FORWARDS,
        replica: raft_state::Config {
            election_timeout: Duration::from_millis(1000),
            heartbeat_interval: Duration::from_millis(100),
            max_append_bytes: 2048,
            max_flight_bytes,
            max_uncommitted_bytes,
            lease_drift,
            ..raft_state::Config::default()
        },
        log: LogOptions {
            segment_bytes: 32 << 10,
            cache_bytes: 4 << 10,
            // Without one, a switch may come before the file for it.
            reserve_segments: u8::from(!seed.is_multiple_of(4)),
            sync_method: match seed.is_multiple_of(3) {
                true => SyncMethod::Fdatasync,
                false => SyncMethod::Direct,
            },
            relocate_above_segments: 3,
            ..LogOptions::default()
        },
        gc: GcPolicy {
            snapshot_every_entries: 25,
            snapshot_every: Some(Duration::from_secs(4)),
            keep_entries: if seed.is_multiple_of(3) { 0 } else { 5 },
            ..defaults.gc
        },
        snapshot_send_bytes_per_s: NonZeroU64::new(40_000),
        snapshot_write_bytes_per_s: NonZeroU64::new(100_000),
        flush_every_entries: 10,
        flush_every_bytes: 1200,
        // A flush that takes long makes the commands wait for its end.
        max_unflushed_bytes: 2000,
        apply_page_bytes: 2048,
        clock_interval: Duration::from_millis(300),
        snapshot_piece_bytes: 256,
        forward: !seed.is_multiple_of(4),
        ..defaults
    }
}
