//! Does the simulator find every known bug? Each is put back in, one at a time.
//!
//! A bug is a patch in `tests/bugs`. It is applied to a copy of the workspace, and the
//! simulator built from that runs fresh seeds until one fails, from five base seeds on, the
//! same five for every bug. A bug counts as found where the median of the five is within the
//! bug's limit. At the end the tree without a bug runs the same seeds, all of which must be
//! clean.

pub(crate) mod direct;
pub(crate) mod patch;
mod record;
mod scratch;
mod table;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use self::patch::{Patch, read_all};
use self::record::{Hunted, Record, Records, fingerprint};
use self::scratch::Scratch;
use crate::arguments::Arguments;
use crate::cargo::root;

/// How many base seeds.
const BASES: u64 = 5;

/// From one base seed to the next: no search runs so many seeds.
const APART: u64 = 100_000_000;

/// How long all of it may take, unless somebody says otherwise.
const MINUTES: u64 = 60;

/// How long the tree without a bug is run from each base seed.
const CONTROL_SECONDS: u64 = 60;

/// What the tree without a bug is called among the records.
const CONTROL: &str = "none";

const HELP: &str = "\
Usage: cargo xtask sim --bugs [NAME...] [--seeds-base B] [--minutes M] [--resume] [--readme]
       cargo xtask sim --bugs [NAME...] --direct

  NAME            only the bugs whose names begin so; their earlier results are replaced
  --seeds-base B  the first of the five base seeds (default: from the clock; printed)
  --minutes M     no search begins after so many minutes (default 60)
  --resume        keeps the results of an earlier run, and goes on where it ended
  --readme        writes the table into README.md
  --direct        no search: the direct test that each patch names must fail with it
";

/// Runs `cargo xtask sim --bugs`, `words` being what follows.
pub(crate) fn run(words: Vec<String>) -> Result<()> {
    let mut arguments = Arguments::new(words);
    if arguments.flag("--help") {
        print!("{HELP}");
        return Ok(());
    }
    let base = arguments.value("--seeds-base")?;
    let minutes = arguments.value("--minutes")?.unwrap_or(MINUTES);
    let (resume, readme) = (arguments.flag("--resume"), arguments.flag("--readme"));
    let direct = arguments.flag("--direct");
    let names: Vec<String> = std::iter::from_fn(|| arguments.word()).collect();
    arguments.finish()?;
    let all = read_all(&root())?;
    let chosen = choose(&all, &names)?;
    let folder = root().join("target/bugs");
    fs::create_dir_all(&folder)?;
    if direct {
        return direct::run(&Scratch::new(&root(), &folder), &chosen);
    }
    let records = records(&folder.join("results.json"), base, resume || !names.is_empty())?;
    let deadline = Instant::now() + Duration::from_secs(minutes * 60);
    let mut search =
        Search { scratch: Scratch::new(&root(), &folder), records, deadline, keeps: resume };
    println!("{} bugs, base seeds from {} on", chosen.len(), search.records.base);
    for bug in &chosen {
        search.search(bug)?;
    }
    if names.is_empty() {
        search.control()?;
    }
    let shown = if readme { &all } else { &chosen };
    let rows = table::rows(shown, &search.records, BASES as usize);
    println!("\n{}", table::print(&rows));
    if readme {
        table::write_readme(&rows, &search.records)?;
    }
    judge(&chosen, &search.records)
}

fn choose(all: &[Patch], names: &[String]) -> Result<Vec<Patch>> {
    if let Some(unknown) =
        names.iter().find(|name| !all.iter().any(|bug| bug.name.starts_with(name.as_str())))
    {
        bail!("no bug is called {unknown:?}; see {}", patch::FOLDER);
    }
    let chosen =
        |bug: &&Patch| names.is_empty() || names.iter().any(|name| bug.name.starts_with(name));
    Ok(all.iter().filter(chosen).cloned().collect())
}

/// The records to go on with: those of an earlier run, where they are wanted and have the
/// same base, or else none.
fn records(path: &std::path::Path, base: Option<u64>, earlier: bool) -> Result<Records> {
    if earlier && path.exists() {
        let records = Records::read(path)?;
        if base.is_none_or(|base| base == records.base) {
            return Ok(records);
        }
    }
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(Records::new(path.to_owned(), base.unwrap_or(clock.as_secs() * 1_000_000_000)))
}

