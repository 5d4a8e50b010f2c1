//! Clients that write, read, swap and delete, and a record of what they were told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use raft_core::Random;
use serde_json::json;

use super::http::{Client, Failure, Response};
use crate::linearizability::{Action, History, Operation, Outcome, Verdict, check};

/// Keys and values are numbers here, and short words on the wire.
pub type Record = Operation<u64, u64>;

/// Keys from here on are written once and never again.
const ONCE: u64 = 1_000_000_000;
/// How many keys the clients of one load fight over.
const KEYS: u64 = 5;
/// The keys of different loads are this far apart: each starts with absent ones.
const LOADS_APART: u64 = 1000;
const CLIENTS: u64 = 8;
/// Half of the clients give up soon, so that somebody notices at once when the
/// cluster works again; the others wait for what a slow cluster still answers.
const TIMEOUTS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(5)];
/// A client pauses for up to this long between two requests: the nodes, and not
/// the clients, should have the processors.
const PAUSE: Duration = Duration::from_millis(4);

/// Everything that clients were told, on one clock.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    records: Mutex<Vec<Record>>,
    surprises: Mutex<Vec<String>>,
}

/// Clients at work.
#[derive(Debug)]
pub struct Load {
    recorder: Arc<Recorder>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    generation: u64,
}

impl Recorder {
    /// A recorder whose clock starts now.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let began = Instant::now();
        Arc::new(Self { began, records: Mutex::default(), surprises: Mutex::default() })
    }

    /// The time on the clock, in nanoseconds.
    #[must_use]
    pub fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a run takes less than 500 years")
    }

    /// Does one thing and records what came of it.
    pub fn perform(
        &self,
        client: u64,
        http: &mut Client,
        key: u64,
        action: Action<u64>,
    ) -> Outcome<u64> {
        let called_at = self.now();
        let answer = match &action {
            Action::Put(value) => {
                let body = json!({ "k": name(key), "v": value.to_string() }).to_string();
                http.request("POST", "/v1/data", Some(body.as_bytes()))
            }
            Action::CompareAndSwap { expected, value } => {
                let (v, expected) = (value.to_string(), expected.map(|value| value.to_string()));
                let body = json!({ "k": name(key), "v": v, "expected": expected }).to_string();
                http.request("POST", "/v1/data", Some(body.as_bytes()))
            }
            Action::Delete => http.request("DELETE", &target(key), None),
            Action::Get => http.request("GET", &target(key), None),
        };
        let outcome = match answer {
            Ok(response) => self.understand(&action, &response),
            Err(Failure::NotSent(_)) => Outcome::Refused,
            Err(Failure::NoAnswer(_)) => Outcome::Unknown,
        };
        let returned_at = Some(self.now());
        let told = outcome.clone();
        let record = Operation { client, key, action, outcome, called_at, returned_at };
        self.records.lock().expect("no client panics").push(record);
        told
    }

    fn understand(&self, action: &Action<u64>, response: &Response) -> Outcome<u64> {
        let body = response.json();
        let read = *action == Action::Get;
        let swap = matches!(action, Action::CompareAndSwap { .. });
        match (response.status, body["outcome"].as_str()) {
            (200, _) if !read => return Outcome::Done,
            (200, _) => {
                if let Some(value) = body["v"].as_str().and_then(|value| value.parse().ok()) {
                    return Outcome::Read(Some(value));
                }
            }
            (404, _) if read => return Outcome::Read(None),
            (412, Some("refused")) if swap && body["v"].is_null() => return Outcome::Read(None),
            (412, Some("refused")) if swap => {
                if let Some(value) = body["v"].as_str().and_then(|value| value.parse().ok()) {
                    return Outcome::Read(Some(value));
                }
            }
            (500.., Some("refused")) => return Outcome::Refused,
            (500.., Some("unknown")) => return Outcome::Unknown,
            _ => {}
        }
        let text = String::from_utf8_lossy(&response.body);
        let what = format!("{action:?} was answered with {} {text}", response.status);
        self.surprises.lock().expect("no client panics").push(what);
        Outcome::Unknown
    }

    /// When the first write that was called after `time` was acknowledged.
    #[must_use]
    pub fn first_write_after(&self, time: u64) -> Option<u64> {
        let records = self.records.lock().expect("no client panics");
        let new = records.iter().rev().take_while(|record| record.returned_at > Some(time));
        let done = |record: &&Record| record.outcome == Outcome::Done && record.called_at > time;
        new.filter(done).filter_map(|record| record.returned_at).min()
    }

    /// Every key that was touched, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<u64> {
        let records = self.records.lock().expect("no client panics");
        let mut keys: Vec<_> = records.iter().map(|record| record.key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// A copy of all records.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().expect("no client panics").clone()
    }

    /// Judges everything so far; a summary of what there was.
    ///
    /// # Errors
    /// The violation, or answers that no client should get.
    pub fn judge(&self) -> Result<String> {
        let surprises = self.surprises.lock().expect("no client panics");
        if let Some(first) = surprises.first() {
            bail!("{} answers that no client should get; the first: {first}", surprises.len());
        }
        let mut history = History::new();
        history.extend(self.records());
        let began = Instant::now();
        if let Verdict::Violation(violation) = check(&history) {
            bail!("{violation}");
        }
        let count = |wanted: fn(&Outcome<u64>) -> bool| {
            history.operations().iter().filter(|record| wanted(&record.outcome)).count()
        };
        Ok(format!(
            "{} operations ({} done, {} read, {} refused, {} unknown), judged in {:.2} s",
            history.len(),
            count(|outcome| *outcome == Outcome::Done),
            count(|outcome| matches!(outcome, Outcome::Read(_))),
            count(|outcome| *outcome == Outcome::Refused),
            count(|outcome| *outcome == Outcome::Unknown),
            began.elapsed().as_secs_f64(),
        ))
    }
}

