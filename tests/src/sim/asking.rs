//! Clients asking, and being answered.

use raft_node::engine::{Answer, Event};
use raft_state::{Proposal, ProposalId, ReadId, Refusal};

use super::clients::{Request, group_of, key_bytes, value_of};
use super::happening::Happening;
use super::world::World;
use crate::linearizability::Outcome;

impl World {
    pub(super) fn client(&mut self, client: usize) -> Result<(), String> {
        let now = self.now;
        let request = match &mut self.scans[client] {
            Some(key) => {
                let next = *key;
                match self.clients.scan(client, next, now) {
                    Some(request) => request,
                    None => return Ok(()),
                }
            }
            None => self.clients.next(client, now, &mut self.random),
        };
        let Request { id, node, group, command } = request;
        self.at(now.after(self.clients.patience(client)), Happening::GiveUp(id));
        if self.nodes[node].running.is_none() {
            self.answer(id, Outcome::Refused);
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

    pub(super) fn answers(&mut self, node: usize, answers: Vec<Answer>) {
        for answer in answers {
            match answer {
                Answer::Applied { id, .. } => self.answer(id.0, Outcome::Done),
                Answer::ProposalLost { id } => self.answer(id.0, Outcome::Unknown),
                Answer::ProposalRefused { id, why } => self.refused(id.0, why),
                Answer::ReadRefused { id, why } => self.refused(id.0, why),
                Answer::ReadReady { id, .. } => {
                    let Some(key) = self.clients.under_way.get(&id.0).map(|asked| asked.key) else {
                        continue;
                    };
                    let group = group_of(key);
                    let Some(store) = self.nodes[node].store(group) else { continue };
                    let value = store.with(|store| store.get(&key_bytes(key)).map(value_of));
                    self.answer(id.0, Outcome::Read(value));
                }
                Answer::Changed { .. }
                | Answer::ChangeRefused { .. }
                | Answer::TransferEnded { .. } => panic!("nobody asked for {answer:?}"),
            }
        }
    }

    pub(super) fn refused(&mut self, id: u64, why: Refusal) {
        let client = self.clients.under_way.get(&id).map(|asked| asked.client);
        self.answer(id, Outcome::Refused);
        if let (Some(client), Refusal::NotLeader { leader: Some(leader) }) = (client, why)
            && let Some(place) = self.nodes.iter().position(|node| node.id == leader)
        {
            self.clients.redirect(client, place);
        }
    }

    /// Tells a client, which thinks for a while and goes on.
    pub(super) fn answer(&mut self, id: u64, outcome: Outcome<u64>) {
        let read = matches!(outcome, Outcome::Read(_));
        if let Some(client) = self.clients.answered(id, outcome, self.now) {
            if let Some(key) = self.scans[client].as_mut().filter(|_| read) {
                *key += 1;
            }
            let think_ms = 5 + self.random.below(60);
            self.after_ms(think_ms, Happening::Client(client));
        }
    }
}
