//! What the page draws, as arrays: a run has tens of thousands of events.
//!
//! Times are microseconds since the beginning; where they stand in a row, each but the first
//! is the difference to the one before.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::{GroupId, Instant, NodeId};
use raft_state::RoleName;
use serde_json::{Value, json};

use crate::sim::clients::Told;
use crate::sim::node::GROUPS;
use crate::sim::recording::{Moment, Part, Recording, State};
use crate::sim::said::Kind;
use crate::sim::story::{End, Line, Topic, tell};
use crate::sim::world::{BEGINS, CLIENTS};

/// Something that lasts, in the lane of a node. The page knows them by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Span {
    Down,
    Write,
    CutOff,
    /// Whatever a fault says that lasts.
    Fault,
}

/// A run as a value.
pub(super) fn of(recording: &Recording) -> Value {
    let mut data = Data { nodes: nodes(recording), ..Data::default() };
    let end = recording.moments.last().map_or(BEGINS, |(at, _)| *at);
    for (at, moment) in &recording.moments {
        data.moment(us(*at), moment);
    }
    data.close(us(end));
    let lines = data.lines(&tell(recording));
    json!({
        "end": us(end),
        "nodes": data.nodes.keys().map(|id| id.get()).collect::<Vec<_>>(),
        "groups": GROUPS.map(|group| group.0),
        "clients": CLIENTS,
        "topics": Topic::ALL.map(Topic::name),
        "kinds": Kind::ALL.map(Kind::name),
        "lines": lines,
        "states": data.states,
        "spans": data.spans,
        "asks": data.asks,
        "texts": data.texts.into_list(),
    })
}

#[derive(Default)]
struct Data {
    nodes: BTreeMap<NodeId, usize>,
    texts: Texts,
    /// Node, group, time, role, term, leader, last, commit, applied, part and damage of each.
    states: Vec<[i64; 11]>,
    /// Kind, node, first and last moment, and what it is.
    spans: Vec<(u8, usize, i64, i64, usize)>,
    open: BTreeMap<(usize, Span), (i64, usize)>,
    /// Client, node, group, first and last moment, what was asked and what was told, and
    /// whether that is good, bad or unknown.
    asks: Vec<[i64; 8]>,
    asked: BTreeMap<u64, usize>,
}

impl Data {
    fn moment(&mut self, at: i64, moment: &Moment) {
        match moment {
            Moment::State(node, group, state) => self.state(at, *node, *group, *state),
            Moment::Writes(node) => self.begin(*node, Span::Write, at, "a write to the log"),
            Moment::Written(node) => self.end(*node, Span::Write, at),
            Moment::Up(node) => self.end(*node, Span::Down, at),
            Moment::Down(node, _) | Moment::Gone(node) => {
                self.end(*node, Span::Write, at);
                self.begin(*node, Span::Down, at, "down");
            }
            Moment::Fault { fault, node: Some(node), text } => {
                if let Some(long) = fault.lasts() {
                    let text = self.texts.of(text);
                    let end = at + long.as_micros() as i64;
                    self.spans.push((Span::Fault as u8, self.nodes[node], at, end, text));
                }
            }
            Moment::Cuts(cuts) => self.cuts(at, cuts),
            Moment::Asked { id, client, node, group, what } => {
                let (node, what) = (self.nodes[node], self.texts.of(what));
                let open = self.texts.of("no answer");
                self.asked.insert(*id, self.asks.len());
                let [client, node, group, what, open] =
                    [*client, node, place(*group), what, open].map(|number| number as i64);
                self.asks.push([client, node, group, at, i64::MAX, what, open, 2]);
            }
            Moment::Told { id, told } => {
                let answer = self.texts.of(&crate::sim::story::answer(*told));
                if let Some(ask) = self.asked.remove(id).and_then(|at| self.asks.get_mut(at)) {
                    (ask[4], ask[6], ask[7]) = (at, answer as i64, quality(*told));
                }
            }
            _ => {}
        }
    }

    fn state(&mut self, at: i64, node: NodeId, group: GroupId, state: State) {
        let role = match state.role {
            RoleName::Follower => 0,
            RoleName::PreCandidate => 1,
            RoleName::Candidate => 2,
            RoleName::Leader => 3,
        };
        let part = match state.part {
            Part::Voter => 0,
            Part::Learner => 1,
            Part::None => 2,
        };
        let leader = state.leader.map_or(0, |id| id.get() as i64);
        let State { term, last, commit, applied, damaged, .. } = state;
        let (node, group) = (self.nodes[&node] as i64, place(group) as i64);
        let [term, last, commit, applied] =
            [term.0, last.0, commit.0, applied.0].map(|number| number as i64);
        let damaged = i64::from(damaged);
        self.states
            .push([node, group, at, role, term, leader, last, commit, applied, part, damaged]);
    }

    fn begin(&mut self, node: NodeId, span: Span, at: i64, text: &str) {
        let text = self.texts.of(text);
        self.open.entry((self.nodes[&node], span)).or_insert((at, text));
    }

    fn end(&mut self, node: NodeId, span: Span, at: i64) {
        let node = self.nodes[&node];
        if let Some((since, text)) = self.open.remove(&(node, span)) {
            self.spans.push((span as u8, node, since, at, text));
        }
    }

