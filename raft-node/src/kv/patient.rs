//! Storage that waits for room.
//!
//! A database whose write has failed is of no use until it is opened anew, with everything
//! that reads it. A full disk is no reason for that: the write that found no room is made
//! again, unchanged, until there is some. It is one of a flush, for which nobody waits but
//! memory that is bounded; readers go on meanwhile.

use std::io;
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redb::{BackendError, StorageBackend};

/// How often a write is made again.
const AGAIN: Duration = Duration::from_millis(200);

/// Whether writes that find no room wait for some. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Patience(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Waiting {
    /// They fail: whoever opens a database, or stops, wants to know.
    #[default]
    No,
    Yes,
}

impl Patience {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on writes wait.
    pub(super) fn begin(&self) {
        *self.waiting() = Waiting::Yes;
    }

    /// From now on they fail, those that wait as well.
    pub(super) fn end(&self) {
        *self.waiting() = Waiting::No;
        self.0.1.notify_all();
    }

    /// Does `work` until there is room for it, or it fails for another reason.
    fn insist(&self, work: impl Fn() -> io::Result<()>) -> io::Result<()> {
        loop {
            let why = match work() {
                Err(why) if is_no_room(&why) => why,
                outcome => return outcome,
            };
            let waiting = self.waiting();
            if *waiting == Waiting::No {
                return Err(why);
            }
            drop(self.0.1.wait_timeout(waiting, AGAIN));
        }
    }
}

fn is_no_room(why: &io::Error) -> bool {
    matches!(why.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Storage whose writes wait for room. A sync does not: what a failed one leaves is unknown.
#[derive(Debug)]
pub(super) struct Patient<B> {
    storage: B,
    patience: Patience,
}

impl<B> Patient<B> {
    pub(super) const fn new(storage: B, patience: Patience) -> Self {
        Self { storage, patience }
    }
}

impl<B: StorageBackend> StorageBackend for Patient<B> {
    fn len(&self) -> io::Result<u64> {
        self.storage.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.patience.insist(|| self.storage.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.storage.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.patience.insist(|| self.storage.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.storage.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.try_lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.storage.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.storage.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.storage.query_lock_range(start, end)
    }
}
