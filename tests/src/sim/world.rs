//! The world and its clock.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{Boot, Instant, Membership, NodeId, Random};
use raft_log::{LogError, SnapshotError, WriteJob};
use raft_node::engine::{Answer, Effect, Event, Job, MachineTask, OpenError};
use raft_node::kv::MemoryStore;
use raft_rpc::codec;
use raft_state::{Proposal, ProposalId, ReadId, Refusal, RoleName};

use super::checks::Checks;
use super::clients::{Clients, PATIENCE, Request, key_bytes, value_of};
use super::faults::{Fault, FaultCounts, Faults};
use super::network::{Network, by_lane};
use super::node::{GROUPS, SimNode};
use crate::linearizability::{Outcome, Verdict, check};

/// What a run is like, apart from its seed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Nodes, each a member of every group.
    pub nodes: u64,
    /// Simulated seconds with faults, before everything is healed.
    pub seconds: u64,
    /// Whether syncs report success and make nothing durable. Such a run must fail.
    pub sync_does_nothing: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 3, seconds: 8, sync_does_nothing: false }
    }
}

/// What a clean run was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// A hash of everything that happened: equal for equal seeds.
    pub trace_hash: u64,
    /// Things that happened.
    pub steps: u64,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Operations whose outcome nobody knows.
    pub unknown: u64,
    /// Terms with a leader, over all groups.
    pub elections: u64,
    /// Snapshots that were installed from a leader.
    pub installed: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// What went wrong on purpose.
    pub faults: FaultCounts,
}

/// A run in which something did not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed that shows it.
    pub seed: u64,
    /// What did not hold.
    pub what: String,
    /// The last things that happened.
    pub trace: Vec<String>,
}

/// Runs the world of one seed.
///
/// # Errors
/// A [`Failure`] where any check did not hold.
pub fn run(seed: u64, options: &Options) -> Result<Report, Failure> {
    let mut world = World::new(seed, options);
    // A broken invariant panics; here it is a failure of its seed like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(format!("a broken invariant: {text}"))
    });
    let trace = std::mem::take(&mut world.trace).into();
    outcome.map(|()| world.report()).map_err(|what| Failure { seed, what, trace })
}

#[derive(Debug)]
enum Happening {
    Start(usize),
    Timer(usize, u64),
    Arrive { to: usize, from: NodeId, boot: Boot, bytes: Bytes },
    Write(usize, u64, WriteJob),
    Machine(usize, u64, MachineTask),
    Job(usize, u64, Box<Job>),
    Client(usize),
    GiveUp(u64),
    Fault,
    Heal,
}

const CLIENTS: usize = 5;
/// Things remembered for the report of a failure.
const TRACE: usize = 60;
/// How long progress may take once everything is healed.
const HEALING: Duration = Duration::from_secs(25);

