use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raft_core::Random;
use redb::StorageBackend;

use super::*;
use crate::kv::{Actual, KvAnswer, KvCommand, KvOptions, MemoryStore};
use crate::sessions::{Sequence, SessionCall, SessionId};

const GROUP: GroupId = GroupId(1);

/// A disk that loses what was not synced: a crash keeps a random part of the writes
/// since the last sync.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<DiskState>>);

#[derive(Debug, Default)]
struct DiskState {
    now: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    full: bool,
    /// Writes that found no room.
    refused: usize,
    /// How many syncs still succeed before one fails.
    failing_sync: Option<usize>,
}

impl Disk {
    fn after_a_crash(&self, random: &mut Random) -> Self {
        let state = self.0.lock().unwrap();
        let mut kept = state.synced.clone();
        for (offset, data) in &state.unsynced {
            if random.chance(500) {
                kept.resize(kept.len().max(offset + data.len()), 0);
                kept[*offset..][..data.len()].copy_from_slice(data);
            }
        }
        let state = DiskState { now: kept.clone(), synced: kept, ..DiskState::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    fn open(&self) -> KvDatabase {
        KvDatabase::with_backend(self.clone(), &KvOptions { cache_bytes: 256 * 1024 }).unwrap()
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.lock().unwrap().now[offset..][..out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        let mut state = self.0.lock().unwrap();
        state.now.resize(len, 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let state = &mut *self.0.lock().unwrap();
        let unsynced = std::mem::take(&mut state.unsynced);
        match state.failing_sync.as_mut() {
            // What it should have made durable never will be, and can be read all the same.
            Some(0) => {
                state.failing_sync = None;
                return Err(io::Error::other("a sync that fails"));
            }
            Some(passing) => *passing -= 1,
            None => {}
        }
        state.synced.resize(state.now.len(), 0);
        for (offset, data) in unsynced {
            state.synced[offset..][..data.len()].copy_from_slice(&data);
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).unwrap();
        let mut state = self.0.lock().unwrap();
        if state.full {
            state.refused += 1;
            return Err(io::ErrorKind::StorageFull.into());
        }
        state.now[offset..][..data.len()].copy_from_slice(data);
        state.unsynced.push((offset, data.to_vec()));
        Ok(())
    }
}

fn put(index: u64, key: &str, value: &str) -> Command {
    let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
    Command { index: Index(index), payload: KvCommand::Put { key, value }.encode() }
}

fn delete(index: u64, key: &str) -> Command {
    let key = Bytes::from(key.to_owned());
    Command { index: Index(index), payload: KvCommand::Delete { key }.encode() }
}

fn swap(index: u64, key: &str, expected: Option<&str>, value: &str) -> Command {
    let own = |text: &str| Bytes::from(text.to_owned());
    let (key, expected, value) = (own(key), expected.map(own), own(value));
    let command = KvCommand::CompareAndSwap { key, expected, value };
    Command { index: Index(index), payload: command.encode() }
}

/// A command as it is sent in a session.
fn once(session: u64, sequence: u64, command: Command) -> Command {
    let call = SessionCall::one_at_a_time(SessionId(session), Sequence(sequence));
    let change = Box::new(KvCommand::decode(command.payload).unwrap());
    Command { payload: KvCommand::InSession { call, change }.encode(), ..command }
}

fn open_session(index: u64, ms: u64) -> Command {
    let command = KvCommand::OpenSession { expires_after: Duration::from_millis(ms) };
    Command { index: Index(index), payload: command.encode() }
}

/// Every seventh command opens a session, and a third are sent in one of those.
fn random_command(index: u64, random: &mut Random) -> Command {
    if index.is_multiple_of(7) {
        return open_session(index, random.below(300));
    }
    let key = random.below(50).to_string();
    let command = if random.chance(200) {
        // Of so few values that the expected one is often there.
        let [expected, value] = [0; 2].map(|_| random.below(3).to_string());
        let expected = random.chance(700).then_some(&expected[..]);
        swap(index, &format!("swapped {}", random.below(3)), expected, &value)
    } else if random.chance(300) {
        delete(index, &key)
    } else {
        let len = usize::try_from(random.below(300)).unwrap();
        put(index, &key, &format!("{index}-{}", "x".repeat(len)))
    };
    let session = 7 * (index / 7).saturating_sub(random.below(3));
    if random.chance(300) { once(session, random.below(4), command) } else { command }
}

/// Applies the command of `index`, or at times the time.
fn random_step(store: &mut impl StateMachine, index: u64, random: &mut Random) {
    if random.chance(100) {
        store.advance(Index(index), GroupTime(index * 10)).unwrap();
    } else {
        store.apply(&[random_command(index, random)], Index(index)).unwrap();
    }
}

fn image(store: &mut impl StateMachine) -> Vec<u8> {
    let mut image = Vec::new();
    store.snapshot().unwrap().read_to_end(&mut image).unwrap();
    image
}

#[test]
fn commands_change_the_state_and_are_answered() {
    let database = Disk::default().open();
    let mut store = database.group(GROUP).unwrap();
    let nonsense = Command { index: Index(3), payload: Bytes::from_static(b"\x01\x01") };
    let commands = [put(1, "a", "1"), put(2, "b", "2"), nonsense, delete(4, "a"), delete(5, "a")];
    let answers = store.apply(&commands, Index(6)).unwrap();
    let answers: Vec<KvAnswer> =
        answers.into_iter().map(|answer| KvAnswer::decode(answer).unwrap()).collect();
    assert_eq!(answers[..2], [KvAnswer::Stored, KvAnswer::Stored]);
    assert!(matches!(answers[2], KvAnswer::Refused { .. }));
    assert_eq!(answers[3..], [true, false].map(|existed| KvAnswer::Deleted { existed }));

    let reader = database.reader();
    assert_eq!(reader.get(GROUP, b"a").unwrap(), None);
    assert_eq!(
        reader.get_with_applied(GROUP, b"b").unwrap(),
        (Some(Bytes::from_static(b"2")), Index(6))
    );
    assert_eq!(reader.get(GroupId(2), b"b").unwrap(), None, "groups are apart");
}

/// An older build that took it for nothing would no longer equal the others.
#[test]
fn a_command_of_a_later_version_stops_the_group_and_changes_nothing() {
    let later_kind = Bytes::from_static(b"\x01\x63key");
    let later_version = Bytes::from_static(b"\x02\x01\x01\0\0\0a");
    let within_a_session = {
        let call =
            SessionCall { session: SessionId(1), sequence: Sequence(1), acknowledged: Sequence(0) };
        let change = Box::new(KvCommand::Delete { key: Bytes::new() });
        let mut bytes = KvCommand::InSession { call, change }.encode().to_vec();
        let kind = bytes.len() - 5;
        bytes[kind] = 0x63;
        Bytes::from(bytes)
    };
    let database = Disk::default().open();
    let mut stores: [Box<dyn StateMachine>; 2] =
        [Box::new(database.group(GROUP).unwrap()), Box::new(MemoryStore::default())];
    let payloads = [later_kind, later_version, within_a_session];
    for store in &mut stores {
        for payload in &payloads {
            let later = Command { index: Index(2), payload: payload.clone() };
            let error = store.apply(&[put(1, "a", "1"), later], Index(2)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::Unsupported);
            assert!(error.to_string().contains("the command at index 2 is of a later version"));
            assert_eq!(store.applied(), Index(0));
        }
    }
    assert_eq!(database.reader().get(GROUP, b"a").unwrap(), None);
}

#[test]
fn a_swap_is_applied_where_what_is_there_is_expected() {
    let unequal = |actual: Option<&'static str>| KvAnswer::Unequal {
        actual: Actual::of(actual.map(Into::into)),
    };
    let story = |store: &mut dyn StateMachine| {
        let commands = [
            swap(1, "k", Some("1"), "2"),
            swap(2, "k", None, "1"),
            swap(3, "k", None, "2"),
            swap(4, "k", Some("2"), "3"),
            swap(5, "k", Some("1"), "2"),
            delete(6, "k"),
            swap(7, "k", Some("2"), "3"),
        ];
        let answers = store.apply(&commands, Index(7)).unwrap();
        let answers = answers.into_iter().map(|answer| KvAnswer::decode(answer).unwrap());
        let deleted = KvAnswer::Deleted { existed: true };
        let (stored, was) = (KvAnswer::Stored, unequal);
        let expected =
            [was(None), stored.clone(), was(Some("1")), was(Some("1")), stored, deleted, was(None)];
        assert_eq!(answers.collect::<Vec<_>>(), expected);
        // What is in the database by now counts as what has just come.
        store.apply(&[put(8, "k", "4")], Index(8)).unwrap();
        store.flush().unwrap();
        let answer = store.apply(&[swap(9, "k", Some("4"), "5")], Index(9)).unwrap().remove(0);
        assert_eq!(KvAnswer::decode(answer), Ok(KvAnswer::Stored));
    };
    story(&mut Disk::default().open().group(GROUP).unwrap());
    story(&mut MemoryStore::new());
}

/// Sessions keep answers, in memory and in every snapshot.
#[test]
fn an_answer_shows_no_long_value() {
    let mut store = MemoryStore::new();
    let long = "x".repeat(1 << 20);
    let mut commands = vec![put(1, "k", &long), open_session(2, 1000)];
    commands.push(once(2, 1, swap(3, "k", None, "y")));
    commands.push(once(2, 1, swap(4, "k", None, "y")));
    let answers = store.apply(&commands, Index(4)).unwrap();
    let unequal = KvAnswer::Unequal { actual: Actual::Long(1 << 20) };
    assert_eq!(KvAnswer::decode(answers[2].clone()), Ok(unequal.clone()));
    let repeated = KvAnswer::Repeated { index: Index(3), answer: unequal.encode() };
    assert_eq!(KvAnswer::decode(answers[3].clone()), Ok(repeated));
    assert!(image(&mut store).len() < (1 << 20) + 1000);
}

#[test]
fn a_crash_goes_back_to_a_consistent_state_no_older_than_the_last_flush() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut disk = Disk::default();
        // The state hash that belongs to each applied index.
        let mut hashes = BTreeMap::from([(0, MemoryStore::new().state_hash())]);
        for _life in 0..4 {
            let database = disk.open();
            let mut store = database.group(GROUP).unwrap();
            let applied = store.applied().0;
            let mut flushed = applied;
            let mut under_way = None;
            for index in applied + 1..applied + 1 + random.below(60) {
                random_step(&mut store, index, &mut random);
                hashes.insert(index, store.state_hash().unwrap());
                if random.chance(100) {
                    flushed = store.flush().unwrap().0;
                    assert_eq!(flushed, index);
                }
                // One that goes on beside the commands that follow.
                if random.chance(100) {
                    under_way = Some((index, store.begin_flush().unwrap()));
                } else if random.chance(300)
                    && let Some((begun_at, Flush::Job(job))) = under_way.take()
                {
                    assert_eq!(job().unwrap().0, begun_at);
                    flushed = flushed.max(begun_at);
                    assert_eq!(store.state_hash().unwrap(), hashes[&index], "seed {seed}");
                }
            }
            disk = disk.after_a_crash(&mut random);
            let store = disk.open().group(GROUP).unwrap();
            let survived = store.applied().0;
            assert!(survived >= flushed, "seed {seed}: {survived} after a flush to {flushed}");
            assert_eq!(store.state_hash().unwrap(), hashes[&survived], "seed {seed}");
        }
    }
}

/// A process that opens the database again reads what the next power cut takes away.
#[test]
fn a_sync_that_fails_takes_nothing_from_what_was_flushed_before_and_after() {
    let (mut failed, mut of_power) = (0, 0);
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut disk = Disk::default();
        let mut hashes = BTreeMap::from([(0, MemoryStore::new().state_hash())]);
        let mut flushed = 0;
        for _life in 0..8 {
            let mut store = disk.open().group(GROUP).unwrap();
            let applied = store.applied().0;
            assert!(applied >= flushed, "seed {seed}: {applied} after a flush to {flushed}");
            assert_eq!(store.state_hash().unwrap(), hashes[&applied], "seed {seed}");
            for index in applied + 1..applied + 1 + random.below(40) {
                random_step(&mut store, index, &mut random);
                hashes.insert(index, store.state_hash().unwrap());
            }
            disk.0.lock().unwrap().failing_sync =
                random.chance(500).then(|| random.below(3) as usize);
            match store.flush() {
                Ok(index) => flushed = index.0,
                Err(_) => failed += 1,
            }
            drop(store);
            disk.0.lock().unwrap().failing_sync = None;
            if random.chance(300) {
                disk = disk.after_a_crash(&mut random);
                of_power += 1;
            }
        }
    }
    assert!(failed > 100 && of_power > 100, "{failed} syncs failed, power went {of_power} times");
}

