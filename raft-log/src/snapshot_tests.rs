use std::io::{Read, Write};

use raft_core::{NodeId, Random};

use super::*;
use crate::SimDisk;

const G: GroupId = GroupId(4);

fn dir() -> &'static Path {
    Path::new("snapshots")
}

fn open(disk: &SimDisk) -> SnapshotStore {
    SnapshotStore::open(Arc::new(disk.clone()), dir(), 2).unwrap()
}

fn membership() -> Membership {
    Membership::of_voters([1, 2, 3].map(|id| NodeId::new(id).unwrap()))
}

fn content(bytes: usize) -> Vec<u8> {
    let mut random = Random::new(bytes as u64);
    (0..bytes).map(|_| random.next_u64() as u8).collect()
}

fn write(
    store: &mut SnapshotStore,
    index: u64,
    content: &[u8],
) -> Result<SnapshotMeta, SnapshotError> {
    let mut writer = store.writer(G, Position::new(3, index), membership())?;
    for piece in content.chunks(1000) {
        writer.write_all(piece).map_err(io_error("cannot write", dir()))?;
    }
    let meta = writer.finish()?;
    store.add(G, meta.clone());
    Ok(meta)
}

fn read(store: &SnapshotStore, index: u64) -> Vec<u8> {
    let mut reader = store.reader(G, Index(index)).unwrap();
    reader.verify().unwrap();
    let mut all = Vec::new();
    reader.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn what_was_written_is_read_whatever_its_length() {
    for bytes in [0, 1, 65_535, 65_536, 65_537, 200_000] {
        let disk = SimDisk::new(1);
        let written = write(&mut open(&disk), 9, &content(bytes)).unwrap();
        disk.crash_power();
        let store = open(&disk);
        let expected = SnapshotMeta {
            position: Position::new(3, 9),
            membership: membership(),
            bytes: bytes as u64,
            checksum: crc32c::crc32c(&content(bytes)),
        };
        assert_eq!(written, expected);
        assert_eq!(store.newest(G), Some(&expected));
        assert_eq!(read(&store, 9), content(bytes));
    }
}

#[test]
fn a_snapshot_travels_in_pieces_that_get_lost_doubled_and_reordered() {
    let (from, to) = (SimDisk::new(1), SimDisk::new(2));
    let (mut sender, mut taker) = (open(&from), open(&to));
    let meta = write(&mut sender, 9, &content(150_000)).unwrap();
    let mut reader = sender.reader(G, Index(9)).unwrap();
    let mut receiver = taker.receiver(G, meta.clone()).unwrap();
    let mut random = Random::new(8);
    while !receiver.is_complete() {
        let wanted = receiver.next_offset();
        let offset = (wanted + random.below(3) * 700).saturating_sub(700);
        let (piece, crc) = reader.read_chunk(offset, 7000).unwrap();
        let reached = offset + piece.len() as u64;
        let next = receiver.chunk(offset, &piece, crc).unwrap();
        assert_eq!(next, if offset <= wanted { reached.max(wanted) } else { wanted });
    }
    let received = receiver.finish().unwrap();
    assert_eq!(received, meta);
    taker.add(G, received);
    assert_eq!(read(&taker, 9), content(150_000));
}

#[test]
fn a_receiver_refuses_what_was_not_announced() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk);
    let data = content(100);
    let meta = SnapshotMeta {
        position: Position::new(1, 5),
        membership: membership(),
        bytes: 100,
        checksum: 1,
    };
    let mut receiver = store.receiver(G, meta).unwrap();
    let crc = crc32c::crc32c(&data);
    assert!(matches!(
        receiver.chunk(0, &data, crc ^ 1),
        Err(SnapshotError::BadPiece { offset: 0 })
    ));
    assert!(matches!(
        receiver.chunk(1, &data, crc),
        Err(SnapshotError::NotAsAnnounced { bytes: 101, .. })
    ));
    assert_eq!(receiver.chunk(0, &data, crc).unwrap(), 100);
    assert!(matches!(receiver.finish(), Err(SnapshotError::NotAsAnnounced { .. })));
    assert_eq!(disk.used_bytes(), 0, "nothing is left behind");
}

