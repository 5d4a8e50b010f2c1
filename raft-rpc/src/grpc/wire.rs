//! The messages of `proto/raft.proto` that only connections need, field for field.
#![allow(unreachable_pub, missing_docs, reason = "documented in proto/raft.proto")]

use bytes::Bytes;

#[cfg(test)]
pub use crate::wire::Batch;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Frame {
    #[prost(oneof = "FrameContent", tags = "1, 3")]
    pub content: Option<FrameContent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum FrameContent {
    #[prost(message, tag = "1")]
    Hello(Hello),
    #[prost(bytes = "bytes", tag = "3")]
    Batch(Bytes),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Hello {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(fixed64, tag = "2")]
    pub cluster: u64,
    #[prost(uint64, tag = "3")]
    pub node: u64,
    #[prost(fixed64, tag = "4")]
    pub boot: u64,
    #[prost(enumeration = "Lane", tag = "5")]
    pub lane: i32,
    #[prost(uint64, tag = "6")]
    pub to: u64,
    #[prost(fixed64, tag = "7")]
    pub incarnation: u64,
    #[prost(string, tag = "8")]
    pub address: String,
    #[prost(uint64, tag = "9")]
    pub named_at: u64,
    #[prost(uint64, tag = "10")]
    pub named_at_term: u64,
    #[prost(fixed32, tag = "11")]
    pub checksum: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum Lane {
    Unspecified = 0,
    Control = 1,
    Append = 2,
    Snapshot = 3,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Identification {
    #[prost(uint32, tag = "1")]
    pub version: u32,
    #[prost(string, tag = "2")]
    pub cluster_name: String,
    #[prost(fixed64, tag = "3")]
    pub cluster: u64,
    #[prost(uint64, tag = "4")]
    pub node: u64,
    #[prost(fixed64, tag = "5")]
    pub incarnation: u64,
    #[prost(message, repeated, tag = "6")]
    pub members: Vec<MemberIncarnation>,
    #[prost(fixed32, tag = "7")]
    pub checksum: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct MemberIncarnation {
    #[prost(uint64, tag = "1")]
    pub node: u64,
    #[prost(fixed64, tag = "2")]
    pub incarnation: u64,
}
