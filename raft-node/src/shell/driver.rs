//! The engine's task.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use raft_core::{Envelope, Instant};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;

use super::background::Background;
use super::broken::Broken;
use super::clock::Clock;
use super::inbox::Mail;
use super::observer::{Depths, Observer, Stage};
use super::status::{role, status, told};
use super::waiting::{Batch, Waiting};
use super::workers::{Incoming, LogThread, MachineThread, run_job};
use super::{Outbound, Queues, ShellError, ShellOptions};
use crate::engine::{Effect, Engine, Event, Machines, TimedPart, Timing};
use crate::handle::{Request, Statuses};
use crate::state_machine::GiveUp;

/// As many requests, and as many batches of messages, are taken in at once.
const AT_ONCE: usize = 1024;

/// Statuses are published this often, and whenever a role changes.
const PUBLISH_EVERY: Duration = Duration::from_millis(50);

/// How long a write under way may still take when the node stops.
const LAST_WRITE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(crate) struct Driver {
    engine: Engine,
    clock: Clock,
    options: ShellOptions,
    outbound: OutboundRef,
    events: UnboundedReceiver<Incoming>,
    events_in: UnboundedSender<Incoming>,
    mail: mpsc::Receiver<Mail>,
    requests: mpsc::Receiver<Request>,
    log: LogThread,
    writing: bool,
    machines: MachineThread,
    background: Background,
    give_up: GivingUp,
    waiting: Waiting,
    statuses: Statuses,
    broken: Broken,
    observer: Arc<dyn Observer>,
    publish_at: Instant,
    /// Something other than a heartbeat has happened since statuses were published. An
    /// idle node is not woken for the sake of its status.
    unpublished: bool,
}

/// What makes the state machines give up what waits for long, called when this is dropped
/// at the latest.
struct GivingUp(Vec<GiveUp>);

impl Drop for GivingUp {
    fn drop(&mut self) {
        for give_up in &self.0 {
            give_up();
        }
    }
}

impl std::fmt::Debug for GivingUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GivingUp({})", self.0.len())
    }
}

/// Keeps `Debug` off the transport.
struct OutboundRef(Arc<dyn Outbound>);

impl std::fmt::Debug for OutboundRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Outbound")
    }
}

impl Driver {
    pub(crate) fn new(
        engine: Engine,
        machines: Machines,
        clock: Clock,
        queues: Queues,
        outbound: Arc<dyn Outbound>,
    ) -> std::io::Result<Self> {
        let Queues { mail, requests, handle, options, observer, .. } = queues;
        let (events_in, events) = mpsc::unbounded_channel();
        Ok(Self {
            give_up: GivingUp(machines.give_up()),
            log: LogThread::start(events_in.clone(), Arc::clone(&observer))?,
            machines: MachineThread::start(machines, events_in.clone(), Arc::clone(&observer))?,
            background: Background::start(&events_in)?,
            observer,
            engine,
            clock,
            options,
            outbound: OutboundRef(outbound),
            events,
            events_in,
            mail,
            requests,
            writing: false,
            waiting: Waiting::default(),
            statuses: handle.statuses(),
            broken: Broken::default(),
            publish_at: Instant(0),
            unpublished: true,
        })
    }

    /// Runs until told to stop, until the node is no member of any group any more, or until
    /// the log fails.
    pub(crate) async fn run(mut self, stop: oneshot::Receiver<()>) -> Result<(), ShellError> {
        let ran = match self.serve(stop).await {
            Ok(()) => self.seal().await,
            Err(why) => Err(why),
        };
        self.end(ran).await
    }

