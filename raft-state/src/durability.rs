//! Promises that wait for the disk.

use alloc::collections::VecDeque;

use raft_core::{HardState, Index, Instant, LogChange, LogShape, Term, Write, WriteNumber};

use crate::output::Output;

/// What is durable, what is on its way to the disk, and what must not be said before.
///
/// Promises wait for write numbers and not for indexes, so that the completion of an
/// old write is never taken for that of an entry that has since replaced it.
///
/// Invariants, asserted:
/// - `durable <= issued`; completions come in order.
/// - `durable_index` never exceeds what the log would hold after a crash now, if
///   every write on its way were lost or kept.
/// - A held output leaves only in the term in which it was held.
#[derive(Clone, Debug)]
pub(crate) struct Durability {
    issued: WriteNumber,
    durable: WriteNumber,
    hard_state: HardState,
    term_write: WriteNumber,
    durable_index: Index,
    writes: VecDeque<OnItsWay>,
    held: VecDeque<Held>,
    /// The oldest write on its way, and since when it has been that.
    oldest: Option<(WriteNumber, Instant)>,
}

/// A write that is not durable yet. Once it is, the log reaches at least `reaches`;
/// until then whatever lies above `keeps` may still be cut by it.
#[derive(Clone, Debug)]
struct OnItsWay {
    number: WriteNumber,
    keeps: Index,
    reaches: Index,
}

#[derive(Clone, Debug)]
struct Held {
    until: WriteNumber,
    term: Term,
    output: Output,
}

impl Durability {
    /// Everything up to `last` and this hard state came from the disk.
    pub(crate) const fn new(hard_state: HardState, last: Index) -> Self {
        Self {
            issued: WriteNumber(0),
            durable: WriteNumber(0),
            hard_state,
            term_write: WriteNumber(0),
            durable_index: last,
            writes: VecDeque::new(),
            held: VecDeque::new(),
            oldest: None,
        }
    }

    /// Notes the time, so that a disk that does not answer is noticed.
    pub(crate) fn note(&mut self, now: Instant) {
        let front = self.writes.front().map(|write| write.number);
        self.oldest = front.map(|number| match self.oldest {
            Some(known) if known.0 == number => known,
            _ => (number, now),
        });
    }

    /// Since when the disk has completed nothing, although it was asked to.
    pub(crate) fn waiting_since(&self) -> Option<Instant> {
        self.oldest.map(|(_, since)| since)
    }

    /// The last entry that is durable and that no write on its way takes back.
    pub(crate) const fn durable_index(&self) -> Index {
        self.durable_index
    }

    /// True where this hard state has not been given to the disk.
    pub(crate) fn is_news(&self, hard_state: HardState) -> bool {
        self.hard_state != hard_state
    }

    /// The next write. Called before the shape of the log changes.
    pub(crate) fn write(
        &mut self,
        hard_state: HardState,
        change: Option<LogChange>,
        log: &LogShape,
    ) -> Write {
        self.issued = self.issued.next();
        let number = self.issued;
        if self.is_news(hard_state) {
            self.hard_state = hard_state;
            self.term_write = number;
        }
        let (keeps, reaches) = match &change {
            None => (Index(u64::MAX), Index::ZERO),
            Some(LogChange::Append(entries)) => {
                let first = entries.first().expect("an append carries an entry");
                (first.index.prev(), first.index.prev().plus(entries.len() as u64))
            }
            Some(LogChange::Reset { floor, .. }) if log.holds(*floor) => {
                (Index(u64::MAX), floor.index)
            }
            Some(LogChange::Reset { floor, .. }) => (Index::ZERO, floor.index),
        };
        self.durable_index = self.durable_index.min(keeps);
        self.writes.push_back(OnItsWay { number, keeps, reaches });
        Write { number, hard_state, change }
    }

    /// The write that everything promised so far rests on. With a hard state that is
    /// still to be written, that is the coming write.
    pub(crate) fn latest(&self, hard_state: HardState) -> WriteNumber {
        if self.is_news(hard_state) { self.issued.next() } else { self.issued }
    }

    /// The write that the current term and vote rest on.
    pub(crate) fn latest_term(&self, hard_state: HardState) -> WriteNumber {
        if self.is_news(hard_state) { self.issued.next() } else { self.term_write }
    }

