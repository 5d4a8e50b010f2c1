use super::{Options, run, run_campaign};

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
fn crashes_and_lost_messages_lose_no_acknowledged_write() {
    let campaign = run_campaign(1, 40, 2, 1, &Options::default(), &|_| {});
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
}

/// A disk whose syncs do nothing must be found out: else the runs prove nothing.
#[test]
fn a_sync_that_does_nothing_is_found_out() {
    let options = Options { sync_does_nothing: true, ..Options::default() };
    let campaign = run_campaign(1, 40, 2, 1, &options, &|_| {});
    assert!(!campaign.failures.is_empty(), "40 seeds without a sync went unnoticed");
}
