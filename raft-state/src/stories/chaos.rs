//! Random schedules of loss, reordering, duplication, crashes and slow disks, with
//! the safety properties checked after every step (thesis, figure 3.2).

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::{Incarnation, Index, Member, MemberChange, NodeId, Random, Term, WhenCaughtUp};

use crate::cluster::{Cluster, Node, id};
use crate::{Input, Output, Proposal, ProposalId, Unheard};

#[derive(Default)]
struct Checker {
    leaders: BTreeMap<Term, NodeId>,
    applied: BTreeMap<Index, (Term, Bytes)>,
}

impl Checker {
    fn check(&mut self, cluster: &Cluster) {
        for (id, node) in &cluster.nodes {
            let replica = &node.replica;
            let removed = |output: &Output| matches!(output, Output::Removed { .. });
            let may_stop = node.others.iter().any(removed);
            assert!(may_stop || !replica.is_halted(), "{:?}", node.others.last());
            if replica.is_leader() {
                let leader = self.leaders.entry(replica.term()).or_insert(*id);
                assert_eq!(leader, id, "two leaders in term {}", replica.term());
                for (index, (term, _)) in self.applied.range(replica.log().floor().index.next()..) {
                    let held = replica.log().term_at(*index);
                    // A leader of a later term holds all that was ever committed.
                    let older =
                        replica.term() < self.applied.values().map(|(t, _)| *t).max().unwrap();
                    assert!(older || held == Some(*term), "{id} lacks {index} of term {term}");
                }
            }
            for entry in &node.log.entries {
                if entry.index <= replica.applied() {
                    let value = (entry.term, entry.payload.clone());
                    let first = self.applied.entry(entry.index).or_insert_with(|| value.clone());
                    assert_eq!(*first, value, "{id} applied something else at {}", entry.index);
                }
            }
        }
    }
}

fn step(cluster: &mut Cluster, random: &mut Random, proposals: &mut u64) {
    let n = 1 + random.below(cluster.nodes.len() as u64);
    // Who was removed has stopped for good.
    if cluster.replica(n).is_halted() {
        return;
    }
    match random.below(100) {
        0 if random.chance(300) => damage(cluster, random, n),
        0 => cluster.crash(n),
        1 => cluster.isolate(n),
        2..=4 => cluster.cut.clear(),
        5..=14 => {
            let node = cluster.nodes.get_mut(&NodeId::new(n).unwrap()).unwrap();
            node.stalled = random.chance(500);
        }
        15..=24 => cluster.sync_one(n),
        25..=34 => {
            *proposals += 1;
            let payload = Bytes::from(proposals.to_be_bytes().to_vec());
            let proposal = Proposal { id: ProposalId(*proposals), payload };
            let input = Input::Propose(vec![proposal]);
            if random.chance(300) {
                // Its outputs are taken only once something else happens here.
                let now = cluster.now;
                cluster.nodes.get_mut(&id(n)).unwrap().replica.handle(now, input);
            } else {
                cluster.input(n, input);
            }
        }
        35..=39 => {
            cluster.now = cluster.now.after(core::time::Duration::from_millis(random.below(400)));
            cluster.input(n, Input::Timeout);
        }
        _ => {
            let place = random.below(cluster.wire.len() as u64 + 1) as usize;
            // Mostly in order, now and then from anywhere.
            let place = if random.chance(800) { 0 } else { place };
            let Some(message) = cluster.wire.remove(place) else { return };
            if random.chance(30) {
                cluster.wire.push_back(message.clone());
            }
            if !random.chance(30) {
                cluster.deliver(message);
            }
        }
    }
}

/// The disk of a voter sets its log back to what it once was, unless another's has done so:
/// damage stays within a minority.
fn damage(cluster: &mut Cluster, random: &mut Random, n: u64) {
    let damaged = |node: &Node| node.replica.damaged_up_to().is_some();
    let few = |node: &Node| node.replica.membership().voters().len() < 3;
    if cluster.nodes.values().any(|node| damaged(node) || few(node)) {
        return;
    }
    let Some(earlier) = cluster.earlier.get(&id(n)) else { return };
    let left = earlier[random.below(earlier.len() as u64) as usize].clone();
    cluster.damage(n, left);
}

