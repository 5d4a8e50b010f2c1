//! The threads for work that nobody waits for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc as thread_queue;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;

use tokio::sync::mpsc::UnboundedSender;

use super::ShellError;
use super::workers::Incoming;
use crate::engine::{Event, Job};

/// Three threads that give way to all others, and do one job at a time each, in order: so
/// no flush waits for a snapshot, which may take minutes, and the log's next segment, for
/// which there is least time, waits for neither. They are the same three however many
/// groups there are, and take nothing from the threads for work that somebody waits for.
#[derive(Debug)]
pub(crate) struct Background {
    /// A job is begun only while this is there, so none is after a driver that was dropped.
    open: Option<Arc<()>>,
    flushes: Worker,
    snapshots: Worker,
    segments: Worker,
}

impl Background {
    pub(crate) fn start(events: &UnboundedSender<Incoming>) -> io::Result<Self> {
        let open = Arc::new(());
        let start = |name| Worker::start(name, Arc::downgrade(&open), events.clone());
        let (flushes, snapshots) = (start("raft-flush")?, start("raft-snapshot")?);
        let segments = start("raft-segment")?;
        Ok(Self { open: Some(open), flushes, snapshots, segments })
    }

    /// Does a job once those before it are done. After a [`stop`](Self::stop) it is
    /// dropped instead.
    pub(crate) fn run(&self, job: Box<Job>) {
        if self.open.is_none() {
            return;
        }
        let (worker, job) = match *job {
            job @ (Job::WriteSnapshot(_) | Job::DropSnapshots(_)) => (&self.snapshots, job),
            job @ (Job::Prepare(_) | Job::Collect(_) | Job::Relocate(_)) => (&self.segments, job),
            job => (&self.flushes, job),
        };
        // Where the thread has ended, a job has panicked and the driver is told.
        let _ = worker.jobs.send(Box::new(job));
    }

    /// Begins no job any more, not the next part of a snapshot either. What is left undone becomes due again after the next start.
    pub(crate) fn stop(&mut self) {
        self.open = None;
    }

    /// Ends the threads once the jobs under way are done.
    pub(crate) fn join(mut self) -> Result<(), ShellError> {
        self.stop();
        let (flushes, snapshots) = (self.flushes.join(), self.snapshots.join());
        flushes.and(snapshots).and(self.segments.join())
    }
}

/// One of the threads.
#[derive(Debug)]
struct Worker {
    jobs: thread_queue::Sender<Box<Job>>,
    thread: JoinHandle<()>,
}

impl Worker {
    fn start(name: &str, open: Weak<()>, events: UnboundedSender<Incoming>) -> io::Result<Self> {
        let (jobs, queue) = thread_queue::channel::<Box<Job>>();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            give_way();
            for job in queue {
                if open.strong_count() == 0 {
                    return;
                }
                // A job that panics ends the node: whoever waits for its end would wait
                // for ever.
                let incoming = match catch_unwind(AssertUnwindSafe(|| job.run())) {
                    Ok(done) => Incoming::Event(Event::Done(Box::new(done))),
                    Err(_) => Incoming::Panicked("job"),
                };
                // Where nobody listens any more, the node has stopped.
                if events.send(incoming).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, thread })
    }

    fn join(self) -> Result<(), ShellError> {
        drop(self.jobs);
        self.thread.join().map_err(|_| ShellError::Panicked("job"))
    }
}

/// Has this thread give way to all others where the system knows priorities of threads;
/// elsewhere it would be the whole process that gives way.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        /// As by `nice`.
        const NICENESS: i32 = 10;
        // Where that is not allowed, it does its work all the same.
        let _ = rustix::process::setpriority_process(None, NICENESS);
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{GroupId, Index};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::FlushWork;
    use crate::engine::JobDone;

    fn flush(n: u64, work: impl FnOnce() + Send + 'static) -> Box<Job> {
        let work: FlushWork = Box::new(move || {
            work();
            Ok(Index(n))
        });
        Box::new(Job::Flush { group: GroupId(1), work })
    }

    fn flushed(incoming: Incoming) -> Index {
        let Incoming::Event(Event::Done(done)) = incoming else { panic!("{incoming:?}") };
        let JobDone::Flushed { outcome: Ok(index), .. } = *done else { panic!("{done:?}") };
        index
    }

    #[test]
    fn a_stop_waits_for_the_job_under_way_and_drops_those_that_have_not_begun() {
        let (events, mut told) = unbounded_channel();
        let mut background = Background::start(&events).unwrap();
        let (begin, begun) = thread_queue::channel();
        let (open_gate, gate) = thread_queue::channel::<()>();
        background.run(flush(1, || {}));
        background.run(flush(2, move || {
            begin.send(()).unwrap();
            gate.recv().unwrap();
        }));
        background.run(flush(3, || {}));
        begun.recv().unwrap();
        background.stop();
        background.run(flush(4, || {}));
        open_gate.send(()).unwrap();
        background.join().unwrap();
        assert_eq!(flushed(told.try_recv().unwrap()), Index(1));
        assert_eq!(flushed(told.try_recv().unwrap()), Index(2));
        assert!(told.try_recv().is_err(), "nothing else has run");
    }

    #[test]
    fn jobs_that_have_not_begun_are_dropped_with_their_owner() {
        let (events, mut told) = unbounded_channel();
        let background = Background::start(&events).unwrap();
        drop(events);
        let (open_gate, gate) = thread_queue::channel::<()>();
        background.run(flush(1, move || {
            let _ = gate.recv();
        }));
        background.run(flush(2, || {}));
        drop(background);
        drop(open_gate);
        // The first may have begun before; the channel ends with the threads.
        let told: Vec<Index> = std::iter::from_fn(|| told.blocking_recv()).map(flushed).collect();
        assert!(told.is_empty() || told == [Index(1)], "{told:?}");
    }
}
