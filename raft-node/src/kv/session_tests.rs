//! Commands of sessions in both stores, across flushes, snapshots and restarts.

use raft_core::GroupTime;

use super::*;
use crate::WantsTime;

fn answers(store: &mut impl StateMachine, commands: &[Command]) -> Vec<KvAnswer> {
    let up_to = commands.last().unwrap().index;
    let answers = store.apply(commands, up_to).unwrap().into_iter();
    answers.map(|answer| KvAnswer::decode(answer).unwrap()).collect()
}

fn answer(store: &mut impl StateMachine, command: Command) -> KvAnswer {
    answers(store, &[command]).pop().unwrap()
}

fn close_session(index: u64, session: u64) -> Command {
    let command = KvCommand::CloseSession { session: SessionId(session) };
    Command { index: Index(index), payload: command.encode() }
}

fn repeated(index: u64, answer: &KvAnswer) -> KvAnswer {
    KvAnswer::Repeated { index: Index(index), answer: answer.encode() }
}

const GONE: KvAnswer = KvAnswer::Deleted { existed: true };
const NOT_OPEN: KvAnswer = KvAnswer::SessionNotOpen { session: SessionId(1) };

/// The story of one session; `get` looks into the store.
fn a_session<S: StateMachine>(store: &mut S, get: impl Fn(&S, &[u8]) -> Option<Bytes>) {
    let expires_after = Duration::from_millis(500);
    let opened = KvAnswer::SessionOpened { session: SessionId(1), expires_after };
    assert_eq!(answer(store, open_session(1, 500)), opened);

    // One client deletes, another one puts the key again: the retry must not delete it.
    let batch = [put(2, "k", "1"), once(1, 1, delete(3, "k")), put(4, "k", "2")];
    assert_eq!(answers(store, &batch), [KvAnswer::Stored, GONE, KvAnswer::Stored]);
    assert_eq!(answer(store, once(1, 1, delete(5, "k"))), repeated(3, &GONE));
    assert_eq!(get(store, b"k"), Some("2".into()));

    // Within one batch as well.
    let batch = [once(1, 2, put(6, "k", "3")), put(7, "k", "4"), once(1, 2, put(8, "k", "3"))];
    let stored = KvAnswer::Stored;
    assert_eq!(answers(store, &batch), [stored.clone(), stored.clone(), repeated(6, &stored)]);
    assert_eq!(get(store, b"k"), Some("4".into()));

    // The answer is the one of then, whatever is there now.
    let unequal = KvAnswer::Unequal { actual: Actual::Value("4".into()) };
    let swaps = [8, 8].map(|index| once(1, 3, swap(index, "k", None, "5")));
    assert_eq!(answers(store, &swaps), [unequal.clone(), repeated(8, &unequal)]);

    let stale = KvAnswer::Stale { acknowledged: Sequence(2) };
    assert_eq!(answer(store, once(1, 1, put(9, "k", "5"))), stale);
    assert_eq!(get(store, b"k"), Some("4".into()));
    assert_eq!(store.timekeeping().wants, WantsTime::Soon);

    assert_eq!(answer(store, close_session(10, 1)), KvAnswer::SessionClosed { existed: true });
    assert_eq!(answer(store, close_session(11, 1)), KvAnswer::SessionClosed { existed: false });
    assert_eq!(answer(store, once(1, 4, put(12, "k", "6"))), NOT_OPEN);
    assert_eq!(get(store, b"k"), Some("4".into()));
    assert_eq!(store.timekeeping().wants, WantsTime::Never);
}

#[test]
fn a_command_of_a_session_is_applied_once() {
    let mut store = Disk::default().open().group(GROUP).unwrap();
    a_session(&mut store, |store, key| store.get(key).unwrap());
    a_session(&mut MemoryStore::new(), |store, key| store.get(key).cloned());
}

/// A store in which `k` was deleted by number 1 of session 1, at index 3 of 4, and put again.
fn with_a_session(store: &mut impl StateMachine) {
    answers(store, &[open_session(1, 500), put(2, "k", "1"), once(1, 1, delete(3, "k"))]);
    store.advance(Index(4), GroupTime(40)).unwrap();
    answers(store, &[put(5, "k", "2")]);
}

