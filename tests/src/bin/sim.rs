//! `sim`: runs seeds of the simulated world and says what it found.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, bail};
use tests::sim::{Broken, Options, run_campaign};

const USAGE: &str = "\
Runs three production engines on simulated disks and networks, seed by seed.

Usage: sim [--seeds N] [--seed X] [--nodes N] [--seconds S] [--threads N]
           [--sync-does-nothing | --clocks-run-wild]

  --seeds N            how many seeds to run (default 2000)
  --seed X             the first seed (default: from the clock; printed)
  --nodes N            nodes in the cluster (default 3)
  --seconds S          simulated seconds with faults per seed (default 8)
  --threads N          threads (default: one per core)
  --sync-does-nothing  syncs report success and do nothing: the run must fail
  --clocks-run-wild    clocks drift further than leases allow for: the run must fail
";

struct Arguments {
    seeds: u64,
    first: u64,
    threads: usize,
    options: Options,
}

fn arguments() -> anyhow::Result<Option<Arguments>> {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let first = clock.as_secs() * 1_000_000;
    let mut arguments = Arguments { seeds: 2000, first, threads, options: Options::default() };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || -> anyhow::Result<u64> {
            let value = words.next().with_context(|| format!("{word} needs a number"))?;
            value.parse().with_context(|| format!("{word} {value}: not a number"))
        };
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--seed" => arguments.first = number()?,
            "--nodes" => arguments.options.nodes = number()?.clamp(1, 9),
            "--seconds" => arguments.options.seconds = number()?,
            "--threads" => arguments.threads = usize::try_from(number()?)?,
            "--sync-does-nothing" => arguments.options.broken = Some(Broken::Syncs),
            "--clocks-run-wild" => arguments.options.broken = Some(Broken::Clocks),
            "--help" | "-h" => return Ok(None),
            other => bail!("unknown option {other}\n\n{USAGE}"),
        }
    }
    Ok(Some(arguments))
}

fn main() -> anyhow::Result<ExitCode> {
    let Some(Arguments { seeds, first, threads, options }) = arguments()? else {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    };
    println!("{seeds} seeds from {first} on, {} nodes, {threads} threads", options.nodes);
    let begun = Instant::now();
    let step = (seeds / 10).max(1);
    let campaign = run_campaign(first, seeds, threads, 3, &options, &|done| {
        if done % step == 0 {
            println!("  {done} seeds, {:.1} s", begun.elapsed().as_secs_f64());
        }
    });
    for failure in &campaign.failures {
        println!("\nseed {} FAILED: {}", failure.seed, failure.what);
        println!("the last things that happened:");
        for line in &failure.trace {
            println!("  {line}");
        }
        let Options { nodes, seconds, broken } = options;
        let lying = match broken {
            None => "",
            Some(Broken::Syncs) => " --sync-does-nothing",
            Some(Broken::Clocks) => " --clocks-run-wild",
        };
        println!(
            "run it again with: cargo xtask sim --seeds 1 --seed {} --nodes {nodes} --seconds \
             {seconds}{lying}",
            failure.seed
        );
    }
    let total = &campaign.total;
    println!(
        "{} seeds in {:.1} s, {} failed: {} steps, {:.0} simulated seconds, {} writes acknowledged, \
         {} outcomes unknown, {} reads by leases, {} elections, {} snapshots installed, \
         {} segments begun, {} of them prepared, {} flushes, {} more overtaken by snapshots, \
         commands waited for {}, {} stores came back with what was flushed",
        campaign.seeds,
        begun.elapsed().as_secs_f64(),
        campaign.failures.len(),
        total.steps,
        total.simulated_ms as f64 / 1e3,
        total.acknowledged,
        total.unknown,
        total.lease_reads,
        total.elections,
        total.installed,
        total.segments.0,
        total.segments.1,
        total.flushes.0,
        total.flushes.1,
        total.held,
        total.kept,
    );
    println!("faults: {:?}", total.faults);
    println!("sessions: {:?}", total.sessions);
    println!("members: {:?}", total.members);
    println!("hash of all traces: {:016x}", total.trace_hash);
    Ok(if campaign.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
