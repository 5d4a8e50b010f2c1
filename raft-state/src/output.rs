//! Everything a replica can want.

use alloc::boxed::Box;
use alloc::vec::Vec;

use raft_core::{
    Body, Entry, GroupId, Incarnation, Index, Message, NodeId, Position, SnapshotMeta, Term, Token,
    Write,
};

use crate::changing::ChangeRefusal;
use crate::input::{Input, ProposalId, ReadId};
use crate::role::RoleName;
use crate::transfer::TransferOutcome;

/// One thing a replica wants done, or has to say. The set is closed; outputs are
/// handled in the order in which they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Write this to the log, and say [`crate::Input::Persisted`] once it is durable.
    Persist(Write),
    /// Send this now.
    Send(Message),
    /// Read entries from the log and send them.
    SendEntries(SendEntries),
    /// Send the newest snapshot, in messages with this token and term.
    SendSnapshot {
        /// To whom.
        to: NodeId,
        /// The term of the messages.
        term: Term,
        /// Their token.
        token: Token,
    },
    /// Everything up to here is committed and durable here: apply it, in order.
    Apply {
        /// The last index to apply.
        up_to: Index,
    },
    /// The installed snapshot is durable in the log: fill the state machine with it,
    /// then say [`crate::Input::Restored`]. Nothing is applied in between.
    Restore(Box<SnapshotMeta>),
    /// These proposals stand in the log from `first` on, in this term. They are
    /// committed if and only if an entry of that term is applied at their index.
    Proposed {
        /// The index of the first one.
        first: Index,
        /// The term they stand in.
        term: Term,
        /// The proposals in the order of the log.
        ids: Vec<ProposalId>,
    },
    /// These proposals were refused; nothing happened.
    ProposalsRefused {
        /// The proposals.
        ids: Vec<ProposalId>,
        /// Why.
        why: Refusal,
    },
    /// The change of the membership was refused; nothing happened. One that was not stands
    /// in the log, see [`Output::Proposed`]; the last step of a joint one follows by itself.
    ChangeRefused {
        /// The change.
        id: ProposalId,
        /// Why.
        why: ChangeRefusal,
    },
    /// The transfer of leadership is over. Each one ends, exactly once.
    TransferEnded {
        /// The transfer.
        id: ProposalId,
        /// What came of it.
        outcome: TransferOutcome,
    },
    /// This replica is no member any more, and that is committed. It has stopped, and
    /// nothing but refusals comes out of it.
    Removed {
        /// Where the membership without it stands.
        at: Position,
    },
    /// These reads may be answered once `index` is applied.
    ReadsReady {
        /// The reads.
        ids: Vec<ReadId>,
        /// What was committed when they were asked.
        index: Index,
    },
    /// These reads were refused.
    ReadsRefused {
        /// The reads.
        ids: Vec<ReadId>,
        /// Why.
        why: Refusal,
    },
    /// Another membership is in force, see [`crate::Replica::membership`]: the latest in the
    /// log, committed or not. A leader sends to its members from now on.
    MembershipChanged,
    /// Role, term or leader changed.
    RoleChanged(RoleChange),
    /// A peer broke its promises and is no longer served in this term.
    PeerBroken {
        /// The peer.
        peer: NodeId,
        /// What it did.
        evidence: Evidence,
    },
    /// What is committed here contradicts what a leader says: this group stops on this
    /// node, and says why. Nothing more comes out of the replica.
    Halt(Evidence),
    /// This replica leads, and commits nothing any more: what is not committed cannot be read
    /// ([`crate::Input::EntriesUnreadable`]), and there is no quorum without those who lack it.
    /// This group stops on this node, so that the others go on. Nothing more comes out of the
    /// replica.
    Unreadable {
        /// The first of the entries.
        from: Index,
    },
}

/// A request to read entries `from..=up_to` and send them as an append. Whoever owns
/// the log checks when it reads that the replica still leads in `term`, takes
/// `max_bytes` at most but at least one entry, and says [`crate::Input::Sent`], for which
/// there is [`SendEntries::append`], or [`crate::Input::EntriesGone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendEntries {
    /// To whom.
    pub to: NodeId,
    /// The life of its disk that is meant.
    pub to_disk: Incarnation,
    /// The term of the message.
    pub term: Term,
    /// Its token.
    pub token: Token,
    /// The position before the first entry.
    pub prev: Position,
    /// The first entry.
    pub from: Index,
    /// The last entry there is.
    pub up_to: Index,
    /// What the entries may weigh together.
    pub max_bytes: usize,
    /// The commit index to state.
    pub commit: Index,
}

impl SendEntries {
    /// The append that carries `entries`, as read from `me`'s log from [`Self::from`] on,
    /// and what to tell the replica once it has left.
    ///
    /// # Panics
    /// Without entries: say [`Input::EntriesGone`] instead.
    #[must_use]
    pub fn append(self, group: GroupId, me: NodeId, entries: Vec<Entry>) -> (Message, Input) {
        let Self { to, to_disk, term, token, prev, commit, .. } = self;
        let last = entries.last().map(|entry| entry.index);
        let last = last.unwrap_or_else(|| panic!("{self:?} is answered without an entry"));
        let bytes = entries.iter().map(Entry::weight).sum();
        let body = Body::Append { token, prev, entries, commit };
        let sent = Input::Sent { to, number: token.number, last, bytes };
        (Message { to_disk, ..Message::new(group, me, to, term, body) }, sent)
    }
}

/// Why a request is refused. Nothing happened in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody else leads, or nobody known.
    NotLeader {
        /// The leader, where known.
        leader: Option<NodeId>,
    },
    /// Too many bytes are proposed and not committed; try again.
    Overloaded,
    /// Leadership is being handed over, which takes an election timeout at most; try again.
    Transferring,
    /// The leader's disk is full: somebody has to make room there. A replica does not know
    /// its disk; whoever drives it says this.
    NoRoom,
}

/// What a replica has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// What it is.
    pub role: RoleName,
    /// The term it is in.
    pub term: Term,
    /// Who leads in that term, where known.
    pub leader: Option<NodeId>,
}

/// What a peer did that no correct replica does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A leader's append or snapshot contradicts what is committed here.
    Contradiction {
        /// The leader.
        from: NodeId,
        /// Its term.
        term: Term,
        /// What is committed here.
        own: Position,
        /// What it says stands there, or, of a later index and an earlier term, after it.
        theirs: Position,
    },
    /// Two nodes lead in one term.
    TwoLeaders {
        /// The term.
        term: Term,
        /// Who was known to lead.
        known: NodeId,
        /// Who says it leads as well.
        other: NodeId,
    },
    /// What no replica would send: numbers out of all proportion, an append with gaps, falling
    /// terms or an unreadable membership, a snapshot of a term to come or without a voter.
    Malformed,
    /// A follower denied what it had acknowledged.
    Denied,
    /// A follower acknowledged what it never got.
    Invented,
    /// A message for a commit index beyond the receiver's log.
    CommitBeyondLog {
        /// The commit index it states.
        commit: Index,
        /// Where the log ends.
        last: Index,
    },
}
