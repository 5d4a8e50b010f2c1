//! How far one follower is, as its leader knows it.

use raft_core::{Index, Instant, LogShape, Position};

use crate::hints::agreed_below;
use crate::serving::State;
use crate::verdicts::{AckVerdict, ConflictVerdict, LossVerdict, SendVerdict};
use crate::window::{Flight, Limits, Window};

/// Patience with a follower that does not answer doubles this often at most.
const MAX_DOUBLINGS: u32 = 4;

/// How far one follower is.
///
/// Invariants, asserted on every change:
/// - `matched < next`.
/// - `matched` is what the follower acknowledged as durable. It goes back only where the
///   follower itself says that its disk has lost some of that.
/// - At most one read of the log is outstanding, and `next` moves only once its
///   entries have really left.
/// - A rejection is held against a follower only for a request that is under way; a later one
///   says at most where to probe. An acknowledgement of the leader's own term counts also
///   later, unless the request left before this member was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Requests up to this number left before this member was added, or lost what it had
    /// acknowledged.
    added_after: u64,
    /// The newest request of which a rejection has counted.
    rejected: u64,
    matched: Index,
    next: Index,
    reading: Option<Reading>,
    /// The log cannot be read there: up to here a snapshot takes its place.
    unreadable: Index,
    told_commit: Index,
    /// When the latest request left that it has acknowledged, and so synced.
    synced: Option<Instant>,
    /// How often in a row a request was given up; patience doubles with each.
    resends: u32,
    state: State,
}

/// A read of the log for a request that has not left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    number: u64,
    commit: Index,
}

impl Progress {
    /// A follower of whom nothing is known, to be offered the entry `next` first.
    #[must_use]
    pub fn new(next: Index, added_after: u64) -> Self {
        let state = State::Probe { flight: None, not_before: Instant::default() };
        let progress = Self {
            added_after,
            rejected: 0,
            matched: Index::ZERO,
            next,
            reading: None,
            unreadable: Index::ZERO,
            told_commit: Index::ZERO,
            synced: None,
            resends: 0,
            state,
        };
        progress.check();
        progress
    }

    /// When the latest request left that it has acknowledged: its disk has worked since.
    #[must_use]
    pub const fn synced(&self) -> Option<Instant> {
        self.synced
    }

    /// Its log agrees with the leader's up to here, durably.
    #[must_use]
    pub const fn matched(&self) -> Index {
        self.matched
    }

    /// The next entry to send.
    #[must_use]
    pub const fn next(&self) -> Index {
        self.next
    }

    /// In which way it is being served.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The commit index it may be told: never above what it acknowledged.
    #[must_use]
    pub fn commit_for(&self, commit: Index) -> Index {
        commit.min(self.matched)
    }

    /// True where it does not know of a commit that concerns it, and nothing is under
    /// way whose answer would change that.
    #[must_use]
    pub fn commit_is_news(&self, commit: Index) -> bool {
        self.told_commit < self.commit_for(commit) && self.oldest_sent_at().is_none()
    }

    /// Notes how far it says that it has committed. That may be less than it said
    /// before: a restart forgets.
    pub const fn commit_told(&mut self, commit: Index) {
        self.told_commit = commit;
    }

    /// What to send now.
    #[inline]
    #[must_use]
    pub fn verdict(&self, now: Instant, log: &LogShape, limits: &Limits) -> SendVerdict {
        let free = self.reading.is_none()
            && match &self.state {
                State::Probe { flight, not_before } => flight.is_none() && now >= *not_before,
                State::Replicate { window } => {
                    window.count() < limits.max_flights && window.bytes() < limits.max_flight_bytes
                }
                State::Snapshot { .. } | State::Quarantined => false,
            };
        let up_to = log.last().index;
        if !free || self.next > up_to {
            SendVerdict::Nothing
        } else if self.next <= log.floor().index.max(self.unreadable) {
            SendVerdict::Snapshot
        } else {
            SendVerdict::Entries { from: self.next, up_to }
        }
    }

    /// Notes that the log is being read for the request with this number, which states
    /// this commit index.
    pub const fn read_started(&mut self, number: u64, commit: Index) {
        self.reading = Some(Reading { number, commit });
    }

