//! What must not grow, and how much of it is noise.

/// What a minute came to.
#[derive(Clone, Debug)]
pub(super) struct Minute {
    pub(super) ops_per_second: f64,
    pub(super) p99_ms: f64,
    /// For each node, at its peak.
    pub(super) rss_mib: Vec<f64>,
    pub(super) disk: Vec<Disk>,
}

/// What lies on the disk of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) log_bytes: u64,
    pub(super) folder_bytes: u64,
}

/// Whether something that must hold does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) holds: bool,
    pub(super) text: String,
}

/// Memory may grow by a tenth and this much: caches fill, and allocators keep pages.
const RSS_FACTOR: f64 = 1.1;
const RSS_SPARE_MIB: f64 = 16.0;

/// What goes up and down between snapshots has its peak in every half of the time; what
/// only goes up is about twice as large in the second half.
const DISK_FACTOR: f64 = 1.4;

/// Latency may vary this much, and by this many milliseconds.
const P99_FACTOR: f64 = 1.5;
const P99_SPARE_MS: f64 = 10.0;

/// The verdicts over at least four minutes.
///
/// # Panics
/// If there were fewer.
pub(super) fn verdicts(minutes: &[Minute]) -> Vec<Verdict> {
    assert!(minutes.len() >= 4, "{} minutes say nothing", minutes.len());
    let (first, third, last) = (&minutes[0], &minutes[2], &minutes[minutes.len() - 1]);
    let (early, late) = minutes.split_at(minutes.len() / 2);
    let mut verdicts = Vec::new();
    for node in 0..first.rss_mib.len() {
        let name = node + 1;
        let limit = third.rss_mib[node] * RSS_FACTOR + RSS_SPARE_MIB;
        verdicts.push(Verdict {
            holds: last.rss_mib[node] <= limit,
            text: format!(
                "node {name}: memory {:.0} MiB in the last minute, {:.0} in the third; at most \
                 {limit:.0}",
                last.rss_mib[node], third.rss_mib[node]
            ),
        });
        let log = |disk: &Disk| disk.log_bytes;
        let folder = |disk: &Disk| disk.folder_bytes;
        for (what, bytes) in [("log", log as fn(&Disk) -> u64), ("data folder", folder)] {
            let peak = |half: &[Minute]| {
                half.iter().map(|minute| bytes(&minute.disk[node])).max().unwrap_or(0) as f64
                    / f64::from(1 << 20)
            };
            let (before, after) = (peak(early), peak(late));
            let limit = before * DISK_FACTOR;
            verdicts.push(Verdict {
                holds: after <= limit,
                text: format!(
                    "node {name}: {what} {after:.0} MiB at the peak of the second half, \
                     {before:.0} of the first; at most {limit:.0}"
                ),
            });
        }
    }
    let limit = first.p99_ms * P99_FACTOR + P99_SPARE_MS;
    verdicts.push(Verdict {
        holds: last.p99_ms <= limit && last.ops_per_second > 0.0,
        text: format!(
            "p99 {:.1} ms in the last minute, {:.1} in the first; at most {limit:.1}",
            last.p99_ms, first.p99_ms
        ),
    });
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Ten minutes of one node that is as it should be: its log goes up and down.
    fn minutes() -> Vec<Minute> {
        let minute = |number: u64| Minute {
            ops_per_second: 9000.0,
            p99_ms: 80.0,
            rss_mib: vec![if number < 2 { 60.0 } else { 100.0 }],
            disk: vec![Disk {
                log_bytes: (100 + number % 3 * 20) * MIB,
                folder_bytes: (200 + number % 3 * 30) * MIB,
            }],
        };
        (0..10).map(minute).collect()
    }

    fn failing(minutes: &[Minute]) -> Vec<String> {
        verdicts(minutes).into_iter().filter(|v| !v.holds).map(|v| v.text).collect()
    }

    #[test]
    fn what_goes_up_and_down_holds() {
        assert_eq!(verdicts(&minutes()).len(), 4);
        assert_eq!(failing(&minutes()), [""; 0]);
    }

    #[test]
    fn memory_that_leaks_fails() {
        let mut minutes = minutes();
        for (number, minute) in minutes.iter_mut().enumerate() {
            minute.rss_mib[0] = 100.0 + 10.0 * number as f64;
        }
        let failing = failing(&minutes);
        assert_eq!(failing.len(), 1, "{failing:?}");
        assert!(failing[0].contains("node 1: memory 190 MiB"), "{failing:?}");
    }

    #[test]
    fn a_log_or_a_folder_that_only_grows_fails() {
        let mut minutes = minutes();
        for (number, minute) in minutes.iter_mut().enumerate() {
            minute.disk[0].log_bytes = (number as u64 + 1) * 100 * MIB;
        }
        let log = failing(&minutes);
        assert!(log.len() == 1 && log[0].contains("log 1000 MiB"), "{log:?}");
        for minute in &mut minutes {
            minute.disk[0].folder_bytes = minute.disk[0].log_bytes;
            minute.disk[0].log_bytes = MIB;
        }
        let folder = failing(&minutes);
        assert!(folder.len() == 1 && folder[0].contains("data folder"), "{folder:?}");
    }

    #[test]
    fn latency_that_grows_and_service_that_ends_fail() {
        let mut slow = minutes();
        slow[9].p99_ms = 131.0;
        assert!(failing(&slow)[0].contains("p99 131.0"));
        let mut dead = minutes();
        (dead[9].p99_ms, dead[9].ops_per_second) = (0.0, 0.0);
        assert_eq!(failing(&dead).len(), 1);
    }
}
