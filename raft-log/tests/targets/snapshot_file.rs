//! Files that look like snapshots, or were some.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use raft_core::{GroupId, Index, Membership, NodeId, Position, Random};
use raft_log::{Disk as _, SimDisk, SnapshotError, SnapshotStore};

use super::input::Input;

pub(crate) const DIR: &str = "snapshots";
const GROUP: GroupId = GroupId(3);

/// A snapshot as it was written.
struct Written {
    path: PathBuf,
    file: Vec<u8>,
    content: Vec<u8>,
}

fn position() -> Position {
    Position::new(2, 9)
}

/// Contents of several kinds: none, little, much that compresses, much that does not, and
/// both in turns.
pub(crate) fn contents() -> &'static [Vec<u8>] {
    static CONTENTS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    CONTENTS.get_or_init(|| {
        let mut random = Random::new(1);
        let noise: Vec<u8> = (0..70_000).map(|_| random.below(256) as u8).collect();
        let text = b"key-0000value".repeat(12_000);
        let mixed = [&noise[..], &text[..80_000], &noise[..30_000]].concat();
        vec![Vec::new(), b"a small one".to_vec(), text, noise, mixed]
    })
}

pub(crate) fn store(disk: &SimDisk) -> SnapshotStore {
    SnapshotStore::open(Arc::new(disk.clone()), Path::new(DIR), 2).expect("a simulated disk")
}

fn written() -> &'static [Written] {
    static WRITTEN: OnceLock<Vec<Written>> = OnceLock::new();
    let write = |content: &[u8]| {
        let disk = SimDisk::new(0);
        let membership = Membership::of_voters(NodeId::new(1));
        let mut writer = store(&disk).writer(GROUP, position(), membership).expect("no file yet");
        writer.write_all(content).expect("a simulated disk");
        writer.finish().expect("a simulated disk");
        let name = disk.list(Path::new(DIR)).expect("a simulated folder").remove(0);
        let path = Path::new(DIR).join(name);
        Written { file: disk.content(&path), path, content: content.to_vec() }
    };
    WRITTEN.get_or_init(|| contents().iter().map(|content| write(content)).collect())
}

/// Reads a snapshot that was damaged, or that is one of somebody's making. What is read is
/// what was written, or what its checksums say, or it is reported.
pub(crate) fn run(data: &[u8]) {
    let mut program = Input::new(data);
    let original = &written()[program.below(contents().len())];
    let mut file = original.file.clone();
    let is_foreign = program.byte().is_multiple_of(4);
    if is_foreign {
        // Bytes of somebody's making, in front of the rest or in the place of all of it.
        let keeps = program.byte().is_multiple_of(2);
        let from = program.below(file.len() + 1);
        let bytes = program.rest();
        if keeps {
            let end = (from + bytes.len()).min(file.len());
            file[from..end].copy_from_slice(&bytes[..end - from]);
        } else {
            file = bytes.to_vec();
        }
    } else {
        damage(&mut file, &mut program);
    }
    let disk = SimDisk::new(0);
    disk.create_dir_all(Path::new(DIR)).expect("a simulated folder");
    let handle = disk.create(&original.path).expect("a simulated file");
    handle.write_at(0, &file).expect("a simulated disk");
    let is_changed = file != original.file;
    match read(&disk) {
        Some(content) if !is_foreign || !is_changed => assert_eq!(content, original.content),
        Some(_) => {}
        None => assert!(is_changed, "a snapshot that nobody has touched is refused"),
    }
}

/// Damage that forges no checksum.
fn damage(file: &mut Vec<u8>, program: &mut Input<'_>) {
    while !program.is_empty() {
        let how = program.byte() % 5;
        let at = program.below(file.len().max(1));
        let count = program.below(4096);
        let end = (at + count).min(file.len());
        match how {
            0 => {
                let bit = program.byte() % 8;
                file.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
            }
            1 => file[at.min(end)..end].fill(0),
            2 => file.truncate(at),
            3 => drop(file.drain(at.min(end)..end)),
            _ => {
                let again = file[at.min(end)..end].to_vec();
                file.extend(again);
            }
        }
    }
}

/// The content of the one snapshot, where it can be read from its beginning to its end;
/// every way of reading says the same.
fn read(disk: &SimDisk) -> Option<Vec<u8>> {
    let store = store(disk);
    let Some(meta) = store.newest(GROUP) else {
        assert_eq!(store.damaged().len(), 1, "a file that is no snapshot is reported");
        return None;
    };
    assert_eq!(meta.position, position(), "its name says so");
    let (meta, index) = (meta.clone(), meta.position.index);
    let mut reader = store.reader(GROUP, index).unwrap_or_else(|why| panic!("just found: {why}"));
    let is_whole = match reader.verify() {
        Ok(()) => true,
        Err(SnapshotError::Damaged { .. }) => false,
        Err(why) => panic!("a disk that works makes no such error: {why}"),
    };
    // As it is sent, from the beginning and from somewhere.
    let mut content = Vec::new();
    while let Ok((chunk, crc)) = reader.read_chunk(content.len() as u64, 50_000) {
        assert_eq!(crc32c::crc32c(&chunk), crc);
        if chunk.is_empty() {
            break;
        }
        content.extend_from_slice(&chunk);
    }
    let middle = content.len() as u64 / 2;
    if let Ok((chunk, _)) = reader.read_chunk(middle, 100) {
        assert!(content[middle as usize..].starts_with(&chunk));
    }
    assert!(matches!(reader.read_chunk(u64::MAX, 10), Ok((chunk, _)) if chunk.is_empty()));
    if !is_whole {
        return None;
    }
    assert_eq!((content.len() as u64, crc32c::crc32c(&content)), (meta.bytes, meta.checksum));
    // As it is restored.
    let mut again = Vec::new();
    let mut reader = store.reader(GROUP, Index(9)).expect("just read");
    reader.read_to_end(&mut again).unwrap_or_else(|why| panic!("just verified: {why}"));
    assert!(again == content, "two ways to read say two things");
    Some(content)
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = (0..5).map(|content| vec![content, 1]).collect();
    for how in 0..5 {
        seeds.push(vec![how, 1, how, 60, 0, 0, 0, 9, 0, 0, 0, 3]);
    }
    // Bytes in the middle of small ones, and a file of its own.
    for which in 0..2 {
        seeds.push(vec![which, 0, 0, 40, 1, 2, 3, 4]);
        seeds.push([&[which, 0, 1, 0], &b"    RSNP"[..]].concat());
    }
    seeds
}
