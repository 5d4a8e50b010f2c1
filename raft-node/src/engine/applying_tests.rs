//! Committed commands on their way into the state machine, and flushes of it.

use super::*;

#[test]
fn committed_entries_are_applied_page_by_page_without_a_gap() {
    let small = |config: &mut EngineConfig| config.apply_page_bytes = 1;
    let mut node = Node::open_as(SimDisk::new(1), [1, 2, 3], Words::default(), small);
    node.append(1, Position::ZERO, &["a", "b", "c", "d"], 4);
    assert_eq!((node.words().as_str(), node.applied()), ("abcd", 4));
    // Those of a page that no longer are in memory are read from the disk.
    node.append(1, Position::new(1, 4), &["e", "f"], 4);
    node.disk.crash_power();
    let mut node = Node::open_as(node.disk, [], Words::default(), small);
    node.append(1, Position::new(1, 6), &["g"], 7);
    assert_eq!((node.words().as_str(), node.applied()), ("abcdefg", 7));
}

#[test]
fn what_a_snapshot_replaces_in_the_log_is_not_applied_from_it() {
    let mut node = Node::new();
    node.append(1, Position::ZERO, &["a"], 0);
    node.stalled = Some(Vec::new());
    node.send_snapshot(2, Position::new(2, 4), "abcd");
    node.append(2, Position::new(2, 4), &["e"], 5);
    assert_eq!(node.applied(), 0, "the reset is not durable");
    node.resume();
    assert_eq!((node.words().as_str(), node.halted.len()), ("abcde", 0));
}

#[test]
fn everyone_is_answered_when_the_state_machine_fails() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    let payload = Bytes::from_static(b"!");
    node.stalled = Some(Vec::new());
    let proposals = vec![Proposal { id: ProposalId(1), payload }];
    node.event(Event::Propose { group: GROUP, proposals });
    node.resume();
    assert_eq!(node.halted.len(), 1, "{:?}", node.halted);
    assert!(node.halted[0].contains("could not apply"), "{:?}", node.halted);
    assert_eq!(node.answers, [Answer::ProposalLost { id: ProposalId(1) }]);
    let view = node.engine.view(GROUP).unwrap();
    assert_eq!(view.status.leader, None, "it does not even seem to lead");
}

#[test]
fn a_flush_that_fails_halts_its_group_and_says_what_to_do() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    let outcome = Err(io::Error::other("a sync failed"));
    node.event(Event::Done(Box::new(JobDone::Flushed { group: GROUP, outcome })));
    let [why] = &node.halted[..] else { panic!("{:?}", node.halted) };
    assert!(why.contains("a sync failed") && why.contains("start this node again"), "{why}");
}

/// What is applied and not flushed lies in the state machine's memory.
#[test]
fn commands_wait_while_a_flush_takes_long_and_too_much_is_not_flushed() {
    // The leader's first entry restates the membership.
    let membership = Membership::of_voters([NodeId::new(1).unwrap()]).encode().len() as u64;
    let most = 5 * (Entry::HEADER_WEIGHT as u64 + 1) + membership;
    let mut node = Node::open_as(SimDisk::new(1), [1], FlushedBeside::default(), |config| {
        config.flush_every_entries = 1;
        config.max_unflushed_bytes = most;
    });
    node.flushes = Some(Vec::new());
    node.event(Event::Timeout);
    for n in 0..20 {
        node.propose_x(n);
    }
    // The leader's own entry and four commands weigh a byte less than what is allowed.
    assert_eq!((node.applied(), node.words().as_str()), (6, "xxxxx"));
    assert_eq!(node.answers.len(), 5, "the others are committed and wait");
    assert_eq!(node.engine.replica(GROUP).unwrap().commit(), Index(21));

    let [flush] = <[_; 1]>::try_from(node.flushes.take().unwrap()).unwrap();
    node.event(Event::Done(Box::new(flush.run())));
    assert_eq!((node.applied(), node.answers.len()), (21, 20));
    assert_eq!(node.halted, [""; 0]);
}
