//! Running clients.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::client::{Client, Links, Outcome};
use super::plan::Plan;
use super::report::{Progress, Report};
use super::tally::{About, Tally, Window};
use super::{Kind, Target, say};

/// How long a client waits after its first error, and at most.
const BACK_OFF: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(100)];

/// How many clients write the keys before the first measurement.
const PREFILL_CLIENTS: usize = 256;

/// How often a key is tried before prefilling gives up.
const PREFILL_TRIES: u32 = 50;

/// How many leases are granted before gets, and how far apart: each must be in a commit of
/// its own, and etcd commits to its store every 100 ms.
const LEASES: usize = 3;
const BETWEEN_LEASES: Duration = Duration::from_millis(250);

/// Values are cut at random out of a text this much longer than they are.
const TEXT_SPARE: usize = 4096;

/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);

/// The plan without the endpoints at which nobody answers.
///
/// # Errors
/// Where nobody answers at any.
pub(super) async fn reachable(mut plan: Plan) -> Result<Plan> {
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for endpoint in plan.endpoints {
        match tokio::time::timeout(plan.timeout, tokio::net::TcpStream::connect(endpoint.as_str()))
            .await
        {
            Ok(Ok(_)) => up.push(endpoint),
            Ok(Err(why)) => down.push(format!("{endpoint} ({why})")),
            Err(_) => down.push(format!("{endpoint} (nothing in {} ms)", plan.timeout.as_millis())),
        }
    }
    if up.is_empty() {
        bail!("no endpoint answers: {}", down.join(", "));
    }
    if !down.is_empty() {
        say(format_args!(
            "raft-node: no answer from {}; the load goes to the other endpoints",
            down.join(", ")
        ));
    }
    plan.endpoints = up;
    Ok(plan)
}

/// Makes every measurement of the plan and reports it. False where one of them had no good
/// answer at all.
pub(super) async fn run(plan: &Plan, report: &mut Report) -> Result<bool> {
    let values = Values::new(plan);
    if plan.prefill {
        prefill(plan, &values).await.context("the keys could not be written")?;
    }
    if plan.kinds().contains(&Kind::Get) {
        prepare_gets(plan).await;
    }
    let mut all_good = true;
    for clients in &plan.clients {
        let tallies = measure(plan, *clients, &values).await?;
        let about = About {
            target: if plan.target == Target::Raft { "raft" } else { "etcd" },
            clients: *clients,
            connections: plan.connections(*clients),
            value_bytes: plan.value_bytes,
            keys: plan.keys,
        };
        for kind in plan.kinds() {
            let tally = tallies.of(*kind);
            report.row(&tally.row(about, *kind))?;
            if let Some(why) = tally.trouble() {
                let name = kind.name();
                say(format_args!("raft-node: {clients} clients, first trouble of a {name}: {why}"));
            }
        }
        all_good &= plan.kinds().iter().any(|kind| tallies.of(*kind).answered() > 0);
    }
    Ok(all_good)
}

/// Brings etcd into the state in which its gets are what they usually are.
async fn prepare_gets(plan: &Plan) {
    if plan.target != Target::Etcd {
        return;
    }
    let mut client = Links::new(plan, 1).client(0);
    for _ in 0..LEASES {
        if let Outcome::Refused(why) | Outcome::Unknown(why) | Outcome::Failed(why) =
            client.prepare_gets(plan.timeout).await
        {
            say(format_args!("raft-node: no lease before the gets: {why}"));
        }
        sleep(BETWEEN_LEASES).await;
    }
}

/// One measurement.
async fn measure(plan: &Plan, clients: usize, values: &Values) -> Result<Arc<Tallies>> {
    let connected = connect(plan, clients).await?;
    let window = Window::after(plan.warm_up, plan.measurement);
    let tallies = Arc::new(Tallies::new(window));
    let mut running = JoinSet::new();
    for (number, client) in connected.into_iter().enumerate() {
        let turn = Turn {
            client,
            rng: Rng::with_seed(plan.seed.wrapping_add(number as u64)),
            values: values.clone(),
            reads_percent: plan.reads_percent,
            keys: plan.keys,
            timeout: plan.timeout,
            back_off: plan.back_off,
        };
        running.spawn(turn.run_until(window.to, Arc::clone(&tallies)));
    }
    let progress = Progress::of_measurement(clients, plan.warm_up + plan.measurement);
    while !running.is_empty() {
        let show = Instant::now() + SHOW_EVERY;
        tokio::select! {
            () = sleep_until(show.into()), if progress.is_shown() => {
                let done = Instant::now().saturating_duration_since(window.from);
                progress.show(done + plan.warm_up, tallies.answered(), done.min(plan.measurement));
            }
            Some(ended) = running.join_next() => ended.context("a client broke")?,
        }
    }
    Ok(tallies)
}

