//! Clients asking, and being answered.

use bytes::Bytes;
use raft_core::Instant;
use raft_node::engine::{Answer, Event};
use raft_node::kv::{Actual, KvAnswer};
use raft_state::{Proposal, ProposalId, ReadId, Refusal};

use super::admin::Admin;
use super::attempt::{group_of, key_bytes, value_of};
use super::clients::{Applied, Request, Told};
use super::fault_counts::FaultKind;
use super::happening::Happening;
use super::recording::Moment;
use super::world::World;

impl World {
    pub(super) fn client(&mut self, client: usize) -> Result<(), String> {
        let now = self.now;
        if let Some(home) = self.clients.home(client) {
            self.read_stale(home)?;
        }
        let request = match (self.clients.again(client), self.scans[client]) {
            (Some(request), _) => request,
            (None, Some(next)) => match self.clients.scan(client, next, now) {
                Some(request) => request,
                None => return Ok(()),
            },
            (None, None) => self.clients.next(client, now, &mut self.luck.clients[client]),
        };
        let Request { id, node, group, command } = request;
        let patience = self.clients.patience(client, &mut self.luck.clients[client]);
        self.record_asked(id, client, node, group);
        self.at(now.after(patience), Happening::GiveUp(id));
        if !self.ledger.members(group).is_member(self.nodes[node].id) {
            self.clients.move_home(client);
        }
        if self.nodes[node].running.is_none() {
            self.answer(id, Told::Refused);
            return Ok(());
        }
        let event = match command {
            Some(payload) => {
                Event::Propose { group, proposals: vec![Proposal { id: ProposalId(id), payload }] }
            }
            None => Event::Read { group, ids: vec![ReadId(id)] },
        };
        let life = self.nodes[node].life;
        self.at(now, Happening::Ask(node, life, event));
        Ok(())
    }

    /// Notes what a client asks a node for, when the node hears of it.
    pub(super) fn note_asked(&mut self, node: usize, event: &Event) {
        match event {
            Event::Propose { proposals, .. } => {
                proposals.iter().for_each(|proposal| self.asks(proposal.id.0, node));
            }
            Event::Read { ids, .. } => ids.iter().for_each(|id| self.asks(id.0, node)),
            _ => {}
        }
    }

    /// Notes that a node is asked for something.
    pub(super) fn asks(&mut self, id: u64, node: usize) {
        let running = self.nodes[node].running.as_ref();
        let at_node = running.map_or(Instant(0), |running| running.clock.shows(self.now));
        self.checks.asked.ask(id, node, at_node);
    }

    pub(super) fn answers(&mut self, node: usize, answers: Vec<Answer>) -> Result<(), String> {
        for answer in answers {
            if let Answer::Applied { id: ProposalId(id), .. }
            | Answer::ProposalLost { id: ProposalId(id) }
            | Answer::ProposalRefused { id: ProposalId(id), .. }
            | Answer::ReadRefused { id: ReadId(id), .. }
            | Answer::ReadReady { id: ReadId(id), .. } = answer
                && !Admin::names(id)
            {
                self.checks.asked.answered(id)?;
            }
            match answer {
                Answer::Applied { id, answer, .. } => self.answer(id.0, told(answer)),
                Answer::ProposalLost { id } if !Admin::names(id.0) => {
                    self.answer(id.0, Told::Unknown);
                }
                Answer::ProposalRefused { id, why } => self.refused(id.0, why),
                Answer::ReadRefused { id, why } => self.refused(id.0, why),
                Answer::ReadReady { id, .. } => {
                    let Some(key) = self.clients.read_key(id.0) else { continue };
                    let group = group_of(key);
                    let Some(store) = self.nodes[node].store(group) else { continue };
                    let told = match self.told_by_store(node, store.get(&key_bytes(key)))? {
                        Some(value) => Told::Read(value.as_ref().map(value_of)),
                        None => Told::Unknown,
                    };
                    self.answer(id.0, told);
                }
                Answer::Changed { .. }
                | Answer::ChangeRefused { .. }
                | Answer::TransferEnded { .. }
                | Answer::ProposalLost { .. } => self.wish_ended(answer)?,
            }
        }
        Ok(())
    }

    pub(super) fn refused(&mut self, id: u64, why: Refusal) {
        let client = self.clients.under_way.get(&id).map(|asked| asked.client);
        self.answer(id, Told::Refused);
        if let (Some(client), Refusal::NotLeader { leader: Some(leader) }) = (client, why)
            && let Some(place) = self.nodes.iter().position(|node| node.id == leader)
        {
            self.clients.redirect(client, place);
        }
    }

    /// How long a client does nothing: where it writes in sessions, at times for longer than
    /// some of them live.
    fn thinks_ms(&mut self, client: usize) -> u64 {
        let random = &mut self.luck.clients[client];
        let (think_ms, pause_ms) = (5 + random.below(60), 1000 + random.below(4000));
        let pauses = random.chance(10) && self.clients.pauses(client) && !self.healed;
        if !pauses {
            return think_ms;
        }
        self.counts.count(FaultKind::ClientPause);
        pause_ms
    }

    /// Tells a client, which thinks for a while and goes on.
    pub(super) fn answer(&mut self, id: u64, told: Told) {
        let (read, written) = (matches!(told, Told::Read(_)), matches!(told, Told::Done));
        self.record(|_| Moment::Told { id, told });
        if let Some(client) = self.clients.answered(id, told, self.now) {
            let served = read || written && self.clients.writes_at_last(client);
            if let Some(key) = self.scans[client].as_mut().filter(|_| served) {
                *key += 1;
            }
            let think_ms = self.thinks_ms(client);
            self.after_ms(think_ms, Happening::Client(client));
        }
    }
}

/// What the store's answer means to the client.
fn told(answer: Bytes) -> Told {
    match KvAnswer::decode(answer) {
        Ok(KvAnswer::Stored | KvAnswer::Deleted { .. }) => Told::Done,
        Ok(KvAnswer::Unequal { actual: Actual::Nothing }) => Told::Unequal(None, Applied::Now),
        Ok(KvAnswer::Unequal { actual: Actual::Value(value) }) => {
            Told::Unequal(Some(value_of(&value)), Applied::Now)
        }
        Ok(KvAnswer::Repeated { answer, .. }) => match told(answer) {
            Told::Unequal(actual, _) => Told::Unequal(actual, Applied::Before),
            _ => Told::Repeated,
        },
        Ok(KvAnswer::SessionOpened { session, .. }) => Told::Opened(session),
        Ok(KvAnswer::SessionNotOpen { .. }) => Told::NotOpen,
        // Sent by a client that has gone on, and waits for something else.
        Ok(KvAnswer::Stale { .. }) => Told::Unknown,
        other => panic!("no store answers these clients with {other:?}"),
    }
}