    /// Ends what is over and begins what is new of those who are cut off.
    fn cuts(&mut self, at: i64, cuts: &BTreeSet<(NodeId, NodeId)>) {
        let nodes: Vec<NodeId> = self.nodes.keys().copied().collect();
        for node in nodes {
            let others = |to: bool| {
                let pairs = cuts.iter().map(|(a, b)| if to { (b, a) } else { (a, b) });
                let others = pairs.filter(|(own, other)| **own == node && **other != node);
                others.map(|(_, other)| other.to_string()).collect::<Vec<_>>().join(", ")
            };
            let (hears, reaches) = (others(true), others(false));
            let text = match (hears.is_empty(), reaches.is_empty()) {
                (true, true) => String::new(),
                _ if hears == reaches => format!("cut off from node {hears}"),
                (false, true) => format!("hears nothing of node {hears}"),
                (true, false) => format!("does not reach node {reaches}"),
                _ => format!("hears nothing of node {hears}, does not reach node {reaches}"),
            };
            let place = (self.nodes[&node], Span::CutOff);
            let same = self.open.get(&place).map(|(_, known)| self.texts.is(*known, &text));
            if same != Some(true) {
                self.end(node, Span::CutOff, at);
                if !text.is_empty() {
                    self.begin(node, Span::CutOff, at, &text);
                }
            }
        }
    }

    /// The run is over.
    fn close(&mut self, end: i64) {
        for ((node, span), (since, text)) in std::mem::take(&mut self.open) {
            self.spans.push((span as u8, node, since, end, text));
        }
        for ask in &mut self.asks {
            ask[4] = ask[4].min(end);
        }
        for span in &mut self.spans {
            span.3 = span.3.min(end);
        }
    }

    /// Every line, in columns: times, topics, nodes, groups, clients, texts; and of messages
    /// the line, the receiver, the kind, what became of it and when.
    fn lines(&mut self, lines: &[Line]) -> Value {
        let mut before = 0;
        let mut columns: [Vec<i64>; 6] = Default::default();
        let mut flights: Vec<[i64; 5]> = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            let at = us(line.at);
            let node = line.node.and_then(|id| self.nodes.get(&id));
            let row = [
                at - before,
                line.topic as i64,
                node.map_or(-1, |place| *place as i64),
                line.group.map_or(-1, |group| place(group) as i64),
                line.client.map_or(-1, |client| client as i64),
                self.texts.of(&line.text) as i64,
            ];
            before = at;
            for (column, value) in columns.iter_mut().zip(row) {
                column.push(value);
            }
            let Some((flight, to)) =
                line.flight.and_then(|flight| Some((flight, self.nodes.get(&flight.to)?)))
            else {
                continue;
            };
            let (end, then) = match flight.end {
                End::Received(then) => (0, us(then)),
                End::Nobody(then) => (1, us(then)),
                End::CutAt(then) | End::Damaged(then) => (2, us(then)),
                End::Cut => (3, at),
                End::Lost => (4, at),
                End::Open => (5, at),
            };
            flights.push([number as i64, *to as i64, flight.kind as i64, end, then - at]);
        }
        let [at, topic, node, group, client, text] = columns;
        json!({ "at": at, "topic": topic, "node": node, "group": group, "client": client,
                "text": text, "flights": flights })
    }
}

/// Texts, each once.
#[derive(Default)]
struct Texts(BTreeMap<String, usize>);

impl Texts {
    fn of(&mut self, text: &str) -> usize {
        let next = self.0.len();
        match self.0.get(text) {
            Some(number) => *number,
            None => *self.0.entry(text.to_owned()).or_insert(next),
        }
    }

    fn is(&self, number: usize, text: &str) -> bool {
        self.0.get(text) == Some(&number)
    }

    fn into_list(self) -> Vec<String> {
        let mut list: Vec<(usize, String)> = self.0.into_iter().map(|(t, n)| (n, t)).collect();
        list.sort_unstable();
        list.into_iter().map(|(_, text)| text).collect()
    }
}

/// The nodes that have ever been there, in order, with their places.
fn nodes(recording: &Recording) -> BTreeMap<NodeId, usize> {
    let mut ids = BTreeSet::new();
    for (_, moment) in &recording.moments {
        match moment {
            Moment::Up(id) | Moment::Down(id, _) | Moment::Gone(id) | Moment::Writes(id) => {
                ids.insert(*id);
            }
            Moment::Fault { node: Some(id), .. } | Moment::Asked { node: id, .. } => {
                ids.insert(*id);
            }
            _ => {}
        }
    }
    ids.into_iter().enumerate().map(|(place, id)| (id, place)).collect()
}

fn place(group: GroupId) -> usize {
    GROUPS.iter().position(|known| *known == group).unwrap_or_default()
}

/// Whether an answer is good (0), a refusal (1), or says nothing (2).
const fn quality(told: Told) -> i64 {
    match told {
        Told::Done | Told::Unequal(..) | Told::Repeated | Told::Read(_) | Told::Opened(_) => 0,
        Told::Refused | Told::NotOpen => 1,
        Told::Unknown => 2,
    }
}

fn us(at: Instant) -> i64 {
    at.since(BEGINS).as_micros() as i64
}
