//! A recording told line by line, in plain words.

use std::collections::BTreeMap;

use raft_core::{GroupId, Instant, NodeId};
use raft_state::RoleName;

use super::clients::Told;
use super::recording::{Arrival, Message, Moment, Part, Power, Recording, State, Taken};
use super::said::{Kind, Said};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// What goes wrong on purpose, processes that start and end, and the last line.
    Faults,
    /// Who leads, who follows and who stands for election.
    Roles,
    /// Commits, and what is applied.
    Log,
    /// What clients ask and are told.
    Clients,
    /// Messages.
    Messages,
    /// Writes and syncs of the logs.
    Disk,
    /// Everything else: changes of the members, transfers, troubles.
    Notes,
}

impl Topic {
    /// Every topic.
    pub const ALL: [Self; 7] = [
        Self::Faults,
        Self::Roles,
        Self::Log,
        Self::Clients,
        Self::Messages,
        Self::Disk,
        Self::Notes,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Roles => "roles",
            Self::Log => "log",
            Self::Clients => "clients",
            Self::Messages => "messages",
            Self::Disk => "disk",
            Self::Notes => "notes",
        }
    }
}

/// One line of the story.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: Instant,
    pub(super) topic: Topic,
    pub(super) node: Option<NodeId>,
    pub(super) group: Option<GroupId>,
    pub(super) client: Option<usize>,
    pub(super) text: String,
    pub(super) flight: Option<Flight>,
}

/// A message on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight {
    pub(super) to: NodeId,
    pub(super) kind: Kind,
    pub(super) end: End,
}

/// Where a message ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Received(Instant),
    Nobody(Instant),
    CutAt(Instant),
    Damaged(Instant),
    Cut,
    Lost,
    /// The run was over before it arrived.
    Open,
}

/// Tells a whole recording.
pub(super) fn tell(recording: &Recording) -> Vec<Line> {
    let mut teller = Teller { arrivals: recording.arrivals(), ..Teller::default() };
    for (at, moment) in &recording.moments {
        teller.moment(*at, moment);
    }
    teller.lines
}

#[derive(Default)]
struct Teller {
    lines: Vec<Line>,
    arrivals: BTreeMap<u32, (Instant, Arrival)>,
    states: BTreeMap<(NodeId, GroupId), State>,
    asked: BTreeMap<u64, (usize, NodeId, GroupId, String)>,
}

impl Teller {
    fn line(&mut self, at: Instant, topic: Topic, node: Option<NodeId>, text: String) -> &mut Line {
        let (group, client, flight) = (None, None, None);
        self.lines.push(Line { at, topic, node, group, client, text, flight });
        let last = self.lines.len() - 1;
        &mut self.lines[last]
    }

    fn moment(&mut self, at: Instant, moment: &Moment) {
        match moment {
            Moment::Note(text) => {
                let (node, group, text) = subject(text);
                self.line(at, Topic::Notes, node, text.to_owned()).group = group;
            }
            Moment::Fault { node, text, .. } => {
                self.line(at, Topic::Faults, *node, text.clone());
            }
            Moment::Sent { message, from, to, said, taken } => {
                for said in said {
                    self.sent(at, *message, (*from, *to), said, *taken);
                }
            }
            Moment::Writes(node) => {
                self.line(at, Topic::Disk, Some(*node), "the log begins to write".to_owned());
            }
            Moment::Written(node) => {
                let text = "the log hears that its write has ended".to_owned();
                self.line(at, Topic::Disk, Some(*node), text);
            }
            Moment::Up(node) => {
                self.line(at, Topic::Faults, Some(*node), "is up".to_owned());
            }
            Moment::Down(node, power) => {
                let text = match power {
                    Power::StaysOn => "is down: its process has ended",
                    Power::Lost => "is down: its power is gone, and what was not synced",
                };
                self.line(at, Topic::Faults, Some(*node), text.to_owned());
                self.states.retain(|(id, _), _| id != node);
            }
            Moment::Gone(node) => {
                self.line(at, Topic::Faults, Some(*node), "is gone for good".to_owned());
                self.states.retain(|(id, _), _| id != node);
            }
            Moment::State(node, group, state) => self.state(at, *node, *group, *state),
            Moment::Asked { id, client, node, group, what } => {
                let text = format!("asks node {node}: {what}");
                self.asked.insert(*id, (*client, *node, *group, what.clone()));
                let line = self.line(at, Topic::Clients, None, text);
                (line.group, line.client) = (Some(*group), Some(*client));
            }
            Moment::Told { id, told } => self.told(at, *id, *told),
            Moment::End(outcome) => {
                let text = match outcome {
                    None => "the run ends, and everything has held".to_owned(),
                    Some(why) => format!("DOES NOT HOLD: {why}"),
                };
                self.line(at, Topic::Faults, None, text);
            }
            Moment::Arrives(..) | Moment::Cuts(_) => {}
        }
    }

