//! What has happened in a run and must not be contradicted, and the checks.

use std::collections::BTreeMap;

use super::facts::{Entries, Facts, bit};
use super::tables::Outcome;

/// What is remembered of a run besides its nodes. What no node can contradict any more is
/// forgotten: terms that every disk has left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Ledger {
    /// Who leads, or led, in a term.
    leaders: BTreeMap<u64, u8>,
    /// Whom a node gave its vote in a term.
    votes: BTreeMap<(u64, u8), u8>,
    /// The committed entries from index 1 on, with the term they were committed in.
    committed: Vec<(u32, u64)>,
    /// What was committed when a read was asked that waits.
    reads: BTreeMap<u64, u64>,
}

/// A step of one node, with what the checks look at.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) before: &'a Facts,
    pub(crate) after: &'a Facts,
    pub(crate) outcome: &'a Outcome,
    /// A read that is asked by it.
    pub(crate) asked: Option<u64>,
    /// All nodes after it.
    pub(crate) all: &'a [&'a Facts],
    pub(crate) entries: &'a Entries,
}

impl Ledger {
    /// Takes in a step.
    ///
    /// # Errors
    /// Tells which property does not hold.
    pub(crate) fn note(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        if let Some(broken) = &seen.outcome.broken {
            return Err(format!("no replica is broken: {broken}"));
        }
        if let Some(read) = seen.asked {
            self.reads.insert(read, self.committed.len() as u64);
        }
        self.votes(&seen.outcome.votes)?;
        self.leads(seen)?;
        monotonic(seen)?;
        one_change_at_a_time(seen)?;
        log_matching(seen)?;
        self.commits(seen)?;
        self.applies(seen)?;
        self.reads(seen.outcome)?;
        let left_behind = seen.all.iter().map(|facts| facts.disk_term).min().unwrap_or(0);
        self.votes.retain(|(term, _), _| *term >= left_behind);
        self.leaders.retain(|term, _| *term >= left_behind);
        Ok(())
    }

    /// How many entries are committed.
    pub(crate) fn committed(&self) -> u64 {
        self.committed.len() as u64
    }

    fn votes(&mut self, votes: &[(u64, u8, u8)]) -> Result<(), String> {
        for (term, voter, candidate) in votes {
            let first = *self.votes.entry((*term, *voter)).or_insert(*candidate);
            if first != *candidate {
                return Err(format!(
                    "one vote per term: in term {term} node {voter} votes for {first} and {candidate}"
                ));
            }
        }
        Ok(())
    }

    /// Election safety, a quorum behind every leader, and leader completeness (thesis, figure
    /// 3.2 and section 3.6.3).
    fn leads(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let (before, Facts { n, term, voters, log, .. }) = (seen.before, seen.after);
        if !seen.after.leads() || before.leads() && before.term == *term {
            return Ok(());
        }
        let first = *self.leaders.entry(*term).or_insert(*n);
        if first != *n {
            return Err(format!("election safety: nodes {first} and {n} lead in term {term}"));
        }
        let voted = |voter: &&&Facts| voter.n == *n || self.votes.get(&(*term, voter.n)) == Some(n);
        let voted = seen.all.iter().filter(voted).fold(0, |bits, voter| bits | bit(voter.n));
        if !voters.is_quorum(voted) {
            return Err(format!("election safety: node {n} leads term {term} without a quorum"));
        }
        let earlier = self.committed.iter().zip(1..).filter(|((_, in_term), _)| in_term < term);
        for ((name, in_term), index) in earlier {
            if !log.has(index, *name) {
                return Err(format!(
                    "leader completeness: node {n} leads term {term} and lacks entry {index}, \
                     committed in term {in_term}"
                ));
            }
        }
        Ok(())
    }

    /// State machine safety; what is committed is durable on a quorum, and of the leader's own
    /// term where it is the last.
    fn commits(&mut self, seen: &Seen<'_>) -> Result<(), String> {
        let (before, after) = (seen.before, seen.after);
        let restarted = before.boot != after.boot;
        let from = if restarted { 0 } else { before.commit };
        for index in from.max(after.log.floor) + 1..=after.commit {
            let n = after.n;
            let Some(name) = after.log.at(index) else {
                return Err(format!(
                    "log: node {n} has committed {index}, which is not in its log"
                ));
            };
            match self.committed.get(index as usize - 1) {
                Some((first, _)) if *first == name => {}
                Some((first, _)) => {
                    let (one, other) = (seen.entries.term(*first), seen.entries.term(name));
                    return Err(format!(
                        "state machine safety: entry {index} is committed in terms {one} and \
                         {other}, the latter at node {n}, or its content differs"
                    ));
                }
                None if before.leads() || after.leads() => {
                    self.committed.push((name, after.term));
                }
                None => {
                    return Err(format!(
                        "commitment: node {n} takes entry {index} for committed, which no leader \
                         has committed"
                    ));
                }
            }
        }
        let floor = after.log.floor;
        if floor > self.committed() {
            return Err(format!(
                "snapshots: node {} begins at {floor}, beyond what is committed",
                after.n
            ));
        }
        if after.commit > before.commit && !restarted && (before.leads() || after.leads()) {
            durable_on_a_quorum(seen)?;
        }
        Ok(())
    }