pub(crate) struct World {
    options: Options,
    pub(crate) random: Random,
    pub(crate) now: Instant,
    queue: BTreeMap<(Instant, u64), Happening>,
    queued: u64,
    pub(crate) nodes: Vec<SimNode>,
    members: Membership,
    pub(crate) network: Network,
    faults: Faults,
    pub(crate) counts: FaultCounts,
    stalled_until: Vec<Instant>,
    clients: Clients,
    /// The key each client reads next in the final scan; `None` before it.
    scans: Vec<Option<u64>>,
    checks: Checks,
    healed: bool,
    steps: u64,
    hash: u64,
    installed: u64,
    trace: VecDeque<String>,
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed);
        let ids: Vec<NodeId> = (1..=options.nodes).filter_map(NodeId::new).collect();
        let nodes: Vec<SimNode> =
            ids.iter().map(|id| SimNode::new(*id, random.next_u64())).collect();
        for node in &nodes {
            node.disk.set_sync_does_nothing(options.sync_does_nothing);
        }
        let mut world = Self {
            options: *options,
            now: Instant(1_000_000_000),
            queue: BTreeMap::new(),
            queued: 0,
            members: Membership::of_voters(ids),
            network: Network::draw(&mut random),
            faults: Faults::draw(&mut random),
            counts: FaultCounts::default(),
            stalled_until: vec![Instant(0); nodes.len()],
            clients: Clients::new(CLIENTS, nodes.len()),
            scans: vec![None; CLIENTS],
            checks: Checks::default(),
            healed: false,
            steps: 0,
            hash: seed,
            installed: 0,
            trace: VecDeque::new(),
            nodes,
            random,
        };
        for node in 0..world.nodes.len() {
            world.after_ms(node as u64, Happening::Start(node));
        }
        for client in 0..CLIENTS {
            world.after_ms(100, Happening::Client(client));
        }
        world.after_ms(2500, Happening::Fault);
        world.after_ms(2500 + options.seconds * 1000, Happening::Heal);
        world
    }

    fn live(&mut self) -> Result<(), String> {
        let end = self.now.after(Duration::from_millis(2500 + self.options.seconds * 1000));
        let deadline = end.after(HEALING);
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            self.now = self.now.max(at);
            self.steps += 1;
            self.happen(happening)?;
            if self.healed && self.scans.iter().all(|scan| scan.is_some_and(|key| key > 5)) {
                break;
            }
            if self.now > deadline {
                return Err(format!("no progress within {HEALING:?} of healing: {}", self.view()));
            }
        }
        self.judge()
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        match happening {
            Happening::Start(node) => self.start(node),
            Happening::Timer(node, life) => {
                if self.is_alive(node, life) {
                    if let Some(running) = &mut self.nodes[node].running {
                        running.timer = None;
                    }
                    self.event(node, Event::Timeout)?;
                }
                Ok(())
            }
            Happening::Arrive { to, from, boot, bytes } => self.arrive(to, from, boot, bytes),
            Happening::Write(node, life, job) => {
                if self.is_alive(node, life) {
                    self.event(node, Event::Written(job.run()))?;
                    if self.is_alive(node, life) {
                        self.nodes[node].promised();
                    }
                }
                Ok(())
            }
            Happening::Machine(node, life, task) => {
                if self.is_alive(node, life) {
                    self.run_machine(node, task)
                } else {
                    Ok(())
                }
            }
            Happening::Job(node, life, job) => {
                if self.is_alive(node, life) {
                    self.event(node, Event::Done(Box::new(job.run())))?;
                }
                Ok(())
            }
            Happening::Client(client) => self.client(client),
            Happening::GiveUp(id) => {
                self.answer(id, Outcome::Unknown);
                Ok(())
            }
            Happening::Fault => self.strike(),
            Happening::Heal => self.heal(),
        }
    }

    fn start(&mut self, node: usize) -> Result<(), String> {
        if self.nodes[node].running.is_some() {
            return Ok(());
        }
        if !self.healed && self.faults.crash_starts && self.random.chance(400) {
            let changes = 1 + self.random.below(8);
            self.nodes[node].disk.stop_at(changes);
        }
        let seed = self.random.next_u64();
        let now = self.now;
        let opened = self.nodes[node].start(&self.members, seed, now);
        self.note(format_args!("node {} starts: {:?}", node + 1, opened.as_ref().err()));
        match opened {
            Ok(()) => self.event(node, Event::Timeout),
            // The operating system refused, as it was told to; the operator tries again.
            Err(OpenError::Log(LogError::Io { .. }))
            | Err(OpenError::Snapshots(SnapshotError::Io { .. })) => {
                self.counts.crashed_starts += 1;
                self.nodes[node].disk.crash_power();
                self.after_ms(50, Happening::Start(node));
                Ok(())
            }
            Err(why) => Err(format!("node {} does not start: {why}", node + 1)),
        }
    }

    fn arrive(&mut self, to: usize, from: NodeId, boot: Boot, bytes: Bytes) -> Result<(), String> {
        if self.nodes[to].running.is_none() || self.network.cut.contains(&(from, self.nodes[to].id))
        {
            return Ok(());
        }
        let envelopes = codec::decode_batch(bytes).map_err(|why| format!("on the wire: {why}"))?;
        self.event(to, Event::Received { from, boot, envelopes })
    }

    fn run_machine(&mut self, node: usize, task: MachineTask) -> Result<(), String> {
        let id = self.nodes[node].id;
        let group = task.group();
        if let Some(store) = self.nodes[node].store(group).cloned() {
            let (applied, hash) = store.with(|store| {
                use raft_node::StateMachine as _;
                (store.applied(), MemoryStore::state_hash(store))
            });
            self.checks.holds(group, id, applied, hash)?;
            if let MachineTask::Apply { commands, up_to, .. } = &task {
                self.checks.applies(group, id, applied, commands, *up_to)?;
            }
        }
        if matches!(task, MachineTask::Restore { .. }) {
            self.installed += 1;
        }
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let done = running.machines.run(task);
        self.event(node, Event::Machine(done))
    }

    /// Hands an event to a node's engine and carries out what it wants.
    fn event(&mut self, node: usize, event: Event) -> Result<(), String> {
        let now = self.now;
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        let handled = running.engine.handle(now, event);
        if self.nodes[node].disk.is_stopped() {
            // The power went in the middle of a change; nothing more comes out.
            return self.crash(node, true);
        }
        if let Err(why) = handled {
            // A log that failed is final: the process stops, and starts again later.
            self.note(format_args!("node {} stops: {why}", node + 1));
            return self.crash(node, true);
        }
        let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
        running.engine.flush(now);
        let mut effects = Vec::new();
        while let Some(effect) = running.engine.poll_effect() {
            effects.push(effect);
        }
        for effect in effects {
            self.effect(node, effect)?;
        }
        self.set_timer(node);
        Ok(())
    }

    fn effect(&mut self, node: usize, effect: Effect) -> Result<(), String> {
        let life = self.nodes[node].life;
        match effect {
            Effect::Write(job) => {
                let at = self.now.max(self.stalled_until[node]);
                let at = at.after(Duration::from_micros(50 + self.random.below(1500)));
                self.at(at, Happening::Write(node, life, job));
            }
            Effect::Send { to, envelopes } => self.send(node, to, envelopes),
            Effect::Machine(task) => {
                let Some(running) = &mut self.nodes[node].running else { return Ok(()) };
                let took = Duration::from_micros(20 + self.random.below(500));
                let at = running.machines_busy_until.max(self.now).after(took);
                running.machines_busy_until = at;
                self.at(at, Happening::Machine(node, life, task));
            }
            Effect::Run(job) => {
                let took = Duration::from_micros(50 + self.random.below(3000));
                self.at(self.now.after(took), Happening::Job(node, life, job));
            }
            Effect::Answer(answers) => self.answers(node, answers),
            Effect::RoleChanged { group, change } => {
                self.note(format_args!("node {} group {group}: {change:?}", node + 1));
                if change.role == RoleName::Leader {
                    self.checks.leads(group, change.term, self.nodes[node].id)?;
                }
            }
            Effect::Halted { group, why } => {
                return Err(format!("node {} halts group {group}: {why}", node + 1));
            }
            Effect::PeerBroken { group, peer, evidence } => {
                return Err(format!(
                    "node {} calls {peer} broken in group {group}: {evidence:?}",
                    node + 1
                ));
            }
            Effect::Trouble { why } => {
                self.note(format_args!("node {} has trouble: {why}", node + 1));
            }
        }
        Ok(())
    }

    fn send(&mut self, node: usize, to: NodeId, envelopes: Vec<raft_core::Envelope>) {
        let from = self.nodes[node].id;
        let Some(place) = self.nodes.iter().position(|other| other.id == to) else { return };
        let Some(running) = &self.nodes[node].running else { return };
        let boot = running.engine.boot();
        for (lane, envelopes) in by_lane(envelopes) {
            let bytes = codec::encode_batch(&envelopes);
            let arrivals = self.network.arrivals(self.now, from, to, lane, &mut self.random);
            for at in arrivals {
                let bytes = bytes.clone();
                self.at(at, Happening::Arrive { to: place, from, boot, bytes });
            }
        }
    }

    fn set_timer(&mut self, node: usize) {
        let life = self.nodes[node].life;
        let Some(running) = &mut self.nodes[node].running else { return };
        let at = running.engine.deadline().max(self.now);
        if at < Instant(u64::MAX) && running.timer.is_none_or(|set| at < set) {
            running.timer = Some(at);
            self.at(at, Happening::Timer(node, life));
        }
    }

    fn client(&mut self, client: usize) -> Result<(), String> {
        let now = self.now;
        let request = match &mut self.scans[client] {
            Some(key) => {
                let next = *key;
                match self.clients.scan(client, next, now) {
                    Some(request) => request,
                    None => return Ok(()),
                }
            }
            None => self.clients.next(client, now, &mut self.random),
        };
        let Request { id, node, group, command } = request;
        self.at(now.after(PATIENCE), Happening::GiveUp(id));
        if self.nodes[node].running.is_none() {
            self.answer(id, Outcome::Refused);
            return Ok(());
        }
        let event = match command {
            Some(payload) => {
                Event::Propose { group, proposals: vec![Proposal { id: ProposalId(id), payload }] }
            }
            None => Event::Read { group, ids: vec![ReadId(id)] },
        };
        self.event(node, event)
    }

    fn answers(&mut self, node: usize, answers: Vec<Answer>) {
        for answer in answers {
            match answer {
                Answer::Applied { id, .. } => self.answer(id.0, Outcome::Done),
                Answer::ProposalLost { id } => self.answer(id.0, Outcome::Unknown),
                Answer::ProposalRefused { id, why } => self.refused(id.0, why),
                Answer::ReadRefused { id, why } => self.refused(id.0, why),
                Answer::ReadReady { id, .. } => {
                    let Some(key) = self.clients.under_way.get(&id.0).map(|asked| asked.key) else {
                        continue;
                    };
                    let group = super::clients::group_of(key);
                    let Some(store) = self.nodes[node].store(group) else { continue };
                    let value = store.with(|store| store.get(&key_bytes(key)).map(value_of));
                    self.answer(id.0, Outcome::Read(value));
                }
            }
        }
    }

    fn refused(&mut self, id: u64, why: Refusal) {
        let client = self.clients.under_way.get(&id).map(|asked| asked.client);
        self.answer(id, Outcome::Refused);
        if let (Some(client), Refusal::NotLeader { leader: Some(leader) }) = (client, why)
            && let Some(place) = self.nodes.iter().position(|node| node.id == leader)
        {
            self.clients.redirect(client, place);
        }
    }

    /// Tells a client, which thinks for a while and goes on.
    fn answer(&mut self, id: u64, outcome: Outcome<u64>) {
        let read = matches!(outcome, Outcome::Read(_));
        if let Some(client) = self.clients.answered(id, outcome, self.now) {
            if let Some(key) = self.scans[client].as_mut().filter(|_| read) {
                *key += 1;
            }
            let think_ms = 5 + self.random.below(60);
            self.after_ms(think_ms, Happening::Client(client));
        }
    }

    fn strike(&mut self) -> Result<(), String> {
        if self.healed {
            return Ok(());
        }
        let at = self.faults.next_at(self.now, &mut self.random);
        self.at(at, Happening::Fault);
        let fault = self.faults.pick(self.nodes.len(), &mut self.random);
        self.note(format_args!("{fault:?}"));
        match fault {
            Fault::Kill(node) => {
                self.counts.kills += 1;
                self.crash(node, false)?;
            }
            Fault::PowerCut(node) => {
                self.counts.power_cuts += 1;
                self.crash(node, true)?;
            }
            Fault::Blackout => {
                self.counts.blackouts += 1;
                for node in 0..self.nodes.len() {
                    self.crash(node, true)?;
                }
            }
            Fault::TearAt(node, change) => {
                self.counts.torn += 1;
                self.nodes[node].disk.stop_at(change);
            }
            Fault::FailSync(node) => {
                self.counts.failed_syncs += 1;
                self.nodes[node].disk.fail_next_syncs(1);
            }
            Fault::Stall(node, long) => {
                self.counts.stalls += 1;
                self.stalled_until[node] = self.now.after(long);
            }
            Fault::Pause(node, long) => {
                self.counts.pauses += 1;
                self.pause(node, long);
            }
            Fault::CutOff(node) => {
                self.counts.partitions += 1;
                let id = self.nodes[node].id;
                for other in self.nodes.iter().map(|other| other.id).filter(|other| *other != id) {
                    self.network.cut.extend([(id, other), (other, id)]);
                }
            }
            Fault::CutOneWay(from, to) => {
                self.counts.partitions += 1;
                self.network.cut.insert((self.nodes[from].id, self.nodes[to].id));
            }
            Fault::Mend => self.network.cut.clear(),
        }
        Ok(())
    }

    /// Lets everything that concerns a node happen only after the pause.
    fn pause(&mut self, node: usize, long: Duration) {
        let until = self.now.after(long);
        if let Some(running) = &mut self.nodes[node].running {
            running.paused_until = until;
        }
        let due: Vec<(Instant, u64)> = self
            .queue
            .range(..(until, 0))
            .filter(|(_, happening)| happening.node() == Some(node))
            .map(|(at, _)| *at)
            .collect();
        for at in due {
            if let Some(happening) = self.queue.remove(&at) {
                self.at(until, happening);
            }
        }
    }

    fn crash(&mut self, node: usize, power: bool) -> Result<(), String> {
        let torn = self.nodes[node].disk.is_stopped();
        if self.nodes[node].running.take().is_some() {
            let after = 20 + self.random.below(1500);
            self.after_ms(after, Happening::Start(node));
        }
        if power || torn {
            self.nodes[node].disk.crash_power();
        } else {
            self.nodes[node].disk.crash_process();
        }
        for id in self.clients.asked_of(node) {
            self.answer(id, Outcome::Unknown);
        }
        Ok(())
    }

    fn heal(&mut self) -> Result<(), String> {
        self.note(format_args!("everything heals"));
        self.healed = true;
        self.network.heal();
        self.stalled_until.fill(Instant(0));
        for node in 0..self.nodes.len() {
            // A fault that still lay in wait would strike after the healing.
            if self.nodes[node].running.is_some() {
                self.crash(node, true)?;
            }
            self.nodes[node].disk.fail_next_syncs(0);
        }
        self.scans.fill(Some(0));
        Ok(())
    }

    fn judge(&mut self) -> Result<(), String> {
        let mut ends = BTreeMap::new();
        for (place, node) in self.nodes.iter().enumerate() {
            for group in GROUPS {
                let Some(store) = node.store(group).cloned() else { continue };
                let (applied, hash) = store.with(|store| {
                    use raft_node::StateMachine as _;
                    (store.applied(), store.state_hash())
                });
                self.checks.holds(group, node.id, applied, hash)?;
                ends.insert((group, place), applied);
            }
        }
        match check(&self.clients.history) {
            Verdict::Linearizable => Ok(()),
            Verdict::Violation(violation) => Err(format!("not linearizable: {violation:?}")),
        }
    }

    fn is_alive(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].running.is_some()
    }

    fn after_ms(&mut self, ms: u64, happening: Happening) {
        self.at(self.now.after(Duration::from_millis(ms)), happening);
    }

    fn at(&mut self, at: Instant, happening: Happening) {
        self.queued += 1;
        let paused = happening
            .node()
            .and_then(|node| self.nodes[node].running.as_ref())
            .map_or(Instant(0), |running| running.paused_until);
        self.queue.insert((at.max(paused), self.queued), happening);
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let text = format!("{:9.3} ms  {what}", self.now.0 as f64 / 1e6);
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(text);
    }

    fn view(&self) -> String {
        let views = self.nodes.iter().flat_map(|node| {
            GROUPS.map(|group| {
                let view = node.running.as_ref().and_then(|running| running.engine.view(group));
                format!("\n  node {} group {group}: {view:?}", node.id)
            })
        });
        views.collect()
    }

    fn report(&self) -> Report {
        Report {
            trace_hash: (self.hash ^ self.steps).wrapping_mul(0x0100_0000_01b3),
            steps: self.steps,
            acknowledged: self.clients.acknowledged,
            unknown: self.clients.unknown,
            elections: self.checks.elections(),
            installed: self.installed,
            simulated_ms: self.now.0 / 1_000_000,
            faults: self.counts,
        }
    }
}

impl Happening {
    /// The node whose process this happens in.
    const fn node(&self) -> Option<usize> {
        match self {
            Self::Timer(node, _)
            | Self::Write(node, ..)
            | Self::Machine(node, ..)
            | Self::Job(node, ..) => Some(*node),
            Self::Arrive { to, .. } => Some(*to),
            Self::Start(_) | Self::Client(_) | Self::GiveUp(_) | Self::Fault | Self::Heal => None,
        }
    }
}
