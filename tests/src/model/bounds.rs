//! The small worlds, and how often each thing may happen in them.

use super::bug::Bug;
use super::rules::Rules;
use super::stimulus::Change;

/// What is bounded by a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    Stand,
    Lapse,
    Tick,
    Pass,
    Skew,
    Beat,
    Propose,
    Change,
    Transfer,
    Read,
    Trim,
    Crash,
    Damage,
    Duplicate,
    Late,
}

const BUDGETS: usize = 15;

/// How often each thing may still happen; fifteen times at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Budgets(u64);

impl Budgets {
    pub(crate) const fn left(self, what: Budget) -> u8 {
        (self.0 >> (4 * what as u64) & 0xf) as u8
    }

    pub(crate) fn spend(&mut self, what: Budget) {
        assert!(self.left(what) > 0, "{what:?} is spent");
        self.0 -= 1 << (4 * what as u64);
    }

    pub(crate) const fn from_words(low: u32, high: u32) -> Self {
        Self(low as u64 | (high as u64) << 32)
    }

    pub(crate) const fn words(self) -> [u32; 2] {
        [self.0 as u32, (self.0 >> 32) as u32]
    }

    fn with(mut self, what: Budget, times: u8) -> Self {
        assert!(times < 16 && (what as usize) < BUDGETS, "{what:?} {times} times");
        let place = 4 * what as u64;
        self.0 = self.0 & !(0xf << place) | u64::from(times) << place;
        self
    }
}

/// How a world begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// Nobody has ever run.
    Fresh,
    /// Node 1 leads term 1, and its first entry is committed and known to be everywhere.
    Led,
}

/// A small world.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    pub(crate) beginning: Beginning,
    pub(crate) voters: u8,
    /// Whether a fourth node waits to be added.
    pub(crate) spare: bool,
    /// Nobody stands by itself in this term or later.
    pub(crate) max_term: u64,
    pub(crate) budgets: Budgets,
    pub(crate) changes: &'static [Change],
    pub(crate) lease_drift: Option<u64>,
    /// Whether entries never reach anybody.
    pub(crate) appends_lost: bool,
    /// Whether what asks for pre-votes in a round that is over is lost. Who asks again asks anew.
    pub(crate) old_ballots_lost: bool,
    /// Whether an append carries one entry at most.
    pub(crate) one_by_one: bool,
}

impl World {
    /// Nodes that run.
    pub(crate) const fn nodes(&self) -> u8 {
        self.voters + self.spare as u8
    }

    pub(crate) fn rules(&self, bug: Option<Bug>) -> Rules {
        let ignored = bug == Some(Bug::LeasesIgnoreDrift);
        let lease_drift = if ignored { self.lease_drift.map(|_| 0) } else { self.lease_drift };
        Rules::new(bug, lease_drift, self.one_by_one)
    }

    pub(crate) const fn new(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            beginning: Beginning::Led,
            voters: 3,
            spare: false,
            max_term: 2,
            budgets: Budgets(0),
            changes: &[],
            lease_drift: None,
            appends_lost: false,
            old_ballots_lost: true,
            one_by_one: false,
        }
    }

    /// With this happening so often at most.
    pub(crate) fn with(mut self, what: Budget, times: u8) -> Self {
        self.budgets = self.budgets.with(what, times);
        self
    }
}
