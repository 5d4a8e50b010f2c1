//! One state of a world, and all that may happen in it.

use raft_core::{Body, Membership, Message};
use raft_state::RoleName;

use super::action::{Action, What};
use super::bounds::{Beginning, Budget, Budgets, World};
use super::bug::Bug;
use super::canon::TIMEOUT;
use super::facts::Facts;
use super::ledger::{Ledger, Seen};
use super::node::{Timed, id};
use super::stimulus::Stimulus;
use super::tables::Tables;

/// A state: the nodes, the ledger, what may still happen, and the messages under way, all by
/// their numbers. A message that is lost is one that never arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State(pub(crate) Vec<u32>);

/// A world with what is known of it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) world: World,
    pub(crate) tables: Tables,
    nodes: usize,
}

impl Model {
    pub(crate) fn new(world: World, bug: Option<Bug>) -> Self {
        let tables = Tables::new(world.rules(bug));
        Self { world, tables, nodes: usize::from(world.nodes()) }
    }

    /// The state that the world begins with.
    ///
    /// # Errors
    /// Where a property does not hold on the way to it.
    pub(crate) fn beginning(&mut self) -> Result<State, String> {
        let World { voters, budgets, beginning, .. } = self.world;
        let membership = Membership::of_voters((1..=voters).map(id));
        let damages = budgets.left(Budget::Damage) > 0;
        let mut words = Vec::new();
        for n in 1..=self.world.nodes() {
            let joined = if n <= voters { membership.clone() } else { Membership::empty() };
            let node = Timed::fresh(n, joined, &self.tables.rules, damages);
            words.push(self.tables.name_node(node));
        }
        words.push(self.tables.name_ledger(Ledger::default()));
        words.extend(budgets.words());
        let state = State(words);
        match beginning {
            Beginning::Fresh => Ok(state),
            Beginning::Led => self.led(state),
        }
    }

    /// Elects node 1 and lets all others learn what it commits.
    fn led(&mut self, mut state: State) -> Result<State, String> {
        let lost = std::mem::take(&mut self.world.appends_lost);
        let mut act = |model: &mut Self, what| {
            let next = model.forced(&state, what)?;
            state = model.settled(&next)?;
            Ok::<(), String>(())
        };
        if self.world.lease_drift.is_some() {
            // Before a start they may have heard a leader, who may rely on their votes.
            for _ in 0..TIMEOUT {
                act(self, Action { what: What::Pass, n: 1, late: false })?;
            }
        }
        act(self, Action { what: What::Stand, n: 1, late: false })?;
        for to in 2..=self.world.voters {
            act(self, Action { what: What::Beat(to), n: 1, late: false })?;
        }
        self.world.appends_lost = lost;
        assert!(self.facts(&state, 1).leads(), "node 1 was elected: {:?}", self.facts(&state, 1));
        Ok(state)
    }

    /// The state after all messages have arrived, and all that follow from them.
    pub(crate) fn settled(&mut self, state: &State) -> Result<State, String> {
        let mut state = state.clone();
        while let Some(message) = self.messages(&state).first().copied() {
            let n = self.tables.message(message).to.get() as u8;
            let what = What::Receive { message, again: false };
            state = self.forced(&state, Action { what, n, late: false })?;
        }
        Ok(state)
    }

    pub(crate) fn budgets(&self, state: &State) -> Budgets {
        Budgets::from_words(state.0[self.nodes + 1], state.0[self.nodes + 2])
    }

