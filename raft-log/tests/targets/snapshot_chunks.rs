//! Pieces of a snapshot as a peer sends them, whoever that is.

use std::io::Read as _;
use std::path::Path;

use raft_core::{GroupId, Membership, NodeId, Position, SnapshotMeta};
use raft_log::{Disk as _, SimDisk, SnapshotError, SnapshotReceiver, SnapshotStore};

use super::input::Input;
use super::snapshot_file::{DIR, contents, store};

const GROUP: GroupId = GroupId(3);

/// Sends pieces of a content, in any order, some of them false. What is taken is what came
/// first for its place; it is complete only where it is what was announced.
pub(crate) fn run(data: &[u8]) {
    let mut program = Input::new(data);
    let contents = contents();
    let content: &[u8] = &contents[program.below(contents.len())];
    let lies = program.byte();
    let announced = SnapshotMeta {
        position: Position::new(2, 9),
        membership: Membership::of_voters(NodeId::new(1)),
        bytes: if lies & 1 == 0 { content.len() as u64 } else { program.number() },
        checksum: crc32c::crc32c(content) ^ u32::from(lies >> 1 & 1),
    };
    let disk = SimDisk::new(0);
    let mut store = store(&disk);
    let mut receiver = store.receiver(GROUP, announced.clone()).expect("no file yet");
    // What was sent, as long as that is known; the most that ever was; whether some of it
    // was not of the content.
    let mut taken = Some(Vec::new());
    let (mut longest, mut has_lied) = (0, false);
    while !program.is_empty() {
        let how = program.byte();
        if how & 0x60 == 0x60 {
            // It is broken off, and gone on with by somebody else.
            drop(receiver);
            if how & 1 == 0 {
                disk.crash_power();
                damage_part(&disk, &mut program);
                store = super::snapshot_file::store(&disk);
            }
            receiver = store.receiver(GROUP, announced.clone()).expect("no file yet");
            let next = receiver.chunk(0, &[], 0).expect("nothing is no bad piece");
            // Where only the truth was sent, an earlier receiver's chunks may be back: they say
            // the same. Otherwise it is not known which of them are there.
            assert!(next <= longest as u64, "{next} of {longest} that were sent");
            let next = next as usize;
            match &taken {
                Some(so_far) if content.starts_with(so_far) && !has_lied => {
                    taken = Some(content[..next].to_vec());
                }
                _ => taken = None,
            }
            continue;
        }
        let next = receiver.next_offset();
        let (offset, piece) = piece(how, content, next as usize, &mut program);
        let crc = crc32c::crc32c(&piece) ^ u32::from(how >> 4 & 1);
        let end = offset.saturating_add(piece.len() as u64);
        match receiver.chunk(offset, &piece, crc) {
            Ok(wanted) => {
                assert!(how >> 4 & 1 == 0 && end <= announced.bytes, "{offset} to {end}");
                let mut expected = next;
                if offset <= next && end > next {
                    has_lied |= content.get(offset as usize..end as usize) != Some(&piece[..]);
                    if let Some(taken) = &mut taken {
                        taken.extend_from_slice(&piece[(next - offset) as usize..]);
                    }
                    expected = end;
                }
                assert_eq!(wanted, expected);
                longest = longest.max(wanted as usize);
            }
            Err(SnapshotError::BadPiece { .. }) => assert_eq!(how >> 4 & 1, 1),
            Err(SnapshotError::NotAsAnnounced { .. }) => assert!(end > announced.bytes),
            Err(why) => panic!("{why}"),
        }
        let next = receiver.next_offset();
        assert_eq!(receiver.is_complete(), next == announced.bytes);
        assert!(taken.as_ref().is_none_or(|taken| taken.len() as u64 == next));
    }
    end(receiver, taken.as_deref(), &announced, &disk, &mut store);
}

/// Finishes what was received: it is there for good, or nothing is.
fn end(
    receiver: SnapshotReceiver,
    taken: Option<&[u8]>,
    announced: &SnapshotMeta,
    disk: &SimDisk,
    store: &mut SnapshotStore,
) {
    let bytes = receiver.next_offset();
    let is_it = taken.map(|taken| {
        taken.len() as u64 == announced.bytes && crc32c::crc32c(taken) == announced.checksum
    });
    match receiver.finish() {
        Ok(meta) => {
            assert_ne!(is_it, Some(false), "{bytes} bytes of {}", announced.bytes);
            assert_eq!(meta, *announced);
            store.add(GROUP, meta);
        }
        Err(why) => {
            assert_ne!(is_it, Some(true), "{why}");
            disk.crash_power();
            assert!(super::snapshot_file::store(disk).newest(GROUP).is_none(), "nothing is left");
            return;
        }
    }
    disk.crash_power();
    let store = super::snapshot_file::store(disk);
    assert_eq!(store.newest(GROUP), Some(announced));
    let mut stored = Vec::new();
    let mut reader = store.reader(GROUP, announced.position.index).expect("it is durable");
    reader.read_to_end(&mut stored).expect("it is whole");
    let checksum = crc32c::crc32c(&stored);
    assert_eq!((stored.len() as u64, checksum), (announced.bytes, announced.checksum));
    assert!(taken.is_none_or(|taken| taken == stored), "stored something else than was sent");
}

/// Flips a bit of what was received, or none.
fn damage_part(disk: &SimDisk, program: &mut Input<'_>) {
    let how = program.byte();
    let names = disk.list(Path::new(DIR)).expect("a simulated folder");
    let Some(name) = names.first().filter(|_| how & 8 != 0) else { return };
    let path = Path::new(DIR).join(name);
    let bytes = disk.content(&path).len();
    if bytes > 0 {
        disk.flip_bit(&path, program.below(bytes) as u64, how % 8);
    }
}

/// A piece of the content, mostly the next one, or bytes of somebody's making.
fn piece(how: u8, content: &[u8], next: usize, program: &mut Input<'_>) -> (u64, Vec<u8>) {
    let begin = match how & 3 {
        0 | 1 => next.min(content.len()),
        2 => program.below(content.len() + 1),
        _ => {
            let offset = program.number();
            let length = program.byte().into();
            return (offset, program.bytes(length).to_vec());
        }
    };
    // Up to everything that is left, most of the time in a few pieces.
    let most = content.len() - begin;
    let length = if how & 4 == 0 { most.min(40_000) } else { program.below(most + 1) };
    (begin as u64, content[begin..begin + length].to_vec())
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..5).map(|content| vec![content, 0, 0, 0, 0, 0, 0]).collect();
    seeds.push(vec![1, 1, 11, 0, 16, 0]);
    seeds.push(vec![1, 2, 0]);
    // Broken off by a restart, and by a crash that has left a flipped bit.
    seeds.push(vec![4, 0, 0, 0x61, 0, 0, 0, 0, 0, 0]);
    seeds.push(vec![4, 0, 0, 0, 0x60, 0, 0, 0x60, 8, 200, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    seeds.push(vec![4, 0, 4, 9, 0, 0, 0, 2, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
    seeds.push(vec![3, 0, 3, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]);
    seeds
}
