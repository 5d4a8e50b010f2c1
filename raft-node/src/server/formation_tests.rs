use raft_core::Random;

use super::*;

fn id(n: u64) -> NodeId {
    NodeId::new(n).unwrap()
}

fn formation(me: u64, incarnation: Option<u64>) -> Formation {
    let members = [1, 2, 3].map(|n| (id(n), format!("host-{n}:1"))).into();
    Formation::new(id(me), "c".to_owned(), members, incarnation.map(Incarnation))
}

fn map(incarnations: [u64; 3]) -> BTreeMap<NodeId, Incarnation> {
    (1..).map(id).zip(incarnations.map(Incarnation)).collect()
}

/// What a node of a formed cluster says.
fn member_of(node: u64, incarnations: [u64; 3]) -> Identification {
    let members = map(incarnations);
    Identification {
        cluster_name: "c".to_owned(),
        cluster: Some(cluster_id("c", &members)),
        node: id(node),
        incarnation: Some(members[&id(node)]),
        members,
    }
}

/// What a node says that is still forming.
fn forming(node: u64, incarnation: Option<u64>) -> Identification {
    formation(node, incarnation).identification()
}

fn answers<const N: usize>(of: [Identification; N]) -> BTreeMap<NodeId, Identification> {
    of.into_iter().map(|answer| (answer.node, answer)).collect()
}

#[test]
fn three_empty_nodes_form_once_each_has_heard_all_twice() {
    let mut node = formation(1, None);
    assert_eq!(node.round(&answers([])).unwrap(), Step::Draw);
    node.drawn(Incarnation(10));
    assert_eq!(node.round(&answers([])).unwrap(), Step::Wait([2, 3].map(id).into()));
    let partly = answers([forming(2, Some(20)), forming(3, None)]);
    assert_eq!(node.round(&partly).unwrap(), Step::Wait([id(3)].into()));
    let all = answers([forming(2, Some(20)), forming(3, Some(30))]);
    assert_eq!(node.round(&all).unwrap(), Step::Confirm);
    let Step::Formed(formed) = node.round(&all).unwrap() else { panic!() };
    assert_eq!(formed.members, map([10, 20, 30]));
    assert_eq!(formed.id, cluster_id("c", &formed.members));
}

#[test]
fn a_single_member_forms_at_once() {
    let mut node =
        Formation::new(id(1), "c".to_owned(), [(id(1), "host-1:1".to_owned())].into(), None);
    assert_eq!(node.round(&answers([])).unwrap(), Step::Draw);
    node.drawn(Incarnation(10));
    assert!(matches!(node.round(&answers([])).unwrap(), Step::Formed(_)));
}

#[test]
fn a_node_that_missed_the_end_takes_over_the_map_that_names_it() {
    let mut node = formation(3, Some(30));
    let step = node.round(&answers([member_of(1, [10, 20, 30])])).unwrap();
    let Step::Formed(formed) = step else { panic!("{step:?}") };
    assert_eq!(formed.members, map([10, 20, 30]));
}