/// Were the data durable before the index, what comes again would be applied twice.
#[test]
fn a_flush_that_is_cut_off_at_any_sync_leaves_data_and_index_of_one_moment() {
    let mut cut_off = 0;
    for passing in 0..8 {
        let disk = Disk::default();
        let mut store = disk.open().group(GROUP).unwrap();
        let mut hashes = BTreeMap::new();
        for index in 1..=2 {
            store.apply(&[put(index, "a", &index.to_string())], Index(index)).unwrap();
            hashes.insert(Index(index), store.state_hash().unwrap());
            disk.0.lock().unwrap().failing_sync = (index == 2).then_some(passing);
            cut_off += u64::from(store.flush().is_err());
        }
        drop(store);
        disk.0.lock().unwrap().failing_sync = None;
        for seed in 0..8 {
            let store = disk.after_a_crash(&mut Random::new(seed)).open().group(GROUP).unwrap();
            let applied = store.applied();
            assert_eq!(store.state_hash().unwrap(), hashes[&applied], "{applied} sync {passing}");
        }
    }
    assert!(cut_off > 0, "no flush was cut off");
}

#[test]
fn a_delete_knows_what_was_there_wherever_a_flush_has_put_it() {
    let mut store = Disk::default().open().group(GROUP).unwrap();
    let answers = |store: &mut KvStore, index| {
        store.apply(&[delete(index, "a")], Index(index)).unwrap().pop().unwrap()
    };
    let existed = KvAnswer::Deleted { existed: true }.encode();
    let absent = KvAnswer::Deleted { existed: false }.encode();
    store.apply(&[put(1, "a", "1")], Index(1)).unwrap();
    let Flush::Job(job) = store.begin_flush().unwrap() else { panic!("it flushes by a job") };
    // The flush ends between the looking up and the deleting of some batch.
    let commands = [Ok(KvCommand::Delete { key: Bytes::from_static(b"a") })];
    assert_eq!(store.held(&commands).unwrap().len(), 1, "sealed");
    job().unwrap();
    assert_eq!(store.held(&commands).unwrap().len(), 1, "in the database");
    assert_eq!(answers(&mut store, 2), existed);
    assert_eq!(answers(&mut store, 3), absent, "deleted in memory");
    store.flush().unwrap();
    assert_eq!(answers(&mut store, 4), absent, "deleted in the database");
}

