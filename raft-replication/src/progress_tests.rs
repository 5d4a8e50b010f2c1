use super::*;
use core::time::Duration;

use bytes::Bytes;
use raft_core::{Entry, EntryKind, Membership, Term};

const LIMITS: Limits =
    Limits { max_flights: 2, max_flight_bytes: 250, resend_after: Duration::from_nanos(100) };

/// A leader's log with entries of these terms above `floor`.
fn log(floor: u64, terms: &[u64]) -> LogShape {
    let mut shape = LogShape::new(Position::new(1, floor), Membership::empty());
    for (place, term) in terms.iter().enumerate() {
        shape.append(&Entry {
            term: Term(*term),
            index: Index(floor + place as u64 + 1),
            kind: EntryKind::Blank,
            payload: Bytes::new(),
        });
    }
    shape
}

/// Sends what the progress asks for, up to `last`, as the request `number`.
fn send(progress: &mut Progress, log: &LogShape, number: u64, last: u64) {
    let verdict = progress.verdict(Instant(number), log, &LIMITS);
    assert!(matches!(verdict, SendVerdict::Entries { .. }), "request {number}: {verdict:?}");
    progress.read_started(number, Index(0));
    progress.sent(number, Index(last), 100, Instant(number));
}

fn heard(at: u64) -> AckVerdict {
    AckVerdict::Heard { sent_at: Instant(at) }
}

#[test]
fn a_probe_waits_for_its_answer_and_then_pipelines() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(3), 0);
    send(&mut progress, &log, 1, 4);
    assert_eq!(progress.next(), Index(3), "nothing is taken for granted while probing");
    assert_eq!(progress.verdict(Instant(1), &log, &LIMITS), SendVerdict::Nothing);
    assert_eq!(progress.acknowledged(1, Index(4), Index(9)), heard(1));
    assert_eq!((progress.matched(), progress.next()), (Index(4), Index(5)));
    send(&mut progress, &log, 2, 5);
    send(&mut progress, &log, 3, 6);
    assert_eq!(progress.verdict(Instant(3), &log, &LIMITS), SendVerdict::Nothing, "window full");
    assert_eq!(progress.acknowledged(3, Index(6), Index(9)), heard(3));
    assert_eq!(progress.matched(), Index(6));
    assert_eq!(
        progress.acknowledged(2, Index(5), Index(9)),
        AckVerdict::Late,
        "landed with the later one"
    );
}

#[test]
fn one_read_at_a_time_and_next_moves_only_once_sent() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 1);
    assert_eq!(progress.acknowledged(1, Index(1), Index(9)), heard(1));
    progress.read_started(2, Index(0));
    assert_eq!(progress.next(), Index(2));
    assert_eq!(progress.verdict(Instant(2), &log, &LIMITS), SendVerdict::Nothing);
    progress.read_failed(2, Instant(50));
    assert_eq!(progress.verdict(Instant(49), &log, &LIMITS), SendVerdict::Nothing);
    assert_eq!(progress.deadline(&LIMITS), Some(Instant(50)));
    let entries = SendVerdict::Entries { from: Index(2), up_to: Index(9) };
    assert_eq!(progress.verdict(Instant(50), &log, &LIMITS), entries);
}

#[test]
fn where_the_log_cannot_be_read_a_snapshot_takes_its_place() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(4), 0);
    progress.read_started(1, Index(9));
    progress.read_impossible(2, Instant(50));
    assert_eq!(progress.verdict(Instant(9), &log, &LIMITS), SendVerdict::Nothing, "another read");
    progress.read_impossible(1, Instant(50));
    assert_eq!(progress.verdict(Instant(49), &log, &LIMITS), SendVerdict::Nothing);
    assert_eq!(progress.verdict(Instant(50), &log, &LIMITS), SendVerdict::Snapshot);
    progress.snapshot_started(3);
    assert!(progress.snapshot_installed(3, Index(4)));
    let entries = SendVerdict::Entries { from: Index(5), up_to: Index(9) };
    assert_eq!(progress.verdict(Instant(50), &log, &LIMITS), entries, "it reaches beyond");
}

#[test]
fn only_the_first_rejection_of_a_request_counts() {
    let log = log(0, &[1, 1, 2, 2, 4, 4]);
    let mut progress = Progress::new(Index(6), 0);
    send(&mut progress, &log, 1, 6);
    let retry = ConflictVerdict::Retry { sent_at: Instant(1) };
    assert_eq!(progress.conflicted(1, Position::new(3, 5), &log), retry);
    assert_eq!(progress.next(), Index(5), "the terms 3 and 4 part after entry 4");
    assert_eq!(progress.conflicted(1, Position::ZERO, &log), ConflictVerdict::Stale);
    assert_eq!(progress.matched(), Index::ZERO);
}