    /// What is applied is committed, and durable here.
    fn applies(&self, seen: &Seen<'_>) -> Result<(), String> {
        let Facts { n, applied, commit, disk, .. } = seen.after;
        if applied > commit {
            return Err(format!("applied: node {n} has applied {applied} and committed {commit}"));
        }
        let gained = *applied > seen.before.applied && seen.before.boot == seen.after.boot;
        let lacks = |index: &u64| {
            let committed = self.committed.get(*index as usize - 1);
            committed.is_none_or(|(name, _)| !disk.has(*index, *name))
        };
        // A snapshot is applied once it is durable; until then the replica counts it.
        let installs = seen.after.log.floor > disk.floor;
        match (seen.before.applied + 1..=*applied).find(lacks) {
            Some(index) if gained && !installs => Err(format!(
                "applied: node {n} applies entry {index}, which its disk does not have"
            )),
            _ => Ok(()),
        }
    }

    /// A read sees all that was committed when it was asked (thesis, section 6.4).
    fn reads(&mut self, outcome: &Outcome) -> Result<(), String> {
        for (read, index) in &outcome.reads {
            let committed = self.reads.remove(read).unwrap_or(0);
            if *index < committed {
                return Err(format!(
                    "linearizable reads: read {read} sees {index}, and {committed} was committed before"
                ));
            }
        }
        self.reads.retain(|read, _| !outcome.refused.contains(read));
        Ok(())
    }
}

fn durable_on_a_quorum(seen: &Seen<'_>) -> Result<(), String> {
    let (before, after) = (seen.before, seen.after);
    let index = after.commit;
    let Some(name) = after.log.at(index) else { return Ok(()) };
    if seen.entries.term(name) != after.term {
        return Err(format!(
            "commitment: node {} leads term {} and commits entry {index} of another term by counting",
            after.n, after.term
        ));
    }
    // What a disk has lost it had when it was acknowledged.
    let has = |facts: &&&Facts| facts.damaged || facts.disk.has(index, name);
    let has = seen.all.iter().filter(has).fold(0, |bits, facts| bits | bit(facts.n));
    // The membership may have changed in the same step, before or after.
    if before.voters.is_quorum(has) || after.voters.is_quorum(has) {
        return Ok(());
    }
    Err(format!(
        "durable on a quorum: node {} commits entry {index}, which only the disks of {has:#b} have",
        after.n
    ))
}

fn monotonic(seen: &Seen<'_>) -> Result<(), String> {
    let (before, after) = (seen.before, seen.after);
    let restarted = before.boot != after.boot;
    let back = after.term < before.disk_term
        || !restarted && (after.term < before.term || after.commit < before.commit);
    if back {
        let (from, to) = ((before.term, before.commit), (after.term, after.commit));
        return Err(format!(
            "term and commit: at node {} they go back from {from:?} to {to:?}",
            after.n
        ));
    }
    Ok(())
}

/// A change of the members is made only once the one before it is committed, and an entry of
/// the leader's own term (thesis, section 4.1, and the correction of 2015).
fn one_change_at_a_time(seen: &Seen<'_>) -> Result<(), String> {
    let (before, after) = (seen.before, seen.after);
    let goes_on = before.leads() && after.leads() && before.term == after.term;
    let changed = after.members_at > before.members_at.max(after.log.floor);
    if !goes_on || !changed {
        return Ok(());
    }
    if before.members_at > after.commit {
        return Err(format!("membership: two changes are under way at node {}", after.n));
    }
    let own = after.log.at(after.commit).map(|name| seen.entries.term(name));
    let floor = (after.commit == after.log.floor).then_some(after.log.floor_term);
    if own.or(floor) != Some(after.term) {
        return Err(format!("membership: node {} makes a change before its first commit", after.n));
    }
    Ok(())
}

/// Where index and term are the same, so are the entries and all before them (thesis, figure
/// 3.2).
fn log_matching(seen: &Seen<'_>) -> Result<(), String> {
    let after = seen.after;
    let logs = seen.all.iter().flat_map(|facts| [(facts.n, &facts.log), (facts.n, &facts.disk)]);
    for (n, other) in logs {
        let mut agreed = false;
        let both = after.log.floor.max(other.floor) + 1..=after.log.last().min(other.last());
        for index in both.rev() {
            let (Some(own), Some(theirs)) = (after.log.at(index), other.at(index)) else {
                continue;
            };
            let same_term = seen.entries.term(own) == seen.entries.term(theirs);
            agreed |= same_term;
            if agreed && own != theirs {
                return Err(format!("log matching: nodes {} and {n} differ at {index}", after.n));
            }
        }
    }
    Ok(())
}
