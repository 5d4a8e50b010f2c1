//! What heads and seals say: how every group stood when they were written.

use bytes::{Buf, BufMut, Bytes};
use raft_core::{ClusterId, GroupId, HardState, NodeId, Position, Term};

use crate::LogIdentity;
use crate::record::{
    Malformed, finished, get_membership, get_number, get_position, need, put_bytes,
};

/// What a segment head says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) identity: LogIdentity,
    /// The epoch of the segment before this one; 0 where there is none.
    pub(crate) predecessor: u64,
    /// Nothing with a higher sequence is ever read from an earlier segment.
    pub(crate) predecessor_last: u64,
    /// Whether groups may have existed of which nothing is known any more.
    pub(crate) may_lack_groups: bool,
    /// Every group there is.
    pub(crate) groups: Vec<Checkpoint>,
}

/// What a seal says. With the head of its segment it says as much as a head.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Seal {
    /// Groups that the head of the segment knows and that are gone.
    pub(crate) removed: Vec<GroupId>,
    /// Groups that are not as the head of the segment says; all others are.
    pub(crate) groups: Vec<Checkpoint>,
}

/// What a head or a seal restates about a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) group: GroupId,
    pub(crate) hard_state: HardState,
    pub(crate) floor: Position,
    pub(crate) last: Position,
    /// See [`raft_core::RecoveredGroup::damaged_up_to`].
    pub(crate) damaged_up_to: Option<Position>,
    /// The membership in force at the floor, encoded.
    pub(crate) membership: Bytes,
}

const HEAD_FIXED: usize = 36;
const CHECKPOINT_FIXED: usize = 76;
/// In format 1, which knew no damaged groups.
const HEAD_FIXED_V1: usize = 32;
const CHECKPOINT_FIXED_V1: usize = 60;
const MAY_LACK_GROUPS: u32 = 1;

impl Head {
    pub(crate) fn len(&self) -> usize {
        HEAD_FIXED + groups_len(&self.groups)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.identity.cluster.0);
        out.put_u64_le(self.identity.node.get());
        out.put_u64_le(self.predecessor);
        out.put_u64_le(self.predecessor_last);
        out.put_u32_le(if self.may_lack_groups { MAY_LACK_GROUPS } else { 0 });
        put_groups(&self.groups, out);
    }

    pub(crate) fn decode(mut body: Bytes, version: u8) -> Result<Self, Malformed> {
        need(&body, if version == 1 { HEAD_FIXED_V1 } else { HEAD_FIXED })?;
        let cluster = ClusterId(body.get_u64_le());
        let node = NodeId::new(body.get_u64_le()).ok_or(Malformed("a head of node zero"))?;
        let predecessor = get_number(&mut body)?;
        let predecessor_last = get_number(&mut body)?;
        let may_lack_groups = match version {
            1 => false,
            _ => match body.get_u32_le() {
                0 => false,
                MAY_LACK_GROUPS => true,
                _ => return Err(Malformed("a head with unknown flags")),
            },
        };
        let groups = get_groups(&mut body, version)?;
        finished(&body)?;
        let identity = LogIdentity { cluster, node };
        Ok(Self { identity, predecessor, predecessor_last, may_lack_groups, groups })
    }
}

impl Seal {
    pub(crate) fn len(&self) -> usize {
        4 + self.removed.len() * 8 + groups_len(&self.groups)
    }

    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.put_u32_le(u32::try_from(self.removed.len()).expect("fewer than 2^32 groups"));
        self.removed.iter().for_each(|group| out.put_u64_le(group.0));
        put_groups(&self.groups, out);
    }

    /// Nothing where the seal restates nothing: one of format 1, or the copy of a head.
    pub(crate) fn decode(mut body: Bytes, version: u8) -> Result<Option<Self>, Malformed> {
        if body.is_empty() {
            return Ok(None);
        }
        // What opening copies is read as the format of today.
        if version == 1 {
            return Err(Malformed("a seal of format 1 that restates groups"));
        }
        need(&body, 4)?;
        let count = body.get_u32_le() as usize;
        need(&body, count.saturating_mul(8))?;
        let removed = (0..count).map(|_| GroupId(body.get_u64_le())).collect();
        let groups = get_groups(&mut body, version)?;
        finished(&body)?;
        Ok(Some(Self { removed, groups }))
    }
}

fn groups_len(groups: &[Checkpoint]) -> usize {
    4 + groups.iter().map(|group| CHECKPOINT_FIXED + group.membership.len()).sum::<usize>()
}

fn put_groups(groups: &[Checkpoint], out: &mut Vec<u8>) {
    out.put_u32_le(u32::try_from(groups.len()).expect("fewer than 2^32 groups"));
    for group in groups {
        out.put_u64_le(group.group.0);
        out.put_u64_le(group.hard_state.term.0);
        out.put_u64_le(group.hard_state.vote.map_or(0, NodeId::get));
        let damaged_up_to = group.damaged_up_to.unwrap_or_default();
        for position in [group.floor, group.last, damaged_up_to] {
            out.put_u64_le(position.term.0);
            out.put_u64_le(position.index.0);
        }
        put_bytes(&group.membership, out);
    }
}

fn get_groups(body: &mut Bytes, version: u8) -> Result<Vec<Checkpoint>, Malformed> {
    need(body, 4)?;
    let count = body.get_u32_le() as usize;
    let fixed = if version == 1 { CHECKPOINT_FIXED_V1 } else { CHECKPOINT_FIXED };
    let mut groups = Vec::with_capacity(count.min(body.len() / fixed));
    for _ in 0..count {
        need(body, fixed)?;
        let group = GroupId(body.get_u64_le());
        let term = Term(get_number(body)?);
        let hard_state = HardState { term, vote: NodeId::new(body.get_u64_le()) };
        let (floor, last) = (get_position(body)?, get_position(body)?);
        let damaged_up_to = match version {
            1 => None,
            _ => Some(get_position(body)?).filter(|position| *position != Position::ZERO),
        };
        let membership = get_membership(body)?;
        groups.push(Checkpoint { group, hard_state, floor, last, damaged_up_to, membership });
    }
    Ok(groups)
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
