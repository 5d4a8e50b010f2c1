//! The search for an order that explains a history.
//!
//! An operation may come next if it was called before the earliest return among
//! those that have no place yet. The search places one after the other and steps
//! back where nothing fits; a set of placed operations with the same state is
//! never looked at twice. Five rules keep it short, each of which loses no
//! explanation:
//!
//! 1. A read that fits now is placed now: it changes nothing.
//! 2. While no read waits for the present value, a write whose own value no read
//!    waits for is placed now: nobody can tell the difference.
//! 3. A write of unknown outcome is placed only where a read of its value can
//!    follow at once: unobserved, it might as well never have happened.
//! 4. Writes of unknown outcome with the same effect are used oldest first: having
//!    no return, they differ in nothing but their call.
//! 5. A value that a read still waits for is not overwritten unless something that
//!    has no place yet writes it again.

use std::collections::{BTreeMap, HashSet};

use super::history::{Action, Operation, Outcome};

/// A value as a number; absence is one of them.
type ValueNumber = usize;
const ABSENT: ValueNumber = 0;

/// In a remembered state: any value that no read waits for.
const UNOBSERVED: usize = usize::MAX;

#[derive(Clone, Copy, Debug)]
enum Effect {
    Write(ValueNumber),
    Read(ValueNumber),
}

/// An operation that was answered.
struct Answered<'h, K, V> {
    operation: &'h Operation<K, V>,
    effect: Effect,
    called_at: u64,
    returned_at: u64,
    placed: bool,
}

/// The writes of unknown outcome that have one effect, by time of call.
struct Unknown<'h, K, V> {
    value: ValueNumber,
    operations: Vec<&'h Operation<K, V>>,
    used: usize,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Place this answered operation.
    Answered(usize),
    /// Use the next write of this group of unknown ones.
    Unknown(usize),
}

/// A point to step back to.
struct Branch {
    trail: usize,
    value: ValueNumber,
    steps: Vec<Step>,
}

/// The search over one key.
///
/// Invariants: every answered operation before `first` is placed; `trail` holds the
/// placed ones and the used unknown ones in order; `awaited[v]` counts the reads of
/// `v` that are not placed; `sources[v]` the writes of `v` that are not placed or
/// used.
pub(super) struct Search<'h, K, V> {
    answered: Vec<Answered<'h, K, V>>,
    unknown: Vec<Unknown<'h, K, V>>,
    values: Vec<Option<&'h V>>,
    awaited: Vec<usize>,
    sources: Vec<usize>,
    first: usize,
    placed: usize,
    value: ValueNumber,
    trail: Vec<Step>,
    seen: HashSet<Box<[usize]>>,
}

impl<'h, K, V: Ord> Search<'h, K, V> {
    pub(super) fn new(operations: &[&'h Operation<K, V>]) -> Self {
        let mut numbers: BTreeMap<&'h V, ValueNumber> = BTreeMap::new();
        let mut values = vec![None];
        let mut number = |value: &'h V| {
            *numbers.entry(value).or_insert_with(|| {
                values.push(Some(value));
                values.len() - 1
            })
        };
        let mut answered = Vec::new();
        let mut unknown: BTreeMap<ValueNumber, Vec<&'h Operation<K, V>>> = BTreeMap::new();
        for &operation in operations {
            let effect = match (&operation.action, &operation.outcome) {
                (_, Outcome::Refused) | (Action::Get, Outcome::Unknown | Outcome::Done) => continue,
                (Action::Get, Outcome::Read(None)) => Effect::Read(ABSENT),
                (Action::Get, Outcome::Read(Some(value))) => Effect::Read(number(value)),
                (Action::Put(value), _) => Effect::Write(number(value)),
                (Action::Delete, _) => Effect::Write(ABSENT),
            };
            match (effect, &operation.outcome, operation.returned_at) {
                (Effect::Write(value), Outcome::Unknown, _) => {
                    unknown.entry(value).or_default().push(operation);
                }
                (_, _, returned_at) => answered.push(Answered {
                    operation,
                    effect,
                    called_at: operation.called_at,
                    returned_at: returned_at.expect("an answered operation has returned"),
                    placed: false,
                }),
            }
        }
        Self::of(answered, unknown, values)
    }

    fn of(
        mut answered: Vec<Answered<'h, K, V>>,
        unknown: BTreeMap<ValueNumber, Vec<&'h Operation<K, V>>>,
        values: Vec<Option<&'h V>>,
    ) -> Self {
        answered.sort_by_key(|one| one.called_at);
        let mut awaited = vec![0; values.len()];
        let mut sources = vec![0; values.len()];
        for one in &answered {
            match one.effect {
                Effect::Write(value) => sources[value] += 1,
                Effect::Read(value) => awaited[value] += 1,
            }
        }
        let mut groups = Vec::new();
        for (value, mut operations) in unknown {
            // Rule 3, at once for all that nobody ever reads.
            if awaited[value] > 0 {
                sources[value] += operations.len();
                operations.sort_by_key(|operation| operation.called_at);
                groups.push(Unknown { value, operations, used: 0 });
            }
        }
        Self {
            answered,
            unknown: groups,
            values,
            awaited,
            sources,
            first: 0,
            placed: 0,
            value: ABSENT,
            trail: Vec::new(),
            seen: HashSet::new(),
        }
    }

