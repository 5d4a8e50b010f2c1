//! Rules that every [`Disk`] must keep, as checks: for whoever brings one of their own.
//!
//! ```
//! use raft_log::{SimDisk, conformance};
//! use std::path::Path;
//!
//! let disk = SimDisk::new(1);
//! // What comes after a sync must survive this; a disk that cannot be crashed does nothing.
//! let crash = || disk.crash_power();
//! conformance::disk(&disk, Path::new("anywhere"), crash).unwrap();
//! ```

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::Path;

use thiserror::Error;

use crate::disk::{Disk, DiskFile};

/// What a [`Disk`] promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `create_dir_all` makes a folder and those above it, and takes one that is there.
    MakesFolders,
    /// `list` names the files of a folder and only those, sorted; a folder that is not there
    /// is an error of the kind `NotFound`.
    ListsFiles,
    /// `create` makes an empty file, and refuses a name that is taken with `AlreadyExists`;
    /// `open` and `remove` refuse one that is not there with `NotFound`.
    NamesAreTakenOnce,
    /// What was written is read, at any offset; a read is short only at the end of the file;
    /// what was never written below its end is zero.
    ReadsWhatWasWritten,
    /// The same for `write_through`, aligned to blocks or not.
    WritesThrough,
    /// `set_len` cuts a file, and extends it with zeros.
    CutsAndExtends,
    /// Handles of the same file see the same content.
    HandlesShare,
    /// `rename` takes the place of the file that had the name before.
    RenameReplaces,
    /// A handle stays usable when its file is renamed or removed.
    HandlesOutliveNames,
    /// `draw` does not say the same over and over.
    DrawsDiffer,
    /// There is no more room free than there is.
    SpaceFits,
    /// What was synced survives a crash: content and length by the file's `sync` (or
    /// `write_through`), creations, renamings and removals by the folder's `sync_dir`.
    SyncedSurvives,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MakesFolders => "create_dir_all makes a folder and those above it",
            Self::ListsFiles => "list names the files of a folder, sorted",
            Self::NamesAreTakenOnce => "create takes free names only, open and remove taken ones",
            Self::ReadsWhatWasWritten => "what was written is read",
            Self::WritesThrough => "write_through writes",
            Self::CutsAndExtends => "set_len cuts, and extends with zeros",
            Self::HandlesShare => "handles of one file see the same",
            Self::RenameReplaces => "rename takes the place of what had the name",
            Self::HandlesOutliveNames => "a handle outlives the name of its file",
            Self::DrawsDiffer => "draws differ",
            Self::SpaceFits => "no more room is free than there is",
            Self::SyncedSurvives => "what was synced survives a crash",
        })
    }
}

/// A rule that is broken: the implementation is to be mended before a log is trusted to it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the disk breaks the rule that {rule}: {how}")]
pub struct Broken {
    /// Which one.
    pub rule: Rule,
    /// What was done, what should have come of it, and what did.
    pub how: String,
}

/// One check per rule, in the order of what they build on.
const CHECKS: [(Rule, Check); 11] = [
    (Rule::MakesFolders, makes_folders),
    (Rule::ListsFiles, lists_files),
    (Rule::NamesAreTakenOnce, names_are_taken_once),
    (Rule::ReadsWhatWasWritten, |disk, dir| reads_back(disk, dir, false)),
    (Rule::WritesThrough, |disk, dir| reads_back(disk, dir, true)),
    (Rule::CutsAndExtends, cuts_and_extends),
    (Rule::HandlesShare, handles_share),
    (Rule::RenameReplaces, rename_replaces),
    (Rule::HandlesOutliveNames, handles_outlive_names),
    (Rule::DrawsDiffer, draws_differ),
    (Rule::SpaceFits, space_fits),
];

type Check = fn(&dyn Disk, &Path) -> Result<(), Fault>;

/// What a check has found.
struct Fault(String);

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self(format!("an error where there should be none: {error}"))
    }
}

