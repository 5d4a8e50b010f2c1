//! A sealed log whose bits flip, every one of them once: the place is reported, and every
//! group is whole, or an earlier state of it with where it had ended.

mod story;

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use raft_core::Entry;
use raft_log::{Damage, Disk as _, LogError, SimDisk};

/// What `FORMAT.md` says of frames.
const HEADER: usize = 80;
const VERSION: usize = 6;
const BLOCK: usize = story::BLOCK as usize;
const SEAL: u8 = 5;
const HEAD: u8 = 6;
const NOT_HEADS: [u8; 4] = [1, 3, 4, SEAL];

/// A frame of a file that nobody has damaged.
#[derive(Clone, Debug)]
struct Frame {
    kind: u8,
    /// Header and body, without padding.
    bytes: Range<usize>,
}

/// Which bits are flipped.
#[derive(Clone, Copy, Debug)]
enum Bits {
    All,
    /// Of a frame one in each byte. Outside of frames, which is most of a small log, one in
    /// 64, a different one in each word: recovery looks at words.
    Some,
}

impl Bits {
    fn in_frame(self, byte: usize, bit: u8) -> bool {
        matches!(self, Self::All) || usize::from(bit) == byte % 8 || byte == VERSION
    }

    fn outside(self, byte: usize, bit: u8) -> bool {
        let place = byte * 8 + usize::from(bit);
        matches!(self, Self::All) || place == (byte & !7) * 8 + byte / 8 % 64
    }
}

/// How many bits of a file led to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Totals {
    /// Reported as damage of that file, at the frame that has the bit, and the log opens.
    damaged: usize,
    /// Of these: no group has lost anything that it needs.
    unharmed: usize,
    /// In the version of a head: reported as a format nobody knows.
    unknown_format: usize,
    /// In the seal, where it says what other frames say as well: all is there.
    in_seal: usize,
    /// Outside of all frames: all is there.
    unused: usize,
}

/// The frames of a segment, found without the code that is tested: they stand one behind
/// the other from the beginning of a block on.
fn frames(content: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut offset = 0;
    while offset + HEADER <= content.len() {
        if content[offset + 4..][..2] != *b"RL" {
            offset = (offset + 1).next_multiple_of(BLOCK);
            continue;
        }
        let body = u32::from_le_bytes(content[offset + 8..][..4].try_into().unwrap());
        let end = offset + HEADER + body as usize;
        frames.push(Frame { kind: content[offset + 7], bytes: offset..end });
        offset = end.next_multiple_of(8);
    }
    frames
}

fn segments(disk: &SimDisk) -> Vec<PathBuf> {
    let dir = Path::new("log");
    disk.list(dir).unwrap().iter().map(|name| dir.join(name)).collect()
}

/// Opens a copy of the log with one bit flipped and reads all of it, twice. Where it is
/// refused, nothing has been changed.
fn open_flipped(
    closed: &SimDisk,
    path: &Path,
    byte: usize,
    bit: u8,
) -> Result<(story::Contents, Vec<Damage>), LogError> {
    let disk = closed.copy();
    disk.flip_bit(path, byte as u64, bit);
    let changes = disk.counts().changes;
    let read = || story::read_damaged(Arc::new(disk.clone()), Path::new("log"));
    let outcome = read();
    match &outcome {
        Err(_) => assert_eq!(disk.counts().changes, changes, "a refused log was changed"),
        Ok((contents, damage)) => {
            let (again, places) = read().expect("what was opened once can be opened again");
            assert_eq!((&again, &places), (contents, damage), "damage is not forgotten");
        }
    }
    outcome
}

/// Whether no group has lost anything. One that has is an earlier state of itself, with
/// its vote and where it had ended.
fn is_whole(contents: &story::Contents, at: &str) -> bool {
    let written = story::written();
    assert!(contents.keys().eq(written.keys()), "{at}: {contents:?}");
    let mut whole = true;
    for (group, (is, entries)) in contents {
        let (was, all) = &written[group];
        assert_eq!(is.hard_state, was.hard_state, "{at}: {group}");
        let Some(ended) = is.damaged_up_to else {
            assert_eq!((is, entries), (was, all), "{at}: {group}");
            continue;
        };
        whole = false;
        assert_eq!(ended, was.shape.last(), "{at}: {group}");
        assert!(is.shape.last() < ended, "{at}: {group}: {is:?}");
        let last = entries.last().map_or(is.shape.floor(), Entry::position);
        assert_eq!(last, is.shape.last(), "{at}: {group}: {is:?}");
    }
    whole
}

