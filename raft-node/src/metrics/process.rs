//! Figures of the process, from /proc. Where there is none they are left out.

use std::fs;

/// What the operating system says about this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Process {
    pub(crate) cpu_seconds: f64,
    pub(crate) start_seconds: f64,
    pub(crate) virtual_bytes: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) open_fds: u64,
    /// `None` where there is no limit.
    pub(crate) max_fds: Option<u64>,
}

/// Reads everything.
pub(crate) fn read() -> Option<Process> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let boot = fs::read_to_string("/proc/stat").ok()?;
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    // The folder that is being read is open too, and is none of the process's own.
    let open_fds = (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1);
    let ticks = rustix::param::clock_ticks_per_second() as f64;
    let process = of_stat(&stat, ticks, rustix::param::page_size() as u64)?;
    let booted: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.parse().ok()?;
    let start_seconds = booted + process.start_seconds;
    Some(Process { open_fds, max_fds: max_fds(&limits), start_seconds, ..process })
}

/// The resident memory in bytes, which is cheap to read; 0 where it is not known.
pub(crate) fn resident_bytes() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// What /proc/self/stat says, the start in seconds since the machine started. The name
/// in parentheses may hold anything.
fn of_stat(stat: &str, ticks: f64, page: u64) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The first one after the name is the third of the file's description.
    let field = |n: usize| fields.get(n - 3)?.parse::<u64>().ok();
    Some(Process {
        cpu_seconds: (field(14)? + field(15)?) as f64 / ticks,
        start_seconds: field(22)? as f64 / ticks,
        virtual_bytes: field(23)?,
        resident_bytes: field(24)? * page,
        ..Process::default()
    })
}

fn max_fds(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_moves_no_field() {
        let stat =
            "7 (a) b (c)) S 1 7 7 0 -1 4194560 5 0 0 0 150 50 0 0 20 0 9 0 4200 1000000 30 1";
        let process = of_stat(stat, 100.0, 4096).unwrap();
        assert_eq!((process.cpu_seconds, process.start_seconds), (2.0, 42.0));
        assert_eq!((process.virtual_bytes, process.resident_bytes), (1_000_000, 122_880));
        assert_eq!(of_stat("7 (short) S 1", 100.0, 4096), None);
    }

    #[test]
    fn a_limit_is_a_number_or_none() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(max_fds(limits), Some(1024));
        assert_eq!(max_fds("Max open files  unlimited  unlimited  files\n"), None);
    }
}
