//! The stored form of a membership: versions 1 and 2, little-endian, to the byte.
//!
//! ```text
//! u8   version (1 or 2)
//! u32  number of members, then per member in the order of ids:
//!      u64 id, u8 parts (1 voter, 2 outgoing, 4 learner), u64 incarnation,
//!      u32 length of data, data
//!      version 2 only: u64 what becomes of it once it has caught up
//!      (0 it stays; its own id: it is promoted; another's id: it replaces that one)
//! ```
//!
//! Version 2 is written only where a learner waits to be promoted, so that members which
//! know version 1 alone can read all others.

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thiserror::Error;

use crate::{Incarnation, Member, Membership, MembershipError, NodeId, WhenCaughtUp};

const WITHOUT_WISHES: u8 = 1;
const WITH_WISHES: u8 = 2;
const VOTER: u8 = 1;
const OUTGOING: u8 = 2;
const LEARNER: u8 = 4;

/// Why bytes are not a membership.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MembershipDecodeError {
    /// Written by a version this one does not know; use a newer build.
    #[error("membership format {0} is not known, only {WITHOUT_WISHES} and {WITH_WISHES} are")]
    Version(u8),
    /// Fewer bytes than the form needs, or some left over: the bytes are damaged.
    #[error("the encoded membership is {0} bytes too short or too long")]
    Length(usize),
    /// A part or an id that does not exist: the bytes are damaged.
    #[error("member {id} of the encoded membership has the impossible parts {parts:#x}")]
    Parts {
        /// The member's number.
        id: u64,
        /// The byte that was found.
        parts: u8,
    },
    /// One member comes twice: the bytes are damaged.
    #[error("member {0} comes twice in the encoded membership")]
    Twice(NodeId),
    /// The bytes are whole but break an invariant.
    #[error(transparent)]
    Invalid(#[from] MembershipError),
}

impl Membership {
    /// The stored form of this membership.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(5 + self.members().len() * 64);
        let waits = |member: &Member| member.when_caught_up != WhenCaughtUp::Stay;
        let version = if self.members().values().any(waits) { WITH_WISHES } else { WITHOUT_WISHES };
        out.put_u8(version);
        out.put_u32_le(u32::try_from(self.members().len()).expect("fewer than 2^32 members"));
        for (id, member) in self.members() {
            let part = |set: &BTreeSet<NodeId>, bit| if set.contains(id) { bit } else { 0 };
            out.put_u64_le(id.get());
            out.put_u8(
                part(self.voters(), VOTER)
                    | part(self.outgoing(), OUTGOING)
                    | part(self.learners(), LEARNER),
            );
            out.put_u64_le(member.incarnation.0);
            out.put_u32_le(u32::try_from(member.data.len()).expect("member data below 4 GiB"));
            out.put_slice(&member.data);
            if version == WITH_WISHES {
                out.put_u64_le(match member.when_caught_up {
                    WhenCaughtUp::Stay => 0,
                    WhenCaughtUp::Promote => id.get(),
                    WhenCaughtUp::Replace(old) => old.get(),
                });
            }
        }
        out.freeze()
    }

    /// The membership that these bytes hold.
    ///
    /// # Errors
    /// Where the bytes are not a membership of a known format; nothing is guessed.
    pub fn decode(mut from: &[u8]) -> Result<Self, MembershipDecodeError> {
        need(from, 5)?;
        let version = from.get_u8();
        if version != WITHOUT_WISHES && version != WITH_WISHES {
            return Err(MembershipDecodeError::Version(version));
        }
        let count = from.get_u32_le();
        let (mut voters, mut outgoing, mut learners) =
            (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut members = BTreeMap::new();
        for _ in 0..count {
            need(from, 21)?;
            let number = from.get_u64_le();
            let parts = from.get_u8();
            let incarnation = Incarnation(from.get_u64_le());
            let length = from.get_u32_le() as usize;
            need(from, length)?;
            let data = Bytes::copy_from_slice(&from[..length]);
            from.advance(length);
            let known = parts & !(VOTER | OUTGOING | LEARNER) == 0;
            let id = NodeId::new(number)
                .filter(|_| known)
                .ok_or(MembershipDecodeError::Parts { id: number, parts })?;
            for (set, bit) in
                [(&mut voters, VOTER), (&mut outgoing, OUTGOING), (&mut learners, LEARNER)]
            {
                if parts & bit != 0 {
                    set.insert(id);
                }
            }
            let when_caught_up = match version {
                WITH_WISHES => wish(id, &mut from)?,
                _ => WhenCaughtUp::Stay,
            };
            let member = Member { incarnation, data, when_caught_up };
            if members.insert(id, member).is_some() {
                return Err(MembershipDecodeError::Twice(id));
            }
        }
        if !from.is_empty() {
            return Err(MembershipDecodeError::Length(from.len()));
        }
        Ok(Self::new(voters, outgoing, learners, members)?)
    }
}

