//! Segment files made by a program of bytes, by `FORMAT.md` and without the code that is
//! tested. Left alone, the program writes a log that is as it should be; every number of it
//! can be made another one, and the checksums fit all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use raft_core::{ClusterId, Membership, NodeId};
use raft_log::{Disk as _, LogIdentity, LogOptions, SimDisk, SyncMethod};

use super::input::Input;

pub(crate) const DIR: &str = "log";
const BLOCK: usize = 4096;
/// A file grows no larger than this.
const LARGEST: usize = 48 << 10;
/// No more files than this.
const MOST_FILES: usize = 8;

const APPEND: u8 = 1;
const RELOCATE: u8 = 2;
const RESET: u8 = 3;
const REMOVED: u8 = 4;
const SEAL: u8 = 5;
const HEAD: u8 = 6;

/// A program that begins with it writes format 2 from the first head on.
const IN_FORMAT_2: u8 = 0xff;
/// Steps from here on are those that format 2 has brought.
const NEWER_STEPS: u8 = 224;
/// In the word of an entry's kind: its payload is compressed.
const PACKED: u32 = 1 << 31;

pub(crate) fn identity() -> LogIdentity {
    LogIdentity { cluster: ClusterId(7), node: NodeId::new(1).expect("not zero") }
}

/// With segments of two blocks, and nothing in memory.
pub(crate) fn options() -> LogOptions {
    let sync_method = SyncMethod::Fdatasync;
    LogOptions {
        segment_bytes: 2 * BLOCK as u64,
        cache_bytes: 0,
        sync_method,
        reserve_segments: 0,
        relocate_above_segments: 2,
        compress_above_bytes: 64,
    }
}

/// What the program writes of a group if nobody interferes.
#[derive(Clone, Debug, Default)]
struct Group {
    term: u64,
    vote: u64,
    floor: (u64, u64),
    last: (u64, u64),
    damaged_up_to: (u64, u64),
    membership: Vec<u8>,
    /// What can be relocated: per index what stands in a frame for it.
    entries: BTreeMap<u64, Vec<u8>>,
}