#[test]
fn both_stores_are_equal_at_equal_indexes_and_write_equal_images() {
    let mut random = Random::new(5);
    let mut on_disk = Disk::default().open().group(GROUP).unwrap();
    let mut in_memory = MemoryStore::new();
    for batch in 0..50 {
        let first = batch * 10 + 1;
        let commands: Vec<Command> =
            (first..first + 10).map(|index| random_command(index, &mut random)).collect();
        let up_to = Index(first + 9);
        assert_eq!(
            on_disk.apply(&commands, up_to).unwrap(),
            in_memory.apply(&commands, up_to).unwrap()
        );
        let (time, index) = (GroupTime(batch * 70), up_to);
        on_disk.advance(index, time).unwrap();
        in_memory.advance(index, time).unwrap();
        assert_eq!(on_disk.timekeeping(), in_memory.timekeeping());
        assert_eq!(on_disk.state_hash().unwrap(), in_memory.state_hash());
    }
    assert_eq!(image(&mut on_disk), image(&mut in_memory));
}

#[test]
fn a_snapshot_stays_what_it_was_while_commands_go_on() {
    let mut store = Disk::default().open().group(GROUP).unwrap();
    store.apply(&[put(1, "a", "old")], Index(1)).unwrap();
    let mut snapshot = store.snapshot().unwrap();
    store.apply(&[put(2, "a", "new"), put(3, "b", "new")], Index(3)).unwrap();
    store.flush().unwrap();

    let mut copy = MemoryStore::new();
    copy.restore(Index(1), &mut snapshot).unwrap();
    assert_eq!(copy.get(b"a"), Some(&Bytes::from_static(b"old")));
    assert_eq!(copy.get(b"b"), None);
}

