//! Looking at a replica after every event.

use raft_core::{Body, Envelope, GroupId, Index, Membership, Message, Position, Term};
use raft_state::{ReadId, Replica};

use super::invariant::Check;
use super::ledger::{News, OnDisk, Seen, has, is_quorum};
use super::node::{GROUPS, SimNode};
use super::store::SimStore;
use super::world::World;

impl World {
    /// Compares what a node's replicas have come to with all that is known.
    pub(super) fn observe(&mut self, node: usize) -> Result<(), String> {
        let id = self.nodes[node].id;
        let on_disk = (id, self.nodes[node].incarnation);
        for (place, group) in GROUPS.into_iter().enumerate() {
            let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
            let Some(replica) = running.engine.replica(group) else { continue };
            let (before, now) = (running.seen[place], Seen::of(replica));
            if before == now {
                continue;
            }
            running.seen[place] = now;
            self.terms.note(self.now, on_disk, group, now.term);
            let News { committed, added, removed, joint } =
                self.ledger.note(id, replica, before, now)?;
            let counts = &mut self.admin.counts;
            counts.added += added.len() as u64;
            counts.removed += removed.len() as u64;
            counts.joint += joint;
            if let Some(at) = committed {
                self.is_durable(node, group, before, at)?;
            }
        }
        Ok(())
    }

    /// What is committed is durable on a quorum, those who are down included (thesis,
    /// section 3.6.2). Where the members changed in the same event, it may be one of those
    /// before.
    fn is_durable(
        &self,
        node: usize,
        group: GroupId,
        before: Seen,
        at: Position,
    ) -> Result<(), String> {
        let Some(replica) = self.replica(node, group) else { return Ok(()) };
        let log = replica.log();
        if replica.is_leader() {
            self.matches_are_durable(node, group, replica)?;
        }
        let changed = before.members != log.membership_index();
        let known = changed && before.members >= log.floor().index;
        let hold = |members: &Membership| {
            is_quorum(members, |id| self.holds((id, members.disk_of(id)), group, at))
        };
        if hold(log.membership()) || known && hold(log.membership_at(before.members)) {
            return Ok(());
        }
        let id = self.nodes[node].id;
        Err(Check::DurableOnQuorum.fails(format_args!(
            "node {id}, group {group}: {at} is committed without a quorum: {}",
            self.view()
        )))
    }

    /// What a leader counts on is durable where it says (thesis, section 3.6.2), or was on the
    /// disk that is meant, while that was there.
    fn matches_are_durable(
        &self,
        node: usize,
        group: GroupId,
        replica: &Replica,
    ) -> Result<(), String> {
        for peer in replica.status().peers {
            let (log, matched) = (replica.log(), peer.matched);
            // What it knows nothing of, nobody has from it.
            let beyond = (matched > log.last().index).then_some(Term::ZERO);
            let Some(term) = log.term_at(matched).or(beyond) else { continue };
            let at = Position { term, index: peer.matched };
            let disk = replica.membership().disk_of(peer.id);
            if peer.matched > Index::ZERO && !self.holds((peer.id, disk), group, at) {
                let (id, view) = (self.nodes[node].id, self.view());
                let what = format_args!(
                    "node {id} counts on {at} at {} in group {group}: {view}",
                    peer.id
                );
                return Err(Check::MatchIsDurable.fails(what));
            }
            let (appends, bytes) = peer.in_flight;
            if appends == 0 && bytes > 0 {
                let id = self.nodes[node].id;
                let what = format_args!("node {id} counts {bytes} bytes to {} for ever", peer.id);
                return Err(Check::FlightsEnd.fails(what));
            }
        }
        Ok(())
    }

    /// Whoever says what only leaders say was elected, also where it leads no more by the end of
    /// its event.
    pub(super) fn says_what_leaders_say(
        &mut self,
        node: usize,
        envelope: &Envelope,
    ) -> Result<(), String> {
        let id = self.nodes[node].id;
        let mut leads = |group, term| match self.checks.leader(group, term) {
            Some(leader) if leader == id => Ok(()),
            _ => self.leads(node, group, term),
        };
        match envelope {
            Envelope::Beat(beat) => beat.groups.iter().try_for_each(|it| leads(it.group, it.term)),
            Envelope::Group(Message {
                group,
                term,
                body: Body::Append { .. } | Body::SnapshotChunk { .. } | Body::TimeoutNow { .. },
                ..
            }) => leads(*group, *term),
            _ => Ok(()),
        }
    }

