use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use raft_core::{
    AppendOutcome, Beat, Body, Boot, ClusterId, Entry, EntryKind, Envelope, GroupBeat, GroupId,
    Incarnation, Index, Instant, Membership, Message, NodeId, Position, SnapshotMeta, Term, Token,
};
use raft_log::gc::GcPolicy;
use raft_log::{Disk, LogOptions, SimDisk, SnapshotStore};
use raft_state::{Proposal, ProposalId, ReadId, Refusal};

use super::*;
use crate::{Command, Flush, StateMachine};

const GROUP: GroupId = GroupId(1);
const NODE_2: NodeId = match NodeId::new(2) {
    Some(id) => id,
    None => panic!("2 is a node"),
};
const LEADER_BOOT: Boot = Boot(77);

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

/// Keeps all commands, and nothing on disk. Fails at the command `!`.
#[derive(Default)]
struct Words {
    applied: Index,
    words: Vec<u8>,
}

impl StateMachine for Words {
    fn applied(&self) -> Index {
        self.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        if commands.iter().any(|command| command.payload == "!") {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.applied = up_to;
        let answers = commands.iter().map(|command| {
            self.words.extend(&command.payload);
            Bytes::from(self.words.clone())
        });
        Ok(answers.collect())
    }

    fn flush(&mut self) -> io::Result<Index> {
        Ok(self.applied)
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.words.clone())))
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        self.words.clear();
        image.read_to_end(&mut self.words)?;
        self.applied = index;
        Ok(())
    }
}

/// The same, with flushes that are work for another thread.
#[derive(Default)]
struct FlushedBeside(Words);

impl StateMachine for FlushedBeside {
    fn applied(&self) -> Index {
        self.0.applied
    }

    fn apply(&mut self, commands: &[Command], up_to: Index) -> io::Result<Vec<Bytes>> {
        self.0.apply(commands, up_to)
    }

    fn flush(&mut self) -> io::Result<Index> {
        self.0.flush()
    }

    fn begin_flush(&mut self) -> io::Result<Flush> {
        let applied = self.0.applied;
        Ok(Flush::Job(Box::new(move || Ok(applied))))
    }

    fn snapshot(&mut self) -> io::Result<Box<dyn Read + Send>> {
        self.0.snapshot()
    }

    fn restore(&mut self, index: Index, image: &mut dyn Read) -> io::Result<()> {
        self.0.restore(index, image)
    }
}

/// Node 1 of three, on a disk of its own; everyone else is played by the test.
struct Node {
    disk: SimDisk,
    engine: Engine,
    machines: Machines,
    sent: Vec<Envelope>,
    answers: Vec<Answer>,
    halted: Vec<String>,
    trouble: Vec<String>,
    snapshots: Vec<SnapshotOutcome>,
    /// Who the voters became, and where this node was removed.
    members: Vec<(Index, Vec<u64>)>,
    removed: Option<Index>,
    /// While set, the log's writes are kept back.
    stalled: Option<Vec<Effect>>,
    /// While set, the flushes of the state machine are kept back.
    flushes: Option<Vec<Job>>,
    now: Instant,
}

impl Node {
    fn new() -> Self {
        Self::open(SimDisk::new(1), [1, 2, 3])
    }

    fn open(disk: SimDisk, voters: impl IntoIterator<Item = u64>) -> Self {
        Self::open_as(disk, voters, Words::default(), |_| {})
    }

    fn open_as(
        disk: SimDisk,
        voters: impl IntoIterator<Item = u64>,
        machine: impl StateMachine + 'static,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Self {
        let mut machines = Machines::default();
        machines.insert(GROUP, Box::new(machine));
        let mut engine = Self::open_with(&disk, &mut machines, change).unwrap();
        if engine.view(GROUP).is_none() {
            let members = Membership::of_voters(voters.into_iter().map(id));
            engine.create_group(GROUP, members, &mut machines, Instant(0)).unwrap();
        }
        Self {
            disk,
            engine,
            machines,
            sent: Vec::new(),
            answers: Vec::new(),
            halted: Vec::new(),
            trouble: Vec::new(),
            snapshots: Vec::new(),
            members: Vec::new(),
            removed: None,
            stalled: None,
            flushes: None,
            now: Instant(1),
        }
    }

