//! What a replica starts from.

use raft_core::{
    Boot, GroupId, HardState, Incarnation, Index, LogShape, NodeId, RecoveredGroup, Term,
};

/// What a replica starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// The group.
    pub group: GroupId,
    /// This node.
    pub me: NodeId,
    /// The life of its disk; who is named with another one is another replica.
    pub incarnation: Incarnation,
    /// This run of the node, never used before.
    pub boot: Boot,
    /// Decides all that is left to chance.
    pub seed: u64,
    /// What the log holds, all of it durable.
    pub recovered: RecoveredGroup,
    /// What the state machine has durably applied; replayed from there. Where the log is
    /// damaged, from the log's floor: what stands above it is certain only once a leader has
    /// agreed to it, and what is applied already need not be applied again.
    pub applied: Index,
}

impl Start {
    /// A replica that has voted in no term and applied nothing above its log's floor, on a
    /// disk that memberships name with the incarnation zero.
    #[must_use]
    pub const fn fresh(group: GroupId, me: NodeId, boot: Boot, shape: LogShape) -> Self {
        let applied = shape.floor().index;
        let hard_state = HardState { term: Term::ZERO, vote: None };
        let recovered = RecoveredGroup { hard_state, shape, damaged_up_to: None };
        let (incarnation, seed) = (Incarnation(0), boot.0 ^ me.get());
        Self { group, me, incarnation, boot, seed, recovered, applied }
    }
}