#[test]
fn sessions_are_flushed_with_the_data_and_a_crash_loses_neither_alone() {
    let disk = Disk::default();
    let mut store = disk.open().group(GROUP).unwrap();
    with_a_session(&mut store);
    store.flush().unwrap();
    // Not durable: they will be applied again.
    answers(&mut store, &[once(1, 2, delete(6, "k")), close_session(7, 1)]);

    let mut store = disk.after_a_crash(&mut Random::new(1)).open().group(GROUP).unwrap();
    assert_eq!(store.applied(), Index(5));
    assert_eq!(store.timekeeping().reached, GroupTime(40));
    assert_eq!(store.timekeeping().wants, WantsTime::At(GroupTime(540)));
    assert_eq!(answer(&mut store, once(1, 2, delete(6, "k"))), GONE);
    assert_eq!(answer(&mut store, once(1, 2, delete(7, "k"))), repeated(6, &GONE));
}

#[test]
fn sessions_are_part_of_a_snapshot() {
    let mut source = MemoryStore::new();
    with_a_session(&mut source);
    let disk = Disk::default();
    let mut store = disk.open().group(GROUP).unwrap();
    answers(&mut store, &[open_session(1, 500), open_session(2, 500)]);
    store.restore(Index(5), &mut &image(&mut source)[..]).unwrap();

    let mut store = disk.after_a_crash(&mut Random::new(2)).open().group(GROUP).unwrap();
    assert_eq!(store.state_hash().unwrap(), source.state_hash());
    for store in [&mut store as &mut dyn StateMachine, &mut source] {
        let retry = store.apply(&[once(1, 1, delete(6, "k"))], Index(6)).unwrap();
        assert_eq!(KvAnswer::decode(retry[0].clone()), Ok(repeated(3, &GONE)));
    }
    let not_open = KvAnswer::SessionNotOpen { session: SessionId(2) };
    assert_eq!(answer(&mut store, once(2, 1, put(7, "k", "3"))), not_open, "it was replaced");
}

#[test]
fn a_snapshot_of_sessions_stays_what_it_was_while_they_go_on() {
    let mut store = Disk::default().open().group(GROUP).unwrap();
    with_a_session(&mut store);
    let before = store.state_hash().unwrap();
    let mut snapshot = store.snapshot().unwrap();
    answers(&mut store, &[once(1, 2, put(6, "k", "3")), close_session(7, 1)]);
    store.flush().unwrap();
    let mut copy = MemoryStore::new();
    copy.restore(Index(5), &mut snapshot).unwrap();
    assert_eq!(copy.state_hash(), before);
}

#[test]
fn a_session_expires_at_the_same_place_in_every_store() {
    let disk = Disk::default();
    let mut stores = (disk.open().group(GROUP).unwrap(), MemoryStore::new());
    with_a_session(&mut stores.0);
    stores.0.flush().unwrap();
    let mut reopened = disk.after_a_crash(&mut Random::new(3)).open().group(GROUP).unwrap();
    with_a_session(&mut stores.1);
    for store in [&mut stores.0 as &mut dyn StateMachine, &mut reopened, &mut stores.1] {
        store.advance(Index(6), GroupTime(539)).unwrap();
        store.advance(Index(7), GroupTime(540)).unwrap();
        let late = store.apply(&[once(1, 2, delete(8, "k"))], Index(8)).unwrap();
        assert_eq!(KvAnswer::decode(late[0].clone()), Ok(NOT_OPEN));
    }
    let hash = stores.0.state_hash().unwrap();
    assert_eq!((reopened.state_hash().unwrap(), stores.1.state_hash()), (hash, hash));
    assert_eq!(stores.1.get(b"k"), Some(&"2".into()));
}

#[test]
fn sessions_without_end_are_refused() {
    let mut store = MemoryStore::new();
    let many: Vec<Command> = (1..=10_001).map(|index| open_session(index, 500)).collect();
    let opened = answers(&mut store, &many);
    assert!(matches!(opened[9999], KvAnswer::SessionOpened { .. }));
    assert!(matches!(opened[10_000], KvAnswer::NoRoom { .. }), "{:?}", opened[10_000]);

    let never_acknowledged = |sequence: u64| {
        let call = SessionCall {
            session: SessionId(1),
            sequence: Sequence(sequence),
            acknowledged: Sequence(0),
        };
        let change = KvCommand::decode(put(1, "k", "1").payload).unwrap();
        let payload = KvCommand::InSession { call, change: Box::new(change) }.encode();
        Command { index: Index(20_000 + sequence), payload }
    };
    let many: Vec<Command> = (1..=257).map(never_acknowledged).collect();
    let answered = answers(&mut store, &many);
    assert_eq!(answered[255], KvAnswer::Stored);
    assert!(matches!(answered[256], KvAnswer::NoRoom { .. }), "{:?}", answered[256]);
}