    fn open_with(
        disk: &SimDisk,
        machines: &mut Machines,
        change: impl FnOnce(&mut EngineConfig),
    ) -> Result<Engine, OpenError> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let gc = GcPolicy { keep_entries: 0, snapshot_every_entries: 9, ..GcPolicy::default() };
        let log = LogOptions { segment_bytes: 64 << 10, ..LogOptions::default() };
        let mut config = EngineConfig { gc, log, ..EngineConfig::default() };
        change(&mut config);
        let (cluster, dir) = (ClusterId(1), PathBuf::from("data"));
        let (node, incarnation) = (id(1), Incarnation(0));
        let setup = EngineSetup { cluster, node, incarnation, dir, seed: 5, config };
        Engine::open(setup, &shared, machines, Instant(0))
    }

    /// The power fails, and the node starts again.
    fn restart(self) -> Self {
        self.disk.crash_power();
        Self::open(self.disk, [])
    }

    fn event(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            self.engine.handle(self.now, event).unwrap();
            self.engine.flush(self.now);
            self.carry_out(&mut events);
        }
    }

    /// Carries out what the engine wants; what comes of it is added to `events`.
    fn carry_out(&mut self, events: &mut Vec<Event>) {
        while let Some(effect) = self.engine.poll_effect() {
            match (effect, &mut self.stalled) {
                (effect @ Effect::Write(_), Some(kept)) => kept.push(effect),
                (Effect::Write(job), None) => events.push(Event::Written(job.run())),
                (Effect::Machine(task), _) => {
                    events.push(Event::Machine(self.machines.run(task)));
                }
                (Effect::Run(job), _) => match &mut self.flushes {
                    Some(kept) if matches!(*job, Job::Flush { .. }) => kept.push(*job),
                    _ => events.push(Event::Done(Box::new(job.run()))),
                },
                (Effect::Send { envelopes, .. }, _) => self.sent.extend(envelopes),
                (Effect::Answer(answers), _) => self.answers.extend(answers),
                (Effect::Halted { why, .. }, _) => self.halted.push(why),
                (Effect::Trouble { why }, _) => self.trouble.push(why),
                (Effect::Snapshot { outcome, .. }, _) => self.snapshots.push(outcome),
                (Effect::MembersChanged { at, members, .. }, _) => {
                    let voters = members.voters().iter().map(|id| id.get());
                    self.members.push((at.index, voters.collect()));
                }
                (Effect::Removed { index, .. }, _) => self.removed = Some(index),
                (other, _) => assert!(matches!(other, Effect::RoleChanged { .. }), "{other:?}"),
            }
        }
    }

    /// Is elected in term 1 by node 2, which then has everything this node has.
    fn win_election(&mut self) {
        let token = |node: &Self| Token { boot: node.engine.boot(), number: node.tokens() };
        self.now = Instant(5_000_000_000);
        self.event(Event::Timeout);
        let granted = Body::PreVoteReply { token: token(self), granted: true };
        self.hear(0, granted);
        let granted = Body::VoteReply { token: token(self), granted: true };
        self.hear(1, granted);
        let outcome = AppendOutcome::Matched(Index(1));
        let reply = Body::AppendReply { token: token(self), outcome };
        self.hear(1, reply);
    }

    /// A client proposes a word of one letter.
    fn propose_x(&mut self, n: u64) {
        let payload = Bytes::from_static(b"x");
        let proposals = vec![Proposal { id: ProposalId(n), payload }];
        self.event(Event::Propose { group: GROUP, proposals });
    }

    /// Lets the log's writes through again.
    fn resume(&mut self) {
        for effect in self.stalled.take().into_iter().flatten() {
            if let Effect::Write(job) = effect {
                self.event(Event::Written(job.run()));
            }
        }
    }

    /// Node 2, which leads `term`, says this.
    fn hear(&mut self, term: u64, body: Body) {
        let (from, to) = (id(2), id(1));
        let message = Message::new(GROUP, from, to, Term(term), body);
        let envelopes = vec![Envelope::Group(message)];
        self.event(Event::Received { from, boot: LEADER_BOOT, envelopes });
    }

    fn append(&mut self, term: u64, prev: Position, words: &[&'static str], commit: u64) {
        let entry = |(place, word): (usize, &&'static str)| Entry {
            term: Term(term),
            index: prev.index.plus(place as u64 + 1),
            kind: EntryKind::Command,
            payload: Bytes::from_static(word.as_bytes()),
        };
        let entries = words.iter().enumerate().map(entry).collect();
        let (token, commit) = (Token::default(), Index(commit));
        self.hear(term, Body::Append { token, prev, entries, commit });
    }

    /// Node 2 sends a whole snapshot in one piece.
    fn send_snapshot(&mut self, term: u64, position: Position, content: &'static str) {
        let membership = Membership::of_voters([id(1), id(2), id(3)]);
        let data = Bytes::from_static(content.as_bytes());
        let checksum = crc32c::crc32c(&data);
        let meta = SnapshotMeta { position, membership, bytes: data.len() as u64, checksum };
        let body = Body::SnapshotChunk {
            token: Token::default(),
            meta: Box::new(meta),
            offset: 0,
            data: raft_log::pack_piece(&data),
            checksum,
        };
        self.hear(term, body);
    }

    fn words(&mut self) -> String {
        let machine = self.machines.get_mut(GROUP).unwrap();
        let mut words = String::new();
        machine.snapshot().unwrap().read_to_string(&mut words).unwrap();
        words
    }

    fn applied(&self) -> u64 {
        self.engine.view(GROUP).unwrap().applied.0
    }

    /// The number of the token that was given out last.
    fn tokens(&self) -> u64 {
        let numbers = self.sent.iter().map(|envelope| match envelope {
            Envelope::Group(Message { body: Body::PreVote { token, .. }, .. })
            | Envelope::Group(Message { body: Body::Vote { token, .. }, .. })
            | Envelope::Group(Message { to: NODE_2, body: Body::Append { token, .. }, .. }) => {
                token.number
            }
            _ => 0,
        });
        numbers.max().unwrap_or_default()
    }

    fn last_message(&self) -> &Body {
        match self.sent.last() {
            Some(Envelope::Group(message)) => &message.body,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_single_node_answers_a_proposal_with_what_its_state_machine_said() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    let proposal = |n, word: &'static str| Proposal {
        id: ProposalId(n),
        payload: Bytes::from_static(word.as_bytes()),
    };
    let proposals = vec![proposal(1, "ab"), proposal(2, "c")];
    node.event(Event::Propose { group: GROUP, proposals });
    let applied = |n, index, answer: &'static str| Answer::Applied {
        id: ProposalId(n),
        index: Index(index),
        answer: Bytes::from_static(answer.as_bytes()),
    };
    assert_eq!(node.answers, [applied(1, 2, "ab"), applied(2, 3, "abc")]);
    node.event(Event::Read { group: GROUP, ids: vec![ReadId(3)] });
    let ready = Answer::ReadReady { id: ReadId(3), index: Index(3) };
    assert_eq!(node.answers.last(), Some(&ready));
}

