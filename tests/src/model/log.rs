//! What a node of the model keeps of its log, in memory and on its disk.

use raft_core::{Entry, HardState, LogChange, LogShape, Membership, Position};
use raft_state::SendEntries;

/// A log: where it begins, and the entries from there on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) floor: Position,
    pub(crate) membership: Membership,
    pub(crate) entries: Vec<Entry>,
}

/// What a disk holds: all of it survives a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disk {
    pub(crate) hard_state: HardState,
    pub(crate) log: Log,
}

impl Log {
    pub(crate) const fn new(membership: Membership) -> Self {
        Self { floor: Position::ZERO, membership, entries: Vec::new() }
    }

    pub(crate) fn change(&mut self, change: LogChange) {
        match change {
            LogChange::Append(entries) => {
                let first = entries[0].index;
                self.entries.retain(|entry| entry.index < first);
                self.entries.extend(entries);
            }
            LogChange::Reset { floor, membership } => {
                let holds = self.entries.iter().any(|entry| entry.position() == floor);
                self.entries.retain(|entry| holds && entry.index > floor.index);
                (self.floor, self.membership) = (floor, *membership);
            }
        }
    }

    /// Forgets what lies at and below `floor`, where `membership` is in force.
    pub(crate) fn trim(&mut self, floor: Position, membership: Membership) {
        self.entries.retain(|entry| entry.index > floor.index);
        (self.floor, self.membership) = (floor, membership);
    }

    pub(crate) fn shape(&self) -> LogShape {
        let mut shape = LogShape::new(self.floor, self.membership.clone());
        self.entries.iter().for_each(|entry| shape.append(entry));
        shape
    }

    /// The entries of a request, as many as it takes.
    pub(crate) fn read(&self, request: &SendEntries) -> Vec<Entry> {
        let asked = request.from..=request.up_to;
        let mut bytes = 0;
        let fits = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += entry.weight();
            first || bytes <= request.max_bytes
        };
        let entries = self.entries.iter().filter(|entry| asked.contains(&entry.index));
        entries.take_while(fits).cloned().collect()
    }

    pub(crate) fn last(&self) -> Position {
        self.entries.last().map_or(self.floor, Entry::position)
    }
}
