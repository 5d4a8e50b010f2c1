//! The world and its clock.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use raft_core::{Instant, NodeId, Random};
use raft_node::engine::Event;

use super::admin::Admin;
use super::checks::Checks;
use super::clients::{Clients, Told};
use super::clock::Drift;
use super::contact::{Acknowledged, Terms};
use super::disk_pace::DiskPace;
use super::ending::Healing;
use super::fault_counts::FaultCounts;
use super::faults::Faults;
use super::forgetting::Forgetting;
use super::happening::Happening;
use super::invariant::Check;
use super::ledger::{Ledger, OnDisk, Stored};
use super::luck::Luck;
use super::network::Network;
use super::node::{Settings, SimNode, first_members};
use super::plan::Churn;
use super::promises::Promises;
use super::recording::{Moment, Recording};
use super::report::{Broken, Disks, Options, SegmentCounts};
use super::rot::Rotten;
use super::stale::Versions;
use super::trial::Stage;

/// Clients that write and read wherever they find a leader.
const WRITERS: usize = 5;
/// Clients that only read, each always at the same node and with little patience: they
/// are the ones who would see what a leader without a quorum still believes.
const READERS: usize = 3;
pub(super) const CLIENTS: usize = WRITERS + READERS;
/// More happenings at one instant are a loop that makes no progress.
const AT_ONE_INSTANT: u64 = 100_000;
/// Things remembered for the report of a failure.
const TRACE: usize = 60;
/// Nodes that may join beside the first ones.
const SPARE_NODES: u64 = 3;
/// While one clock measures an election timeout, no other runs further away from it.
const LEASE_DRIFT: Duration = Duration::from_millis(100);

/// The nodes of a world and those that may come later. Of a thousand, so many keep their
/// stores, and so many have the production ones.
fn nodes(
    options: &Options,
    spares: u64,
    (keeping, databases, lease_drift): (u64, u64, Option<Duration>),
    random: &mut Random,
) -> Vec<SimNode> {
    let first = options.nodes;
    let all = first_members(first);
    let ids = (1..=first + spares).filter_map(NodeId::new);
    let nodes = ids.map(|id| {
        let (keeps, database) = (random.chance(keeping), random.chance(databases));
        let settings = Settings { keeps, database, lease_drift };
        let disk_seed = random.next_u64();
        let node = match id.get() <= first {
            true => SimNode::first(id, disk_seed, settings, all.clone()),
            false => SimNode::spare(id, disk_seed, settings),
        };
        node.disk.set_sync_does_nothing(options.broken == Some(Broken::Syncs));
        node
    });
    nodes.collect()
}

/// What the clock of a world shows at first.
pub(super) const BEGINS: Instant = Instant(1_000_000_000);

pub(crate) struct World {
    pub(super) options: Options,
    pub(super) random: Random,
    /// What is drawn for a reason of its own.
    pub(super) luck: Luck,
    pub(super) now: Instant,
    pub(super) queue: BTreeMap<(Instant, u64), Happening>,
    pub(super) queued: u64,
    pub(super) nodes: Vec<SimNode>,
    /// The id of the next node.
    pub(super) next_id: u64,
    /// How members change in this world; `None` where they stay.
    pub(super) churn: Option<Churn>,
    pub(super) admin: Admin,
    /// Whether a node with an empty disk gets the id of one that is gone.
    pub(super) gives_ids_again: bool,
    /// A node whose disk was lost, while any membership may have it.
    pub(super) dead: Option<OnDisk>,
    /// A node whose disk has lost a part of its log that has not come back yet.
    pub(super) rotten: Option<Rotten>,
    /// Whether leaders answer reads by their leases.
    pub(super) leases: bool,
    pub(super) lease_reads: u64,
    /// Whether a read by a lease that has ended is found at once. Every second world with
    /// broken clocks leaves that to what clients saw.
    pub(super) watches_leases: bool,
    pub(super) drift: Drift,
    pub(super) ledger: Ledger,
    /// What those who are down, or gone, had durable.
    pub(super) stored: Stored,
    /// What nodes have said and must not forget.
    pub(super) promises: Promises,
    pub(super) terms: Terms,
    pub(super) acknowledged: Acknowledged,
    pub(super) versions: Versions,
    pub(super) stale_reads: u64,
    pub(super) trial: Stage,
    pub(super) forgetting: Forgetting,
    pub(super) network: Network,
    pub(super) faults: Faults,
    pub(super) counts: FaultCounts,
    pub(super) paces: Vec<DiskPace>,
    pub(super) clients: Clients,
    /// The key each client reads next in the final scan; `None` before it.
    pub(super) scans: Vec<Option<u64>>,
    pub(super) checks: Checks,
    pub(super) healed: bool,
    pub(super) healing: Healing,
    /// The last moment at which somebody may be asked to stand by what was under way when
    /// everything healed.
    pub(super) asked_until: Instant,
    pub(super) steps: u64,
    pub(super) hash: u64,
    pub(super) installed: u64,
    pub(super) held: u64,
    pub(super) kept: u64,
    /// Segments and flushes of nodes that have left.
    pub(super) retired: (SegmentCounts, (u64, u64)),
    /// What their disks have done.
    pub(super) retired_faults: FaultCounts,
    pub(super) trace: VecDeque<String>,
    /// Where everything is written down, for whoever wants to see it.
    pub(super) recording: Option<Box<Recording>>,
}

