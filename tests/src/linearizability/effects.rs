//! What operations do to a register, with numbers for values.

use std::collections::BTreeMap;

use super::history::{Action, Operation, Outcome};

/// A value as a number; absence is one of them.
pub(super) type ValueNumber = usize;
pub(super) const ABSENT: ValueNumber = 0;
/// One that no write gives.
const NEVER: ValueNumber = 1;

/// What writes of unknown outcome write, and what they wait for.
pub(super) type UnknownEffect = (ValueNumber, Option<ValueNumber>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    Write(ValueNumber),
    Read(ValueNumber),
    Swap(Swap),
}

/// A write that happens only where the first of these is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Swap {
    pub(super) expected: ValueNumber,
    pub(super) value: ValueNumber,
}

impl Effect {
    /// The value that must be there.
    pub(super) const fn waits_for(self) -> Option<ValueNumber> {
        match self {
            Self::Write(_) => None,
            Self::Read(value) | Self::Swap(Swap { expected: value, .. }) => Some(value),
        }
    }

    /// The value that is there then.
    pub(super) const fn writes(self) -> Option<ValueNumber> {
        match self {
            Self::Read(_) => None,
            Self::Write(value) | Self::Swap(Swap { value, .. }) => Some(value),
        }
    }
}

/// An operation that was answered.
pub(super) struct Answered<'h, K, V> {
    pub(super) operation: &'h Operation<K, V>,
    pub(super) effect: Effect,
    pub(super) called_at: u64,
    pub(super) returned_at: u64,
    pub(super) placed: bool,
}

/// The writes of unknown outcome that have one effect, by time of call.
pub(super) struct Unknown<'h, K, V> {
    /// What a swap waits for.
    pub(super) expected: Option<ValueNumber>,
    pub(super) value: ValueNumber,
    pub(super) operations: Vec<&'h Operation<K, V>>,
    pub(super) used: usize,
}

/// The operations on one key that say anything.
pub(super) struct Understood<'h, K, V> {
    /// In any order.
    pub(super) answered: Vec<Answered<'h, K, V>>,
    /// Writes of unknown outcome.
    pub(super) unknown: BTreeMap<UnknownEffect, Vec<&'h Operation<K, V>>>,
    /// What the numbers stand for.
    pub(super) values: Vec<Option<&'h V>>,
}

/// Numbers the values of `operations`.
pub(super) fn understood<'h, K, V: Ord>(
    operations: &[&'h Operation<K, V>],
) -> Understood<'h, K, V> {
    let mut numbers: BTreeMap<&'h V, ValueNumber> = BTreeMap::new();
    let mut values = vec![None, None];
    let mut number = |value: &'h V| {
        *numbers.entry(value).or_insert_with(|| {
            values.push(Some(value));
            values.len() - 1
        })
    };
    let mut answered = Vec::new();
    let mut unknown: BTreeMap<UnknownEffect, Vec<&'h Operation<K, V>>> = BTreeMap::new();
    for &operation in operations {
        let mut of = |value: &'h Option<V>| value.as_ref().map_or(ABSENT, &mut number);
        let effect = match (&operation.action, &operation.outcome) {
            (_, Outcome::Refused) | (Action::Get, Outcome::Unknown | Outcome::Done) => continue,
            (Action::CompareAndSwap { expected, .. }, Outcome::Read(value)) => {
                // That what is expected is there is no reason to change nothing.
                Effect::Read(if expected == value { NEVER } else { of(value) })
            }
            (Action::Get, Outcome::Read(value)) => Effect::Read(of(value)),
            (Action::Put(value), _) => Effect::Write(number(value)),
            (Action::Delete, _) => Effect::Write(ABSENT),
            (Action::CompareAndSwap { expected, value }, _) => {
                let expected = of(expected);
                Effect::Swap(Swap { expected, value: number(value) })
            }
        };
        match (effect.writes(), &operation.outcome, operation.returned_at) {
            (Some(value), Outcome::Unknown, _) => {
                let expected = effect.waits_for();
                unknown.entry((value, expected)).or_default().push(operation);
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
    Understood { answered, unknown, values }
}
