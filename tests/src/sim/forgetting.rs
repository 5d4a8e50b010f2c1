//! A disk that is whole and old: what a node has promised is gone, and nothing on the disk says so.
//!
//! Its folder was set back, or its last write is gone, which nothing after it vouches for. No log
//! protects a node against that (`damage`), and what it is needed for may be lost. So this has
//! seeds of its own, once all else has been judged: the loss must be *reported*, by the node when
//! it starts, or by it or by the leader as soon as they talk.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{GroupId, Index, Instant, NodeId, Term};
use raft_log::SimDisk;
use raft_node::engine::{Event, OpenError};
use raft_node::kv::KvCommand;
use raft_state::{Evidence, Proposal, ProposalId, Replica};

use super::attempt::{SCRATCH_KEY, key_bytes};
use super::damage;
use super::fault_counts::FaultKind;
use super::invariant::Check;
use super::node::{GROUPS, SimNode, faults_of};
use super::store::StoresImage;
use super::world::World;

/// How long it may take from the crash on until somebody reports the loss.
const REPORTED: Duration = Duration::from_secs(10);
/// In so many of a thousand runs a disk forgets.
const OFTEN: u64 = 60;

/// Where a run stands with it.
#[derive(Debug)]
pub(super) enum Forgetting {
    /// All else comes before.
    Before,
    /// The node is about to promise what it will forget.
    Promises(Forgetful, What),
    Forgot(Forgetful, Forgotten),
}

/// Who forgets, and whom it follows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgetful {
    place: usize,
    group: GroupId,
    leader: NodeId,
    term: Term,
}

/// What is to be gone.
#[derive(Debug)]
pub(super) enum What {
    /// The last write.
    Tail,
    /// The log folder becomes what it was, and so do the stores, or not.
    Folder(Box<SimDisk>, Option<StoresImage>),
}

/// What is gone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forgotten {
    /// Up to where its log was durable.
    had: Index,
    /// Whether it has come back.
    back: bool,
    /// Somebody has reported it, or there is nothing to report.
    over: bool,
    until: Instant,
}

impl Forgetting {
    /// Whether the node in this place does not know any more what it has promised.
    pub(super) fn has_forgotten(&self, at: usize) -> bool {
        matches!(self, Self::Forgot(Forgetful { place, .. }, _) if *place == at)
    }
}

impl World {
    /// True where the run is over.
    pub(super) fn is_over(&mut self) -> Result<bool, String> {
        if matches!(self.forgetting, Forgetting::Before) {
            if !self.has_ended()? {
                return Ok(false);
            }
            self.judge()?;
            return self.begin_to_forget();
        }
        match &self.forgetting {
            Forgetting::Before => Ok(true),
            Forgetting::Promises(..) if !self.has_settled() => {
                self.goes_on_in_time()?;
                Ok(false)
            }
            Forgetting::Promises(..) => self.forget(),
            Forgetting::Forgot(who, what) => {
                let Forgetful { group, leader, term, .. } = *who;
                let led = self.leader(group).filter(|place| self.nodes[*place].id == leader);
                let led = led.and_then(|place| self.replica(place, group)).map(Replica::term);
                // Only the leader who was promised it can tell.
                if what.over || led != Some(term) {
                    return Ok(true);
                }
                if self.now > what.until {
                    let (view, what) = (self.view(), format!("{who:?} {what:?}"));
                    return Err(Check::LossReported.fails(format_args!("nobody: {what}: {view}")));
                }
                Ok(false)
            }
        }
    }