#[test]
fn a_request_overtaken_by_a_conflict_is_under_way_for_nobody() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 1);
    assert_eq!(progress.acknowledged(1, Index(1), Index(9)), heard(1));
    send(&mut progress, &log, 2, 2);
    progress.read_started(3, Index(0));
    let retry = ConflictVerdict::Retry { sent_at: Instant(2) };
    assert_eq!(progress.conflicted(2, Position::new(1, 1), &log), retry);
    progress.sent(3, Index(3), 1, Instant(3));
    assert_eq!(progress.next(), Index(2), "the late read moves nothing");
}

#[test]
fn a_follower_that_denies_or_invents_is_broken() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(4), 0);
    send(&mut progress, &log, 1, 4);
    assert_eq!(
        progress.acknowledged(1, Index(5), Index(9)),
        AckVerdict::Broken,
        "more than it was sent"
    );

    let mut progress = Progress::new(Index(4), 0);
    send(&mut progress, &log, 1, 4);
    assert_eq!(progress.acknowledged(1, Index(4), Index(9)), heard(1));
    send(&mut progress, &log, 2, 5);
    let denial = progress.conflicted(2, Position::new(1, 2), &log);
    assert_eq!(denial, ConflictVerdict::Broken, "it had acknowledged 4");

    let mut progress = Progress::new(Index(4), 0);
    send(&mut progress, &log, 1, 4);
    let senseless = progress.conflicted(1, Position::new(1, 3), &log);
    assert_eq!(senseless, ConflictVerdict::Broken, "it holds the very position it denies");
    progress.quarantine();
    assert_eq!(progress.verdict(Instant(1), &log, &LIMITS), SendVerdict::Nothing);
}

/// Request 3 overtook request 2 and was rejected; the acknowledgement of 2 then
/// overtook that rejection. Nobody broke a promise.
#[test]
fn a_conflict_from_before_the_match_is_no_broken_promise() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 1);
    assert_eq!(progress.acknowledged(1, Index(1), Index(9)), heard(1));
    send(&mut progress, &log, 2, 4);
    send(&mut progress, &log, 3, 6);
    assert_eq!(progress.acknowledged(2, Index(4), Index(9)), heard(2));
    let retry = ConflictVerdict::Retry { sent_at: Instant(3) };
    assert_eq!(progress.conflicted(3, Position::new(1, 1), &log), retry);
    assert_eq!((progress.matched(), progress.next()), (Index(4), Index(5)));
}

#[test]
fn a_lost_request_is_sent_again() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 2);
    assert_eq!(progress.deadline(&LIMITS), Some(Instant(101)));
    assert!(!progress.resend_overdue(Instant(100), true, &LIMITS));
    assert!(progress.resend_overdue(Instant(101), true, &LIMITS));
    send(&mut progress, &log, 2, 2);
    assert_eq!(progress.acknowledged(2, Index(2), Index(9)), heard(2));
}

/// The follower has another entry at the index before the probe. Which one the leader had is not
/// known any more, and a snapshot is what brings the follower further.
#[test]
fn a_log_that_is_cut_while_a_probe_is_under_way_makes_no_broken_promise() {
    let before = log(0, &[1, 2, 2, 2, 2]);
    let mut progress = Progress::new(Index(3), 0);
    send(&mut progress, &before, 1, 3);
    let cut = log(4, &[2]);
    let retry = ConflictVerdict::Retry { sent_at: Instant(1) };
    assert_eq!(progress.conflicted(1, Position::new(1, 2), &cut), retry);
    assert_eq!(progress.verdict(Instant(2), &cut, &LIMITS), SendVerdict::Snapshot);
}

/// A new leader offers its last entries to who is down: when that is back it is offered them
/// again, and not a snapshot, since nothing is known of it.
#[test]
fn a_lost_probe_is_repeated_where_it_was() {
    let log = log(3, &[1; 6]);
    let mut progress = Progress::new(Index(9), 0);
    send(&mut progress, &log, 1, 9);
    assert!(progress.resend_overdue(Instant(101), false, &LIMITS));
    let again = SendVerdict::Entries { from: Index(9), up_to: Index(9) };
    assert_eq!(progress.verdict(Instant(101), &log, &LIMITS), again);
    send(&mut progress, &log, 102, 9);
    progress.found_again();
    assert_eq!(progress.verdict(Instant(102), &log, &LIMITS), again);
}

