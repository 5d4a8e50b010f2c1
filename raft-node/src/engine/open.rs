//! Opening an engine on what its node's disk holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use raft_core::{
    Boot, ClusterId, GroupId, HardState, Incarnation, Index, Instant, LogShape, Membership, NodeId,
    Position, Random, RecoveredGroup,
};
use raft_log::{Disk, LogError, LogIdentity, SnapshotError, SnapshotStore, WriteAheadLog};
use raft_state::{Replica, Start};
use thiserror::Error;

use super::config::EngineConfig;
use super::disk_watch::DiskWatch;
use super::effect::Effect;
use super::engine::Engine;
use super::figures::Timings;
use super::group::{Collection, Group};
use super::liveness::Liveness;
use super::machine::Machines;
use super::outgoing::Outgoing;
use super::pace::SnapshotTraffic;
use super::under_way::Forwarding;
use crate::state_machine::Timekeeping;

/// Who an engine is and where its data lies.
#[derive(Clone, Debug)]
pub struct EngineSetup {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// The life of its disk, as the memberships name it; zero where they name none.
    pub incarnation: Incarnation,
    /// The folder of its log and snapshots.
    pub dir: PathBuf,
    /// Random bits of this run: they make its boot number unlike that of a node whose
    /// disk was lost, and spread its timeouts.
    pub seed: u64,
    /// Its settings.
    pub config: EngineConfig,
}

/// Why an engine does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The log cannot be opened; the cause says what to do.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The snapshots cannot be opened; the cause says what to do.
    #[error(transparent)]
    Snapshots(#[from] SnapshotError),
    /// The log holds a group that nobody brought a state machine for: bring one.
    #[error("the log holds group {0}, but there is no state machine for it")]
    NoMachine(GroupId),
    /// The state machine cannot be brought to where the log begins: its folder is not
    /// the one this log was written with. Put the right one back.
    #[error(
        "the state of group {group} is at index {applied}, but its log begins at {floor} and no \
         snapshot reaches there: the store and the log do not belong together; put back the one \
         that is wrong, or have another member take the place of this node"
    )]
    StateBehind {
        /// The group.
        group: GroupId,
        /// Where its state is.
        applied: Index,
        /// Where its log begins.
        floor: Index,
    },
    /// The state machine is ahead of the log: the log's folder was set back. Put the
    /// right one back.
    #[error(
        "the state of group {group} is at index {applied}, but its log ends at {last}: the log was \
         set back, or the store belongs to another node; put back the one that is wrong, or have \
         another member take the place of this node"
    )]
    StateAhead {
        /// The group.
        group: GroupId,
        /// Where its state is.
        applied: Index,
        /// Where its log ends.
        last: Index,
    },
    /// The disk has lost a part of the log, and with it perhaps this group and how it has
    /// voted. Begin with an empty folder and a new incarnation, as another member.
    #[error(
        "the log has lost what may have been group {0}: it cannot be made again here; start with \
         an empty data folder and have the group add this node as a new member"
    )]
    MayHaveHad(GroupId),
    /// The snapshot that the state is to be taken from cannot be read into it.
    #[error("the state of group {group} cannot be restored from its snapshot")]
    Restore {
        /// The group.
        group: GroupId,
        /// The cause.
        source: std::io::Error,
    },
}

impl Engine {
    /// Opens the log and the snapshots in `setup.dir`, brings every state machine to
    /// where its log begins, and starts a replica per group as a follower.
    ///
    /// # Errors
    /// [`OpenError`], each saying what an operator can do. Nothing was promised.
    pub fn open(
        setup: EngineSetup,
        disk: &Arc<dyn Disk>,
        machines: &mut Machines,
        now: Instant,
    ) -> Result<Self, OpenError> {
        let EngineSetup { cluster, node, incarnation, dir, seed, config } = setup;
        let snapshots =
            SnapshotStore::open(Arc::clone(disk), &dir.join("snapshots"), config.keep_snapshots)?;
        let identity = LogIdentity { cluster, node };
        let options = config.log.clone();
        let (log, recovered) =
            WriteAheadLog::open(Arc::clone(disk), &dir.join("log"), identity, options)?;
        // The epoch rises with every opening of this disk; the random half tells a disk
        // that was lost from its successor.
        let boot = Boot(log.epoch() << 32 | seed >> 32);
        let mut engine = Self {
            me: node,
            incarnation,
            boot,
            seed,
            random: Random::new(seed ^ node.get()),
            liveness: Liveness::new(boot, config.replica.heartbeat_interval),
            forwarding: Forwarding::new(config.forward_timeout, config.replica.election_timeout),
            config: Arc::new(config),
            log,
            snapshots,
            groups: BTreeMap::new(),
            timers: BTreeSet::new(),
            outgoing: Outgoing::default(),
            timings: Timings::default(),
            answers: Vec::new(),
            effects: VecDeque::new(),
            seal_at: None,
            collecting: false,
            collected_at: 0,
            disk: DiskWatch::new(now),
            collection: Collection::default(),
            traffic: SnapshotTraffic::default(),
        };
        for damaged in engine.snapshots.damaged() {
            let why = format!("a snapshot is left alone and not used: {damaged}");
            engine.effects.push_back(Effect::Trouble { why });
        }
        engine.report_places();
        for (group, mut recovered) in recovered {
            engine.begin_at_snapshot(group, &mut recovered, machines);
            let state = engine.settle_state(group, &recovered, machines)?;
            engine.report_damage(group, &recovered);
            engine.start(group, recovered, state, now);
        }
        Ok(engine)
    }

