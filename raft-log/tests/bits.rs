//! A sealed log whose bits flip, every one of them once: it is refused, or whole.

mod story;

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use raft_log::{Disk as _, LogError, SimDisk};

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

/// Which bits outside of frames are flipped. They are most of a small log.
#[derive(Clone, Copy, Debug)]
enum Unused {
    EveryBit,
    /// One in 64, a different one in each word: recovery looks at words.
    OneBitPerWord,
}

impl Unused {
    fn has(self, byte: usize, bit: u8) -> bool {
        match self {
            Self::EveryBit => true,
            Self::OneBitPerWord => byte * 8 + usize::from(bit) == (byte & !7) * 8 + byte / 8 % 64,
        }
    }
}

/// How many bits of a file led to what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Totals {
    /// Reported as damage of that file, at the frame that has the bit.
    damaged: usize,
    /// In the version of a head: reported as a format nobody knows.
    unknown_format: usize,
    /// In the seal, which says nothing but that the rest was durable: all is there.
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

/// Opens a copy of the log with one bit flipped and reads all of it. Where it is refused,
/// nothing has been changed.
fn open_flipped(
    closed: &SimDisk,
    path: &Path,
    byte: usize,
    bit: u8,
) -> Result<story::Contents, LogError> {
    let disk = closed.copy();
    disk.flip_bit(path, byte as u64, bit);
    let changes = disk.counts().changes;
    let outcome = story::read(Arc::new(disk.clone()), Path::new("log"));
    if outcome.is_err() {
        assert_eq!(disk.counts().changes, changes, "a log that is refused was changed");
    }
    outcome
}

/// Flips every bit of a segment that is to be flipped, one at a time.
fn flip_all(closed: &SimDisk, path: &Path, unused: Unused) -> Totals {
    let written = story::written();
    let content = closed.content(path);
    let frames = frames(&content);
    let mut totals = Totals::default();
    for (byte, bit) in (0..content.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let frame = frames.iter().find(|frame| frame.bytes.contains(&byte));
        if frame.is_none() && !unused.has(byte, bit) {
            continue;
        }
        let at = format!("bit {bit} of byte {byte} of {}", path.display());
        let outcome = catch_unwind(|| open_flipped(closed, path, byte, bit))
            .unwrap_or_else(|_| panic!("opening panics: {at}"));
        match (outcome, frame) {
            (Err(LogError::Damaged { file, offset, .. }), Some(frame)) if frame.kind != SEAL => {
                assert_eq!((file.as_path(), offset), (path, frame.bytes.start as u64), "{at}");
                totals.damaged += 1;
            }
            (Err(LogError::UnknownFormat { file, version }), Some(frame)) => {
                assert_eq!((frame.bytes.start, byte, file.as_path()), (0, VERSION, path), "{at}");
                assert_eq!(version, content[byte] ^ (1 << bit), "{at}");
                totals.unknown_format += 1;
            }
            (Ok(contents), Some(frame)) if frame.kind == SEAL => {
                assert_eq!(contents, written, "{at}");
                totals.in_seal += 1;
            }
            (Ok(contents), None) => {
                assert_eq!(contents, written, "{at}");
                totals.unused += 1;
            }
            (outcome, frame) => panic!("{at}, in {frame:?}: {outcome:?}"),
        }
    }
    totals
}

/// Totals as the frames say that they must be.
fn expected(content: &[u8], unused: Unused) -> Totals {
    let frames = frames(content);
    let bits = |seals: bool| -> usize {
        let of_kind = frames.iter().filter(|frame| (frame.kind == SEAL) == seals);
        of_kind.map(|frame| frame.bytes.len() * 8).sum()
    };
    // Of the eight bits, one makes it 0, which never was a format.
    let (in_frames, in_seal, unknown_format) = (bits(false), bits(true), 7);
    let outside = |byte: &usize| !frames.iter().any(|frame| frame.bytes.contains(byte));
    let flipped = |byte: usize| (0..8).filter(|bit| unused.has(byte, *bit)).count();
    let unused = (0..content.len()).filter(outside).map(flipped).sum();
    Totals { damaged: in_frames - unknown_format, unknown_format, in_seal, unused }
}

/// Flips the bits of all segments; answers what came of it, all together.
fn flip_log(unused: Unused) -> Totals {
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
            paths.iter().map(|path| scope.spawn(move || flip_all(closed, path, unused))).collect();
        running.into_iter().map(|flips| flips.join().unwrap()).collect()
    });
    let mut sum = Totals::default();
    for (path, totals) in paths.iter().zip(all) {
        assert_eq!(totals, expected(&closed.content(path), unused), "{}", path.display());
        sum.damaged += totals.damaged;
        sum.unknown_format += totals.unknown_format;
        sum.in_seal += totals.in_seal;
        sum.unused += totals.unused;
    }
    sum
}

/// Every bit of every frame in any build; an optimized one flips every bit of the zeros around
/// them as well, which takes minutes where nothing is optimized.
#[test]
fn every_flipped_bit_of_a_sealed_log_is_reported_where_it_is_or_does_no_harm() {
    let all = 2 * 3 * BLOCK * 8;
    let optimized = !cfg!(debug_assertions);
    let totals = flip_log(if optimized { Unused::EveryBit } else { Unused::OneBitPerWord });
    println!("{totals:?}");
    let Totals { damaged, unknown_format, in_seal, unused } = totals;
    assert_eq!((unknown_format, in_seal), (2 * 7, HEADER * 8));
    let in_frames = damaged + unknown_format + in_seal;
    assert!(in_frames > 25_000, "{totals:?}");
    let outside = all - in_frames;
    let least = if optimized { outside } else { outside / 64 - 8 };
    assert!(unused >= least && unused <= outside, "{totals:?}");
}
