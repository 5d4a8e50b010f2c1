//! What nodes say to one another.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    Boot, Entry, Forward, ForwardReply, GroupId, Incarnation, Index, Membership, NodeId, Position,
    Term,
};

/// Marks a request; its reply echoes it, and a reply whose token is not awaited is
/// dropped. The boot keeps answers to a former run from being taken for new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token {
    /// The run of the asking node.
    pub boot: Boot,
    /// Rises with every request of one replica in that run.
    pub number: u64,
}

/// A message of one replica to another of the same group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// The group both belong to.
    pub group: GroupId,
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The life of the receiver's disk that is meant, as the sender's members name it; zero
    /// where it is whoever holds the id, as in an answer. Another life of it is another
    /// replica, whose vote or acknowledgement must not count for this one's.
    pub to_disk: Incarnation,
    /// The sender's term when it spoke; always its own, never one it hopes for.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// A message for whoever holds the receiver's id, whatever its disk.
    #[must_use]
    pub const fn new(group: GroupId, from: NodeId, to: NodeId, term: Term, body: Body) -> Self {
        Self { group, from, to, to_disk: Incarnation(0), term, body }
    }

    /// Whether it is meant for the replica on this disk.
    #[must_use]
    pub fn means(&self, disk: Incarnation) -> bool {
        self.to_disk == Incarnation(0) || self.to_disk == disk
    }
}

/// What a message says. The set is closed: whoever receives one handles each. What is large
/// and rare lies elsewhere, since messages are moved often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Would you vote for me in the next term? (thesis, section 9.6)
    PreVote {
        /// Echoed by the reply.
        token: Token,
        /// Where the asker's log ends.
        last: Position,
    },
    /// The answer to [`Body::PreVote`]; it binds nobody.
    PreVoteReply {
        /// The question's.
        token: Token,
        /// Whether a vote would be given.
        granted: bool,
    },
    /// Vote for me in this term. Leaves only after its term and the sender's vote
    /// for itself are durable.
    Vote {
        /// Echoed by the reply.
        token: Token,
        /// Where the candidate's log ends.
        last: Position,
        /// True where the leader itself asked the candidate to take over, so that nobody
        /// refuses because that leader is alive (thesis, section 4.2.3).
        transfer: bool,
    },
    /// The answer to [`Body::Vote`]; a granted one leaves only once durable.
    VoteReply {
        /// The question's.
        token: Token,
        /// Whether the vote is given.
        granted: bool,
    },
    /// Entries to append after `prev` (thesis, section 3.5).
    Append {
        /// Echoed by the reply.
        token: Token,
        /// The position that the first entry follows.
        prev: Position,
        /// The entries, in order and without a gap; may be none.
        entries: Vec<Entry>,
        /// How far the leader has committed.
        commit: Index,
    },
    /// The answer to [`Body::Append`]; an agreement leaves only once durable.
    AppendReply {
        /// The question's.
        token: Token,
        /// What came of it.
        outcome: AppendOutcome,
    },
    /// I lead; are you still with me? Node-wide beats carry it (see [`Beat`]).
    Heartbeat {
        /// Echoed by the reply; its number names the round that reads wait for.
        token: Token,
        /// How far the receiver may commit: never above what it acknowledged.
        commit: Index,
    },
    /// I follow you in this term. Waits for the term to be durable, never for entries.
    HeartbeatReply {
        /// The question's.
        token: Token,
        /// How far the follower has committed, so that a leader knows whom it has
        /// still to tell: a heartbeat may be lost, and a restart forgets.
        commit: Index,
    },
    /// Stand for election now: the leader hands over (thesis, section 3.10). It travels
    /// with the appends, and counts only where the receiver's log ends at `last`.
    TimeoutNow {
        /// The leader's mark for this transfer.
        token: Token,
        /// Where the leader's log ends.
        last: Position,
    },
    /// Am I still a member? Asked by a replica that has heard of no leader for long and may
    /// not stand, so that who was removed meanwhile learns of it.
    Belong {
        /// Echoed by the reply.
        token: Token,
    },
    /// The answer to a pre-vote, or to [`Body::Belong`], of a replica that the sender knows
    /// to be no member: that it says something new is for the receiver to see.
    Removed {
        /// The question's.
        token: Token,
        /// What is committed up to here has the receiver as a member no more.
        at: Position,
    },
    /// A piece of a snapshot for a follower that the log no longer reaches.
    SnapshotChunk {
        /// Echoed by the replies; the same for all chunks of one transfer.
        token: Token,
        /// What the snapshot is.
        meta: Box<SnapshotMeta>,
        /// Where in the snapshot the piece belongs, in bytes.
        offset: u64,
        /// The piece itself, as whoever keeps the snapshots packs it.
        data: Bytes,
        /// CRC32C of the piece as it stands in the snapshot.
        checksum: u32,
    },
    /// The next byte of the snapshot that the receiver wants.
    SnapshotChunkReply {
        /// The transfer's.
        token: Token,
        /// Everything below it has arrived.
        next_offset: u64,
    },
    /// The snapshot is installed and durable; the log continues above it.
    SnapshotInstalled {
        /// The transfer's.
        token: Token,
        /// The last index the receiver now has.
        last: Index,
    },
}

