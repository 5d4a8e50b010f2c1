use raft_core::Random;

use super::*;

type Op = Operation<char, u64>;

/// Written as `at(from, to).put(1)`: the key is `k` and the client 0.
struct At(u64, Option<u64>);

fn at(called_at: u64, returned_at: u64) -> At {
    At(called_at, Some(returned_at))
}

fn lost_at(called_at: u64) -> At {
    At(called_at, None)
}

impl At {
    fn of(self, action: Action<u64>, outcome: Outcome<u64>) -> Op {
        Operation { client: 0, key: 'k', action, outcome, called_at: self.0, returned_at: self.1 }
    }

    fn put(self, value: u64) -> Op {
        let outcome = if self.1.is_some() { Outcome::Done } else { Outcome::Unknown };
        self.of(Action::Put(value), outcome)
    }

    fn delete(self) -> Op {
        let outcome = if self.1.is_some() { Outcome::Done } else { Outcome::Unknown };
        self.of(Action::Delete, outcome)
    }

    /// Done where an answer comes.
    fn swap(self, expected: impl Into<Option<u64>>, value: u64) -> Op {
        let outcome = if self.1.is_some() { Outcome::Done } else { Outcome::Unknown };
        self.of(Action::CompareAndSwap { expected: expected.into(), value }, outcome)
    }

    /// Nothing is changed: `actual` is there.
    fn no_swap(self, expected: impl Into<Option<u64>>, actual: impl Into<Option<u64>>) -> Op {
        let action = Action::CompareAndSwap { expected: expected.into(), value: 99 };
        self.of(action, Outcome::Read(actual.into()))
    }

    fn get(self, value: impl Into<Option<u64>>) -> Op {
        self.of(Action::Get, Outcome::Read(value.into()))
    }
}

fn judge(operations: impl IntoIterator<Item = Op>) -> Verdict<char, u64> {
    let mut history = History::new();
    history.extend(operations);
    check(&history)
}

#[track_caller]
fn good(operations: impl IntoIterator<Item = Op>) {
    if let Verdict::Violation(violation) = judge(operations) {
        panic!("{violation}");
    }
}

#[track_caller]
fn bad(operations: impl IntoIterator<Item = Op>) -> Violation<char, u64> {
    match judge(operations) {
        Verdict::Linearizable => panic!("a bad history was accepted"),
        Verdict::Violation(violation) => *violation,
    }
}

#[test]
fn one_after_the_other() {
    good([]);
    good([at(0, 1).get(None), at(2, 3).put(1), at(4, 5).get(1), at(6, 7).delete()]);
    good([at(0, 1).put(1), at(2, 3).delete(), at(4, 5).get(None), at(6, 7).put(1)]);
}

#[test]
fn concurrent_operations_may_take_either_order() {
    good([at(0, 10).put(1), at(1, 9).put(2), at(11, 12).get(1), at(13, 14).get(1)]);
    good([at(0, 10).put(1), at(1, 9).put(2), at(11, 12).get(2)]);
    good([at(0, 10).put(1), at(1, 2).get(None), at(3, 4).get(1), at(5, 6).get(1)]);
    good([at(0, 10).put(1), at(0, 10).put(2), at(0, 10).delete(), at(11, 12).get(None)]);
}

#[test]
fn two_readers_may_not_see_two_orders() {
    bad([at(0, 10).put(1), at(0, 10).put(2), at(11, 12).get(1), at(13, 14).get(2)]);
    bad([at(0, 10).put(1), at(1, 2).get(1), at(3, 4).get(None)]);
    // The classic: both writes are seen by both readers, in opposite orders.
    bad([
        at(0, 20).put(1),
        at(0, 20).put(2),
        at(1, 2).get(1),
        at(3, 4).get(2),
        at(5, 6).get(1),
        at(21, 22).get(2),
    ]);
}

#[test]
fn a_stale_read_is_found_and_explained() {
    let violation = bad([at(0, 1).put(1), at(2, 3).put(2), at(4, 5).get(2), at(6, 7).get(1)]);
    assert_eq!((violation.key, violation.value), ('k', Some(2)));
    assert_eq!(violation.culprit, at(6, 7).get(1));
    assert_eq!(violation.before.last(), Some(&at(4, 5).get(2)));
    let text = violation.to_string();
    assert!(text.contains("[6 .. 7] client 0: Get of 'k' -> Read(Some(1))"), "{text}");
}

