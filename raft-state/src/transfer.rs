//! Handing leadership over (thesis, section 3.10).

use raft_core::{Body, Instant, NodeId, Position};
use raft_replication::{Progress, State};
use thiserror::Error;

use crate::input::ProposalId;
use crate::output::Output;
use crate::replica::Replica;
use crate::role::{Leader, Role};

/// What came of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// This replica leads no longer; whoever was asked has most likely been elected.
    SteppedDown,
    /// An election timeout has passed and this replica still leads: proposals are taken
    /// again.
    TimedOut,
    /// Nothing was begun.
    Refused(TransferRefusal),
}

/// Why a transfer is not begun.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransferRefusal {
    /// Somebody else leads, or nobody known; ask there.
    #[error("this replica does not lead")]
    NotLeader {
        /// The leader, where known.
        leader: Option<NodeId>,
    },
    /// Another transfer is under way; wait for it.
    #[error("leadership is being handed over to node {to} already")]
    Transferring {
        /// To whom.
        to: NodeId,
    },
    /// The node leads already; there is nothing to do.
    #[error("node {0} leads already")]
    AlreadyLeads(NodeId),
    /// Only a voter can lead; choose one.
    #[error("node {0} is not a voter")]
    NotVoter(NodeId),
    /// The node was not heard for an election timeout; choose another, or start it.
    #[error("node {0} is not heard")]
    Unheard(NodeId),
    /// What is committed is not on that node's disk, and not just about to be: it is
    /// behind, or its disk does not answer. Wait, or choose another.
    #[error("node {0} lacks entries that are committed, and does not take them in time")]
    Behind(NodeId),
    /// There is nobody to hand over to.
    #[error("no other voter is heard and up to date")]
    Nobody,
}

/// A transfer under way.
///
/// Invariant: it ends within an election timeout of `started`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// Who is told what came of it; nobody where the leader began it by itself.
    pub(crate) id: Option<ProposalId>,
    to: NodeId,
    started: Instant,
    asked: Option<Instant>,
}

impl Replica {
    pub(crate) fn transfer(&mut self, now: Instant, id: ProposalId, to: Option<NodeId>) {
        match self.transfer_verdict(now, to) {
            Ok(to) => self.begin_transfer(now, Some(id), to),
            Err(why) => {
                let outcome = TransferOutcome::Refused(why);
                self.outputs.push_back(Output::TransferEnded { id, outcome });
            }
        }
    }

    fn transfer_verdict(
        &self,
        now: Instant,
        to: Option<NodeId>,
    ) -> Result<NodeId, TransferRefusal> {
        let Role::Leader(leader) = &self.role else {
            return Err(TransferRefusal::NotLeader { leader: self.leader() });
        };
        if let Some(Transfer { to, .. }) = leader.transfer {
            return Err(TransferRefusal::Transferring { to });
        }
        let Some(to) = to else {
            return self.successor(now, None).ok_or(TransferRefusal::Nobody);
        };
        if to == self.me {
            Err(TransferRefusal::AlreadyLeads(to))
        } else if !self.log.membership().voters().contains(&to) {
            Err(TransferRefusal::NotVoter(to))
        } else if !leader.heartbeats.is_heard(to, now) {
            Err(TransferRefusal::Unheard(to))
        } else if !self.is_close(now, leader, to) {
            Err(TransferRefusal::Behind(to))
        } else {
            Ok(to)
        }
    }

    /// Whether everything that is committed is on the disk of `to`, or will be in a moment:
    /// under load there is always something under way, which the transfer waits for.
    fn is_close(&self, now: Instant, leader: &Leader, to: NodeId) -> bool {
        let Some(peer) = leader.replication.peer(to) else { return false };
        let recent = |sent| now.since(sent) < self.config.heartbeat_interval;
        let answers = match peer.state() {
            State::Replicate { window } => window.oldest().is_none_or(|sent| recent(sent.sent_at)),
            State::Probe { .. } | State::Snapshot { .. } | State::Quarantined => false,
        };
        peer.matched() >= self.commit || (answers && peer.next() > self.commit)
    }