/// Checks every [`Rule`], each in a folder of its own below `dir`, which is made and left
/// behind. `crash` is called after something was synced: it should take away what was not, as
/// far as that can be brought about; handles from before are not used again.
///
/// # Errors
/// The first rule that is broken.
pub fn disk(disk: &dyn Disk, dir: &Path, mut crash: impl FnMut()) -> Result<(), Broken> {
    for (rule, check) in CHECKS {
        let dir = dir.join(format!("{rule:?}"));
        let prepared = disk.create_dir_all(&dir).map_err(Fault::from);
        let outcome = prepared.and_then(|()| check(disk, &dir));
        outcome.map_err(|Fault(how)| Broken { rule, how })?;
    }
    let rule = Rule::SyncedSurvives;
    let dir = dir.join(format!("{rule:?}"));
    synced_survives(disk, &dir, &mut crash).map_err(|Fault(how)| Broken { rule, how })
}

fn demand(holds: bool, how: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault(how())) }
}

/// An error of this kind, and no other outcome.
fn refused<T>(outcome: io::Result<T>, kind: ErrorKind, what: &str) -> Result<(), Fault> {
    match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error) => Err(Fault(format!("{what} fails with {:?}, not {kind:?}", error.kind()))),
        Ok(_) => Err(Fault(format!("{what} goes well, and should fail with {kind:?}"))),
    }
}

fn content(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let mut all = vec![0; file.len()? as usize + 16];
    let read = file.read_at(0, &mut all)?;
    all.truncate(read);
    Ok(all)
}

fn holds(file: &dyn DiskFile, expected: &[u8], when: &str) -> Result<(), Fault> {
    let found = content(file)?;
    let (length, differs) = (found.len(), found.iter().zip(expected).position(|(a, b)| a != b));
    demand(found == expected, || match differs {
        Some(at) => format!("{when}, byte {at} is {}, not {}", found[at], expected[at]),
        None => format!("{when}, {length} bytes are read, not {}", expected.len()),
    })
}

fn makes_folders(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let deep = dir.join("a/b/c");
    disk.create_dir_all(&deep)?;
    disk.create_dir_all(&deep)?;
    for folder in [&deep, &dir.join("a")] {
        let names = disk.list(folder)?;
        demand(names.is_empty(), || format!("a new folder lists {names:?}"))?;
    }
    Ok(())
}

fn lists_files(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    disk.create_dir_all(&dir.join("folder"))?;
    for name in ["b", "a", "folder/inner", "c.log"] {
        disk.create(&dir.join(name))?;
    }
    let names = disk.list(dir)?;
    demand(names == ["a", "b", "c.log"], || {
        format!("of the files b, a, c.log and folder/inner, {names:?} are listed")
    })?;
    refused(disk.list(&dir.join("none")), ErrorKind::NotFound, "listing a folder that is not there")
}

fn names_are_taken_once(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let path = dir.join("f");
    let not_there = ErrorKind::NotFound;
    refused(disk.open(&path), not_there, "opening a file that is not there")?;
    refused(disk.remove(&path), not_there, "removing a file that is not there")?;
    let file = disk.create(&path)?;
    demand(file.is_empty()?, || "a new file is not empty".to_owned())?;
    file.write_at(0, b"kept")?;
    refused(disk.create(&path), ErrorKind::AlreadyExists, "creating a file that is there")?;
    holds(&*disk.open(&path)?, b"kept", "after a creation that was refused")?;
    disk.remove(&path)?;
    refused(disk.open(&path), not_there, "opening a file that was removed")
}

/// Writes of many lengths to many places, some of them over others.
fn reads_back(disk: &dyn Disk, dir: &Path, through: bool) -> Result<(), Fault> {
    let file = disk.create(&dir.join("f"))?;
    let mut expected: Vec<u8> = Vec::new();
    let places = [(0, 1), (1, 4095), (4096, 4096), (0, 8192), (20_000, 5), (8192, 12_288), (3, 0)];
    for (round, (offset, length)) in (1..).zip(places) {
        let data = vec![round; length];
        if through {
            file.write_through(offset as u64, &data)?;
        } else {
            file.write_at(offset as u64, &data)?;
        }
        if length > 0 {
            expected.resize(expected.len().max(offset + length), 0);
            expected[offset..offset + length].copy_from_slice(&data);
        }
        holds(&*file, &expected, &format!("after a write of {length} bytes at {offset}"))?;
    }
    let (end, mut into) = (expected.len() as u64, [9; 8]);
    for (offset, expected) in [(end - 3, 3), (end, 0), (end + 100, 0), (10, 8)] {
        let read = file.read_at(offset, &mut into)?;
        demand(read == expected, || {
            format!("{read} of 8 bytes are read at {offset} of {end}, not {expected}")
        })?;
    }
    Ok(())
}