/// An error where a bug was not found, or not searched for long enough.
fn judge(chosen: &[Patch], records: &Records) -> Result<()> {
    let record = |bug: &&Patch| records.by_name.get(&bug.name).cloned().unwrap_or_default();
    let decided = |bug: &&Patch| record(bug).is_decided(BASES as usize);
    let found = |bug: &&Patch| record(bug).median(BASES as usize).is_some();
    let missed: Vec<&str> = chosen
        .iter()
        .filter(|bug| decided(bug) && !found(bug))
        .map(|bug| bug.name.as_str())
        .collect();
    let open = chosen.iter().filter(|bug| !decided(bug)).count();
    if open > 0 {
        bail!(
            "the time is up and {open} bugs are left: go on with `cargo xtask sim --bugs --resume`"
        );
    }
    if !missed.is_empty() {
        bail!("{} bugs are not found: {}", missed.len(), missed.join(", "));
    }
    Ok(())
}

struct Search {
    scratch: Scratch,
    records: Records,
    deadline: Instant,
    /// Whether results of an earlier run of the same patch count.
    keeps: bool,
}

impl Search {
    /// Searches for one bug from every base seed on, unless that is known already.
    fn search(&mut self, bug: &Patch) -> Result<()> {
        let patch = fingerprint(&bug.text);
        let known = self.records.by_name.remove(&bug.name);
        let known = known.filter(|known| self.keeps && known.patch == patch);
        let mut record = known.unwrap_or_else(|| Record::new(patch));
        if !record.is_decided(BASES as usize) && Instant::now() < self.deadline {
            let begun = Instant::now();
            // The first build takes minutes.
            print!("{:<44} ", bug.name);
            std::io::Write::flush(&mut std::io::stdout())?;
            let built = self.scratch.build(Some(bug));
            built.with_context(|| format!("{} cannot be built", bug.name))?;
            print!("built in {:.0} s:", begun.elapsed().as_secs_f64());
            while !record.is_decided(BASES as usize) && Instant::now() < self.deadline {
                let base = self.base(record.hunted.len());
                let hunted = self.scratch.hunt(base, bug.limit_seconds, None)?;
                print!(" {}", told(&hunted));
                std::io::Write::flush(&mut std::io::stdout())?;
                record.hunted.push(hunted);
            }
            println!();
        }
        self.records.by_name.insert(bug.name.clone(), record);
        self.records.write()
    }

    /// Runs the tree without a bug on as many of the same seeds as any bug has needed, as far
    /// as the time allows it. Nothing may be found.
    fn control(&mut self) -> Result<()> {
        self.scratch.build(None)?;
        let mut record = Record::new(0);
        for place in 0..BASES as usize {
            let of_place = |record: &Record| record.hunted.get(place).map(|hunted| hunted.seeds);
            let most = self.records.by_name.values().filter_map(of_place).max();
            let base = self.base(place);
            let hunted = self.scratch.hunt(base, CONTROL_SECONDS, most)?;
            if let Some(check) = hunted.check {
                let Hunted { seed, what, .. } = hunted;
                bail!("without any bug, {check} fails in seed {seed}: {what}");
            }
            record.hunted.push(hunted);
        }
        self.records.by_name.insert(CONTROL.to_owned(), record);
        self.records.write()
    }

    const fn base(&self, place: usize) -> u64 {
        self.records.base + place as u64 * APART
    }
}

fn told(hunted: &Hunted) -> String {
    match &hunted.check {
        Some(check) => format!("{check} {:.1} s ({})", hunted.seconds, hunted.seeds),
        None => format!("nothing in {:.0} s ({})", hunted.seconds, hunted.seeds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunted(check: Option<&str>) -> Hunted {
        let (check, what) = (check.map(str::to_owned), String::new());
        Hunted { check, seeds: 1, seconds: 1.0, seed: 1, what }
    }

    #[test]
    fn what_is_not_found_or_left_is_an_error() -> Result<()> {
        let all = read_all(&root())?;
        let chosen = choose(&all, &["02a".to_owned(), "02b".to_owned()])?;
        assert_eq!(chosen.len(), 2);
        assert!(choose(&all, &["no-such-bug".to_owned()]).is_err());

        let mut records = Records::new("nowhere".into(), 1);
        let left = judge(&chosen, &records).unwrap_err().to_string();
        assert!(left.starts_with("the time is up and 2 bugs are left"), "{left}");
        for (bug, check) in chosen.iter().zip([Some("one-vote"), None]) {
            let record = Record { patch: 0, hunted: vec![hunted(check); BASES as usize] };
            records.by_name.insert(bug.name.clone(), record);
        }
        let missed = judge(&chosen, &records).unwrap_err().to_string();
        assert!(missed.starts_with("1 bugs are not found: 02b"), "{missed}");
        judge(&chosen[..1], &records)
    }
}