#[test]
fn a_crash_at_any_moment_leaves_the_whole_snapshot_or_none() {
    let (old, new) = (content(70_000), content(140_000));
    let mut survived = [0; 2];
    for seed in 0..10 {
        for change in 1.. {
            let disk = SimDisk::new(seed);
            let mut store = open(&disk);
            write(&mut store, 5, &old).unwrap();
            disk.stop_at(change);
            let finished = write(&mut store, 9, &new).is_ok();
            disk.crash_power();
            let store = open(&disk);
            assert!(store.damaged().is_empty(), "seed {seed}, change {change}");
            let newest = store.newest(G).expect("the old one is there").position.index.0;
            assert!(
                newest == 9 || !finished,
                "seed {seed}, change {change}: a finished one is lost"
            );
            assert_eq!(read(&store, 5), old);
            if newest == 9 {
                assert_eq!(read(&store, 9), new);
            }
            survived[usize::from(newest == 9)] += 1;
            let left = disk.list(dir()).unwrap();
            assert!(left.iter().all(|name| name.ends_with(COMPLETE)), "{left:?}");
            if finished {
                break;
            }
        }
    }
    assert!(survived.iter().all(|count| *count >= 10), "both outcomes were seen: {survived:?}");
}

#[test]
fn every_flipped_bit_is_found() {
    let disk = SimDisk::new(1);
    write(&mut open(&disk), 9, &content(3000)).unwrap();
    let name = disk.list(dir()).unwrap().remove(0);
    let path = dir().join(name);
    for offset in 0..disk.content(&path).len() as u64 {
        disk.flip_bit(&path, offset, (offset % 8) as u8);
        let store = open(&disk);
        let found = match store.reader(G, Index(9)) {
            Ok(mut reader) => reader.verify().is_err(),
            Err(_) => store.damaged().len() == 1,
        };
        assert!(found, "byte {offset}");
        disk.flip_bit(&path, offset, (offset % 8) as u8);
    }
}

#[test]
fn only_the_newest_are_kept_and_readers_of_the_others_go_on() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk);
    for index in 1..=4 {
        write(&mut store, index, &content(index as usize * 1000)).unwrap();
    }
    let reaches = |index| store.newest_up_to(G, Index(index)).map(|meta| meta.position.index.0);
    assert_eq!([reaches(0), reaches(3), reaches(9)], [None, Some(3), Some(4)]);
    let mut reader = store.reader(G, Index(1)).unwrap();
    store.excess().unwrap().run().unwrap();
    assert!(store.excess().is_none());
    assert!(matches!(store.reader(G, Index(2)), Err(SnapshotError::Absent { .. })));
    assert_eq!(read(&store, 3), content(3000));
    reader.verify().unwrap();
    let mut store = open(&disk);
    assert_eq!(disk.list(dir()).unwrap().len(), 2);
    store.forget(G);
    store.excess().unwrap().run().unwrap();
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn a_writer_that_is_given_up_leaves_nothing_behind() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk);
    let mut writer = store.writer(G, Position::new(1, 1), membership()).unwrap();
    writer.write_all(&content(100_000)).unwrap();
    assert!(disk.used_bytes() > 0);
    drop(writer);
    assert_eq!(disk.used_bytes(), 0);
    assert!(store.newest(G).is_none());
}

/// Gives a receiver what it wants until it has `up_to` bytes.
fn feed(receiver: &mut SnapshotReceiver, content: &[u8], up_to: u64) -> Result<u64, SnapshotError> {
    let mut next = receiver.next_offset();
    while next < up_to {
        let piece = &content[next as usize..];
        let piece = &piece[..piece.len().min(10_000)];
        next = receiver.chunk(next, piece, crc32c::crc32c(piece))?;
    }
    Ok(next)
}

fn announced(index: u64, content: &[u8]) -> SnapshotMeta {
    SnapshotMeta {
        position: Position::new(3, index),
        membership: membership(),
        bytes: content.len() as u64,
        checksum: crc32c::crc32c(content),
    }
}