    fn sent(
        &mut self,
        at: Instant,
        message: Message,
        (from, to): (NodeId, NodeId),
        said: &Said,
        taken: Taken,
    ) {
        let end = match (taken, self.arrivals.get(&message.0)) {
            (Taken::Cut, _) => End::Cut,
            (Taken::Lost, _) => End::Lost,
            (Taken::Yes, None) => End::Open,
            (Taken::Yes, Some((at, Arrival::Received))) => End::Received(*at),
            (Taken::Yes, Some((at, Arrival::Nobody))) => End::Nobody(*at),
            (Taken::Yes, Some((at, Arrival::Cut))) => End::CutAt(*at),
            (Taken::Yes, Some((at, Arrival::Damaged))) => End::Damaged(*at),
        };
        let after = |then: Instant| then.since(at).as_micros() as f64 / 1e3;
        let becomes = match end {
            End::Received(then) => format!("received after {:.3} ms", after(then)),
            End::Nobody(_) => "NOT RECEIVED: nobody is there".to_owned(),
            End::CutAt(_) => "NOT RECEIVED: the two were parted meanwhile".to_owned(),
            End::Damaged(_) => "NOT RECEIVED: it was damaged on its way".to_owned(),
            End::Cut => "NOT CARRIED: the two are parted".to_owned(),
            End::Lost => "LOST".to_owned(),
            End::Open => "still on its way at the end".to_owned(),
        };
        let term = said.term.map(|term| format!(", term {term}")).unwrap_or_default();
        let text = format!("to node {to}{term}: {} ({becomes})", said.text);
        let line = self.line(at, Topic::Messages, Some(from), text);
        line.group = said.group;
        line.flight = Some(Flight { to, kind: said.kind, end });
    }

    fn state(&mut self, at: Instant, node: NodeId, group: GroupId, now: State) {
        let before = self.states.insert((node, group), now);
        let mut say = |topic, text: String| {
            self.line(at, topic, Some(node), text).group = Some(group);
        };
        let stands = |state: State| (state.role, state.term, state.leader, state.part);
        if before.map(stands) != Some(stands(now)) {
            say(Topic::Roles, stand(now));
        }
        if before.is_some_and(|before| before.damaged) != now.damaged {
            let text = match now.damaged {
                true => "finds that its disk has lost a part of its log",
                false => "has got back what its disk had lost",
            };
            say(Topic::Log, text.to_owned());
        }
        let (commit, applied) = before.map_or_else(Default::default, |b| (b.commit, b.applied));
        if commit < now.commit {
            let term = now.term;
            say(Topic::Log, format!("commits up to {} (term {term})", now.commit));
        }
        if applied < now.applied {
            say(Topic::Log, format!("has applied up to {}", now.applied));
        }
    }

    fn told(&mut self, at: Instant, id: u64, told: Told) {
        let Some((client, node, group, what)) = self.asked.remove(&id) else { return };
        let line = self.line(at, Topic::Clients, None, format!("{what} -> {}", answer(told)));
        (line.group, line.client) = (Some(group), Some(client));
        line.text += &format!(" (node {node})");
    }
}

/// What a client is told, in words.
pub(super) fn answer(told: Told) -> String {
    match told {
        Told::Done => "done".to_owned(),
        Told::Repeated => "done, by an earlier attempt".to_owned(),
        Told::Unequal(Some(value), _) => format!("not done, it is {value}"),
        Told::Unequal(None, _) => "not done, nothing is there".to_owned(),
        Told::Read(Some(value)) => format!("{value}"),
        Told::Read(None) => "absent".to_owned(),
        Told::Refused => "refused".to_owned(),
        Told::Unknown => "nobody knows".to_owned(),
        Told::Opened(session) => format!("session {}", session.0),
        Told::NotOpen => "the session is gone".to_owned(),
    }
}

/// What a replica is, in words.
fn stand(state: State) -> String {
    let State { role, term, leader, part, .. } = state;
    let role = match (role, leader) {
        (RoleName::Leader, _) => format!("LEADS term {term}"),
        (RoleName::Candidate, _) => format!("stands for election in term {term}"),
        (RoleName::PreCandidate, _) => format!("in term {term} asks whether it would be elected"),
        (RoleName::Follower, Some(leader)) => format!("follows node {leader} in term {term}"),
        (RoleName::Follower, None) => format!("follows nobody yet in term {term}"),
    };
    match part {
        Part::Voter => role,
        Part::Learner => format!("{role}, as a learner"),
        Part::None => format!("{role}, no member as far as it knows"),
    }
}

/// Whom a note is about, and the rest of it.
fn subject(note: &str) -> (Option<NodeId>, Option<GroupId>, &str) {
    fn number<'t>(text: &'t str, name: &str) -> Option<(u64, &'t str)> {
        let rest = text.strip_prefix(name)?.strip_prefix(' ')?;
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some((rest[..end].parse().ok()?, rest[end..].trim_start_matches([' ', ':', ','])))
    }
    let Some((node, rest)) = number(note, "node") else { return (None, None, note) };
    match number(rest, "group") {
        Some((group, rest)) => (NodeId::new(node), Some(GroupId(group)), rest),
        None => (NodeId::new(node), None, rest),
    }
}

impl Recording {
    /// What became of each message that was not lost at once; of one that arrives twice, the
    /// first time.
    fn arrivals(&self) -> BTreeMap<u32, (Instant, Arrival)> {
        let mut arrivals = BTreeMap::new();
        for (at, moment) in &self.moments {
            if let Moment::Arrives(Message(number), arrival) = moment {
                arrivals.entry(*number).or_insert((*at, *arrival));
            }
        }
        arrivals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_whom_it_is_about() {
        let node = NodeId::new(12);
        assert_eq!(subject("node 12 stops: why"), (node, None, "stops: why"));
        assert_eq!(subject("node 12 group 2: odd"), (node, Some(GroupId(2)), "odd"));
        assert_eq!(subject("everything heals"), (None, None, "everything heals"));
        assert_eq!(subject("node is odd"), (None, None, "node is odd"));
    }
}