impl Load {
    /// Sets clients to work on the nodes at these addresses. With a `generation` of
    /// its own, a load has keys of its own, and values that nobody else writes.
    #[must_use]
    pub fn start(
        recorder: &Arc<Recorder>,
        nodes: &[SocketAddr],
        generation: u64,
        seed: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let id = generation * 100 + number;
            let timeout = TIMEOUTS[usize::try_from(number % 2).expect("it is 0 or 1")];
            let worker = Worker {
                recorder: Arc::clone(recorder),
                nodes: nodes.iter().map(|&node| Client::new(node, timeout)).collect(),
                random: Random::new(seed ^ (id << 32)),
                id,
                generation,
                turn: 0,
                seen: BTreeMap::new(),
            };
            let stop = Arc::clone(&stop);
            clients.push(thread::spawn(move || worker.work(&stop)));
        }
        Self { recorder: Arc::clone(recorder), stop, clients, generation }
    }

    /// Where the clients write down what they were told.
    #[must_use]
    pub fn recorder(&self) -> Arc<Recorder> {
        Arc::clone(&self.recorder)
    }

    /// The keys that the clients fight over.
    #[must_use]
    pub fn contested_keys(&self) -> Vec<u64> {
        (0..KEYS).map(|number| contested_key(self.generation, number)).collect()
    }

    /// Lets every client finish what it is doing. What they were told is in the
    /// recorder, as before.
    pub fn stop(self) -> Arc<Recorder> {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().expect("a client does not panic");
        }
        self.recorder
    }
}

/// One client.
struct Worker {
    recorder: Arc<Recorder>,
    nodes: Vec<Client>,
    random: Random,
    id: u64,
    generation: u64,
    turn: u64,
    /// What this client has seen last of each key.
    seen: BTreeMap<u64, Option<u64>>,
}

