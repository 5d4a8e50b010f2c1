//! Snapshots of an engine: when they are taken, and how they travel.

use std::num::NonZeroU64;
use std::ops::ControlFlow;
use std::time::Duration;

use raft_core::{BeatReply, Member};
use raft_log::inspect::for_each_frame;
use raft_state::RoleName;

use super::*;
use crate::engine::{Collection, SnapshotRefusal};

const SECOND: Duration = Duration::from_secs(1);

fn noise(bytes: usize) -> Bytes {
    let mut random = raft_core::Random::new(7);
    (0..bytes).map(|_| b'a' + random.below(26) as u8).collect()
}

/// A voter of its own that leads, with other settings.
fn alone(change: impl FnOnce(&mut EngineConfig)) -> Node {
    let mut node = Node::open_as(SimDisk::new(1), [1], Words::default(), change);
    node.event(Event::Timeout);
    node
}

impl Node {
    fn taken(&self) -> u64 {
        self.engine.view(GROUP).unwrap().figures.snapshots_taken
    }

    fn floor(&self) -> Index {
        self.engine.replica(GROUP).unwrap().log().floor().index
    }

    /// Lets time pass, with every timer on the way.
    fn wait(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.engine.deadline() <= end {
            self.now = self.engine.deadline().max(self.now);
            self.event(Event::Timeout);
        }
        self.now = end;
    }

    /// Node `from`, which leads `term`, sends a piece of the snapshot with this content, at
    /// index 3; answers what is wanted next.
    fn piece(
        &mut self,
        from: u64,
        term: u64,
        content: &Bytes,
        offset: usize,
        length: usize,
    ) -> u64 {
        let membership = Membership::of_voters([id(1), id(2), id(3)]);
        let (bytes, whole) = (content.len() as u64, crc32c::crc32c(content));
        let position = Position::new(1, 3);
        let meta = Box::new(SnapshotMeta { position, membership, bytes, checksum: whole });
        let piece = content.slice(offset..offset + length);
        let (token, checksum) = (Token { boot: LEADER_BOOT, number: term }, crc32c::crc32c(&piece));
        let (offset, data) = (offset as u64, raft_log::pack_piece(&piece));
        let body = Body::SnapshotChunk { token, meta, offset, data, checksum };
        let (from, to) = (id(from), id(1));
        let message = Message::new(GROUP, from, to, Term(term), body);
        let envelopes = vec![Envelope::Group(message)];
        self.event(Event::Received { from, boot: LEADER_BOOT, envelopes });
        let Some(Envelope::Group(answer)) = self.sent.last() else { panic!("no answer") };
        assert_eq!(answer.to, from);
        match answer.body {
            Body::SnapshotChunkReply { next_offset, .. } => next_offset,
            Body::SnapshotInstalled { .. } => bytes,
            _ => panic!("{answer:?}"),
        }
    }
}

#[test]
fn a_new_leader_goes_on_with_the_snapshot_that_the_one_before_has_begun() {
    let (mut node, content) = (Node::new(), noise(3000));
    assert_eq!(node.piece(2, 1, &content, 0, 1000), 1000);
    assert_eq!(node.piece(3, 2, &content, 0, 1000), 1000, "nothing was begun anew");
    assert_eq!(node.piece(3, 2, &content, 1000, 1500), 2500);
    assert_eq!(node.piece(2, 3, &content, 2500, 500), 3000);
    assert_eq!(node.words().as_bytes(), content);
    assert_eq!(node.applied(), 3);
}

#[test]
fn a_restart_and_a_leader_change_lose_no_chunk_of_a_snapshot_that_is_being_received() {
    let (mut node, content) = (Node::new(), noise(300_000));
    assert_eq!(node.piece(2, 1, &content, 0, 200_000), 200_000);
    node.disk.crash_process();
    let mut node = Node::open(node.disk, []);
    assert_eq!(node.applied(), 0, "a part is not the state");
    assert_eq!(node.piece(3, 2, &content, 0, 10), 3 * 65_536);
    assert_eq!(node.piece(3, 2, &content, 3 * 65_536, 300_000 - 3 * 65_536), 300_000);
    assert_eq!(node.words().as_bytes(), content);
    let mut node = node.restart();
    assert_eq!((node.applied(), node.words().len()), (3, 300_000));
}

