//! Memberships as they come from a disk or from a peer.

use raft_core::{Membership, NodeId};

/// Whatever is decoded can be encoded, and is the same again.
pub(crate) fn run(data: &[u8]) {
    let Ok(membership) = Membership::decode(data) else { return };
    let encoded = membership.encode();
    assert_eq!(Membership::decode(&encoded).as_ref(), Ok(&membership), "{encoded:?}");
    // What it can be asked does not panic either.
    for id in membership.members().keys() {
        assert!(
            membership.voters().contains(id)
                || membership.outgoing().contains(id)
                || membership.learners().contains(id),
            "{id} has no part in {membership:?}"
        );
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let voters = |count| Membership::of_voters((1..=count).filter_map(NodeId::new));
    let mut seeds: Vec<Vec<u8>> =
        [0, 1, 3].into_iter().map(|count| voters(count).encode().to_vec()).collect();
    // A learner that is to replace a voter, in the second form: a voter with a name, and
    // whoever waits.
    let mut joint = vec![2];
    joint.extend(3_u32.to_le_bytes());
    for (id, parts, wish) in [(1_u64, 1_u8, 0_u64), (2, 2, 0), (3, 4, 2)] {
        joint.extend(id.to_le_bytes());
        joint.push(parts);
        joint.extend(77_u64.to_le_bytes());
        joint.extend(4_u32.to_le_bytes());
        joint.extend(b"name");
        joint.extend(wish.to_le_bytes());
    }
    seeds.push(joint);
    seeds
}