    /// Whether there is an explanation; it is then in `trail`.
    pub(super) fn run(&mut self) -> bool {
        let mut branches: Vec<Branch> = Vec::new();
        loop {
            while self.place_what_needs_no_choice() {}
            if self.placed == self.answered.len() {
                return true;
            }
            let steps = if self.seen.insert(self.memory()) { self.choices() } else { Vec::new() };
            branches.push(Branch { trail: self.trail.len(), value: self.value, steps });
            loop {
                let Some(branch) = branches.last_mut() else { return false };
                let (trail, value, step) = (branch.trail, branch.value, branch.steps.pop());
                self.step_back(trail, value);
                if let Some(step) = step {
                    self.step(step);
                    break;
                }
                branches.pop();
            }
        }
    }

    /// The answered operations that may come next, and the earliest return among
    /// those without a place.
    fn candidates(&self) -> (Vec<usize>, u64) {
        let mut earliest_return = u64::MAX;
        let mut candidates = Vec::new();
        for (at, one) in self.answered.iter().enumerate().skip(self.first) {
            if one.called_at > earliest_return {
                break;
            }
            if !one.placed {
                earliest_return = earliest_return.min(one.returned_at);
                candidates.push(at);
            }
        }
        (candidates, earliest_return)
    }

    /// Rules 1 and 2. Whether anything was placed.
    fn place_what_needs_no_choice(&mut self) -> bool {
        let before = self.placed;
        for at in self.candidates().0 {
            let free = match self.answered[at].effect {
                Effect::Read(value) => value == self.value,
                Effect::Write(value) => self.awaited[self.value] == 0 && self.awaited[value] == 0,
            };
            if free {
                self.step(Step::Answered(at));
            }
        }
        self.placed > before
    }

    /// The writes worth trying, the most promising last.
    fn choices(&self) -> Vec<Step> {
        // Rule 5.
        if self.awaited[self.value] > 0 && self.sources[self.value] == 0 {
            return Vec::new();
        }
        let (candidates, earliest_return) = self.candidates();
        let mut steps = Vec::new();
        for &at in candidates.iter().rev() {
            if matches!(self.answered[at].effect, Effect::Write(_)) {
                steps.push(Step::Answered(at));
            }
        }
        for (group, unknown) in self.unknown.iter().enumerate() {
            // Rules 3 and 4.
            let callable = unknown
                .operations
                .get(unknown.used)
                .is_some_and(|operation| operation.called_at <= earliest_return);
            let observed = |at: &usize| matches!(self.answered[*at].effect, Effect::Read(value) if value == unknown.value);
            if callable && unknown.value != self.value && candidates.iter().any(observed) {
                steps.push(Step::Unknown(group));
            }
        }
        steps
    }

    fn step(&mut self, step: Step) {
        self.trail.push(step);
        match step {
            Step::Answered(at) => {
                self.answered[at].placed = true;
                self.placed += 1;
                match self.answered[at].effect {
                    Effect::Read(value) => self.awaited[value] -= 1,
                    Effect::Write(value) => {
                        self.sources[value] -= 1;
                        self.value = value;
                    }
                }
                while self.answered.get(self.first).is_some_and(|one| one.placed) {
                    self.first += 1;
                }
            }
            Step::Unknown(group) => {
                let unknown = &mut self.unknown[group];
                unknown.used += 1;
                self.sources[unknown.value] -= 1;
                self.value = unknown.value;
            }
        }
    }

    fn step_back(&mut self, trail: usize, value: ValueNumber) {
        for step in self.trail.drain(trail..) {
            match step {
                Step::Answered(at) => {
                    self.answered[at].placed = false;
                    self.placed -= 1;
                    self.first = self.first.min(at);
                    match self.answered[at].effect {
                        Effect::Read(value) => self.awaited[value] += 1,
                        Effect::Write(value) => self.sources[value] += 1,
                    }
                }
                Step::Unknown(group) => {
                    let unknown = &mut self.unknown[group];
                    unknown.used -= 1;
                    self.sources[unknown.value] += 1;
                }
            }
        }
        self.value = value;
    }

    /// Everything the rest of the search depends on: the value, what is used of the
    /// unknown, and which operations are placed (all before `first`, and these).
    fn memory(&self) -> Box<[usize]> {
        let observed = self.awaited[self.value] > 0;
        let mut memory = vec![if observed { self.value } else { UNOBSERVED }, self.first];
        memory.extend(self.unknown.iter().map(|unknown| unknown.used));
        let mut ahead = self.placed - self.first;
        for word in self.answered[self.first..].chunks(usize::BITS as usize) {
            if ahead == 0 {
                break;
            }
            let mut bits = 0;
            for (bit, one) in word.iter().enumerate() {
                bits |= usize::from(one.placed) << bit;
            }
            ahead -= bits.count_ones() as usize;
            memory.push(bits);
        }
        memory.into_boxed_slice()
    }

    /// The value of the register after the order that was found.
    pub(super) fn value(&self) -> Option<&'h V> {
        self.values[self.value]
    }

    /// The operations in the order that was found.
    pub(super) fn order(&self) -> Vec<&'h Operation<K, V>> {
        let mut used = vec![0; self.unknown.len()];
        let operation = |step: &Step| match *step {
            Step::Answered(at) => self.answered[at].operation,
            Step::Unknown(group) => {
                used[group] += 1;
                self.unknown[group].operations[used[group] - 1]
            }
        };
        self.trail.iter().map(operation).collect()
    }
}
