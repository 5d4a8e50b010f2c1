//! What a leader makes of answers: who counts as heard followed when the request left that it has
//! answered, and what is counted on was acknowledged in the leader's term.
//!
//! Leases, and a leader's belief that it still has a quorum, rest on the first (thesis, sections
//! 6.2 and 6.4.1); on the second, that nothing counts that was cut since (section 3.6.2).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use raft_core::{AppendOutcome, Body, Envelope, GroupId, Index, Instant, Message, Term};
use raft_state::Replica;

use super::invariant::Check;
use super::ledger::OnDisk;
use super::node::GROUPS;
use super::world::World;

/// For so long a process remembers what its clock has shown.
const REMEMBERED: Duration = Duration::from_secs(4);

/// When each replica came to which term.
#[derive(Debug, Default)]
pub(super) struct Terms(BTreeMap<(OnDisk, GroupId), Vec<(Instant, Term)>>);

impl Terms {
    /// A replica is in this term. What it had come to and lost in a crash it has told nobody.
    pub(super) fn note(&mut self, now: Instant, node: OnDisk, group: GroupId, term: Term) {
        let terms = self.0.entry((node, group)).or_default();
        terms.retain(|(_, known)| *known <= term);
        if terms.last().is_none_or(|(_, last)| *last < term) {
            terms.push((now, term));
        }
    }

    /// When it came to a later one than this.
    fn left(&self, node: OnDisk, group: GroupId, term: Term) -> Option<Instant> {
        let terms = self.0.get(&(node, group))?;
        terms.get(terms.partition_point(|(_, known)| *known <= term)).map(|(at, _)| *at)
    }
}

/// Up to where each replica has acknowledged in which term.
#[derive(Debug, Default)]
pub(super) struct Acknowledged(BTreeMap<(OnDisk, GroupId, Term), Index>);

impl Acknowledged {
    /// This leaves a node.
    pub(super) fn sent(&mut self, node: OnDisk, envelope: &Envelope) {
        let Envelope::Group(Message { group, term, body, .. }) = envelope else { return };
        if let Body::AppendReply { outcome: AppendOutcome::Matched(index), .. }
        | Body::SnapshotInstalled { last: index, .. } = body
        {
            let most = self.0.entry((node, *group, *term)).or_default();
            *most = (*index).max(*most);
        }
    }

    fn up_to(&self, node: OnDisk, group: GroupId, term: Term) -> Index {
        self.0.get(&(node, group, term)).copied().unwrap_or_default()
    }
}

/// What the clock of a process has shown, and when.
#[derive(Debug, Default)]
pub(crate) struct Moments(VecDeque<(Instant, Instant)>);

impl Moments {
    /// The clock shows this now.
    pub(super) fn note(&mut self, shows: Instant, now: Instant) {
        self.0.push_back((shows, now));
        while self.0.front().is_some_and(|(_, at)| at.after(REMEMBERED) < now) {
            self.0.pop_front();
        }
    }

    /// When it showed exactly this first, where that is remembered.
    fn when(&self, shown: Instant) -> Option<Instant> {
        let (shows, at) = self.0.get(self.0.partition_point(|(shows, _)| *shows < shown))?;
        (*shows == shown).then_some(*at)
    }
}

impl World {
    /// Looks at what a leader knows of the others, after it has heard anything.
    pub(super) fn counts_what_was_said(&self, node: usize) -> Result<(), String> {
        let Some(running) = &self.nodes[node].running else { return Ok(()) };
        for group in GROUPS {
            let replica = self.replica(node, group).filter(|replica| Replica::is_leader(replica));
            let Some(replica) = replica else { continue };
            for peer in replica.status().peers {
                let disk = replica.membership().disk_of(peer.id);
                let said = self.acknowledged.up_to((peer.id, disk), group, replica.term());
                if peer.matched > said {
                    let (id, term, matched) = (self.nodes[node].id, replica.term(), peer.matched);
                    let what = format_args!(
                        "node {id} counts on {matched} at {} in group {group}, which has \
                         acknowledged {said} in term {term}: {}",
                        peer.id,
                        self.view()
                    );
                    return Err(Check::MatchIsDurable.fails(what));
                }
                let Some(asked) = peer.contact.and_then(|contact| running.moments.when(contact))
                else {
                    continue;
                };
                let left = self.terms.left((peer.id, disk), group, replica.term());
                if left.is_some_and(|left| left < asked) {
                    let (id, term, view) = (self.nodes[node].id, replica.term(), self.view());
                    let what = format_args!(
                        "node {id} counts {} as heard in term {term} of group {group}, which it \
                         had left: {view}",
                        peer.id
                    );
                    return Err(Check::ContactHolds.fails(what));
                }
            }
        }
        Ok(())
    }
}
