//! Entries that a leader can read no more, and others lack.
//!
//! What is committed reaches them by a snapshot. What is not can be committed all the same,
//! where a quorum turns out to have it already: so the leader goes on, and tries again. Where
//! so many lack it that there is no quorum without them, it commits nothing any more. Its
//! heartbeats keep the others from standing for election, and if it only stepped down it would
//! win the next one, as its log is the longest (thesis, section 3.6.1). So it stops, as if it
//! had crashed, where the others are a quorum without it. Whatever is committed one of them
//! holds.

use raft_core::{Index, Instant, NodeId, quorum};

use crate::output::Output;
use crate::replica::Replica;
use crate::role::Role;

/// What a follower lacks and cannot be sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsent {
    /// The first of these entries.
    from: Index,
    /// Since when every attempt to read what it lacks has failed.
    since: Instant,
}

impl Replica {
    pub(crate) fn on_entries_gone(&mut self, now: Instant, to: NodeId, number: u64) {
        let retry_at = now.after(self.config.heartbeat_interval);
        if let Some(peer) = self.peer_mut(to) {
            peer.read_failed(number, retry_at);
        }
    }

    pub(crate) fn on_entries_unreadable(
        &mut self,
        now: Instant,
        to: NodeId,
        number: u64,
        from: Index,
    ) {
        let (commit, retry_at) = (self.commit, now.after(self.config.heartbeat_interval));
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(peer) = leader.replication.peer_mut(to) else { return };
        if from <= commit {
            return peer.read_impossible(number, retry_at);
        }
        peer.read_failed(number, retry_at);
        let served = leader.replication.matched(to).max(commit);
        let before = leader.unsent.get(&to).filter(|unsent| unsent.from > served);
        let since = before.map_or(now, |unsent| unsent.since);
        leader.unsent.insert(to, Unsent { from, since });
        if self.can_commit_nothing(now) && self.others_are_a_quorum() {
            self.stop();
            self.outputs.push_back(Output::Unreadable { from });
        }
    }

    /// True where no quorum is left without those whose entries could not be read for an
    /// election timeout: so a disk that fails for a moment, or a quorum that has yet to answer,
    /// stops nobody.
    fn can_commit_nothing(&self, now: Instant) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let lacks = |id: NodeId| {
            leader.unsent.get(&id).is_some_and(|unsent| {
                unsent.from > self.commit.max(leader.replication.matched(id))
                    && now >= unsent.since.after(self.config.election_timeout)
            })
        };
        !quorum::reached(self.log.membership(), |id| !lacks(id))
    }

    fn others_are_a_quorum(&self) -> bool {
        quorum::reached(self.log.membership(), |id| id != self.me)
    }
}