/// Were late rejections dropped, a link slower than the patience would carry the same probe for
/// ever.
#[test]
fn a_late_rejection_says_where_to_probe() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(9), 0);
    send(&mut progress, &log, 1, 9);
    assert!(progress.resend_overdue(Instant(101), false, &LIMITS));
    send(&mut progress, &log, 102, 9);
    let hint = Position::new(1, 4);
    assert_eq!(progress.conflicted(1, hint, &log), ConflictVerdict::Late);
    assert_eq!((progress.matched(), progress.next()), (Index(0), Index(5)));
    // It says nothing new a second time, and breaks no promise.
    assert_eq!(progress.conflicted(1, hint, &log), ConflictVerdict::Stale);
    let higher = Position::new(1, 8);
    assert_eq!(progress.conflicted(102, higher, &log), ConflictVerdict::Stale);
    send(&mut progress, &log, 103, 5);
    assert_eq!(progress.acknowledged(103, Index(5), Index(9)), heard(103));
    assert_eq!(progress.conflicted(102, hint, &log), ConflictVerdict::Stale);
    assert_eq!(progress.matched(), Index(5));
}

/// Were late acknowledgements dropped, a link slower than the patience would carry the
/// same entries for ever.
#[test]
fn a_late_acknowledgement_counts_and_patience_grows() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 2);
    assert!(progress.resend_overdue(Instant(101), true, &LIMITS));
    send(&mut progress, &log, 102, 2);
    assert_eq!(progress.deadline(&LIMITS), Some(Instant(302)), "twice the patience");
    assert_eq!(progress.acknowledged(1, Index(2), Index(6)), AckVerdict::Late);
    assert_eq!((progress.matched(), progress.next()), (Index(2), Index(3)));
    assert_eq!(progress.acknowledged(1, Index(7), Index(6)), AckVerdict::Broken, "invented");
    progress.quarantine();
    assert_eq!(progress.acknowledged(1, Index(5), Index(6)), AckVerdict::Late);
    assert_eq!(progress.matched(), Index(2), "its word is worth nothing");
}

/// A follower that was down for long must not wait out the patience that grew meanwhile.
#[test]
fn patience_does_not_grow_with_a_follower_that_is_down() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(1), 0);
    for round in 0..5 {
        let now = 1 + round * 100;
        send(&mut progress, &log, now, 2);
        assert_eq!(progress.deadline(&LIMITS), Some(Instant(now + 100)));
        assert!(progress.resend_overdue(Instant(now + 100), false, &LIMITS));
    }
    send(&mut progress, &log, 501, 2);
    assert_eq!(progress.verdict(Instant(510), &log, &LIMITS), SendVerdict::Nothing);
    progress.found_again();
    let entries = SendVerdict::Entries { from: Index(1), up_to: Index(6) };
    assert_eq!(progress.verdict(Instant(510), &log, &LIMITS), entries, "at once when it is back");
}

#[test]
fn a_late_acknowledgement_may_overtake_a_read() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 2);
    assert_eq!(progress.acknowledged(1, Index(2), Index(9)), heard(1));
    send(&mut progress, &log, 2, 8);
    assert!(progress.resend_overdue(Instant(102), true, &LIMITS));
    send(&mut progress, &log, 103, 3);
    assert_eq!(progress.acknowledged(103, Index(3), Index(9)), heard(103));
    progress.read_started(104, Index(0));
    assert_eq!(progress.acknowledged(2, Index(8), Index(9)), AckVerdict::Late);
    progress.sent(104, Index(4), 100, Instant(104));
    assert_eq!((progress.matched(), progress.next()), (Index(8), Index(9)));
}

#[test]
fn a_follower_behind_the_log_gets_a_snapshot() {
    let log = log(10, &[1, 1]);
    let mut progress = Progress::new(Index(12), 0);
    send(&mut progress, &log, 1, 12);
    let retry = ConflictVerdict::Retry { sent_at: Instant(1) };
    assert_eq!(progress.conflicted(1, Position::new(1, 4), &log), retry);
    assert_eq!(progress.verdict(Instant(1), &log, &LIMITS), SendVerdict::Snapshot);
    progress.snapshot_started(2);
    assert_eq!(progress.verdict(Instant(1), &log, &LIMITS), SendVerdict::Nothing);
    progress.snapshot_failed(2, Instant(50));
    assert_eq!(progress.verdict(Instant(49), &log, &LIMITS), SendVerdict::Nothing);
    assert_eq!(progress.verdict(Instant(50), &log, &LIMITS), SendVerdict::Snapshot);
    progress.snapshot_started(3);
    assert!(!progress.snapshot_installed(2, Index(11)), "the transfer is over");
    assert!(progress.snapshot_installed(3, Index(11)));
    assert_eq!((progress.matched(), progress.next()), (Index(11), Index(12)));
    assert!(matches!(progress.state(), State::Replicate { .. }));
}

