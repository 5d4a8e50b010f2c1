//! Whether a state can be healed: some way leads from it to agreement.

use super::action::{Action, What};
use super::facts::Facts;
use super::state::{Model, State};

/// Elections that are tried, in turn by each node.
const MOST_ROUNDS: u8 = 24;

/// Lets all messages arrive, all writes complete and all votes be free, and then stand one
/// node after the other, until a leader has committed an entry of its own that all members
/// have.
///
/// # Errors
/// Where that does not come about, or a property does not hold on the way.
pub(crate) fn heal(model: &mut Model, state: &State) -> Result<(), String> {
    let lost = std::mem::take(&mut model.world.appends_lost);
    let healed = tried(model, state);
    model.world.appends_lost = lost;
    healed.map_err(|what| format!("while healing: {what}"))
}

fn tried(model: &mut Model, state: &State) -> Result<(), String> {
    let mut state = calm(model, state)?;
    for round in 0..MOST_ROUNDS {
        let nodes = 1..=model.world.nodes();
        let leads = |n: &u8| model.facts(&state, *n).leads();
        let newest = nodes.clone().filter(leads).max_by_key(|n| model.facts(&state, *n).term);
        match newest {
            Some(leader) => state = served(model, &state, leader)?,
            None => {
                for n in nodes.clone() {
                    state = act(model, &state, What::Lapse, n)?;
                }
                let n = round % model.world.nodes() + 1;
                state = act(model, &state, What::Stand, n)?;
            }
        }
        state = calm(model, &state)?;
        if agreed(model, &state) {
            return Ok(());
        }
        // Who leads without a quorum, or knows nothing of a newer leader, gives up.
        for n in nodes {
            if model.facts(&state, n).leads() && round % 4 == 3 {
                state = act(model, &state, What::Tick, n)?;
                state = act(model, &state, What::Tick, n)?;
            }
        }
    }
    let stand: Vec<String> = (1..=model.world.nodes())
        .map(|n| {
            let Facts { role, term, commit, log, damaged, halted, .. } = model.facts(&state, n);
            format!(
                "node {n} {role:?} term {term}, commit {commit}, log {log:?}, damaged {damaged}, \
                 halted {halted}"
            )
        })
        .collect();
    Err(format!("no agreement after {MOST_ROUNDS} rounds: {}", stand.join("; ")))
}

/// Has a leader tell everybody of its commits.
fn served(model: &mut Model, state: &State, leader: u8) -> Result<State, String> {
    let mut state = act(model, state, What::Tick, leader)?;
    for to in (1..=model.world.nodes()).filter(|to| *to != leader) {
        if model.facts(&state, leader).leads() {
            state = act(model, &state, What::Beat(to), leader)?;
        }
    }
    Ok(state)
}

/// Lets everything arrive and become durable.
fn calm(model: &mut Model, state: &State) -> Result<State, String> {
    let mut state = model.settled(state)?;
    while let Some(n) = (1..=model.world.nodes()).find(|n| model.facts(&state, *n).busy) {
        state = act(model, &state, What::Complete, n)?;
        state = model.settled(&state)?;
    }
    Ok(state)
}

fn act(model: &mut Model, state: &State, what: What, n: u8) -> Result<State, String> {
    model.forced(state, Action { what, n, late: false })
}

/// One leader has committed all of its log, an entry of its own term last or not, and every
/// voter knows.
fn agreed(model: &Model, state: &State) -> bool {
    let all: Vec<&Facts> = (1..=model.world.nodes()).map(|n| model.facts(state, n)).collect();
    let Some(leader) = all.iter().filter(|facts| facts.leads()).max_by_key(|facts| facts.term)
    else {
        return false;
    };
    let last = leader.log.last();
    let follows = |facts: &&Facts| {
        facts.term == leader.term && facts.commit == last && facts.log.last() == last
    };
    let following = all.iter().filter(|facts| leader.voters.has(facts.n));
    leader.commit == last && following.copied().all(|facts| follows(&facts))
}
