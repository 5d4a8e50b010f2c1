//! Disks that lose a part of the log that they had confirmed.

use std::fs::OpenOptions;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use raft_log::ReadOnlyDisk;
use raft_log::inspect::{for_each_frame, inspect};

use super::calm::read_everything;
use super::node::wait_for;
use super::{ELECTION_TIMEOUT, Stage};

/// How long a node may take to find, report and mend what its disk has lost.
const HEALING_LIMIT: Duration = Duration::from_secs(20);
const BEFORE: Duration = Duration::from_millis(700);
/// The frame that is lost is so many before the last one that anything vouches for.
const BACK: usize = 5;

/// Kills the leader, and then a follower, takes a part of its log and starts it again: it
/// says what is missing, is sent it, and goes on as before.
pub(super) fn lost_and_fetched(stage: &mut Stage) -> Result<()> {
    let load = stage.load();
    let recorder = load.recorder();
    let mut before = None;
    for whose in ["the leader", "a follower"] {
        stage.cluster.leader()?;
        thread::sleep(stage.some_time(BEFORE));
        let leader = stage.cluster.leader()?;
        // What a node has said of its first loss must not pass for news of a second.
        let at = match before {
            None => leader,
            Some(before) => (0..3).find(|at| ![before, leader].contains(at)).context("a third")?,
        };
        before = Some(at);
        stage.cluster.nodes[at].kill();
        let log = stage.cluster.data(at).join("log");
        let (file, bytes) = late_frame(&log)?;
        flip(&file, bytes.start + bytes.end.saturating_sub(bytes.start) / 2)?;
        let report = inspect(&ReadOnlyDisk, &log)?;
        ensure!(report.fault.is_none(), "it could not start: {:?}", report.fault);
        let group = report.groups.values().next().context("there is a group")?;
        let ended = group.damaged_up_to.context("what is lost is above the floor")?;
        let lost = ended.index.0 - group.last.index.0;

        let began = Instant::now();
        stage.cluster.nodes[at].start()?;
        let node = &stage.cluster.nodes[at];
        let says = |what: &str| node.last_log_lines(200).iter().any(|line| line.contains(what));
        let reported = "the log of group 1 has lost what stood after";
        wait_for("the loss to be reported", HEALING_LIMIT, || Ok(says(reported).then_some(())))?;
        let healed = "the log of group 1 is whole again";
        wait_for("the log to be whole", HEALING_LIMIT, || Ok(says(healed).then_some(())))?;
        let time = began.elapsed();
        stage.cluster.wait_until_caught_up(at)?;
        println!(
            "   {whose}, node {}, lost {lost} entries of its log; whole again after {:.2} s",
            at + 1,
            time.as_secs_f64()
        );
    }
    thread::sleep(ELECTION_TIMEOUT);
    load.stop();
    let keys = read_everything(stage, &recorder)?;
    println!("   {}; {keys} keys read through every node", recorder.judge()?);
    Ok(())
}

/// A frame of entries near the end of a log, for which a later frame vouches.
fn late_frame(log: &Path) -> Result<(PathBuf, Range<u64>)> {
    let (mut frames, mut durable_upto) = (Vec::new(), 0);
    for_each_frame(&ReadOnlyDisk, log, |frame| {
        durable_upto = durable_upto.max(frame.durable_upto);
        if !frame.entries.is_empty() {
            let bytes = frame.offset..frame.offset + u64::from(frame.bytes);
            frames.push((frame.sequence, (frame.file, bytes)));
        }
        ControlFlow::Continue(())
    })?;
    frames.retain(|(sequence, _)| *sequence <= durable_upto);
    frames.sort_by_key(|(sequence, _)| *sequence);
    let late = frames.into_iter().rev().nth(BACK).context("a node under load writes frames")?;
    Ok(late.1)
}

fn flip(file: &Path, offset: u64) -> Result<()> {
    let opened = OpenOptions::new().read(true).write(true).open(file);
    let opened = opened.with_context(|| format!("cannot open {}", file.display()))?;
    let mut byte = [0];
    opened.read_exact_at(&mut byte, offset)?;
    Ok(opened.write_all_at(&[byte[0] ^ 1], offset)?)
}
