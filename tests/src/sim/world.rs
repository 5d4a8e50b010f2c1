//! The world and its clock.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use raft_core::{Instant, Membership, NodeId, Random};
use raft_node::engine::Event;

use super::checks::Checks;
use super::clients::{Clients, SessionCounts, Told};
use super::faults::{FaultCounts, Faults};
use super::happening::Happening;
use super::network::Network;
use super::node::{GROUPS, SimNode, add};
use crate::linearizability::{Verdict, check};

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
    /// Segments that logs in use have begun, and those of them in prepared files.
    pub segments: (u64, u64),
    /// Flushes that made something durable, and those that a snapshot overtook.
    pub flushes: (u64, u64),
    /// How often commands waited for the end of a flush.
    pub held: u64,
    /// Stores that a start found with something in them.
    pub kept: u64,
    /// Clients' sessions.
    pub sessions: SessionCounts,
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

/// Clients that write and read wherever they find a leader.
const WRITERS: usize = 5;
/// Clients that only read, each always at the same node and with little patience: they
/// are the ones who would see what a leader without a quorum still believes.
const READERS: usize = 3;
const CLIENTS: usize = WRITERS + READERS;
/// More happenings at one instant are a loop that makes no progress.
const AT_ONE_INSTANT: u64 = 100_000;
/// Things remembered for the report of a failure.
const TRACE: usize = 60;
/// How long progress may take once everything is healed.
const HEALING: Duration = Duration::from_secs(25);

pub(crate) struct World {
    pub(super) options: Options,
    pub(super) random: Random,
    pub(super) now: Instant,
    pub(super) queue: BTreeMap<(Instant, u64), Happening>,
    pub(super) queued: u64,
    pub(super) nodes: Vec<SimNode>,
    pub(super) members: Membership,
    pub(super) network: Network,
    pub(super) faults: Faults,
    pub(super) counts: FaultCounts,
    pub(super) stalled_until: Vec<Instant>,
    pub(super) clients: Clients,
    /// The key each client reads next in the final scan; `None` before it.
    pub(super) scans: Vec<Option<u64>>,
    pub(super) checks: Checks,
    pub(super) healed: bool,
    pub(super) steps: u64,
    pub(super) hash: u64,
    pub(super) installed: u64,
    pub(super) held: u64,
    pub(super) kept: u64,
    pub(super) trace: VecDeque<String>,
}

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed);
        let ids: Vec<NodeId> = (1..=options.nodes).filter_map(NodeId::new).collect();
        // In a part of the runs no store keeps anything, in another only some do.
        let keeping = [0, 500, 1000, 1000, 1000][random.below(5) as usize];
        let node = |id: &NodeId| {
            let node = SimNode::new(*id, random.next_u64(), random.chance(keeping));
            node.disk.set_sync_does_nothing(options.sync_does_nothing);
            node
        };
        let nodes: Vec<SimNode> = ids.iter().map(node).collect();
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
            clients: Clients::new(WRITERS, READERS, nodes.len()),
            scans: vec![None; CLIENTS],
            checks: Checks::default(),
            healed: false,
            steps: 0,
            hash: seed,
            installed: 0,
            held: 0,
            kept: 0,
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
        let mut at_this_instant = 0;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            at_this_instant = if at > self.now { 0 } else { at_this_instant + 1 };
            if at_this_instant > AT_ONE_INSTANT {
                return Err(format!("time stands still: {happening:?}, {}", self.view()));
            }
            self.now = self.now.max(at);
            self.steps += 1;
            self.trace_hash(&happening);
            self.happen(happening)?;
            if self.healed
                && self.scans.iter().all(|scan| scan.is_some_and(|key| key > 5))
                && self.converged()
            {
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
            Happening::Ask(node, life, event) => {
                if self.is_alive(node, life) {
                    self.event(node, event)
                } else {
                    Ok(())
                }
            }
            Happening::Write(node, life, job) => {
                if self.is_alive(node, life) {
                    let done = job.run();
                    // A crash may come between the write and the news of it.
                    let at = self.now.after(Duration::from_micros(5 + self.random.below(200)));
                    self.at(at, Happening::Written(node, life, done));
                }
                Ok(())
            }
            Happening::Written(node, life, done) => {
                if self.is_alive(node, life) {
                    self.event(node, Event::Written(done))?;
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
                    self.run_job(node, *job)
                } else {
                    Ok(())
                }
            }
            Happening::Done(node, life, done) => {
                if self.is_alive(node, life) {
                    self.event(node, Event::Done(done))
                } else {
                    Ok(())
                }
            }
            Happening::Client(client) => self.client(client),
            Happening::GiveUp(id) => {
                self.answer(id, Told::Unknown);
                Ok(())
            }
            Happening::Fault => self.strike(),
            Happening::Heal => self.heal(),
        }
    }

    fn judge(&mut self) -> Result<(), String> {
        for node in &self.nodes {
            for group in GROUPS {
                let Some(store) = node.store(group).cloned() else { continue };
                let (applied, hash) = store.with(|store| {
                    use raft_node::StateMachine as _;
                    (store.applied(), store.state_hash())
                });
                self.checks.holds(group, node.id, applied, hash)?;
            }
        }
        match check(&self.clients.history) {
            Verdict::Linearizable => Ok(()),
            Verdict::Violation(violation) => Err(format!("not linearizable: {violation:?}")),
        }
    }

    /// True where all logs end at the same position and all of it is applied.
    fn converged(&self) -> bool {
        GROUPS.iter().all(|group| {
            let end = |node: &SimNode| {
                let engine = &node.running.as_ref()?.engine;
                Some((engine.replica(*group)?.log().last(), engine.view(*group)?.applied))
            };
            let ends: Option<Vec<_>> = self.nodes.iter().map(end).collect();
            ends.is_some_and(|ends| {
                let (last, _) = ends[0];
                ends.iter().all(|end| *end == (last, last.index))
            })
        })
    }

    pub(super) fn is_alive(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].running.is_some()
    }

    pub(super) fn after_ms(&mut self, ms: u64, happening: Happening) {
        self.at(self.now.after(Duration::from_millis(ms)), happening);
    }

    pub(super) fn at(&mut self, at: Instant, happening: Happening) {
        self.queued += 1;
        let paused = happening
            .node()
            .and_then(|node| self.nodes[node].running.as_ref())
            .map_or(Instant(0), |running| running.paused_until);
        self.queue.insert((at.max(paused), self.queued), happening);
    }

    /// Adds what happens to the hash of the trace.
    fn trace_hash(&mut self, happening: &Happening) {
        let length = match happening {
            Happening::Arrive { bytes, .. } => bytes.len() as u64,
            Happening::GiveUp(id) => *id,
            _ => 0,
        };
        let node = happening.node().map_or(99, |node| node as u64);
        for number in [self.now.0, happening.kind(), node, length] {
            self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }

    pub(super) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let text = format!("{:9.3} ms  {what}", self.now.0 as f64 / 1e6);
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(text);
    }

    pub(super) fn view(&self) -> String {
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
            flushes: self.nodes.iter().fold((0, 0), |sum, node| add(sum, node.flushes())),
            held: self.held,
            kept: self.kept,
            sessions: SessionCounts { stale: self.checks.stale(), ..self.clients.session_counts },
            segments: self.nodes.iter().fold((0, 0), |sum, node| add(sum, node.segments)),
            simulated_ms: self.now.0 / 1_000_000,
            faults: self.counts,
        }
    }
}