#[test]
fn no_schedule_breaks_safety_and_healing_brings_progress() {
    let (mut terms, mut applied, mut damaged) = (0, 0, 0);
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::new(if seed % 4 == 0 { 5 } else { 3 });
        let (mut checker, mut proposals) = (Checker::default(), 0);
        for _ in 0..1500 {
            step(&mut cluster, &mut random, &mut proposals);
            checker.check(&cluster);
        }
        damaged += cluster.damaged;
        cluster.cut.clear();
        for n in 1..=cluster.nodes.len() as u64 {
            cluster.nodes.get_mut(&NodeId::new(n).unwrap()).unwrap().stalled = false;
            cluster.sync(n);
        }
        cluster.run(10_000);
        checker.check(&cluster);
        let leaders = cluster.leaders();
        assert_eq!(leaders.len(), 1, "seed {seed}: {leaders:?}");
        let leader = leaders[0];
        cluster.propose(leader, "progress");
        cluster.run(1000);
        checker.check(&cluster);
        let logs: Vec<_> = cluster.nodes.values().map(|node| node.log.entries.clone()).collect();
        assert!(logs.windows(2).all(|pair| pair[0] == pair[1]), "seed {seed}: logs differ");
        terms += cluster.replica(leader).term().0;
        applied += checker.applied.len();
    }
    // A run in which nothing happens would pass as well.
    assert!(
        terms > 300 && applied > 3000 && damaged > 300,
        "{terms} terms, {applied} entries, {damaged} damaged logs"
    );
}

/// As many nodes ever take part. An id is never used again: whoever drives replicas refuses
/// another life of a disk under an id that a membership knows.
const MOST: u64 = 8;

fn any_change(cluster: &mut Cluster, random: &mut Random) -> Vec<MemberChange> {
    let count = cluster.nodes.len() as u64;
    if count < MOST && random.chance(300) {
        let new = count + 1;
        cluster.join(new);
        let when_caught_up = match random.below(3) {
            0 => WhenCaughtUp::Stay,
            1 => WhenCaughtUp::Promote,
            _ => WhenCaughtUp::Replace(id(1 + random.below(count))),
        };
        let member = Member { incarnation: Incarnation(new), when_caught_up, ..Member::default() };
        return vec![MemberChange::AddLearner { id: id(new), member }];
    }
    let steps = 1 + random.below(3);
    let step = |random: &mut Random| {
        let id = id(1 + random.below(count));
        match random.below(5) {
            0 => MemberChange::Remove { id },
            1 => MemberChange::Demote { id },
            _ => MemberChange::Promote { id },
        }
    };
    (0..steps).map(|_| step(random)).collect()
}

fn step_with_changes(cluster: &mut Cluster, random: &mut Random, proposals: &mut u64) {
    let leaders = cluster.leaders();
    match random.below(200) {
        0..=5 if !leaders.is_empty() => {
            let leader = leaders[random.below(leaders.len() as u64) as usize];
            let changes = any_change(cluster, random);
            let unheard = Unheard::Refuse;
            cluster.input(leader, Input::ChangeMembers { id: ProposalId(0), changes, unheard });
        }
        6..=7 if !leaders.is_empty() => {
            let to = random.chance(500).then(|| id(1 + random.below(cluster.nodes.len() as u64)));
            cluster.input(leaders[0], Input::Transfer { id: ProposalId(0), to });
        }
        8 => cluster.input(1 + random.below(cluster.nodes.len() as u64), Input::Campaign),
        _ => step(cluster, random, proposals),
    }
}

/// How each node stands, for whoever reads a failure.
fn told(cluster: &Cluster) -> String {
    let mut told = String::new();
    for (id, node) in &cluster.nodes {
        let (replica, membership) = (&node.replica, node.replica.membership());
        let (voters, outgoing) = (membership.voters(), membership.outgoing());
        told += &format!(
            "\n{id}: {:?} in term {}, last {}, committed {}, halted {}, {voters:?} and {outgoing:?}",
            replica.status().role,
            replica.term(),
            replica.log().last(),
            replica.commit(),
            replica.is_halted(),
        );
    }
    told
}