    /// Creates a group of which this node holds nothing yet, with its first membership.
    ///
    /// # Errors
    /// Where nobody brought a state machine for it, or that is not empty; where the log may
    /// have lost groups and this may be one of them.
    ///
    /// # Panics
    /// Where the group exists.
    pub fn create_group(
        &mut self,
        group: GroupId,
        membership: Membership,
        machines: &mut Machines,
        now: Instant,
    ) -> Result<(), OpenError> {
        assert!(!self.groups.contains_key(&group), "group {group} exists");
        if self.log.may_lack_groups() {
            return Err(OpenError::MayHaveHad(group));
        }
        let shape = LogShape::new(Position::ZERO, membership.clone());
        let hard_state = HardState::default();
        let recovered = RecoveredGroup { hard_state, shape, damaged_up_to: None };
        let state = self.settle_state(group, &recovered, machines)?;
        self.log.create_group(group, membership);
        self.start(group, recovered, state, now);
        Ok(())
    }

    /// Brings a state machine into the range of its log, and says where it is and what it
    /// knows of the time.
    fn settle_state(
        &self,
        group: GroupId,
        recovered: &RecoveredGroup,
        machines: &mut Machines,
    ) -> Result<(Index, Timekeeping), OpenError> {
        let shape = &recovered.shape;
        let machine = machines.get_mut(group).ok_or(OpenError::NoMachine(group))?;
        let (floor, last) = (shape.floor().index, shape.last().index);
        if machine.applied() < floor {
            // An installation was interrupted, or the state machine keeps nothing.
            let index = self.newest_in(group, shape).ok_or_else(|| OpenError::StateBehind {
                group,
                applied: machine.applied(),
                floor,
            })?;
            let mut image = self.snapshots.reader(group, index)?;
            machine
                .restore(index, &mut image)
                .map_err(|source| OpenError::Restore { group, source })?;
        }
        let applied = machine.applied();
        // What is applied is committed, so that a leader sends it again.
        if applied > last && recovered.damaged_up_to.is_none() {
            return Err(OpenError::StateAhead { group, applied, last });
        }
        Ok((applied, machine.timekeeping()))
    }

    /// The newest snapshot that is part of this log. One that was received and never
    /// installed may lie beside it, at an index where the log holds an entry of another
    /// term: the log decides, for that is where an installation is committed.
    fn newest_in(&self, group: GroupId, shape: &LogShape) -> Option<Index> {
        let mut below = shape.last().index;
        loop {
            let meta = self.snapshots.newest_up_to(group, below)?;
            if meta.position.index < shape.floor().index {
                return None;
            }
            if shape.holds(meta.position) {
                return Some(meta.position.index);
            }
            below = meta.position.index.prev();
        }
    }

    fn start(
        &mut self,
        group: GroupId,
        recovered: RecoveredGroup,
        (applied, time): (Index, Timekeeping),
        now: Instant,
    ) {
        let start = Start {
            group,
            me: self.me,
            incarnation: self.incarnation,
            boot: self.boot,
            seed: self.seed ^ group.0.rotate_left(32) ^ self.me.get(),
            recovered,
            applied,
        };
        let replica = Replica::new(self.config.replica.clone(), start, now);
        let mut state = Group::new(replica, applied, time);
        let newest = self.snapshots.newest_up_to(group, applied);
        state.has_snapshot(now, newest.map_or(Index::ZERO, |meta| meta.position.index));
        self.groups.insert(group, state);
        self.set_timer(group);
    }
}
