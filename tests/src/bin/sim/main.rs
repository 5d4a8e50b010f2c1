//! `sim`: runs seeds of the simulated world and says what it found.

mod arguments;
mod shrinking;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use arguments::{Arguments, USAGE, command};
use indicatif::{ProgressBar, ProgressStyle};
use shrinking::{print, print_smaller};
use tests::sim::{Campaign, Disks, Failure, Heading, Options, Without, run_campaign, run_recorded};

/// How many seeds a campaign has where nobody says.
const SEEDS: u64 = 2000;
/// It ends after so many minutes, done or not.
const MINUTES: u64 = 55;
/// A campaign ends after so many failures.
const FAILURES: usize = 3;

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let Some(arguments) = Arguments::read(std::env::args().skip(1))? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    match (arguments.seed, arguments.seeds) {
        (Some(seed), None) => match &arguments.html {
            Some(file) => picture(seed, file, &arguments.options),
            None => Ok(one_run(seed, &arguments)),
        },
        _ if arguments.html.is_some() => bail!("a picture is of one run: --seed X --html FILE"),
        _ => campaign(&arguments),
    }
}

/// Runs one seed and tells what happens.
fn one_run(seed: u64, arguments: &Arguments) -> ExitCode {
    let Arguments { options, filter, .. } = arguments;
    let (outcome, recording) = run_recorded(seed, options);
    for line in recording.trace(filter) {
        println!("{line}");
    }
    match outcome {
        Ok(report) => {
            println!("seed {seed}: everything has held; hash {:016x}", report.trace_hash);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("\nseed {seed} FAILED: {}", failure.what);
            print_smaller(&failure, arguments);
            ExitCode::FAILURE
        }
    }
}

/// Runs one seed and draws it.
fn picture(seed: u64, file: &Path, options: &Options) -> anyhow::Result<ExitCode> {
    let (outcome, recording) = run_recorded(seed, options);
    let command = command(seed, options);
    let failure = outcome.as_ref().err();
    let page = recording.page(&Heading { seed, command: &command, failure });
    fs::write(file, &page).with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}: {} kB", file.display(), page.len() / 1000);
    let Some(Failure { what, .. }) = failure else {
        println!("seed {seed}: everything has held");
        return Ok(ExitCode::SUCCESS);
    };
    println!("seed {seed} FAILED: {what}");
    Ok(ExitCode::FAILURE)
}

fn campaign(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let Arguments { seed, seeds, threads, minutes, options, .. } = arguments;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let first = seed.unwrap_or(clock.as_secs() * 1_000_000);
    let seeds = seeds.unwrap_or(SEEDS);
    println!("{seeds} seeds from {first} on, {} nodes, {threads} threads", options.nodes);
    let begun = Instant::now();
    let until = begun + Duration::from_secs(minutes.unwrap_or(MINUTES) * 60);
    let style = "{bar:30} {pos} of {len} seeds, {per_sec}, {eta} left{msg}";
    let bar = ProgressBar::new(seeds).with_style(ProgressStyle::with_template(style)?);
    let printed = AtomicUsize::new(0);
    let campaign = run_campaign(first, seeds, *threads, FAILURES, options, &|campaign| {
        bar.set_position(campaign.seeds);
        for failure in campaign.failures.iter().skip(printed.load(Ordering::Relaxed)) {
            print(failure, options, &bar);
            bar.set_message(format!(", {} FAILED", campaign.failures.len()));
        }
        printed.store(campaign.failures.len(), Ordering::Relaxed);
        // Where nobody sees the bar.
        if bar.is_hidden() && campaign.seeds % (seeds / 10).max(1) == 0 {
            println!("  {} seeds, {:.1} s", campaign.seeds, begun.elapsed().as_secs_f64());
        }
        if Instant::now() < until { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    bar.finish_and_clear();
    if campaign.seeds < seeds {
        let (next, left) = (first.wrapping_add(campaign.seeds), seeds - campaign.seeds);
        println!("{left} seeds are left: go on with --seed {next} --seeds {left}");
    }
    for failure in &campaign.failures {
        print_smaller(failure, arguments);
    }
    print_total(&campaign, begun.elapsed());
    let usual =
        options.nodes == 3 && options.broken.is_none() && options.without == Without::default();
    let mut never = if usual { campaign.never_struck() } else { Vec::new() };
    never.retain(|kind| options.disks == Disks::Lose || !kind.is_loss());
    if !never.is_empty() {
        println!("a fault of the simulator: {never:?} never struck");
    }
    let done = campaign.seeds >= seeds || minutes.is_some();
    Ok(if campaign.failures.is_empty() && never.is_empty() && done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print_total(campaign: &Campaign, elapsed: Duration) {
    let total = &campaign.total;
    println!(
        "{} seeds in {:.1} s, {} failed: {} steps, {:.0} simulated seconds, {} writes acknowledged, \
         {} outcomes unknown, {} reads by leases, {} stale reads, {} elections, {} snapshots installed, \
         {} segments begun, {} of them prepared, {} under a name that was ready, {} flushes, {} more overtaken by snapshots, \
         commands waited for {}, {} stores came back with what was flushed",
        campaign.seeds,
        elapsed.as_secs_f64(),
        campaign.failures.len(),
        total.steps,
        total.simulated_ms as f64 / 1e3,
        total.acknowledged,
        total.unknown,
        total.lease_reads,
        total.stale_reads,
        total.elections,
        total.installed,
        total.segments.begun,
        total.segments.prepared,
        total.segments.named,
        total.flushes.0,
        total.flushes.1,
        total.held,
        total.kept,
    );
    println!("faults: {:?}", total.faults);
    println!("clients: {:?}", total.clients);
    println!("members: {:?}", total.members);
    println!("hash of all traces: {:016x}", total.trace_hash);
}