impl World {
    pub(super) fn new(seed: u64, options: &Options) -> Self {
        let mut random = Random::new(seed);
        // In a part of the runs no store keeps anything, in another only some do.
        let keeping = [0, 500, 1000, 1000, 1000][random.below(5) as usize];
        let wild = options.broken == Some(Broken::Clocks);
        let leases = random.chance(500) || wild;
        let drift = match leases {
            _ if wild => Drift::WILD,
            true => Drift::WITHIN_LEASES,
            false => Drift::WITHOUT_LEASES,
        };
        let disks = if random.chance(700) { options.disks } else { Disks::Keep };
        let churn = Churn::draw(disks, &mut random);
        let spares = if churn.is_some() { SPARE_NODES } else { 0 };
        // The production store takes more time: one seed of ten has it, on most of its nodes.
        let databases = if seed.is_multiple_of(10) { 700 } else { 0 };
        let like = (keeping, databases, leases.then_some(LEASE_DRIFT));
        let nodes = nodes(options, spares, like, &mut random);
        let luck = Luck::draw(CLIENTS, &mut random);
        let mut world = Self {
            luck,
            recording: None,
            options: options.clone(),
            now: BEGINS,
            queue: BTreeMap::new(),
            queued: 0,
            next_id: options.nodes + spares + 1,
            churn,
            admin: Admin::default(),
            gives_ids_again: random.chance(500),
            dead: None,
            rotten: None,
            leases,
            lease_reads: 0,
            watches_leases: !wild || seed.is_multiple_of(2),
            drift,
            ledger: Ledger::default(),
            stored: Stored::default(),
            promises: Promises::default(),
            terms: Terms::default(),
            acknowledged: Acknowledged::default(),
            versions: Versions::default(),
            stale_reads: 0,
            trial: Stage::Before,
            forgetting: Forgetting::Before,
            network: Network::draw(&mut random),
            faults: Faults::draw(options.broken, disks, leases && !wild, &mut random),
            counts: FaultCounts::default(),
            paces: vec![DiskPace::default(); nodes.len()],
            clients: Clients::new(WRITERS, READERS, nodes.len()),
            scans: vec![None; CLIENTS],
            checks: Checks::default(),
            healed: false,
            healing: Healing::default(),
            asked_until: Instant(0),
            steps: 0,
            hash: seed,
            installed: 0,
            held: 0,
            kept: 0,
            retired: (SegmentCounts::default(), (0, 0)),
            retired_faults: FaultCounts::default(),
            trace: VecDeque::new(),
            nodes,
            random,
        };
        options.without.leave_out(&mut world);
        world.begin();
        world
    }

    fn begin(&mut self) {
        for place in 0..self.nodes.len() {
            let SimNode { id, present, .. } = self.nodes[place];
            if present {
                self.after_ms(place as u64, Happening::Start(place, id));
            }
        }
        for client in 0..CLIENTS {
            if !self.options.without.clients.has(client as u64) {
                self.after_ms(100, Happening::Client(client));
            }
        }
        self.after_ms(2500, Happening::Fault);
        self.after_ms(2000, Happening::Admin);
        self.after_ms(self.heals_after_ms(), Happening::Heal);
    }