#[test]
fn requests_for_a_group_that_is_not_here_are_refused() {
    let mut node = Node::new();
    let why = Refusal::NotLeader { leader: None };
    node.event(Event::Read { group: GroupId(9), ids: vec![ReadId(1)] });
    assert_eq!(node.answers, [Answer::ReadRefused { id: ReadId(1), why }]);
}

#[test]
fn entries_are_acknowledged_once_durable_and_survive_a_power_failure() {
    let mut node = Node::new();
    node.stalled = Some(Vec::new());
    node.append(1, Position::ZERO, &["a", "b"], 0);
    assert!(node.sent.is_empty());
    node.resume();
    let outcome = AppendOutcome::Matched(Index(2));
    assert_eq!(*node.last_message(), Body::AppendReply { token: Token::default(), outcome });
    let mut node = node.restart();
    node.append(2, Position::new(1, 2), &["c"], 3);
    assert_eq!((node.words().as_str(), node.applied()), ("abc", 3));
}

#[test]
fn an_installed_snapshot_is_the_state_after_a_power_failure() {
    let mut node = Node::new();
    node.send_snapshot(1, Position::new(1, 3), "abc");
    assert_eq!((node.words().as_str(), node.applied()), ("abc", 3));
    node.append(1, Position::new(1, 3), &["d"], 4);
    let mut node = node.restart();
    assert_eq!(
        (node.words().as_str(), node.applied()),
        ("abc", 3),
        "4 is known to be committed later"
    );
    node.append(1, Position::new(1, 4), &[], 4);
    assert_eq!(node.words(), "abcd");
}

