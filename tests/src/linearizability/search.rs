//! The search for an order that explains a history.
//!
//! An operation may come next if it was called before the earliest return among
//! those that have no place yet. The search places one after the other and steps
//! back where nothing fits; a set of placed operations with the same state is
//! never looked at twice. Five rules keep it short, each of which loses no
//! explanation:
//!
//! 1. A read that fits now is placed now: it changes nothing.
//! 2. While nobody waits for the present value, a write whose own value nobody
//!    waits for is placed now: nobody can tell the difference.
//! 3. A write of unknown outcome is placed only where somebody who waits for its value can
//!    follow at once, perhaps after other such writes: unobserved, it might as well never
//!    have happened.
//! 4. Writes of unknown outcome with the same effect are used oldest first: having
//!    no return, they differ in nothing but their call.
//! 5. A value that an answered operation still waits for is not overwritten unless something
//!    that has no place yet writes it again, or who waits is a swap alone, which overwrites it.
//!
//! A read waits for its value, and so does a swap for the one that it expects. One that was
//! refused for the value that was there is a read of that.

use std::collections::{BTreeSet, HashSet};

use super::effects::{ABSENT, Answered, Effect, Understood, Unknown, ValueNumber, understood};
use super::history::Operation;

/// In a remembered state: any value that nobody waits for.
const UNOBSERVED: usize = usize::MAX;

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
/// placed ones and the used unknown ones in order; `awaited[v]` counts the answered ones that
/// wait for `v` and are not placed, and `hoped[v]` the unknown swaps that do and are not used;
/// `sources[v]` the writes of `v` that are not placed or used.
pub(super) struct Search<'h, K, V> {
    answered: Vec<Answered<'h, K, V>>,
    unknown: Vec<Unknown<'h, K, V>>,
    values: Vec<Option<&'h V>>,
    awaited: Vec<usize>,
    hoped: Vec<usize>,
    sources: Vec<usize>,
    first: usize,
    placed: usize,
    value: ValueNumber,
    trail: Vec<Step>,
    seen: HashSet<Box<[usize]>>,
}

impl<'h, K, V: Ord> Search<'h, K, V> {
    pub(super) fn new(operations: &[&'h Operation<K, V>]) -> Self {
        let Understood { mut answered, unknown, values } = understood(operations);
        answered.sort_by_key(|one| one.called_at);
        let mut awaited = vec![0; values.len()];
        let mut sources = vec![0; values.len()];
        for one in &answered {
            one.effect.waits_for().into_iter().for_each(|value| awaited[value] += 1);
            one.effect.writes().into_iter().for_each(|value| sources[value] += 1);
        }
        // Rule 3, at once for all whose value nobody ever waits for.
        let mut hoped = vec![0; values.len()];
        let (mut left, mut groups) = (unknown, Vec::new());
        loop {
            let waited_for = |value: ValueNumber| awaited[value] > 0 || hoped[value] > 0;
            let found = left.keys().copied().find(|(value, _)| waited_for(*value));
            let Some(found @ (value, expected)) = found else { break };
            let mut operations = left.remove(&found).expect("it was found");
            sources[value] += operations.len();
            expected.iter().for_each(|expected| hoped[*expected] += operations.len());
            operations.sort_by_key(|operation| operation.called_at);
            groups.push(Unknown { expected, value, operations, used: 0 });
        }
        Self {
            answered,
            unknown: groups,
            values,
            awaited,
            hoped,
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
        let from_nowhere = |value| self.awaited[value] > 0 && self.sources[value] == 0;
        if (0..self.values.len()).any(|value| value != self.value && from_nowhere(value)) {
            return false;
        }
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
                Effect::Write(value) => {
                    !self.is_waited_for(self.value) && !self.is_waited_for(value)
                }
                Effect::Swap(_) => false,
            };
            if free {
                self.step(Step::Answered(at));
            }
        }
        self.placed > before
    }

