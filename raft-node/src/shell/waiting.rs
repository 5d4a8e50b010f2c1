//! Clients that wait for an answer.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use raft_core::{GroupId, Index};
use raft_state::{Proposal, ProposalId, ReadId, Refusal};
use tokio::sync::oneshot;

use super::{Observer, Stage};
use crate::engine::{Answer, Event, SnapshotOutcome};
use crate::handle::{Applied, ProposalAnswer, Request, RequestError};
use crate::members::{ChangeMembersError, TransferError, transferred};
use crate::room::Place;

/// Who waits for what. A client that has given up is forgotten when its answer comes.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    last: u64,
    /// Each with its place in the room for requests, which is free once it is answered.
    proposals: BTreeMap<ProposalId, (ProposalAnswer, Place)>,
    reads: BTreeMap<ReadId, (oneshot::Sender<Result<Index, RequestError>>, Place)>,
    changes: BTreeMap<ProposalId, (oneshot::Sender<Result<Index, ChangeMembersError>>, Place)>,
    snapshots: BTreeMap<ProposalId, (oneshot::Sender<SnapshotOutcome>, Place)>,
    transfers: BTreeMap<ProposalId, (oneshot::Sender<Result<(), TransferError>>, Place)>,
}

/// Requests that came together, by group.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    proposals: BTreeMap<GroupId, Vec<Proposal>>,
    reads: BTreeMap<GroupId, Vec<ReadId>>,
    /// What is rare, in order.
    others: Vec<Event>,
}

impl Batch {
    /// How many commands and reads there are.
    pub(crate) fn len(&self) -> (usize, usize) {
        (self.proposals.values().map(Vec::len).sum(), self.reads.values().map(Vec::len).sum())
    }

    /// One event per group and kind.
    pub(crate) fn into_events(self) -> impl Iterator<Item = Event> {
        let proposals = self.proposals.into_iter();
        let reads = self.reads.into_iter();
        proposals
            .map(|(group, proposals)| Event::Propose { group, proposals })
            .chain(reads.map(|(group, ids)| Event::Read { group, ids }))
            .chain(self.others)
    }
}

impl Waiting {
    /// Takes a request in. One for a group that is not here, or a command that is too
    /// large, is answered at once.
    pub(crate) fn take_in(
        &mut self,
        request: Request,
        batch: &mut Batch,
        max_command_bytes: usize,
        observer: &dyn Observer,
        exists: impl Fn(GroupId) -> bool,
    ) {
        self.last += 1;
        match request {
            Request::Propose { group, payload, since, answer, place } => {
                observer.stage(Stage::Queue, since.elapsed(), 1);
                if let Some(why) = refusal(group, &payload, max_command_bytes, exists) {
                    observer.refused(&why);
                    let _ = answer.send((Err(why), Instant::now()));
                    return;
                }
                let id = ProposalId(self.last);
                self.proposals.insert(id, (answer, place));
                batch.proposals.entry(group).or_default().push(Proposal { id, payload });
            }
            Request::Read { group, answer, place } => {
                if !exists(group) {
                    observer.refused(&RequestError::NoSuchGroup(group));
                    let _ = answer.send(Err(RequestError::NoSuchGroup(group)));
                    return;
                }
                let id = ReadId(self.last);
                self.reads.insert(id, (answer, place));
                batch.reads.entry(group).or_default().push(id);
            }
            Request::Change { group, answer, .. } if !exists(group) => {
                let _ = answer.send(Err(RequestError::NoSuchGroup(group).into()));
            }
            Request::Change { group, changes, unheard, answer, place } => {
                let id = ProposalId(self.last);
                self.changes.insert(id, (answer, place));
                batch.others.push(Event::ChangeMembers { group, id, changes, unheard });
            }
            Request::Transfer { group, answer, .. } if !exists(group) => {
                let _ = answer.send(Err(RequestError::NoSuchGroup(group).into()));
            }
            Request::Transfer { group, to, answer, place } => {
                let id = ProposalId(self.last);
                self.transfers.insert(id, (answer, place));
                batch.others.push(Event::Transfer { group, id, to });
            }
            Request::Campaign { group } => batch.others.push(Event::Campaign { group }),
            Request::Snapshot { group, answer, place } => {
                let id = ProposalId(self.last);
                self.snapshots.insert(id, (answer, place));
                batch.others.push(Event::WantSnapshot { group, id });
            }
            Request::Collect { collection, answer } => {
                batch.others.push(Event::Collect(collection));
                // It is in force before anything else is taken in.
                let _ = answer.send(());
            }
        }
    }

    /// How many commands and reads wait.
    pub(crate) fn waiting(&self) -> (usize, usize) {
        (self.proposals.len(), self.reads.len())
    }

    /// Tells those who wait. Whoever has given up does not hear it.
    pub(crate) fn tell(&mut self, answers: Vec<Answer>) {
        let now = Instant::now();
        for answer in answers {
            match answer {
                Answer::Applied { id, index, answer } => {
                    self.tell_proposal(id, now, Ok(Applied { index, answer }));
                }
                Answer::ProposalRefused { id, why } => self.tell_proposal(id, now, Err(error(why))),
                Answer::ProposalLost { id } => {
                    let why = RequestError::LeadershipLost;
                    self.tell_change(id, Err(why.clone().into()));
                    self.tell_proposal(id, now, Err(why));
                }
                Answer::Changed { id, index } => self.tell_change(id, Ok(index)),
                Answer::ChangeRefused { id, why } => self.tell_change(id, Err(why.into())),
                Answer::TransferEnded { id, outcome } => {
                    if let Some((waiting, _)) = self.transfers.remove(&id) {
                        let _ = waiting.send(transferred(outcome));
                    }
                }
                Answer::ReadReady { id, index } => self.tell_read(id, Ok(index)),
                Answer::ReadRefused { id, why } => self.tell_read(id, Err(error(why))),
            }
        }
    }

    /// Hands a snapshot to whoever wanted it.
    pub(crate) fn tell_snapshot(&mut self, id: ProposalId, outcome: SnapshotOutcome) {
        if let Some((waiting, _)) = self.snapshots.remove(&id) {
            let _ = waiting.send(outcome);
        }
    }

    fn tell_proposal(
        &mut self,
        id: ProposalId,
        now: Instant,
        outcome: Result<Applied, RequestError>,
    ) {
        if let Some((waiting, _)) = self.proposals.remove(&id) {
            let _ = waiting.send((outcome, now));
        }
    }

    fn tell_change(&mut self, id: ProposalId, outcome: Result<Index, ChangeMembersError>) {
        if let Some((waiting, _)) = self.changes.remove(&id) {
            let _ = waiting.send(outcome);
        }
    }

    fn tell_read(&mut self, id: ReadId, outcome: Result<Index, RequestError>) {
        if let Some((waiting, _)) = self.reads.remove(&id) {
            let _ = waiting.send(outcome);
        }
    }
}

fn refusal(
    group: GroupId,
    payload: &Bytes,
    limit: usize,
    exists: impl Fn(GroupId) -> bool,
) -> Option<RequestError> {
    if !exists(group) {
        Some(RequestError::NoSuchGroup(group))
    } else if payload.len() > limit {
        Some(RequestError::TooLarge { bytes: payload.len(), limit })
    } else {
        None
    }
}

const fn error(why: Refusal) -> RequestError {
    match why {
        Refusal::NotLeader { leader } => RequestError::NotLeader { leader },
        Refusal::Transferring => RequestError::NotLeader { leader: None },
        Refusal::Overloaded => RequestError::Overloaded,
        Refusal::NoRoom => RequestError::NoRoom,
    }
}
