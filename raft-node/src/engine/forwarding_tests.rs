//! Requests passed on between nodes. Node 1 is real; its peers are played.

use raft_core::{Forward, ForwardOutcome, ForwardReply};

use super::*;

const ASKER_BOOT: Boot = Boot(55);

fn proposal(n: u64, word: &'static str) -> Proposal {
    Proposal { id: ProposalId(n), payload: Bytes::from_static(word.as_bytes()) }
}

impl Node {
    /// A follower of node 2 in term 1 that has heard its run.
    fn following() -> Self {
        let mut node = Self::new();
        node.append(1, Position::ZERO, &["a"], 1);
        node.sent.clear();
        node
    }

    /// The leader of a group of its own, in term 1, asked by others all the same.
    fn leading() -> Self {
        let mut node = Self::open(SimDisk::new(1), [1]);
        node.event(Event::Timeout);
        node.sent.clear();
        node
    }

    fn propose(&mut self, proposals: Vec<Proposal>) {
        self.event(Event::Propose { group: GROUP, proposals });
    }

    fn read(&mut self, n: u64) {
        self.event(Event::Read { group: GROUP, ids: vec![ReadId(n)] });
    }

    fn forwarded(&self) -> Vec<&Forward> {
        let forwards = self.sent.iter().filter_map(|envelope| match envelope {
            Envelope::Forward(forward) => Some(forward),
            _ => None,
        });
        forwards.collect()
    }

    fn replied(&mut self) -> Vec<(u64, ForwardOutcome)> {
        let sent = std::mem::take(&mut self.sent).into_iter();
        let outcomes = sent.filter_map(|envelope| match envelope {
            Envelope::ForwardReply(reply) => {
                assert_eq!(reply.to_boot, ASKER_BOOT);
                Some(reply.outcomes)
            }
            _ => None,
        });
        outcomes.flatten().collect()
    }

    /// Node 2 answers requests that were passed on to it.
    fn told(&mut self, outcomes: &[(u64, ForwardOutcome)]) {
        let reply = ForwardReply { to_boot: self.engine.boot(), outcomes: outcomes.to_vec() };
        let envelopes = vec![Envelope::ForwardReply(reply)];
        self.event(Event::Received { from: id(2), boot: LEADER_BOOT, envelopes });
    }