#[test]
fn the_earliest_wrong_answer_is_the_culprit_with_the_writes_under_way() {
    let mut story = vec![at(0, 1).put(1), lost_at(2).put(2)];
    story.extend((10..100).map(|time| at(time, time).get(1)));
    story.push(at(50, 60).get(9));
    story.push(at(95, 96).get(None));
    let violation = bad(story);
    assert_eq!(violation.culprit, at(50, 60).get(9));
    assert_eq!(violation.pending, [lost_at(2).put(2)]);
}

#[test]
fn a_lost_write_is_found() {
    bad([at(0, 1).put(1), at(2, 3).get(None)]);
    bad([at(0, 1).put(1), at(2, 3).put(2), at(4, 5).get(1)]);
    bad([at(0, 1).put(1), at(2, 3).delete(), at(4, 5).get(1)]);
}

#[test]
fn a_value_out_of_nowhere_is_found() {
    bad([at(0, 1).get(7)]);
    bad([at(0, 1).get(1), at(2, 3).put(1)]);
    bad([at(0, 1).get(1), lost_at(2).put(1)]);
}

#[test]
fn an_unknown_write_happens_late_or_never_but_once() {
    good([lost_at(0).put(1), at(1, 2).get(None)]);
    good([lost_at(0).put(1), at(1, 2).get(None), at(900, 901).get(1), at(902, 903).get(1)]);
    good([at(0, 1).put(1), lost_at(2).delete(), at(3, 4).get(1), at(5, 6).get(None)]);
    bad([lost_at(0).put(1), at(1, 2).get(1), at(3, 4).get(None)]);
    bad([lost_at(0).put(1), at(1, 2).get(1), at(3, 4).put(2), at(5, 6).get(2), at(7, 8).get(1)]);
    // Two lost deletes explain two disappearances, not three.
    let story = |deletes: u64| {
        let mut story: Vec<Op> = (0..deletes).map(|_| lost_at(0).delete()).collect();
        for round in 0..3 {
            let from = 10 * (round + 1);
            story.push(at(from, from + 1).put(round));
            story.push(at(from + 2, from + 3).get(round));
            story.push(at(from + 4, from + 5).get(None));
        }
        story
    };
    good(story(3));
    bad(story(2));
}

#[test]
fn of_two_swaps_of_one_value_only_one_happens() {
    good([at(0, 1).put(1), at(2, 9).swap(1, 2), at(2, 9).no_swap(1, 2), at(10, 11).get(2)]);
    good([at(0, 1).swap(None, 1), at(2, 9).swap(1, 2), at(2, 9).swap(2, 3), at(10, 11).get(3)]);
    bad([at(0, 1).put(1), at(2, 9).swap(1, 2), at(2, 9).swap(1, 3)]);
    bad([at(0, 1).put(1), at(2, 3).swap(None, 2)]);
    bad([at(0, 1).put(1), at(2, 3).swap(1, 2), at(4, 5).get(1)]);
    // A swap that says why it did not happen has read; what it expected is no reason.
    bad([at(0, 1).put(1), at(2, 3).no_swap(2, None)]);
    bad([at(0, 1).put(1), at(2, 3).no_swap(1, 1)]);
}

#[test]
fn an_unknown_swap_happens_where_it_can_or_never() {
    good([at(0, 1).put(1), lost_at(2).swap(1, 2), at(3, 4).get(1), at(5, 6).get(2)]);
    good([at(0, 1).put(1), lost_at(2).swap(1, 2), lost_at(2).swap(2, 3), at(5, 6).get(3)]);
    good([at(0, 1).put(1), lost_at(2).swap(1, 2), at(5, 6).swap(2, 3), at(7, 8).get(3)]);
    bad([at(0, 1).put(1), lost_at(2).swap(3, 2), at(5, 6).get(2)]);
    bad([at(0, 1).put(1), lost_at(2).swap(2, 3), at(5, 6).get(3)]);
    bad([at(0, 1).put(1), lost_at(2).swap(1, 2), at(3, 4).put(3), at(5, 6).get(2)]);
}