    /// Notes that the request has left with entries up to `last`. One that was
    /// overtaken by a change of state is under way for nobody.
    pub fn sent(&mut self, number: u64, last: Index, bytes: usize, sent_at: Instant) {
        let reading = self.reading.take_if(|reading| reading.number == number);
        let Some(reading) = reading else { return };
        let (acknowledged, commit) = (self.matched, reading.commit);
        let flight = Flight { number, last, bytes, sent_at, acknowledged, commit };
        match &mut self.state {
            State::Probe { flight: awaited, .. } => *awaited = Some(flight),
            State::Replicate { window } => {
                window.push(flight);
                // A late acknowledgement may have been further than this read.
                self.next = self.next.max(flight.last.next());
            }
            State::Snapshot { .. } | State::Quarantined => {}
        }
        self.check();
    }

    /// The entries that the request should have carried are gone from the log: it is tried
    /// again, which finds what is left.
    pub fn read_failed(&mut self, number: u64, retry_at: Instant) {
        if self.reading.is_some_and(|reading| reading.number == number) {
            self.probe_from(self.next, retry_at);
        }
    }

    /// The first of the entries that the request should have carried, which is committed,
    /// cannot be read: a snapshot that reaches it is sent instead.
    pub fn read_impossible(&mut self, number: u64, retry_at: Instant) {
        if self.reading.is_some_and(|reading| reading.number == number) {
            self.unreadable = self.next;
            self.probe_from(self.next, retry_at);
        }
    }

    /// Notes an acknowledgement, in the leader's own term, of everything up to `matched`,
    /// where the leader's log ends at `last`. It counts also where the request was given
    /// up: with a link slower than that patience nothing would ever be acknowledged.
    pub fn acknowledged(&mut self, number: u64, matched: Index, last: Index) -> AckVerdict {
        if number <= self.added_after {
            return AckVerdict::Late;
        }
        let flight = match &mut self.state {
            State::Probe { flight, .. } => flight.take_if(|flight| flight.number == number),
            State::Replicate { window } => window.land(number),
            State::Snapshot { .. } | State::Quarantined => None,
        };
        if matched > flight.map_or(last, |flight| flight.last) {
            return AckVerdict::Broken;
        }
        let Some(flight) = flight else {
            if matched > self.matched && self.state != State::Quarantined {
                self.next = self.next.max(matched.next());
                self.advance(matched);
            }
            return AckVerdict::Late;
        };
        self.resends = 0;
        self.synced = self.synced.max(Some(flight.sent_at));
        self.told_commit = self.told_commit.max(flight.commit.min(matched));
        self.advance(matched);
        AckVerdict::Heard { sent_at: flight.sent_at }
    }

    /// Notes that the follower's log does not hold the entry before the request with
    /// this number; `hint` is the last position that may agree (thesis, section 3.5).
    /// Messages may overtake one another, so a hint below the match is a broken promise
    /// only where the match was known before the request left.
    pub fn conflicted(&mut self, number: u64, hint: Position, log: &LogShape) -> ConflictVerdict {
        let flight = match &self.state {
            State::Probe { flight, .. } => flight.filter(|flight| flight.number == number),
            State::Replicate { window } => window.find(number).copied(),
            State::Snapshot { .. } | State::Quarantined => None,
        };
        let Some(flight) = flight else { return self.conflicted_late(number, hint, log) };
        // In the probing state `next` is the first entry of the awaited request; a hint
        // at or above it says nothing, unless the log was cut there meanwhile. While replicating
        // every request is above the match.
        let probing = matches!(self.state, State::Probe { .. });
        let (agreed, knows) = (agreed_below(hint, log), self.next > log.floor().index);
        if agreed < flight.acknowledged || (probing && knows && agreed.next() >= self.next) {
            return ConflictVerdict::Broken;
        }
        self.rejected = number;
        self.probe_from(agreed.max(self.matched).next(), Instant::default());
        ConflictVerdict::Retry { sent_at: flight.sent_at }
    }

    /// A rejection of a request that was given up may still say where to probe next: were it
    /// dropped, a link slower than that patience would carry the same probe for ever.
    fn conflicted_late(&mut self, number: u64, hint: Position, log: &LogShape) -> ConflictVerdict {
        let State::Probe { not_before, .. } = self.state else { return ConflictVerdict::Stale };
        let (agreed, known) = (agreed_below(hint, log), self.added_after.max(self.rejected));
        if number <= known || agreed < self.matched || agreed.next() >= self.next {
            return ConflictVerdict::Stale;
        }
        self.rejected = number;
        self.probe_from(agreed.next(), not_before);
        ConflictVerdict::Late
    }

