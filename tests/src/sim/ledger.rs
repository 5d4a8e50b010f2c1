//! What the logs of a run have held and promised, over all nodes and lives.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use raft_core::{
    Body, EntryKind, Envelope, GroupId, Incarnation, Index, LogShape, Membership, Message, NodeId,
    Position, Term,
};
use raft_state::Replica;

use super::invariant::Check;

/// How one replica stood after the last event it was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) term: Term,
    pub(crate) commit: Index,
    /// The term of the entry up to which all is committed, as the log has it.
    commit_term: Option<Term>,
    floor: Position,
    /// Where the membership in force stands.
    pub(crate) members: Index,
    leads: bool,
}

impl Seen {
    pub(crate) fn of(replica: &Replica) -> Self {
        let log = replica.log();
        Self {
            term: replica.term(),
            commit: replica.commit(),
            commit_term: log.term_at(replica.commit()),
            floor: log.floor(),
            members: log.membership_index(),
            leads: replica.is_leader(),
        }
    }
}

/// What a look at a replica has brought.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Entries up to here are committed, as nobody has known before.
    pub(crate) committed: Option<Position>,
    /// Members that the group has got by it, and those it has lost.
    pub(crate) added: Vec<NodeId>,
    pub(crate) removed: Vec<NodeId>,
    /// How many of its memberships were joint.
    pub(crate) joint: u64,
}

/// Facts about the logs of all groups.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    groups: BTreeMap<GroupId, GroupLedger>,
    /// Whom each node has given its vote in each term.
    votes: BTreeMap<(GroupId, Term, NodeId), NodeId>,
    /// What nodes have voted that are gone, and whose id another one has got.
    votes_before: BTreeSet<(GroupId, Term, NodeId, NodeId)>,
}

#[derive(Debug, Default)]
struct GroupLedger {
    /// From index 1 on, without a gap.
    committed: Vec<Committed>,
    /// The memberships that were committed.
    members: BTreeMap<Index, Membership>,
    /// Who was a member once and is none any more.
    removed: BTreeSet<(NodeId, Incarnation)>,
    /// Every entry that any leader has ever sent.
    sent: BTreeMap<(Index, Term), Sent>,
}

#[derive(Clone, Copy, Debug)]
struct Committed {
    term: Term,
    /// The term of the leader that committed it.
    in_term: Term,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    prev_term: Term,
    kind: EntryKind,
    payload: Bytes,
}

impl Ledger {
    /// Takes in what has changed at a replica, and checks it against all that is known.
    pub(crate) fn note(
        &mut self,
        id: NodeId,
        replica: &Replica,
        before: Seen,
        now: Seen,
    ) -> Result<News, String> {
        let group = replica.group();
        let what = |check: Check, what: &str| {
            check.fails(format_args!("node {id}, group {group}: {what}: {before:?} {now:?}"))
        };
        if now.commit < before.commit || now.term < before.term {
            return Err(what(Check::NeverBack, "term or commit went back"));
        }
        // A change is made only where the one before it is committed, and an entry of the
        // leader's own term (thesis, section 4.1, and the correction of 2015).
        let goes_on = now.leads && before.leads && now.term == before.term;
        if goes_on && now.members > before.members.max(now.floor.index) {
            // Of several in one event each but the last as well.
            let earlier = replica.log().membership_position_at(now.members.prev()).index;
            if before.members.max(earlier) > now.commit {
                return Err(what(Check::OneChange, "two changes of the members are under way"));
            }
            if replica.log().term_at(now.commit) != Some(now.term) {
                return Err(what(
                    Check::OneChange,
                    "the members change before the term's first commit",
                ));
            }
        }
        // Who is no voter any more leads until that is committed, and no longer (section 4.2.2).
        let log = replica.log();
        if now.leads && now.members <= now.commit && !log.membership().is_voter(id) {
            return Err(what(Check::OnlyVotersLead, "a node leads that was removed"));
        }
        // A leader counts on entries of its own term only (thesis, section 3.6.2).
        let commits = goes_on && now.commit > before.commit;
        let known = self.groups.entry(group).or_default();
        let news =
            known.commit(replica, before, now).map_err(|why| what(Check::CommittedStays, &why))?;
        // Whoever was elected in this event may have heard before of what others knew already.
        let first = now.leads && news.committed.is_some();
        if (commits || first) && replica.log().term_at(now.commit) != Some(now.term) {
            return Err(what(Check::OwnTermOnly, "an entry of an earlier term is counted"));
        }
        if now.floor != before.floor && now.floor.index > Index::ZERO {
            known.floor(replica.log()).map_err(|why| what(Check::CommittedStays, &why))?;
        }
        Ok(news)
    }