    /// Has a follower promise something; true where nobody is to forget anything.
    fn begin_to_forget(&mut self) -> Result<bool, String> {
        let whole = self.options.broken.is_none() && self.rotten.is_none();
        if !whole || !self.random.chance(OFTEN) {
            return Ok(true);
        }
        let group = GROUPS[self.random.below(GROUPS.len() as u64) as usize];
        let Some(leading) = self.leader(group) else { return Ok(true) };
        let (members, leader) = (self.ledger.members(group), self.nodes[leading].id);
        let follows = |node: &SimNode| members.is_voter(node.id) && node.id != leader;
        let followers: Vec<usize> =
            (0..self.nodes.len()).filter(|place| follows(&self.nodes[*place])).collect();
        let Some(term) = self.replica(leading, group).map(Replica::term) else { return Ok(true) };
        if followers.is_empty() || self.nodes.iter().any(SimNode::database_is_refused) {
            return Ok(true);
        }
        let place = followers[self.random.below(followers.len() as u64) as usize];
        let node = &self.nodes[place];
        let what = match self.random.below(3) {
            0 => What::Tail,
            1 => What::Folder(Box::new(node.disk.durable_copy()), None),
            _ => What::Folder(Box::new(node.disk.durable_copy()), node.stores.image()),
        };
        let who = Forgetful { place, group, leader, term };
        let id = node.id;
        self.note(format_args!("node {id} is to forget: {who:?}"));
        self.forgetting = Forgetting::Promises(who, what);
        self.healing.settles_since = self.now;
        let proposals = (0..1 + self.random.below(4)).map(|number| {
            let (key, value) =
                (key_bytes(SCRATCH_KEY), Bytes::copy_from_slice(&number.to_le_bytes()));
            (ProposalId(self.clients.nobody()), KvCommand::Put { key, value }.encode())
        });
        let proposals: Vec<Proposal> =
            proposals.map(|(id, payload)| Proposal { id, payload }).collect();
        for Proposal { id, .. } in &proposals {
            self.asks(id.0, leading);
        }
        self.event(leading, Event::Propose { group, proposals })?;
        Ok(false)
    }

    /// The node goes down, and its disk forgets.
    fn forget(&mut self) -> Result<bool, String> {
        let Forgetting::Promises(who, what) =
            std::mem::replace(&mut self.forgetting, Forgetting::Before)
        else {
            return Ok(true);
        };
        let Forgetful { place, group, .. } = who;
        let Some(had) = self.replica(place, group).map(Replica::durable) else { return Ok(true) };
        self.crash(place, true)?;
        let node = &mut self.nodes[place];
        let words = match what {
            What::Tail => {
                let lost = damage::lose_tail(&node.disk);
                format!("{} frames at its end", lost.map_err(|why| Check::Assertion.fails(why))?)
            }
            What::Folder(folder, stores) => {
                self.retired_faults.add(&faults_of(&node.disk));
                node.disk = *folder;
                let words = if stores.is_some() { "its folder and stores" } else { "its folder" };
                if let Some(stores) = stores {
                    node.stores.put_back(stores);
                }
                words.to_owned()
            }
        };
        let id = node.id;
        self.note(format_args!("node {id} forgets: {words}"));
        let until = self.now.after(REPORTED);
        let what = Forgotten { had, back: false, over: false, until };
        self.forgetting = Forgetting::Forgot(who, what);
        Ok(false)
    }

    /// The node has started: from then on there is something to report, or nothing is gone.
    pub(super) fn comes_back(&mut self, at: usize) {
        let Forgetting::Forgot(who, what) = &self.forgetting else { return };
        let (Forgetful { place, group, .. }, Forgotten { had, .. }) = (*who, *what);
        if place != at || what.back {
            return;
        }
        let last = self.replica(place, group).map(|replica| replica.log().last().index);
        if let Forgetting::Forgot(_, what) = &mut self.forgetting {
            (what.back, what.over) = (true, last >= Some(had));
        }
    }

    /// Whether a node does not start since its log ends before its store does.
    pub(super) fn is_refused_as_forgetful(&mut self, at: usize, why: &OpenError) -> bool {
        let ahead = matches!(why, OpenError::StateAhead { .. });
        let refused = ahead && self.forgetting.has_forgotten(at);
        if refused {
            self.loss_is_reported();
        }
        refused
    }

    /// Whether a node finds out that another one has forgotten its promises, or that it has itself:
    /// in any group, for all are on that disk.
    pub(super) fn reports_the_forgetful(
        &mut self,
        group: GroupId,
        two: [Option<usize>; 2],
        evidence: &Evidence,
    ) -> bool {
        let Forgetting::Forgot(who, what) = &self.forgetting else { return false };
        let [by, of] = two;
        let about = what.back
            && match evidence {
                Evidence::CommitBeyondLog { .. } => by == Some(who.place),
                Evidence::Denied => of == Some(who.place),
                _ => false,
            };
        if about && who.group == group {
            self.loss_is_reported();
        }
        about
    }

    fn loss_is_reported(&mut self) {
        if let Forgetting::Forgot(_, what) = &mut self.forgetting {
            what.over = true;
            self.counts.count(FaultKind::Forgotten);
        }
    }
}