/// The clients, all of them connected.
async fn connect(plan: &Plan, clients: usize) -> Result<Vec<Client>> {
    let links = Links::new(plan, clients);
    let mut all: Vec<_> = (0..clients).map(|number| links.client(number)).collect();
    for client in &mut all {
        client.connect().await.map_err(anyhow::Error::msg)?;
    }
    Ok(all)
}

/// Writes every key once.
async fn prefill(plan: &Plan, values: &Values) -> Result<()> {
    let next = Arc::new(AtomicU32::new(0));
    let mut running = JoinSet::new();
    for (number, mut client) in connect(plan, PREFILL_CLIENTS).await?.into_iter().enumerate() {
        let (next, values, keys) = (Arc::clone(&next), values.clone(), plan.keys);
        let mut rng = Rng::with_seed(plan.seed.wrapping_sub(1 + number as u64));
        let timeout = plan.timeout;
        running.spawn(async move {
            loop {
                let key = next.fetch_add(1, Ordering::Relaxed);
                if key >= keys {
                    return Ok(());
                }
                let value = values.pick(&mut rng);
                let mut tries = 1;
                while let Outcome::Refused(why) | Outcome::Unknown(why) | Outcome::Failed(why) =
                    client.request(Kind::Put, key, &value, timeout).await
                {
                    if tries == PREFILL_TRIES {
                        bail!("after {tries} tries: {why}");
                    }
                    tries += 1;
                    sleep(BACK_OFF[1]).await;
                }
            }
        });
    }
    let progress = Progress::of_prefill(plan.keys);
    while !running.is_empty() {
        tokio::select! {
            () = sleep(SHOW_EVERY), if progress.is_shown() => {
                progress.position(next.load(Ordering::Relaxed).into());
            }
            Some(ended) = running.join_next() => ended.context("a client broke")??,
        }
    }
    Ok(())
}

/// What a client does, over and over.
struct Turn {
    client: Client,
    rng: Rng,
    values: Values,
    reads_percent: u8,
    keys: u32,
    timeout: Duration,
    back_off: bool,
}

impl Turn {
    async fn run_until(mut self, end: Instant, tallies: Arc<Tallies>) {
        let [first, longest] = BACK_OFF;
        let mut pause = first;
        loop {
            let kind = if self.rng.u8(0..100) < self.reads_percent { Kind::Get } else { Kind::Put };
            let (key, value) = (self.rng.u32(0..self.keys), self.values.pick(&mut self.rng));
            let sent = Instant::now();
            if sent >= end {
                return;
            }
            let outcome = self.client.request(kind, key, &value, self.timeout).await;
            let good = outcome == Outcome::Done;
            tallies.of(kind).count(outcome, sent, Instant::now());
            if good {
                pause = first;
            } else if self.back_off {
                sleep_until((Instant::now() + pause).min(end).into()).await;
                pause = (pause * 2).min(longest);
            } else {
                // A refusal may be at hand without waiting; the others must have their turn.
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The values that are written: pieces of one random text.
#[derive(Clone, Debug)]
struct Values {
    text: Bytes,
    length: usize,
}

impl Values {
    fn new(plan: &Plan) -> Self {
        let mut rng = Rng::with_seed(plan.seed);
        let length = plan.value_bytes;
        let text = (0..length + TEXT_SPARE).map(|_| u8::try_from(rng.alphanumeric()));
        Self { text: text.map(|letter| letter.expect("alphanumerics are ASCII")).collect(), length }
    }

    /// A value, without copying it.
    fn pick(&self, rng: &mut Rng) -> Bytes {
        let at = rng.usize(0..=TEXT_SPARE);
        self.text.slice(at..at + self.length)
    }
}

/// What all clients count together. With one thread, nobody ever waits for a lock.
struct Tallies {
    put: Mutex<Tally>,
    get: Mutex<Tally>,
}

impl Tallies {
    fn new(window: Window) -> Self {
        Self { put: Mutex::new(Tally::new(window)), get: Mutex::new(Tally::new(window)) }
    }

    fn of(&self, kind: Kind) -> MutexGuard<'_, Tally> {
        let tally = match kind {
            Kind::Put => &self.put,
            Kind::Get => &self.get,
        };
        tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) -> u64 {
        self.of(Kind::Put).answered() + self.of(Kind::Get).answered()
    }
}