#[test]
fn another_snapshot_takes_the_place_of_one_that_was_begun() {
    let (mut node, content) = (Node::new(), noise(3000));
    assert_eq!(node.piece(2, 1, &content, 0, 1000), 1000);
    let other = content.slice(..2000);
    assert_eq!(node.piece(3, 2, &other, 0, 500), 500);
    assert_eq!(node.piece(3, 2, &other, 500, 1500), 2000);
    assert_eq!(node.words().as_bytes(), other);
}

#[test]
fn a_snapshot_is_due_after_a_time_in_which_something_was_applied() {
    let mut node = alone(|config| {
        config.gc.snapshot_every = Some(60 * SECOND);
        config.gc.snapshot_every_entries = 1_000_000;
    });
    node.propose_x(1);
    node.wait(59 * SECOND);
    assert_eq!(node.taken(), 0);
    node.wait(2 * SECOND);
    assert_eq!((node.taken(), node.floor()), (1, Index(2)), "and the log goes");
    node.wait(1000 * SECOND);
    assert_eq!(node.taken(), 1, "nothing is new");
    node.propose_x(2);
    assert_eq!(node.taken(), 2, "long overdue");
}

#[test]
fn while_collection_is_paused_nothing_goes_and_no_snapshot_is_taken_by_itself() {
    let mut node = alone(|config| config.gc.snapshot_every = Some(SECOND));
    node.event(Event::Collect(Collection::Paused));
    for n in 0..30 {
        node.propose_x(n);
    }
    node.wait(100 * SECOND);
    assert_eq!((node.taken(), node.floor()), (0, Index(0)));
    assert_eq!(node.engine.view(GROUP).unwrap().collection, Collection::Paused);
    node.event(Event::WantSnapshot { group: GROUP, id: ProposalId(90) });
    assert_eq!((node.taken(), node.floor()), (1, Index(0)), "for who asks for it");
    node.event(Event::Collect(Collection::Running));
    assert_eq!(node.floor(), Index(31));
    node.event(Event::Collect(Collection::Paused));
    let node = node.restart();
    let view = node.engine.view(GROUP).unwrap();
    assert_eq!(view.collection, Collection::Running, "a pause ends with the process");
}

#[test]
fn who_wants_a_snapshot_is_given_one_that_reaches_as_far_as_the_state() {
    let mut node = alone(|config| config.gc.snapshot_every_entries = 1_000_000);
    let want = |node: &mut Node, group| {
        node.event(Event::WantSnapshot { group, id: ProposalId(99) });
        node.snapshots.pop().expect("an answer")
    };
    node.propose_x(1);
    let first = want(&mut node, GROUP).unwrap();
    assert_eq!(first.meta().position, Position::new(1, 2));
    assert_eq!(want(&mut node, GROUP).unwrap().meta(), first.meta(), "the same is good enough");
    assert_eq!(node.taken(), 1);
    node.propose_x(2);
    let mut second = want(&mut node, GROUP).unwrap();
    assert_eq!(second.meta().position, Position::new(1, 3));
    second.verify().unwrap();
    let refused = want(&mut node, GroupId(77)).unwrap_err();
    assert_eq!(refused, SnapshotRefusal::NoSuchGroup(GroupId(77)));
    let refused = want(&mut Node::new(), GROUP).unwrap_err();
    assert_eq!(refused, SnapshotRefusal::Nothing);
}

#[test]
fn who_wants_a_snapshot_that_cannot_be_written_is_told_why() {
    let mut node = alone(|config| config.gc.snapshot_every_entries = 1_000_000);
    node.propose_x(1);
    node.disk.fail_next_writes(1, io::ErrorKind::StorageFull);
    node.event(Event::WantSnapshot { group: GROUP, id: ProposalId(99) });
    let refused = node.snapshots.pop().unwrap().unwrap_err();
    assert!(matches!(&refused, SnapshotRefusal::Failed(why) if why.contains("cannot create")));
    node.event(Event::WantSnapshot { group: GROUP, id: ProposalId(99) });
    assert!(node.snapshots.pop().unwrap().is_ok(), "asking again tries again at once");
}

