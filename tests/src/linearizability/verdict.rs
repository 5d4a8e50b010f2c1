//! The verdict on a history, with a reason people can follow.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use super::history::{Action, History, Operation, Outcome};
use super::search::Search;

/// What the checker says of a history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<K, V> {
    /// There is an order that explains every answer.
    Linearizable,
    /// There is none.
    Violation(Box<Violation<K, V>>),
}

/// One key whose operations cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<K, V> {
    /// The key.
    pub key: K,
    /// The earliest answer that nothing can explain any more.
    pub culprit: Operation<K, V>,
    /// The end of one explanation of everything that was answered before.
    pub before: Vec<Operation<K, V>>,
    /// The value of the register after that.
    pub value: Option<V>,
    /// Writes that had been called when the culprit was answered, and had no
    /// answer yet: nor do they help, whether they happened or not.
    pub pending: Vec<Operation<K, V>>,
}

/// Judges a history whose registers all start absent.
pub fn check<K, V>(history: &History<K, V>) -> Verdict<K, V>
where
    K: Ord + Clone,
    V: Ord + Clone,
{
    let mut by_key: BTreeMap<&K, Vec<&Operation<K, V>>> = BTreeMap::new();
    for operation in history.operations() {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    for operations in by_key.values() {
        if !Search::new(operations).run() {
            return Verdict::Violation(Box::new(explain(operations)));
        }
    }
    Verdict::Linearizable
}

impl<K, V> Verdict<K, V> {
    /// Whether there is an order that explains every answer.
    #[must_use]
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable)
    }
}

impl<K: Debug, V: Debug> fmt::Display for Violation<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, culprit, before, value, pending } = self;
        writeln!(f, "the operations on {key:?} are not linearizable: nothing explains")?;
        writeln!(f, "    {culprit}")?;
        writeln!(f, "what was answered before can be explained, in an order that ends with")?;
        for operation in before {
            writeln!(f, "    {operation}")?;
        }
        writeln!(f, "after which the value is {value:?}; writes still under way then:")?;
        for operation in pending {
            writeln!(f, "    {operation}")?;
        }
        Ok(())
    }
}

/// How many operations of an explanation a violation shows.
const SHOWN_BEFORE: usize = 8;

/// Finds the earliest answer that nothing explains: a beginning of a linearizable
/// history is linearizable, so it can be found by halving.
fn explain<K: Ord + Clone, V: Ord + Clone>(operations: &[&Operation<K, V>]) -> Violation<K, V> {
    let mut returns: Vec<(u64, usize)> = Vec::new();
    for (at, operation) in operations.iter().enumerate() {
        if matches!(operation.outcome, Outcome::Done | Outcome::Read(_)) {
            returns.push((operation.returned_at.expect("an answered one has returned"), at));
        }
    }
    returns.sort_unstable();
    // The first `good` answers can be explained, the first `bad` cannot.
    let (mut good, mut bad) = (0, returns.len());
    while bad - good > 1 {
        let middle = good.midpoint(bad);
        let beginning = beginning(operations, &returns[..middle]);
        let linearizable = Search::new(&beginning.iter().collect::<Vec<_>>()).run();
        if linearizable { good = middle } else { bad = middle }
    }
    let beginning = beginning(operations, &returns[..good]);
    let beginning: Vec<_> = beginning.iter().collect();
    let mut search = Search::new(&beginning);
    assert!(search.run(), "the first {good} answers could be explained a moment ago");
    let culprit = operations[returns[bad - 1].1].clone();
    let order = search.order();
    let pending = |operation: &&&Operation<K, V>| {
        operation.outcome == Outcome::Unknown
            && operation.action != Action::Get
            && culprit.returned_at.is_some_and(|at| operation.called_at <= at)
            && !order.contains(operation)
    };
    Violation {
        key: culprit.key.clone(),
        pending: beginning.iter().filter(pending).map(|&one| one.clone()).collect(),
        value: search.value().cloned(),
        before: order.iter().rev().take(SHOWN_BEFORE).rev().map(|&one| one.clone()).collect(),
        culprit,
    }
}

/// What was known when the last of `returns` had arrived: later answers are unknown.
fn beginning<K: Clone, V: Ord + Clone>(
    operations: &[&Operation<K, V>],
    returns: &[(u64, usize)],
) -> Vec<Operation<K, V>> {
    let mut beginning: Vec<_> = operations.iter().map(|&one| one.clone()).collect();
    for one in &mut beginning {
        if one.outcome != Outcome::Refused {
            one.outcome = Outcome::Unknown;
        }
    }
    for &(_, at) in returns {
        beginning[at].outcome = operations[at].outcome.clone();
    }
    beginning
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
