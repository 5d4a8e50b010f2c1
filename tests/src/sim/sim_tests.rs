use super::{Broken, MemberCounts, Options, run, run_campaign};

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
fn crashes_lost_messages_and_changes_of_the_members_lose_no_acknowledged_write() {
    let campaign = run_campaign(1, 60, 2, 1, &Options::default(), &|_| {});
    assert!(campaign.failures.is_empty(), "{:#?}", campaign.failures);
    let report = campaign.total;
    assert!(report.installed > 0, "no snapshot was installed");
    let (begun, prepared) = report.segments;
    assert!(prepared > 0 && prepared < begun, "not both ways to begin a segment: {report:?}");
    assert!(report.flushes.0 > 0 && report.held > 0, "no command waited for a flush: {report:?}");
    assert!(report.kept > 0, "no store came back with what it had flushed: {report:?}");
    let sessions = report.sessions;
    assert!(sessions.repeated > 0 && sessions.not_open > 0, "sessions did nothing: {sessions:?}");
    assert!(report.faults.power_cuts > 0 && report.faults.torn > 0, "{report:?}");
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
    let campaign = run_campaign(1, 40, 2, 1, &options, &|_| {});
    assert!(!campaign.failures.is_empty(), "40 seeds without a sync went unnoticed");
}

/// Leases rely on clocks. Where those drift further than is allowed for, clients see it, and
/// so does whoever compares a lease with what a newer leader has committed.
#[test]
fn reads_by_leases_that_have_ended_are_found_out() {
    let options = Options { broken: Some(Broken::Clocks), ..Options::default() };
    let failures = run_campaign(1, 100, 2, usize::MAX, &options, &|_| {}).failures;
    let found = |what: &str| failures.iter().any(|failure| failure.what.starts_with(what));
    assert!(found("linearizable"), "no client saw it: {failures:#?}");
    assert!(failures.iter().any(|failure| failure.what.contains("by the lease of its term")));
}
