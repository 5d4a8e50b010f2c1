use raft_core::Random;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);
const SMALL: SessionLimits = SessionLimits { sessions: 2, answers: 3, answer_bytes: 10 };

fn call(session: SessionId, sequence: u64, acknowledged: u64) -> SessionCall {
    let (sequence, acknowledged) = (Sequence(sequence), Sequence(acknowledged));
    SessionCall { session, sequence, acknowledged }
}

/// Applies a command if it is to be applied; the answer is its number.
fn apply(sessions: &mut Sessions, index: u64, call: SessionCall) -> Admission {
    let admission = sessions.admit(call);
    if admission == Admission::Fresh {
        sessions.remember(call, Index(index), answer(call.sequence.0));
    }
    admission
}

fn answer(number: u64) -> Bytes {
    Bytes::from(number.to_string())
}

fn repeated(index: u64, number: u64) -> Admission {
    Admission::Repeated { index: Index(index), answer: answer(number) }
}

#[test]
fn a_repeated_command_is_answered_as_before_and_not_applied() {
    let mut sessions = Sessions::new(SMALL);
    let id = sessions.open(Index(1), MINUTE).unwrap();
    assert_eq!(apply(&mut sessions, 2, call(id, 1, 0)), Admission::Fresh);
    assert_eq!(apply(&mut sessions, 3, call(id, 1, 0)), repeated(2, 1));
    assert_eq!(apply(&mut sessions, 4, call(id, 1, 0)), repeated(2, 1));
}

#[test]
fn commands_may_come_in_any_order_until_they_are_acknowledged() {
    let mut sessions = Sessions::new(SMALL);
    let id = sessions.open(Index(1), MINUTE).unwrap();
    assert_eq!(apply(&mut sessions, 2, call(id, 3, 0)), Admission::Fresh);
    assert_eq!(apply(&mut sessions, 3, call(id, 1, 0)), Admission::Fresh);
    assert_eq!(apply(&mut sessions, 4, call(id, 4, 2)), Admission::Fresh);
    let stale = Admission::Stale { acknowledged: Sequence(2) };
    assert_eq!(apply(&mut sessions, 5, call(id, 1, 0)), stale, "it was applied");
    assert_eq!(apply(&mut sessions, 6, call(id, 2, 1)), stale, "it never was, and never will be");
    assert_eq!(apply(&mut sessions, 7, call(id, 3, 2)), repeated(2, 3));
}

#[test]
fn a_command_acknowledges_at_most_what_lies_below_it() {
    let mut sessions = Sessions::new(SMALL);
    let id = sessions.open(Index(1), MINUTE).unwrap();
    assert_eq!(apply(&mut sessions, 2, call(id, 2, u64::MAX)), Admission::Fresh);
    assert_eq!(apply(&mut sessions, 3, call(id, 2, 9)), repeated(2, 2));
    let stale = Admission::Stale { acknowledged: Sequence(1) };
    assert_eq!(apply(&mut sessions, 4, call(id, 0, 0)), stale, "numbers begin with 1");
    assert_eq!(apply(&mut sessions, 5, call(id, u64::MAX, u64::MAX)), Admission::Fresh);
    assert_eq!(apply(&mut sessions, 6, call(id, u64::MAX, u64::MAX)), repeated(5, u64::MAX));
}

#[test]
fn a_session_that_is_not_open_applies_nothing() {
    let mut sessions = Sessions::new(SMALL);
    assert_eq!(apply(&mut sessions, 1, call(SessionId(9), 1, 0)), Admission::NotOpen);
    let id = sessions.open(Index(2), MINUTE).unwrap();
    assert_eq!(sessions.close(id), Closing::Closed);
    assert_eq!(apply(&mut sessions, 3, call(id, 1, 0)), Admission::NotOpen);
    assert_eq!(sessions.close(id), Closing::NotOpen);
    assert!(sessions.is_empty());
}