    /// True where the write is durable.
    pub(crate) fn reached(&self, number: WriteNumber) -> bool {
        number <= self.durable
    }

    /// Lets `output` leave once the write is durable: at once where it is.
    pub(crate) fn hold(
        &mut self,
        until: WriteNumber,
        term: Term,
        output: Output,
        outputs: &mut VecDeque<Output>,
    ) {
        if self.reached(until) {
            outputs.push_back(output);
        } else {
            self.held.push_back(Held { until, term, output });
        }
    }

    /// Notes that every write up to `number` is durable; releases what waited for it
    /// and is still of this term. What is of an older term is dropped.
    pub(crate) fn persisted(
        &mut self,
        number: WriteNumber,
        term: Term,
        outputs: &mut VecDeque<Output>,
    ) {
        assert!(number <= self.issued, "write {number:?} of {:?} is durable", self.issued);
        assert!(number >= self.durable, "write {number:?} after {:?}", self.durable);
        self.durable = number;
        while self.writes.front().is_some_and(|write| write.number <= number) {
            let write = self.writes.pop_front().expect("the front is there");
            self.durable_index = self.durable_index.min(write.keeps).max(write.reaches);
        }
        for write in &self.writes {
            self.durable_index = self.durable_index.min(write.keeps);
        }
        // Each is looked at once, and who waits on keeps its place among the others.
        for _ in 0..self.held.len() {
            match self.held.pop_front() {
                Some(held) if held.term != term => {}
                Some(held) if self.reached(held.until) => outputs.push_back(held.output),
                other => self.held.extend(other),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use bytes::Bytes;
    use raft_core::{Entry, EntryKind, Membership, Position};

    fn append(indexes: core::ops::RangeInclusive<u64>) -> Option<LogChange> {
        let entry = |index| Entry {
            term: Term(1),
            index: Index(index),
            kind: EntryKind::Blank,
            payload: Bytes::new(),
        };
        Some(LogChange::Append(indexes.map(entry).collect()))
    }

    fn durability() -> (Durability, LogShape) {
        let shape = LogShape::new(Position::ZERO, Membership::empty());
        (Durability::new(HardState::default(), Index::ZERO), shape)
    }

    const STATE: HardState = HardState { term: Term(0), vote: None };

    /// The ABA case: 1..=3 are written, 2..=3 are replaced, and only then does the
    /// completion of the first write arrive. It must not count for the new 2 and 3.
    #[test]
    fn a_completion_from_before_a_truncation_does_not_count_for_new_entries() {
        let (mut durability, shape) = durability();
        let outputs = &mut VecDeque::new();
        durability.write(STATE, append(1..=3), &shape);
        durability.write(STATE, append(2..=3), &shape);
        durability.persisted(WriteNumber(1), Term(0), outputs);
        assert_eq!(durability.durable_index(), Index(1));
        durability.persisted(WriteNumber(2), Term(0), outputs);
        assert_eq!(durability.durable_index(), Index(3));
    }

    #[test]
    fn writes_that_complete_together_reach_no_further_than_the_last_of_them() {
        let (mut durability, shape) = durability();
        durability.write(STATE, append(1..=5), &shape);
        durability.write(STATE, append(3..=3), &shape);
        durability.persisted(WriteNumber(2), Term(0), &mut VecDeque::new());
        assert_eq!(durability.durable_index(), Index(3));
    }

    #[test]
    fn a_truncation_takes_durability_back_at_once() {
        let (mut durability, shape) = durability();
        durability.write(STATE, append(1..=3), &shape);
        durability.persisted(WriteNumber(1), Term(0), &mut VecDeque::new());
        durability.write(STATE, append(2..=2), &shape);
        assert_eq!(durability.durable_index(), Index(1));
    }

    #[test]
    fn held_outputs_leave_in_order_and_only_in_their_term() {
        let (mut durability, shape) = durability();
        let mut outputs = VecDeque::new();
        let apply = |index| Output::Apply { up_to: Index(index) };
        durability.write(STATE, append(1..=1), &shape);
        durability.write(STATE, append(2..=2), &shape);
        durability.hold(WriteNumber(0), Term(0), apply(1), &mut outputs);
        durability.hold(WriteNumber(1), Term(0), apply(2), &mut outputs);
        durability.hold(WriteNumber(2), Term(0), apply(3), &mut outputs);
        assert_eq!(outputs, [apply(1)], "nothing to wait for");
        durability.persisted(WriteNumber(1), Term(0), &mut outputs);
        assert_eq!(outputs, [apply(1), apply(2)]);
        durability.persisted(WriteNumber(2), Term(1), &mut outputs);
        assert_eq!(outputs, [apply(1), apply(2)], "the promise was of an old term");
    }

    #[test]
    fn a_new_term_is_promised_by_the_write_that_carries_it() {
        let (mut durability, shape) = durability();
        let next = HardState { term: Term(1), vote: None };
        assert_eq!(durability.latest(STATE), WriteNumber(0));
        assert_eq!(durability.latest_term(next), WriteNumber(1), "the coming write");
        durability.write(next, None, &shape);
        durability.write(next, append(1..=1), &shape);
        assert_eq!(durability.latest_term(next), WriteNumber(1), "entries are not waited for");
        assert_eq!(durability.latest(next), WriteNumber(2));
    }

    #[test]
    fn a_reset_takes_everything_back_unless_the_log_holds_its_floor() {
        let (mut durability, mut shape) = durability();
        let Some(LogChange::Append(entries)) = append(1..=3) else { unreachable!() };
        for entry in &entries {
            shape.append(entry);
        }
        durability.write(STATE, append(1..=3), &shape);
        durability.persisted(WriteNumber(1), Term(0), &mut VecDeque::new());
        let reset = |term, index| {
            let membership = Box::new(Membership::empty());
            Some(LogChange::Reset { floor: Position::new(term, index), membership })
        };
        durability.write(STATE, reset(1, 2), &shape);
        assert_eq!(durability.durable_index(), Index(3), "the suffix stays");
        durability.write(STATE, reset(2, 9), &shape);
        assert_eq!(durability.durable_index(), Index(0));
        durability.persisted(WriteNumber(3), Term(0), &mut VecDeque::new());
        assert_eq!(durability.durable_index(), Index(9));
        assert_eq!(vec![durability.writes.len()], [0]);
    }

    /// A disk that is busy all the time has never stalled.
    #[test]
    fn a_disk_is_waited_for_since_its_oldest_write_has_been_that() {
        let (mut durability, shape) = durability();
        let at = |durability: &mut Durability, now| {
            durability.note(Instant(now));
            durability.waiting_since().map(|since| since.0)
        };
        assert_eq!(at(&mut durability, 1), None);
        durability.write(STATE, append(1..=1), &shape);
        durability.write(STATE, append(2..=2), &shape);
        assert_eq!((at(&mut durability, 2), at(&mut durability, 3)), (Some(2), Some(2)));
        durability.persisted(WriteNumber(1), Term(0), &mut VecDeque::new());
        assert_eq!(at(&mut durability, 4), Some(4), "one is done, another waits");
        durability.persisted(WriteNumber(2), Term(0), &mut VecDeque::new());
        assert_eq!(at(&mut durability, 5), None);
    }

    #[test]
    #[should_panic(expected = "write WriteNumber(2) of WriteNumber(1) is durable")]
    fn what_was_never_written_is_not_durable() {
        let (mut durability, shape) = durability();
        durability.write(STATE, append(1..=1), &shape);
        durability.persisted(WriteNumber(2), Term(0), &mut VecDeque::new());
    }

    #[test]
    #[should_panic(expected = "write WriteNumber(1) after WriteNumber(2)")]
    fn completions_come_in_order() {
        let (mut durability, shape) = durability();
        durability.write(STATE, append(1..=1), &shape);
        durability.write(STATE, append(2..=2), &shape);
        durability.persisted(WriteNumber(2), Term(0), &mut VecDeque::new());
        durability.persisted(WriteNumber(1), Term(0), &mut VecDeque::new());
    }

    #[test]
    #[should_panic(expected = "an append carries an entry")]
    fn nothing_is_not_appended() {
        let (mut durability, shape) = durability();
        durability.write(STATE, Some(LogChange::Append(Vec::new())), &shape);
    }
}
