//! What is left out of a run.
//!
//! A run is decided by its seed. To find what of it a failure needs, parts are left out by
//! their numbers; what is left is drawn as before.

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::str::FromStr;

use super::clock::Drift;
use super::world::World;

/// What is left out of what a seed has drawn. Its text is what `--without` takes: parts with
/// blanks between them, such as `faults:0-4+6 clients:1 loss`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// Faults, in the order in which they are drawn.
    pub faults: Numbers,
    /// Changes of the members, in the order in which they are drawn.
    pub changes: Numbers,
    /// Faults that would strike soon after the change of this number.
    pub strikes: Numbers,
    /// Clients.
    pub clients: Numbers,
    /// What a whole run is like.
    pub conditions: BTreeSet<Condition>,
    /// Everything heals after so much time with faults, where that is earlier.
    pub after_ms: Option<u64>,
}

/// Something that a whole run may be subject to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Messages are lost or damaged at random.
    Loss,
    /// Messages arrive twice.
    Repeats,
    /// Messages take long.
    Delays,
    /// Only so many messages find room on their way.
    Queues,
    /// Messages overtake one another.
    Reordering,
    /// Clocks run faster or slower than time does.
    Drift,
    /// Starts are cut off by a crash.
    CrashedStarts,
    /// Some nodes have a later version, and say what others do not know.
    LaterVersions,
    /// Clients do nothing for longer than some of their sessions live.
    ClientPauses,
}

impl Condition {
    /// Every condition.
    pub const ALL: [Self; 9] = [
        Self::Loss,
        Self::Repeats,
        Self::Delays,
        Self::Queues,
        Self::Reordering,
        Self::Drift,
        Self::CrashedStarts,
        Self::LaterVersions,
        Self::ClientPauses,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Repeats => "repeats",
            Self::Delays => "delays",
            Self::Queues => "queues",
            Self::Reordering => "reordering",
            Self::Drift => "drift",
            Self::CrashedStarts => "crashed-starts",
            Self::LaterVersions => "later-versions",
            Self::ClientPauses => "client-pauses",
        }
    }
}

/// A set of numbers; its text is a list of ranges, such as `0-4+6`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(BTreeSet<u64>);

impl Numbers {
    /// More numbers than a text may hold are a slip of the pen.
    const MOST: u64 = 1_000_000;

    /// Whether a number is among them.
    #[must_use]
    pub fn has(&self, number: u64) -> bool {
        self.0.contains(&number)
    }

    /// Adds more of them.
    pub fn extend(&mut self, numbers: impl IntoIterator<Item = u64>) {
        self.0.extend(numbers);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are below a number.
    #[must_use]
    pub fn below(&self, end: u64) -> u64 {
        self.0.range(..end).count() as u64
    }
}

impl Without {
    /// Takes the conditions from a world that has been drawn.
    pub(super) fn leave_out(&self, world: &mut World) {
        for condition in &self.conditions {
            match condition {
                Condition::Loss => {
                    world.network.loss_per_mille = 0;
                    world.network.damage_per_mille = 0;
                }
                Condition::Repeats => {
                    world.network.repeat_per_mille = 0;
                    world.network.replayed_per_mille = 0;
                }
                Condition::Delays => world.network.slow_per_mille = 0,
                Condition::Queues => world.network.queue = None,
                Condition::Reordering => world.network.ordered = true,
                Condition::Drift => world.drift = Drift::NONE,
                Condition::CrashedStarts => world.faults.crash_starts = false,
                Condition::LaterVersions => world.network.later_versions = 0,
                Condition::ClientPauses => world.clients.may_pause = false,
            }
        }
    }
}

impl FromIterator<u64> for Numbers {
    fn from_iter<I: IntoIterator<Item = u64>>(numbers: I) -> Self {
        Self(numbers.into_iter().collect())
    }
}

impl Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut numbers = self.0.iter().copied().peekable();
        let mut joint = "";
        while let Some(first) = numbers.next() {
            let mut last = first;
            while let Some(next) = numbers.next_if(|next| *next == last + 1) {
                last = next;
            }
            write!(f, "{joint}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            joint = "+";
        }
        Ok(())
    }
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| text.parse::<u64>().map_err(|why| format!("{text:?}: {why}"));
        let mut numbers = BTreeSet::new();
        for range in text.split('+') {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last) = (number(first)?, number(last)?);
            if last < first || last - first > Self::MOST {
                return Err(format!("{range}: no range of numbers"));
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

impl Display for Without {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { faults, changes, strikes, clients, conditions, after_ms } = self;
        let mut parts = Vec::new();
        for (name, numbers) in
            [("faults", faults), ("changes", changes), ("strikes", strikes), ("clients", clients)]
        {
            if !numbers.is_empty() {
                parts.push(format!("{name}:{numbers}"));
            }
        }
        parts.extend(conditions.iter().map(|condition| condition.name().to_owned()));
        parts.extend(after_ms.map(|ms| format!("after-ms:{ms}")));
        f.write_str(&parts.join(" "))
    }
}

impl FromStr for Without {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut without = Self::default();
        for part in text.split_whitespace() {
            let (name, numbers) = part.split_once(':').unwrap_or((part, ""));
            let all = Condition::ALL.into_iter();
            match name {
                "faults" => without.faults = numbers.parse()?,
                "changes" => without.changes = numbers.parse()?,
                "strikes" => without.strikes = numbers.parse()?,
                "clients" => without.clients = numbers.parse()?,
                "after-ms" => {
                    let ms = numbers.parse().map_err(|why| format!("{part}: {why}"))?;
                    without.after_ms = Some(ms);
                }
                _ => match all.into_iter().find(|condition| condition.name() == part) {
                    Some(condition) => _ = without.conditions.insert(condition),
                    None => return Err(format!("{part}: nothing of this name can be left out")),
                },
            }
        }
        Ok(without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_can_be_written_down_and_read_again() {
        let without = Without {
            faults: [0, 1, 2, 5, 7, 8].into_iter().collect(),
            strikes: [3].into_iter().collect(),
            conditions: Condition::ALL.into_iter().collect(),
            after_ms: Some(120),
            ..Without::default()
        };
        let text = without.to_string();
        assert!(text.starts_with("faults:0-2+5+7-8 strikes:3 loss"), "{text}");
        assert_eq!(text.parse(), Ok(without));
        assert_eq!("".parse(), Ok(Without::default()));
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        for text in ["fault:1", "faults:", "faults:3-1", "faults:0-99999999999", "after-ms:soon"] {
            assert!(text.parse::<Without>().is_err(), "{text}");
        }
    }
}
