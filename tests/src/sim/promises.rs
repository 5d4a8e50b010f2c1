//! What nodes have promised one another, which no crash may take back.

use std::collections::BTreeMap;

use raft_core::{AppendOutcome, Body, Envelope, GroupId, Index, Message, NodeId, Term};
use raft_state::Replica;

use super::invariant::Check;

/// The promises of every node in every group.
#[derive(Debug, Default)]
pub(crate) struct Promises(BTreeMap<(NodeId, GroupId), Promised>);

#[derive(Clone, Copy, Debug, Default)]
struct Promised {
    /// The newest term it has spoken in.
    term: Term,
    /// Whom it has given its vote in that term.
    vote: Option<NodeId>,
    /// The latest acknowledgement: in which term, and up to where.
    acknowledged: (Term, Index),
}

impl Promised {
    fn votes(&mut self, whom: NodeId, term: Term) {
        self.vote = self.vote.or((term == self.term).then_some(whom));
    }
}

impl Promises {
    /// Notes what a message promises: who votes, follows or acknowledges in a term does not go
    /// back behind it, and what is acknowledged is durable. `follows` is the leader that the
    /// sender has: a heartbeat of an earlier one is only told of the newer term.
    pub(crate) fn sent(&mut self, id: NodeId, follows: Option<NodeId>, envelope: &Envelope) {
        match envelope {
            Envelope::BeatReply(reply) => {
                for beat in &reply.follows {
                    self.speaks(id, beat.group, beat.term);
                }
            }
            // Who leads has voted for itself, also where nobody else has a vote.
            Envelope::Beat(beat) => {
                for led in &beat.groups {
                    self.speaks(id, led.group, led.term).votes(id, led.term);
                }
            }
            _ => {}
        }
        let Envelope::Group(Message { group, from, to, term, body, .. }) = envelope else { return };
        // A pre-vote speaks of a term that nobody is in yet, and who refuses promises nothing.
        let binds = match body {
            Body::Vote { .. } | Body::VoteReply { granted: true, .. } => true,
            Body::Append { .. } | Body::SnapshotChunk { .. } | Body::TimeoutNow { .. } => true,
            Body::HeartbeatReply { .. } => follows == Some(*to),
            Body::SnapshotInstalled { .. } => true,
            Body::AppendReply { outcome, .. } => matches!(outcome, AppendOutcome::Matched(_)),
            _ => false,
        };
        if !binds {
            return;
        }
        let promised = self.speaks(*from, *group, *term);
        match body {
            Body::VoteReply { .. } => promised.votes(*to, *term),
            Body::HeartbeatReply { .. } | Body::SnapshotInstalled { .. } => {}
            Body::AppendReply { .. } => {}
            _ => promised.votes(*from, *term),
        }
        if let Body::AppendReply { outcome: AppendOutcome::Matched(index), .. }
        | Body::SnapshotInstalled { last: index, .. } = body
        {
            promised.acknowledged = promised.acknowledged.max((*term, *index));
        }
    }

    /// Another node gets the id of one that is gone: it has promised nothing.
    pub(crate) fn forget(&mut self, id: NodeId) {
        self.0.retain(|(node, _), _| *node != id);
    }

    fn speaks(&mut self, id: NodeId, group: GroupId, term: Term) -> &mut Promised {
        let promised = self.0.entry((id, group)).or_default();
        if term > promised.term {
            (promised.term, promised.vote) = (term, None);
        }
        promised
    }

    /// Compares what a node has come back with. In the term of an acknowledgement nobody cuts
    /// what it covers; a newer leader may have. What its disk has lost it says.
    pub(crate) fn kept(&self, id: NodeId, replica: &Replica) -> Result<(), String> {
        let group = replica.group();
        let Some(Promised { term, vote, acknowledged }) = self.0.get(&(id, group)) else {
            return Ok(());
        };
        if replica.term() == *term && vote.is_some() && replica.vote() != *vote {
            let now = replica.vote();
            let what = format_args!("node {id}, group {group}: {vote:?} has its vote, now {now:?}");
            return Err(Check::DurableBeforeSent.fails(what));
        }
        if replica.term() < *term {
            let back = replica.term();
            let what = format_args!("node {id}, group {group}: {term} was spoken in, now {back}");
            return Err(Check::NeverBack.fails(what));
        }
        let (in_term, index) = *acknowledged;
        let last = replica.log().last().index;
        // What a disk has lost is not there either, and the replica says so.
        let told = replica.damaged_up_to().map_or(last, |up_to| last.max(up_to.index));
        if replica.term() == in_term && told < index {
            let what = format_args!(
                "node {id}, group {group}: {index} was acknowledged in {in_term}, and after the \
                 crash the log ends at {last}"
            );
            return Err(Check::DurableBeforeSent.fails(what));
        }
        Ok(())
    }
}