    fn is_waited_for(&self, value: ValueNumber) -> bool {
        self.awaited[value] > 0 || self.hoped[value] > 0
    }

    /// The writes worth trying, the most promising last.
    fn choices(&self) -> Vec<Step> {
        let (candidates, earliest_return) = self.candidates();
        // Rule 5.
        let keep = self.awaited[self.value] > 0 && self.sources[self.value] == 0;
        let alone = self.awaited[self.value] == 1;
        let may_come = |at: &usize| match self.answered[*at].effect {
            Effect::Read(_) => false,
            Effect::Write(_) => !keep,
            Effect::Swap(swap) => swap.expected == self.value && (!keep || alone),
        };
        let answered = candidates.iter().rev().copied().filter(may_come);
        let mut steps: Vec<Step> = answered.map(Step::Answered).collect();
        if keep {
            return steps;
        }
        // Rules 3 and 4.
        let callable = |unknown: &Unknown<'_, K, V>| {
            let next = unknown.operations.get(unknown.used);
            next.is_some_and(|operation| operation.called_at <= earliest_return)
        };
        let useful = self.values_that_somebody_can_follow(&candidates, callable);
        for (group, unknown) in self.unknown.iter().enumerate() {
            let fits = unknown.expected.is_none_or(|expected| expected == self.value);
            let news = unknown.value != self.value && useful.contains(&unknown.value);
            if fits && news && callable(unknown) {
                steps.push(Step::Unknown(group));
            }
        }
        steps
    }

    /// Those that a candidate waits for, and those from which swaps of unknown outcome, one
    /// after the other, lead to one of them.
    fn values_that_somebody_can_follow(
        &self,
        candidates: &[usize],
        callable: impl Fn(&Unknown<'_, K, V>) -> bool,
    ) -> BTreeSet<ValueNumber> {
        let waits = |at: &usize| self.answered[*at].effect.waits_for();
        let mut useful: BTreeSet<ValueNumber> = candidates.iter().filter_map(waits).collect();
        loop {
            let leads = |unknown: &&Unknown<'_, K, V>| useful.contains(&unknown.value);
            let through = self.unknown.iter().filter(leads).filter(|unknown| callable(unknown));
            let before: Vec<ValueNumber> = through.filter_map(|unknown| unknown.expected).collect();
            let known = useful.len();
            useful.extend(before);
            if useful.len() == known {
                return useful;
            }
        }
    }

    fn step(&mut self, step: Step) {
        self.trail.push(step);
        match step {
            Step::Answered(at) => {
                self.answered[at].placed = true;
                self.placed += 1;
                let effect = self.answered[at].effect;
                effect.waits_for().into_iter().for_each(|value| self.awaited[value] -= 1);
                if let Some(value) = effect.writes() {
                    self.sources[value] -= 1;
                    self.value = value;
                }
                while self.answered.get(self.first).is_some_and(|one| one.placed) {
                    self.first += 1;
                }
            }
            Step::Unknown(group) => {
                let unknown = &mut self.unknown[group];
                unknown.used += 1;
                unknown.expected.iter().for_each(|expected| self.hoped[*expected] -= 1);
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
                    let effect = self.answered[at].effect;
                    effect.waits_for().into_iter().for_each(|value| self.awaited[value] += 1);
                    effect.writes().into_iter().for_each(|value| self.sources[value] += 1);
                }
                Step::Unknown(group) => {
                    let unknown = &mut self.unknown[group];
                    unknown.used -= 1;
                    unknown.expected.iter().for_each(|expected| self.hoped[*expected] += 1);
                    self.sources[unknown.value] += 1;
                }
            }
        }
        self.value = value;
    }

    /// Everything the rest of the search depends on: the value, what is used of the
    /// unknown, and which operations are placed (all before `first`, and these).
    fn memory(&self) -> Box<[usize]> {
        let observed = self.is_waited_for(self.value);
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