    pub(super) fn live(&mut self) -> Result<(), String> {
        let mut at_this_instant = 0;
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            at_this_instant = if at > self.now { 0 } else { at_this_instant + 1 };
            if at_this_instant > AT_ONE_INSTANT {
                let what = format_args!("time stands still: {happening:?}, {}", self.view());
                return Err(Check::Progress.fails(what));
            }
            self.now = self.now.max(at);
            self.steps += 1;
            self.trace_hash(&happening);
            self.happen(happening)?;
            if self.is_over()? {
                return Ok(());
            }
            let goes_on = matches!(self.forgetting, Forgetting::Before);
            if self.healed && goes_on && !matches!(self.trial, Stage::UnderWay(_)) {
                self.goes_on_in_time()?;
            }
        }
        Err(Check::Progress.fails(format_args!("nothing happens any more: {}", self.view())))
    }

    fn happen(&mut self, happening: Happening) -> Result<(), String> {
        // What belongs to a life that is over is void.
        if happening.life().is_some_and(|(node, life)| !self.is_alive(node, life)) {
            return Ok(());
        }
        match happening {
            Happening::Start(node, id) => self.start(node, id),
            Happening::Timer(node, _) => {
                if let Some(running) = &mut self.nodes[node].running {
                    running.timer = None;
                }
                self.event(node, Event::Timeout)
            }
            Happening::Arrive { to, id, disk, from, boot, bytes, message } => {
                self.arrive((to, id, disk), from, boot, bytes, message)
            }
            Happening::Ask(node, _, event) => {
                self.note_asked(node, &event);
                self.event(node, event)
            }
            Happening::Write(node, life, job) => {
                let done = job.run();
                // A crash may come between the write and the news of it.
                let at = self.now.after(Duration::from_micros(5 + self.random.below(200)));
                self.at(at, Happening::Written(node, life, done));
                Ok(())
            }
            Happening::Written(node, life, done) => {
                self.record(|world| Moment::Written(world.nodes[node].id));
                self.event(node, Event::Written(done))?;
                if self.is_alive(node, life) {
                    self.nodes[node].promised();
                }
                Ok(())
            }
            Happening::Machine(node, _, task) => self.run_machine(node, task),
            Happening::Job(node, _, job) => self.run_job(node, *job),
            Happening::Done(node, _, done) => self.event(node, Event::Done(done)),
            Happening::Client(client) => self.client(client),
            Happening::GiveUp(id) => {
                self.answer(id, Told::Unknown);
                Ok(())
            }
            Happening::Fault => self.strike(),
            Happening::Strike(wish, fault) => self.strike_after(wish, fault),
            Happening::Silence(node, id) => {
                self.silence(node, id);
                Ok(())
            }
            Happening::Kill(..) if self.healed => Ok(()),
            Happening::Kill(node, _) => self.lead_anew(node),
            Happening::Restart(node, _) => self.crash(node, false),
            Happening::EmptyDisk(node) => {
                self.nodes[node].disk.limit_bytes(u64::MAX);
                Ok(())
            }
            Happening::Admin => self.administer(),
            Happening::Heal => self.heal(),
        }
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
        let what = match happening {
            // A batch begins with its length and its checksum.
            Happening::Arrive { bytes, .. } => {
                bytes.first_chunk().map_or(0, |head| u64::from_le_bytes(*head))
            }
            Happening::GiveUp(id) => *id,
            _ => 0,
        };
        let node = happening.node().map_or(99, |node| node as u64);
        for number in [self.now.0, happening.kind(), node, what] {
            self.hash = (self.hash ^ number).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
    }

    /// Adds something in words to the trace and to the recording.
    pub(super) fn note(&mut self, what: std::fmt::Arguments<'_>) {
        self.record(|_| Moment::Note(what.to_string()));
        self.remember(what);
    }

    /// Adds what the recording has in another form to the trace.
    pub(super) fn remember(&mut self, what: std::fmt::Arguments<'_>) {
        let ms = self.now.since(BEGINS).as_nanos() as f64 / 1e6;
        let text = format!("{ms:9.3} ms  {what}");
        for byte in text.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(text);
    }

    /// Faults begin when a first leader is there.
    fn heals_after_ms(&self) -> u64 {
        let longest_ms = self.options.seconds * 1000;
        2500 + self.options.without.after_ms.map_or(longest_ms, |ms| ms.min(longest_ms))
    }

    pub(super) fn syncs_do_nothing(&self) -> bool {
        self.options.broken == Some(Broken::Syncs)
    }
}