/// The follower has an entry of an earlier term where the leader's log begins.
#[test]
fn a_follower_that_parts_from_the_log_at_its_floor_gets_a_snapshot() {
    let mut log = log(0, &[2, 2, 2]);
    log.trim_to(Index(2));
    for hint in [Position::new(1, 2), Position::new(1, 1), Position::ZERO] {
        let mut progress = Progress::new(Index(3), 0);
        send(&mut progress, &log, 1, 3);
        let retry = ConflictVerdict::Retry { sent_at: Instant(1) };
        assert_eq!(progress.conflicted(1, hint, &log), retry, "{hint}");
        assert_eq!(progress.verdict(Instant(1), &log, &LIMITS), SendVerdict::Snapshot, "{hint}");
    }
}

#[test]
fn a_follower_is_told_of_a_commit_until_it_says_that_it_knows() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(1), 0);
    assert!(!progress.commit_is_news(Index(6)), "it has acknowledged nothing");
    send(&mut progress, &log, 1, 3);
    assert_eq!(progress.acknowledged(1, Index(3), Index(9)), heard(1));
    assert_eq!(progress.commit_for(Index(6)), Index(3), "never above what it acknowledged");
    assert!(progress.commit_is_news(Index(6)));
    progress.read_started(2, Index(3));
    progress.sent(2, Index(4), 100, Instant(2));
    assert!(!progress.commit_is_news(Index(3)), "an append that says so is under way");
    assert_eq!(progress.acknowledged(2, Index(4), Index(9)), heard(2));
    assert!(!progress.commit_is_news(Index(3)));
    assert!(progress.commit_is_news(Index(4)));
    progress.commit_told(Index(4));
    assert!(!progress.commit_is_news(Index(4)));
    progress.commit_told(Index(0));
    assert!(progress.commit_is_news(Index(4)), "it restarted, and forgot");
}

#[test]
fn as_many_bytes_fly_as_may_and_no_append_more() {
    let log = log(0, &[1; 9]);
    let limits = Limits { max_flight_bytes: 100, ..LIMITS };
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 1);
    assert_eq!(progress.acknowledged(1, Index(1), Index(9)), heard(1));
    let entries = SendVerdict::Entries { from: Index(2), up_to: Index(9) };
    assert_eq!(progress.verdict(Instant(2), &log, &limits), entries);
    send(&mut progress, &log, 2, 2);
    assert_eq!(progress.verdict(Instant(2), &log, &limits), SendVerdict::Nothing, "100 bytes fly");
    assert_eq!(progress.acknowledged(2, Index(2), Index(9)), heard(2));
    let entries = SendVerdict::Entries { from: Index(3), up_to: Index(9) };
    assert_eq!(progress.verdict(Instant(2), &log, &limits), entries, "none does");
}

/// After a loss the leader probes again. An acknowledgement that says nothing new must not
/// end that: the answer that is awaited would count for nothing.
#[test]
fn a_late_acknowledgement_of_what_is_known_leaves_a_probe_alone() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 2);
    assert_eq!(progress.acknowledged(1, Index(2), Index(6)), heard(1));
    send(&mut progress, &log, 2, 4);
    assert!(progress.resend_overdue(Instant(102), true, &LIMITS));
    send(&mut progress, &log, 103, 4);
    assert_eq!(progress.acknowledged(1, Index(2), Index(6)), AckVerdict::Late);
    assert_eq!(progress.acknowledged(103, Index(4), Index(6)), heard(103));
}

#[test]
fn a_wait_is_a_deadline_until_it_is_over() {
    let mut progress = Progress::new(Index(1), 0);
    assert_eq!(progress.deadline(&LIMITS), None, "nothing is waited for");
    progress.read_started(1, Index(0));
    progress.read_failed(1, Instant(50));
    assert!(!progress.resend_overdue(Instant(49), true, &LIMITS), "nothing is under way");
    assert_eq!(progress.deadline(&LIMITS), Some(Instant(50)));
    assert!(!progress.resend_overdue(Instant(50), true, &LIMITS));
    assert_eq!(progress.deadline(&LIMITS), None);
}