fn cuts_and_extends(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let file = disk.create(&dir.join("f"))?;
    file.write_at(0, &[7; 100])?;
    file.set_len(10)?;
    holds(&*file, &[7; 10], "after a cut to 10 bytes")?;
    file.set_len(50)?;
    holds(&*file, &[&[7; 10][..], &[0; 40]].concat(), "extended to 50 bytes")?;
    file.set_len(0)?;
    holds(&*file, &[], "after a cut to nothing")
}

fn handles_share(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let first = disk.create(&dir.join("f"))?;
    let second = disk.open(&dir.join("f"))?;
    first.write_at(0, b"first")?;
    second.write_at(5, b"second")?;
    holds(&*first, b"firstsecond", "by the first of two handles")?;
    holds(&*second, b"firstsecond", "by the second of two handles")
}

fn rename_replaces(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    for name in ["new", "old"] {
        disk.create(&dir.join(name))?.write_at(0, name.as_bytes())?;
    }
    disk.rename(&dir.join("new"), &dir.join("old"))?;
    let names = disk.list(dir)?;
    demand(names == ["old"], || format!("new was renamed to old, and {names:?} are there"))?;
    holds(&*disk.open(&dir.join("old"))?, b"new", "after new was renamed to old")
}

fn handles_outlive_names(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let file = disk.create(&dir.join("f"))?;
    file.write_at(0, b"here")?;
    disk.rename(&dir.join("f"), &dir.join("g"))?;
    file.write_at(4, b" too")?;
    holds(&*disk.open(&dir.join("g"))?, b"here too", "written by a handle from before a rename")?;
    disk.remove(&dir.join("g"))?;
    holds(&*file, b"here too", "by a handle of a file that was removed")
}

fn draws_differ(disk: &dyn Disk, _: &Path) -> Result<(), Fault> {
    let drawn: BTreeSet<u32> = (0..64).map(|_| disk.draw()).collect();
    demand(drawn.len() > 48, || format!("64 draws have {} different outcomes", drawn.len()))
}

fn space_fits(disk: &dyn Disk, dir: &Path) -> Result<(), Fault> {
    let space = disk.space(dir)?;
    demand(space.free_bytes <= space.total_bytes, || format!("{space:?}"))
}

fn synced_survives(disk: &dyn Disk, dir: &Path, crash: &mut dyn FnMut()) -> Result<(), Fault> {
    let block = vec![3; 4096];
    disk.create_dir_all(dir)?;
    let file = disk.create(&dir.join("kept"))?;
    file.write_at(0, b"synced")?;
    file.sync()?;
    disk.create(&dir.join("through"))?.write_through(0, &block)?;
    disk.create(&dir.join("gone"))?.sync()?;
    disk.create(&dir.join("before"))?.write_through(0, b"renamed")?;
    disk.rename(&dir.join("before"), &dir.join("after"))?;
    disk.sync_dir(dir)?;
    disk.remove(&dir.join("gone"))?;
    disk.sync_dir(dir)?;
    file.set_len(3)?;
    file.sync()?;
    crash();
    let names = disk.list(dir)?;
    demand(names == ["after", "kept", "through"], || {
        format!("after, kept and through were synced, and after a crash {names:?} are there")
    })?;
    let expected: [(&str, &[u8]); 3] =
        [("kept", b"syn"), ("through", &block), ("after", b"renamed")];
    for (name, content) in expected {
        holds(&*disk.open(&dir.join(name))?, content, &format!("in {name}, after a crash"))?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "conformance_tests.rs"]
mod tests;
