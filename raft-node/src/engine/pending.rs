//! Requests that wait for something to be applied.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::{Index, Position, Term};
use raft_state::{ProposalId, ReadId, Refusal};

use super::effect::Answer;

/// The requests of one group that wait.
///
/// Invariant: every request that enters leaves as exactly one answer.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    proposals: BTreeMap<Index, (Term, ProposalId)>,
    reads: BTreeMap<Index, Vec<ReadId>>,
}

impl Pending {
    /// Notes proposals that stand in the log from `first` on.
    pub(crate) fn proposed(&mut self, first: Index, term: Term, ids: Vec<ProposalId>) {
        for (place, id) in ids.into_iter().enumerate() {
            self.proposals.insert(first.plus(place as u64), (term, id));
        }
    }

    /// How many proposals and reads wait.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let reads: usize = self.reads.values().map(Vec::len).sum();
        (self.proposals.len() as u64, reads as u64)
    }

    /// Notes reads that wait for `index`, or answers them where it is applied.
    pub(crate) fn reading(
        &mut self,
        ids: Vec<ReadId>,
        index: Index,
        applied: Index,
        answers: &mut Vec<Answer>,
    ) {
        if index <= applied {
            answers.extend(ids.into_iter().map(|id| Answer::ReadReady { id, index: applied }));
        } else {
            self.reads.entry(index).or_default().extend(ids);
        }
    }

    /// Answers what waited for these commands, each with the answer of the state
    /// machine, and for anything else up to `applied`.
    pub(crate) fn applied(
        &mut self,
        commands: impl Iterator<Item = (Position, Bytes)>,
        applied: Index,
        answers: &mut Vec<Answer>,
    ) {
        for (position, answer) in commands {
            self.overtaken_below(position.index, answers);
            if let Some((term, id)) = self.proposals.remove(&position.index) {
                answers.push(if term == position.term {
                    Answer::Applied { id, index: position.index, answer }
                } else {
                    overtaken(id)
                });
            }
        }
        self.overtaken_below(applied.next(), answers);
        while let Some(first) = self.reads.first_entry().filter(|first| *first.key() <= applied) {
            let ready = first.remove().into_iter();
            answers.extend(ready.map(|id| Answer::ReadReady { id, index: applied }));
        }
    }

    /// Answers what waits when leadership ends: the commands may still be committed
    /// by the next leader. Confirmed reads stay; what they wait for is committed.
    pub(crate) fn leadership_lost(&mut self, answers: &mut Vec<Answer>) {
        let lost = std::mem::take(&mut self.proposals).into_values();
        answers.extend(lost.map(|(_, id)| Answer::ProposalLost { id }));
    }

    /// Answers everything that waits, for the group stops here.
    pub(crate) fn stopped(&mut self, answers: &mut Vec<Answer>) {
        self.leadership_lost(answers);
        let why = Refusal::NotLeader { leader: None };
        let reads = std::mem::take(&mut self.reads).into_values().flatten();
        answers.extend(reads.map(|id| Answer::ReadRefused { id, why }));
    }

    /// Something else was applied where these proposals stood: they never will be.
    fn overtaken_below(&mut self, index: Index, answers: &mut Vec<Answer>) {
        while let Some(first) = self.proposals.first_entry().filter(|first| *first.key() < index) {
            let (_, id) = first.remove();
            answers.push(overtaken(id));
        }
    }
}

const fn overtaken(id: ProposalId) -> Answer {
    Answer::ProposalRefused { id, why: Refusal::NotLeader { leader: None } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(pending: &mut Pending, commands: &[(u64, u64)], up_to: u64) -> Vec<Answer> {
        let mut answers = Vec::new();
        let commands = commands.iter().map(|(term, index)| {
            (Position::new(*term, *index), Bytes::from(format!("{index}@{term}")))
        });
        pending.applied(commands, Index(up_to), &mut answers);
        answers
    }

    #[test]
    fn a_proposal_is_answered_by_the_entry_of_its_term_and_no_other() {
        let mut pending = Pending::default();
        pending.proposed(Index(5), Term(2), vec![ProposalId(1), ProposalId(2), ProposalId(3)]);
        let answer = Bytes::from("5@2");
        assert_eq!(
            applied(&mut pending, &[(2, 5), (3, 6)], 7),
            [
                Answer::Applied { id: ProposalId(1), index: Index(5), answer },
                overtaken(ProposalId(2)),
                overtaken(ProposalId(3)),
            ],
            "another command stands at 6, and an entry that is no command at 7"
        );
    }

    #[test]
    fn reads_wait_for_their_index() {
        let (mut pending, mut answers) = (Pending::default(), Vec::new());
        pending.reading(vec![ReadId(1)], Index(4), Index(4), &mut answers);
        pending.reading(vec![ReadId(2)], Index(6), Index(4), &mut answers);
        assert_eq!(answers, [Answer::ReadReady { id: ReadId(1), index: Index(4) }]);
        assert_eq!(applied(&mut pending, &[], 5), []);
        let ready = Answer::ReadReady { id: ReadId(2), index: Index(7) };
        assert_eq!(applied(&mut pending, &[], 7), [ready]);
    }

    #[test]
    fn nobody_waits_for_ever() {
        let (mut pending, mut answers) = (Pending::default(), Vec::new());
        pending.proposed(Index(5), Term(2), vec![ProposalId(1)]);
        pending.reading(vec![ReadId(2)], Index(6), Index(4), &mut answers);
        pending.stopped(&mut answers);
        let why = Refusal::NotLeader { leader: None };
        let refused = Answer::ReadRefused { id: ReadId(2), why };
        assert_eq!(answers, [Answer::ProposalLost { id: ProposalId(1) }, refused]);
    }
}
