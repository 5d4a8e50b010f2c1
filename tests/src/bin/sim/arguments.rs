//! What the command is asked for.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use tests::sim::{Broken, Disks, Filter, Options, Topic};

pub(crate) const USAGE: &str = "\
Runs production engines on simulated disks and networks, seed by seed.

Usage: sim [--seeds N] [--threads N] [OPTIONS]    many seeds, from the clock on
       sim --seed X [OPTIONS] [FILTER]            one run, told line by line
       sim --seed X --seeds N [OPTIONS]           many seeds, from X on

  --seeds N            how many seeds to run (default 2000)
  --seed X             the first seed, or the only one
  --minutes M          begins no seed after so many minutes, and says where to go on (where
                       nobody says, after 55, and it counts as a failure)
  --threads N          threads (default: one per core)
  --html FILE          writes a page with a picture of the one run; open it in a browser
  --shrink-seconds S   how long to look for a smaller run that fails in the same way
                       (default 10; 0 to leave it)

Options, which belong to a run as its seed does:
  --nodes N            nodes in the cluster (default 3)
  --seconds S          simulated seconds with faults per seed (default 8)
  --sync-does-nothing  syncs report success and do nothing: the run must fail
  --clocks-run-wild    clocks drift further than leases allow for: the run must fail
  --disks-keep         disks lose nothing that they had confirmed
  --without LIST       leaves parts of the run out: 'faults:0-4+6 changes:3 strikes:1
                       clients:0 loss repeats delays queues reordering drift
                       crashed-starts later-versions client-pauses
                       after-ms:1500'; numbers are those that the trace shows

Filters of the trace of one run:
  --show TOPICS        some of faults,roles,log,clients,messages,disk,notes, or all
                       (default: all but messages and disk)
  --node N, --group G  only what concerns this node, or this group
  --grep TEXT          only lines with this text
  --from MS, --to MS   only this part of the run
";

pub(crate) struct Arguments {
    pub(crate) seeds: Option<u64>,
    pub(crate) seed: Option<u64>,
    pub(crate) threads: usize,
    pub(crate) minutes: Option<u64>,
    pub(crate) shrink: Duration,
    pub(crate) html: Option<PathBuf>,
    pub(crate) options: Options,
    pub(crate) filter: Filter,
}

impl Arguments {
    /// Reads them; `None` where help is wanted.
    pub(crate) fn read(words: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (options, filter) = (Options::default(), Filter::default());
        let shrink = Duration::from_secs(10);
        let (seeds, seed, html, minutes) = (None, None, None, None);
        let mut arguments = Self { seeds, seed, threads, minutes, shrink, html, options, filter };
        let mut words = words;
        while let Some(word) = words.next() {
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--seeds" => arguments.seeds = Some(number(&value()?)?),
                "--seed" => arguments.seed = Some(number(&value()?)?),
                "--minutes" => arguments.minutes = Some(number(&value()?)?),
                "--threads" => arguments.threads = usize::try_from(number(&value()?)?)?,
                "--html" => arguments.html = Some(value()?.into()),
                "--shrink-seconds" => arguments.shrink = Duration::from_secs(number(&value()?)?),
                "--help" | "-h" => return Ok(None),
                "--nodes" => arguments.options.nodes = number(&value()?)?.clamp(1, 9),
                "--seconds" => arguments.options.seconds = number(&value()?)?,
                "--sync-does-nothing" => arguments.options.broken = Some(Broken::Syncs),
                "--clocks-run-wild" => arguments.options.broken = Some(Broken::Clocks),
                "--disks-keep" => arguments.options.disks = Disks::Keep,
                "--without" => {
                    arguments.options.without =
                        value()?.parse().map_err(|why: String| anyhow!("--without: {why}"))?;
                }
                "--show" => arguments.filter.topics = topics(&value()?)?,
                "--node" => arguments.filter.node = Some(number(&value()?)?),
                "--group" => arguments.filter.group = Some(number(&value()?)?),
                "--grep" => arguments.filter.text = Some(value()?),
                "--from" => arguments.filter.between_ms.0 = number(&value()?)?,
                "--to" => arguments.filter.between_ms.1 = number(&value()?)?,
                other => bail!("unknown option {other}\n\n{USAGE}"),
            }
        }
        Ok(Some(arguments))
    }
}

/// The words that run this seed again.
pub(crate) fn command(seed: u64, options: &Options) -> String {
    let Options { nodes, seconds, broken, disks, without } = options;
    let disks = if *disks == Disks::Keep { " --disks-keep" } else { "" };
    let broken = match broken {
        None => "",
        Some(Broken::Syncs) => " --sync-does-nothing",
        Some(Broken::Clocks) => " --clocks-run-wild",
    };
    let without = match without.to_string() {
        nothing if nothing.is_empty() => nothing,
        list => format!(" --without '{list}'"),
    };
    format!(
        "cargo xtask sim --seed {seed} --nodes {nodes} --seconds {seconds}{broken}{disks}{without}"
    )
}

fn number(text: &str) -> anyhow::Result<u64> {
    text.parse().with_context(|| format!("{text}: not a number"))
}

fn topics(text: &str) -> anyhow::Result<Vec<Topic>> {
    if text == "all" {
        return Ok(Topic::ALL.into());
    }
    let topic = |name: &str| {
        let found = Topic::ALL.into_iter().find(|topic| topic.name() == name);
        found.with_context(|| {
            let known = Topic::ALL.map(Topic::name);
            format!("no topic is called {name:?}; there are {}", known.join(", "))
        })
    };
    text.split(',').map(topic).collect()
}