    async fn serve(&mut self, mut stop: oneshot::Receiver<()>) -> Result<(), ShellError> {
        for group in self.engine.groups() {
            let Some(view) = self.engine.view(group) else { continue };
            self.outbound.0.members_changed(group, view.members_at, &view.members);
        }
        self.turn(Vec::new())?;
        loop {
            let mut events = Vec::new();
            let mut batch = Batch::default();
            let deadline = self.engine.deadline();
            let deadline = if self.unpublished { deadline.min(self.publish_at) } else { deadline };
            let deadline = self.clock.until(deadline);
            tokio::select! {
                Some(incoming) = self.events.recv() => events.push(event(incoming)?),
                Some(mail) = self.mail.recv() => events.push(received(mail)),
                Some(request) = self.requests.recv() => self.take_in(request, &mut batch),
                () = tokio::time::sleep_until(deadline) => {}
                // Whoever dropped the other end wants a stop as well.
                _ = &mut stop => break,
            }
            self.gather(&mut events, &mut batch)?;
            let (proposals, reads) = batch.len();
            if proposals + reads > 0 {
                self.observer.took_in(proposals, reads);
            }
            events.extend(batch.into_events());
            self.turn(events)?;
            if self.log.is_dead() || self.machines.is_dead() || self.engine.is_removed() {
                break;
            }
        }
        Ok(())
    }

    /// Takes in everything that has come meanwhile, so that it shares one write.
    fn gather(&mut self, events: &mut Vec<Event>, batch: &mut Batch) -> Result<(), ShellError> {
        while let Ok(incoming) = self.events.try_recv() {
            events.push(event(incoming)?);
        }
        for _ in 0..AT_ONCE {
            let Ok(mail) = self.mail.try_recv() else { break };
            events.push(received(mail));
        }
        for _ in 0..AT_ONCE {
            let Ok(request) = self.requests.try_recv() else { break };
            self.take_in(request, batch);
        }
        Ok(())
    }

    fn take_in(&mut self, request: Request, batch: &mut Batch) {
        let exists = |group| self.engine.replica(group).is_some();
        let (largest, observer) = (self.options.max_command_bytes, &*self.observer);
        self.waiting.take_in(request, batch, largest, observer, exists);
    }

    /// One turn of the engine: events in, effects out. The time is read after the
    /// inputs were gathered, so that nothing seems fresher than it is.
    fn turn(&mut self, events: Vec<Event>) -> Result<(), ShellError> {
        let now = self.clock.now();
        self.unpublished |= !events.iter().all(is_beat);
        for event in events {
            self.writing &= !matches!(event, Event::Written(_));
            self.engine.handle(now, event)?;
        }
        if now >= self.engine.deadline() {
            self.engine.handle(now, Event::Timeout)?;
        }
        self.engine.flush(now);
        let staged = self.pass_timings();
        let changed = self.carry_out(staged);
        if changed || now >= self.publish_at {
            self.unpublished = false;
            self.publish_at = now.after(PUBLISH_EVERY);
            self.publish(now);
        }
        Ok(())
    }

    /// Tells the observer what the engine has timed. How long the next write was staged
    /// is the answer, since its wait is not over.
    fn pass_timings(&mut self) -> Duration {
        let mut staged = Duration::ZERO;
        for Timing { part, took, writes } in self.engine.take_timings() {
            let stage = match part {
                TimedPart::Staged => {
                    staged = took;
                    continue;
                }
                TimedPart::Replicated => Stage::Replicate,
                TimedPart::Committed => Stage::Commit,
                TimedPart::Applied => Stage::Apply,
            };
            self.observer.stage(stage, took, writes);
        }
        staged
    }