/// It lies at an index where the log holds an uncommitted entry of another term. Were
/// the state taken from it, that entry would count as applied.
#[test]
fn a_snapshot_that_was_received_and_never_installed_is_not_the_state() {
    let mut node = Node::new();
    node.send_snapshot(1, Position::new(1, 3), "abc");
    node.append(1, Position::new(1, 3), &["x", "y"], 3);
    let disk: Arc<dyn Disk> = Arc::new(node.disk.clone());
    let mut store = SnapshotStore::open(disk, Path::new("data/snapshots"), 2).unwrap();
    let members = Membership::of_voters([id(1), id(2), id(3)]);
    let mut writer = store.writer(GROUP, Position::new(2, 5), members).unwrap();
    io::Write::write_all(&mut writer, b"abcde").unwrap();
    writer.finish().unwrap();
    let mut node = node.restart();
    assert_eq!((node.words().as_str(), node.applied()), ("abc", 3));
    node.append(3, Position::new(1, 3), &["D", "E"], 5);
    assert_eq!(node.words(), "abcDE");
    assert_eq!(node.halted, [""; 0]);
}

#[test]
fn a_contradiction_halts_the_group_and_nothing_else() {
    let mut node = Node::new();
    node.append(1, Position::ZERO, &["a"], 1);
    node.append(2, Position::ZERO, &["z"], 0);
    assert_eq!(node.halted.len(), 1, "{:?}", node.halted);
    assert!(node.engine.view(GROUP).unwrap().halted.is_some());
    node.event(Event::Read { group: GROUP, ids: vec![ReadId(1)] });
    assert!(matches!(node.answers[..], [Answer::ReadRefused { .. }]));
    assert_eq!(node.words(), "a");
}

#[test]
fn a_beat_is_answered_for_each_group_it_names() {
    let mut node = Node::new();
    let token = Token { boot: LEADER_BOOT, number: 4 };
    let to_disk = Incarnation(0);
    let named = |group| GroupBeat { group, to_disk, term: Term(1), token, commit: Index(0) };
    // Its term must be durable before it counts as following.
    node.append(1, Position::ZERO, &["a"], 0);
    node.sent.clear();
    let groups = vec![named(GROUP), named(GroupId(9))];
    let beat = Envelope::Beat(Beat { sequence: 1, groups, stopped: Vec::new() });
    node.event(Event::Received { from: id(2), boot: LEADER_BOOT, envelopes: vec![beat] });
    let Some(Envelope::BeatReply(reply)) = node.sent.pop() else { panic!("{:?}", node.sent) };
    assert_eq!(reply.follows, [named(GROUP)]);
    assert_eq!(reply.refuses, [(GroupId(9), Term(0))]);
}

