//! The rules of state machines, kept by both stores; that on disk loses its power, too.

use super::*;
use crate::conformance::{Fixture, Survival, state_machine};

/// Puts, deletes and sessions, of a few keys.
fn command(number: u64) -> Bytes {
    random_command(number, &mut Random::new(number)).payload
}

struct OnDisk {
    disk: Disk,
    random: Random,
}

impl Fixture for OnDisk {
    type Machine = KvStore;

    fn new_place(&mut self) {
        self.disk = Disk::default();
    }

    fn open(&mut self) -> io::Result<KvStore> {
        self.disk.open().group(GROUP)
    }

    fn crash(&mut self) {
        self.disk = self.disk.after_a_crash(&mut self.random);
    }

    fn command(&self, number: u64) -> Bytes {
        command(number)
    }

    fn state(&self, machine: &mut KvStore) -> io::Result<Vec<u8>> {
        Ok(image(machine))
    }

    fn survival(&self) -> Survival {
        Survival::Flushed
    }
}

struct InMemory;

impl Fixture for InMemory {
    type Machine = MemoryStore;

    fn new_place(&mut self) {}

    fn open(&mut self) -> io::Result<MemoryStore> {
        Ok(MemoryStore::new())
    }

    fn command(&self, number: u64) -> Bytes {
        command(number)
    }

    fn state(&self, machine: &mut MemoryStore) -> io::Result<Vec<u8>> {
        Ok(image(machine))
    }

    fn survival(&self) -> Survival {
        Survival::Nothing
    }
}

#[test]
fn the_store_in_memory_keeps_every_rule() {
    state_machine(&mut InMemory).unwrap();
}

#[test]
fn the_store_on_disk_keeps_every_rule_whatever_a_crash_takes_away() {
    for seed in 0..10 {
        let random = Random::new(seed);
        state_machine(&mut OnDisk { disk: Disk::default(), random }).unwrap();
    }
}
