//! Smaller runs that fail in the same way.
//!
//! A failure of a long run hides in what has nothing to do with it. So parts of the run are
//! left out, half of them at first and fewer and fewer then (Zeller's delta debugging), as
//! long as the same check fails. What is left is drawn from its own random numbers and stays
//! as it was; but messages take other times in every run, so that a part that does not matter
//! may still seem to. Each part is tried again whenever anything else went.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::invariant::Check;
use super::report::{Extent, Failure, Options};
use super::running::run;
use super::without::{Condition, Numbers, Without};
use super::world::CLIENTS;

/// What came of making a run smaller.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What the smallest run is like that still fails.
    pub options: Options,
    /// Its failure.
    pub failure: Failure,
    /// Runs that were tried.
    pub tried: u64,
    /// Whether there was time to try everything.
    pub complete: bool,
}

/// Looks for a smaller run of the same seed in which the same check fails.
#[must_use]
pub fn shrink(failure: &Failure, options: &Options, limit: Duration, threads: usize) -> Shrunk {
    let mut search = Search {
        check: Check::of(&failure.what),
        deadline: Instant::now() + limit,
        threads: threads.max(1),
        tried: 0,
        cost: cost(&options.without, &failure.extent),
        best: (options.clone(), failure.clone()),
    };
    let mut complete = true;
    loop {
        let before = search.cost;
        search.round();
        if Instant::now() >= search.deadline {
            complete = false;
            break;
        }
        if search.cost == before {
            break;
        }
    }
    let (options, failure) = search.best;
    Shrunk { options, failure, tried: search.tried, complete }
}

struct Search {
    check: Option<Check>,
    deadline: Instant,
    threads: usize,
    tried: u64,
    cost: u64,
    best: (Options, Failure),
}

/// What is taken from by numbers.
#[derive(Clone, Copy)]
enum Part {
    Faults,
    Changes,
    Strikes,
    Clients,
}

impl Search {
    /// Tries everything once.
    fn round(&mut self) {
        let without = self.without().clone();
        let mut wide = Vec::new();
        for (faults, changes) in [(true, true), (false, true), (true, false)] {
            let mut less = without.clone();
            let Extent { faults: end, changes: last, .. } = self.best.1.extent;
            if faults {
                less.faults = (0..end).collect();
            }
            if changes {
                less.changes = (0..last).collect();
                less.strikes = less.changes.clone();
            }
            wide.push(less);
        }
        wide.push(Without { conditions: Condition::ALL.into(), ..without });
        self.try_each(&wide);
        self.end_earlier();
        for condition in Condition::ALL {
            let mut less = self.without().clone();
            if less.conditions.insert(condition) {
                self.try_each(&[less]);
            }
        }
        for part in [Part::Changes, Part::Strikes, Part::Faults, Part::Clients] {
            self.take_from(part);
        }
    }

    /// Heals earlier, where the failure came after the healing: what follows takes time only.
    fn end_earlier(&mut self) {
        if !self.best.1.extent.healed {
            return;
        }
        let longest_ms = self.best.0.seconds * 1000;
        let now_ms = self.without().after_ms.unwrap_or(longest_ms);
        let earlier = [0, now_ms / 4, now_ms / 2, now_ms * 3 / 4, now_ms * 7 / 8].into_iter();
        let without = self.without().clone();
        let less = earlier.map(|ms| Without { after_ms: Some(ms), ..without.clone() });
        let less: Vec<_> = less.collect();
        self.try_each(&less);
    }

    /// Takes more and more of the numbers of one kind: half of them at once, then a quarter,
    /// down to each alone.
    fn take_from(&mut self, part: Part) {
        let mut kept = part.kept(self.without(), &self.best.1.extent);
        let mut size = kept.len().div_ceil(2);
        while size > 0 && Instant::now() < self.deadline {
            let pieces = kept.chunks(size).map(|piece| part.take(self.without(), piece));
            let pieces: Vec<_> = pieces.collect();
            let found = self.try_each(&pieces);
            kept = part.kept(self.without(), &self.best.1.extent);
            size = match found {
                // Another piece of this size may go as well.
                true => size.min(kept.len()),
                false if size == 1 => 0,
                false => size.div_ceil(2),
            };
        }
    }