    /// Node 2 passes requests on.
    fn asked(&mut self, term: u64, number: u64, words: &[&'static str], read: bool) {
        let forward = self.forward(term, number, words, read);
        self.take(forward);
    }

    fn forward(&self, term: u64, number: u64, words: &[&'static str], read: bool) -> Forward {
        let commands = words.iter().map(|word| Bytes::from_static(word.as_bytes())).collect();
        let (to_boot, group, term) = (self.engine.boot(), GROUP, Term(term));
        Forward { to_boot, group, term, number, commands, read }
    }

    fn take(&mut self, forward: Forward) {
        let envelopes = vec![Envelope::Forward(forward)];
        self.event(Event::Received { from: id(2), boot: ASKER_BOOT, envelopes });
    }
}

#[test]
fn a_follower_passes_proposals_on_and_hands_the_answers_back() {
    let mut node = Node::following();
    node.propose(vec![proposal(1, "x"), proposal(2, "y"), proposal(3, "z")]);
    let commands = ["x", "y", "z"].map(|word| Bytes::from_static(word.as_bytes())).to_vec();
    let (to_boot, number) = (LEADER_BOOT, 0);
    let forward = Forward { to_boot, group: GROUP, term: Term(1), number, commands, read: false };
    assert_eq!(node.forwarded(), [&forward], "three commands, one message");
    let (index, answer) = (Index(2), Bytes::from_static(b"ok"));
    node.told(&[
        (0, ForwardOutcome::Applied { index, answer: answer.clone() }),
        (1, ForwardOutcome::Overloaded),
        (2, ForwardOutcome::Lost),
        (2, ForwardOutcome::Overloaded),
    ]);
    let expected = [
        Answer::Applied { id: ProposalId(1), index, answer },
        Answer::ProposalRefused { id: ProposalId(2), why: Refusal::Overloaded },
        Answer::ProposalLost { id: ProposalId(3) },
    ];
    assert_eq!(node.answers, expected, "each is answered once");
}

#[test]
fn a_read_at_a_follower_waits_until_what_the_leader_named_is_applied_here() {
    let mut node = Node::following();
    node.read(1);
    assert!(node.forwarded()[0].read);
    node.told(&[(0, ForwardOutcome::Readable { index: Index(3) })]);
    assert_eq!(node.answers, [], "1 is applied");
    node.append(1, Position::new(1, 1), &["b", "c"], 2);
    assert_eq!(node.answers, []);
    node.append(1, Position::new(1, 3), &[], 3);
    assert_eq!(node.answers, [Answer::ReadReady { id: ReadId(1), index: Index(3) }]);
}

#[test]
fn a_read_does_not_wait_for_ever_for_what_may_never_be_applied_here() {
    let mut node = Node::following();
    let named = |index| ForwardOutcome::Readable { index: Index(index) };
    node.read(1);
    node.told(&[(0, named(2))]);
    let patience = EngineConfig::default().forward_timeout;
    let half = patience / 2;
    node.now = node.now.after(half);
    node.read(2);
    node.told(&[(1, named(3))]);
    node.read(3);
    node.told(&[(2, named(1))]);
    let ready = |id, index| Answer::ReadReady { id: ReadId(id), index: Index(index) };
    assert_eq!(node.answers, [ready(3, 1)], "1 is applied");
    node.append(1, Position::new(1, 1), &["b"], 2);
    assert_eq!(node.answers[1..], [ready(1, 2)]);
    node.now = node.now.after(half);
    node.event(Event::Timeout);
    assert_eq!(node.answers.len(), 2, "3 has half of the time left");
    node.now = node.now.after(half);
    node.event(Event::Timeout);
    let why = Refusal::NotLeader { leader: None };
    assert_eq!(node.answers[2..], [Answer::ReadRefused { id: ReadId(2), why }]);
    assert_eq!(node.engine.view(GROUP).unwrap().figures.waiting_reads, 0);
    node.append(1, Position::new(1, 2), &["c"], 3);
    assert_eq!(node.answers.len(), 3, "it is answered once");
}

#[test]
fn a_leader_takes_a_request_once_however_often_it_comes() {
    let mut node = Node::leading();
    node.asked(1, 0, &["a", "b"], true);
    let applied = |number, index, answer: &'static str| {
        let (index, answer) = (Index(index), Bytes::from_static(answer.as_bytes()));
        (number, ForwardOutcome::Applied { index, answer })
    };
    let mut replied = node.replied();
    replied.sort_by_key(|(number, _)| *number);
    let readable = (2, ForwardOutcome::Readable { index: Index(1) });
    assert_eq!(replied, [applied(0, 2, "a"), applied(1, 3, "ab"), readable]);
    node.asked(1, 0, &["a", "b"], true);
    node.asked(1, 2, &["late"], false);
    assert_eq!((node.replied(), node.words()), (vec![], "ab".to_owned()));
    node.asked(1, 3, &["c"], false);
    assert_eq!(node.replied(), [applied(3, 4, "abc")]);
}

#[test]
fn what_an_earlier_run_passed_on_is_not_taken_again_when_it_comes_late() {
    let mut node = Node::leading();
    let forward = node.forward(1, 0, &["a"], false);
    let other_run = |forward: &Forward| Event::Received {
        from: id(2),
        boot: Boot(56),
        envelopes: vec![Envelope::Forward(forward.clone())],
    };
    node.take(forward.clone());
    node.event(other_run(&forward));
    assert_eq!(node.words(), "aa", "two runs, each with a first request");
    node.take(forward.clone());
    node.event(other_run(&forward));
    assert_eq!(node.words(), "aa");
}

#[test]
fn a_request_for_an_earlier_run_is_not_answered_for_that_run_may_have_taken_it() {
    let node = Node::leading();
    let old = node.forward(1, 0, &["a"], false);
    let mut node = node.restart();
    node.event(Event::Timeout);
    node.sent.clear();
    node.take(old);
    assert_eq!((node.replied(), node.words()), (vec![], String::new()));
}

#[test]
fn who_does_not_lead_in_that_term_refuses() {
    let mut node = Node::following();
    node.asked(1, 0, &["a"], true);
    let refused = ForwardOutcome::NotLeader { leader: NodeId::new(2) };
    let mut replied = node.replied();
    replied.sort_by_key(|(number, _)| *number);
    assert_eq!(replied, [(0, refused.clone()), (1, refused)]);
    let mut node = Node::leading();
    node.asked(7, 0, &["a"], false);
    let refused = ForwardOutcome::NotLeader { leader: NodeId::new(1) };
    assert_eq!((node.replied(), node.words()), (vec![(0, refused)], String::new()));
}

#[test]
fn another_leader_makes_commands_unknown_and_reads_refused() {
    let mut node = Node::following();
    node.propose(vec![proposal(1, "x")]);
    node.read(2);
    let (from, to) = (id(3), id(1));
    let body = Body::Append {
        token: Token::default(),
        prev: Position::new(1, 1),
        entries: Vec::new(),
        commit: Index(1),
    };
    let message = Message::new(GROUP, from, to, Term(2), body);
    let envelopes = vec![Envelope::Group(message)];
    node.event(Event::Received { from, boot: Boot(3), envelopes });
    let why = Refusal::NotLeader { leader: None };
    let expected =
        [Answer::ProposalLost { id: ProposalId(1) }, Answer::ReadRefused { id: ReadId(2), why }];
    assert_eq!(node.answers, expected);
    let answer = Bytes::from_static(b"late");
    node.told(&[(0, ForwardOutcome::Applied { index: Index(2), answer })]);
    assert_eq!(node.answers, expected, "the late answer changes nothing");
}

#[test]
fn an_answer_that_never_comes_is_not_waited_for_for_ever() {
    let mut node = Node::following();
    node.propose(vec![proposal(1, "x")]);
    node.read(2);
    let patience = EngineConfig::default().forward_timeout;
    assert!(node.engine.deadline() <= node.now.after(patience));
    node.now = node.now.after(EngineConfig::default().replica.election_timeout);
    node.event(Event::Timeout);
    let why = Refusal::NotLeader { leader: None };
    let refused = Answer::ReadRefused { id: ReadId(2), why };
    assert_eq!(node.answers, [refused], "a question may be asked again");
    node.now = node.now.after(patience);
    node.event(Event::Timeout);
    let lost = Answer::ProposalLost { id: ProposalId(1) };
    assert!(node.answers.contains(&lost), "{:?}", node.answers);
    assert_eq!(node.answers.len(), 2);
}

#[test]
fn what_is_under_way_is_bounded_and_more_is_refused_at_once() {
    let mut node = Node::following();
    let large = Bytes::from(vec![b'x'; EngineConfig::default().max_forwarded_bytes]);
    node.propose(vec![Proposal { id: ProposalId(1), payload: large }, proposal(2, "y")]);
    let refused = Answer::ProposalRefused { id: ProposalId(2), why: Refusal::Overloaded };
    assert_eq!(node.answers, [refused]);
    let refused = |node: &Node| node.engine.view(GROUP).unwrap().figures.refused_overloaded;
    assert_eq!(refused(&node), 1);
    node.told(&[(0, ForwardOutcome::Overloaded)]);
    assert_eq!(refused(&node), 1, "what the leader refused is in its own figures");
    node.propose(vec![proposal(3, "y")]);
    assert_eq!(node.forwarded().len(), 2, "there is room again");
}

#[test]
fn where_nothing_is_passed_on_a_follower_refuses_at_once_and_names_the_leader() {
    let without = |config: &mut EngineConfig| config.forward = false;
    let mut node = Node::open_as(SimDisk::new(1), [1, 2, 3], Words::default(), without);
    node.append(1, Position::ZERO, &["a"], 1);
    node.sent.clear();
    node.propose(vec![proposal(1, "x")]);
    node.read(2);
    let why = Refusal::NotLeader { leader: NodeId::new(2) };
    let refused = [
        Answer::ProposalRefused { id: ProposalId(1), why },
        Answer::ReadRefused { id: ReadId(2), why },
    ];
    assert_eq!((&node.answers[..], node.forwarded()), (&refused[..], vec![]));
}

/// A leader of three, which was passed a command and a read that nobody has confirmed.
fn asked_in_vain() -> Node {
    let mut node = Node::new();
    node.win_election();
    node.sent.clear();
    node.asked(1, 0, &["a"], true);
    assert_eq!(node.replied(), []);
    node
}

/// What must have been said once that node has stopped: the command may yet be committed
/// by the next leader.
fn assert_given_up(mut node: Node) {
    let mut replied = node.replied();
    replied.sort_by_key(|(number, _)| *number);
    let refused = ForwardOutcome::NotLeader { leader: None };
    assert_eq!(replied, [(0, ForwardOutcome::Lost), (1, refused)]);
    assert_eq!(node.answers, [], "none of it is for a client of this node");
}

#[test]
fn a_group_that_halts_answers_what_other_nodes_have_passed_on() {
    let mut node = asked_in_vain();
    let why = "the disk is gone".to_owned();
    node.event(Event::Machine(MachineDone::Failed { group: GROUP, why }));
    assert_given_up(node);
}

#[test]
fn a_node_that_stops_answers_what_other_nodes_have_passed_on() {
    let mut node = asked_in_vain();
    node.engine.close(node.now);
    node.carry_out(&mut Vec::new());
    assert_given_up(node);
}
