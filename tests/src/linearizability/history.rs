//! What clients did and saw.

use std::fmt::{self, Debug};

/// What a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<V> {
    /// Give the key this value.
    Put(V),
    /// Remove the key; removing an absent key is no error.
    Delete,
    /// Give the key this value if it has the expected one, or, where that is `None`, none.
    CompareAndSwap {
        /// What the key is to have.
        expected: Option<V>,
        /// What it is to have then.
        value: V,
    },
    /// Read the key, linearizably.
    Get,
}

impl<V: Clone> Action<V> {
    /// What the key has where this was done; `None` for a read.
    pub fn written(&self) -> Option<Option<V>> {
        match self {
            Self::Put(value) | Self::CompareAndSwap { value, .. } => Some(Some(value.clone())),
            Self::Delete => Some(None),
            Self::Get => None,
        }
    }
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<V> {
    /// A write took effect.
    Done,
    /// A read answered with this value, or with "absent". Of a compare-and-swap: it changed
    /// nothing, for this is what was there.
    Read(Option<V>),
    /// Nothing happened, and nothing will.
    Refused,
    /// It may have happened, may yet happen, or may never happen. This is also the
    /// outcome of an operation whose client died or still waits.
    Unknown,
}

impl<V: Clone> Outcome<V> {
    /// What the key had then, as far as this tells; `written` is what it has where the action
    /// was done.
    pub fn seen(&self, written: Option<Option<V>>) -> Option<Option<V>> {
        match self {
            Self::Done => written,
            Self::Read(value) => Some(value.clone()),
            Self::Refused | Self::Unknown => None,
        }
    }
}

/// One operation of one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation<K, V> {
    /// Who asked; for people who read a violation.
    pub client: u64,
    /// The register.
    pub key: K,
    /// What was asked.
    pub action: Action<V>,
    /// What was answered.
    pub outcome: Outcome<V>,
    /// When it was asked. Any unit, one clock for the whole history.
    pub called_at: u64,
    /// When the answer arrived. Operations that touch in one instant count as
    /// concurrent. Ignored where the outcome is refused or unknown.
    pub returned_at: Option<u64>,
}

impl<K: Debug, V: Debug> fmt::Display for Operation<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, key, action, outcome, called_at, returned_at } = self;
        write!(f, "[{called_at} .. ")?;
        match returned_at {
            Some(at) => write!(f, "{at}]")?,
            None => write!(f, "never]")?,
        }
        write!(f, " client {client}: {action:?} of {key:?} -> {outcome:?}")
    }
}

/// All operations of a run, in any order.
#[derive(Clone, Debug, Default)]
pub struct History<K, V> {
    operations: Vec<Operation<K, V>>,
}

impl<K, V> History<K, V> {
    /// A history in which nothing happened: every register is absent.
    #[must_use]
    pub const fn new() -> Self {
        Self { operations: Vec::new() }
    }

    /// Adds one operation.
    ///
    /// # Panics
    /// If the record contradicts itself: an answered operation without a time of
    /// return or with one before its call, a read that is `Done`, a put or delete that
    /// is `Read`. A recorder that writes such a thing is broken.
    pub fn push(&mut self, operation: Operation<K, V>) {
        let reads = matches!(operation.action, Action::Get | Action::CompareAndSwap { .. });
        match operation.outcome {
            Outcome::Done => {
                let write = !matches!(operation.action, Action::Get);
                assert!(write, "a read cannot be just done");
            }
            Outcome::Read(_) => assert!(reads, "a put or delete cannot answer with a value"),
            Outcome::Refused | Outcome::Unknown => {
                self.operations.push(operation);
                return;
            }
        }
        let called_at = operation.called_at;
        let returned_at = operation.returned_at.expect("an answered operation has returned");
        assert!(called_at <= returned_at, "called at {called_at}, returned at {returned_at}");
        self.operations.push(operation);
    }

    /// The operations in the order they were pushed.
    #[must_use]
    pub fn operations(&self) -> &[Operation<K, V>] {
        &self.operations
    }

    /// How many operations were pushed.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }
}

impl<K, V> Extend<Operation<K, V>> for History<K, V> {
    fn extend<I: IntoIterator<Item = Operation<K, V>>>(&mut self, operations: I) {
        for operation in operations {
            self.push(operation);
        }
    }
}