#[test]
fn no_schedule_with_changes_of_the_membership_breaks_safety() {
    let (mut changes, mut joint, mut removed, mut applied) = (0, 0, 0, 0);
    for seed in 0..300 {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::new(3);
        cluster.seed = seed;
        let (mut checker, mut proposals) = (Checker::default(), 0);
        for _ in 0..2500 {
            step_with_changes(&mut cluster, &mut random, &mut proposals);
            checker.check(&cluster);
            joint += u64::from(cluster.nodes.values().any(|n| n.replica.membership().is_joint()));
        }
        cluster.cut.clear();
        for n in 1..=cluster.nodes.len() as u64 {
            cluster.nodes.get_mut(&id(n)).unwrap().stalled = false;
            cluster.sync(n);
        }
        cluster.run(20_000);
        checker.check(&cluster);
        let leaders = cluster.leaders();
        assert_eq!(leaders.len(), 1, "seed {seed}: {leaders:?} lead of {}", told(&cluster));
        let leader = leaders[0];
        cluster.propose(leader, "progress");
        cluster.run(1000);
        checker.check(&cluster);
        let membership = cluster.replica(leader).membership().clone();
        assert!(!membership.is_joint(), "seed {seed}: {membership:?} is not left");
        let last = cluster.replica(leader).log().last();
        for (member, node) in &cluster.nodes {
            assert!(
                node.replica.is_halted()
                    || node.replica.log().last() == last
                    || !membership.is_member(*member),
                "seed {seed}: {member} is behind"
            );
            // Who was removed before it knew for certain that it was added has nothing to
            // hear; and where all it knows of have gone as well, nobody is left to tell it.
            let log = node.replica.log();
            let certain = node.replica.commit().max(log.membership_index().prev());
            let joined = log
                .member_since(*member, node.replica.incarnation)
                .is_some_and(|since| since <= certain);
            let own = node.replica.membership();
            let can_ask =
                own.members().keys().any(|id| membership.is_voter(*id) && own.is_voter(*id));
            assert!(
                membership.is_member(*member) || node.replica.is_halted() || !joined || !can_ask,
                "seed {seed}: {member} was removed and does not know: {:?}, {membership:?}",
                node.replica
            );
            removed += u64::from(node.replica.is_halted());
        }
        changes += membership.members().len() as u64;
        applied += checker.applied.len();
    }
    // A run in which nothing happens would pass as well.
    assert!(
        changes > 900 && joint > 3000 && removed > 100 && applied > 5000,
        "{changes} members, {joint} joint steps, {removed} removed, {applied} entries"
    );
}

/// Whatever a leader answers under its lease, nobody had committed more when it was asked.
#[test]
fn no_schedule_makes_a_read_under_a_lease_stale() {
    let mut by_lease = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed ^ 0x5eed);
        let count = 1 + seed % 4;
        let mut cluster = Cluster::new(count);
        cluster.config.lease_drift = Some(core::time::Duration::ZERO);
        for n in 1..=count {
            let disk = cluster.node(n).disk.clone();
            cluster.boot(id(n), disk, 1);
        }
        cluster.seed = seed;
        let (mut checker, mut proposals, mut reads) = (Checker::default(), 0, 0);
        let mut asked: BTreeMap<(u64, u64), Index> = BTreeMap::new();
        for turn in 0..2000 {
            if random.chance(250) {
                let passed = core::time::Duration::from_millis(random.below(40));
                cluster.now = cluster.now.after(passed);
            }
            step_with_changes(&mut cluster, &mut random, &mut proposals);
            checker.check(&cluster);
            let most = cluster.nodes.values().map(|node| node.replica.commit()).max().unwrap();
            for n in cluster.leaders() {
                reads += 1;
                asked.insert((n, reads), most);
                cluster.read(n, reads);
                let ready = cluster.reads_ready(n);
                let answers = &mut cluster.nodes.get_mut(&id(n)).unwrap().others;
                answers.retain(|output| !matches!(output, Output::ReadsReady { .. }));
                for (read, index) in ready {
                    by_lease += u64::from(read == reads);
                    if let Some(least) = asked.remove(&(n, read)) {
                        let what = told(&cluster);
                        assert!(Index(index) >= least, "seed {seed}, turn {turn}: node {n} {what}");
                    }
                }
            }
        }
    }
    assert!(by_lease > 1000, "only {by_lease} reads were answered under a lease");
}
