//! The group's time, from the leader's clock into state machines.

use std::sync::Mutex;
use std::time::Duration;

use raft_core::GroupTime;

use super::*;
use crate::{Timekeeping, WantsTime};

/// What a state machine was told: the index, the time in milliseconds, and the words by then.
type Told = Arc<Mutex<Vec<(u64, u64, String)>>>;

/// Waits for the time: soon after the word `s`, and for ten seconds after `t`.
#[derive(Default)]
struct Timed {
    words: Words,
    time: Timekeeping,
    told: Told,
}

impl StateMachine for Timed {
    fn applied(&self) -> Index {
        self.words.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        for command in commands {
            match &command.payload[..] {
                b"s" => self.time.wants = WantsTime::Soon,
                b"t" => {
                    let at = self.time.reached.after(Duration::from_secs(10));
                    self.time.wants = WantsTime::At(at);
                }
                _ => {}
            }
        }
        self.words.apply(commands, up_to)
    }

    fn advance(&mut self, index: Index, time: GroupTime) -> io::Result<()> {
        self.time = Timekeeping { reached: time, wants: WantsTime::Never };
        self.words.applied = index;
        let words = String::from_utf8(self.words.words.clone()).unwrap();
        self.told.lock().unwrap().push((index.0, time.0, words));
        Ok(())
    }

    fn timekeeping(&self) -> Timekeeping {
        self.time
    }

    fn flush(&mut self) -> io::Result<Index> {
        self.words.flush()
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        self.words.snapshot()
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        self.words.restore(index, image)
    }
}

/// A node with a state machine that waits for the time, and what that is told.
fn node(voters: impl IntoIterator<Item = u64>) -> (Node, Told) {
    let machine = Timed::default();
    let told = Arc::clone(&machine.told);
    (Node::open_as(SimDisk::new(1), voters, machine, |_| {}), told)
}

fn propose(node: &mut Node, word: &'static str) {
    let payload = Bytes::from_static(word.as_bytes());
    let proposals = vec![Proposal { id: ProposalId(1), payload }];
    node.event(Event::Propose { group: GROUP, proposals });
}

/// Lets this much time pass, with every timer in it.
fn pass(node: &mut Node, ms: u64) {
    let end = node.now.after(Duration::from_millis(ms));
    while node.engine.deadline() <= end {
        node.now = node.now.max(node.engine.deadline());
        node.event(Event::Timeout);
    }
    node.now = end;
}

fn words(index: u64, time: u64, words: &str) -> (u64, u64, String) {
    (index, time, words.to_owned())
}

#[test]
fn a_leader_tells_the_time_where_it_is_waited_for_and_no_more_often() {
    let (mut node, told) = node([1]);
    node.event(Event::Timeout);
    propose(&mut node, "x");
    pass(&mut node, 7000);
    assert_eq!(*told.lock().unwrap(), [], "nothing waits for it");

    propose(&mut node, "s");
    pass(&mut node, 1);
    assert_eq!(*told.lock().unwrap(), [words(4, 7000, "xs")]);
    propose(&mut node, "s");
    propose(&mut node, "s");
    pass(&mut node, 998);
    assert_eq!(told.lock().unwrap().len(), 1, "a second has not passed");
    pass(&mut node, 5000);
    assert_eq!(told.lock().unwrap()[1..], [words(7, 8000, "xsss")]);

    propose(&mut node, "t");
    pass(&mut node, 20_000);
    assert_eq!(told.lock().unwrap()[2..], [words(9, 18_000, "xssst")]);
    assert_eq!(node.applied(), 9, "and an idle group writes nothing");
}

#[test]
fn times_reach_the_state_machine_in_the_order_of_the_log() {
    let (mut node, told) = node([1, 2, 3]);
    node.append(1, Position::ZERO, &["a", "b"], 0);
    let clock = |index, ms| Entry {
        term: Term(1),
        index: Index(index),
        kind: EntryKind::Clock,
        payload: GroupTime(ms).encode(),
    };
    let (token, prev, commit) = (Token::default(), Position::new(1, 2), Index(0));
    let entries = vec![clock(3, 30), clock(4, 40)];
    node.hear(1, Body::Append { token, prev, entries, commit });
    node.append(1, Position::new(1, 4), &["c"], 0);
    let (prev, entries) = (Position::new(1, 5), vec![clock(6, 60)]);
    node.hear(1, Body::Append { token, prev, entries, commit: Index(6) });
    assert_eq!(
        *told.lock().unwrap(),
        [words(3, 30, "ab"), words(4, 40, "ab"), words(6, 60, "abc")]
    );
    assert_eq!(node.applied(), 6);

    propose(&mut node, "s");
    pass(&mut node, 100);
    assert_eq!(told.lock().unwrap().len(), 3, "it does not lead");
}

#[test]
fn a_new_leader_goes_on_from_the_last_time_that_was_told() {
    let (mut node, _) = node([1]);
    node.event(Event::Timeout);
    propose(&mut node, "s");
    pass(&mut node, 3000);
    propose(&mut node, "s");
    pass(&mut node, 3000);
    let (machine, disk) = (Timed::default(), node.disk);
    let told = Arc::clone(&machine.told);
    disk.crash_power();
    // Its state machine has kept nothing, and is told again; then the clock goes on.
    let mut node = Node::open_as(disk, [], machine, |_| {});
    node.event(Event::Timeout);
    pass(&mut node, 500);
    propose(&mut node, "s");
    pass(&mut node, 500);
    let times: Vec<u64> = told.lock().unwrap().iter().map(|(_, time, _)| *time).collect();
    assert_eq!(times, [0, 3000, 3500]);
}
