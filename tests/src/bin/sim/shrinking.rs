//! Telling of a failure, and of a smaller run that fails in the same way.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use tests::sim::{Extent, Failure, Options, Shrunk, shrink};

use crate::arguments::{Arguments, command};

/// Prints a failure as it comes.
pub(crate) fn print(failure: &Failure, options: &Options, bar: &ProgressBar) {
    bar.suspend(|| {
        println!("\nseed {} FAILED: {}", failure.seed, failure.what);
        println!("the last things that happened:");
        for line in &failure.trace {
            println!("  {line}");
        }
        println!("run it again with: {}", command(failure.seed, options));
    });
}

/// Looks for a smaller run, and prints what is left of it.
pub(crate) fn print_smaller(failure: &Failure, arguments: &Arguments) {
    let Arguments { options, threads, shrink: limit, .. } = arguments;
    if limit.is_zero() {
        return;
    }
    let begun = Instant::now();
    let Shrunk { options, failure: small, tried, complete } =
        silently(|| shrink(failure, options, *limit, *threads));
    let ended = if complete { "nothing more can go" } else { "the time is over" };
    println!(
        "\nseed {}, smaller: {} (before: {})\n{tried} runs tried in {:.1} s, {ended}: {}",
        failure.seed,
        told(&small.extent, &options),
        told(&failure.extent, &arguments.options),
        begun.elapsed().as_secs_f64(),
        small.what
    );
    for line in &small.trace {
        println!("  {line}");
    }
    let command = command(small.seed, &options);
    println!("run it with: {command}\nlook at it with: {command} --html FILE");
}

/// How much there is in a run, in words.
fn told(extent: &Extent, options: &Options) -> String {
    let Extent { steps, length, faults, changes, .. } = *extent;
    let without = &options.without;
    let (faults, changes) =
        (faults - without.faults.below(faults), changes - without.changes.below(changes));
    let ms = Duration::as_millis(&length);
    format!("{steps} steps, {ms} ms, {faults} faults, {changes} changes of the members drawn")
}

/// Assertions that fail again and again would hide everything else.
fn silently<T>(what: impl FnOnce() -> T) -> T {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = what();
    std::panic::set_hook(loud);
    outcome
}
