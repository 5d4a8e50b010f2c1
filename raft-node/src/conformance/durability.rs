//! The rules that hold where something survives.

use super::{Fault, Fixture, apply, demand, image, reference};
use crate::{Flush, StateMachine as _};
use raft_core::Index;

/// Opens what a crash has left; answers what is applied. It is in the state of that index.
fn reopened<F: Fixture>(
    fixture: &mut F,
    states: &[Vec<u8>],
    flushed: u64,
    last: u64,
) -> Result<(F::Machine, u64), Fault> {
    fixture.crash();
    let mut machine = fixture.open()?;
    let applied = machine.applied().0;
    demand(applied >= flushed && applied <= last, || {
        format!("flushed to {flushed}, applied to {last}; after a crash {applied} is applied")
    })?;
    let same = fixture.state(&mut machine)? == states[applied as usize];
    demand(same, || format!("after a crash the state is not the one that belongs to {applied}"))?;
    Ok((machine, applied))
}

pub(super) fn flushed_survives<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let (states, answers) = reference(fixture, 60)?;
    let mut machine = fixture.open()?;
    let mut applied = 0;
    for (flushed, last) in [(5, 5), (17, 23), (30, 60)] {
        apply(fixture, &mut machine, applied + 1..=flushed)?;
        machine.flush()?;
        if last > flushed {
            apply(fixture, &mut machine, flushed + 1..=last)?;
        }
        drop(machine);
        (machine, applied) = reopened(fixture, &states, flushed, last)?;
        if applied < last {
            let again = apply(fixture, &mut machine, applied + 1..=last)?;
            let before = &answers[applied as usize..last as usize];
            demand(again == before, || {
                format!("applied again, {} to {last} are answered otherwise", applied + 1)
            })?;
            applied = last;
        }
        let same = fixture.state(&mut machine)? == states[applied as usize];
        demand(same, || format!("applied again up to {applied}, the state is another one"))?;
    }
    Ok(())
}

pub(super) fn dropped_flushes_do_no_harm<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let (states, _) = reference(fixture, 30)?;
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=10)?;
    machine.flush()?;
    apply(fixture, &mut machine, 11..=20)?;
    let flushed = match machine.begin_flush()? {
        Flush::Done(index) => index.0,
        // As when the node stops before it has begun.
        Flush::Job(job) => {
            drop(job);
            10
        }
    };
    apply(fixture, &mut machine, 21..=30)?;
    drop(machine);
    let (mut machine, applied) = reopened(fixture, &states, flushed, 30)?;
    if applied < 30 {
        apply(fixture, &mut machine, applied + 1..=30)?;
    }
    let reached = machine.flush()?;
    demand(reached == Index(30), || format!("later, a flush at 30 reaches {reached}"))?;
    drop(machine);
    reopened(fixture, &states, 30, 30).map(drop)
}

pub(super) fn restored_survives<F: Fixture>(fixture: &mut F) -> Result<(), Fault> {
    let (states, _) = reference(fixture, 40)?;
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=20)?;
    let image = image(&mut machine)?;
    drop(machine);
    fixture.new_place();
    let mut machine = fixture.open()?;
    apply(fixture, &mut machine, 1..=3)?;
    machine.flush()?;
    machine.restore(Index(20), &mut &image[..])?;
    drop(machine);
    let (mut machine, applied) = reopened(fixture, &states, 20, 20)?;
    apply(fixture, &mut machine, applied + 1..=40)?;
    let same = fixture.state(&mut machine)? == states[40];
    demand(same, || "after a restored image the same commands end in another state".to_owned())
}