impl Worker {
    fn work(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let outcome = self.act();
            let pause = self.random.below(u64::try_from(PAUSE.as_micros()).unwrap_or(u64::MAX));
            let pause = if outcome == Outcome::Refused { 20_000 } else { pause };
            thread::sleep(Duration::from_micros(pause));
        }
    }

    fn act(&mut self) -> Outcome<u64> {
        self.turn += 1;
        let unique = (self.id << 32) + self.turn;
        let shared = contested_key(self.generation, self.random.below(KEYS));
        let (key, action) = match self.random.below(100) {
            0..15 => (ONCE + unique, Action::Put(unique)),
            15..45 => (shared, Action::Put(unique)),
            45..55 => (shared, Action::Delete),
            55..70 => {
                let expected = self.seen.get(&shared).copied().flatten();
                (shared, Action::CompareAndSwap { expected, value: unique })
            }
            _ => (shared, Action::Get),
        };
        let node = self.random.below(self.nodes.len() as u64);
        let node = usize::try_from(node).expect("there are few nodes");
        let written = action.written();
        let outcome = self.recorder.perform(self.id, &mut self.nodes[node], key, action);
        if key == shared {
            self.seen.extend(outcome.seen(written).map(|value| (shared, value)));
        }
        outcome
    }
}

fn contested_key(generation: u64, number: u64) -> u64 {
    generation * LOADS_APART + number
}

/// What a key is called.
#[must_use]
pub fn name(key: u64) -> String {
    format!("key-{key}")
}

/// Where a key is read and deleted.
#[must_use]
pub fn target(key: u64) -> String {
    format!("/v1/data/{}", name(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(action: &Action<u64>, status: u16, body: &str) -> (Outcome<u64>, usize) {
        let recorder = Recorder::new();
        let response = Response { status, body: body.as_bytes().to_vec() };
        let outcome = recorder.understand(action, &response);
        let surprises = recorder.surprises.lock().unwrap().len();
        assert_eq!(recorder.judge().is_err(), surprises > 0);
        (outcome, surprises)
    }

    #[test]
    fn answers_are_taken_for_what_they_say() {
        let (put, get) = (Action::Put(1), Action::Get);
        let refused = r#"{"outcome": "refused"}"#;
        let unknown = r#"{"outcome": "unknown"}"#;
        assert_eq!(answer(&put, 200, "{}"), (Outcome::Done, 0));
        assert_eq!(answer(&get, 200, r#"{"k": "a", "v": "7"}"#), (Outcome::Read(Some(7)), 0));
        assert_eq!(answer(&get, 404, refused), (Outcome::Read(None), 0));
        let swap = Action::CompareAndSwap { expected: Some(3), value: 4 };
        assert_eq!(answer(&swap, 200, "{}"), (Outcome::Done, 0));
        let unequal = |v: &str| format!(r#"{{"outcome": "refused", "v": {v}}}"#);
        assert_eq!(answer(&swap, 412, &unequal(r#""7""#)), (Outcome::Read(Some(7)), 0));
        assert_eq!(answer(&swap, 412, &unequal("null")), (Outcome::Read(None), 0));
        assert_eq!(answer(&put, 503, refused), (Outcome::Refused, 0));
        assert_eq!(answer(&put, 504, unknown), (Outcome::Unknown, 0));
    }

    #[test]
    fn answers_that_make_no_sense_are_not_passed_over() {
        for (action, status, body) in [
            (Action::Get, 200, r#"{"k": "a"}"#),
            (Action::Get, 200, r#"{"v": "somebody else's"}"#),
            (Action::Put(1), 404, r#"{"outcome": "refused"}"#),
            (Action::Put(1), 400, r#"{"outcome": "refused"}"#),
            (Action::Put(1), 412, r#"{"outcome": "refused", "v": "7"}"#),
            (Action::Delete, 500, "{}"),
        ] {
            assert_eq!(answer(&action, status, body), (Outcome::Unknown, 1), "{status} {body}");
        }
    }

    #[test]
    fn only_a_write_called_after_the_moment_counts_as_after() {
        let recorder = Recorder::new();
        let record = |called_at, returned_at, outcome| Operation {
            client: 0,
            key: 0,
            action: Action::Put(called_at),
            outcome,
            called_at,
            returned_at: Some(returned_at),
        };
        for record in [
            record(10, 12, Outcome::Done),
            record(14, 21, Outcome::Done),
            record(21, 23, Outcome::Unknown),
            record(22, 40, Outcome::Done),
            record(24, 35, Outcome::Done),
        ] {
            recorder.records.lock().unwrap().push(record);
        }
        assert_eq!(recorder.first_write_after(20), Some(35));
        assert_eq!(recorder.first_write_after(30), None);
    }
}
