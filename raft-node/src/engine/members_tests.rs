//! Changes of the members, and handing over. Node 1 is real; its peers are played.

use raft_core::{ChangeError, Member, MemberChange, WhenCaughtUp};
use raft_state::{ChangeRefusal, TransferOutcome, TransferRefusal, Unheard};

use super::*;

fn add(n: u64) -> MemberChange {
    let member = Member { when_caught_up: WhenCaughtUp::Stay, ..Member::default() };
    MemberChange::AddLearner { id: id(n), member }
}

fn remove(n: u64) -> MemberChange {
    MemberChange::Remove { id: id(n) }
}

impl Node {
    /// The only voter, which leads in term 1.
    fn alone() -> Self {
        let mut node = Self::open(SimDisk::new(1), [1]);
        node.event(Event::Timeout);
        node.sent.clear();
        node
    }

    fn change(&mut self, n: u64, changes: &[MemberChange]) {
        let (id, changes) = (ProposalId(n), changes.to_vec());
        let unheard = Unheard::DangerouslyAllow;
        self.event(Event::ChangeMembers { group: GROUP, id, changes, unheard });
    }

    fn refused(&self) -> &ChangeRefusal {
        match self.answers.last() {
            Some(Answer::ChangeRefused { why, .. }) => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Node 2 has everything that was sent to it so far, up to `index`.
    fn acknowledge(&mut self, index: u64) {
        let token = Token { boot: self.engine.boot(), number: self.tokens() };
        let outcome = AppendOutcome::Matched(Index(index));
        self.hear(1, Body::AppendReply { token, outcome });
    }
}

#[test]
fn a_change_is_answered_once_it_is_committed_and_told_once_it_is_in_force() {
    let mut node = Node::alone();
    node.stalled = Some(Vec::new());
    node.change(7, &[add(2)]);
    assert_eq!((&node.members[..], node.answers.len()), (&[(Index(2), vec![1])][..], 0));
    node.resume();
    assert_eq!(node.answers, [Answer::Changed { id: ProposalId(7), index: Index(2) }]);
    let to_learner = |envelope: &Envelope| match envelope {
        Envelope::Beat(_) => true,
        Envelope::Group(message) => message.to == id(2),
        _ => false,
    };
    assert!(node.sent.iter().any(to_learner), "the learner hears of its leader: {:?}", node.sent);
    node.change(8, &[add(2)]);
    assert_eq!(*node.refused(), ChangeRefusal::Invalid(ChangeError::AlreadyMember(id(2))));
    let view = node.engine.view(GROUP).unwrap();
    assert!(view.members.learners().contains(&id(2)) && view.members_at.index == Index(2));
}

#[test]
fn a_change_is_asked_of_the_leader_and_of_nobody_else() {
    let mut node = Node::new();
    node.append(1, Position::ZERO, &["a"], 1);
    node.change(7, &[add(4)]);
    assert_eq!(*node.refused(), ChangeRefusal::NotLeader { leader: Some(id(2)) });
    node.event(Event::Transfer { group: GROUP, id: ProposalId(8), to: None });
    let why = TransferRefusal::NotLeader { leader: Some(id(2)) };
    let outcome = TransferOutcome::Refused(why);
    assert_eq!(node.answers[1], Answer::TransferEnded { id: ProposalId(8), outcome });
    let unheard = Unheard::Refuse;
    let (group, id, changes) = (GroupId(9), ProposalId(9), vec![add(4)]);
    node.event(Event::ChangeMembers { group, id, changes, unheard });
    assert_eq!(*node.refused(), ChangeRefusal::NotLeader { leader: None });
}

#[test]
fn a_change_whose_leader_is_deposed_before_it_is_committed_is_unknown() {
    let mut node = Node::open(SimDisk::new(1), [1, 2]);
    node.win_election();
    node.change(7, &[add(3)]);
    assert_eq!(node.answers, []);
    node.append(2, Position::new(1, 1), &["b"], 1);
    assert_eq!(node.answers, [Answer::ProposalLost { id: ProposalId(7) }]);
    assert_eq!(node.members.len(), 2, "the membership before it is in force again");
}

/// The other one of two has acknowledged the removal before the disk here has it.
#[test]
fn a_leader_that_removes_itself_says_so_to_whoever_asked_and_stops() {
    let mut node = Node::open(SimDisk::new(1), [1, 2]);
    node.win_election();
    node.propose_x(1);
    node.acknowledge(2);
    assert_eq!(node.answers.len(), 1);
    node.stalled = Some(Vec::new());
    node.change(7, &[remove(1)]);
    assert_eq!((node.members.last(), node.removed), (Some(&(Index(3), vec![2])), None));
    node.acknowledge(3);
    assert_eq!(node.answers[1], Answer::Changed { id: ProposalId(7), index: Index(3) });
    assert_eq!(node.removed, Some(Index(3)));
    let view = node.engine.view(GROUP).unwrap();
    assert_eq!(view.removed, Some(Index(3)));
    assert!(node.engine.is_removed() && node.halted.is_empty());
    let asked = |envelope: &Envelope| {
        matches!(envelope, Envelope::Group(Message { body: Body::TimeoutNow { .. }, .. }))
    };
    assert!(node.sent.iter().any(asked), "the other one stands at once");
    node.propose_x(9);
    let why = Refusal::NotLeader { leader: None };
    assert_eq!(node.answers[2], Answer::ProposalRefused { id: ProposalId(9), why });
}

#[test]
fn a_command_that_is_committed_is_answered_although_the_leader_is_removed_before_it_is_applied() {
    let mut node = Node::open(SimDisk::new(1), [1, 2]);
    node.win_election();
    node.propose_x(1);
    node.change(7, &[remove(1)]);
    node.acknowledge(3);
    let x = Bytes::from_static(b"x");
    assert!(node.answers.contains(&Answer::Applied {
        id: ProposalId(1),
        index: Index(2),
        answer: x
    }));
    assert!(node.answers.contains(&Answer::Changed { id: ProposalId(7), index: Index(3) }));
    assert_eq!((node.answers.len(), node.removed), (2, Some(Index(3))));
}

#[test]
fn leadership_is_handed_over_to_who_has_everything() {
    let mut node = Node::open(SimDisk::new(1), [1, 2]);
    node.win_election();
    node.event(Event::Transfer { group: GROUP, id: ProposalId(8), to: Some(id(3)) });
    let outcome = TransferOutcome::Refused(TransferRefusal::NotVoter(id(3)));
    assert_eq!(node.answers, [Answer::TransferEnded { id: ProposalId(8), outcome }]);
    node.event(Event::Transfer { group: GROUP, id: ProposalId(9), to: None });
    let Body::TimeoutNow { token, last } = node.last_message().clone() else { panic!() };
    assert_eq!(last, Position::new(1, 1));
    node.propose_x(1);
    let why = Refusal::Transferring;
    assert_eq!(node.answers[1], Answer::ProposalRefused { id: ProposalId(1), why });
    node.hear(2, Body::Vote { token, last, transfer: true });
    let outcome = TransferOutcome::SteppedDown;
    assert_eq!(node.answers[2], Answer::TransferEnded { id: ProposalId(9), outcome });
}

#[test]
fn a_node_stands_for_election_when_it_is_asked_to() {
    let mut node = Node::open(SimDisk::new(1), [1, 2]);
    node.now = Instant(5_000_000_000);
    node.event(Event::Campaign { group: GROUP });
    assert!(matches!(node.last_message(), Body::PreVote { .. }), "{:?}", node.last_message());
}

/// A log that began before the first entry of a group restated the members.
#[test]
fn no_snapshot_is_taken_where_the_log_does_not_know_who_the_members_were() {
    let mut node = Node::open(SimDisk::new(1), []);
    node.append(1, Position::ZERO, &["a"; 20], 20);
    assert_eq!(node.applied(), 20);
    let shared: Arc<dyn Disk> = Arc::new(node.disk.clone());
    let snapshots = || SnapshotStore::open(Arc::clone(&shared), Path::new("data/snapshots"), 2);
    assert_eq!(snapshots().unwrap().newest(GROUP), None);
    let members = Membership::of_voters([1, 2, 3].map(id));
    let (term, index, kind) = (Term(1), Index(21), EntryKind::Membership);
    let entries = vec![Entry { term, index, kind, payload: members.encode() }];
    let (token, prev, commit) = (Token::default(), Position::new(1, 20), Index(21));
    node.hear(1, Body::Append { token, prev, entries, commit });
    node.append(1, Position::new(1, 21), &["b"; 20], 41);
    assert!(snapshots().unwrap().newest(GROUP).is_some());
}

/// The others learn of the commit at once, also where the request to take over is lost.
#[test]
fn a_leader_that_removes_itself_tells_how_far_it_is() {
    let mut node = Node::new();
    node.win_election();
    node.change(7, &[remove(1)]);
    let number = node.tokens();
    node.sent.clear();
    for n in [2, 3] {
        for number in number.saturating_sub(2)..=number + 2 {
            let token = Token { boot: node.engine.boot(), number };
            let body = Body::AppendReply { token, outcome: AppendOutcome::Matched(Index(2)) };
            let message = Message::new(GROUP, id(n), id(1), Term(1), body);
            let envelopes = vec![Envelope::Group(message)];
            node.event(Event::Received { from: id(n), boot: Boot(70 + n), envelopes });
        }
    }
    assert!(node.removed.is_some());
    let tells = |sent: &Envelope| match sent {
        Envelope::Group(Message { body: Body::Heartbeat { commit, .. }, .. }) => {
            *commit == Index(2)
        }
        _ => false,
    };
    assert!(node.sent.iter().any(tells), "{:?}", node.sent);
}

/// The sender's members of this group know another life of this id.
#[test]
fn a_heartbeat_for_another_disk_is_refused_within_its_beat() {
    let mut node = Node::new();
    node.append(1, Position::ZERO, &["a"], 0);
    let token = Token { boot: LEADER_BOOT, number: 4 };
    for (sequence, to_disk, follows) in [(1, Incarnation(0), true), (2, Incarnation(9), false)] {
        node.sent.clear();
        let term = Term(1);
        let groups = vec![GroupBeat { group: GROUP, to_disk, term, token, commit: Index(0) }];
        let beat = Envelope::Beat(Beat { sequence, groups, stopped: Vec::new() });
        node.event(Event::Received { from: id(2), boot: LEADER_BOOT, envelopes: vec![beat] });
        let Some(Envelope::BeatReply(reply)) = node.sent.pop() else { panic!("{:?}", node.sent) };
        assert_eq!((reply.follows.len(), reply.refuses.len()), (follows.into(), (!follows).into()));
    }
}
