//! What is drawn for a reason of its own.
//!
//! Faults, changes of the members and clients draw from numbers of their own, not from those
//! of the world. So the faults of a run are the same ones, at the same moments, where some of
//! them are left out, or a client is.

use raft_core::Random;

/// Random numbers by what they are for.
#[derive(Debug)]
pub(super) struct Luck {
    /// When a fault strikes, and which one.
    pub(super) faults: Random,
    /// When the members change.
    pub(super) changes: Random,
    /// What each client asks for, and how long it waits and thinks.
    pub(super) clients: Vec<Random>,
    /// Faults that were drawn so far, and changes.
    pub(super) faults_drawn: u64,
    pub(super) changes_drawn: u64,
}

impl Luck {
    /// Takes it from the numbers of the world.
    pub(super) fn draw(clients: usize, random: &mut Random) -> Self {
        let mut own = || Random::new(random.next_u64());
        let (faults, changes) = (own(), own());
        let clients = (0..clients).map(|_| own()).collect();
        Self { faults, changes, clients, faults_drawn: 0, changes_drawn: 0 }
    }

    /// The number of the next fault.
    pub(super) const fn next_fault(&mut self) -> u64 {
        self.faults_drawn += 1;
        self.faults_drawn - 1
    }

    /// The number of the next change of the members, and what it is drawn from: how much that
    /// takes depends on how the world stands, and the next change is to be the same.
    pub(super) fn next_change(&mut self) -> (u64, Random) {
        self.changes_drawn += 1;
        (self.changes_drawn - 1, Random::new(self.changes.next_u64()))
    }
}
