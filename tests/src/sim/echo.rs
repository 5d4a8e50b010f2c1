//! Messages that come again to another run of the node that they were for.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{Boot, Instant, NodeId};
use raft_node::engine::Event;

use super::fault_counts::FaultKind;
use super::faults::Fault;
use super::happening::Happening;
use super::node::GROUPS;
use super::recording::Message;
use super::world::World;

/// How much later everything comes that a node is told while it hears what it was told before.
const LATE: Duration = Duration::from_millis(2500);

/// One node, and what it hears from when it leads until it is killed.
#[derive(Debug)]
pub(super) struct Echo {
    place: usize,
    id: NodeId,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// It does not lead yet.
    Waits,
    /// It leads since then, in this life.
    Leads { since: Instant, life: u64, heard: Vec<Heard> },
}

/// A message, and how long after it began to lead it came.
#[derive(Debug)]
struct Heard {
    after: Duration,
    from: NodeId,
    boot: Boot,
    bytes: Bytes,
    message: Message,
}

impl Echo {
    fn hear(&mut self, now: Instant, life: u64, heard: impl FnOnce(Duration) -> Heard) {
        match &mut self.stage {
            Stage::Leads { since, life: of, heard: all } if *of == life => {
                all.push(heard(now.since(*since)));
            }
            _ => {}
        }
    }
}

impl World {
    /// Begins with a node's next leadership, which comes soon.
    pub(super) fn begin_echo(&mut self, place: usize) -> Result<(), String> {
        if self.network.echo.is_some() || self.nodes[place].running.is_none() {
            return Ok(());
        }
        let id = self.nodes[place].id;
        self.network.echo = Some(Echo { place, id, stage: Stage::Waits });
        self.lead_anew(place)
    }

    /// A process dies, and is asked to stand as soon as nobody may rely on the leader there was.
    pub(super) fn lead_anew(&mut self, place: usize) -> Result<(), String> {
        let (id, life) = (self.nodes[place].id, self.nodes[place].life);
        self.strike_process(Fault::Kill(place))?;
        self.after_ms(10, Happening::Start(place, id));
        for ms in (950..1400).step_by(50) {
            for group in GROUPS {
                self.after_ms(ms, Happening::Ask(place, life + 1, Event::Campaign { group }));
            }
        }
        Ok(())
    }

    /// A node has received a message.
    pub(super) fn hears(
        &mut self,
        place: usize,
        (from, boot): (NodeId, Boot),
        bytes: &Bytes,
        message: Message,
    ) {
        let (id, life) = (self.nodes[place].id, self.nodes[place].life);
        let Some(echo) = self.network.echo.as_mut().filter(|echo| echo.id == id) else { return };
        let bytes = || bytes.clone();
        echo.hear(self.now, life, |after| Heard { after, from, boot, bytes: bytes(), message });
    }

    /// A node was elected. Is it the one whose messages are kept, it is killed after a while, so
    /// that its numbers begin anew; leads it again, all of them come once more, at the same pace,
    /// while mostly nobody hears it and what is new comes late.
    pub(super) fn echoes(&mut self, place: usize) {
        let (id, life, now) = (self.nodes[place].id, self.nodes[place].life, self.now);
        let Some(echo) = self.network.echo.as_mut().filter(|echo| echo.id == id) else { return };
        match &echo.stage {
            Stage::Waits => {
                echo.stage = Stage::Leads { since: now, life, heard: Vec::new() };
                let long = 1000 + self.random.below(1500);
                self.after_ms(long, Happening::Kill(place, life));
            }
            Stage::Leads { life: of, .. } if *of != life => self.echo(),
            Stage::Leads { .. } => {}
        }
    }

    fn echo(&mut self) {
        let Some(Echo { place, id, stage }) = self.network.echo.take() else { return };
        let Stage::Leads { heard, .. } = stage else { return };
        let disk = self.nodes[place].incarnation;
        for Heard { after, from, boot, bytes, message } in heard {
            self.network.counts.count(FaultKind::Echoed);
            let again = Happening::Arrive { to: place, id, disk, from, boot, bytes, message };
            self.at(self.now.after(after), again);
        }
        if self.random.chance(700) {
            self.hears_late(place, LATE);
            let soon = self.random.below(500);
            self.after_ms(soon, Happening::Silence(place, id));
        }
    }
}
