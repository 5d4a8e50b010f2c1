//! What must have come about once everything is healed.

use std::time::Duration;

use raft_core::{GroupId, Index, Instant, Membership, NodeId, Position, WhenCaughtUp};
use raft_node::engine::GroupView;
use raft_state::{Replica, Status};

use super::invariant::Check;
use super::members::knew_its_part;
use super::node::{FORWARDS, GROUPS};
use super::report::Broken;
use super::world::{CLIENTS, World};
use crate::linearizability::{Verdict, check};

/// How long it may take once everything is healed until a new write is done in each group. A
/// leader that has started anew applies a part of its log once more, and waits for its store,
/// which at times takes seconds for a flush.
const SERVES: Duration = Duration::from_secs(15);
/// How long until all has settled, and again after each trial.
const SETTLES: Duration = Duration::from_secs(20);
/// How long a node may take to answer, by its own clock: a read waits an election timeout (1 s) for
/// an answer and then for what that names, and a pause may come on top.
const ANSWERS: Duration = FORWARDS.saturating_add(Duration::from_secs(4));
/// Where clocks run wild all may take so many times longer.
const WILD: u32 = 3;

/// Since when progress is demanded.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// When everything healed.
    pub(super) at: Instant,
    /// Since when all is to settle: the healing, or the end of the last trial.
    pub(super) settles_since: Instant,
}

impl World {
    /// Whether what must have come about by now has.
    pub(super) fn goes_on_in_time(&self) -> Result<(), String> {
        let wild = self.options.broken == Some(Broken::Clocks);
        let later = |limit: Duration, since: Instant| {
            self.now > since.after(if wild { limit * WILD } else { limit })
        };
        let late = if later(SETTLES, self.healing.settles_since) {
            format!("not settled within {SETTLES:?}")
        } else if later(SERVES, self.healing.at) && !self.serves() {
            format!("no new write in each group within {SERVES:?} of healing")
        } else {
            return Ok(());
        };
        Err(Check::Progress.fails(format_args!("{late}: {}", self.view())))
    }

    /// Whether a write that was asked for after the healing is done in each group, where anybody
    /// writes.
    fn serves(&self) -> bool {
        let writes = |client: usize| {
            let out = self.options.without.clients.has(client as u64);
            self.clients.writes_at_last(client) && !out
        };
        let done = |group: GroupId| self.clients.has_written_since(self.healing.at, group);
        GROUPS.into_iter().all(done) || !(0..CLIENTS).any(writes)
    }

    /// True where nobody waits for anything any more, and all members agree.
    pub(super) fn has_settled(&self) -> bool {
        self.healed
            && self.scans.iter().all(|scan| scan.is_some_and(|key| key > 5))
            && self.admin.oldest().is_none()
            && GROUPS.iter().all(|group| self.agrees(*group))
    }

    /// True where one member leads, no change is left undone, all logs end at the same
    /// position and all of it is applied, and whoever was removed knows it.
    fn agrees(&self, group: GroupId) -> bool {
        let members = self.ledger.members(group);
        let waits = |id: &NodeId| members.members()[id].when_caught_up != WhenCaughtUp::Stay;
        let dead = self.dead.is_some_and(|(id, disk)| members.names(id, disk));
        if members.is_joint() || dead || members.learners().iter().any(waits) {
            return false;
        }
        let ends: Option<Vec<_>> =
            members.members().keys().map(|id| self.end(*id, group)).collect();
        let Some(ends) = ends else { return false };
        let (last, _, _) = ends[0];
        let whole = |id: &NodeId| self.lost_up_to(*id, group).is_none();
        ends.iter().all(|end| *end == (last, &members, last.index))
            && members.members().keys().all(whole)
            && members.voters().iter().any(|id| self.is_leader(*id, group))
            && (0..self.nodes.len()).all(|node| self.knows_its_part(node, group, &members))
    }

    /// Where a member's log ends, the members in it, and up to where it is applied.
    fn end(&self, id: NodeId, group: GroupId) -> Option<(Position, &Membership, Index)> {
        let place = self.nodes.iter().position(|node| node.id == id)?;
        let applied = self.nodes[place].running.as_ref()?.engine.view(group)?.applied;
        let log = self.replica(place, group)?.log();
        Some((log.last(), log.membership(), applied))
    }

