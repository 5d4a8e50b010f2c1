//! The messages that the codec reads and writes: those of `proto/raft.proto` from
//! `Batch` downwards, field for field.
//!
//! They are written down rather than generated so that the codec builds without a
//! Protobuf compiler; a test compares them with what such a compiler generates.
#![allow(unreachable_pub, missing_docs, reason = "documented in proto/raft.proto")]

use bytes::Bytes;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Batch {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(message, repeated, tag = "2")]
    pub envelopes: Vec<Envelope>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Envelope {
    #[prost(oneof = "EnvelopeContent", tags = "1, 2, 3, 4, 5")]
    pub content: Option<EnvelopeContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum EnvelopeContent {
    #[prost(message, tag = "1")]
    Group(GroupMessage),
    #[prost(message, tag = "2")]
    Beat(Beat),
    #[prost(message, tag = "3")]
    BeatReply(BeatReply),
    #[prost(message, tag = "4")]
    Forward(Forward),
    #[prost(message, tag = "5")]
    ForwardReply(ForwardReply),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GroupMessage {
    #[prost(uint64, tag = "1")]
    pub group: u64,
    #[prost(uint64, tag = "2")]
    pub from: u64,
    #[prost(uint64, tag = "3")]
    pub to: u64,
    #[prost(uint64, tag = "4")]
    pub term: u64,
    #[prost(fixed64, tag = "19")]
    pub to_disk: u64,
    #[prost(
        oneof = "GroupMessageBody",
        tags = "5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18"
    )]
    pub body: Option<GroupMessageBody>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum GroupMessageBody {
    #[prost(message, tag = "5")]
    PreVote(Ask),
    #[prost(message, tag = "6")]
    PreVoteReply(Answer),
    #[prost(message, tag = "7")]
    Vote(Ask),
    #[prost(message, tag = "8")]
    VoteReply(Answer),
    #[prost(message, tag = "9")]
    Append(Append),
    #[prost(message, tag = "10")]
    AppendReply(AppendReply),
    #[prost(message, tag = "11")]
    Heartbeat(Heartbeat),
    #[prost(message, tag = "12")]
    HeartbeatReply(HeartbeatReply),
    #[prost(message, tag = "13")]
    SnapshotChunk(SnapshotChunk),
    #[prost(message, tag = "14")]
    SnapshotChunkReply(SnapshotChunkReply),
    #[prost(message, tag = "15")]
    SnapshotInstalled(SnapshotInstalled),
    #[prost(message, tag = "16")]
    TimeoutNow(Ask),
    #[prost(message, tag = "17")]
    Belong(Belong),
    #[prost(message, tag = "18")]
    Removed(Removed),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Token {
    #[prost(fixed64, tag = "1")]
    pub boot: u64,
    #[prost(uint64, tag = "2")]
    pub number: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Position {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(uint64, tag = "2")]
    pub index: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Ask {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(message, optional, tag = "2")]
    pub last: Option<Position>,
    #[prost(bool, tag = "3")]
    pub transfer: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Answer {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(bool, tag = "2")]
    pub granted: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Belong {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Removed {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(message, optional, tag = "2")]
    pub at: Option<Position>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Append {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(message, optional, tag = "2")]
    pub prev: Option<Position>,
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<Entry>,
    #[prost(uint64, tag = "4")]
    pub commit: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Entry {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    #[prost(enumeration = "EntryKind", tag = "2")]
    pub kind: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub payload: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum EntryKind {
    Command = 0,
    Blank = 1,
    Membership = 2,
    Clock = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct AppendReply {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(oneof = "AppendReplyOutcome", tags = "2, 3, 4, 5")]
    pub outcome: Option<AppendReplyOutcome>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum AppendReplyOutcome {
    #[prost(uint64, tag = "2")]
    Matched(u64),
    #[prost(message, tag = "3")]
    Conflict(Position),
    #[prost(message, tag = "4")]
    StaleTerm(StaleTerm),
    #[prost(message, tag = "5")]
    Lost(Position),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct StaleTerm {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Heartbeat {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(uint64, tag = "2")]
    pub commit: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct HeartbeatReply {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(uint64, tag = "2")]
    pub commit: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotChunk {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(message, optional, tag = "2")]
    pub meta: Option<SnapshotMeta>,
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
    #[prost(fixed32, tag = "5")]
    pub checksum: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotMeta {
    #[prost(message, optional, tag = "1")]
    pub position: Option<Position>,
    #[prost(bytes = "bytes", tag = "2")]
    pub membership: Bytes,
    #[prost(uint64, tag = "3")]
    pub bytes: u64,
    #[prost(fixed32, tag = "4")]
    pub checksum: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotChunkReply {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(uint64, tag = "2")]
    pub next_offset: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotInstalled {
    #[prost(message, optional, tag = "1")]
    pub token: Option<Token>,
    #[prost(uint64, tag = "2")]
    pub last: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Beat {
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    #[prost(message, repeated, tag = "2")]
    pub groups: Vec<GroupBeat>,
    #[prost(message, repeated, tag = "3")]
    pub stopped: Vec<GroupTerm>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GroupBeat {
    #[prost(uint64, tag = "1")]
    pub group: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    #[prost(message, optional, tag = "3")]
    pub token: Option<Token>,
    #[prost(uint64, tag = "4")]
    pub commit: u64,
    #[prost(fixed64, tag = "5")]
    pub to_disk: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GroupTerm {
    #[prost(uint64, tag = "1")]
    pub group: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct BeatReply {
    #[prost(uint64, tag = "1")]
    pub sequence: u64,
    #[prost(message, repeated, tag = "2")]
    pub follows: Vec<GroupBeat>,
    #[prost(message, repeated, tag = "3")]
    pub refuses: Vec<GroupTerm>,
    #[prost(message, repeated, tag = "4")]
    pub stopped: Vec<GroupTerm>,
    #[prost(uint64, tag = "5")]
    pub to_boot: u64,
    #[prost(uint64, tag = "6")]
    pub resets: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Forward {
    #[prost(fixed64, tag = "1")]
    pub to_boot: u64,
    #[prost(uint64, tag = "2")]
    pub group: u64,
    #[prost(uint64, tag = "3")]
    pub term: u64,
    #[prost(uint64, tag = "4")]
    pub number: u64,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub commands: Vec<Bytes>,
    #[prost(bool, tag = "6")]
    pub read: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ForwardReply {
    #[prost(fixed64, tag = "1")]
    pub to_boot: u64,
    #[prost(message, repeated, tag = "2")]
    pub outcomes: Vec<ForwardOutcome>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ForwardOutcome {
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(oneof = "ForwardOutcomeResult", tags = "2, 3, 4, 5, 6, 7")]
    pub result: Option<ForwardOutcomeResult>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum ForwardOutcomeResult {
    #[prost(message, tag = "2")]
    Applied(Applied),
    #[prost(uint64, tag = "3")]
    Readable(u64),
    #[prost(uint64, tag = "4")]
    NotLeader(u64),
    #[prost(message, tag = "5")]
    Overloaded(Overloaded),
    #[prost(message, tag = "6")]
    Lost(Lost),
    #[prost(message, tag = "7")]
    NoRoom(NoRoom),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Applied {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub answer: Bytes,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Overloaded {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Lost {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct NoRoom {}
