//! Which disk a node takes for the one that is meant by an id.

use raft_core::{Envelope, Forward, GroupId, LogShape, Message, Position};

use super::ledger::OnDisk;
use super::node::SimNode;
use super::world::World;

impl World {
    /// Whether two nodes talk of a group: as between real ones, a node talks to no disk but the one
    /// its members name, unless the other was named later. Each group says so for itself: who is
    /// replaced in one may still be named in another, or by a replica that was removed and that
    /// nobody told.
    pub(super) fn talk_of(&self, group: GroupId, one: usize, other: usize) -> bool {
        let named_at = |node: usize| {
            let members = self.replica(node, group)?;
            let SimNode { id, incarnation, .. } = self.nodes[node];
            let named = members.membership().names(id, incarnation);
            named.then(|| members.log().membership_position())
        };
        let knows = |here: usize, there: usize| {
            let replica = self.replica(here, group).filter(|replica| !replica.is_halted());
            let SimNode { id, incarnation, .. } = self.nodes[there];
            replica.is_none_or(|replica| takes(replica.log(), (id, incarnation), named_at(there)))
        };
        !self.gives_ids_again || knows(one, other) && knows(other, one)
    }

    /// Leaves out what is of groups that object to the disk at the other end. A beat is of
    /// all groups and passes, and so do answers to what was passed on: a refusal that was cut out of it would vouch for its group.
    pub(super) fn retain_of_taken(
        &mut self,
        envelopes: &mut Vec<Envelope>,
        (from, to): (usize, usize),
    ) {
        let before = envelopes.len();
        envelopes.retain(|envelope| match envelope {
            Envelope::Group(Message { group, .. }) | Envelope::Forward(Forward { group, .. }) => {
                self.talk_of(*group, from, to)
            }
            Envelope::Beat(_) | Envelope::BeatReply(_) | Envelope::ForwardReply(_) => true,
        });
        let dropped = before - envelopes.len();
        if dropped > 0 {
            let (from, to) = (self.nodes[from].id, self.nodes[to].id);
            self.note(format_args!(
                "node {to} drops {dropped} messages of node {from}: their groups mean another disk"
            ));
        }
    }
}

/// Whether a replica with this log takes a disk for the one that is meant by its id; it is named
/// in a membership of its own log at that position, if at all.
fn takes(log: &LogShape, (id, disk): OnDisk, named_at: Option<Position>) -> bool {
    let members = log.membership();
    !members.is_member(id) || members.names(id, disk) || named_at > Some(log.membership_position())
}

#[cfg(test)]
mod tests {
    use raft_core::{Incarnation, Member, Membership, NodeId};

    use super::*;

    #[test]
    fn a_disk_is_taken_that_is_named_or_was_named_later_or_whose_id_is_nobodys() {
        let id = |number| NodeId::new(number).unwrap();
        let member = Member { incarnation: Incarnation(11), ..Member::default() };
        let members = [(id(1), member)].into();
        let members = Membership::new([id(1)].into(), [].into(), [].into(), members).unwrap();
        let log = LogShape::new(Position::new(2, 5), members);
        let takes = |node, disk, named_at| takes(&log, (id(node), Incarnation(disk)), named_at);
        assert!(takes(1, 11, None), "it is named");
        assert!(!takes(1, 12, None), "another disk");
        assert!(!takes(1, 12, Some(Position::new(1, 9))), "a former life, which was longer");
        assert!(!takes(1, 12, Some(Position::new(2, 5))), "not later");
        assert!(takes(1, 12, Some(Position::new(3, 5))), "named later");
        assert!(takes(2, 12, None), "nobody's id");
    }
}