    fn is_leader(&self, id: NodeId, group: GroupId) -> bool {
        let place = self.nodes.iter().position(|node| node.id == id);
        place.and_then(|place| self.replica(place, group)).is_some_and(Replica::is_leader)
    }

    /// A node that is no member has stopped; unless it never was one, as far as it knows,
    /// or there is nobody left whom it could ask.
    fn knows_its_part(&self, node: usize, group: GroupId, members: &Membership) -> bool {
        let (id, disk) = (self.nodes[node].id, self.nodes[node].incarnation);
        let Some(replica) = self.replica(node, group) else {
            return !self.nodes[node].present || !self.ledger.is_removed(group, id, disk);
        };
        if members.is_member(id) || replica.is_halted() || !knew_its_part(replica, id, disk) {
            return true;
        }
        let own = replica.membership();
        let mut others = own.members().keys().filter(|other| own.is_voter(**other));
        !others.any(|other| members.names(*other, own.members()[other].incarnation))
    }

    /// How everything stands, for whoever reads of a failure.
    pub(super) fn view(&self) -> String {
        let (scans, oldest, dead) = (&self.scans, self.admin.oldest(), self.dead);
        let mut text = format!("scans {scans:?}, under way {oldest:?}, disk lost {dead:?}");
        for node in &self.nodes {
            for group in GROUPS {
                let view = node.running.as_ref().and_then(|running| running.engine.view(group));
                text += &format!("\n  node {} group {group}: ", node.id);
                text += &view.map_or("down".to_owned(), |view| told(&view));
            }
        }
        text
    }

    /// Whether what clients saw can be explained, and all states are the same.
    pub(super) fn judge(&mut self) -> Result<(), String> {
        for (place, node) in self.nodes.iter().enumerate() {
            for group in GROUPS {
                let Some(store) = node.store(group) else { continue };
                if let Some(hash) = self.told_by_store(place, store.state_hash())? {
                    self.checks.holds(group, node.id, store.applied(), hash)?;
                }
            }
        }
        self.nobody_waits()?;
        for group in GROUPS {
            let (committed, last) = (self.ledger.committed(group), self.last_of_leader(group));
            if last != Some(committed) {
                let what =
                    format_args!("group {group} ends at {last:?}, {committed} was committed");
                return Err(Check::CommittedStays.fails(what));
            }
        }
        match check(&self.clients.history) {
            Verdict::Linearizable => Ok(()),
            Verdict::Violation(violation) => Err(Check::Linearizable.fails(violation)),
        }
    }

    /// Whatever was asked for long ago has been answered, and at members whatever was proposed
    /// or is to be read.
    fn nobody_waits(&self) -> Result<(), String> {
        for (place, node) in self.nodes.iter().enumerate() {
            let Some(running) = &node.running else { continue };
            let long_ago =
                running.clock.shows(self.now).0.saturating_sub(ANSWERS.as_nanos() as u64);
            self.checks.asked.nobody_since(place, Instant(long_ago))?;
        }
        for (node, group) in self.nodes.iter().flat_map(|node| GROUPS.map(|group| (node, group))) {
            let view = node.running.as_ref().and_then(|running| running.engine.view(group));
            let member = self.ledger.members(group).is_member(node.id);
            let Some(figures) = view.filter(|_| member).map(|view| view.figures) else { continue };
            let waiting = (figures.waiting_proposals, figures.waiting_reads);
            if waiting != (0, 0) {
                let id = node.id;
                let what = format_args!("node {id}, group {group}: {waiting:?} writes, reads wait");
                return Err(Check::Answered.fails(what));
            }
        }
        Ok(())
    }

    fn last_of_leader(&self, group: GroupId) -> Option<Index> {
        let replica = self.replica(self.leader(group)?, group)?;
        Some(replica.log().last().index)
    }
}

fn told(view: &GroupView) -> String {
    let GroupView { status, applied, members, removed, halted, .. } = view;
    let Status { role, term, leader, last, commit, .. } = status;
    let (voters, outgoing, learners) = (members.voters(), members.outgoing(), members.learners());
    format!(
        "{role:?} {term} leader {leader:?}, last {last} commit {commit} applied {applied}, voters \
         {voters:?} outgoing {outgoing:?} learners {learners:?}, removed {removed:?} halted \
         {halted:?}"
    )
}