#[test]
fn a_refused_write_must_never_show() {
    let refused = at(0, 1).of(Action::Put(1), Outcome::Refused);
    good([refused.clone(), at(2, 3).get(None)]);
    bad([refused, at(2, 3).get(1)]);
}

#[test]
fn an_unanswered_read_says_nothing() {
    good([at(0, 1).put(1), lost_at(2).of(Action::Get, Outcome::Unknown), at(3, 4).get(1)]);
}

#[test]
fn operations_that_touch_in_an_instant_are_concurrent() {
    good([at(0, 5).put(1), at(5, 6).get(None)]);
    bad([at(0, 5).put(1), at(6, 6).get(None)]);
}

#[test]
fn equal_values_are_told_apart_by_their_writes() {
    good([at(0, 1).put(1), at(2, 3).put(2), at(4, 5).get(2), at(6, 7).put(1), at(8, 9).get(1)]);
    bad([at(0, 1).put(1), at(2, 3).put(2), at(4, 5).get(1), at(6, 7).put(1)]);
    bad([at(0, 9).put(1), at(0, 9).put(2), at(1, 2).get(2), at(3, 4).get(1), at(5, 6).get(2)]);
    good([
        at(0, 9).put(1),
        at(0, 9).put(2),
        lost_at(0).put(2),
        at(1, 2).get(2),
        at(3, 4).get(1),
        at(5, 6).get(2),
    ]);
}

#[test]
fn each_key_is_judged_alone() {
    let other = |operation: Op| Operation { key: 'o', ..operation };
    good([at(0, 1).put(1), other(at(2, 3).get(None)), other(at(4, 5).put(2)), at(6, 7).get(1)]);
    let violation = bad([at(0, 1).put(1), at(2, 3).get(1), other(at(4, 5).get(1))]);
    assert_eq!(violation.key, 'o');
}

#[test]
#[should_panic(expected = "called at 3, returned at 2")]
fn a_record_that_contradicts_itself_is_refused() {
    good([at(3, 2).put(1)]);
}

/// What a real register answers: operations take effect one after the other, at
/// instants 10 apart, and each is called and returns at random around its instant.
/// Some writes lose their answer, some of those also their effect.
fn truthful(random: &mut Random, length: u64, clients: u64, keys: u64, values: u64) -> Vec<Op> {
    let mut free_at = vec![0; usize::try_from(clients).unwrap()];
    let mut registers: BTreeMap<u64, u64> = BTreeMap::new();
    let mut operations = Vec::new();
    for turn in 1..=length {
        let instant = turn * 10;
        let client = random.below(clients);
        let free = &mut free_at[usize::try_from(client).unwrap()];
        if *free >= instant {
            continue;
        }
        let called_at = (*free + 1).max(instant.saturating_sub(random.below(10 * clients)));
        let returned_at = instant + random.below(10 * clients);
        *free = returned_at;
        let lost = random.chance(100);
        let happens = !lost || random.chance(500);
        let answered = if lost { Outcome::Unknown } else { Outcome::Done };
        let key = random.below(keys);
        let value = if values == 0 { turn } else { random.below(values) };
        let actual = registers.get(&key).copied();
        let (action, outcome) = match random.below(10) {
            0..3 => (Action::Put(value), answered),
            3 => (Action::Delete, answered),
            4 | 5 => {
                let guess = (values > 0).then(|| random.below(values));
                let expected = if random.chance(600) { actual } else { guess };
                let outcome = match answered {
                    Outcome::Done if actual != expected => Outcome::Read(actual),
                    answered => answered,
                };
                (Action::CompareAndSwap { expected, value }, outcome)
            }
            _ => (Action::Get, Outcome::Read(actual)),
        };
        match action {
            Action::Put(value) if happens => drop(registers.insert(key, value)),
            Action::Delete if happens => drop(registers.remove(&key)),
            Action::CompareAndSwap { expected, value } if happens && actual == expected => {
                registers.insert(key, value);
            }
            _ => {}
        }
        let key = char::from(b'a' + u8::try_from(key).unwrap());
        let returned_at = (outcome != Outcome::Unknown).then_some(returned_at);
        operations.push(Operation { client, key, action, outcome, called_at, returned_at });
    }
    operations
}