    /// Leader completeness: a leader has every entry that was committed in an earlier term
    /// (thesis, section 3.6.3). And a quorum has voted for it, and it has a vote itself: in its
    /// latest membership, or in the one before while that is not committed (section 4.2.2).
    pub(crate) fn leads(&self, id: NodeId, term: Term, replica: &Replica) -> Result<(), String> {
        let (group, log) = (replica.group(), replica.log());
        let voted = |voter| {
            voter == id
                || self.votes.get(&(group, term, voter)) == Some(&id)
                || self.votes_before.contains(&(group, term, voter, id))
        };
        if !is_quorum(log.membership(), voted) {
            let what =
                format_args!("node {id} leads group {group} in term {term} without a quorum");
            return Err(Check::ElectedByQuorum.fails(what));
        }
        let certain = log.membership_at(replica.commit().max(log.membership_index().prev()));
        if !log.membership().is_voter(id) && !certain.is_voter(id) {
            let what = format_args!("node {id} leads group {group} in term {term} without a vote");
            return Err(Check::OnlyVotersLead.fails(what));
        }
        let Some(known) = self.groups.get(&group) else { return Ok(()) };
        let Some(place) = known.committed.iter().rposition(|entry| entry.in_term < term) else {
            return Ok(());
        };
        let at = Position { term: known.committed[place].term, index: Index(place as u64 + 1) };
        if log.floor().index >= at.index || log.holds(at) {
            return Ok(());
        }
        let what =
            format_args!("node {id} leads group {group} in term {term} and lacks the entry {at}");
        Err(Check::LeaderCompleteness.fails(what))
    }

    /// Log matching: where index and term of two entries are the same, so are the entries
    /// and what stands before them. And one vote per term (thesis, figure 3.2).
    pub(crate) fn sent(&mut self, envelope: &Envelope) -> Result<(), String> {
        let Envelope::Group(Message { group, from, to, term, body, .. }) = envelope else {
            return Ok(());
        };
        let voted_for = match body {
            Body::Append { prev, entries, .. } => {
                let known = self.groups.entry(*group).or_default();
                let mut prev_term = prev.term;
                for entry in entries {
                    let (kind, payload) = (entry.kind, entry.payload.clone());
                    let sent = Sent { prev_term, kind, payload };
                    let place = (entry.index, entry.term);
                    let first = known.sent.entry(place).or_insert_with(|| sent.clone());
                    if *first != sent {
                        let what =
                            format_args!("group {group}: {place:?} is {first:?} and {sent:?}");
                        return Err(Check::LogMatching.fails(what));
                    }
                    prev_term = entry.term;
                }
                return Ok(());
            }
            Body::Vote { .. } => from,
            Body::VoteReply { granted: true, .. } => to,
            _ => return Ok(()),
        };
        let first = *self.votes.entry((*group, *term, *from)).or_insert(*voted_for);
        if first == *voted_for {
            return Ok(());
        }
        let what = format_args!(
            "node {from} votes for {first} and {voted_for} in term {term}, group {group}"
        );
        Err(Check::OneVote.fails(what))
    }

    /// The latest membership that is committed; nobody before the first one is.
    pub(crate) fn members(&self, group: GroupId) -> Membership {
        let latest = self.groups.get(&group).and_then(|known| known.members.last_key_value());
        latest.map(|(_, members)| members.clone()).unwrap_or_default()
    }

    /// Whether the node was a member and is none any more, as is committed.
    pub(crate) fn is_removed(&self, group: GroupId, id: NodeId, disk: Incarnation) -> bool {
        self.groups.get(&group).is_some_and(|known| known.removed.contains(&(id, disk)))
    }

    /// Another node gets the id of one that is gone: it has promised nothing.
    pub(crate) fn succeeds(&mut self, id: NodeId) {
        self.votes.retain(|(group, term, voter), to| {
            let stays = *voter != id;
            if !stays {
                self.votes_before.insert((*group, *term, id, *to));
            }
            stays
        });
    }

    /// The newest term in which a leader has committed anything.
    pub(crate) fn newest_term(&self, group: GroupId) -> Term {
        let last = self.groups.get(&group).and_then(|known| known.committed.last());
        last.map_or(Term::ZERO, |entry| entry.in_term)
    }

    /// Where the committed part of a group's log ends.
    pub(crate) fn committed(&self, group: GroupId) -> Index {
        Index(self.groups.get(&group).map_or(0, |known| known.committed.len() as u64))
    }
}

