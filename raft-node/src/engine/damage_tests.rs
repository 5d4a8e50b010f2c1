//! The disk loses a part of the log that it had confirmed.

use std::ops::ControlFlow;

use raft_log::inspect::for_each_frame;

use super::*;

const LOG: &str = "data/log";

impl Node {
    /// The power fails, the disk loses the frame that brought the log to `last`, and the node
    /// starts again with a state machine that has kept this.
    fn restart_without(self, last: Position, machine: Words) -> Self {
        self.disk.crash_power();
        let mut lost = 0;
        for_each_frame(&self.disk.copy(), Path::new(LOG), |frame| {
            if frame.group == Some(GROUP) && frame.last == last && !frame.entries.is_empty() {
                self.disk.flip_bit(&frame.file, frame.offset, 0);
                lost += 1;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert!(lost > 0, "no frame brings the log to {last}");
        let mut node = Self::open_as(self.disk, [], machine, |_| {});
        node.event(Event::Timeout);
        node
    }

    fn damaged_up_to(&self) -> Option<Position> {
        self.engine.view(GROUP).unwrap().status.damaged_up_to
    }

    fn says(&self, what: &str) -> bool {
        self.trouble.iter().any(|why| why.contains(what))
    }

    /// Node 2 leads `term` and has nothing to send; it believes that all is committed.
    fn hear_beat(&mut self, term: u64, commit: u64) {
        let (token, commit) = (Token { boot: LEADER_BOOT, number: 9 }, Index(commit));
        self.hear(term, Body::Heartbeat { token, commit });
    }
}

/// A follower that has got five letters, one in each write, and applied them.
fn five_letters() -> Node {
    let mut node = Node::new();
    let mut prev = Position::ZERO;
    for (place, letter) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        node.append(1, prev, &[letter], place as u64 + 1);
        prev = Position::new(1, place as u64 + 1);
    }
    assert_eq!((node.words(), node.applied()), ("abcde".to_owned(), 5));
    node
}

fn kept(words: &str) -> Words {
    Words { applied: Index(words.len() as u64), words: words.as_bytes().to_vec() }
}

#[test]
fn what_the_disk_has_lost_is_fetched_and_nothing_is_applied_twice() {
    let mut node = five_letters().restart_without(Position::new(1, 3), kept("abcde"));
    assert_eq!(node.damaged_up_to(), Some(Position::new(1, 5)));
    assert!(node.says("is damaged at byte"), "{:?}", node.trouble);
    let lost = "the log of group 1 has lost what stood after 2@1, up to 5@1: it is fetched";
    assert!(node.says(lost), "{:?}", node.trouble);
    node.hear_beat(1, 5);
    let reported = node.sent.iter().any(|envelope| {
        let outcome = AppendOutcome::Lost(Position::new(1, 2));
        matches!(envelope, Envelope::Group(Message { body: Body::AppendReply { outcome: o, .. }, .. })
            if *o == outcome)
    });
    assert!(reported, "{:?}", node.sent);
    assert_eq!(node.engine.replica(GROUP).unwrap().commit(), Index(0), "a beat commits nothing");
    node.append(1, Position::new(1, 2), &["c", "d"], 5);
    assert_eq!(node.damaged_up_to(), Some(Position::new(1, 5)), "one is still missing");
    node.append(1, Position::new(1, 4), &["e", "f"], 6);
    assert_eq!(node.damaged_up_to(), None);
    assert!(node.says("the log of group 1 is whole again"), "{:?}", node.trouble);
    assert_eq!((node.words(), node.applied()), ("abcdef".to_owned(), 6));
    let mut node = node.restart();
    node.event(Event::Timeout);
    assert!(node.says("is damaged at byte"), "the place is still there: {:?}", node.trouble);
    let last = node.engine.replica(GROUP).unwrap().log().last();
    assert_eq!((node.damaged_up_to(), last), (None, Position::new(1, 6)));
}

/// Letters that are applied and lost are above all that the log still has. No snapshot is
/// taken of them and nothing is let go of, until the log is what is applied.
#[test]
fn house_is_kept_only_once_the_log_is_what_is_applied() {
    let mut node = five_letters();
    for n in 6..=12 {
        node.append(1, Position::new(1, n - 1), &["x"], n);
    }
    let floor = |node: &Node| node.engine.replica(GROUP).unwrap().log().floor();
    assert!(floor(&node) > Position::ZERO, "a snapshot was taken and the log was let go");
    let at = floor(&node).index.0;
    for n in 13..=17 {
        node.append(1, Position::new(1, n - 1), &["y"], n);
    }
    let words = node.words();
    let mut node = node.restart_without(Position::new(1, at + 2), kept(&words));
    node.hear_beat(1, 17);
    assert_eq!(node.engine.replica(GROUP).unwrap().applied().0, at);
    for n in at + 2..=17 {
        node.append(1, Position::new(1, n - 1), &["y"], n);
        assert!(n == 17 || floor(&node).index.0 == at, "{n}: {}", floor(&node));
    }
    assert_eq!((node.damaged_up_to(), node.words()), (None, words));
}

/// The snapshot is of what is committed, and of more than what is left.
#[test]
fn a_snapshot_stands_in_for_what_the_disk_has_lost() {
    let mut node = five_letters();
    for n in 6..=11 {
        node.append(1, Position::new(1, n - 1), &["x"], n);
    }
    let disk = node.disk.copy();
    let newest = {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let store = SnapshotStore::open(shared, Path::new("data/snapshots"), 2).unwrap();
        store.newest(GROUP).unwrap().position
    };
    assert!(newest.index > Index(5), "{newest}");
    // The floor of the log goes no further than the last head says: its first entry is there.
    let node = node.restart_without(Position::new(1, 2), Words::default());
    assert_eq!(node.engine.replica(GROUP).unwrap().log().floor(), newest);
    assert_eq!(node.damaged_up_to(), Some(Position::new(1, 11)));
    assert!(node.applied() >= newest.index.0, "it was restored from the snapshot");
    let node = node.restart();
    assert_eq!(node.engine.replica(GROUP).unwrap().log().floor(), newest);
}

#[test]
fn who_has_nobody_to_fetch_it_from_says_what_is_missing_and_serves_nothing_new() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    for n in 1..=3 {
        node.propose_x(n);
    }
    // A later write, which covers it.
    let mut node = node.restart_without(Position::new(1, 3), kept(""));
    assert!(node.says("no other voter has it"), "{:?}", node.trouble);
    for _ in 0..5 {
        node.now = node.now.max(node.engine.deadline());
        node.event(Event::Timeout);
    }
    node.propose_x(9);
    let refused =
        Answer::ProposalRefused { id: ProposalId(9), why: Refusal::NotLeader { leader: None } };
    assert_eq!(node.answers, [refused]);
}

#[test]
fn a_group_that_may_have_been_lost_is_not_made_again() {
    let node = five_letters();
    let mut node = node.restart_without(Position::new(1, 3), kept("abcde"));
    let another = GroupId(2);
    node.machines.insert(another, Box::new(Words::default()));
    let members = Membership::of_voters([id(1)]);
    let made = node.engine.create_group(another, members, &mut node.machines, Instant(9));
    assert!(matches!(made, Err(OpenError::MayHaveHad(group)) if group == another), "{made:?}");
}

#[test]
fn committed_entries_that_cannot_be_read_stop_the_group_with_what_to_do() {
    let mut node = Node::open_as(SimDisk::new(1), [1, 2, 3], Words::default(), |config| {
        config.log.cache_bytes = 0;
    });
    node.append(1, Position::ZERO, &["a", "b"], 0);
    for_each_frame(&node.disk.copy(), Path::new(LOG), |frame| {
        if !frame.entries.is_empty() {
            node.disk.flip_bit(&frame.file, frame.offset + 90, 0);
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    node.append(1, Position::new(1, 2), &[], 2);
    let [why] = &node.halted[..] else { panic!("{:?}", node.halted) };
    assert!(why.contains("is damaged at byte") && why.contains("start this node again"), "{why}");
}

/// What is applied is committed: an older snapshot does not take it back while the node runs.
#[test]
fn an_older_snapshot_that_heals_the_log_takes_back_nothing_that_is_applied() {
    let mut node = five_letters().restart_without(Position::new(1, 3), kept("abcde"));
    assert_eq!((node.words(), node.applied()), ("abcde".to_owned(), 5));
    node.hear_beat(1, 5);
    node.send_snapshot(1, Position::new(1, 4), "abcd");
    assert_eq!((node.words(), node.applied()), ("abcde".to_owned(), 5));
}
