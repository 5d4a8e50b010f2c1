//! Opening a log: recovery, and the first segment of a new run.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::BufMut;
use raft_core::{GroupId, HardState, Position, RecoveredGroup};

use crate::block_buffer::BlockBuffer;
use crate::checkpoint::Head;
use crate::disk::{Disk, DiskFile};
use crate::error::{LogError, io_error, io_error_at};
use crate::frame::{BLOCK, FrameHeader, FrameKind, HEADER, align_up, frame_bytes};
use crate::frames::Place;
use crate::group_log::GroupLog;
use crate::new_segment::{Named, NewSegment};
use crate::options::{LogIdentity, LogOptions};
use crate::recovery::{Kept, Recovered, Uncovered, recover, segment_path, spare_path};
use crate::wal::{Durable, Segment, Tail, WriteAheadLog};

/// The size of the first segment of a run, where there is no file for it and the usual size
/// is not smaller.
const FIRST_SEGMENT_BYTES: u64 = 4 << 20;

/// Files are read through in pieces of this size.
const READ_AT_ONCE: usize = 1 << 20;

/// See [`WriteAheadLog::open`].
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    identity: LogIdentity,
    options: LogOptions,
) -> Result<(WriteAheadLog, BTreeMap<GroupId, RecoveredGroup>), LogError> {
    disk.create_dir_all(dir).map_err(io_error("cannot create", dir))?;
    let mut recovered = recover(&*disk, dir, identity)?;
    let mut log = WriteAheadLog::empty(disk, dir, identity, options);
    let groups = take_groups(&mut log, &mut recovered);
    log.next_sequence = recovered.last + 1;
    log.tail.epoch = recovered.highest_epoch;
    for (epoch, kept) in &recovered.segments {
        let Kept { file, bytes, lacks_head, is_unreadable, .. } = kept;
        let (file, bytes, lacks_head) = (Arc::clone(file), *bytes, *lacks_head);
        let is_unreadable = *is_unreadable;
        log.segments.insert(*epoch, Segment { file, bytes, needs: 0, lacks_head, is_unreadable });
    }
    make_room(&log, &recovered)?;
    first_segment(&mut log, &recovered)?;
    tidy_up(&mut log, &recovered)?;
    Ok((log, groups))
}

fn take_groups(
    log: &mut WriteAheadLog,
    recovered: &mut Recovered,
) -> BTreeMap<GroupId, RecoveredGroup> {
    let mut groups = BTreeMap::new();
    for (id, replayed) in std::mem::take(&mut recovered.groups) {
        let group = replayed.recovered();
        log.groups.insert(id, GroupLog::recovered(id, &group, replayed.frames));
        groups.insert(id, group);
    }
    log.damage = std::mem::take(&mut recovered.damage);
    log.may_lack_groups = recovered.may_lack_groups;
    groups
}

/// Frees what dead segments take before a new one needs the room. Those above the newest
/// live one keep their names until a higher one is durable, though nothing else: the
/// epoch of each may have been given out and must never be used twice, and which of the
/// names are durable is not known. Whatever is back after a power failure is just as
/// dead then.
///
/// First the names that are seen become durable. A file that is used again must have lost
/// its name as a segment for good before it is written to or gets another name, or a power
/// failure would bring it back as a segment with other content than it had.
fn make_room(log: &WriteAheadLog, recovered: &Recovered) -> Result<(), LogError> {
    let is_next = |epoch: u64| recovered.next.is_some_and(|(next, _)| next == epoch);
    let keeps_names = recovered.dead.range(recovered.newest()..).next().is_some();
    if keeps_names || !recovered.spares.is_empty() {
        log.disk.sync_dir(&log.dir).map_err(io_error("cannot sync", &log.dir))?;
    }
    for epoch in &recovered.dead {
        let path = segment_path(&log.dir, *epoch);
        if *epoch < recovered.newest() {
            log.disk.remove(&path).map_err(io_error("cannot remove", &path))?;
        } else if !is_next(*epoch) {
            let emptied = log.disk.open(&path).and_then(|file| file.set_len(0));
            emptied.map_err(io_error("cannot empty", &path))?;
        }
    }
    Ok(())
}

/// Writes the segment before which nothing of this run is promised: first a head that
/// puts an end to what recovery has cut, then copies of everything that may so far
/// have been in the page cache only. The copies keep their sequences, so that a crash
/// between the two leaves the originals in force.
fn first_segment(log: &mut WriteAheadLog, recovered: &Recovered) -> Result<(), LogError> {
    let copies: u64 = recovered.uncovered.iter().map(|copy| frame_bytes(copy.body.len())).sum();
    // Nobody should wait for many zeros before anything works. The next one has full size.
    let usual = log.options.segment_bytes;
    let waits = recovered.next.is_some() || !recovered.spares.is_empty();
    let size = if waits { usual } else { usual.min(FIRST_SEGMENT_BYTES) };
    let upto = recovered.durable_upto;
    let (new, mut tail) = new_segment(log, recovered.newest(), upto, copies, size);
    let file = match adopt_spare(log, recovered, &new)? {
        Some(file) => file,
        None => {
            let file = new.make()?.file;
            new.begin(&*file, Named::AtSwitch).inspect_err(|_| new.discard())?;
            file
        }
    };
    if !recovered.uncovered.is_empty() {
        let offset = tail.offset;
        let mut out = copy_frames(log, &mut tail, recovered);
        // Without the copies the originals are still in force.
        let written = file.write_at(offset, out.whole_blocks()).inspect_err(|_| new.discard());
        written.map_err(io_error_at("cannot write to", &new.path, offset))?;
        let synced = file.sync().inspect_err(|_| new.discard());
        synced.map_err(io_error_at("cannot sync", &new.path, offset))?;
    }
    log.boot_epoch = tail.epoch;
    log.tail = tail;
    let sequence = log.next_sequence - 1;
    log.durable = Durable {
        sequence,
        covered: recovered.durable_upto,
        content: sequence,
        ..Durable::default()
    };
    let needs = log.groups.values().map(GroupLog::needs).fold(tail.epoch, u64::min);
    let bytes = tail.bytes;
    let segment = Segment { file, bytes, needs, lacks_head: false, is_unreadable: false };
    log.segments.insert(tail.epoch, segment);
    Ok(())
}