/// Flips every bit of a segment that is to be flipped, one at a time.
fn flip_all(closed: &SimDisk, path: &Path, bits: Bits) -> Totals {
    let content = closed.content(path);
    let frames = frames(&content);
    let mut totals = Totals::default();
    for (byte, bit) in (0..content.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let frame = frames.iter().find(|frame| frame.bytes.contains(&byte));
        let is_flipped =
            if frame.is_some() { bits.in_frame(byte, bit) } else { bits.outside(byte, bit) };
        if !is_flipped {
            continue;
        }
        let at = format!("bit {bit} of byte {byte} of {}", path.display());
        let outcome = catch_unwind(|| open_flipped(closed, path, byte, bit))
            .unwrap_or_else(|_| panic!("opening panics: {at}"));
        match (outcome, frame) {
            (Ok((contents, damage)), Some(frame)) if frame.kind != SEAL => {
                let [Damage { file, offset, .. }] = &damage[..] else { panic!("{at}: {damage:?}") };
                assert_eq!((&**file, *offset), (path, frame.bytes.start as u64), "{at}");
                totals.damaged += 1;
                totals.unharmed += usize::from(is_whole(&contents, &at));
            }
            (Err(LogError::UnknownFormat { file, version }), Some(frame)) => {
                assert_eq!((frame.bytes.start, byte, file.as_path()), (0, VERSION, path), "{at}");
                assert_eq!(version, content[byte] ^ (1 << bit), "{at}");
                totals.unknown_format += 1;
            }
            (Ok((contents, damage)), frame) => {
                assert!(damage.is_empty() && is_whole(&contents, &at), "{at}: {damage:?}");
                totals.in_seal += usize::from(frame.is_some());
                totals.unused += usize::from(frame.is_none());
            }
            (outcome, frame) => panic!("{at}, in {frame:?}: {outcome:?}"),
        }
    }
    totals
}

/// Totals as the frames say that they must be.
fn expected(content: &[u8], bits: Bits) -> Totals {
    let frames = frames(content);
    let in_frame = |byte: usize| (0..8).filter(|bit| bits.in_frame(byte, *bit)).count();
    let of_kind = |seals: bool| -> usize {
        let of_kind = frames.iter().filter(|frame| (frame.kind == SEAL) == seals);
        of_kind.flat_map(|frame| frame.bytes.clone()).map(in_frame).sum()
    };
    // Of the eight bits, one makes it 0, which never was a format.
    let (in_frames, in_seal, unknown_format) = (of_kind(false), of_kind(true), 7);
    let is_outside = |byte: &usize| !frames.iter().any(|frame| frame.bytes.contains(byte));
    let outside = |byte: usize| (0..8).filter(|bit| bits.outside(byte, *bit)).count();
    let unused = (0..content.len()).filter(is_outside).map(outside).sum();
    Totals { damaged: in_frames - unknown_format, unharmed: 0, unknown_format, in_seal, unused }
}

/// Flips the bits of all segments; answers what came of it, all together.
fn flip_log(bits: Bits) -> Totals {
    let closed = SimDisk::new(1);
    story::write(Arc::new(closed.clone()), Path::new("log")).unwrap();
    let untouched = story::read(Arc::new(closed.copy()), Path::new("log")).unwrap();
    assert_eq!(untouched, story::written());

    let paths = segments(&closed);
    assert_eq!(paths.len(), 2);
    let mut kinds: BTreeSet<u8> = BTreeSet::new();
    for path in &paths {
        let frames = frames(&closed.content(path));
        assert_eq!((frames[0].kind, frames[0].bytes.start), (HEAD, 0));
        kinds.extend(frames[1..].iter().map(|frame| frame.kind));
    }
    assert_eq!(kinds, BTreeSet::from(NOT_HEADS), "frames of every kind that is written");

    let closed = &closed;
    // One thread for each file, as there are tens of thousands of bits in it.
    let all: Vec<Totals> = thread::scope(|scope| {
        let running: Vec<_> =
            paths.iter().map(|path| scope.spawn(move || flip_all(closed, path, bits))).collect();
        running.into_iter().map(|flips| flips.join().unwrap()).collect()
    });
    let mut sum = Totals::default();
    for (path, totals) in paths.iter().zip(all) {
        let expected =
            Totals { unharmed: totals.unharmed, ..expected(&closed.content(path), bits) };
        assert_eq!(totals, expected, "{}", path.display());
        sum.unharmed += totals.unharmed;
        sum.damaged += totals.damaged;
        sum.unknown_format += totals.unknown_format;
        sum.in_seal += totals.in_seal;
        sum.unused += totals.unused;
    }
    sum
}

/// Every bit in an optimized build; otherwise it would take minutes.
#[test]
fn every_flipped_bit_of_a_sealed_log_is_reported_where_it_is_or_does_no_harm() {
    let optimized = !cfg!(debug_assertions);
    let totals = flip_log(if optimized { Bits::All } else { Bits::Some });
    println!("{totals:?}");
    let Totals { damaged, unharmed, unknown_format, in_seal, unused } = totals;
    assert_eq!(unknown_format, 2 * 7);
    let share = if optimized { 1 } else { 8 };
    assert!(in_seal > HEADER * 8 / share, "the seal says how the groups stand: {totals:?}");
    assert!(unharmed > 10_000 / share && unharmed < damaged, "{totals:?}");
    let flipped = damaged + unknown_format + in_seal + unused;
    assert!(!optimized || flipped == 2 * 3 * BLOCK * 8, "{totals:?}");
}