#[test]
fn a_restored_image_replaces_everything_and_is_durable_at_once() {
    let mut source = MemoryStore::new();
    source.apply(&[put(1, "a", "image"), put(2, "c", "image")], Index(9)).unwrap();

    let disk = Disk::default();
    let mut store = disk.open().group(GROUP).unwrap();
    store.apply(&[put(1, "a", "before"), put(2, "b", "before")], Index(2)).unwrap();
    store.restore(Index(9), &mut &image(&mut source)[..]).unwrap();
    assert_eq!(store.applied(), Index(9));

    let store = disk.after_a_crash(&mut Random::new(1)).open().group(GROUP).unwrap();
    assert_eq!(store.applied(), Index(9));
    assert_eq!(store.get(b"b").unwrap(), None);
    assert_eq!(store.state_hash().unwrap(), source.state_hash());
}

#[test]
fn an_image_that_cannot_be_used_leaves_the_old_state() {
    let mut source = MemoryStore::new();
    source.apply(&[put(1, "a", "image"), put(2, "c", "image")], Index(9)).unwrap();
    let whole = image(&mut source);

    let disk = Disk::default();
    let mut store = disk.open().group(GROUP).unwrap();
    store.apply(&[put(1, "b", "before")], Index(2)).unwrap();
    let before = store.state_hash().unwrap();
    for cut in [0, 10, 30, whole.len() - 1] {
        assert!(store.restore(Index(9), &mut &whole[..cut]).is_err());
        assert_eq!((store.applied(), store.state_hash().unwrap()), (Index(2), before));
    }
    assert!(store.restore(Index(8), &mut &whole[..]).is_err(), "another index");
    store.restore(Index(9), &mut &whole[..]).unwrap();
    assert_eq!(store.state_hash().unwrap(), source.state_hash());
}