/// The first piece, after which a receiver says how much it has.
fn knock(receiver: &mut SnapshotReceiver, content: &[u8]) -> u64 {
    receiver.chunk(0, &content[..1000], crc32c::crc32c(&content[..1000])).unwrap()
}

const WHOLE_CHUNKS: u64 = 3 * 65_536;

#[test]
fn what_has_arrived_survives_the_receiver_and_a_restart() {
    let (disk, content) = (SimDisk::new(1), content(400_000));
    let mut store = open(&disk);
    let mut receiver = store.receiver(G, announced(9, &content)).unwrap();
    feed(&mut receiver, &content, 200_000).unwrap();
    drop(receiver);
    let mut receiver = store.receiver(G, announced(9, &content)).unwrap();
    assert_eq!(knock(&mut receiver, &content), WHOLE_CHUNKS, "within the same run");
    drop(receiver);
    disk.crash_process();

    let mut store = open(&disk);
    assert!(store.newest(G).is_none(), "a part is no snapshot");
    let mut receiver = store.receiver(G, announced(9, &content)).unwrap();
    assert_eq!(knock(&mut receiver, &content), WHOLE_CHUNKS, "after a restart");
    feed(&mut receiver, &content, 400_000).unwrap();
    let meta = receiver.finish().unwrap();
    assert_eq!(meta, announced(9, &content));
    store.add(G, meta);
    assert_eq!(read(&store, 9), content);
    assert_eq!(disk.list(dir()).unwrap().len(), 1);
}

#[test]
fn a_part_whose_end_is_damaged_is_gone_on_with_before_the_damage() {
    let (disk, content) = (SimDisk::new(1), content(400_000));
    let mut receiver = open(&disk).receiver(G, announced(9, &content)).unwrap();
    feed(&mut receiver, &content, 200_000).unwrap();
    drop(receiver);
    let path = dir().join(&disk.list(dir()).unwrap()[0]);
    disk.flip_bit(&path, 70_000 + 65_536, 3);
    let mut store = open(&disk);
    let mut receiver = store.receiver(G, announced(9, &content)).unwrap();
    assert_eq!(knock(&mut receiver, &content), 2 * 65_536);
    feed(&mut receiver, &content, 400_000).unwrap();
    let meta = receiver.finish().unwrap();
    store.add(G, meta);
    assert_eq!(read(&store, 9), content);
}

#[test]
fn a_part_of_another_snapshot_is_not_gone_on_with_and_goes() {
    let (disk, one, other) = (SimDisk::new(1), content(200_000), content(200_001));
    let mut store = open(&disk);
    let mut receiver = store.receiver(G, announced(9, &one)).unwrap();
    feed(&mut receiver, &one, 150_000).unwrap();
    drop(receiver);
    // The same position with another content, as another state machine may make it.
    let mut receiver = store.receiver(G, announced(9, &other)).unwrap();
    assert_eq!(knock(&mut receiver, &other), 1000);
    assert_eq!(disk.list(dir()).unwrap().len(), 1, "nothing is written before a chunk is whole");
    store.excess().unwrap().run().unwrap();
    assert_eq!(disk.list(dir()).unwrap().len(), 0);
    feed(&mut receiver, &other, 150_000).unwrap();
    drop(receiver);

    // What is complete makes older parts superfluous, at once and when a store is opened.
    let (older, newer) = (disk.copy(), disk.copy());
    write(&mut open(&newer), 9, b"the same position").unwrap();
    open(&newer);
    assert_eq!(newer.list(dir()).unwrap().len(), 1);
    write(&mut open(&older), 8, b"one before it").unwrap();
    open(&older);
    assert_eq!(older.list(dir()).unwrap().len(), 2);
    write(&mut store, 10, b"a later one").unwrap();
    store.excess().unwrap().run().unwrap();
    assert_eq!(disk.list(dir()).unwrap().len(), 1);
}