    /// Leadership is handed over only to who has all of the log for good: with less it could
    /// not win, or would win without what is committed (thesis, section 3.10). Who goes since it
    /// was removed names a successor as well as it can, and is over by then.
    pub(super) fn hands_over_to_who_has_all(
        &self,
        node: usize,
        envelope: &Envelope,
    ) -> Result<(), String> {
        let Envelope::Group(message @ Message { group, to, .. }) = envelope else { return Ok(()) };
        let Body::TimeoutNow { last, .. } = message.body else { return Ok(()) };
        let named = |other: &SimNode| other.id == *to && message.means(other.incarnation);
        let goes = self.replica(node, *group).is_none_or(|replica| {
            let certain = replica.log().membership_index() <= replica.commit();
            certain && !replica.membership().is_voter(self.nodes[node].id)
        });
        if goes || !self.nodes.iter().any(named) || self.holds((*to, message.to_disk), *group, last)
        {
            return Ok(());
        }
        let (id, view) = (self.nodes[node].id, self.view());
        let what = format_args!("node {id} asks {to} to lead group {group} with {last}: {view}");
        Err(Check::MatchIsDurable.fails(what))
    }

    /// What a disk has lost counts as well: the replica lets nobody be elected who lacks it.
    fn holds(&self, node: OnDisk, group: GroupId, at: Position) -> bool {
        let place = self.nodes.iter().position(|other| (other.id, other.incarnation) == node);
        if place.is_some_and(|place| self.forgetting.has_forgotten(place)) {
            return true;
        }
        match place.and_then(|place| self.replica(place, group)) {
            Some(replica) => {
                let lost = replica.damaged_up_to().is_some_and(|up_to| at <= up_to);
                lost || has(replica.log(), replica.durable(), at)
            }
            None => self.stored.get(node, group).is_some_and(|kept| kept.holds(at)),
        }
    }

    /// The node that leads a group in the newest term.
    pub(super) fn leader(&self, group: GroupId) -> Option<usize> {
        let leads = |node: usize| {
            let replica = self.replica(node, group).filter(|replica| replica.is_leader())?;
            Some((replica.term(), node))
        };
        (0..self.nodes.len()).filter_map(leads).max().map(|(_, node)| node)
    }

    pub(super) fn replica(&self, node: usize, group: GroupId) -> Option<&Replica> {
        self.nodes[node].running.as_ref()?.engine.replica(group)
    }

    /// A node was elected.
    pub(super) fn leads(&mut self, node: usize, group: GroupId, term: Term) -> Result<(), String> {
        let id = self.nodes[node].id;
        self.checks.leads(group, term, id)?;
        let Some(replica) = self.replica(node, group) else { return Ok(()) };
        self.ledger.leads(id, term, replica)?;
        // Who is still to take a snapshot in may follow, for its log is only what it will be.
        let (floor, store) = (replica.log().floor().index, self.nodes[node].store(group));
        match store.map(SimStore::applied) {
            Some(applied) if applied < floor => Err(Check::BoundsInOrder.fails(format_args!(
                "node {id} leads group {group}: the log begins at {floor}, its state at {applied}"
            ))),
            _ => Ok(()),
        }
    }

    /// A node says nothing more in a term that it has left: who hears it takes its term for
    /// that one, and what it promises for promised in it (thesis, section 3.3).
    pub(super) fn speaks_in_its_term(
        &self,
        node: usize,
        envelope: &Envelope,
    ) -> Result<(), String> {
        let Envelope::Group(Message { group, term, to, body, .. }) = envelope else {
            return Ok(());
        };
        let running = self.nodes[node].running.as_ref();
        let before = running.zip(GROUPS.iter().position(|known| known == group));
        let Some(before) = before.map(|(running, place)| running.seen_before[place]) else {
            return Ok(());
        };
        if *term >= before.term {
            return Ok(());
        }
        let (id, left) = (self.nodes[node].id, before.term);
        Err(Check::NeverBack.fails(format_args!(
            "node {id} speaks to {to} in term {term} of group {group}, and was in {left}: {body:?}"
        )))
    }

    /// Whether a node is the only voter of a group.
    pub(super) fn decides_alone(&self, node: usize, group: GroupId) -> bool {
        let id = self.nodes[node].id;
        let members = self.replica(node, group).map(Replica::membership);
        members.is_some_and(|members| is_quorum(members, |voter| voter == id))
    }

    /// A read was answered without asking anybody, which a lease allows.
    pub(super) fn read_at_once(
        &mut self,
        node: usize,
        group: GroupId,
        read: ReadId,
    ) -> Result<(), String> {
        let id = self.nodes[node].id;
        let Some(term) = self.replica(node, group).map(Replica::term) else { return Ok(()) };
        if !self.leases {
            let what =
                format_args!("node {id}, group {group}: {read:?} is answered without a round");
            return Err(Check::LeaseHolds.fails(what));
        }
        self.lease_reads += 1;
        let newest = self.ledger.newest_term(group);
        if newest > term && self.watches_leases {
            return Err(Check::LeaseHolds.fails(format_args!(
                "node {id} answers {read:?} of group {group} by the lease of its term {term}, and \
                 the leader of {newest} has committed"
            )));
        }
        Ok(())
    }
}
