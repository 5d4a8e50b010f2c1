//! Running the world of one seed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::invariant::Check;
use super::recording::{Moment, Recording};
use super::report::{Failure, Options, Report};
use super::world::World;

/// Runs the world of one seed.
///
/// # Errors
/// A [`Failure`] where any check did not hold.
pub fn run(seed: u64, options: &Options) -> Result<Report, Failure> {
    live(seed, options, None).0
}

/// Runs the world of one seed and writes down all of it, which changes nothing.
pub fn run_recorded(seed: u64, options: &Options) -> (Result<Report, Failure>, Recording) {
    let (outcome, recording) = live(seed, options, Some(Box::default()));
    (outcome, *recording.unwrap_or_default())
}

type Outcome = (Result<Report, Failure>, Option<Box<Recording>>);

fn live(seed: u64, options: &Options, recording: Option<Box<Recording>>) -> Outcome {
    let mut world = World::new(seed, options);
    world.recording = recording;
    // A broken invariant panics; here it is a failure of its seed like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.live())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or_default();
        Err(Check::Assertion.fails(text))
    });
    world.record(|_| Moment::End(outcome.as_ref().err().cloned()));
    let trace = std::mem::take(&mut world.trace).into();
    let extent = world.extent();
    let outcome = outcome.map(|()| world.report());
    (outcome.map_err(|what| Failure { seed, what, trace, extent }), world.recording)
}
