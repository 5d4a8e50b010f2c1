//! All states of a world, breadth first.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use super::action::Action;
use super::bounds::World;
use super::bug::Bug;
use super::heal;
use super::spread::BuildSpread;
use super::state::{Model, State};
use super::trace::tell;

/// Where a search ends although there is more to see.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// After this many different states.
    pub states: usize,
    /// After this time.
    pub time: Duration,
}

/// How a search ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every state of the world was seen, and every property holds in each.
    Exhausted,
    /// As far as the limits went every property holds.
    Limited,
    /// A property does not hold. No shorter way leads there.
    Violated {
        /// Which one.
        what: String,
        /// How the world got there, step by step.
        trace: Vec<String>,
    },
}

/// What a search has seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// The world.
    pub world: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// Different states.
    pub distinct: usize,
    /// States that were come to, the same one on several ways counted for each.
    pub visited: u64,
    /// Steps from the beginning to the farthest state.
    pub depth: usize,
    /// Different states of single nodes, messages, and steps of single nodes.
    pub sizes: (usize, usize, usize),
    /// States from which it was tried whether the nodes come to agree again; all do.
    pub healed: usize,
    /// How long it took.
    pub took: Duration,
}

/// One state in so many is healed at first; fewer later.
const HEAL_ONE_IN: usize = 1 << 10;

/// The states from which healing is tried, at most.
const MOST_HEALED: usize = 2000;

/// Where a state was first come to from, and by which of the actions there.
#[derive(Clone, Copy, Debug)]
struct Parent {
    state: u32,
    action: u16,
}

struct Search {
    model: Model,
    begun: Instant,
    known: HashSet<u128, BuildSpread>,
    /// By the number of the state, in the order of discovery.
    parents: Vec<Parent>,
    visited: u64,
    /// Not with a broken rule: the shortest way to what it leads to is wanted.
    heals: bool,
    healed: usize,
}

/// Looks at every state of a world, in the order of distance from its beginning.
/// `progress` is told the depth and the different states so far, after every depth.
#[must_use]
pub fn explore(
    world: World,
    bug: Option<Bug>,
    limits: Limits,
    progress: &dyn Fn(usize, usize),
) -> Report {
    let mut search = Search {
        model: Model::new(world, bug),
        begun: Instant::now(),
        known: HashSet::default(),
        parents: vec![Parent { state: 0, action: 0 }],
        visited: 1,
        heals: bug.is_none(),
        healed: 0,
    };
    let (verdict, depth) = search.run(limits, progress);
    Report {
        world: world.name,
        verdict,
        distinct: search.parents.len(),
        visited: search.visited,
        depth,
        sizes: search.model.tables.sizes(),
        healed: search.healed,
        took: search.begun.elapsed(),
    }
}

impl Search {
    fn run(&mut self, limits: Limits, progress: &dyn Fn(usize, usize)) -> (Verdict, usize) {
        let beginning = match self.model.beginning() {
            Ok(state) => state,
            Err(what) => return (Verdict::Violated { what, trace: Vec::new() }, 0),
        };
        self.known.insert(fingerprint(&beginning));
        let mut frontier = VecDeque::from([(0, beginning.0.into_boxed_slice())]);
        let mut depth = 0;
        while !frontier.is_empty() {
            for _ in 0..frontier.len() {
                let (number, words) = frontier.pop_front().expect("it was counted");
                let state = State(words.into_vec());
                if let Err(what) = self.expand(number, &state, &mut frontier) {
                    return (what, depth + 1);
                }
                let limited = number % 1024 == 0 && self.begun.elapsed() > limits.time;
                if limited || self.parents.len() >= limits.states {
                    return (Verdict::Limited, depth);
                }
            }
            depth += usize::from(!frontier.is_empty());
            progress(depth, self.parents.len());
        }
        (Verdict::Exhausted, depth)
    }

    fn expand(
        &mut self,
        number: u32,
        state: &State,
        frontier: &mut VecDeque<(u32, Box<[u32]>)>,
    ) -> Result<(), Verdict> {
        let mut actions = Vec::new();
        self.model.actions(state, &mut actions);
        for (place, action) in actions.into_iter().enumerate() {
            let next = match self.model.after(state, action) {
                Ok(Some(next)) => next,
                Ok(None) => continue,
                Err(what) => return Err(self.violated(number, Some(action), what)),
            };
            self.visited += 1;
            if !self.known.insert(fingerprint(&next)) {
                continue;
            }
            let fresh = self.parents.len();
            self.parents.push(Parent { state: number, action: place as u16 });
            if self.heals && fresh.is_multiple_of(HEAL_ONE_IN) && self.healed < MOST_HEALED {
                self.healed += 1;
                if let Err(what) = heal::heal(&mut self.model, &next) {
                    return Err(self.violated(fresh as u32, None, what));
                }
            }
            frontier.push_back((fresh as u32, next.0.into_boxed_slice()));
        }
        Ok(())
    }

    /// Goes the way to a state again, to tell it.
    fn violated(&mut self, mut number: u32, last: Option<Action>, what: String) -> Verdict {
        let mut places = Vec::new();
        while number != 0 {
            let parent = self.parents[number as usize];
            places.push(parent.action);
            number = parent.state;
        }
        let mut trace = Vec::new();
        let mut state = self.model.beginning().expect("it was begun before");
        let mut actions = Vec::new();
        for place in places.into_iter().rev() {
            self.model.actions(&state, &mut actions);
            let action = actions[usize::from(place)];
            let next = self.model.after(&state, action).expect("it was gone before");
            let next = next.expect("it led somewhere");
            trace.push(tell(&self.model, action, Some(&next)));
            state = next;
        }
        trace.extend(last.map(|action| tell(&self.model, action, None)));
        Verdict::Violated { what, trace }
    }
}

/// 128 bits of a state. Two states that have the same would be taken for one; with a hundred
/// million of them the odds are one in 10^22.
fn fingerprint(state: &State) -> u128 {
    let mut mixed = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835_u128;
    for word in &state.0 {
        mixed ^= u128::from(*word);
        mixed = mixed.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645);
        mixed ^= mixed >> 61;
    }
    mixed ^= mixed >> 67;
    mixed.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645) ^ mixed >> 59
}