/// Takes a file that waited to become a segment, where there is one of the right size, and
/// removes the others. What is in it does not matter: no frame of the new epoch but perhaps
/// a head that was never promised. It gets its name before it is looked at, so that no job
/// of a log that this process had open before can still mean it by its old one.
fn adopt_spare(
    log: &WriteAheadLog,
    recovered: &Recovered,
    new: &NewSegment,
) -> Result<Option<Arc<dyn DiskFile>>, LogError> {
    let mut adopted = None;
    let next = recovered.next.map(|(epoch, _)| segment_path(&log.dir, epoch));
    let spares = recovered.spares.iter().map(|epoch| spare_path(&log.dir, *epoch));
    for path in next.into_iter().chain(spares) {
        let fits = |file: &Arc<dyn DiskFile>| file.len().is_ok_and(|bytes| bytes == new.bytes);
        let fit = adopted.is_none() && can_be_read(&*log.disk, &path);
        if fit && log.disk.rename(&path, &new.path).is_ok() {
            adopted = log.disk.open(&new.path).ok().filter(fits);
            if adopted.is_none() {
                new.discard();
            }
            continue;
        }
        remove_if_there(&*log.disk, &path)?;
    }
    if let Some(file) = &adopted {
        new.begin(&**file, Named::AtSwitch).inspect_err(|_| new.discard())?;
    }
    Ok(adopted)
}

/// Whether the disk can read all of a file. Where it could not, that might later be taken for
/// what a write had confirmed there.
fn can_be_read(disk: &dyn Disk, path: &Path) -> bool {
    let Ok(file) = disk.open(path) else { return false };
    let Ok(bytes) = file.len() else { return false };
    let mut memory = vec![0; READ_AT_ONCE];
    (0..bytes).step_by(READ_AT_ONCE).all(|at| file.read_at(at, &mut memory).is_ok())
}

/// Removes a file, unless a job of a log that this process had open before has just done so, or
/// it has become the new segment.
fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), LogError> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome.map_err(io_error("cannot remove", path)),
    }
}

fn copy_frames(log: &mut WriteAheadLog, tail: &mut Tail, recovered: &Recovered) -> BlockBuffer {
    let mut out = BlockBuffer::default();
    for Uncovered { header, place, body } in &recovered.uncovered {
        let (offset, durable_upto) = (tail.offset, recovered.durable_upto);
        let header = FrameHeader { epoch: tail.epoch, salt: log.salt, durable_upto, ..*header };
        header.encode(offset, out.end(), |out| out.put_slice(body));
        tail.offset += frame_bytes(body.len());
        let to = Place { epoch: tail.epoch, offset, length: place.length };
        if let Some(group) = log.groups.get_mut(&header.group) {
            group.moved(*place, to);
        }
    }
    out
}

/// The segment after the current one, with a head that restates every group as the
/// frames built so far leave it, and room for `bytes` more: of this size, unless that is too
/// small. Takes a sequence for the head.
pub(crate) fn new_segment(
    log: &mut WriteAheadLog,
    predecessor: u64,
    durable_upto: u64,
    bytes: u64,
    size: u64,
) -> (NewSegment, Tail) {
    let epoch = log.tail.epoch + 1;
    let sequence = log.next_sequence;
    log.next_sequence += 1;
    let head = Head {
        identity: log.identity,
        predecessor,
        predecessor_last: sequence - 1,
        may_lack_groups: log.may_lack_groups,
        groups: log.checkpoints(epoch),
    };
    let header = FrameHeader {
        kind: FrameKind::Head,
        group: GroupId(0),
        epoch,
        salt: log.salt,
        sequence,
        durable_upto,
        hard_state: HardState::default(),
        last: Position::ZERO,
    };
    let mut out = BlockBuffer::default();
    out.clear_for(HEADER + head.len());
    header.encode(0, out.end(), |out| head.put(out));
    let offset = out.whole_blocks().len() as u64;
    let size = size.max(align_up(offset + bytes, BLOCK));
    let new = NewSegment {
        disk: Arc::clone(&log.disk),
        dir: log.dir.clone(),
        path: segment_path(&log.dir, epoch),
        bytes: size,
        head: out,
        sync_method: log.options.sync_method,
    };
    (new, Tail { epoch, offset, bytes: size })
}

/// Removes the dead segments that have kept their names so far and gives back the unused
/// ends of earlier segments: the new head says that nothing there is ever read.
fn tidy_up(log: &mut WriteAheadLog, recovered: &Recovered) -> Result<(), LogError> {
    for epoch in recovered.dead.range(recovered.newest()..) {
        remove_if_there(&*log.disk, &segment_path(&log.dir, *epoch))?;
    }
    if !recovered.dead.is_empty() {
        log.disk.sync_dir(&log.dir).map_err(io_error("cannot sync", &log.dir))?;
    }
    for (epoch, kept) in &recovered.segments {
        if kept.end < kept.bytes {
            let path = segment_path(&log.dir, *epoch);
            let shortened = kept.file.set_len(kept.end);
            shortened.map_err(io_error_at("cannot shorten", &path, kept.end))?;
            if let Some(segment) = log.segments.get_mut(epoch) {
                segment.bytes = kept.end;
            }
        }
    }
    Ok(())
}
