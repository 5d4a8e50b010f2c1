//! What a whole group must come through, tried in some runs once everything has settled.

use std::time::Duration;

use raft_core::{GroupId, Instant, NodeId, Term};
use raft_log::Room;
use raft_node::engine::Event;
use raft_node::kv::KvCommand;
use raft_state::{Proposal, ProposalId};

use super::admin::Wish;
use super::attempt::{SCRATCH_KEY, key_bytes};
use super::disk_pace::DiskPace;
use super::happening::Happening;
use super::invariant::Check;
use super::node::{GROUPS, SimNode};
use super::world::World;

/// How long it may take until another node leads and has committed.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a leader must stay the leader while nothing goes wrong.
const CALM: Duration = Duration::from_secs(4);
/// How long the disk of a leader answers nothing.
const STALL: Duration = Duration::from_secs(5);

/// The trial of a run.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is still to come.
    Before,
    UnderWay(Trial),
    /// Another leader was to follow, and has.
    Followed,
    Over,
}

/// A leader that others must follow.
#[derive(Debug)]
pub(super) struct Trial {
    what: What,
    group: GroupId,
    leader: NodeId,
    term: Term,
    until: Instant,
}

#[derive(Clone, Copy, Debug)]
enum What {
    /// It is asked to hand over.
    Transfer,
    /// It hears nobody, and everybody hears it.
    Deaf,
    /// Its disk answers nothing.
    HungDisk,
    /// Its disk is full.
    FullDisk,
    /// Nothing goes wrong.
    Calm,
}

impl World {
    /// True where the run is over: everything has settled, before the trial and after it.
    pub(super) fn has_ended(&mut self) -> Result<bool, String> {
        match &self.trial {
            Stage::Over => Ok(self.has_settled()),
            Stage::Before if !self.has_settled() || !self.is_quiet() => Ok(false),
            Stage::Before => {
                self.trial = Stage::Over;
                self.try_something()?;
                Ok(matches!(self.trial, Stage::Over))
            }
            Stage::Followed if !self.has_settled() || !self.is_quiet() => Ok(false),
            Stage::Followed => {
                self.trial = Stage::Over;
                if self.random.chance(300) {
                    self.try_this(What::Calm)?;
                }
                Ok(matches!(self.trial, Stage::Over))
            }
            Stage::UnderWay(Trial { what: What::Calm, group, leader, term, until }) => {
                let led = self.leader(*group).map(|node| self.nodes[node].id);
                if self.ledger.newest_term(*group) > *term || led != Some(*leader) {
                    let view = self.view();
                    let what = format_args!(
                        "{leader} lost {group} in term {term}, and nothing was wrong: {view}"
                    );
                    return Err(Check::Progress.fails(what));
                }
                if self.now > *until {
                    self.trial = Stage::Over;
                    self.healing.settles_since = self.now;
                }
                Ok(false)
            }
            Stage::UnderWay(trial) => {
                let Trial { what, group, leader, term, until } = *trial;
                if matches!(what, What::FullDisk) {
                    self.fill_disk(leader);
                }
                let led = self.leader(group).and_then(|node| self.replica(node, group));
                let later = led.is_some_and(|replica| replica.term() > term);
                if later && self.ledger.newest_term(group) > term {
                    self.network.cut.clear();
                    self.paces.fill(DiskPace::default());
                    self.nodes.iter().for_each(|node| node.disk.limit_bytes(u64::MAX));
                    self.note(format_args!("another leader has committed"));
                    self.trial = Stage::Followed;
                    self.healing.settles_since = self.now;
                } else if self.now > until {
                    let view = self.view();
                    let what = format_args!("{leader} has no successor, {what:?} {group} {view}");
                    return Err(Check::Progress.fails(what));
                }
                Ok(false)
            }
        }
    }

    /// Whether nothing from before the healing may yet take a leader's place from it.
    fn is_quiet(&self) -> bool {
        let goes = |happening: &Happening| matches!(happening, Happening::Restart(..));
        self.now > self.asked_until && !self.queue.values().any(goes)
    }