#[test]
fn two_receivers_of_one_snapshot_do_not_write_to_the_same_file() {
    let (disk, content) = (SimDisk::new(1), content(200_000));
    let mut store = open(&disk);
    let mut first = store.receiver(G, announced(9, &content)).unwrap();
    feed(&mut first, &content, 100_000).unwrap();
    let mut second = store.receiver(G, announced(9, &content)).unwrap();
    assert_eq!(knock(&mut second, &content), 1000, "it begins anew");
    feed(&mut second, &content, 200_000).unwrap();
    feed(&mut first, &content, 200_000).unwrap();
    let meta = first.finish().unwrap();
    store.add(G, meta);
    assert_eq!(read(&store, 9), content);
    second.finish().unwrap();
    assert_eq!(read(&store, 9), content);
    assert_eq!(disk.list(dir()).unwrap().len(), 1);
}

#[test]
fn a_disk_that_refuses_a_part_gets_its_room_back() {
    let (disk, content) = (SimDisk::new(1), content(400_000));
    let mut store = open(&disk);
    disk.limit_bytes(150_000);
    let mut receiver = store.receiver(G, announced(9, &content)).unwrap();
    assert!(matches!(feed(&mut receiver, &content, 400_000), Err(SnapshotError::Io { .. })));
    drop(receiver);
    assert_eq!(disk.used_bytes(), 0);
}

#[test]
fn a_crash_at_any_moment_of_receiving_leaves_a_part_that_can_be_gone_on_with() {
    let content = content(300_000);
    let (mut gone_on, mut points) = (0, 0);
    for seed in 0..20 {
        for change in 1.. {
            let disk = SimDisk::new(seed);
            disk.stop_at(change);
            let receive = |disk: &SimDisk| {
                let mut store = SnapshotStore::open(Arc::new(disk.clone()), dir(), 2)?;
                let mut receiver = store.receiver(G, announced(9, &content))?;
                let first = receiver.chunk(0, &content[..1], crc32c::crc32c(&content[..1]))?;
                feed(&mut receiver, &content, 300_000)?;
                let meta = receiver.finish()?;
                store.add(G, meta);
                Ok::<_, SnapshotError>((store, first))
            };
            let finished = receive(&disk).is_ok();
            if change % 2 == 0 {
                disk.crash_power();
            } else {
                disk.crash_process();
            }
            points += 1;
            let store = open(&disk);
            assert!(store.damaged().is_empty(), "seed {seed}, change {change}");
            match store.newest(G) {
                Some(_) => assert_eq!(read(&store, 9), content),
                None => {
                    assert!(!finished, "seed {seed}, change {change}: a finished one is lost");
                    let (store, first) = receive(&disk).unwrap();
                    gone_on += u32::from(first > 1);
                    assert_eq!(read(&store, 9), content, "seed {seed}, change {change}");
                }
            }
            if finished {
                break;
            }
        }
    }
    assert!(points > 150 && gone_on > 40, "{points} points, {gone_on} gone on with");
}

#[test]
fn what_repeats_itself_takes_little_room_and_what_does_not_takes_little_more() {
    let disk = SimDisk::new(1);
    let mut store = open(&disk);
    let text: Vec<u8> =
        (0..40_000).flat_map(|n: u32| format!("key-{n:08} ").into_bytes()).collect();
    write(&mut store, 1, &text).unwrap();
    let packed = disk.used_bytes();
    assert!(packed < text.len() as u64 / 2, "{packed} of {}", text.len());
    assert_eq!(read(&store, 1), text);
    let noise = content(500_000);
    write(&mut store, 2, &noise).unwrap();
    let more = disk.used_bytes() - packed - 500_000;
    assert!(more < 400, "{more} bytes more");
}

/// The process is stopped between the renaming and the sync of that; the next one counts on
/// the snapshot, and trims the log below it.
#[test]
fn a_snapshot_that_an_opening_has_found_survives_a_power_failure() {
    let mut found = 0;
    for seed in 0..20 {
        for change in 1..12 {
            let disk = SimDisk::new(seed);
            let mut store = open(&disk);
            disk.stop_at(change);
            let written = write(&mut store, 9, &content(100)).is_ok();
            disk.crash_process();
            let newest = open(&disk).newest(G).cloned();
            disk.crash_power();
            assert_eq!(open(&disk).newest(G), newest.as_ref(), "seed {seed}, change {change}");
            found += u32::from(newest.is_some() && !written);
        }
    }
    assert!(found > 5, "{found} were found that nobody had heard of");
}