    /// The voter that is best placed to lead: heard, with everything that is committed on
    /// its disk or about to be, and with most of the rest. With `synced_since` its disk must
    /// have worked since then, or have what the disk here still owes.
    pub(crate) fn successor(&self, now: Instant, synced_since: Option<Instant>) -> Option<NodeId> {
        let Role::Leader(leader) = &self.role else { return None };
        let voters = self.log.membership().voters();
        let fit = |id: &NodeId| {
            let synced = leader.replication.peer(*id).and_then(Progress::synced);
            leader.heartbeats.is_heard(*id, now)
                && self.is_close(now, leader, *id)
                && synced_since.is_none_or(|since| {
                    synced.is_some_and(|synced| synced >= since)
                        || leader.replication.matched(*id) > self.durability.durable_index()
                })
        };
        let fit = voters.iter().copied().filter(|id| *id != self.me).filter(fit);
        fit.max_by_key(|id| leader.replication.matched(*id))
    }

    fn begin_transfer(&mut self, now: Instant, id: Option<ProposalId>, to: NodeId) {
        if let Role::Leader(leader) = &mut self.role {
            leader.transfer = Some(Transfer { id, to, started: now, asked: None });
        }
    }

    /// Drives a transfer on: the successor is asked once its disk has everything, again
    /// where that may have been lost, and after an election timeout all is as it was. A
    /// disk that completes nothing for an election timeout begins one: what commits
    /// elsewhere could not even be answered here.
    pub(crate) fn hand_over(&mut self, now: Instant) {
        self.durability.note(now);
        let Role::Leader(leader) = &mut self.role else { return };
        let timeout = self.config.election_timeout;
        match leader.transfer {
            Some(Transfer { id, started, .. }) if now >= started.after(timeout) => {
                leader.transfer = None;
                if let Some(id) = id {
                    let outcome = TransferOutcome::TimedOut;
                    self.outputs.push_back(Output::TransferEnded { id, outcome });
                }
            }
            Some(Transfer { to, asked, .. }) => {
                let has_all = has_all(leader, to, self.log.last());
                let again = |at: Instant| now >= at.after(self.config.heartbeat_interval);
                if has_all && asked.is_none_or(again) {
                    self.ask_to_stand(now, to);
                }
            }
            None => self.leave_stalled_disk(now),
        }
    }

    fn leave_stalled_disk(&mut self, now: Instant) {
        let timeout = self.config.election_timeout;
        let Role::Leader(leader) = &self.role else { return };
        let since = self.durability.waiting_since();
        let Some(since) = since.filter(|since| now >= since.after(timeout)) else { return };
        if now < leader.next_hand_over {
            return;
        }
        let successor = self.successor(now, Some(since));
        let Role::Leader(leader) = &mut self.role else { return };
        // Where it comes to nothing, proposals must have their turn before the next attempt.
        leader.next_hand_over = now.after(timeout * 4);
        if let Some(to) = successor {
            self.begin_transfer(now, None, to);
            self.hand_over(now);
        }
    }

    /// From here on another may be elected although this leader is alive: no lease holds
    /// any more in this term.
    pub(crate) fn ask_to_stand(&mut self, now: Instant, to: NodeId) {
        let (token, last) = (self.next_token(), self.log.last());
        if let Role::Leader(leader) = &mut self.role {
            leader.lease_given_up = true;
            if let Some(transfer) = &mut leader.transfer {
                transfer.asked = Some(now);
            }
        }
        self.send(to, Body::TimeoutNow { token, last });
    }

    /// Stands at once, without asking whether it would win, where the leader followed here
    /// asks for it and the log is as long as the leader's was.
    pub(crate) fn on_timeout_now(&mut self, now: Instant, from: NodeId, last: Position) {
        let follows = matches!(self.role, Role::Follower { leader: Some(known) } if known == from);
        if follows && self.may_stand() && self.log.last() >= last {
            self.campaign(now, true);
        }
    }

    /// When a transfer under way, or a disk that does not answer, asks for something.
    pub(crate) fn transfer_deadline(&self, leader: &Leader) -> Option<Instant> {
        let timeout = self.config.election_timeout;
        match leader.transfer {
            Some(Transfer { to, started, asked, .. }) => {
                // Whoever has lost what it had is asked when it has everything again.
                let asked = asked.filter(|_| has_all(leader, to, self.log.last()));
                let again = asked.map(|at| at.after(self.config.heartbeat_interval));
                let end = started.after(timeout);
                Some(again.map_or(end, |again| end.min(again)))
            }
            None => {
                let stalled = self.durability.waiting_since()?.after(timeout);
                Some(stalled.max(leader.next_hand_over))
            }
        }
    }
}

fn has_all(leader: &Leader, id: NodeId, last: Position) -> bool {
    leader.replication.matched(id) == last.index
}