#[test]
fn without_room_for_its_answer_a_command_waits_until_others_are_acknowledged() {
    let mut sessions = Sessions::new(SMALL);
    let id = sessions.open(Index(1), MINUTE).unwrap();
    for sequence in [1, 2, 3] {
        assert_eq!(apply(&mut sessions, 2, call(id, sequence, 0)), Admission::Fresh);
    }
    assert_eq!(apply(&mut sessions, 5, call(id, 4, 0)), Admission::Full);
    assert_eq!(apply(&mut sessions, 6, call(id, 3, 0)), repeated(2, 3), "it needs no room");
    assert_eq!(apply(&mut sessions, 7, call(id, 4, 1)), Admission::Fresh);

    let id = sessions.open(Index(8), MINUTE).unwrap();
    let large = call(id, 1, 0);
    assert_eq!(sessions.admit(large), Admission::Fresh);
    sessions.remember(large, Index(9), Bytes::from_static(b"ten bytes."));
    assert_eq!(apply(&mut sessions, 10, call(id, 2, 0)), Admission::Full);
    assert_eq!(apply(&mut sessions, 11, call(id, 2, 1)), Admission::Fresh);
}

#[test]
fn no_more_sessions_are_opened_than_there_may_be() {
    let mut sessions = Sessions::new(SMALL);
    let first = sessions.open(Index(1), MINUTE).unwrap();
    sessions.open(Index(2), MINUTE).unwrap();
    assert_eq!(sessions.open(Index(3), MINUTE), Err(TooManySessions(2)));
    sessions.close(first);
    assert_eq!(sessions.open(Index(4), MINUTE), Ok(SessionId(4)));
    assert_eq!(sessions.len(), 2);
}

#[test]
fn a_session_expires_by_the_times_it_is_told_and_by_nothing_else() {
    let mut sessions = Sessions::new(SMALL);
    assert_eq!(sessions.timekeeping(), Timekeeping::default(), "nothing waits");
    let at = |ms| WantsTime::At(GroupTime(ms));

    // The group has long been led when the session opens: that time is not the session's.
    let id = sessions.open(Index(1), Duration::from_millis(100)).unwrap();
    assert_eq!(sessions.timekeeping().wants, WantsTime::Soon);
    assert_eq!(sessions.advance(GroupTime(5000)), []);
    let reached = GroupTime(5000);
    assert_eq!(sessions.timekeeping(), Timekeeping { reached, wants: at(5100) });

    // A command keeps it open, even one that is not applied.
    assert_eq!(sessions.advance(GroupTime(5099)), []);
    assert_eq!(
        apply(&mut sessions, 4, call(id, 0, 0)),
        Admission::Stale { acknowledged: Sequence(0) }
    );
    assert_eq!(sessions.timekeeping().wants, WantsTime::Soon);
    assert_eq!(sessions.advance(GroupTime(9000)), []);
    assert_eq!(sessions.timekeeping().wants, at(9100));

    // A time that lies before the last one is that one.
    assert_eq!(sessions.advance(GroupTime(3)), []);
    assert_eq!(sessions.timekeeping(), Timekeeping { reached: GroupTime(9000), wants: at(9100) });

    assert_eq!(sessions.advance(GroupTime(9100)), [id]);
    assert_eq!(apply(&mut sessions, 9, call(id, 1, 0)), Admission::NotOpen);
    assert_eq!(sessions.timekeeping().wants, WantsTime::Never);
}

#[test]
#[should_panic(expected = "is opened twice")]
fn one_entry_opens_one_session() {
    let mut sessions = Sessions::new(SMALL);
    let _ = sessions.open(Index(1), MINUTE);
    let _ = sessions.open(Index(1), MINUTE);
}

#[test]
#[should_panic(expected = "is applied twice")]
fn an_answer_to_what_was_answered_is_our_own_broken_invariant() {
    let mut sessions = Sessions::new(SMALL);
    let id = sessions.open(Index(1), MINUTE).unwrap();
    sessions.remember(call(id, 1, 0), Index(2), Bytes::new());
    sessions.remember(call(id, 1, 0), Index(3), Bytes::new());
}

/// The slow and simple oracle: everything that was ever applied, by session and number.
#[derive(Default)]
struct Applied(BTreeMap<(SessionId, u64), u64>);

/// Whatever a client sends, whatever expires, and wherever it is encoded and read again: no
/// command is applied twice, and one that was is answered as then, or not at all.
#[test]
fn at_most_once_whatever_comes() {
    let mut random = Random::new(3);
    for _ in 0..300 {
        let (mut sessions, mut applied) = (Sessions::new(SMALL), Applied::default());
        let (mut known, mut time) = (vec![SessionId(0)], 0);
        for index in 1..150 {
            let id = known[usize::try_from(random.below(known.len() as u64)).unwrap()];
            match random.below(20) {
                0..=1 => {
                    let expires_after = Duration::from_millis(random.below(300));
                    known.extend(sessions.open(Index(index), expires_after));
                }
                2 => drop(sessions.close(id)),
                3..=5 => {
                    time += random.below(100);
                    sessions.advance(GroupTime(time));
                }
                6 => {
                    let decoded = Sessions::decode(SMALL, &sessions.encode());
                    assert_eq!(decoded.as_ref(), Ok(&sessions));
                }
                _ => {
                    let call = call(id, random.below(9), random.below(5));
                    applied.check(call, index, &apply(&mut sessions, index, call));
                }
            }
        }
    }
}

