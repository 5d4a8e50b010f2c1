//! The rules that hold of every state machine, whatever survives of it.

use std::io::{self, Read};

use super::{Fault, Fixture, apply, demand, flush, image, reference, time};
use crate::{Flush, StateMachine as _};
use raft_core::{GroupTime, Index};

pub(super) fn begins_empty<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let applied = fixture.open()?.applied();
    demand(applied == Index::ZERO, || format!("{applied} is applied in a new place"))
}

pub(super) fn answers_each_command<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=5)?;
    apply(fixture, &mut machine, 6..=6)?;
    // Entries that are no commands.
    let answers = machine.apply(&[], Index(9))?;
    let applied = machine.applied();
    demand(answers.is_empty() && applied == Index(9), || {
        format!("nothing is applied up to 9: {} answers, and {applied} is said", answers.len())
    })
}

pub(super) fn is_deterministic<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let (states, expected) = reference(fixture, 40)?;
    let mut machine = fixture.open()?;
    let mut answers = Vec::new();
    for batch in [1..=3, 4..=4, 5..=30, 31..=40] {
        answers.extend(apply(fixture, &mut machine, batch)?);
    }
    let differs = answers.iter().zip(&expected).position(|(one, other)| one != other);
    demand(differs.is_none(), || {
        let number = differs.unwrap_or(0);
        let (one, other) = (&expected[number], &answers[number]);
        format!("command {} is answered {one:?} alone and {other:?} in a batch", number + 1)
    })?;
    let state = fixture.state(&mut machine)?;
    demand(state == states[40], || {
        "40 commands alone and in batches end in two states".to_owned()
    })?;
    demand(states[40] != states[0], || {
        "40 commands change nothing: other commands are needed to check anything".to_owned()
    })
}

pub(super) fn takes_the_time<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let mut states = Vec::new();
    for _ in 0..2 {
        fixture.new_place();
        let mut machine = fixture.open()?;
        for index in (1..20).step_by(2) {
            apply(fixture, &mut machine, index..=index)?;
            // Now and then one that lies before the last.
            let told = if index == 9 { GroupTime(1) } else { time(index) };
            machine.advance(Index(index + 1), told)?;
            let applied = machine.applied();
            demand(applied == Index(index + 1), || {
                format!("a time stands at {}, and {applied} is said to be applied", index + 1)
            })?;
        }
        states.push((fixture.state(&mut machine)?, machine.timekeeping()));
    }
    demand(states[0] == states[1], || {
        format!("the same commands and times end in two states, {:?}", (states[0].1, states[1].1))
    })
}

pub(super) fn images_stay<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let (states, _) = reference(fixture, 20)?;
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=20)?;
    let mut early = machine.snapshot()?;
    apply(fixture, &mut machine, 21..=30)?;
    flush(&mut machine)?;
    apply(fixture, &mut machine, 31..=40)?;
    let mut bytes = Vec::new();
    early.read_to_end(&mut bytes)?;
    drop(machine);
    fixture.new_place();
    let mut other = fixture.open()?;
    other.restore(Index(20), &mut &bytes[..])?;
    let same = fixture.state(&mut other)? == states[20];
    demand(same, || "an image that is read later holds what came later".to_owned())
}

pub(super) fn images_restore<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let (states, answers) = reference(fixture, 30)?;
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=20)?;
    let whole = image(&mut machine)?;
    drop(machine);
    for before in [0, 3] {
        fixture.new_place();
        let mut machine = fixture.open()?;
        if before > 0 {
            // Numbers that nobody applies elsewhere.
            let commands: Vec<_> = (1..=before)
                .map(|number| crate::Command {
                    index: Index(number),
                    payload: fixture.command(1000 + number),
                })
                .collect();
            machine.apply(&commands, Index(before))?;
        }
        machine.restore(Index(20), &mut &whole[..])?;
        let applied = machine.applied();
        demand(applied == Index(20), || format!("an image at 20 is restored, {applied} is said"))?;
        let same = fixture.state(&mut machine)? == states[20];
        demand(same, || format!("the image is restored over {before} commands as another state"))?;
        let later = apply(fixture, &mut machine, 21..=30)?;
        demand(later == answers[20..], || "after it, commands are answered otherwise".to_owned())?;
        let same = fixture.state(&mut machine)? == states[30];
        demand(same, || "after it, the same commands end in another state".to_owned())?;
    }
    Ok(())
}

/// An image of which the end cannot be read.
struct CutOff<'i>(&'i [u8]);

impl Read for CutOff<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() && !into.is_empty() {
            return Err(io::Error::other("the rest of the image cannot be read"));
        }
        self.0.read(into)
    }
}

pub(super) fn bad_images_change_nothing<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=40)?;
    let whole = image(&mut machine)?;
    drop(machine);
    let (states, answers) = reference(fixture, 11)?;
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=10)?;
    for cut in [0, whole.len() / 3, whole.len().saturating_sub(1)] {
        let outcome = machine.restore(Index(40), &mut CutOff(&whole[..cut]));
        let of = whole.len();
        demand(outcome.is_err() || cut == of, || {
            format!("an image of which {cut} of {of} bytes can be read is restored")
        })?;
        let (applied, state) = (machine.applied(), fixture.state(&mut machine)?);
        demand(applied == Index(10) && state == states[10], || {
            format!("an image that ends in an error after {cut} bytes leaves traces, at {applied}")
        })?;
    }
    let next = apply(fixture, &mut machine, 11..=11)?;
    demand(next == answers[10..], || "after that commands are answered otherwise".to_owned())
}

pub(super) fn flushes_reach<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let (states, _) = reference(fixture, 40)?;
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=10)?;
    let reached = machine.flush()?;
    demand(reached == Index(10), || format!("a flush at 10 says that it reaches {reached}"))?;
    for last in [20_u64, 30, 40] {
        let begun_at = last - 10;
        let flush = machine.begin_flush()?;
        apply(fixture, &mut machine, begun_at + 1..=last)?;
        let reached = match flush {
            Flush::Done(index) => index,
            Flush::Job(job) => job()?,
        };
        demand(reached >= Index(begun_at) && reached <= Index(last), || {
            format!("a flush begun at {begun_at} and ended at {last} reaches {reached}")
        })?;
        let (applied, state) = (machine.applied(), fixture.state(&mut machine)?);
        demand(applied == Index(last) && state == states[last as usize], || {
            format!("a flush while commands up to {last} are applied changes the state, {applied}")
        })?;
    }
    Ok(())
}