#[test]
fn a_new_disk_is_refused_where_a_cluster_exists() {
    for drawn in [None, Some(31)] {
        let mut node = formation(3, drawn);
        let error = node.round(&answers([member_of(1, [10, 20, 30])])).unwrap_err();
        assert!(matches!(error, FormationError::NewDisk { .. }), "{error:?}");
        let error = error.to_string();
        let expected = ["disk of node 3 is new", "Put back the data folder"];
        assert!(expected.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn a_node_that_missed_the_end_and_a_change_of_members_learns_them_from_the_log() {
    let grown: BTreeMap<_, _> = (1..).map(id).zip([10, 20, 30, 40].map(Incarnation)).collect();
    let told = Identification { members: grown, ..member_of(1, [10, 20, 30]) };
    let mut node = formation(3, Some(30));
    let Step::Formed(formed) = node.round(&answers([told.clone()])).unwrap() else { panic!() };
    assert_eq!((formed.id, formed.members.len()), (told.cluster.unwrap(), 0));
    // One that has not heard of the change knows the first members.
    let both = answers([told, member_of(2, [10, 20, 30])]);
    let Step::Formed(formed) = formation(3, Some(30)).round(&both).unwrap() else { panic!() };
    assert_eq!(formed.members, map([10, 20, 30]));
}

#[test]
fn who_was_never_a_member_is_told_how_to_become_one() {
    let mut stranger = member_of(1, [10, 20, 30]);
    stranger.members.remove(&id(3));
    let error = formation(3, Some(30)).round(&answers([stranger])).unwrap_err().to_string();
    assert!(error.contains("--join host-1:1") && error.contains("member add 3"), "{error}");
}

#[test]
fn a_disk_replaced_between_two_rounds_starts_the_questions_anew() {
    let mut node = formation(1, Some(10));
    let with = |third| answers([forming(2, Some(20)), forming(3, Some(third))]);
    assert_eq!(node.round(&with(30)).unwrap(), Step::Confirm);
    assert_eq!(node.round(&with(31)).unwrap(), Step::Confirm);
    let gone = answers([forming(2, Some(20))]);
    assert_eq!(node.round(&gone).unwrap(), Step::Wait([id(3)].into()));
    assert_eq!(node.round(&with(31)).unwrap(), Step::Confirm);
    assert!(matches!(node.round(&with(31)).unwrap(), Step::Formed(_)));
}

/// Nodes 1 and 2 have formed and elected while node 3 was in the middle of a round.
/// With node 1's next disk it would make a second majority.
#[test]
fn an_answer_that_grew_old_forms_no_second_cluster() {
    let mut node = formation(3, Some(30));
    let before_the_cluster = forming(2, Some(20));
    let after_the_disk_was_lost = forming(1, Some(11));
    let step = node.round(&answers([before_the_cluster, after_the_disk_was_lost])).unwrap();
    assert_eq!(step, Step::Confirm);
    let fresh = answers([member_of(2, [10, 20, 30]), forming(1, Some(11))]);
    let Step::Formed(formed) = node.round(&fresh).unwrap() else { panic!() };
    assert_eq!(formed.members, map([10, 20, 30]));
}

#[test]
fn peers_that_cannot_belong_together_are_named() {
    let error = |answer: Identification| {
        let asked = BTreeMap::from([(id(2), answer)]);
        formation(1, Some(10)).round(&asked).unwrap_err().to_string()
    };
    let base = forming(2, Some(20));
    let other = error(Identification { cluster_name: "d".to_owned(), ..base.clone() });
    assert!(other.contains("\"d\"") && other.contains("\"c\""), "{other}");
    let members = [1, 2].map(|n| (id(n), Incarnation(0))).into();
    let other = error(Identification { members, ..base });
    assert!(other.contains("the members 1 and 2,") && other.contains("1, 2 and 3"), "{other}");
    let other = error(forming(3, Some(30)));
    assert!(other.contains("of node 2, and node 3 answers there"), "{other}");
    let two = answers([member_of(2, [10, 20, 30]), member_of(3, [10, 20, 31])]);
    let error = formation(1, Some(10)).round(&two).unwrap_err();
    assert!(matches!(error, FormationError::TwoClusters(..)), "{error:?}");
}

/// Three nodes whose questions and answers interleave at random while one of them
/// loses its disk now and then.
struct World {
    random: Random,
    /// This node seldom gets to act, so that its answers grow old.
    slow: NodeId,
    /// How many of a thousand answers get lost, and of node 1's turns bring a new disk.
    lost: u64,
    wiped: u64,
    next_incarnation: u64,
    nodes: BTreeMap<NodeId, Process>,
}

struct Process {
    formation: Formation,
    formed: Option<FormedCluster>,
    refused: bool,
    to_ask: BTreeSet<NodeId>,
    answers: BTreeMap<NodeId, Identification>,
}

impl Process {
    fn on_an_empty_disk(node: NodeId) -> Self {
        let formation = formation(node.get(), None);
        let to_ask = formation.peers().collect();
        Self { formation, formed: None, refused: false, to_ask, answers: BTreeMap::new() }
    }

    fn says(&self) -> Identification {
        let formed = self.formed.clone();
        let forming = self.formation.identification();
        match formed {
            Some(FormedCluster { id, members }) => {
                Identification { cluster: Some(id), members, ..forming }
            }
            None => forming,
        }
    }
}

impl World {
    fn step(&mut self) {
        let node = id(1 + self.random.below(3));
        if node == self.slow && !self.random.chance(150) {
            return;
        }
        if node == id(1) && self.random.chance(self.wiped) {
            self.nodes.insert(node, Process::on_an_empty_disk(node));
            return;
        }
        let process = &self.nodes[&node];
        if process.refused || process.formed.is_some() {
            return;
        }
        let first = usize::from(self.random.chance(500));
        let peer = process.to_ask.iter().cycle().nth(first).copied();
        match peer {
            Some(peer) => {
                let answer = (!self.random.chance(self.lost)).then(|| self.nodes[&peer].says());
                let process = self.nodes.get_mut(&node).unwrap();
                process.to_ask.remove(&peer);
                process.answers.extend(answer.map(|answer| (peer, answer)));
            }
            None => self.end_round(node),
        }
    }

    fn end_round(&mut self, node: NodeId) {
        let process = self.nodes.get_mut(&node).unwrap();
        let answers = std::mem::take(&mut process.answers);
        process.to_ask = process.formation.peers().collect();
        match process.formation.round(&answers) {
            Ok(Step::Draw) => {
                self.next_incarnation += 1;
                process.formation.drawn(Incarnation(self.next_incarnation));
            }
            Ok(Step::Wait(_) | Step::Confirm) => {}
            Ok(Step::Formed(formed)) => process.formed = Some(formed),
            Err(_) => process.refused = true,
        }
    }

    /// The cluster in which a majority could vote now.
    fn elects(&self) -> Option<ClusterId> {
        let formed = || self.nodes.values().filter_map(|node| node.formed.as_ref());
        let voters = |of: ClusterId| formed().filter(|formed| formed.id == of).count();
        formed().map(|formed| formed.id).find(|cluster| voters(*cluster) >= 2)
    }
}

#[test]
fn however_often_one_disk_is_lost_only_one_cluster_ever_elects() {
    let (mut elected_in, mut refused_in) = (0, 0);
    for seed in 0..3000 {
        let nodes = [1, 2, 3].map(|n| (id(n), Process::on_an_empty_disk(id(n)))).into();
        let mut random = Random::new(seed);
        let slow = id(1 + random.below(3));
        let (lost, wiped) = (random.below(600), random.below(150));
        let mut world = World { random, slow, lost, wiped, next_incarnation: 0, nodes };
        let mut elected = None;
        for _ in 0..200 {
            world.step();
            let now = world.elects();
            if elected.is_some() && now.is_some() {
                assert_eq!(elected, now, "seed {seed}: a second cluster");
            }
            elected = elected.or(now);
        }
        elected_in += u32::from(elected.is_some());
        refused_in += u32::from(world.nodes.values().any(|node| node.refused));
    }
    assert!(elected_in > 1000 && refused_in > 100, "{elected_in} elected, {refused_in} refused");
}
