use std::ops::ControlFlow;

use super::{
    Broken, Condition, FaultCounts, FaultKind, Filter, MemberCounts, Options, SegmentCounts,
    Without, run, run_campaign, run_recorded,
};

#[test]
fn the_same_seed_gives_the_same_run() {
    let options = Options { seconds: 3, ..Options::default() };
    for seed in [1, 2, 3] {
        let first = run(seed, &options).unwrap();
        assert_eq!(run(seed, &options).unwrap(), first);
        assert!(first.acknowledged > 0, "seed {seed}: nothing was written");
    }
}

#[test]
fn a_run_that_is_recorded_is_the_same_and_can_be_read() {
    let options = Options { seconds: 2, ..Options::default() };
    for seed in 1..6 {
        let (outcome, recording) = run_recorded(seed, &options);
        assert_eq!(outcome.unwrap(), run(seed, &options).unwrap());
        let trace = recording.trace(&Filter::default());
        let leads = |line: &String| line.contains("LEADS term");
        let written = |line: &String| line.contains("put key") && line.contains("-> done");
        assert!(trace.iter().any(leads) && trace.iter().any(written), "{trace:#?}");
    }
}

/// What is left out does not happen, and what is left happens when it did.
#[test]
fn parts_of_a_run_can_be_left_out() {
    let all = Options { seconds: 3, ..Options::default() };
    let without = |text: &str| Options { without: text.parse().unwrap(), ..all.clone() };
    let faults_of = |seed: u64, options: &Options| -> Vec<String> {
        let trace = run_recorded(seed, options).1.trace(&Filter::default());
        trace
            .into_iter()
            .filter(|line| line.contains("fault ") && !line.contains("after change"))
            .collect()
    };
    let has_many = |seed: &u64| faults_of(*seed, &all).len() > 5;
    let seed = (1..100).find(has_many).expect("a seed with many faults");
    let faults = |options: &Options| faults_of(seed, options);
    let (whole, fewer) = (faults(&all), faults(&without("faults:1+3-4")));
    let kept: Vec<_> = whole.iter().enumerate().filter(|(n, _)| ![1, 3, 4].contains(n)).collect();
    assert_eq!(fewer, kept.into_iter().map(|(_, line)| line.clone()).collect::<Vec<_>>());
    let quiet = Without {
        conditions: Condition::ALL.into_iter().collect(),
        ..without("faults:0-99 strikes:0-99 changes:0-99 clients:0-6").without
    };
    let report = run(seed, &Options { without: quiet, ..all }).unwrap();
    assert_eq!((report.faults, report.members.changes_done), (FaultCounts::default(), 0));
}

#[test]
fn crashes_lost_messages_and_changes_of_the_members_lose_no_acknowledged_write() {
    let campaign = run_campaign(1, 60, 2, 1, &Options::default(), &|_| ControlFlow::Continue(()));
    assert!(campaign.failures.is_empty(), "{:#?}", campaign.failures);
    let report = campaign.total;
    assert!(report.installed > 0, "no snapshot was installed");
    let SegmentCounts { begun, prepared, named } = report.segments;
    let all_ways = 0 < named && named < prepared && prepared < begun;
    assert!(all_ways, "not all ways to begin a segment: {report:?}");
    assert!(report.flushes.0 > 0 && report.held > 0, "no command waited for a flush: {report:?}");
    assert!(report.kept > 0, "no store came back with what it had flushed: {report:?}");
    let clients = report.clients;
    let mattered = [clients.repeated, clients.not_open, clients.swapped, clients.unequal];
    assert!(mattered.iter().all(|count| *count > 0), "a kind never happened: {clients:?}");
    assert!(report.faults.of(FaultKind::TornChange) > 0, "{report:?}");
    let members = report.members;
    let MemberCounts { changes_done, added, removed, joint, told, wiped, .. } = members;
    let all = [changes_done, added, removed, joint, told, wiped, members.transfers_done];
    assert!(all.iter().all(|count| *count > 0), "a kind of change never happened: {members:?}");
    assert!(report.lease_reads > 0, "no read was answered by a lease");
}

/// A disk whose syncs do nothing must be found out: else the runs prove nothing.
#[test]
fn a_sync_that_does_nothing_is_found_out() {
    let options = Options { broken: Some(Broken::Syncs), ..Options::default() };
    let campaign = run_campaign(1, 40, 2, 1, &options, &|_| ControlFlow::Continue(()));
    assert!(!campaign.failures.is_empty(), "40 seeds without a sync went unnoticed");
}

/// Leases rely on clocks. Where those drift further than is allowed for, clients see it, and
/// so does whoever compares a lease with what a newer leader has committed.
#[test]
fn reads_by_leases_that_have_ended_are_found_out() {
    let options = Options { broken: Some(Broken::Clocks), ..Options::default() };
    let failures =
        run_campaign(1, 300, 2, usize::MAX, &options, &|_| ControlFlow::Continue(())).failures;
    let found = |what: &str| failures.iter().any(|failure| failure.what.starts_with(what));
    assert!(found("linearizable"), "no client saw it: {failures:#?}");
    assert!(failures.iter().any(|failure| failure.what.contains("by the lease of its term")));
}
