//! Nodes that come and go, and whoever asks for it.

use std::time::Duration;

use raft_core::{GroupId, Incarnation, Index, MemberChange, Membership, NodeId, Random};
use raft_node::engine::{Answer, Event};
use raft_state::{ProposalId, Replica, Unheard};

use super::admin::{Admin, Asked, Ended, Wish};
use super::fault_counts::FaultKind;
use super::faults::Fault;
use super::happening::Happening;
use super::invariant::Check;
use super::ledger::OnDisk;
use super::node::{GROUPS, SimNode};
use super::plan::{Cast, Plan};
use super::recording::Moment;
use super::world::World;

/// Whose id the next node gets in a place that is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Succeeds {
    /// That of the one that was there, on another disk, whoever still knows it.
    Itself,
    /// The same, where nobody knows it any more and ids are given again.
    WhoIsForgotten,
    /// One that nobody has had.
    Nobody,
}

/// Whatever is asked for ends within this time, however much is broken.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

impl World {
    /// Asks somebody for a change, or for a transfer.
    pub(super) fn administer(&mut self) -> Result<(), String> {
        let Some(churn) = self.churn else { return Ok(()) };
        let at = churn.next_at(self.now, &mut self.luck.changes);
        self.at(at, Happening::Admin);
        let (number, mut random) = self.luck.next_change();
        if let Some(Asked { node, group, at, wish }) = self.admin.oldest()
            && self.now.since(*at) > ENDS_WITHIN
        {
            let id = self.nodes[*node].id;
            let view = self.view();
            let what = format_args!("node {id}, group {group}: {wish:?} does not end: {view}");
            return Err(Check::Answered.fails(what));
        }
        self.bury()?;
        if self.options.without.changes.has(number) && !self.healed {
            return Ok(());
        }
        let group = GROUPS[random.below(GROUPS.len() as u64) as usize];
        let Some(node) = self.whom_to_ask(group, &mut random) else { return Ok(()) };
        let running = self.nodes[node].running.as_ref();
        let Some(replica) = running.and_then(|running| running.engine.replica(group)) else {
            return Ok(());
        };
        let members = replica.membership().clone();
        let (joiners, leaving) = (self.joiners(group), self.leaving(group, &members));
        let (joiners, leaving) = (&joiners[..], &leaving[..]);
        let dead = self.dead.filter(|(id, disk)| members.names(*id, *disk)).map(|(id, _)| id);
        let cast = Cast { asked: self.nodes[node].id, members: &members, joiners, leaving, dead };
        let plan = if self.healed {
            churn.repair(&cast, &mut random).unwrap_or(Plan::Nothing)
        } else {
            churn.plan(&cast, &mut random)
        };
        match plan {
            Plan::Ask(wish) => self.ask((node, group), number, wish, &mut random),
            Plan::NeedsNode => {
                if let Some(slot) = self.nodes.iter().position(|node| !node.present) {
                    self.join(slot);
                } else if let Some(slot) = self.unused() {
                    self.vacate(slot, Succeeds::Nobody)?;
                    self.join(slot);
                } else if let Some(id) = dead.filter(|_| self.healed) {
                    // Nobody is left to take its place: the group goes on without it.
                    let changes = vec![MemberChange::Remove { id }];
                    let wish = Wish::Change { changes, unheard: Unheard::Refuse };
                    self.ask((node, group), number, wish, &mut random)?;
                }
                Ok(())
            }
            Plan::Nothing => Ok(()),
        }
    }

    /// The machine that has the id of a dead one and is a member of nothing with its disk: where
    /// no other is left, it gets an id of its own.
    fn unused(&self) -> Option<usize> {
        let (dead, _) = self.dead?;
        let slot = self.nodes.iter().position(|node| node.id == dead)?;
        let SimNode { id, incarnation, .. } = self.nodes[slot];
        self.is_forgotten(|members| members.names(id, incarnation)).then_some(slot)
    }

