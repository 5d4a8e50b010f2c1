//! `model`: looks at every state of small worlds of replicas, and says what it found.

use std::cell::Cell;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use tests::model::{Bug, Limits, Report, Size, Verdict, World, explore, worlds};

const USAGE: &str = "\
Looks at every state of small worlds of replicas, breadth first.

Usage: model [--world NAME] [--smoke | --deep] [--bug NAME]
             [--seconds S] [--states N] [--threads N]

  --world NAME   only this world
  --smoke        smaller bounds, for seconds
  --deep         larger bounds, for an hour each and more; begins anew each time
  --bug NAME     a rule is broken on purpose, in a small world; it must be found
  --seconds S    how long one world may take (default 300; smoke 60, deep 3600)
  --states N     how many different states of one world are kept (default 60,000,000)
  --threads N    worlds at once (default: one per core)
";

/// How often a long search says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(30);

struct Arguments {
    worlds: Vec<World>,
    bug: Option<Bug>,
    limits: Limits,
    threads: usize,
}

fn arguments() -> anyhow::Result<Option<Arguments>> {
    let (mut size, mut name, mut bug, mut seconds) = (Size::Usual, None, None, None);
    let mut states = 60_000_000;
    let mut threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--world" => name = Some(value()?),
            "--smoke" => size = Size::Smoke,
            "--deep" => size = Size::Deep,
            "--bug" => {
                let name = value()?;
                let found = Bug::ALL.into_iter().find(|bug| bug.name() == name);
                let names = || Bug::ALL.map(Bug::name).join(", ");
                bug = Some(found.with_context(|| format!("no bug {name}; there are {}", names()))?);
            }
            "--seconds" => seconds = Some(value()?.parse().context("--seconds")?),
            "--states" => states = value()?.parse().context("--states")?,
            "--threads" => threads = value()?.parse().context("--threads")?,
            "--help" | "-h" => return Ok(None),
            other => bail!("unknown option {other}\n\n{USAGE}"),
        }
    }
    let seconds = seconds.unwrap_or(match size {
        Size::Smoke => 60,
        Size::Usual => 300,
        Size::Deep => 3600,
    });
    let all = bug.map_or_else(|| worlds(size), |bug| vec![bug.world()]);
    let named = |world: &World| name.as_ref().is_none_or(|name| world.name == name);
    let worlds: Vec<World> = all.into_iter().filter(named).collect();
    if worlds.is_empty() {
        let names: Vec<&str> = tests::model::worlds(size).iter().map(|world| world.name).collect();
        bail!("no such world; there are {}", names.join(", "));
    }
    let limits = Limits { states, time: Duration::from_secs(seconds) };
    Ok(Some(Arguments { worlds, bug, limits, threads }))
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run() -> anyhow::Result<ExitCode> {
    let Some(Arguments { worlds, bug, limits, threads }) = arguments()? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    // A replica that panics is found and told like any other violation.
    std::panic::set_hook(Box::new(|_| {}));
    let (next, reports) = (Mutex::new(worlds.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                loop {
                    let world = next.lock().expect("no thread panics with it").next();
                    let Some(world) = world else { return };
                    let told = Cell::new(Instant::now());
                    let report = explore(world, bug, limits, &|depth, states| {
                        if told.get().elapsed() > TELL_EVERY {
                            told.set(Instant::now());
                            println!("  {}: depth {depth}, {states} states", world.name);
                        }
                    });
                    print_report(&world, &report);
                    reports.lock().expect("no thread panics with it").push(report);
                }
            });
        }
    });
    let reports = reports.into_inner().expect("no thread panics with it");
    let violated = |report: &&Report| matches!(report.verdict, Verdict::Violated { .. });
    let violated = reports.iter().filter(violated).count();
    let states: usize = reports.iter().map(|report| report.distinct).sum();
    println!(
        "{} worlds, {states} different states, {violated} worlds with a violation",
        reports.len()
    );
    Ok(if violated == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print_report(world: &World, report: &Report) {
    let Report { distinct, visited, depth, sizes, healed, took, .. } = report;
    let seconds = took.as_secs_f64();
    let (nodes, messages, steps) = sizes;
    let end = match &report.verdict {
        Verdict::Exhausted => "all seen",
        Verdict::Limited => "limit reached",
        Verdict::Violated { .. } => "VIOLATED",
    };
    let mut text = format!(
        "{:<12} {end:<14} {distinct:>10} states, {visited:>11} visited, depth {depth:>3}, {seconds:6.1} s, \
         {:>8.0} states/s; {nodes} nodes, {messages} messages, {steps} steps of replicas; \
         {healed} healed ({})",
        world.name,
        *visited as f64 / seconds.max(1e-9),
        world.about,
    );
    if let Verdict::Violated { what, trace } = &report.verdict {
        text += &format!("\n  {what}");
        for (step, line) in trace.iter().enumerate() {
            text += &format!("\n  {:>3}. {line}", step + 1);
        }
    }
    println!("{text}");
}