    /// Notes that the follower's disk has lost what it acknowledged above `hint`, the last
    /// position that may agree; it says so again and again until it has been sent that. The
    /// token's `number` is that of a request where it answers one. What it acknowledged of
    /// requests up to the number `latest` counts no more, however late that comes.
    pub fn lost(
        &mut self,
        number: u64,
        hint: Position,
        latest: u64,
        log: &LogShape,
    ) -> LossVerdict {
        let agreed = agreed_below(hint, log);
        let answers = match &self.state {
            State::Probe { flight, .. } => flight.is_some_and(|flight| flight.number == number),
            State::Replicate { window } => window.find(number).is_some(),
            State::Snapshot { .. } | State::Quarantined => false,
        };
        let served = matches!(self.state, State::Probe { .. } | State::Replicate { .. });
        let earlier = agreed.next() < self.next;
        if agreed >= self.matched && !(answers && earlier) {
            return LossVerdict::Known;
        }
        self.matched = self.matched.min(agreed);
        self.added_after = latest;
        if served {
            self.probe_from(agreed.next(), Instant::default());
        }
        LossVerdict::Back
    }

    /// Goes back to probing where the oldest request has not been answered in time. True
    /// where it did. Patience grows only with a follower that is `heard` meanwhile: its
    /// link is slow, while one that is down will want everything at once when it is back.
    pub fn resend_overdue(&mut self, now: Instant, heard: bool, limits: &Limits) -> bool {
        if let State::Probe { not_before, .. } = &mut self.state
            && now >= *not_before
        {
            // The wait is over; it must not be a deadline any more.
            *not_before = Instant::default();
        }
        let overdue = self.resend_at(limits).is_some_and(|at| now >= at);
        if overdue {
            self.resends = if heard { self.resends.saturating_add(1) } else { 0 };
            self.probe_from(self.unanswered_from(), Instant::default());
        }
        overdue
    }

    /// The follower is back after a silence: what was under way to it is lost.
    pub fn found_again(&mut self) {
        if self.oldest_sent_at().is_some() {
            self.resends = 0;
            self.probe_from(self.unanswered_from(), Instant::default());
        }
    }

    /// Where to go on after a loss. A new leader has no acknowledgement yet: from the
    /// beginning of the log on it would only send a snapshot.
    const fn unanswered_from(&self) -> Index {
        if let State::Probe { .. } = self.state { self.next } else { self.matched.next() }
    }

    /// When something must happen although nothing is heard.
    #[must_use]
    pub fn deadline(&self, limits: &Limits) -> Option<Instant> {
        let resend = self.resend_at(limits);
        match &self.state {
            State::Probe { flight: None, not_before } if *not_before > Instant::default() => {
                Some(*not_before)
            }
            _ => resend,
        }
    }

    /// Notes that a snapshot is on its way in a transfer with this number.
    pub fn snapshot_started(&mut self, number: u64) {
        self.reading = None;
        self.state = State::Snapshot { number };
    }

    /// Notes that the snapshot of this transfer is installed up to `last`. False
    /// where that transfer is over.
    pub fn snapshot_installed(&mut self, number: u64, last: Index) -> bool {
        let current = self.state == State::Snapshot { number };
        if current {
            self.next = self.next.max(last.next());
            self.advance(last);
        }
        current
    }

    /// Notes that the transfer failed; it is tried again from `retry_at`.
    pub fn snapshot_failed(&mut self, number: u64, retry_at: Instant) {
        if self.state == (State::Snapshot { number }) {
            self.probe_from(self.matched.next(), retry_at);
        }
    }

    /// Stops serving a follower that broke its promises.
    pub fn quarantine(&mut self) {
        self.reading = None;
        self.state = State::Quarantined;
    }

    /// When the oldest request is given up.
    fn resend_at(&self, limits: &Limits) -> Option<Instant> {
        let patience = limits.resend_after * (1 << self.resends.min(MAX_DOUBLINGS));
        self.oldest_sent_at().map(|at| at.after(patience))
    }

    fn oldest_sent_at(&self) -> Option<Instant> {
        match &self.state {
            State::Probe { flight, .. } => flight.map(|flight| flight.sent_at),
            State::Replicate { window } => window.oldest().map(|flight| flight.sent_at),
            State::Snapshot { .. } | State::Quarantined => None,
        }
    }

    fn advance(&mut self, matched: Index) {
        self.matched = self.matched.max(matched);
        if !matches!(self.state, State::Replicate { .. }) {
            self.reading = None;
            self.next = self.matched.next();
            self.state = State::Replicate { window: Window::default() };
        }
        self.check();
    }

    fn probe_from(&mut self, next: Index, not_before: Instant) {
        self.next = next;
        self.reading = None;
        self.state = State::Probe { flight: None, not_before };
        self.check();
    }

    fn check(&self) {
        assert!(self.matched < self.next, "matched {} at next {}", self.matched, self.next);
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