    /// Mostly the leader, but whoever asks may be wrong about who that is.
    fn whom_to_ask(&self, group: GroupId, random: &mut Random) -> Option<usize> {
        let now = self.now;
        let awake: Vec<usize> = (0..self.nodes.len())
            .filter(|node| {
                let running = self.nodes[*node].running.as_ref();
                running.is_some_and(|running| running.paused_until <= now)
            })
            .collect();
        let leader = self.leader(group).filter(|node| awake.contains(node));
        if awake.is_empty() || random.chance(850) || self.healed {
            return leader;
        }
        Some(awake[random.below(awake.len() as u64) as usize])
    }

    fn ask(
        &mut self,
        (node, group): (usize, GroupId),
        number: u64,
        wish: Wish,
        random: &mut Random,
    ) -> Result<(), String> {
        let id = self.nodes[node].id;
        self.note(format_args!("node {id} group {group} is asked, change {number}: {wish}"));
        for fault in self.faults_for(node, &wish, random) {
            // While that is under way; what is asked of a successor at once may be late as well.
            let soon = Duration::from_micros(50 + random.below(3000));
            if random.chance(500) && matches!(fault, Fault::Clog(..) | Fault::HearsLate(..)) {
                self.strike_after(number, fault)?;
            } else {
                self.at(self.now.after(soon), Happening::Strike(number, fault));
            }
        }
        let change = number;
        let alone = matches!(&wish, Wish::Change { changes, .. } if self.leaves_alone(node, group, changes));
        let number = self.admin.ask(node, group, self.now, wish.clone());
        let id = ProposalId(number);
        let event = match wish {
            Wish::Change { changes, unheard } => {
                Event::ChangeMembers { group, id, changes, unheard }
            }
            Wish::Transfer { to } => Event::Transfer { group, id, to },
            Wish::Campaign => {
                self.admin.campaigned(number);
                Event::Campaign { group }
            }
        };
        if !alone {
            return self.event(node, event);
        }
        // Reads wait for those who are to go, and whose answers do not come any more.
        let soon = Duration::from_micros(500 + random.below(100_000));
        if let Some(fault) = self.faults.cuts_off(node) {
            self.at(self.now, Happening::Strike(change, fault));
        }
        self.at(self.now.after(soon), Happening::Ask(node, self.nodes[node].life, event));
        Ok(())
    }

    /// Whether these changes leave a node as the only voter.
    fn leaves_alone(&self, node: usize, group: GroupId, changes: &[MemberChange]) -> bool {
        let id = self.nodes[node].id;
        let members = self.replica(node, group).map(Replica::membership);
        let next = members.and_then(|members| members.changed(changes).ok());
        next.is_some_and(|next| next.voters().iter().eq([&id]))
    }

    /// What strikes while a wish is carried out. Of a transfer, whoever takes over matters as
    /// much as whoever gives way, and what they hear of each other.
    fn faults_for(&self, node: usize, wish: &Wish, random: &mut Random) -> Vec<Fault> {
        let successor = match wish {
            Wish::Transfer { to: Some(to) } => self.nodes.iter().position(|other| other.id == *to),
            _ => None,
        };
        let Some(successor) = successor else {
            return self.faults.pick_for(node, random).into_iter().collect();
        };
        let between = self.faults.pick_between(node, successor, random);
        if !between.is_empty() {
            return between;
        }
        let victim = if random.chance(500) { successor } else { node };
        self.faults.pick_for(victim, random).into_iter().collect()
    }

    /// Takes in what became of a wish.
    pub(super) fn wish_ended(&mut self, answer: Answer) -> Result<(), String> {
        let (id, ended) = match answer {
            Answer::Changed { id, index } => {
                self.stands_as_asked(id.0, index)?;
                (id, Ended::Changed)
            }
            Answer::ChangeRefused { id, why } => (id, Ended::Refused(why)),
            Answer::TransferEnded { id, outcome } => (id, Ended::Transfer(outcome)),
            Answer::ProposalLost { id } if Admin::names(id.0) => (id, Ended::Unknown),
            other => return Err(Check::Answered.fails(format_args!("nobody asked for {other:?}"))),
        };
        self.note(format_args!("{ended}"));
        self.admin.ended(id.0, &ended)
    }