impl Group {
    /// As a head or a seal restates it; every position can be made another one.
    fn restate(&self, id: u64, format: u8, other: &mut impl FnMut(u64) -> u64, out: &mut Vec<u8>) {
        for number in [id, self.term, self.vote] {
            out.extend(number.to_le_bytes());
        }
        for number in [self.floor.0, self.floor.1, self.last.0, self.last.1] {
            out.extend(other(number).to_le_bytes());
        }
        if format > 1 {
            out.extend(self.damaged_up_to.0.to_le_bytes());
            out.extend(self.damaged_up_to.1.to_le_bytes());
        }
        put_sized(&self.membership, out);
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u8,
    group: u64,
    epoch: u64,
    salt: u32,
    sequence: u64,
    durable_upto: u64,
    term: u64,
    vote: u64,
    last: (u64, u64),
}

/// The files so far; the last one is being written.
#[derive(Debug, Default)]
struct Writer {
    files: BTreeMap<u64, Vec<u8>>,
    groups: BTreeMap<u64, Group>,
    /// Those that the last head has restated.
    in_head: BTreeSet<u64>,
    format: u8,
    epoch: u64,
    sequence: u64,
    durable_upto: u64,
    spares: u8,
}

/// A disk with the files that the program writes.
pub(crate) fn disk(mut program: Input<'_>) -> SimDisk {
    let mut writer = Writer { format: 1, ..Writer::default() };
    let mut behind_first = program;
    if behind_first.byte() == IN_FORMAT_2 {
        (program, writer.format) = (behind_first, 2);
    }
    writer.switch(&mut Input::new(&[]));
    while !program.is_empty() && writer.files.len() <= MOST_FILES {
        writer.step(&mut program);
    }
    let disk = SimDisk::new(0);
    let dir = Path::new(DIR);
    disk.create_dir_all(dir).expect("a simulated folder");
    let named = writer.files.iter().map(|(epoch, data)| (format!("{epoch:016x}.log"), &data[..]));
    let spare = [0; 2 * BLOCK];
    let spares = (0..writer.spares).map(|number| (format!("{number:016x}.spare"), &spare[..]));
    for (name, data) in named.chain(spares) {
        let file = disk.create(&dir.join(name)).expect("a simulated file");
        file.write_at(0, data).and_then(|()| file.sync()).expect("a simulated disk");
    }
    disk.sync_dir(dir).expect("a simulated disk");
    disk
}

impl Writer {
    fn step(&mut self, program: &mut Input<'_>) {
        let step = program.byte();
        if step >= NEWER_STEPS {
            return self.newer_step(step - NEWER_STEPS, program);
        }
        match step % 14 {
            0..=2 => self.append(program, false),
            3 => self.make(program),
            4 => self.reset(program),
            5 => {
                let group = program.number() % 4;
                self.groups.remove(&group);
                self.frame(program, REMOVED, group, &[]);
            }
            6 => self.frame(program, SEAL, 0, &[]),
            7 => self.switch(program),
            8 => self.custom(program),
            9 => {
                let bytes = program.byte().into();
                let raw = program.bytes(bytes);
                self.file().extend_from_slice(raw);
            }
            10 => {
                let file = self.file();
                file.resize(file.len().next_multiple_of(BLOCK), 0);
            }
            11 => self.sequence = program.number(),
            12 => {
                let file = self.file();
                let at = program.below(file.len().max(1));
                let bit = program.byte() % 8;
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            _ => match program.byte() % 3 {
                0 => self.epoch = program.number(),
                1 => self.spares = (self.spares + 1) % 4,
                _ => self.durable_upto = program.number(),
            },
        }
    }

    fn newer_step(&mut self, step: u8, program: &mut Input<'_>) {
        match step {
            0..8 => self.relocate(program),
            8..16 => self.append(program, true),
            16..20 => self.format = 1 + program.byte() % 2,
            20..28 => self.seal(program),
            _ => {
                let group = self.groups.entry(program.number() % 4).or_default();
                group.damaged_up_to = (program.number(), program.number());
            }
        }
    }

    fn file(&mut self) -> &mut Vec<u8> {
        self.files.entry(self.epoch).or_default()
    }

    fn make(&mut self, program: &mut Input<'_>) {
        let group = program.number() % 4;
        let voters = u64::from(program.byte() % 4);
        let membership = Membership::of_voters((1..=voters).filter_map(NodeId::new)).encode();
        let made = Group { membership: membership.to_vec(), ..Group::default() };
        let mut body = vec![0; 20];
        put_sized(&made.membership, &mut body);
        self.groups.insert(group, made);
        self.frame(program, RESET, group, &body);
    }

    /// Appends entries, whose payloads are compressed where that is said.
    fn append(&mut self, program: &mut Input<'_>, packed: bool) {
        let id = program.number() % 4;
        let group = self.groups.entry(id).or_default();
        let how = program.byte();
        let count = u32::from(how % 4);
        group.term += u64::from(how >> 2 & 1);
        let first = match how >> 3 & 3 {
            // In the place of some, or somewhere.
            1 => group.last.1.saturating_sub(program.number()),
            2 => program.number(),
            _ => group.last.1.wrapping_add(1),
        };
        let mut body = count.to_le_bytes().to_vec();
        body.extend(first.to_le_bytes());
        group.entries.split_off(&first);
        for place in 0..u64::from(count) {
            let (kind, length) = (program.byte(), program.byte());
            let payload = program.bytes(usize::from(length));
            let term = if kind & 16 == 0 { group.term } else { program.number() };
            let mut entry = term.to_le_bytes().to_vec();
            if packed {
                put_sized(&lz4_flex::block::compress_prepend_size(&payload.repeat(9)), &mut entry);
                entry.splice(12..12, (PACKED | 1).to_le_bytes());
            } else {
                put_sized(payload, &mut entry);
                entry.splice(12..12, u32::from(kind % 5).to_le_bytes());
            }
            body.extend(&entry);
            group.entries.insert(first.wrapping_add(place), entry);
            group.last.0 = term;
        }
        if count > 0 {
            group.last.1 = first.wrapping_add(u64::from(count) - 1);
        }
        self.frame(program, APPEND, id, &body);
    }

    /// Writes entries of a group again, or others in their place.
    fn relocate(&mut self, program: &mut Input<'_>) {
        let id = program.number() % 4;
        let (how, from) = (program.byte(), program.number());
        let Some(group) = self.groups.get(&id) else { return };
        let most = 1 + usize::from(how % 4);
        let indexes: Vec<u64> = group.entries.range(from..).map(|(at, _)| *at).take(most).collect();
        let first = indexes.first().copied().unwrap_or(from);
        let row = (0..).zip(&indexes).take_while(|(place, at)| **at - first == *place);
        let entries: Vec<&Vec<u8>> = row.map(|(_, at)| &group.entries[at]).collect();
        let mut body = (entries.len() as u32).to_le_bytes().to_vec();
        let first = if how & 16 == 0 { first } else { program.number() };
        body.extend(first.to_le_bytes());
        entries.iter().for_each(|entry| body.extend(*entry));
        if how & 32 != 0 && body.len() >= 20 {
            body[12..20].copy_from_slice(&program.number().to_le_bytes());
        }
        self.frame(program, RELOCATE, id, &body);
    }

    /// A seal that restates all groups; each position can be another one.
    fn seal(&mut self, program: &mut Input<'_>) {
        let how = program.byte();
        let gone: Vec<u64> =
            self.in_head.iter().filter(|id| !self.groups.contains_key(id)).copied().collect();
        let mut body = (gone.len() as u32).to_le_bytes().to_vec();
        gone.iter().for_each(|id| body.extend(id.to_le_bytes()));
        // Some leave out what is as the head says, others what is not.
        let listed = |id: &u64| how >> (id % 4) & 1 == 0;
        let groups: Vec<_> = self.groups.iter().filter(|(id, _)| listed(id)).collect();
        body.extend((groups.len() as u32).to_le_bytes());
        let mut other = |usual| if how & 16 == 0 { usual } else { program.number() };
        for (id, group) in groups {
            group.restate(*id, self.format, &mut other, &mut body);
        }
        self.frame(program, SEAL, 0, &body);
    }

    fn reset(&mut self, program: &mut Input<'_>) {
        let id = program.number() % 4;
        let group = self.groups.entry(id).or_default();
        let index = program.number();
        let keeps =
            index > group.floor.1 && index <= group.last.1 && program.byte().is_multiple_of(2);
        group.floor = (group.term, index);
        if !keeps {
            group.last = group.floor;
            group.entries.clear();
        }
        let mut body = group.floor.0.to_le_bytes().to_vec();
        body.extend(index.to_le_bytes());
        body.extend(u32::from(keeps).to_le_bytes());
        put_sized(&group.membership, &mut body);
        self.frame(program, RESET, id, &body);
    }

    /// Goes on in another segment, whose head restates the groups.
    fn switch(&mut self, program: &mut Input<'_>) {
        let how = program.byte();
        let mut other = |bit: u8, usual: u64| {
            if how >> bit & 1 == 0 { usual } else { program.number() }
        };
        let mut body = Vec::new();
        let predecessor = other(0, self.epoch);
        let kept = other(1, self.sequence);
        self.epoch = self.epoch.wrapping_add(1);
        for number in [other(2, 7), other(3, 1), predecessor, kept] {
            body.extend(number.to_le_bytes());
        }
        if self.format > 1 {
            body.extend((other(7, 0) as u32).to_le_bytes());
        }
        body.extend((self.groups.len() as u32).to_le_bytes());
        for (id, group) in &mut self.groups {
            // A head may have let go of some entries, or of all.
            group.floor.1 = other(4, group.floor.1);
            group.floor.0 = other(5, group.floor.0);
            group.restate(*id, self.format, &mut |usual| other(6, usual), &mut body);
        }
        self.in_head = self.groups.keys().copied().collect();
        // Everything before a head is durable.
        self.durable_upto = self.sequence;
        self.frame(program, HEAD, 0, &body);
        let file = self.file();
        file.resize(file.len().next_multiple_of(BLOCK), 0);
        self.durable_upto = self.sequence;
    }

    /// A frame with the next sequence. One byte says which numbers are not what they should
    /// be.
    fn frame(&mut self, program: &mut Input<'_>, kind: u8, id: u64, body: &[u8]) {
        let group = self.groups.get(&id).cloned().unwrap_or_default();
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = Header {
            kind,
            group: id,
            epoch: self.epoch,
            salt: 5,
            sequence: self.sequence,
            durable_upto: self.durable_upto.min(self.sequence.wrapping_sub(1)),
            term: group.term,
            vote: group.vote,
            last: group.last,
        };
        let how = program.byte();
        let mut replace = |bit: u8, number: &mut u64| {
            if how >> bit & 1 == 1 {
                *number = program.number();
            }
        };
        replace(0, &mut header.durable_upto);
        replace(1, &mut header.term);
        replace(2, &mut header.vote);
        replace(3, &mut header.last.0);
        replace(4, &mut header.last.1);
        replace(5, &mut header.epoch);
        replace(6, &mut header.group);
        header.salt ^= u32::from(how >> 7);
        self.put(header, body);
    }

    fn custom(&mut self, program: &mut Input<'_>) {
        let kind = program.byte();
        let mut number = || program.number();
        let header = Header {
            kind: kind % 8,
            group: number(),
            epoch: if kind & 8 == 0 { self.epoch } else { number() },
            salt: 5,
            sequence: number(),
            durable_upto: number(),
            term: number(),
            vote: number(),
            last: (number(), number()),
        };
        let length = program.byte().into();
        let body = program.bytes(length);
        self.put(header, body);
    }

    fn put(&mut self, header: Header, body: &[u8]) {
        let format = self.format;
        let file = self.file();
        if file.len() + body.len() > LARGEST {
            return;
        }
        let at = file.len().next_multiple_of(8);
        file.resize(at, 0);
        let mut frame = vec![0; 4];
        frame.extend(b"RL");
        frame.extend([format, header.kind]);
        frame.extend((body.len() as u32).to_le_bytes());
        frame.extend(header.salt.to_le_bytes());
        let Header { group, epoch, sequence, durable_upto, term, vote, last, .. } = header;
        for number in [group, epoch, sequence, durable_upto, term, vote, last.0, last.1] {
            frame.extend(number.to_le_bytes());
        }
        frame.extend(body);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&(at as u64).to_le_bytes()), &frame[4..]);
        frame[..4].copy_from_slice(&crc.to_le_bytes());
        file.extend(frame);
    }
}