impl GroupLedger {
    /// Committed entries never change, and are committed one after another.
    fn commit(&mut self, replica: &Replica, before: Seen, now: Seen) -> Result<News, String> {
        let (log, mut news) = (replica.log(), News::default());
        let from = before.commit.max(now.floor.index);
        for index in from.0 + 1..=now.commit.0 {
            let index = Index(index);
            let term = log.term_at(index).ok_or_else(|| format!("no entry {index}"))?;
            match self.committed.get(index.0 as usize - 1) {
                Some(first) if first.term == term => {}
                Some(first) => {
                    return Err(format!("{index} is committed in {} and {term}", first.term));
                }
                None if index.0 as usize == self.committed.len() + 1 => {
                    self.committed.push(Committed { term, in_term: now.term });
                    self.note_members(index, log.membership_at(index), &mut news);
                    news.committed = Some(Position { term, index });
                }
                None => return Err(format!("{index} is committed, what stands before is not")),
            }
        }
        // Where index and term are the same, so is all before: the last one is enough.
        let stands = now.commit.0.checked_sub(1).map(|place| self.committed.get(place as usize));
        if stands.is_some_and(|entry| entry.map(|entry| entry.term) != now.commit_term) {
            return Err(format!("{} was committed as {stands:?}", now.commit));
        }
        Ok(news)
    }

    fn note_members(&mut self, index: Index, members: &Membership, news: &mut News) {
        let last = self.members.last_key_value().map(|(_, members)| members);
        if last == Some(members) {
            return;
        }
        if let Some(last) = last {
            let (old, new) = (last.members(), members.members());
            news.added.extend(new.keys().filter(|id| !old.contains_key(id)));
            news.removed.extend(old.keys().filter(|id| !new.contains_key(id)));
        }
        news.joint += u64::from(members.is_joint());
        if let Some(last) = last {
            let disk = |id: &NodeId| (*id, last.members()[id].incarnation);
            self.removed.extend(news.removed.iter().map(disk));
        }
        self.members.insert(index, members.clone());
    }

    /// What is gone from a log was committed, and the members there are the ones that were.
    fn floor(&self, log: &LogShape) -> Result<(), String> {
        let floor = log.floor();
        let stands = self.committed.get(floor.index.0 as usize - 1).map(|entry| entry.term);
        if stands != Some(floor.term) {
            return Err(format!("the log begins at {floor}, where {stands:?} stands"));
        }
        let members = self.members.range(..=floor.index).next_back().map(|(_, members)| members);
        if members != Some(log.membership_at(floor.index)) {
            return Err(format!("at {floor} the members were {members:?}, the log has another"));
        }
        Ok(())
    }
}

/// Whether those who have something are a majority of the voters, and of the outgoing ones in
/// a joint membership (thesis, section 4.3). Not what the product counts with: a mistake there
/// must not hide itself.
pub(crate) fn is_quorum(members: &Membership, has: impl Fn(NodeId) -> bool) -> bool {
    let majority = |voters: &BTreeSet<NodeId>| {
        2 * voters.iter().filter(|voter| has(**voter)).count() > voters.len()
    };
    majority(members.voters()) && (!members.is_joint() || majority(members.outgoing()))
}

/// A replica is on one disk of one node: another disk under that id holds nothing of it.
pub(crate) type OnDisk = (NodeId, Incarnation);

/// What a node that is gone, or down, had durable in each group.
#[derive(Debug, Default)]
pub(crate) struct Stored(BTreeMap<(OnDisk, GroupId), Kept>);

#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) log: LogShape,
    durable: Index,
    /// Where the log had ended before the disk lost a part of it.
    lost_up_to: Option<Position>,
}

impl Kept {
    /// What was durable before a crash is there after it.
    pub(crate) fn is_still_there(&self, id: NodeId, replica: &Replica) -> Result<(), String> {
        let (log, index) = (replica.log(), self.durable);
        let Some(term) = self.log.term_at(index) else { return Ok(()) };
        let at = Position { term, index };
        let says_so = replica.damaged_up_to().is_some_and(|up_to| at <= up_to);
        if says_so || has(log, log.last().index, at) {
            return Ok(());
        }
        let (group, floor, last) = (replica.group(), log.floor(), log.last());
        let what = format_args!(
            "node {id}, group {group}: {at} was durable, the log goes from {floor} to {last}"
        );
        Err(Check::DurableBeforeSent.fails(what))
    }

    /// Whether its disk is known to have lost something.
    pub(crate) const fn lacks(&self) -> bool {
        self.lost_up_to.is_some()
    }

    /// What a disk has lost counts as well: its replica lets nobody be elected who lacks it.
    pub(crate) fn holds(&self, at: Position) -> bool {
        self.lost_up_to.is_some_and(|up_to| at <= up_to) || has(&self.log, self.durable, at)
    }
}

impl Stored {
    pub(crate) fn keep(&mut self, node: OnDisk, replica: &Replica) {
        let (log, durable) = (replica.log().clone(), replica.durable());
        let kept = Kept { log, durable, lost_up_to: replica.damaged_up_to() };
        self.0.insert((node, replica.group()), kept);
    }

    pub(crate) fn get(&self, node: OnDisk, group: GroupId) -> Option<&Kept> {
        self.0.get(&(node, group))
    }
}

/// Whether a log that is durable up to here has what was committed at a position.
pub(crate) fn has(log: &LogShape, durable: Index, at: Position) -> bool {
    log.floor().index >= at.index || durable >= at.index && log.holds(at)
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