/// What came of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The receiver's log agrees with the leader's up to this index, durably.
    Matched(Index),
    /// The receiver's log does not hold `prev`. The hint is its last position at or
    /// below `prev` in both index and term: no later one can agree.
    Conflict(Position),
    /// As [`AppendOutcome::Conflict`], of a receiver whose disk is damaged: what it acknowledged
    /// above the hint is lost and is to be sent again. Also said without being asked, to a
    /// leader that believes there is nothing to send.
    Lost(Position),
    /// The sender's term is over; the message's term says which one it is now.
    StaleTerm,
}

/// What a snapshot is, apart from its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry it covers.
    pub position: Position,
    /// The membership in force there.
    pub membership: Membership,
    /// The length of its content in bytes.
    pub bytes: u64,
    /// CRC32C of its content.
    pub checksum: u32,
}

/// The three lanes between two nodes, a stream each. A lane never waits for a lower
/// one, and order holds only within a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Votes and heartbeats.
    Control,
    /// Entries and their acknowledgements; requests passed on and their answers.
    Append,
    /// Snapshots, on a connection of their own.
    Snapshot,
}

impl Body {
    /// True for what a candidate or a leader says to a member: what comes back is counted.
    #[must_use]
    pub const fn is_for_a_member(&self) -> bool {
        match self {
            Self::PreVote { .. }
            | Self::Vote { .. }
            | Self::Append { .. }
            | Self::Heartbeat { .. }
            | Self::TimeoutNow { .. }
            | Self::SnapshotChunk { .. } => true,
            Self::PreVoteReply { .. }
            | Self::VoteReply { .. }
            | Self::AppendReply { .. }
            | Self::HeartbeatReply { .. }
            | Self::SnapshotChunkReply { .. }
            | Self::SnapshotInstalled { .. }
            | Self::Belong { .. }
            | Self::Removed { .. } => false,
        }
    }

    /// The lane this travels on.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::PreVote { .. }
            | Self::PreVoteReply { .. }
            | Self::Vote { .. }
            | Self::VoteReply { .. }
            | Self::Heartbeat { .. }
            | Self::HeartbeatReply { .. }
            | Self::Belong { .. }
            | Self::Removed { .. } => Lane::Control,
            Self::Append { .. } | Self::AppendReply { .. } | Self::TimeoutNow { .. } => {
                Lane::Append
            }
            Self::SnapshotChunk { .. }
            | Self::SnapshotChunkReply { .. }
            | Self::SnapshotInstalled { .. } => Lane::Snapshot,
        }
    }
}

/// The heartbeat of one node to another, for all groups at once. It names a group
/// only where it has something to say: until the receiver has confirmed to follow
/// in that term, when commit moved, or when reads wait. For every other group it
/// vouches silently.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Beat {
    /// Rises with every beat of one run to one peer.
    pub sequence: u64,
    /// The groups it names.
    pub groups: Vec<GroupBeat>,
    /// Groups the sender no longer leads in that term, until acknowledged.
    pub stopped: Vec<(GroupId, Term)>,
}

/// A [`Body::Heartbeat`] within a [`Beat`], or a [`Body::HeartbeatReply`] within a
/// [`BeatReply`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBeat {
    /// The group.
    pub group: GroupId,
    /// As in the message.
    pub to_disk: Incarnation,
    /// The sender's term, in which it leads or follows.
    pub term: Term,
    /// As in the message.
    pub token: Token,
    /// As in the message.
    pub commit: Index,
}

/// The answer to a [`Beat`]. A group that it refuses, it counts nothing for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BeatReply {
    /// The run that sent the beat.
    pub to_boot: Boot,
    /// The beat's.
    pub sequence: u64,
    /// How often this node has forgotten which groups it follows the other in, because
    /// that seemed to have restarted. Where it changes, silence vouches for nothing.
    pub resets: u64,
    /// Named groups that follow the sender of the beat in that term, durably.
    pub follows: Vec<GroupBeat>,
    /// Every group the beat might be taken to vouch for that does not follow its
    /// sender, with the term the replica is in.
    pub refuses: Vec<(GroupId, Term)>,
    /// The `stopped` of the beat, heard.
    pub stopped: Vec<(GroupId, Term)>,
}

/// Anything one node sends another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// For one group.
    Group(Message),
    /// For all.
    Beat(Beat),
    /// Its answer.
    BeatReply(BeatReply),
    /// Requests of clients for the leader of a group.
    Forward(Forward),
    /// Their answers.
    ForwardReply(ForwardReply),
}

impl Envelope {
    /// The lane this travels on.
    #[must_use]
    pub const fn lane(&self) -> Lane {
        match self {
            Self::Group(message) => message.body.lane(),
            Self::Beat(_) | Self::BeatReply(_) => Lane::Control,
            Self::Forward(_) | Self::ForwardReply(_) => Lane::Append,
        }
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