fn put_sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// Programs that write logs as they should be, and some that do not quite.
pub(crate) fn programs() -> Vec<Vec<u8>> {
    // Two groups are made, each gets entries, and that is sealed in a second segment.
    let make: [&[u8]; 2] = [&[3, 1, 3, 0], &[3, 2, 1, 0]];
    let append: [&[u8]; 3] =
        [&[0, 1, 6, 1, 3, b'a', b'b', b'c', 0, 0, 0], &[0, 2, 5, 1, 0, 0], &[0, 1, 0, 0]];
    let (switch, seal, align): (&[u8], &[u8], &[u8]) = (&[7, 0, 0], &[6, 0], &[10]);
    let whole = [make[0], make[1], align, append[0], append[1], append[2], align].concat();
    let whole = &whole[..];
    let mut programs = vec![
        Vec::new(),
        whole.to_vec(),
        [whole, switch, append[0], append[1], align, seal].concat(),
        // Entries that are overwritten, a reset that keeps what follows, one that does not.
        [whole, append[0], &[0, 1, 13, 1, 1, 2, b'x', b'y', 0], align, seal].concat(),
        [whole, append[0], &[4, 1, 2, 0, 0], &[4, 2, 9, 0], switch, seal].concat(),
        [whole, &[5, 2, 0], switch, append[0], switch, append[0], seal].concat(),
        // A sequence that is missing, and a flipped bit in what is sealed.
        [whole, &[11, 9], seal].concat(),
        [whole, seal, &[12, 40, 16, 0, 0, 3]].concat(),
        // A frame with every number of its own.
        [whole, &[8, 1, 1, 6, 5, 2, 1, 1, 3, 12, 0, 0, 0, 0, 0]].concat(),
        // Numbers that run over when somebody counts on from them.
        [whole, &[[0, 1, 17].as_slice(), &[0xff; 9], &[0; 3]].concat(), seal].concat(),
        [whole, &[[6, 16].as_slice(), &[0xff; 9]].concat(), append[0]].concat(),
        // A spare, and a head alone.
        [whole, seal, &[13, 1], switch].concat(),
    ];
    let large: Vec<u8> = [&[0_u8, 1, 1, 1, 200][..], &[b'z'; 200], &[0]].concat();
    programs.push([make[0], &large, &large, switch, &large, align, seal].concat());
    programs.extend(programs_of_format_2(whole, append[0]));
    programs
}

