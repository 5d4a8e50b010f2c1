//! A disk that is full, and one that does not answer.

use std::time::Duration;

use raft_log::Room;

use super::*;

impl Node {
    /// Time passes, to the next moment at which the engine wants to be woken, `times` times.
    fn pass(&mut self, times: usize) {
        for _ in 0..times {
            self.now = self.now.max(self.engine.deadline());
            self.event(Event::Timeout);
        }
    }

    fn later(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.event(Event::Timeout);
    }

    /// Somebody else takes all the room there is.
    fn fill_disk(&mut self) {
        self.disk.limit_bytes(self.disk.used_bytes());
        self.later(Duration::from_secs(6));
    }

    fn make_room(&mut self) {
        self.disk.limit_bytes(u64::MAX);
        self.later(Duration::from_secs(2));
        self.later(Duration::from_secs(2));
    }

    fn room(&self) -> Room {
        self.engine.figures().disk.room
    }

    fn trouble_with(&self, what: &str) -> usize {
        self.trouble.iter().filter(|why| why.contains(what)).count()
    }

    fn asked_to_stand(&self) -> usize {
        let asked = |envelope: &&Envelope| {
            matches!(envelope, Envelope::Group(Message { body: Body::TimeoutNow { .. }, .. }))
        };
        self.sent.iter().filter(asked).count()
    }
}

fn refused(n: u64) -> Answer {
    Answer::ProposalRefused { id: ProposalId(n), why: Refusal::NoRoom }
}

#[test]
fn a_full_disk_refuses_writes_goes_on_with_reads_and_takes_writes_again_by_itself() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    node.propose_x(1);
    assert!(matches!(node.answers[..], [Answer::Applied { .. }]));
    node.fill_disk();
    assert_eq!(node.room(), Room::Low);
    node.answers.clear();
    node.propose_x(2);
    node.event(Event::Read { group: GROUP, ids: vec![ReadId(3)] });
    let ready = Answer::ReadReady { id: ReadId(3), index: Index(2) };
    assert_eq!(node.answers, [refused(2), ready]);
    let why = node.engine.view(GROUP).unwrap().no_room.unwrap();
    assert!(why.contains("free in data,") && why.contains("make room there"), "{why}");
    assert_eq!(node.engine.view(GROUP).unwrap().figures.refused_no_room, 1);
    node.pass(20);
    assert_eq!(node.trouble_with("the disk is full"), 1, "{:?}", node.trouble);

    node.answers.clear();
    node.make_room();
    assert_eq!((node.room(), node.trouble_with("writes are taken")), (Room::Plenty, 2));
    node.propose_x(4);
    assert!(matches!(node.answers[..], [Answer::Applied { .. }]), "{:?}", node.answers);
}

#[test]
fn a_leader_without_room_hands_over_to_one_that_may_have_some() {
    let mut node = Node::open(SimDisk::new(1), [1, 2]);
    node.win_election();
    node.disk.limit_bytes(node.disk.used_bytes());
    node.later(Duration::from_millis(500));
    assert_eq!((node.room(), node.asked_to_stand()), (Room::Low, 1), "node 2 has everything");
    node.propose_x(1);
    let why = Refusal::Transferring;
    assert_eq!(node.answers, [Answer::ProposalRefused { id: ProposalId(1), why }]);
    // Node 2 stands and wins, and is told of what comes here.
    node.append(2, Position::new(1, 1), &["b"], 1);
    node.answers.clear();
    node.propose_x(2);
    let forwarded = |envelope: &Envelope| matches!(envelope, Envelope::Forward(_));
    node.event(Event::Timeout);
    assert!(node.sent.iter().any(forwarded), "{:?}", node.sent);
}

#[test]
fn leadership_that_comes_back_to_a_full_disk_does_not_go_round() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    node.fill_disk();
    node.disk.limit_bytes(node.disk.used_bytes());
    let begun = node.engine.disk.not_before.clone();
    node.pass(20);
    assert_eq!(node.engine.disk.not_before, begun, "not again for half a minute");
    node.later(Duration::from_secs(31));
    assert_ne!(node.engine.disk.not_before, begun);
    node.propose_x(1);
    assert_eq!(node.answers, [refused(1)]);
}