    /// A change that is said to be made stands in the log of the node that was asked, where it
    /// says.
    fn stands_as_asked(&self, wish: u64, index: Index) -> Result<(), String> {
        let Some(Asked { node, group, wish: Wish::Change { changes, .. }, .. }) =
            self.admin.asked(wish)
        else {
            return Ok(());
        };
        let Some(replica) = self.replica(*node, *group) else { return Ok(()) };
        let log = replica.log();
        if index <= log.floor().index {
            return Ok(());
        }
        let members = log.membership_at(index);
        let is_made = |change: &MemberChange| match change {
            MemberChange::AddLearner { id, member } => members.names(*id, member.incarnation),
            MemberChange::Promote { id } => members.voters().contains(id),
            MemberChange::Demote { id } => !members.voters().contains(id),
            MemberChange::Remove { id } => {
                !members.voters().contains(id) && !members.learners().contains(id)
            }
            MemberChange::Update { id, data } => {
                members.members().get(id).is_some_and(|member| member.data == *data)
            }
        };
        let stands = log.membership_position_at(index).index == index;
        if stands && changes.iter().all(is_made) {
            return Ok(());
        }
        let id = self.nodes[*node].id;
        Err(Check::Answered.fails(format_args!(
            "node {id}, group {group}: said to be made at {index}: {changes:?}, and the members \
             there are {members:?}"
        )))
    }

    /// Nodes that have never been members of this group. The membership that is asked for
    /// may have them, which is no reason not to ask.
    fn joiners(&self, group: GroupId) -> Vec<(NodeId, Incarnation)> {
        let members = self.ledger.members(group);
        let new = |node: &&SimNode| {
            let removed = self.ledger.is_removed(group, node.id, node.incarnation);
            node.running.is_some() && !members.is_member(node.id) && !removed
        };
        self.nodes.iter().filter(new).map(|node| (node.id, node.incarnation)).collect()
    }

    fn leaving(&self, group: GroupId, members: &Membership) -> Vec<NodeId> {
        let left = |id: NodeId, disk: Incarnation| {
            GROUPS.iter().any(|other| *other != group && self.ledger.is_removed(*other, id, disk))
        };
        let all = members.members().iter();
        all.filter(|(id, member)| left(**id, member.incarnation)).map(|(id, _)| *id).collect()
    }

    /// Starts a node with an empty disk, to join the cluster.
    pub(super) fn join(&mut self, slot: usize) {
        self.nodes[slot].present = true;
        self.admin.counts.joined += 1;
        let id = self.nodes[slot].id;
        self.after_ms(1, Happening::Start(slot, id));
    }

    /// Stops a node for good. In its place there may be another one later, with an empty disk.
    pub(super) fn vacate(&mut self, slot: usize, succeeds: Succeeds) -> Result<(), String> {
        self.end_process(slot)?;
        let former = self.nodes[slot].id;
        let again = match succeeds {
            Succeeds::Itself => true,
            Succeeds::WhoIsForgotten => {
                self.gives_ids_again && self.is_forgotten(|members| members.is_member(former))
            }
            Succeeds::Nobody => false,
        };
        let id = if again {
            self.ledger.succeeds(former);
            self.promises.forget(former);
            former
        } else {
            self.next_id += 1;
            NodeId::new(self.next_id - 1).ok_or_else(|| Check::Assertion.fails("no id is left"))?
        };
        let disk_seed = self.random.next_u64();
        let node = self.nodes[slot].successor(id, disk_seed);
        node.disk.set_sync_does_nothing(self.syncs_do_nothing());
        let gone = std::mem::replace(&mut self.nodes[slot], node);
        self.record(|_| Moment::Gone(gone.id));
        self.retire(&gone);
        Ok(())
    }

    /// A node was told that it is no member any more.
    pub(super) fn was_removed(&mut self, node: usize, group: GroupId) -> Result<(), String> {
        let id = self.nodes[node].id;
        self.note(format_args!("node {id} is removed from group {group}"));
        self.admin.counts.told += 1;
        if self.ledger.is_removed(group, id, self.nodes[node].incarnation) {
            Ok(())
        } else {
            let view = self.view();
            let what =
                format_args!("node {id} stops group {group} and nobody has removed it: {view}");
            Err(Check::RemovedForGood.fails(what))
        }
    }