    /// Runs the candidates until one is better than the best, and says whether one was.
    fn try_each(&mut self, candidates: &[Without]) -> bool {
        for some in candidates.chunks(self.threads) {
            if Instant::now() >= self.deadline {
                return false;
            }
            self.tried += some.len() as u64;
            let better = self.run_all(some);
            if let Some((cost, options, failure)) = better.into_iter().min_by_key(|(c, ..)| *c)
                && cost < self.cost
            {
                self.cost = cost;
                self.best = (options, failure);
                return true;
            }
        }
        false
    }

    /// Runs candidates at the same time; those that fail as they should come back.
    fn run_all(&self, candidates: &[Without]) -> Vec<(u64, Options, Failure)> {
        let found = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for without in candidates {
                scope.spawn(|| {
                    let options = Options { without: without.clone(), ..self.best.0.clone() };
                    if let Err(failure) = run(self.best.1.seed, &options)
                        && Check::of(&failure.what) == self.check
                    {
                        let cost = cost(without, &failure.extent);
                        let mut found = found.lock().expect("no thread panics with it");
                        found.push((cost, options, failure));
                    }
                });
            }
        });
        found.into_inner().expect("no thread panics with it")
    }

    const fn without(&self) -> &Without {
        &self.best.0.without
    }
}

impl Part {
    const fn of(self, without: &mut Without) -> &mut Numbers {
        match self {
            Self::Faults => &mut without.faults,
            Self::Changes => &mut without.changes,
            Self::Strikes => &mut without.strikes,
            Self::Clients => &mut without.clients,
        }
    }

    /// The numbers that are not left out yet, the last ones first: what came last is the least
    /// likely to have led to anything.
    fn kept(self, without: &Without, extent: &Extent) -> Vec<u64> {
        let (numbers, end) = match self {
            Self::Faults => (&without.faults, extent.faults),
            Self::Changes => (&without.changes, extent.changes),
            Self::Strikes => (&without.strikes, extent.changes),
            Self::Clients => (&without.clients, CLIENTS as u64),
        };
        (0..end).rev().filter(|number| !numbers.has(*number)).collect()
    }

    fn take(self, without: &Without, numbers: &[u64]) -> Without {
        let mut less = without.clone();
        self.of(&mut less).extend(numbers.iter().copied());
        less
    }
}

/// How much there is to understand in a run.
fn cost(without: &Without, extent: &Extent) -> u64 {
    let Without { faults, changes, strikes, clients, conditions, .. } = without;
    let kept = (extent.faults - faults.below(extent.faults))
        + (extent.changes - changes.below(extent.changes))
        + (extent.changes - strikes.below(extent.changes))
        + (CLIENTS as u64 - clients.below(CLIENTS as u64))
        + (Condition::ALL.len() - conditions.len()) as u64;
    kept * 200 + extent.steps
}

#[cfg(test)]
mod tests {
    use super::super::Broken;
    use super::*;

    /// The run has many faults; a lease is overtaken where a leader is cut off and its
    /// clock is slow.
    #[test]
    fn what_a_failure_does_not_need_is_left_out_of_it() {
        let options = Options { broken: Some(Broken::Clocks), ..Options::default() };
        let lease = |failure: &Failure| {
            let late = failure.extent.faults >= 10;
            late && Check::of(&failure.what) == Some(Check::LeaseHolds)
        };
        let failure = (1..).find_map(|seed| run(seed, &options).err().filter(lease)).unwrap();
        // It ends much earlier, unless the machine is very busy.
        let shrunk = shrink(&failure, &options, Duration::from_secs(600), 2);
        let again = run(failure.seed, &shrunk.options).unwrap_err();
        assert_eq!(again.what, shrunk.failure.what);
        assert_eq!(Check::of(&again.what), Check::of(&failure.what));
        assert!(again.extent.steps < failure.extent.steps, "{shrunk:#?}");
        let kept = |extent: &Extent, without: &Without| {
            extent.faults - without.faults.below(extent.faults)
        };
        assert!(kept(&again.extent, &shrunk.options.without) <= 4, "{shrunk:#?}");
    }
}