    /// Carries out what the engine wants. True where a role has changed.
    fn carry_out(&mut self, staged: Duration) -> bool {
        let mut changed = false;
        while let Some(effect) = self.engine.poll_effect() {
            match effect {
                Effect::Write(job) => {
                    self.writing = true;
                    self.log.run(job, staged);
                }
                Effect::Send { to, envelopes } => self.outbound.0.send(to, envelopes),
                Effect::Machine(task) => self.machines.run(task),
                Effect::Run(job) if job.is_background() => self.background.run(job),
                Effect::Run(job) => run_job(job, self.events_in.clone()),
                Effect::Answer(answers) => self.waiting.tell(answers),
                Effect::Snapshot { id, outcome } => self.waiting.tell_snapshot(id, outcome),
                Effect::RoleChanged { group, change } => {
                    changed = true;
                    let (role, term) = (role(change.role), change.term);
                    self.observer.role_changed(group, role, term, change.leader);
                    let role = role.name();
                    match change.leader {
                        Some(leader) => {
                            tracing::info!(
                                "group {group}: {role} in term {term}, node {leader} leads"
                            );
                        }
                        None => tracing::info!("group {group}: {role} in term {term}"),
                    }
                }
                Effect::MembersChanged { group, at, members } => {
                    changed = true;
                    self.outbound.0.members_changed(group, at, &members);
                    tracing::info!("group {group}: {}, by entry {}", told(&members), at.index);
                }
                Effect::Removed { group, index } => {
                    changed = true;
                    tracing::warn!(
                        "group {group}: this node is no member any more, by entry {index}"
                    );
                }
                Effect::Halted { group, why } => {
                    changed = true;
                    tracing::error!(
                        "group {group} stops on this node: {why}: mend that and start the node \
                         again; the other members go on"
                    );
                }
                Effect::Trouble { why } => tracing::warn!("{why}"),
                Effect::PeerBroken { group, peer, evidence } => {
                    let now = self.clock.now();
                    if let Some(words) = self.broken.words(now, group, peer, evidence) {
                        tracing::error!("{words}");
                    }
                }
            }
        }
        changed
    }

    fn publish(&self, now: Instant) {
        let groups = self.engine.groups();
        let statuses = groups
            .filter_map(|group| Some((group, status(self.engine.view(group)?, now))))
            .collect();
        *self.statuses.write().unwrap_or_else(PoisonError::into_inner) = statuses;
        let (proposals, reads) = self.waiting.waiting();
        let (requests, messages) = (self.requests.len(), self.mail.len());
        let depths = Depths { requests, messages, events: self.events.len(), proposals, reads };
        self.observer.published(depths, &self.engine.figures());
    }

    /// Waits for the write under way, and seals the log.
    async fn seal(&mut self) -> Result<(), ShellError> {
        self.background.stop();
        let patience = tokio::time::sleep(LAST_WRITE);
        tokio::pin!(patience);
        while self.writing && !self.log.is_dead() {
            tokio::select! {
                Some(incoming) = self.events.recv() => self.turn(vec![event(incoming)?])?,
                () = &mut patience => break,
            }
        }
        if !self.writing {
            self.engine.close(self.clock.now());
            self.carry_out(Duration::ZERO);
        }
        Ok(())
    }

    /// Ends the threads and flushes the state machines, however it `ran`: whoever opens
    /// the folder next must find it as nobody changes it any more.
    async fn end(mut self, mut ran: Result<(), ShellError>) -> Result<(), ShellError> {
        // Whoever waits is told at once.
        drop((self.requests, self.mail, self.waiting, self.events_in, self.give_up));
        let (log, background, machines) = (self.log, self.background, self.machines);
        let ended = tokio::task::spawn_blocking(move || {
            // The last flush comes after the one under way.
            let (log, background) = (log.join(), background.join());
            log.and(background).and(machines.join())
        });
        let ended = ended.await.unwrap_or(Err(ShellError::Panicked("closing")));
        // Every job under way holds the other end of this queue.
        while let Some(incoming) = self.events.recv().await {
            ran = ran.and_then(|()| match event(incoming)? {
                written @ Event::Written(_) => Ok(self.engine.handle(self.clock.now(), written)?),
                _ => Ok(()),
            });
        }
        ran.and(ended)
    }
}

fn is_beat(event: &Event) -> bool {
    let beat = |envelope: &Envelope| matches!(envelope, Envelope::Beat(_) | Envelope::BeatReply(_));
    matches!(event, Event::Received { envelopes, .. } if envelopes.iter().all(beat))
}

fn event(incoming: Incoming) -> Result<Event, ShellError> {
    match incoming {
        Incoming::Event(event) => Ok(event),
        Incoming::Panicked(who) => Err(ShellError::Panicked(who)),
    }
}

fn received(Mail { from, boot, envelopes }: Mail) -> Event {
    Event::Received { from, boot, envelopes }
}
