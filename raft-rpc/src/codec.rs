//! The wire format of what nodes send one another: Protobuf, with a version.
//!
//! `proto/raft.proto` describes it. Every batch has a checksum, and of one that does not
//! fit nothing is used: up to three flipped bits are always found (of a batch up to 256 MiB), and of
//! anything worse one in four thousand million is not. Decoding copies no payload: entries and snapshot
//! pieces are slices of the buffer that arrived, which lives as long as any of them.
//! Whoever keeps a small payload for long copies it first.

mod decode;
mod encode;
mod seal;

use bytes::Bytes;
use prost::Message as _;
use raft_core::{Body, Entry, Envelope, ForwardOutcome};
use thiserror::Error;

use crate::wire;

pub use seal::Damage;
pub(crate) use seal::seal;

/// The version of the format that this build writes, and the only one it reads.
///
/// Version 1 had no checksums. It is not read, since whoever reads both would take a
/// damaged batch of version 2 for one of version 1; nothing was released with it.
pub const FORMAT_VERSION: u32 = 2;

/// Why bytes are not a batch of envelopes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The sender speaks another version of the format; run the same one on both
    /// sides.
    #[error("message format {found} is not known, only format {FORMAT_VERSION} is")]
    Version {
        /// The version the batch states; 0 where it states none.
        found: u32,
    },
    /// The batch is not what was sent: break the connection off, and look after the
    /// network cards, the memory and the cables in between if it happens again.
    #[error("the batch was damaged on its way: {0}")]
    Damaged(#[from] Damage),
    /// The bytes are as they were sent, and something else altogether: the sender is
    /// broken.
    #[error("the bytes are not a batch of messages")]
    NotProtobuf(#[from] prost::DecodeError),
    /// A message lacks a part or contradicts itself: the sender is broken.
    #[error("envelope {envelope}: {field} {problem}")]
    Malformed {
        /// Which envelope of the batch, counted from 0.
        envelope: usize,
        /// The field, by its path in `raft.proto`.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// The encoded form of a batch. The same envelopes give the same bytes.
///
/// # Panics
/// Where the entries of an append do not stand one after another right behind
/// `prev`, which [`raft_core::Body::Append`] promises: they travel without indexes. Where
/// the batch takes 4 GiB or more.
#[must_use]
pub fn encode_batch(envelopes: &[Envelope]) -> Bytes {
    seal(&batch_of(envelopes))
}

/// The envelopes of an encoded batch, in order.
///
/// # Errors
/// Where anything about the bytes is not as [`encode_batch`] writes it. Nothing is
/// guessed, and of a batch with one malformed envelope none is returned.
pub fn decode_batch(bytes: Bytes) -> Result<Vec<Envelope>, DecodeError> {
    envelopes_of(wire::Batch::decode(seal::unseal(bytes)?)?)
}

/// At least as many bytes as the envelope takes in a batch, without encoding it.
///
/// Queues and frames count with it, and not what a batch takes besides its envelopes. It is exact up to an allowance of some hundred
/// bytes per envelope and some tens per entry, group, member or request.
#[must_use]
pub fn weight(envelope: &Envelope) -> usize {
    const MESSAGE: usize = 192;
    const GROUP: usize = 80;
    const MEMBER: usize = 32;
    const REQUEST: usize = 48;
    match envelope {
        Envelope::Group(message) => {
            MESSAGE
                + match &message.body {
                    Body::Append { entries, .. } => entries.iter().map(Entry::weight).sum(),
                    Body::SnapshotChunk { meta, data, .. } => {
                        let members = meta.membership.members().values();
                        data.len() + members.map(|m| m.data.len() + MEMBER).sum::<usize>()
                    }
                    _ => 0,
                }
        }
        Envelope::Beat(beat) => MESSAGE + GROUP * (beat.groups.len() + beat.stopped.len()),
        Envelope::BeatReply(reply) => {
            MESSAGE + GROUP * (reply.follows.len() + reply.refuses.len() + reply.stopped.len())
        }
        Envelope::Forward(forward) => {
            MESSAGE + forward.commands.iter().map(|command| command.len() + REQUEST).sum::<usize>()
        }
        Envelope::ForwardReply(reply) => {
            let bytes = |outcome: &ForwardOutcome| match outcome {
                ForwardOutcome::Applied { answer, .. } => answer.len(),
                _ => 0,
            };
            MESSAGE + reply.outcomes.iter().map(|(_, of)| bytes(of) + REQUEST).sum::<usize>()
        }
    }
}

/// The message that stands for a batch; panics as [`encode_batch`] does.
pub(crate) fn batch_of(envelopes: &[Envelope]) -> wire::Batch {
    wire::Batch {
        version: FORMAT_VERSION,
        envelopes: envelopes.iter().map(encode::envelope).collect(),
    }
}

/// The envelopes of a batch; fails as [`decode_batch`] does.
fn envelopes_of(batch: wire::Batch) -> Result<Vec<Envelope>, DecodeError> {
    if batch.version != FORMAT_VERSION {
        return Err(DecodeError::Version { found: batch.version });
    }
    let numbered = batch.envelopes.into_iter().enumerate();
    numbered.map(|(number, envelope)| decode::envelope(number, envelope)).collect()
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