/// What little room there is belongs to the log.
#[test]
fn no_snapshot_is_taken_for_anybody_while_the_disk_is_full() {
    let mut node = alone(|config| config.gc.snapshot_every_entries = 1_000_000);
    node.propose_x(1);
    node.disk.limit_bytes(node.disk.used_bytes());
    node.wait(10 * SECOND);
    node.event(Event::WantSnapshot { group: GROUP, id: ProposalId(99) });
    let refused = node.snapshots.pop().unwrap().unwrap_err();
    assert!(refused.to_string().contains("the disk is full"), "{refused}");
    assert_eq!(node.taken(), 0);
}

#[test]
fn a_snapshot_is_written_no_faster_than_is_configured() {
    let rate = NonZeroU64::new(128 << 10);
    let mut node = alone(|config| {
        config.snapshot_write_bytes_per_s = rate;
        config.gc.snapshot_every_entries = 1_000_000;
    });
    let payload = noise(500 << 10);
    let proposals = vec![Proposal { id: ProposalId(1), payload }];
    node.event(Event::Propose { group: GROUP, proposals });
    node.event(Event::WantSnapshot { group: GROUP, id: ProposalId(99) });
    node.wait(3 * SECOND);
    assert!(node.snapshots.is_empty(), "500 KiB in 3 s");
    node.wait(2 * SECOND);
    let mut whole = Vec::new();
    node.snapshots.pop().unwrap().unwrap().read_to_end(&mut whole).unwrap();
    assert_eq!(whole, noise(500 << 10));
}

/// Ten pieces for what `leads_with` takes, as fast as they are asked for, and no snapshot but those.
fn in_small_pieces(config: &mut EngineConfig) {
    config.snapshot_piece_bytes = 1000;
    config.snapshot_send_bytes_per_s = None;
    config.gc.snapshot_every_entries = 1_000_000;
}

/// Leads with the snapshot of an earlier leader, at which its log begins; node 2 has nothing.
fn leads_with(content: &Bytes, change: impl FnOnce(&mut EngineConfig)) -> Node {
    let mut node = Node::open_as(SimDisk::new(1), [1, 2, 3], Words::default(), change);
    node.piece(2, 1, content, 0, content.len());
    while node.engine.view(GROUP).unwrap().status.role == RoleName::Follower {
        node.now = node.engine.deadline();
        node.event(Event::Timeout);
    }
    let token = |node: &Node| Token { boot: node.engine.boot(), number: node.tokens() };
    node.hear(1, Body::PreVoteReply { token: token(&node), granted: true });
    node.hear(2, Body::VoteReply { token: token(&node), granted: true });
    let outcome = AppendOutcome::Conflict(Position::ZERO);
    node.hear(2, Body::AppendReply { token: token(&node), outcome });
    node
}

impl Node {
    /// The piece that was sent last: its transfer, of which snapshot, from where on.
    fn last_piece(&self) -> Option<(Token, Index, u64, Bytes)> {
        self.sent.iter().rev().find_map(|envelope| match envelope {
            Envelope::Group(Message {
                to: NODE_2,
                body: Body::SnapshotChunk { token, meta, offset, data, .. },
                ..
            }) => Some((*token, meta.position.index, *offset, data.clone())),
            _ => None,
        })
    }

    /// Node 3 acknowledges what was sent to it last.
    fn acknowledge_as_3(&mut self, last: u64) {
        let token = self.sent.iter().rev().find_map(|envelope| match envelope {
            Envelope::Group(Message { to, body: Body::Append { token, .. }, .. })
                if *to == id(3) =>
            {
                Some(*token)
            }
            _ => None,
        });
        let term = self.engine.view(GROUP).unwrap().status.term;
        let outcome = AppendOutcome::Matched(Index(last));
        let body = Body::AppendReply { token: token.unwrap(), outcome };
        let message = Message::new(GROUP, id(3), id(1), term, body);
        let envelopes = vec![Envelope::Group(message)];
        self.event(Event::Received { from: id(3), boot: Boot(78), envelopes });
    }

