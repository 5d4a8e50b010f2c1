//! `raft-state` beside raft-rs 0.7, in one process and one thread.
//!
//! What is measured: how many commands per second a leader of three replicas applies,
//! with a fixed number of commands outstanding. Nothing here waits, so the seconds are those
//! that the thread spent on a processor, which others on the machine disturb less. Each
//! command is 256 bytes in an allocation of its own and is proposed singly. One turn of a
//! cluster is the same for all:
//!
//! 1. The leader takes in proposals until as many are outstanding as shall be, then does
//!    what it wants done: writes, messages, commands to apply.
//! 2. Each follower takes in its messages, then does what it wants done.
//! 3. The leader takes in the answers, and does what it then wants done.
//!
//! Logs are vectors in memory, short enough for the processor's caches. A write is durable
//! as soon as it is made, messages are handed over as they are, and applying a command adds
//! up the length of its payload. The clocks of both go 10 ms further every 1,000 turns. Both
//! have pre-vote and check-quorum on, appends of up to 1 MiB, heartbeats every 100 ms and
//! election timeouts of 1 s. raft-rs is measured as it is by default and with
//! `batch_append`, on its own `MemStorage`.
//!
//! Payloads are counted references on both sides and never copied. One difference is that
//! of the two designs: raft-rs tells followers of a commit at once, in messages of their
//! own, `raft-state` with the next append or, to an idle follower, 10 ms later. Another is
//! that it makes one write of the proposals that come before it is asked what to do.
//!
//! Deliberately absent: networks, disks, threads, encodings, elections while it is
//! measured. What a node is like with those is what `cargo xtask bench etcd` shows.
//!
//! `cargo xtask bench core` builds and runs this, and makes a table of the lines of JSON
//! that it prints, one per measurement.

mod cluster;
mod ours;
mod theirs;
mod trim;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use crate::cluster::{Cluster, measure};

const USAGE: &str = "Usage: peers RUNS SECONDS OUTSTANDING...";

/// Commands applied per second, with so many outstanding, measured for so long.
type Measure = fn(usize, Duration) -> f64;

/// What is compared, by its name in the results.
const SYSTEMS: [(&str, Measure); 3] = [
    ("raft-state", |outstanding, time| measure(Cluster::new(ours::nodes()), outstanding, time)),
    ("raft-rs", |outstanding, time| {
        measure(Cluster::new(theirs::nodes(theirs::Appends::Single)), outstanding, time)
    }),
    ("raft-rs batch_append", |outstanding, time| {
        measure(Cluster::new(theirs::nodes(theirs::Appends::Batched)), outstanding, time)
    }),
];

fn main() -> ExitCode {
    let numbers: Option<Vec<u32>> = env::args().skip(1).map(|word| word.parse().ok()).collect();
    let Some([runs, seconds, outstanding @ ..]) = numbers.as_deref() else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let time = Duration::from_secs((*seconds).into());
    for run in 0..*runs as usize {
        for outstanding in outstanding {
            // By turns, and each time another one first, so that what drifts hits all alike.
            for at in 0..SYSTEMS.len() {
                let (system, measure) = SYSTEMS[(run + at) % SYSTEMS.len()];
                let per_second = measure(*outstanding as usize, time);
                println!(
                    "{{\"system\": \"{system}\", \"outstanding\": {outstanding}, \
                     \"per_second\": {per_second:.0}}}"
                );
            }
        }
    }
    ExitCode::SUCCESS
}
