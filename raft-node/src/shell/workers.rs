//! The threads that may block, so that the engine never does.

use std::sync::Arc;
use std::sync::mpsc as thread_queue;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use raft_log::WriteJob;
use tokio::sync::mpsc::UnboundedSender;

use super::ShellError;
use super::observer::{LogWrite, Observer, Stage};
use crate::engine::{Event, Job, MachineTask, Machines};

/// A write that takes longer than this is worth a line in the log.
const SLOW_WRITE: Duration = Duration::from_millis(500);

/// What the threads tell the engine's task.
#[derive(Debug)]
pub(crate) enum Incoming {
    Event(Event),
    /// Work of this kind panicked; its message has been printed.
    Panicked(&'static str),
}

/// The thread of the write-ahead log. It runs one write at a time; what is staged
/// meanwhile becomes the next one, which is how batches form.
#[derive(Debug)]
pub(crate) struct LogThread {
    jobs: thread_queue::Sender<(WriteJob, Duration, Instant)>,
    thread: JoinHandle<()>,
}

impl LogThread {
    pub(crate) fn start(
        events: UnboundedSender<Incoming>,
        observer: Arc<dyn Observer>,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = thread_queue::channel::<(WriteJob, Duration, Instant)>();
        let thread = std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || {
            for (job, staged, sent) in queue {
                let begun = Instant::now();
                observer.stage(Stage::Log, staged + (begun - sent), 1);
                let entries = job.entries();
                let written = job.write();
                let bytes = written.bytes();
                let write = begun.elapsed();
                let done = written.sync();
                let took = begun.elapsed();
                observer.stage(Stage::Sync, took, 1);
                observer.wrote(LogWrite { entries, bytes, write, sync: took - write });
                if took > SLOW_WRITE {
                    tracing::warn!("slow disk: a write of the log took {} ms", took.as_millis());
                }
                if events.send(Incoming::Event(Event::Written(done))).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, thread })
    }

    /// `staged` is how long it has waited in the engine. Where the thread has panicked the
    /// job is lost, and the engine is told by
    /// [`join`](Self::join).
    pub(crate) fn run(&self, job: WriteJob, staged: Duration) {
        let _ = self.jobs.send((job, staged, Instant::now()));
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }

    pub(crate) fn join(self) -> Result<(), ShellError> {
        drop(self.jobs);
        self.thread.join().map_err(|_| ShellError::Panicked("log"))
    }
}

/// The thread of the state machines. Tasks are done in order.
#[derive(Debug)]
pub(crate) struct MachineThread {
    tasks: thread_queue::Sender<MachineTask>,
    thread: JoinHandle<std::io::Result<()>>,
}

impl MachineThread {
    pub(crate) fn start(
        mut machines: Machines,
        events: UnboundedSender<Incoming>,
        observer: Arc<dyn Observer>,
    ) -> std::io::Result<Self> {
        let (tasks, queue) = thread_queue::channel::<MachineTask>();
        let thread =
            std::thread::Builder::new().name("raft-apply".to_owned()).spawn(move || {
                for task in queue {
                    let (entries, begun) = (task.commands(), Instant::now());
                    let done = Event::Machine(machines.run(task));
                    if entries > 0 {
                        observer.applied(entries, begun.elapsed());
                    }
                    if events.send(Incoming::Event(done)).is_err() {
                        break;
                    }
                }
                machines.flush_all()
            })?;
        Ok(Self { tasks, thread })
    }

    pub(crate) fn run(&self, task: MachineTask) {
        let _ = self.tasks.send(task);
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends the thread once it has done everything, and flushes the state machines.
    pub(crate) fn join(self) -> Result<(), ShellError> {
        drop(self.tasks);
        match self.thread.join() {
            Ok(flushed) => flushed.map_err(ShellError::Flush),
            Err(_) => Err(ShellError::Panicked("state machine")),
        }
    }
}

/// Runs a job that somebody waits for where blocking is allowed. One that panics ends the
/// node: whoever waits for its end would wait for ever.
pub(crate) fn run_job(job: Box<Job>, events: UnboundedSender<Incoming>) {
    tokio::spawn(async move {
        let incoming = match tokio::task::spawn_blocking(move || job.run()).await {
            Ok(done) => Incoming::Event(Event::Done(Box::new(done))),
            Err(_) => Incoming::Panicked("job"),
        };
        // Where nobody listens any more, the node is stopping.
        let _ = events.send(incoming);
    });
}
