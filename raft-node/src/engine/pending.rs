//! Requests that wait for something to be applied.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::{Index, Position, Term};
use raft_state::{ChangeRefusal, ProposalId, ReadId, Refusal};

use super::effect::Answer;

/// The requests of one group that wait.
///
/// Invariant: every request that enters leaves as exactly one answer.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    proposals: BTreeMap<Index, (Term, ProposalId)>,
    /// Changes of the members. They are answered when they are committed: nothing of them
    /// is applied, and a leader that removes itself may never apply them.
    changes: BTreeMap<Index, (Term, ProposalId)>,
    /// The replica is being asked to make this change.
    asked_to_change: Option<ProposalId>,
    reads: BTreeMap<Index, Vec<ReadId>>,
}

/// What stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proposed {
    /// A change of the members.
    Change,
    /// Commands.
    Commands,
}

impl Pending {
    /// Notes proposals that stand in the log from `first` on.
    pub(crate) fn proposed(&mut self, first: Index, term: Term, ids: Vec<ProposalId>) {
        for (place, id) in ids.into_iter().enumerate() {
            self.proposals.insert(first.plus(place as u64), (term, id));
        }
    }

    /// The replica is asked to change the members; it says at once what it makes of it.
    pub(crate) const fn asked_to_change(&mut self, id: ProposalId) {
        self.asked_to_change = Some(id);
    }

    pub(crate) const fn change_refused(&mut self) {
        self.asked_to_change = None;
    }

    /// Notes the change that was asked for, if it is what stands in the log now.
    pub(crate) fn changing(&mut self, at: Index, term: Term, ids: &[ProposalId]) -> Proposed {
        match self.asked_to_change.take_if(|id| ids == [*id]) {
            Some(id) => {
                self.changes.insert(at, (term, id));
                Proposed::Change
            }
            None => Proposed::Commands,
        }
    }

    /// Answers the changes up to `commit`, each by what stands in the log there.
    pub(crate) fn committed(
        &mut self,
        commit: Index,
        term_at: impl Fn(Index) -> Option<Term>,
        answers: &mut Vec<Answer>,
    ) {
        while let Some(first) = self.changes.first_entry().filter(|first| *first.key() <= commit) {
            let (index, (term, id)) = first.remove_entry();
            answers.push(match term_at(index) {
                Some(stands) if stands == term => Answer::Changed { id, index },
                Some(_) => {
                    let why = ChangeRefusal::NotLeader { leader: None };
                    Answer::ChangeRefused { id, why }
                }
                // A snapshot took its place.
                None => Answer::ProposalLost { id },
            });
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

    /// Whether reads wait for this index.
    pub(crate) fn reads_at(&self, index: Index) -> bool {
        self.reads.contains_key(&index)
    }

    /// Refuses the reads that wait for this index; they may be asked again.
    pub(crate) fn give_up_reads(&mut self, index: Index, answers: &mut Vec<Answer>) {
        let reads = self.reads.remove(&index).into_iter().flatten();
        answers.extend(reads.map(refused));
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

    /// Answers what waits when leadership ends and is not committed: it may still be by the
    /// next leader. The rest is applied here, and confirmed reads stay as well. Returns how
    /// many requests were answered.
    pub(crate) fn leadership_lost(&mut self, commit: Index, answers: &mut Vec<Answer>) -> u64 {
        let proposals = self.proposals.split_off(&commit.next());
        let changes = self.changes.split_off(&commit.next());
        let count = proposals.len() + changes.len();
        let lost = proposals.into_values().chain(changes.into_values());
        answers.extend(lost.map(|(_, id)| Answer::ProposalLost { id }));
        count as u64
    }

    /// A snapshot takes the place of everything up to `index`: what was committed there
    /// has happened, and with which answer nobody knows.
    pub(crate) fn restored(&mut self, index: Index, answers: &mut Vec<Answer>) {
        self.leadership_lost(Index::ZERO, answers);
        self.applied(std::iter::empty(), index, answers);
    }

    /// Answers everything that waits, for the group stops here.
    pub(crate) fn stopped(&mut self, answers: &mut Vec<Answer>) {
        self.leadership_lost(Index::ZERO, answers);
        let reads = std::mem::take(&mut self.reads).into_values().flatten();
        answers.extend(reads.map(refused));
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

const fn refused(id: ReadId) -> Answer {
    Answer::ReadRefused { id, why: Refusal::NotLeader { leader: None } }
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
    fn what_is_committed_is_answered_after_leadership_has_ended_too() {
        let (mut pending, mut answers) = (Pending::default(), Vec::new());
        pending.proposed(Index(5), Term(2), vec![ProposalId(1), ProposalId(2)]);
        pending.asked_to_change(ProposalId(3));
        assert_eq!(pending.changing(Index(7), Term(2), &[ProposalId(3)]), Proposed::Change);
        assert_eq!(pending.leadership_lost(Index(5), &mut answers), 2);
        let lost = [2, 3].map(|id| Answer::ProposalLost { id: ProposalId(id) });
        assert_eq!(answers, lost);
        let answer = Bytes::from("5@2");
        let done = Answer::Applied { id: ProposalId(1), index: Index(5), answer };
        assert_eq!(applied(&mut pending, &[(2, 5)], 5), [done]);
    }

    #[test]
    fn a_snapshot_in_the_place_of_commands_leaves_their_answers_unknown() {
        let (mut pending, mut answers) = (Pending::default(), Vec::new());
        pending.proposed(Index(5), Term(2), vec![ProposalId(1)]);
        pending.leadership_lost(Index(5), &mut answers);
        pending.restored(Index(9), &mut answers);
        assert_eq!(answers, [Answer::ProposalLost { id: ProposalId(1) }], "it has happened");
    }

    #[test]
    fn a_change_is_answered_once_it_is_committed_by_what_stands_in_its_place() {
        for (stands, committed) in [(Some(2), true), (Some(3), false), (None, false)] {
            let (mut pending, mut answers) = (Pending::default(), Vec::new());
            let id = ProposalId(1);
            pending.asked_to_change(id);
            assert_eq!(pending.changing(Index(5), Term(2), &[ProposalId(9)]), Proposed::Commands);
            assert_eq!(pending.changing(Index(5), Term(2), &[id]), Proposed::Change);
            pending.committed(Index(4), |_| None, &mut answers);
            assert_eq!(answers, []);
            pending.committed(Index(5), |_| stands.map(Term), &mut answers);
            let done = Answer::Changed { id, index: Index(5) };
            assert_eq!((answers.len(), answers[0] == done), (1, committed), "{answers:?}");
        }
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
