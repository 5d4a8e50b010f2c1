//! Reading the store on a thread of its own.
//!
//! A read may wait for the disk, and the threads of the runtime also carry heartbeats.
//! So reads are handed to one thread, which takes in everything that has come and
//! answers it from one state of the store: one change of threads per batch.

use std::io;
use std::sync::mpsc as thread_queue;
use std::thread::JoinHandle;

use bytes::Bytes;
use raft_core::{GroupId, Index};
use tokio::sync::oneshot;

use crate::kv::KvReader;

/// As many reads share one state of the store; more wait for the next. It bounds what
/// large values take up at once.
const AT_ONCE: usize = 64;

/// A value, if there is one, and the applied index of the state it was read from.
type Found = (Option<Bytes>, Index);

/// Reads under way. Dropping it waits for the thread to let go of the store.
#[derive(Debug)]
pub(super) struct Reads {
    /// Taken when it is dropped.
    asked: Option<thread_queue::Sender<Asked>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Asked {
    group: GroupId,
    key: Bytes,
    answer: oneshot::Sender<io::Result<Found>>,
}

impl Reads {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the operating system has no thread left.
    pub(super) fn start(reader: KvReader) -> io::Result<Self> {
        let (asked, queue) = thread_queue::channel();
        let thread = std::thread::Builder::new().name("raft-read".to_owned());
        let thread = thread.spawn(move || run(&reader, &queue))?;
        Ok(Self { asked: Some(asked), thread: Some(thread) })
    }

    /// The value that `group` holds under `key` in a state that is no older than the
    /// call.
    ///
    /// # Errors
    /// Where the store cannot be read.
    pub(super) async fn get(&self, group: GroupId, key: Bytes) -> io::Result<Found> {
        let (answer, answered) = oneshot::channel();
        let gone = || io::Error::other("the thread that reads the store has ended");
        let asked = self.asked.as_ref().ok_or_else(gone)?;
        asked.send(Asked { group, key, answer }).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        self.asked = None;
        // Where it panicked, its message has been printed.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn run(reader: &KvReader, queue: &thread_queue::Receiver<Asked>) {
    let mut batch = Vec::new();
    while let Ok(first) = queue.recv() {
        batch.push(first);
        batch.extend(queue.try_iter().take(AT_ONCE - 1));
        let keys: Vec<_> = batch.iter().map(|asked| (asked.group, &asked.key[..])).collect();
        match reader.get_all(&keys) {
            Ok(found) => {
                for (asked, found) in batch.drain(..).zip(found) {
                    // Whoever has given up does not hear it.
                    let _ = asked.answer.send(Ok(found));
                }
            }
            Err(why) => {
                for asked in batch.drain(..) {
                    let _ = asked.answer.send(Err(io::Error::new(why.kind(), why.to_string())));
                }
            }
        }
    }
}