#[test]
fn a_crash_during_a_restore_leaves_the_old_state_and_no_rest() {
    let disk = Disk::default();
    let database = disk.open();
    let mut store = database.group(GROUP).unwrap();
    store.apply(&[put(1, "a", "old")], Index(1)).unwrap();
    store.flush().unwrap();
    // A restore fills the next generation before it flips to it.
    let mut source = MemoryStore::new();
    let pairs: Vec<Command> = (1..=25_000).map(|i| put(i, &i.to_string(), "new")).collect();
    source.apply(&pairs, Index(30_000)).unwrap();
    let image = image(&mut source);
    let mut reader = &image[..];
    store.fill(1, &mut ImageReader::new(Index(30_000), &mut reader).unwrap()).unwrap();

    let disk = disk.after_a_crash(&mut Random::new(3));
    let database = disk.open();
    let store = database.group(GROUP).unwrap();
    assert_eq!((store.applied(), store.get(b"a").unwrap()), (Index(1), Some("old".into())));
    let data = database.begin_read().unwrap().open_table(DATA).unwrap();
    assert_eq!(redb::ReadableTableMetadata::len(&data).unwrap(), 1);
}

#[test]
fn the_last_group_has_room_too() {
    let last = GroupId(u64::MAX);
    let disk = Disk::default();
    let mut store = disk.open().group(last).unwrap();
    store.apply(&[put(1, "a", "1")], Index(1)).unwrap();
    let image = image(&mut store);
    store.restore(Index(1), &mut &image[..]).unwrap();
    drop(store);
    assert_eq!(disk.open().group(last).unwrap().get(b"a").unwrap(), Some("1".into()));
}

