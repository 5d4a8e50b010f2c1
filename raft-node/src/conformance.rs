//! Rules that every [`StateMachine`] must keep, as checks: for whoever brings one of their own.
//!
//! A [`Fixture`] says how a machine is opened, how its process dies, and what commands it
//! takes; [`state_machine`] does the rest. This crate's own stores are held to it in their
//! tests (`src/kv/conformance_tests.rs`).

use std::fmt;
use std::io::{self, Read};

use bytes::Bytes;
use raft_core::{GroupTime, Index};
use thiserror::Error;

use crate::{Command, Flush, StateMachine};

mod checks;
mod durability;

/// What the checks need to know of a state machine.
pub trait Fixture {
    /// What is checked.
    type Machine: StateMachine;

    /// An empty place, in which no machine has been yet. From now on
    /// [`open`](Self::open) and [`crash`](Self::crash) mean this one.
    fn new_place(&mut self);

    /// A machine in the latest place, as a node that starts opens it. The one before, of this
    /// place, is gone by then.
    ///
    /// # Errors
    /// Where it cannot be opened; that breaks whatever rule is being checked.
    fn open(&mut self) -> io::Result<Self::Machine>;

    /// The process has died, and the power has failed: takes away what was not synced, as far
    /// as that can be brought about. Nothing is the same as a kill.
    fn crash(&mut self) {}

    /// A command for the machine. Those of other numbers should be different, and should
    /// overwrite, remove and answer one another's effects, where the machine has such; one that
    /// the machine refuses is one as well. Always the same for a number.
    fn command(&self, number: u64) -> Bytes;

    /// Everything that tells two states apart, in the same bytes for the same state. It may be
    /// an image, where equal states have equal images.
    ///
    /// # Errors
    /// Where the state cannot be read.
    fn state(&self, machine: &mut Self::Machine) -> io::Result<Vec<u8>>;

    /// Whether a machine finds again what an earlier one in the same place has flushed.
    fn survival(&self) -> Survival;
}

/// What of a machine is there after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survival {
    /// Nothing: it is given the newest snapshot and the log above it.
    Nothing,
    /// What was flushed, or restored from an image.
    Flushed,
}

/// What a [`StateMachine`] promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// In a place where no machine was, nothing is applied.
    BeginsEmpty,
    /// `apply` answers each command once, and `applied` is then what was asked for, whether
    /// commands reach up to it or not.
    AnswersEachCommand,
    /// The same commands give the same answers and the same state, in whatever batches they
    /// come.
    IsDeterministic,
    /// `advance` moves `applied` to the index of the time, also where that time lies before the
    /// one told last, and is as deterministic as commands.
    TakesTheTime,
    /// An image stays what it is while later commands are applied and flushed.
    ImagesStay,
    /// An image restores the state and the index it was made at, in the place of any other
    /// state, and what follows is answered as where it was made.
    ImagesRestore,
    /// An image that cannot be read leaves the old state, and its index.
    BadImagesChangeNothing,
    /// `flush` and `begin_flush` reach what was applied when they were called, and no further
    /// than what is; neither changes the state, also where commands go on meanwhile.
    FlushesReach,
    /// After a crash a machine is no older than its last flush, and is in the state that
    /// belongs to the index it names. What is applied again is answered as before.
    FlushedSurvives,
    /// A flush that was begun and dropped changes nothing of that.
    DroppedFlushesDoNoHarm,
    /// A restored image survives a crash without a flush.
    RestoredSurvives,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BeginsEmpty => "a new state machine has applied nothing",
            Self::AnswersEachCommand => "each command is answered, and applied is what was asked",
            Self::IsDeterministic => "the same commands give the same answers and the same state",
            Self::TakesTheTime => "the time moves applied, and the same one gives the same state",
            Self::ImagesStay => "an image stays what it is while commands go on",
            Self::ImagesRestore => "an image restores the state it was made of",
            Self::BadImagesChangeNothing => "an image that cannot be read changes nothing",
            Self::FlushesReach => "a flush reaches what was applied, and changes no state",
            Self::FlushedSurvives => "what was flushed survives a crash, with the index it names",
            Self::DroppedFlushesDoNoHarm => "a flush that is begun and dropped does no harm",
            Self::RestoredSurvives => "what was restored survives a crash",
        })
    }
}

