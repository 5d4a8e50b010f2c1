//! What the system says of a process.

use std::fs;

use anyhow::{Context, Result};

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time, in clock ticks.
    pub(crate) cpu_ticks: u64,
    /// Memory that is resident now, in KiB.
    pub(crate) rss_kib: u64,
}

/// What the process has used, while it lives.
pub(crate) fn usage(pid: u32) -> Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    };
    let cpu_ticks = cpu_ticks(&read("stat")?).context("the stat of a process makes no sense")?;
    let rss_kib = rss_kib(&read("status")?).context("the status of a process has no VmRSS")?;
    Ok(Usage { cpu_ticks, rss_kib })
}

/// Clock ticks in a second.
pub(crate) fn ticks_per_second() -> f64 {
    rustix::param::clock_ticks_per_second() as f64
}

/// Fields 14 and 15. The second one, the program's name, may hold anything, even
/// parentheses and spaces; it ends at the last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn rss_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_read_behind_a_name_that_holds_anything() {
        let stat = "77 (a) 9 9 (b) S 1 77 77 0 -1 4194304 900 0 1 0 250 50 0 0 20 0 4 0 1 2 3";
        assert_eq!(cpu_ticks(stat), Some(300));
        assert_eq!(cpu_ticks("77 (a) S 1 77"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn memory_is_read_from_the_status() {
        assert_eq!(
            rss_kib("Name:\tx\nVmHWM:\t  99 kB\nVmRSS:\t   5124 kB\nThreads:\t4\n"),
            Some(5124)
        );
        assert_eq!(rss_kib("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[test]
    fn this_process_uses_something() -> Result<()> {
        assert!(usage(std::process::id())?.rss_kib > 100);
        assert!(ticks_per_second() >= 1.0);
        Ok(())
    }
}