#[test]
fn a_follower_whose_reserve_is_used_up_takes_entries_in_again_when_there_is_room() {
    let mut node = Node::new();
    node.append(1, Position::ZERO, &["a"], 0);
    // The first segment is being written and nothing is ready for the next.
    node.fill_disk();
    let mut last = 1;
    while node.room() != Room::Exhausted {
        node.append(1, Position::new(1, last), &["x"], 0);
        last += 1;
        assert!(last < 100, "the reserve has no end");
    }
    let taken = node.engine.view(GROUP).unwrap().status.last.0;
    let sent = node.sent.len();
    node.append(1, Position::new(1, taken), &["y"], 0);
    assert_eq!(node.engine.view(GROUP).unwrap().status.last.0, taken);
    assert_eq!(node.sent.len(), sent, "nothing is acknowledged");
    assert!(node.halted.is_empty());

    // What an election needs still goes.
    let entry = Entry {
        term: Term(2),
        index: Index(taken + 1),
        kind: EntryKind::Blank,
        payload: Bytes::new(),
    };
    let prev = Position::new(1, taken);
    let (token, commit, entries) = (Token::default(), Index::ZERO, vec![entry]);
    node.hear(2, Body::Append { token, prev, entries, commit });
    let outcome = AppendOutcome::Matched(Index(taken + 1));
    assert_eq!(*node.last_message(), Body::AppendReply { token, outcome });

    node.make_room();
    node.append(2, Position::new(2, taken + 1), &["y"], 0);
    let outcome = AppendOutcome::Matched(Index(taken + 2));
    assert_eq!(*node.last_message(), Body::AppendReply { token, outcome });
    let node = node.restart();
    assert_eq!(node.engine.view(GROUP).unwrap().status.last, Index(taken + 2));
}

/// Every byte is taken at once, in the middle of a burst of writes.
#[test]
fn what_is_under_way_when_the_disk_becomes_full_waits_and_is_not_lost() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    let big = Bytes::from(vec![b'x'; 80 << 10]);
    node.disk.limit_bytes(node.disk.used_bytes());
    let proposals = vec![Proposal { id: ProposalId(1), payload: big }];
    node.event(Event::Propose { group: GROUP, proposals });
    node.pass(5);
    assert_eq!(node.answers, [], "it waits");
    assert_eq!((node.room(), node.engine.figures().disk.stalls), (Room::Exhausted, 0));
    assert!(node.halted.is_empty());
    node.make_room();
    assert!(matches!(node.answers[..], [Answer::Applied { .. }]), "{:?}", node.answers);
}

#[test]
fn a_disk_that_does_not_answer_is_named_once_and_heartbeats_do_not_wait_for_it() {
    let mut node = Node::open(SimDisk::new(1), [1, 2]);
    node.win_election();
    node.stalled = Some(Vec::new());
    node.propose_x(1);
    assert_eq!(node.engine.figures().disk.stalls, 0);
    let sent = node.sent.len();
    node.later(Duration::from_millis(499));
    assert_eq!(node.trouble_with("stalled"), 0);
    let beat = |envelope: &Envelope| matches!(envelope, Envelope::Beat(_));
    assert!(node.sent[sent..].iter().any(beat), "{:?}", &node.sent[sent..]);
    node.later(Duration::from_millis(1));
    node.later(Duration::from_millis(100));
    let disk = node.engine.figures().disk;
    assert_eq!((disk.stalls, disk.stalled, node.trouble_with("stalled")), (1, true, 1));
    let why = node.trouble.last().unwrap();
    assert!(why.contains("data/log/0000000000000001.log") && why.contains("500 ms"), "{why}");
    node.resume();
    let disk = node.engine.figures().disk;
    assert_eq!((disk.stalls, disk.stalled), (1, false));
    assert_eq!(node.trouble_with("answers again, after 600 ms"), 1, "{:?}", node.trouble);
}