    pub(crate) fn messages<'a>(&self, state: &'a State) -> &'a [u32] {
        &state.0[self.nodes + 3..]
    }

    pub(crate) fn facts(&self, state: &State, n: u8) -> &Facts {
        self.tables.facts(state.0[usize::from(n) - 1])
    }

    pub(crate) fn ledger(&self, state: &State) -> &Ledger {
        self.tables.ledger(state.0[self.nodes])
    }

    /// Everything that may happen, in the same order each time.
    pub(crate) fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions.clear();
        let budgets = self.budgets(state);
        let mut add = |what, n| actions.push(Action { what, n, late: false });
        for message in self.messages(state) {
            let n = self.tables.message(*message).to.get() as u8;
            add(What::Receive { message: *message, again: false }, n);
            if budgets.left(Budget::Duplicate) > 0 {
                add(What::Receive { message: *message, again: true }, n);
            }
        }
        for n in 1..=self.world.nodes() {
            self.node_actions(state, n, budgets, |what| add(what, n));
        }
        if budgets.left(Budget::Pass) > 0 {
            add(What::Pass, 1);
        }
        if budgets.left(Budget::Late) > 0 {
            let writes =
                |action: &&Action| !self.facts(state, action.n).busy && action.what.may_write();
            let late: Vec<Action> = actions.iter().filter(writes).copied().collect();
            actions.extend(late.into_iter().map(|action| Action { late: true, ..action }));
        }
    }

    fn node_actions(&self, state: &State, n: u8, budgets: Budgets, mut add: impl FnMut(What)) {
        let facts = self.facts(state, n);
        let may = |what| budgets.left(what) > 0;
        if facts.busy {
            add(What::Complete);
        }
        if facts.halted {
            return;
        }
        if facts.leads() {
            self.leader_actions(n, budgets, &mut add);
        } else {
            let first = self.world.budgets.left(Budget::Stand) == budgets.left(Budget::Stand);
            // All nodes are alike at first, so whoever stands first may be called node 1.
            let turn = n == 1 || !first || self.world.beginning == Beginning::Led;
            let joined = n <= self.world.voters || facts.voters.has(n);
            if may(Budget::Stand) && turn && joined && facts.term < self.world.max_term {
                add(What::Stand);
            }
            if may(Budget::Lapse) && facts.leader.is_some() && !facts.overdue {
                add(What::Lapse);
            }
        }
        if may(Budget::Skew) {
            add(What::Skew);
        }
        if may(Budget::Trim) && !facts.busy && facts.applied > facts.log.floor {
            add(What::Trim);
        }
        if may(Budget::Crash) {
            add(What::Crash);
        }
        if may(Budget::Damage) {
            (0..facts.shorter).for_each(|left| add(What::Damage(left)));
        }
    }

    fn leader_actions(&self, n: u8, budgets: Budgets, add: &mut impl FnMut(What)) {
        let may = |what| budgets.left(what) > 0;
        let others = || (1..=self.world.nodes()).filter(|to| *to != n);
        if may(Budget::Tick) {
            add(What::Tick);
        }
        if may(Budget::Propose) {
            add(What::Propose);
        }
        if may(Budget::Read) {
            add(What::Read);
        }
        if may(Budget::Beat) {
            others().for_each(|to| add(What::Beat(to)));
        }
        if may(Budget::Change) {
            (0..self.world.changes.len() as u8).for_each(|change| add(What::Change(change)));
        }
        if may(Budget::Transfer) {
            others().filter(|to| *to <= self.world.voters).for_each(|to| add(What::Transfer(to)));
        }
    }

    /// The state after an action; nothing where it changes nothing.
    ///
    /// # Errors
    /// Tells which property does not hold then.
    pub(crate) fn after(&mut self, state: &State, action: Action) -> Result<Option<State>, String> {
        let mut budgets = self.budgets(state);
        if let Some(budget) = action.what.budget() {
            budgets.spend(budget);
        }
        if action.late {
            budgets.spend(Budget::Late);
            let late = self.outcome(state, action);
            let on_time = self.outcome(state, Action { late: false, ..action });
            if self.tables.outcome(late).node == self.tables.outcome(on_time).node {
                return Ok(None);
            }
        }
        let mut next = self.forced(state, action)?;
        let same = next == *state;
        next.0[self.nodes + 1..self.nodes + 3].copy_from_slice(&budgets.words());
        Ok((!same).then_some(next))
    }

    /// The state after an action, whatever is left of what may happen.
    pub(crate) fn forced(&mut self, state: &State, action: Action) -> Result<State, String> {
        let mut next = state.clone();
        if action.what == What::Pass {
            for n in 1..=self.world.nodes() {
                let outcome = self.outcome(state, Action { n, ..action });
                next.0[usize::from(n) - 1] = self.tables.outcome(outcome).node;
            }
            return Ok(next);
        }
        let place = usize::from(action.n) - 1;
        let outcome = self.outcome(state, action);
        next.0[place] = self.tables.outcome(outcome).node;
        if self.tables.outcome(outcome).is_news {
            let ledger = self.checked(state, &next, action, outcome)?;
            next.0[self.nodes] = self.tables.name_ledger(ledger);
        }
        if let What::Receive { message, again: false } = action.what {
            let under_way = self.messages(&next).iter().position(|one| *one == message);
            let place = under_way.expect("what arrives is under way");
            next.0.remove(self.nodes + 3 + place);
        }
        self.send(&mut next, action.n, outcome);
        Ok(next)
    }

    fn send(&mut self, next: &mut State, n: u8, outcome: u32) {
        for place in 0..self.tables.outcome(outcome).sent.len() {
            let message = self.tables.outcome(outcome).sent[place];
            let lost = self.world.appends_lost
                && matches!(self.tables.message(message).body, Body::Append { .. });
            if !lost && !self.messages(next).contains(&message) {
                next.0.push(message);
            }
        }
        let (head, messages) = next.0.split_at(self.nodes + 3);
        let mut left = Vec::with_capacity(next.0.len());
        left.extend_from_slice(head);
        for message in messages {
            if !self.is_over(head, *message, n, outcome) {
                left.push(*message);
            }
        }
        left[self.nodes + 3..].sort_unstable();
        next.0 = left;
    }

    /// Whether a message can be forgotten after a step of node `n`.
    fn is_over(&mut self, nodes: &[u32], message: u32, n: u8, outcome: u32) -> bool {
        let Message { from, to, body, .. } = self.tables.message(message);
        let (from, to) = (from.get() as usize, to.get() as usize);
        if to > self.nodes || self.tables.facts(nodes[to - 1]).halted {
            return true;
        }
        let asks = matches!(body, Body::PreVote { .. });
        if asks && self.world.old_ballots_lost && from == usize::from(n) {
            return self.tables.facts(nodes[from - 1]).role != RoleName::PreCandidate;
        }
        let concerned =
            to == usize::from(n) || self.tables.outcome(outcome).sent.contains(&message);
        let damages = self.world.budgets.left(Budget::Damage) > 0;
        concerned && self.tables.is_spent(message, nodes[to - 1], damages)
    }

    fn checked(
        &self,
        state: &State,
        next: &State,
        action: Action,
        outcome: u32,
    ) -> Result<Ledger, String> {
        let all: Vec<&Facts> = (1..=self.world.nodes()).map(|n| self.facts(next, n)).collect();
        let mut ledger = self.ledger(state).clone();
        ledger.note(&Seen {
            before: self.facts(state, action.n),
            after: self.facts(next, action.n),
            outcome: self.tables.outcome(outcome),
            asked: (action.what == What::Read).then(|| self.number(state, Budget::Read)),
            all: &all,
            entries: &self.tables.entries,
        })?;
        Ok(ledger)
    }

    /// How often a thing has happened.
    fn number(&self, state: &State, what: Budget) -> u64 {
        u64::from(self.world.budgets.left(what) - self.budgets(state).left(what))
    }

    fn outcome(&mut self, state: &State, action: Action) -> u32 {
        let Action { what, n, late } = action;
        let node = state.0[usize::from(n) - 1];
        if let What::Receive { message, .. } = what {
            return self.tables.receive(node, message, late);
        }
        let (key, stimulus) = self.stimulus(state, what);
        self.tables.step(node, key, late, |_| stimulus.clone())
    }

    fn stimulus(&self, state: &State, what: What) -> (u64, Stimulus) {
        let (kind, with, stimulus) = match what {
            What::Receive { .. } => unreachable!("messages are received by their numbers"),
            What::Complete => (1, 0, Stimulus::Complete),
            What::Stand => (2, 0, Stimulus::Stand),
            What::Lapse => (3, 0, Stimulus::Lapse),
            What::Tick => (4, 0, Stimulus::Tick),
            What::Pass | What::Skew => (5, 0, Stimulus::Pass),
            What::Beat(to) => (6, to, Stimulus::Beat { to }),
            What::Propose => {
                let n = self.number(state, Budget::Propose) as u8;
                (7, n, Stimulus::Propose(n))
            }
            What::Change(at) => (8, at, Stimulus::Change(self.world.changes[usize::from(at)])),
            What::Transfer(to) => (9, to, Stimulus::Transfer { to }),
            What::Read => {
                let n = self.number(state, Budget::Read) as u8;
                (10, n, Stimulus::Read(n))
            }
            What::Trim => (11, 0, Stimulus::Trim),
            What::Crash => (12, 0, Stimulus::Crash),
            What::Damage(left) => (13, left, Stimulus::Damage { left }),
        };
        (u64::from(with) << 8 | kind, stimulus)
    }
}