    /// Takes away a node's disk, where that leaves a quorum to every membership that may
    /// ever be in force: no other node is gone, and all have three voters at least.
    pub(super) fn wipe(&mut self, slot: usize) -> Result<(), String> {
        self.forget_rotten();
        let spared = self.dead.is_some() || self.rotten.is_some();
        let allowed = self.churn.is_some_and(|churn| churn.wipes) && !spared;
        let three = |group: &GroupId| self.ledger.members(*group).voters().len() >= 3;
        if !allowed || !self.nodes[slot].present || !GROUPS.iter().all(three) {
            return Ok(());
        }
        let id = self.nodes[slot].id;
        self.note(format_args!("node {id} loses its disk"));
        self.admin.counts.wiped += 1;
        self.counts.count(FaultKind::Wipe);
        self.dead = Some((id, self.nodes[slot].incarnation));
        // At times somebody starts it again as it is, which makes it no member: its disk is new.
        let itself = self.gives_ids_again && self.random.chance(600);
        self.vacate(slot, if itself { Succeeds::Itself } else { Succeeds::Nobody })?;
        self.join(slot);
        Ok(())
    }

    /// Forgets a node that lost its disk once no membership has it any more, unless one that was
    /// on its way brings it back; and stops nodes that were removed before they ever knew that
    /// they were members.
    fn bury(&mut self) -> Result<(), String> {
        let is_over = |(id, disk)| self.is_forgotten(|members| members.names(id, disk));
        if self.dead.is_some_and(is_over) {
            self.dead = None;
        }
        if self.dead.is_none() {
            self.dead = self.member_without_disk();
        }
        let orphan = |node: &SimNode| {
            let Some(running) = &node.running else { return false };
            GROUPS.iter().all(|group| {
                let known = running.engine.replica(*group);
                let knows =
                    known.is_some_and(|replica| knew_its_part(replica, node.id, node.incarnation));
                let halted = known.is_some_and(Replica::is_halted);
                let removed = self.ledger.is_removed(*group, node.id, node.incarnation);
                removed && (halted || !knows)
            })
        };
        match self.nodes.iter().position(orphan) {
            Some(slot) if self.random.chance(50) => self.vacate(slot, Succeeds::WhoIsForgotten),
            _ => Ok(()),
        }
    }

    /// A member whose disk is gone.
    fn member_without_disk(&self) -> Option<OnDisk> {
        let is_there = |(id, disk): OnDisk| {
            self.nodes.iter().any(|node| node.present && (node.id, node.incarnation) == (id, disk))
        };
        GROUPS.into_iter().find_map(|group| {
            let members = self.ledger.members(group);
            let mut disks = members.members().iter().map(|(id, of)| (*id, of.incarnation));
            disks.find(|member| !is_there(*member))
        })
    }

    /// Whether no member of a group has it in its latest membership any more.
    fn is_forgotten(&self, named: impl Fn(&Membership) -> bool) -> bool {
        let has = |group: &GroupId| {
            let members = self.ledger.members(*group);
            let logs = self.nodes.iter().filter(|node| members.is_member(node.id));
            named(&members)
                || logs.into_iter().any(|node| match &node.running {
                    Some(running) => running
                        .engine
                        .replica(*group)
                        .is_some_and(|replica| named(replica.membership())),
                    None => self
                        .stored
                        .get((node.id, node.incarnation), *group)
                        .is_some_and(|kept| named(kept.log.membership())),
                })
        };
        !GROUPS.iter().any(has)
    }
}

/// Whether a node knows for certain that it has been a member: the entry that added it is
/// committed, as its own log says or a later change in it proves.
pub(super) fn knew_its_part(replica: &Replica, id: NodeId, disk: Incarnation) -> bool {
    let log = replica.log();
    let certain = replica.commit().max(log.membership_index().prev());
    log.member_since(id, disk).is_some_and(|since| since <= certain)
}
