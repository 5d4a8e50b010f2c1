//! Everything that can happen to a replica.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use raft_core::{
    GroupTime, Index, Instant, MemberChange, Message, NodeId, SnapshotMeta, Term, Token,
    WriteNumber,
};

/// Names a proposal towards whoever made it; unique among those under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProposalId(pub u64);

/// Names a read towards whoever asked; unique among those under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

/// A command on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its name in the answer.
    pub id: ProposalId,
    /// The command.
    pub payload: Bytes,
}

/// What a leader does with a change where a majority of the new membership has not been
/// heard for an election timeout: with it nothing could be committed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Unheard {
    /// Refuse the change.
    #[default]
    Refuse,
    /// Make it all the same. The group stands still until enough of them are up, and for
    /// good where they never are.
    DangerouslyAllow,
}

/// One thing that happened. The set is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time has passed; the deadline may have come.
    Timeout,
    /// A message arrived.
    Message(Message),
    /// Clients propose commands; together they become one write.
    Propose(Vec<Proposal>),
    /// The group's time, to be put into the log where this replica leads, has room
    /// for it and transfers no leadership; else nothing happens, and a later time takes its
    /// place (thesis, section 6.3).
    Clock(GroupTime),
    /// Change who takes part. Where it is not refused it stands in the log, like a proposal.
    ChangeMembers {
        /// Its name in the answer.
        id: ProposalId,
        /// The steps, which happen together.
        changes: Vec<MemberChange>,
        /// What to do where a majority of the new membership is not heard.
        unheard: Unheard,
    },
    /// Hand leadership over.
    Transfer {
        /// Its name in the answer.
        id: ProposalId,
        /// To whom; `None` for whoever is best placed.
        to: Option<NodeId>,
    },
    /// Stand for election now, instead of when the deadline has come.
    Campaign,
    /// Clients want to read what is committed now.
    Read(Vec<ReadId>),
    /// Every write up to this number is durable.
    Persisted(WriteNumber),
    /// The entries asked for by [`crate::Output::SendEntries`] have left.
    Sent {
        /// To whom.
        to: NodeId,
        /// The number in the request's token.
        number: u64,
        /// The last entry that left.
        last: Index,
        /// What the entries weigh.
        bytes: usize,
    },
    /// They are gone from the log.
    EntriesGone {
        /// For whom they were.
        to: NodeId,
        /// The number in the request's token.
        number: u64,
    },
    /// They cannot be read. Where the first of them is committed, a snapshot that reaches it
    /// is asked for; else it is tried again, as long as something may be committed without:
    /// see [`crate::Output::Unreadable`].
    EntriesUnreadable {
        /// For whom they were.
        to: NodeId,
        /// The number in the request's token.
        number: u64,
        /// The first of them.
        from: Index,
    },
    /// The transfer asked for by [`crate::Output::SendSnapshot`] came to nothing.
    SnapshotFailed {
        /// For whom it was.
        to: NodeId,
        /// The number in the transfer's token.
        number: u64,
    },
    /// A whole snapshot from the leader lies durable on the disk here.
    SnapshotReceived {
        /// Who sent it.
        from: NodeId,
        /// The term of its messages.
        term: Term,
        /// The transfer's token.
        token: Token,
        /// What it is.
        meta: Box<SnapshotMeta>,
    },
    /// The state machine holds the installed snapshot.
    Restored(Index),
    /// The log's entries up to here are gone: a snapshot covers them.
    Trimmed(Index),
    /// The leader of this term was heard by other means, a node-wide heartbeat.
    LeaderHeard {
        /// The leader.
        leader: NodeId,
        /// The term it leads.
        term: Term,
        /// When it was heard.
        at: Instant,
    },
    /// A follower in this term answered a node-wide heartbeat.
    FollowerHeard {
        /// The follower.
        follower: NodeId,
        /// The term it follows in.
        term: Term,
        /// When the heartbeat left.
        sent_at: Instant,
    },
}