/// A rule that is broken: replicas with this state machine would diverge, or lose what was
/// applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the state machine breaks the rule that {rule}: {how}")]
pub struct Broken {
    /// Which one.
    pub rule: Rule,
    /// What was done, what should have come of it, and what did.
    pub how: String,
}

/// Checks every [`Rule`], each in a place of its own; the last three only of machines of
/// which something survives.
///
/// # Errors
/// The first rule that is broken.
pub fn state_machine<F: Fixture>(fixture: &mut F) -> Result<(), Broken> {
    let checks: [(Rule, Check<F>); 8] = [
        (Rule::BeginsEmpty, checks::begins_empty),
        (Rule::AnswersEachCommand, checks::answers_each_command),
        (Rule::IsDeterministic, checks::is_deterministic),
        (Rule::TakesTheTime, checks::takes_the_time),
        (Rule::ImagesStay, checks::images_stay),
        (Rule::ImagesRestore, checks::images_restore),
        (Rule::BadImagesChangeNothing, checks::bad_images_change_nothing),
        (Rule::FlushesReach, checks::flushes_reach),
    ];
    let of_survivors: [(Rule, Check<F>); 3] = [
        (Rule::FlushedSurvives, durability::flushed_survives),
        (Rule::DroppedFlushesDoNoHarm, durability::dropped_flushes_do_no_harm),
        (Rule::RestoredSurvives, durability::restored_survives),
    ];
    let survives = fixture.survival() == Survival::Flushed;
    let of_survivors = of_survivors.into_iter().filter(|_| survives);
    for (rule, check) in checks.into_iter().chain(of_survivors) {
        fixture.new_place();
        check(fixture).map_err(|Fault(how)| Broken { rule, how })?;
    }
    Ok(())
}

type Check<F> = fn(&mut F) -> Result<(), Fault>;

/// What a check has found.
struct Fault(String);

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self(format!("an error where there should be none: {error}"))
    }
}

fn demand(holds: bool, how: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault(how())) }
}

/// Applies the commands of these numbers, which are their indexes too, in one batch.
fn apply<F: Fixture>(
    fixture: &F,
    machine: &mut F::Machine,
    numbers: std::ops::RangeInclusive<u64>,
) -> Result<Vec<Bytes>, Fault> {
    let up_to = Index(*numbers.end());
    let command = |number| Command { index: Index(number), payload: fixture.command(number) };
    let commands: Vec<Command> = numbers.map(command).collect();
    let answers = machine.apply(&commands, up_to)?;
    let (answered, applied) = (answers.len(), machine.applied());
    demand(answered == commands.len(), || {
        format!("{} commands are answered {answered} times", commands.len())
    })?;
    demand(applied == up_to, || format!("applied to {up_to}, and {applied} is said"))?;
    Ok(answers)
}

/// The state of a machine to which all commands up to `last` were applied, one by one, and
/// the answers; in a place of its own.
fn reference<F: Fixture>(fixture: &mut F, last: u64) -> Result<(Vec<Vec<u8>>, Vec<Bytes>), Fault> {
    fixture.new_place();
    let mut machine = fixture.open()?;
    let mut states = vec![fixture.state(&mut machine)?];
    let mut answers = Vec::new();
    for number in 1..=last {
        answers.extend(apply(fixture, &mut machine, number..=number)?);
        states.push(fixture.state(&mut machine)?);
    }
    drop(machine);
    fixture.new_place();
    Ok((states, answers))
}

fn image(machine: &mut impl StateMachine) -> Result<Vec<u8>, Fault> {
    let mut image = Vec::new();
    machine.snapshot()?.read_to_end(&mut image)?;
    Ok(image)
}

fn flush(machine: &mut impl StateMachine) -> Result<Index, Fault> {
    Ok(match machine.begin_flush()? {
        Flush::Done(index) => index,
        Flush::Job(job) => job()?,
    })
}

/// A time that rises with the index.
const fn time(index: u64) -> GroupTime {
    GroupTime(index * 1000)
}

#[cfg(test)]
#[path = "conformance/conformance_tests.rs"]
mod tests;
