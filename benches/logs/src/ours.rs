//! `raft-log`, driven as an engine drives it: everything that waits is staged, one job
//! makes it durable, files are prepared and collected on a thread of their own.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use raft_core::{
    ClusterId, Entry, EntryKind, GroupId, HardState, Index, LogChange, Membership, NodeId, Term,
    Write, WriteNumber,
};
use raft_log::{
    CollectDone, CollectJob, LogError, LogIdentity, LogOptions, PrepareDone, PrepareJob,
    SyncMethod, WriteAheadLog, WriteDone, WriteJob,
};

use crate::counting::CountingDisk;
use crate::load::{Load, Opened, PAYLOAD, Payloads, Slice, Writer, fresh};
use crate::{Outcome, SEGMENT_BYTES};

/// Who waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Threads {
    /// Whoever stages: everything that is outstanding goes into one write.
    One,
    /// A thread of the log's own, as in a node: what is staged during a write goes into
    /// the next one.
    Two,
}

/// Whose appends are outstanding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Groups {
    /// One group has proposed them all.
    One,
    /// Each is of a group of its own.
    Each,
}

/// How the log is driven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Driven {
    pub(crate) threads: Threads,
    pub(crate) groups: Groups,
    pub(crate) sync_method: SyncMethod,
}

impl Default for Driven {
    fn default() -> Self {
        let sync_method = LogOptions::default().sync_method;
        Self { threads: Threads::One, groups: Groups::One, sync_method }
    }
}

/// So many entries of a group stay when it is trimmed.
const KEPT_BYTES: u64 = SEGMENT_BYTES / 2;

fn open_log(
    dir: &Path,
    disk: &CountingDisk,
    sync_method: SyncMethod,
) -> Result<WriteAheadLog, LogError> {
    let node = NodeId::new(1).expect("not zero");
    let identity = LogIdentity { cluster: ClusterId(1), node };
    let options = LogOptions { segment_bytes: SEGMENT_BYTES, sync_method, ..LogOptions::default() };
    WriteAheadLog::open(Arc::new(disk.clone()), dir, identity, options).map(|(log, _)| log)
}

/// A log and what is proposed to it.
struct Proposer {
    disk: CountingDisk,
    log: WriteAheadLog,
    payloads: Payloads,
    /// The last index of each group.
    last: Vec<u64>,
    next_group: usize,
    number: u64,
    staged: u64,
    trimmed_at: u64,
}

impl Proposer {
    fn new(dir: &Path, groups: usize, sync_method: SyncMethod) -> Result<Self, LogError> {
        let disk = CountingDisk::default();
        let mut log = open_log(dir, &disk, sync_method)?;
        for group in 1..=groups as u64 {
            log.create_group(GroupId(group), Membership::of_voters([log_node()]));
        }
        Ok(Self {
            disk,
            log,
            payloads: Payloads::new(1),
            last: vec![0; groups],
            next_group: 0,
            number: 0,
            staged: 0,
            trimmed_at: 0,
        })
    }

    /// Stages one append.
    fn propose(&mut self, entries: usize) {
        let group = self.next_group;
        self.next_group = (group + 1) % self.last.len();
        let mut batch = Vec::with_capacity(entries);
        for _ in 0..entries {
            self.last[group] += 1;
            let payload = Bytes::copy_from_slice(&self.payloads.next());
            let (term, index) = (Term(1), Index(self.last[group]));
            batch.push(Entry { term, index, kind: EntryKind::Command, payload });
        }
        self.number += 1;
        self.staged += entries as u64;
        let hard_state = HardState { term: Term(1), vote: Some(log_node()) };
        let change = Some(LogChange::Append(batch));
        let write = Write { number: WriteNumber(self.number), hard_state, change };
        self.log.stage(GroupId(group as u64 + 1), write);
    }

    /// Makes everything durable that is staged: more than one write only at a switch.
    fn write_all(&mut self) -> Result<(), LogError> {
        while let Some(job) = self.log.next_job() {
            self.log.complete(job.run())?;
        }
        Ok(())
    }

    /// What an engine does after a write: trims, collects, prepares.
    fn keep_house(&mut self, house: &House) {
        while let Ok(done) = house.done.try_recv() {
            match done {
                Done::Collect(done) => self.log.collected(done),
                // A file that could not be prepared is only slower.
                Done::Prepare(done) => drop(self.log.prepared(done)),
            }
        }
        if (self.staged - self.trimmed_at) * PAYLOAD as u64 >= SEGMENT_BYTES / 4 {
            self.trimmed_at = self.staged;
            let kept = KEPT_BYTES / PAYLOAD as u64 / self.last.len() as u64;
            for (group, last) in self.last.iter().enumerate() {
                self.log.trim(GroupId(group as u64 + 1), Index(last.saturating_sub(kept)));
            }
            if let Some(job) = self.log.collect() {
                house.jobs.send(Chore::Collect(job)).expect("the other thread runs");
            }
        }
        if let Some(job) = self.log.prepare() {
            house.jobs.send(Chore::Prepare(job)).expect("the other thread runs");
        }
    }
}

