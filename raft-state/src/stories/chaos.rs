//! Random schedules of loss, reordering, duplication, crashes and slow disks, with
//! the safety properties checked after every step (thesis, figure 3.2).

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::{Index, NodeId, Random, Term};

use crate::cluster::Cluster;
use crate::{Input, Proposal, ProposalId};

#[derive(Default)]
struct Checker {
    leaders: BTreeMap<Term, NodeId>,
    applied: BTreeMap<Index, (Term, Bytes)>,
}

impl Checker {
    fn check(&mut self, cluster: &Cluster) {
        for (id, node) in &cluster.nodes {
            let replica = &node.replica;
            assert!(!replica.is_halted(), "{:?}", node.others.last());
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
    match random.below(100) {
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
            cluster.input(n, Input::Propose(vec![proposal]));
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

#[test]
fn no_schedule_breaks_safety_and_healing_brings_progress() {
    let (mut terms, mut applied) = (0, 0);
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut cluster = Cluster::new(if seed % 4 == 0 { 5 } else { 3 });
        let (mut checker, mut proposals) = (Checker::default(), 0);
        for _ in 0..1500 {
            step(&mut cluster, &mut random, &mut proposals);
            checker.check(&cluster);
        }
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
    assert!(terms > 300 && applied > 3000, "{terms} terms, {applied} entries");
}