    fn try_something(&mut self) -> Result<(), String> {
        match self.random.below(8) {
            0 => self.try_this(What::Transfer),
            1 => self.try_this(What::Deaf),
            2 => self.try_this(What::HungDisk),
            3 => self.try_this(What::FullDisk),
            4 => self.try_this(What::Calm),
            _ => Ok(()),
        }
    }

    fn try_this(&mut self, what: What) -> Result<(), String> {
        let group = GROUPS[self.random.below(GROUPS.len() as u64) as usize];
        // Of two voters both must vote, or hear, or write.
        let least = match what {
            What::Calm => 1,
            What::Transfer => 2,
            What::Deaf | What::HungDisk | What::FullDisk => 3,
        };
        let enough = self.ledger.members(group).voters().len() >= least;
        let Some(node) = self.leader(group).filter(|_| enough) else { return Ok(()) };
        // One whose database has given up halts as soon as it notices.
        let may_halt = || self.nodes.iter().any(SimNode::database_is_refused);
        if matches!(what, What::Calm) && (!self.all_follow(group, node) || may_halt()) {
            return Ok(());
        }
        if matches!(what, What::FullDisk) && !self.notices_full_disk(node) {
            return Ok(());
        }
        let Some(term) = self.replica(node, group).map(raft_state::Replica::term) else {
            return Ok(());
        };
        let long = if matches!(what, What::Calm) { CALM } else { WITHIN };
        let (leader, until) = (self.nodes[node].id, self.now.after(long));
        let trial = Trial { what, group, leader, term, until };
        self.note(format_args!("{trial:?}"));
        self.trial = Stage::UnderWay(trial);
        match what {
            What::Calm => Ok(()),
            What::Transfer => {
                let wish = Wish::Transfer { to: None };
                let id = ProposalId(self.admin.ask(node, group, self.now, wish));
                self.event(node, Event::Transfer { group, id, to: None })
            }
            What::Deaf => {
                let others = self.nodes.iter().map(|other| other.id);
                self.network.cut.extend(others.filter(|id| *id != leader).map(|id| (id, leader)));
                Ok(())
            }
            What::FullDisk => {
                self.fill_disk(leader);
                Ok(())
            }
            What::HungDisk => {
                self.paces[node].stall(self.now.after(STALL));
                // Nobody waits for it: what counts is that there is something to write.
                let key = key_bytes(SCRATCH_KEY);
                let payload = KvCommand::Put { key, value: bytes::Bytes::from_static(&[0; 8]) };
                let id = ProposalId(self.clients.nobody());
                self.asks(id.0, node);
                let proposals = vec![Proposal { id, payload: payload.encode() }];
                self.event(node, Event::Propose { group, proposals })
            }
        }
    }

    /// Whatever room there is on a disk is taken, also what its node has just made.
    fn fill_disk(&self, id: NodeId) {
        for SimNode { disk, .. } in self.nodes.iter().filter(|node| node.id == id) {
            disk.limit_bytes(disk.used_bytes());
        }
    }

    /// Whether a node hands over soon where its disk is full: one that had no room a moment ago
    /// does not so again at once, and one that is to use all of the disk only when it writes.
    fn notices_full_disk(&self, node: usize) -> bool {
        let running = self.nodes[node].running.as_ref();
        let disk = running.map(|running| running.engine.figures().disk);
        disk.is_some_and(|disk| disk.room == Room::Plenty && disk.min_free_bytes > 0)
    }

    /// Whether nobody in a group is about to follow another leader.
    fn all_follow(&self, group: GroupId, leader: usize) -> bool {
        let (id, led) = (self.nodes[leader].id, self.replica(leader, group));
        let Some(term) = led.map(raft_state::Replica::term) else { return false };
        let members = self.ledger.members(group);
        let others = (0..self.nodes.len()).filter(|node| members.is_member(self.nodes[*node].id));
        others
            .filter_map(|node| self.replica(node, group))
            .all(|replica| replica.term() == term && replica.leader() == Some(id))
    }
}