fn wish(id: NodeId, from: &mut &[u8]) -> Result<WhenCaughtUp, MembershipDecodeError> {
    need(from, 8)?;
    Ok(match NodeId::new(from.get_u64_le()) {
        None => WhenCaughtUp::Stay,
        Some(own) if own == id => WhenCaughtUp::Promote,
        Some(old) => WhenCaughtUp::Replace(old),
    })
}

fn need(from: &[u8], bytes: usize) -> Result<(), MembershipDecodeError> {
    match bytes.checked_sub(from.len()) {
        None | Some(0) => Ok(()),
        Some(missing) => Err(MembershipDecodeError::Length(missing)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> NodeId {
        NodeId::new(n).unwrap()
    }

    fn joint() -> Membership {
        let member = |n: u64| {
            let data = Bytes::from_static(b"at");
            (id(n), Member { incarnation: Incarnation(n * 7), data, ..Member::default() })
        };
        Membership::new(
            [id(1), id(2)].into(),
            [id(1), id(3)].into(),
            [id(3)].into(),
            [member(1), member(2), member(3)].into(),
        )
        .unwrap()
    }

    fn waiting() -> Membership {
        let learner = |when_caught_up| Member { when_caught_up, ..Member::default() };
        Membership::new(
            [id(1)].into(),
            [].into(),
            [id(2), id(3), id(4)].into(),
            [
                (id(1), Member::default()),
                (id(2), learner(WhenCaughtUp::Promote)),
                (id(3), learner(WhenCaughtUp::Replace(id(1)))),
                (id(4), learner(WhenCaughtUp::Stay)),
            ]
            .into(),
        )
        .unwrap()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for membership in [joint(), waiting(), Membership::empty(), Membership::of_voters([id(9)])]
        {
            assert_eq!(Membership::decode(&membership.encode()), Ok(membership));
        }
    }

    #[test]
    fn the_newer_form_is_written_only_where_the_older_one_cannot_say_it() {
        assert_eq!((joint().encode()[0], waiting().encode()[0]), (1, 2));
    }

    #[test]
    fn every_shorter_or_longer_form_is_refused() {
        for whole in [joint().encode(), waiting().encode()] {
            for length in 0..whole.len() {
                assert!(Membership::decode(&whole[..length]).is_err(), "{length} bytes");
            }
            let longer = [&whole[..], &[0]].concat();
            assert_eq!(Membership::decode(&longer), Err(MembershipDecodeError::Length(1)));
        }
    }

    #[test]
    fn unknown_versions_and_parts_are_named() {
        let mut bytes = joint().encode().to_vec();
        bytes[13] = 8;
        assert_eq!(
            Membership::decode(&bytes),
            Err(MembershipDecodeError::Parts { id: 1, parts: 8 })
        );
        bytes[0] = 3;
        assert_eq!(Membership::decode(&bytes), Err(MembershipDecodeError::Version(3)));
    }

    #[test]
    fn what_is_whole_and_no_membership_is_refused() {
        // After the head each member without data takes 21 bytes: id, parts, incarnation, length.
        let two = Membership::of_voters([id(1), id(2)]).encode();
        let mut twice = two.to_vec();
        twice[26] = 1;
        assert_eq!(Membership::decode(&twice), Err(MembershipDecodeError::Twice(id(1))));
        let mut both = two.to_vec();
        both[13] = VOTER | LEARNER;
        let why = MembershipError::VoterAndLearner(id(1));
        assert_eq!(Membership::decode(&both), Err(MembershipDecodeError::Invalid(why)));
        let mut nobody = two.to_vec();
        nobody[26] = 0;
        let why = MembershipDecodeError::Parts { id: 0, parts: VOTER };
        assert_eq!(Membership::decode(&nobody), Err(why));
    }
}
