//! Which replica a node takes a peer for.

use raft_core::NodeId;

use super::hello::Greeting;
use super::transport::Pinned;

/// What a peer is to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// It is dialed for ever.
    Member,
    /// It is talked to for as long as it calls.
    Guest,
}

/// How this node knows a peer.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) pinned: Option<Pinned>,
    pub(super) relation: Relation,
}

/// Whether whoever greets is the replica that is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recognised {
    /// It is, as far as is known here.
    Same,
    /// It was named later than this node knows: it is right about who and where it is.
    Newer,
    /// It is another one; what is wrong, and what to do.
    Another(String),
}

impl Known {
    pub(super) fn recognise(&self, id: NodeId, greeting: &Greeting) -> Recognised {
        let Some(Pinned { incarnation, since }) = self.pinned else { return Recognised::Same };
        if greeting.standing.named_at > since {
            return Recognised::Newer;
        }
        if greeting.incarnation == incarnation {
            return Recognised::Same;
        }
        let spoke = greeting.incarnation;
        Recognised::Another(format!(
            "node {id} speaks for the disk {spoke}, and the members know node {id} with the disk \
             {incarnation}: its disk is new, or two nodes run under one id; stop the wrong one; or \
             remove the member, and add it again as it is now: raft-node member remove {id}, then \
             raft-node member add {id}=PEER/CLIENT"
        ))
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Boot, Incarnation, Lane, Position};

    use super::*;
    use crate::grpc::Standing;

    #[test]
    fn a_former_life_with_a_longer_log_that_was_never_committed_is_another() {
        let pinned = Some(Pinned { incarnation: Incarnation(32), since: Position::new(2, 14) });
        let known = Known { pinned, relation: Relation::Member };
        let node = NodeId::new(3).unwrap();
        let greeting = |named_at| Greeting {
            node,
            incarnation: Incarnation(31),
            boot: Boot(1),
            lane: Lane::Control,
            standing: Standing { address: "old:1".into(), named_at },
        };
        let former = known.recognise(node, &greeting(Position::new(1, 61)));
        assert!(matches!(former, Recognised::Another(_)), "{former:?}");
        assert_eq!(known.recognise(node, &greeting(Position::new(3, 15))), Recognised::Newer);
    }
}