#[test]
fn a_disk_has_worked_since_the_latest_acknowledged_request_left() {
    let log = log(0, &[1; 6]);
    let mut progress = Progress::new(Index(1), 0);
    send(&mut progress, &log, 1, 1);
    assert_eq!(progress.synced(), None);
    assert_eq!(progress.acknowledged(1, Index(1), Index(6)), heard(1));
    assert_eq!(progress.synced(), Some(Instant(1)));
    send(&mut progress, &log, 5, 3);
    assert_eq!(progress.acknowledged(1, Index(1), Index(6)), AckVerdict::Late);
    assert_eq!(progress.synced(), Some(Instant(1)), "what is said twice is nothing new");
    assert_eq!(progress.acknowledged(5, Index(3), Index(6)), heard(5));
    assert_eq!(progress.synced(), Some(Instant(5)));
}

#[test]
#[should_panic(expected = "matched 0 at next 0")]
fn to_offer_what_is_matched_is_a_broken_invariant() {
    let _ = Progress::new(Index::ZERO, 0);
}

#[test]
fn what_a_follower_has_lost_counts_no_more_and_is_sent_again() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(3), 0);
    send(&mut progress, &log, 1, 9);
    progress.acknowledged(1, Index(9), Index(9));
    // It has a beat's token, for nothing was under way.
    let lost = |progress: &mut Progress, number, left| {
        progress.lost(number, Position::new(1, left), number, &log)
    };
    assert_eq!(lost(&mut progress, 50, 4), LossVerdict::Back);
    assert_eq!((progress.matched(), progress.next()), (Index(4), Index(5)));
    assert_eq!(lost(&mut progress, 51, 4), LossVerdict::Known);
    send(&mut progress, &log, 52, 7);
    assert_eq!(lost(&mut progress, 53, 4), LossVerdict::Known, "it has not got it yet");
    assert_eq!(lost(&mut progress, 52, 4), LossVerdict::Known, "a hint that is none");
    assert_eq!(progress.acknowledged(52, Index(7), Index(9)), heard(52));
    // An acknowledgement from before the loss comes late.
    assert_eq!(progress.acknowledged(1, Index(9), Index(9)), AckVerdict::Late);
    assert_eq!(progress.matched(), Index(7));
}

/// The request that asks for a place in the log that is lost as well goes back further.
#[test]
fn a_request_above_what_is_left_is_answered_with_how_far_to_go_back() {
    let log = log(0, &[1; 9]);
    let mut progress = Progress::new(Index(8), 0);
    send(&mut progress, &log, 1, 9);
    assert_eq!(progress.lost(1, Position::new(1, 2), 1, &log), LossVerdict::Back);
    assert_eq!((progress.matched(), progress.next()), (Index(0), Index(3)));
    send(&mut progress, &log, 2, 9);
    progress.acknowledged(2, Index(9), Index(9));
    let longer = self::log(0, &[1; 12]);
    send(&mut progress, &longer, 3, 10);
    send(&mut progress, &longer, 4, 11);
    assert_eq!(progress.lost(4, Position::new(1, 9), 4, &longer), LossVerdict::Back);
    assert_eq!((progress.matched(), progress.next()), (Index(9), Index(10)));
}

#[test]
fn a_loss_stops_no_snapshot_and_redeems_nobody() {
    let log = log(5, &[1; 4]);
    let mut progress = Progress::new(Index(6), 0);
    send(&mut progress, &log, 1, 9);
    progress.acknowledged(1, Index(9), Index(9));
    assert_eq!(progress.lost(2, Position::new(1, 2), 2, &log), LossVerdict::Back);
    assert_eq!(progress.verdict(Instant(2), &log, &LIMITS), SendVerdict::Snapshot);
    progress.snapshot_started(3);
    assert_eq!(progress.lost(4, Position::new(1, 1), 4, &log), LossVerdict::Back);
    assert_eq!(progress.state(), &State::Snapshot { number: 3 });
    assert!(progress.snapshot_installed(3, Index(8)));
    assert_eq!((progress.matched(), progress.next()), (Index(8), Index(9)));
    progress.quarantine();
    assert_eq!(progress.lost(5, Position::new(1, 1), 5, &log), LossVerdict::Back);
    assert_eq!(progress.state(), &State::Quarantined);
}