#[test]
fn what_a_real_register_answers_is_always_accepted() {
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let (clients, keys) = (1 + random.below(8), 1 + random.below(3));
        let values = if random.chance(500) { 0 } else { 1 + random.below(5) };
        good(truthful(&mut random, 200, clients, keys, values));
    }
}

/// Tries every order; only for a handful of operations on one key.
fn explained_by_brute_force(operations: &[Op], value: Option<u64>) -> bool {
    let must = |one: &Op| matches!(one.outcome, Outcome::Done | Outcome::Read(_));
    if !operations.iter().any(must) {
        return true;
    }
    (0..operations.len()).any(|next| {
        let one = &operations[next];
        let late = |o: &Op| must(o) && o.returned_at.is_some_and(|at| at < one.called_at);
        if one.outcome == Outcome::Refused || operations.iter().any(late) {
            return false;
        }
        let mut rest = operations.to_vec();
        rest.remove(next);
        match (&one.action, &one.outcome) {
            (Action::Put(new), _) => explained_by_brute_force(&rest, Some(*new)),
            (Action::Delete, _) => explained_by_brute_force(&rest, None),
            (Action::CompareAndSwap { expected, value: new }, Outcome::Done | Outcome::Unknown) => {
                *expected == value && explained_by_brute_force(&rest, Some(*new))
            }
            (Action::CompareAndSwap { expected, .. }, Outcome::Read(read)) => {
                *read == value && *expected != value && explained_by_brute_force(&rest, value)
            }
            (Action::CompareAndSwap { .. }, Outcome::Refused) => false,
            (Action::Get, Outcome::Read(read)) => {
                *read == value && explained_by_brute_force(&rest, value)
            }
            (Action::Get, _) => explained_by_brute_force(&rest, value),
        }
    })
}

#[test]
fn small_histories_are_judged_as_by_trying_every_order() {
    let (mut accepted, mut rejected) = (0, 0);
    for seed in 0..4000 {
        let mut random = Random::new(seed);
        let clients = 2 + random.below(4);
        let mut operations = truthful(&mut random, 8, clients, 1, 3);
        // Half of them with an answer that somebody made up.
        for one in &mut operations {
            let answers = matches!(one.outcome, Outcome::Read(_));
            if seed % 2 == 0 && answers && random.chance(400) {
                one.outcome = Outcome::Read(Some(random.below(3)));
            }
        }
        let expected = explained_by_brute_force(&operations, None);
        let verdict = judge(operations.iter().cloned());
        assert_eq!(verdict.is_linearizable(), expected, "seed {seed}: {operations:#?}");
        if expected { accepted += 1 } else { rejected += 1 }
    }
    assert!(accepted > 500 && rejected > 500, "{accepted} accepted, {rejected} rejected");
}

#[test]
fn a_long_history_with_one_wrong_answer_is_rejected() {
    for seed in 0..100 {
        let mut random = Random::new(seed);
        let mut operations = truthful(&mut random, 400, 5, 2, 0);
        good(operations.clone());
        // A read of the last quarter answers with a value overwritten long before.
        let old = operations.iter().find_map(|one| match (&one.action, &one.outcome) {
            (Action::Put(value), Outcome::Done) if one.key == 'a' => Some(*value),
            _ => None,
        });
        let start = operations.len() * 3 / 4;
        let read = operations[start..].iter_mut().find(|one| {
            one.key == 'a' && matches!(one.outcome, Outcome::Read(value) if value != old)
        });
        read.expect("somebody reads").outcome = Outcome::Read(old);
        bad(operations);
    }
}

/// A search that tried the orders of these one by one would not end.
#[test]
fn ten_thousand_operations_are_judged() {
    let mut random = Random::new(7);
    for keys in [1, 4] {
        let mut operations = truthful(&mut random, 20_000, 10, keys, 0);
        assert!(operations.len() > 8_000, "{} operations", operations.len());
        // One client hangs in a write throughout, as one of a stopped process does.
        operations.push(Operation { key: 'a', ..at(5, 200_000).put(u64::MAX) });
        good(operations.iter().cloned());
        operations.push(Operation { key: 'a', ..at(500_000, 500_001).get(3) });
        bad(operations);
    }
}