impl Applied {
    fn check(&mut self, call: SessionCall, index: u64, admission: &Admission) {
        let name = (call.session, call.sequence.0);
        match admission {
            Admission::Fresh => assert_eq!(self.0.insert(name, index), None, "{call:?} twice"),
            Admission::Repeated { index, answer: given } => {
                assert_eq!(self.0.get(&name), Some(&index.0), "{call:?}");
                assert_eq!(*given, answer(call.sequence.0));
            }
            Admission::Full => assert_eq!(self.0.get(&name), None, "{call:?} was applied"),
            Admission::Stale { .. } | Admission::NotOpen => {}
        }
    }
}

/// A session that was used, one that was not, and answers.
fn some() -> Sessions {
    let mut sessions = Sessions::new(SMALL);
    let first = sessions.open(Index(1), MINUTE).unwrap();
    sessions.open(Index(2), MINUTE).unwrap();
    sessions.advance(GroupTime(7));
    for sequence in [2, 3] {
        assert_eq!(apply(&mut sessions, 3, call(first, sequence, 1)), Admission::Fresh);
    }
    sessions
}

#[test]
fn sessions_survive_the_way_into_bytes_and_back() {
    let sessions = some();
    let bytes = sessions.encode();
    assert_eq!(Sessions::decode(SMALL, &bytes), Ok(sessions));
    for cut in 0..bytes.len() {
        assert_eq!(Sessions::decode(SMALL, &bytes[..cut]), Err(SessionsDecodeError::Length));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Sessions::decode(SMALL, &longer), Err(SessionsDecodeError::Length));
    let newer = [&[2], &bytes[1..]].concat();
    assert_eq!(Sessions::decode(SMALL, &newer), Err(SessionsDecodeError::Version(2)));
}

#[test]
fn the_encoding_is_fixed() {
    let mut sessions = Sessions::new(SMALL);
    let id = sessions.open(Index(5), Duration::from_millis(9)).unwrap();
    assert_eq!(apply(&mut sessions, 6, call(id, 2, 1)), Admission::Fresh);
    sessions.advance(GroupTime(7));
    let number = |n: u64| n.to_le_bytes();
    let (head, one) = ([&[1][..], &number(7)].concat(), 1_u32.to_le_bytes());
    let session = [number(5), number(9)].concat();
    let used = [&[1][..], &number(7), &number(1)].concat();
    let answer = [&number(2)[..], &number(6), &one, b"2"].concat();
    let expected = [&head[..], &one, &session, &used, &one, &answer].concat();
    assert_eq!(sessions.encode(), expected);
}

#[test]
fn bytes_that_break_an_invariant_are_no_sessions() {
    let bytes = some().encode();
    let with = |at: usize, byte: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = byte;
        Sessions::decode(SMALL, &bytes)
    };
    // After the head of 13 bytes: name 8, expiry 8, timed 1, used 8, acknowledged 8,
    // count 4, and two answers of 21 bytes; then the second session.
    let [timed, first_answer, second_answer, second] = [29, 50, 71, 92];
    let out_of_order = Err(Invalid("names out of order"));
    assert_eq!(with(second, 1), out_of_order);
    let numbers = Err(Invalid("numbers of answers out of order"));
    assert_eq!(with(first_answer, 1), numbers, "it is acknowledged");
    assert_eq!(with(second_answer, 2), numbers);
    let no_time = Err(Invalid("a session that was used at no time"));
    assert_eq!(with(timed, 2), no_time);
    assert_eq!(with(timed + 1, 1), no_time);
    assert_eq!(with(second + 17, 8), no_time, "later than now");
    let minute = &60_000_u64.to_le_bytes();
    assert_eq!(&bytes[second + 8..][..8], minute);
    let mut expired = bytes.to_vec();
    expired[second + 8..][..8].fill(0);
    assert_eq!(Sessions::decode(SMALL, &expired), Err(Invalid("a session that has expired")));
}

use SessionsDecodeError::Invalid;