/// As [`programs`], with what only format 2 can say.
fn programs_of_format_2(whole: &[u8], append: &[u8]) -> Vec<Vec<u8>> {
    let (switch, align): (&[u8], &[u8]) = (&[7, 0, 0], &[10]);
    let (seal, to_format_2): (&[u8], &[u8]) = (&[244, 0, 0], &[240, 1]);
    let packed: &[u8] = &[&[232, 1, 1, 1, 20], b"twenty bytes of text".as_slice(), &[0]].concat();
    // All entries of group 1, those from the second on, and those of group 2.
    let relocate: [&[u8]; 3] = [&[224, 1, 3, 0, 0], &[224, 1, 3, 2, 0], &[224, 2, 3, 0, 0]];
    let new = [&[IN_FORMAT_2], whole].concat();
    let new = &new[..];
    vec![
        [new, packed, seal, switch, append, align, seal].concat(),
        // Format 1 that is gone on with.
        [whole, to_format_2, switch, packed, seal].concat(),
        // Relocated entries, whose group has others since, or is reset, or is gone.
        [new, switch, relocate[0], relocate[2], align, seal].concat(),
        [new, packed, switch, relocate[1], relocate[0], append, switch, seal].concat(),
        [new, switch, relocate[0], &[4, 1, 2, 0, 0], switch, relocate[1], seal].concat(),
        [new, switch, relocate[0], &[5, 1, 0], seal, switch, append, seal].concat(),
        // The first segment is gone: what it held is in the one behind it, or some of it.
        [new, &[13, 0, 5, 7, 0, 0], relocate[0], relocate[2], switch, seal].concat(),
        // A frame is missing, and what follows says how the groups stand, or some of them.
        [new, &[11, 9], seal, switch, append, seal].concat(),
        [new, &[11, 9], relocate[0], seal].concat(),
        [new, &[11, 9, 244, 2, 0], append, switch, seal].concat(),
        // A group that is known to be damaged, and a head that may lack groups.
        [new, &[252, 1, 2, 9], switch, append, seal].concat(),
        [new, &[7, 128, 1, 0], append, switch, seal].concat(),
    ]
}