#[test]
fn a_leader_that_halts_refuses_the_reads_that_wait_for_its_followers() {
    let mut node = Node::new();
    node.win_election();
    node.event(Event::Read { group: GROUP, ids: vec![ReadId(7)] });
    assert_eq!(node.answers, [], "nobody has confirmed the round");
    let why = "the disk is gone".to_owned();
    node.event(Event::Machine(MachineDone::Failed { group: GROUP, why }));
    assert!(matches!(node.answers[..], [Answer::ReadRefused { id: ReadId(7), .. }]));
}

/// With production's sizes elsewhere: a flush is far less frequent than this.
#[test]
fn a_snapshot_is_taken_as_often_as_is_configured_and_lets_the_log_go() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    for n in 0..30 {
        node.propose_x(n);
    }
    let floor = node.engine.replica(GROUP).unwrap().log().floor().index;
    assert!(floor >= Index(18), "the log begins at {floor}");
    assert_eq!(node.trouble, [""; 0]);
}

#[test]
fn the_next_segment_is_ready_in_time_and_where_it_cannot_be_made_that_is_said_once() {
    let mut node = Node::open(SimDisk::new(1), [1]);
    node.event(Event::Timeout);
    for n in 0..40 {
        node.propose_x(n);
    }
    let stats = node.engine.log_stats();
    assert!(stats.begun_segments >= 2, "{stats:?}");
    assert_eq!(stats.prepared_segments, stats.begun_segments);

    let of_segments = |node: &Node| {
        node.trouble.iter().filter(|why| why.contains("next segment")).cloned().collect::<Vec<_>>()
    };
    let mut n = 40;
    while of_segments(&node).is_empty() {
        node.disk.limit_bytes(node.disk.used_bytes());
        node.propose_x(n);
        n += 1;
        assert!(n < 100, "a full disk goes unnoticed");
    }
    node.propose_x(n);
    node.propose_x(n + 1);
    let trouble = of_segments(&node);
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert!(trouble[0].contains("the disk is full"), "{trouble:?}");

    node.disk.limit_bytes(u64::MAX);
    for n in 100..140 {
        node.propose_x(n);
    }
    assert_eq!(of_segments(&node), trouble);
    let after = node.engine.log_stats();
    assert!(after.prepared_segments > stats.prepared_segments, "{after:?}");
}

#[test]
fn a_state_that_does_not_belong_to_the_log_does_not_open() {
    let mut node = Node::new();
    node.send_snapshot(1, Position::new(1, 3), "abc");
    node.append(1, Position::new(1, 3), &["d"], 4);
    let disk = node.disk;

    let none = Node::open_with(&disk, &mut Machines::default(), |_| {});
    assert!(matches!(none, Err(OpenError::NoMachine(GROUP))), "{none:?}");

    let mut machines = Machines::default();
    machines.insert(GROUP, Box::new(Words { applied: Index(9), words: Vec::new() }));
    let ahead = Node::open_with(&disk, &mut machines, |_| {});
    let Err(OpenError::StateAhead { applied, last, .. }) = ahead else { panic!("{ahead:?}") };
    assert_eq!((applied, last), (Index(9), Index(4)));

    let folder = Path::new("data/snapshots");
    for name in disk.list(folder).unwrap() {
        disk.remove(&folder.join(name)).unwrap();
    }
    let mut machines = Machines::default();
    machines.insert(GROUP, Box::new(Words::default()));
    let behind = Node::open_with(&disk, &mut machines, |_| {});
    let Err(OpenError::StateBehind { applied, floor, .. }) = behind else { panic!("{behind:?}") };
    assert_eq!((applied, floor), (Index(0), Index(3)));
}

#[path = "forwarding_tests.rs"]
mod forwarding;

#[path = "clock_tests.rs"]
mod clock;

#[path = "disk_tests.rs"]
mod disk;

#[path = "lease_tests.rs"]
mod lease_tests;

#[path = "members_tests.rs"]
mod members;

#[path = "snapshot_tests.rs"]
mod snapshots;

#[path = "damage_tests.rs"]
mod damage;

#[path = "applying_tests.rs"]
mod applying;