#[test]
fn a_file_is_opened_by_one_at_a_time_and_keeps_what_was_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv.redb");
    let database = KvDatabase::open(&path).unwrap();
    let mut store = database.group(GROUP).unwrap();
    store.apply(&[put(1, "a", "1")], Index(1)).unwrap();
    store.flush().unwrap();
    let refused = KvDatabase::open(&path).unwrap_err();
    assert!(refused.to_string().contains("kv.redb"), "{refused}");

    drop((database, store));
    let store = KvDatabase::open(&path).unwrap().group(GROUP).unwrap();
    assert_eq!((store.applied(), store.get(b"a").unwrap()), (Index(1), Some("1".into())));
}

#[test]
fn a_crash_while_the_file_is_made_leaves_nothing_that_blocks_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kv.redb");
    for rest in [&b""[..], &[0; 4096]] {
        std::fs::write(folder.path().join("kv.redb.new"), rest).unwrap();
        let mut store = KvDatabase::open(&path).unwrap().group(GroupId(1)).unwrap();
        let index = store.applied().next();
        store.apply(&[], index).unwrap();
        assert_eq!(store.flush().unwrap(), index);
    }
    let store = KvDatabase::open(&path).unwrap().group(GroupId(1)).unwrap();
    assert_eq!(store.applied(), Index(2), "the file that was there already was kept");
    let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["kv.redb"]);
}

#[path = "session_tests.rs"]
mod sessions;

/// Waits until a write has found no room.
fn wait_until_full(disk: &Disk) {
    while disk.0.lock().unwrap().refused == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_flush_waits_for_room_on_a_full_disk_while_reads_go_on_and_then_succeeds() {
    let disk = Disk::default();
    let mut store = disk.open().group(GROUP).unwrap();
    store.apply(&[put(1, "a", "1")], Index(1)).unwrap();
    store.flush().unwrap();
    store.apply(&[put(2, "b", "2")], Index(2)).unwrap();
    disk.0.lock().unwrap().full = true;
    let Flush::Job(flush) = store.begin_flush().unwrap() else { panic!("a flush is a job") };
    let flushing = std::thread::spawn(flush);
    wait_until_full(&disk);
    store.apply(&[put(3, "c", "3")], Index(3)).unwrap();
    for (key, value) in [("a", "1"), ("b", "2"), ("c", "3")] {
        assert_eq!(store.get(key.as_bytes()).unwrap(), Some(Bytes::from(value)));
    }
    assert!(!flushing.is_finished());
    disk.0.lock().unwrap().full = false;
    assert_eq!(flushing.join().unwrap().unwrap(), Index(2));
    store.flush().unwrap();
    let store = disk.after_a_crash(&mut Random::new(1)).open().group(GROUP).unwrap();
    assert_eq!(store.applied(), Index(3));
    assert_eq!(store.get(b"b").unwrap(), Some(Bytes::from("2")));
}

#[test]
fn a_flush_that_waits_for_room_ends_when_the_node_stops_and_loses_nothing_flushed_before() {
    let disk = Disk::default();
    let mut store = disk.open().group(GROUP).unwrap();
    store.apply(&[put(1, "a", "1")], Index(1)).unwrap();
    store.flush().unwrap();
    store.apply(&[put(2, "b", "2")], Index(2)).unwrap();
    disk.0.lock().unwrap().full = true;
    let Flush::Job(flush) = store.begin_flush().unwrap() else { panic!("a flush is a job") };
    let flushing = std::thread::spawn(flush);
    wait_until_full(&disk);
    store.give_up().expect("it may wait for room")();
    let why = flushing.join().unwrap().unwrap_err();
    assert_eq!(why.kind(), io::ErrorKind::StorageFull, "{why}");
    let store = disk.after_a_crash(&mut Random::new(1)).open().group(GROUP).unwrap();
    assert_eq!((store.applied(), store.get(b"a").unwrap()), (Index(1), Some(Bytes::from("1"))));
}

#[test]
fn a_database_is_not_opened_on_a_disk_that_is_full() {
    let disk = Disk::default();
    disk.0.lock().unwrap().full = true;
    let why = KvDatabase::with_backend(disk, &KvOptions::default()).unwrap_err();
    assert_eq!(why.kind(), io::ErrorKind::StorageFull, "{why}");
}

#[path = "conformance_tests.rs"]
mod conformance;