    /// The disk loses an entry while it is used.
    fn lose(&self, index: u64) {
        for_each_frame(&self.disk.copy(), Path::new("data/log"), |frame| {
            if frame.entries.iter().any(|entry| entry.index == Index(index)) {
                self.disk.flip_bit(&frame.file, frame.offset + u64::from(frame.bytes) - 1, 0);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    }

    /// Time passes in which node 2 answers the beats of this one and nothing else.
    fn wait_with_contact(&mut self, time: Duration) {
        let end = self.now.after(time);
        while self.now < end {
            self.wait(SECOND / 20);
            let beat = self.sent.iter().rev().find_map(|sent| match sent {
                Envelope::Beat(beat) => Some(beat.clone()),
                _ => None,
            });
            let Some(beat) = beat else { continue };
            let (to_boot, sequence) = (self.engine.boot(), beat.sequence);
            let reply =
                BeatReply { to_boot, sequence, follows: beat.groups, ..BeatReply::default() };
            let envelopes = vec![Envelope::BeatReply(reply)];
            self.event(Event::Received { from: id(2), boot: LEADER_BOOT, envelopes });
        }
    }
}

/// It was the newest, and the log begins there: without another one a follower that needs it
/// would be offered it for ever.
#[test]
fn a_snapshot_that_is_found_damaged_while_it_is_sent_is_taken_anew() {
    let content = noise(10_000);
    let mut node = leads_with(&content, in_small_pieces);
    let (token, ..) = node.last_piece().unwrap();
    let damage = |node: &Node| {
        let folder = Path::new("data/snapshots");
        for file in node.disk.list(folder).unwrap() {
            node.disk.flip_bit(&folder.join(file), 200, 0);
        }
    };
    damage(&node);
    node.sent.clear();
    node.wait_with_contact(5 * SECOND);
    let (again, of, offset, data) = node.last_piece().expect("a piece of another snapshot");
    assert_ne!(again, token, "it was begun again");
    assert_eq!((of, offset), (Index(3), 0));
    // The image of the same state has one byte more in front.
    assert!(data[1..].starts_with(&content[..999]));
    assert_eq!(node.taken(), 1);
    // This one is as bad, which is found each time that it is to be sent.
    damage(&node);
    node.wait_with_contact(4 * SECOND);
    assert_eq!(node.taken(), 1, "not one after the other");
    node.wait_with_contact(15 * SECOND);
    assert_eq!(node.taken(), 2);
}

#[test]
fn a_transfer_that_is_begun_again_goes_on_with_the_same_snapshot() {
    let content = noise(10_000);
    let mut node = leads_with(&content, in_small_pieces);
    let (token, of, offset, _) = node.last_piece().unwrap();
    assert_eq!((of, offset), (Index(3), 0));
    node.hear(2, Body::SnapshotChunkReply { token, next_offset: 1000 });
    assert_eq!(node.last_piece().unwrap().2, 1000);

    // A newer snapshot comes, and the connection is gone for a while.
    let term = node.engine.view(GROUP).unwrap().status.term;
    let outcome = AppendOutcome::Matched(Index(4));
    let token_of_3 = node.sent.iter().rev().find_map(|envelope| match envelope {
        Envelope::Group(Message { to, body: Body::Append { token, .. }, .. }) if *to == id(3) => {
            Some(*token)
        }
        _ => None,
    });
    let body = Body::AppendReply { token: token_of_3.unwrap(), outcome };
    let message = Message::new(GROUP, id(3), id(1), term, body);
    let envelopes = vec![Envelope::Group(message)];
    node.event(Event::Received { from: id(3), boot: Boot(78), envelopes });
    node.event(Event::WantSnapshot { group: GROUP, id: ProposalId(9) });
    assert_eq!(node.snapshots.pop().unwrap().unwrap().meta().position.index, Index(4));
    node.wait_with_contact(5 * SECOND);
    let (again, of, offset, _) = node.last_piece().unwrap();
    assert_ne!(again, token, "it was begun again");
    assert_eq!((of, offset), (Index(3), 0), "with what the follower has a part of");
    node.hear(2, Body::SnapshotChunkReply { token: again, next_offset: 2000 });
    assert_eq!(node.last_piece().unwrap().2, 2000);
}

#[test]
fn a_snapshot_is_sent_no_faster_than_is_configured_and_arrives() {
    let content = noise(10_000);
    let mut node = leads_with(&content, |config| {
        config.snapshot_piece_bytes = 1000;
        config.snapshot_send_bytes_per_s = NonZeroU64::new(500);
        // Whether node 2 is heard is not the subject here.
        config.replica.election_timeout = 3600 * SECOND;
    });
    let (begun, mut received) = (node.now, 0);
    while received < 10_000 {
        let next = node.last_piece().filter(|(_, _, offset, _)| *offset == received);
        let Some((token, _, offset, data)) = next else {
            node.wait(SECOND / 10);
            assert!(node.now.since(begun) < 100 * SECOND, "stuck at {received}");
            continue;
        };
        let piece = raft_log::unpack_piece(offset, data).unwrap();
        assert_eq!(piece, content[offset as usize..offset as usize + 1000]);
        received += 1000;
        node.hear(2, Body::SnapshotChunkReply { token, next_offset: received });
    }
    let took = node.now.since(begun);
    assert!(took >= 17 * SECOND && took <= 25 * SECOND, "10,000 bytes took {took:?}");
}

#[test]
fn a_group_in_which_nothing_happens_does_not_hold_back_the_log() {
    let few = |config: &mut EngineConfig| config.log.relocate_above_segments = 2;
    let mut node = Node::open_as(SimDisk::new(1), [1], Words::default(), few);
    let idle = GroupId(9);
    node.machines.insert(idle, Box::new(Words::default()));
    let members = Membership::of_voters([id(1)]);
    node.engine.create_group(idle, members, &mut node.machines, Instant(0)).unwrap();
    node.event(Event::Timeout);
    let of_idle = |node: &Node| node.engine.replica(idle).unwrap().log().clone();
    let before = of_idle(&node);
    assert_eq!(before.last().index, Index(1), "the entry of its leader");
    for n in 0..200 {
        node.propose_x(n);
    }
    let stats = node.engine.log_stats();
    assert!(stats.begun_segments > 10 && stats.segments < 7, "{stats:?}");
    assert!(stats.relocated_bytes > 0, "{stats:?}");
    assert_eq!(of_idle(&node), before);
    assert_eq!(node.trouble, [""; 0]);
}

/// They go only when two more are there.
#[test]
fn segments_of_what_was_trimmed_go_though_nothing_is_trimmed_any_more() {
    let mut node = alone(|config| {
        config.gc.snapshot_every_entries = 100;
        config.gc.keep_entries = 0;
    });
    let propose = |node: &mut Node, count| {
        (0..count).for_each(|n| node.propose_x(n));
        (node.taken(), node.engine.log_stats().segments)
    };
    let (taken, before) = propose(&mut node, 105);
    assert!(taken == 1 && before > 5, "{before} segments");
    node.event(Event::Collect(Collection::Paused));
    let (taken, paused) = propose(&mut node, 50);
    assert!(taken == 1 && paused > before + 1, "{paused} segments, {before} before");
    node.event(Event::Collect(Collection::Running));
    let running = node.engine.log_stats().segments;
    assert!(running < before, "{running} segments, {before} before");
    let (taken, after) = propose(&mut node, 40);
    assert!(taken == 1 && after <= running + 3, "{after} segments");
}

/// An older snapshot would bring the follower before the same place again.
#[test]
fn who_lacks_what_the_leader_cannot_read_is_sent_a_snapshot_that_reaches_beyond() {
    let mut node = leads_with(&noise(100), |config| {
        config.log.cache_bytes = 0;
        config.gc.snapshot_every_entries = 1_000_000;
    });
    let term = node.engine.view(GROUP).unwrap().status.term;
    node.acknowledge_as_3(4);
    node.propose_x(1);
    node.acknowledge_as_3(5);
    assert_eq!(node.engine.replica(GROUP).unwrap().commit(), Index(5));
    node.lose(4);
    let (token, of, ..) = node.last_piece().unwrap();
    assert_eq!(of, Index(3));
    node.hear(term.0, Body::SnapshotInstalled { token, last: of });
    node.wait_with_contact(5 * SECOND);
    let troubled = node.trouble.iter().any(|why| why.contains("could not be read for sending"));
    assert!(troubled, "{:?}", node.trouble);
    assert_eq!(node.last_piece().unwrap().1, Index(5));
}

/// Its log is the longest, so that it would lead again and again and never commit anything.
#[test]
fn a_leader_that_cannot_read_what_is_not_committed_makes_way() {
    let mut node = leads_with(&noise(100), |config| {
        config.log.cache_bytes = 0;
        config.gc.snapshot_every_entries = 1_000_000;
    });
    let term = node.engine.view(GROUP).unwrap().status.term;
    node.acknowledge_as_3(4);
    node.propose_x(1);
    node.lose(5);
    let (token, ..) = node.last_piece().unwrap();
    node.hear(term.0, Body::SnapshotInstalled { token, last: Index(4) });
    node.wait_with_contact(SECOND);
    assert_eq!(node.halted, [""; 0], "node 3 may have it");
    node.wait_with_contact(3 * SECOND);
    let [why] = &node.halted[..] else { panic!("{:?} {:?}", node.halted, node.trouble) };
    assert!(why.contains("start this node again"), "{why}");
}

/// Whoever starts from a snapshot that says the change is over decides without the outgoing
/// majority.
#[test]
fn a_snapshot_that_is_taken_in_the_joint_state_says_so() {
    let mut node = Node::new();
    let members = (1..=4).map(|n| (id(n), Member::default())).collect();
    let (voters, outgoing) = ([1, 2, 4].map(id), [1, 2, 3].map(id));
    let joint = Membership::new(voters.into(), outgoing.into(), [].into(), members).unwrap();
    let entry = |index, kind, payload| Entry { term: Term(1), index: Index(index), kind, payload };
    let change = entry(1, EntryKind::Membership, joint.encode());
    let words = (2..=12).map(|index| entry(index, EntryKind::Command, Bytes::from_static(b"x")));
    let entries = [change].into_iter().chain(words).collect();
    let (token, prev, commit) = (Token::default(), Position::ZERO, Index(12));
    node.hear(1, Body::Append { token, prev, entries, commit });
    let disk: Arc<dyn Disk> = Arc::new(node.disk.clone());
    let store = SnapshotStore::open(disk, Path::new("data/snapshots"), 2).unwrap();
    let taken = store.newest(GROUP).expect("one is due after nine entries");
    assert_eq!(taken.membership, joint);
}

/// Until a flush has ended, it is in the memory of the state machine only.
#[test]
fn the_log_lets_go_of_nothing_that_is_not_flushed() {
    let mut node = Node::open_as(SimDisk::new(1), [1], FlushedBeside::default(), |config| {
        config.flush_every_entries = 1;
    });
    node.flushes = Some(Vec::new());
    node.event(Event::Timeout);
    for n in 0..30 {
        node.propose_x(n);
    }
    assert!(node.taken() > 0, "a snapshot would allow it");
    assert_eq!((node.applied(), node.floor()), (31, Index(0)));
    for flush in node.flushes.take().unwrap() {
        node.event(Event::Done(Box::new(flush.run())));
    }
    assert!(node.floor() > Index(9), "{}", node.floor());
}

/// A follower that lacks what is gone could be brought up by nothing.
#[test]
fn the_log_lets_go_of_nothing_that_no_snapshot_covers() {
    let mut node = alone(|config| {
        config.flush_every_entries = 1;
        config.gc.snapshot_every_entries = 1_000_000;
    });
    for n in 0..30 {
        node.propose_x(n);
    }
    assert_eq!((node.taken(), node.floor()), (0, Index(0)), "all of it is flushed");
    node.event(Event::WantSnapshot { group: GROUP, id: ProposalId(99) });
    assert_eq!((node.taken(), node.floor()), (1, Index(31)));
}