fn log_node() -> NodeId {
    NodeId::new(1).expect("not zero")
}

/// The thread for what may take its time.
struct House {
    jobs: Sender<Chore>,
    done: Receiver<Done>,
}

enum Done {
    Collect(CollectDone),
    Prepare(PrepareDone),
}

enum Chore {
    Collect(CollectJob),
    Prepare(PrepareJob),
}

impl House {
    fn start() -> Self {
        let (jobs, todo) = channel();
        let (done_to, done) = channel();
        thread::spawn(move || {
            for chore in todo {
                let done = match chore {
                    Chore::Collect(job) => Done::Collect(job.run().expect("the files go")),
                    Chore::Prepare(job) => Done::Prepare(job.run()),
                };
                if done_to.send(done).is_err() {
                    return;
                }
            }
        });
        Self { jobs, done }
    }
}

/// `raft-log` under one load.
pub(crate) struct Ours {
    proposer: Proposer,
    house: House,
    load: Load,
    threads: Threads,
}

impl Ours {
    pub(crate) fn open(dir: &Path, load: Load, driven: Driven) -> Outcome<Self> {
        fresh(dir)?;
        let groups = if driven.groups == Groups::One { 1 } else { load.outstanding };
        let mut proposer = Proposer::new(dir, groups, driven.sync_method)?;
        proposer.write_all()?;
        Ok(Self { proposer, house: House::start(), load, threads: driven.threads })
    }

    /// Everything outstanding is handed in at once, made durable, and handed in again.
    fn in_one_thread(&mut self, until: Instant) -> Outcome<()> {
        while Instant::now() < until {
            for _ in 0..self.load.outstanding {
                self.proposer.propose(self.load.batch);
            }
            self.proposer.write_all()?;
            self.proposer.keep_house(&self.house);
        }
        Ok(())
    }

    /// What has become durable is handed in again while the next write is under way.
    fn in_two_threads(&mut self, until: Instant) -> Outcome<()> {
        let (jobs, todo) = channel::<WriteJob>();
        let (done_to, done) = channel::<WriteDone>();
        thread::scope(|scope| {
            scope.spawn(move || {
                for job in todo {
                    if done_to.send(job.run()).is_err() {
                        return;
                    }
                }
            });
            let jobs = jobs;
            let Self { proposer, house, load, .. } = self;
            // Appends that are outstanding, and entries that are being written.
            let (mut outstanding, mut under_way) = (0, 0);
            loop {
                while outstanding < load.outstanding && Instant::now() < until {
                    proposer.propose(load.batch);
                    outstanding += 1;
                }
                if under_way == 0 {
                    let Some(job) = proposer.log.next_job() else { return Ok(()) };
                    under_way = job.entries();
                    jobs.send(job)?;
                }
                proposer.keep_house(house);
                proposer.log.complete(done.recv()?)?;
                outstanding -= under_way / load.batch;
                under_way = 0;
                // The next write begins before those that have waited are heard again.
                if let Some(job) = proposer.log.next_job() {
                    under_way = job.entries();
                    jobs.send(job)?;
                }
            }
        })
    }
}

impl Writer for Ours {
    fn run(&mut self, time: Duration) -> Outcome<Slice> {
        let (begun, staged, written) =
            (Instant::now(), self.proposer.staged, self.proposer.disk.written());
        match self.threads {
            Threads::One => self.in_one_thread(begun + time)?,
            Threads::Two => self.in_two_threads(begun + time)?,
        }
        Ok(Slice {
            elapsed: begun.elapsed(),
            entries: self.proposer.staged - staged,
            written: self.proposer.disk.written() - written,
        })
    }
}

/// Writes a log of so many bytes of payload: batches of 64 by turns to 16 groups, 64
/// batches to a write.
pub(crate) fn fill(dir: &Path, bytes: u64, batch: usize) -> Outcome<()> {
    fresh(dir)?;
    let mut proposer = Proposer::new(dir, 16, LogOptions::default().sync_method)?;
    let batches = bytes / (batch * PAYLOAD) as u64;
    for number in 1..=batches {
        proposer.propose(batch);
        if number % 64 == 0 || number == batches {
            proposer.write_all()?;
        }
    }
    proposer.log.seal();
    Ok(proposer.write_all()?)
}

/// Opens that log; how long it took, and what is held from then on.
pub(crate) fn open(dir: &Path) -> Outcome<Opened> {
    let begun = Instant::now();
    let log = open_log(dir, &CountingDisk::default(), LogOptions::default().sync_method)?;
    let took = begun.elapsed();
    assert!(log.shape(GroupId(16)).is_some());
    Ok(Opened { took, index_bytes: log.index_bytes(), held: Box::new(log) })
}
