use std::sync::Arc;

use raft_core::{ClusterId, Incarnation, Index, Member, MemberChange, Membership, WhenCaughtUp};
use raft_rpc::grpc::{Identification, IdentityProvider, serve_identity};
use raft_state::ChangeRefusal;
use serde_json::json;
use tokio::net::TcpListener;

use super::test_node::{Answer, Engine, GROUP, Node, cluster, id, not_leader, start};
use crate::GroupStatus;
use crate::config::MemberAddress;

/// Makes `node` say that `leader` leads, and that the voters are 1 and 2.
fn led(node: &Node, leader: Option<u64>) {
    let address = |n: u64| MemberAddress {
        peer: format!("10.0.0.{n}:2380"),
        client: format!("10.0.0.{n}:2379"),
        name: None,
    };
    let member = |n| {
        let (incarnation, data) = (Incarnation(n), address(n).to_data());
        (id(n), Member { incarnation, data, ..Member::default() })
    };
    let members = [member(1), member(2)].into();
    let members = Membership::new([id(1), id(2)].into(), [].into(), [].into(), members).unwrap();
    let status = GroupStatus {
        leader: leader.map(id),
        members: Arc::new(members),
        members_index: Index(3),
        ..GroupStatus::default()
    };
    node.statuses.write().unwrap().insert(GROUP, status);
}

/// As [`led`], where the members' addresses are those that the nodes were started with.
fn led_by_reachable(nodes: &[Node], leader: u64) {
    for node in nodes {
        let status = GroupStatus { leader: Some(id(leader)), ..GroupStatus::default() };
        node.statuses.write().unwrap().insert(GROUP, status);
    }
}

async fn post(node: &Node, path: &str, body: &str) -> Answer {
    node.ask(&format!("POST {path} HTTP/1.1\n\n{body}")).await
}

fn says(answer: &Answer, status: u16, text: &str) {
    let error = answer.body["error"].as_str().unwrap_or_default();
    assert!(answer.status == status && error.contains(text), "{text}: {answer:?}");
}

#[tokio::test]
async fn the_members_are_listed_with_where_they_are() {
    let node = start(1000).await;
    led(&node, Some(2));
    let answer = node.ask("GET /v1/members HTTP/1.1").await;
    assert_eq!((answer.status, &answer.body["leader"]), (200, &json!(2)));
    assert_eq!((&answer.body["index"], &answer.body["joint"]), (&json!(3), &json!(false)));
    let first = &answer.body["members"][0];
    assert_eq!((&first["id"], &first["as"]), (&json!(1), &json!("voter")));
    assert_eq!((&first["peer"], &first["outgoing"]), (&json!("10.0.0.1:2380"), &json!(false)));
}

#[tokio::test]
async fn a_change_that_makes_no_sense_is_refused_with_what_is_wrong() {
    let node = start(1000).await;
    led(&node, Some(1));
    let add = |rest: &str| format!(r#"{{"changes": [{{"add": {{"id": 4, {rest}}}}}]}}"#);
    let bad = [
        ("{}".to_owned(), "changes"),
        (r#"{"changes": []}"#.to_owned(), "no step"),
        (r#"{"changes": [{"remove": 0}]}"#.to_owned(), "no node's id"),
        (r#"{"changes": [{"drop": 1}]}"#.to_owned(), "drop"),
        (format!(r#"{{"changes": [{}]}}"#, [r#"{"remove": 1}"#; 33].join(",")), "33 steps"),
        (add(r#""peer": "a", "client": "a:1""#), "host:port"),
        (add(r#""peer": "a:1", "client": "a:2", "as": "king""#), "king"),
        (add(r#""peer": "a:1", "client": "a:2", "as": "learner", "replaces": 1"#), "stays"),
        (add(r#""peer": "a:1", "client": "a:2", "extra": 1"#), "extra"),
    ];
    for (body, why) in &bad {
        says(&post(&node, "/v1/members", body).await, 400, why);
    }
    says(&post(&node, "/v1/members?x=1", "{}").await, 400, "x");
    says(&post(&node, "/v1/transfer", r#"{"to": "me"}"#).await, 400, "to");
    says(&post(&node, "/v1/transfer", r#"{"to": 0}"#).await, 400, "no node's id");
    assert_eq!(*node.served.lock().unwrap(), 0, "none of it came to the engine");
}

#[tokio::test]
async fn what_only_the_leader_does_is_passed_on_to_it() {
    let engines = [Engine::Leads, not_leader(Some(1))];
    let nodes = cluster(engines, 1000).await;
    led_by_reachable(&nodes, 1);
    let answer = post(&nodes[1], "/v1/members", r#"{"changes": [{"remove": 2}]}"#).await;
    assert_eq!((answer.status, &answer.body["index"]), (200, &json!(1)), "{answer:?}");
    assert_eq!(*nodes[0].served.lock().unwrap(), 1);

    // It refuses, and so it is told here.
    nodes[0].set(Engine::RefusesChange(ChangeRefusal::InFlight { at: Index(7) }));
    let answer = post(&nodes[1], "/v1/members", r#"{"changes": [{"remove": 2}]}"#).await;
    says(&answer, 409, "at index 7");
    assert_eq!(answer.body["reason"], "change_under_way");
}

#[tokio::test]
async fn two_that_take_each_other_for_the_leader_do_not_ask_in_circles() {
    let engines = [not_leader(Some(2)), not_leader(Some(1))];
    let nodes = cluster(engines, 300).await;
    led_by_reachable(&nodes[..1], 2);
    led_by_reachable(&nodes[1..], 1);
    let answer = post(&nodes[0], "/v1/members", r#"{"changes": [{"remove": 2}]}"#).await;
    says(&answer, 503, "another node seems to lead: node 1");
    assert_eq!(answer.body["outcome"], "refused");
}

/// The leader gives up first, so that whoever asked hears that nothing happened.
#[tokio::test]
async fn what_the_leader_cannot_do_in_time_is_refused_through_another_node_too() {
    let nodes = cluster([Engine::Leads, not_leader(Some(1))], 1000).await;
    led_by_reachable(&nodes, 1);
    nodes[0].set(Engine::RefusesChange(ChangeRefusal::NoCommitInTerm));
    let answer = post(&nodes[1], "/v1/members", r#"{"changes": [{"remove": 2}]}"#).await;
    says(&answer, 503, "try again");
    assert_eq!(answer.body["outcome"], "refused", "{answer:?}");
}

#[tokio::test]
async fn while_nobody_leads_it_is_tried_again_and_then_refused() {
    let node = start(300).await;
    led(&node, None);
    let answer = post(&node, "/v1/members", r#"{"changes": [{"remove": 2}]}"#).await;
    says(&answer, 503, "no leader is known");

    led(&node, Some(1));
    node.set(Engine::RefusesChange(ChangeRefusal::NoCommitInTerm));
    let answer = post(&node, "/v1/members", r#"{"changes": [{"remove": 2}]}"#).await;
    says(&answer, 503, "try again");
    assert!(*node.served.lock().unwrap() > 1, "it was tried more than once");
}

#[tokio::test]
async fn a_change_without_an_answer_is_unknown() {
    let node = start(200).await;
    led(&node, Some(1));
    node.set(Engine::NeverAnswers);
    let answer = post(&node, "/v1/members", r#"{"changes": [{"remove": 2}]}"#).await;
    assert_eq!((answer.status, &answer.body["outcome"]), (504, &json!("unknown")), "{answer:?}");
    let answer = post(&node, "/v1/transfer", "").await;
    assert_eq!((answer.status, &answer.body["outcome"]), (504, &json!("unknown")), "{answer:?}");
}

/// Answers who it is.
#[derive(Debug)]
struct Says(Identification);

impl IdentityProvider for Says {
    fn identify(&self, _asked_by: &Identification) -> Identification {
        self.0.clone()
    }
}

#[tokio::test]
async fn who_is_to_be_added_must_be_there_and_be_who_is_meant() {
    let node = start(1000).await;
    led(&node, Some(1));
    let incarnation = Some(Incarnation(77));
    let ours = Identification {
        cluster_name: "test".to_owned(),
        cluster: Some(ClusterId(5)),
        node: id(4),
        incarnation,
        members: [].into(),
    };
    let strangers = [
        (Identification { node: id(3), ..ours.clone() }, "node 3 is at"),
        (Identification { cluster: Some(ClusterId(6)), ..ours.clone() }, "another cluster"),
    ];
    let add = |peer: &str| {
        let added = json!({ "id": 4, "peer": peer, "client": "10.0.0.4:1" });
        json!({ "changes": [{ "add": added }] }).to_string()
    };
    for (stranger, why) in strangers {
        let answer = post(&node, "/v1/members", &add(&serving(stranger).await)).await;
        says(&answer, 409, why);
        assert_eq!(answer.body["reason"], "not_there");
    }
    let waiting = [
        Identification { cluster: None, ..ours.clone() },
        Identification { incarnation: None, ..ours.clone() },
    ];
    for waiting in waiting {
        let answer = post(&node, "/v1/members", &add(&serving(waiting).await)).await;
        says(&answer, 503, "has not found this cluster yet");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    says(&post(&node, "/v1/members", &add(&nobody.to_string())).await, 409, "--join");
    let taken = post(&node, "/v1/members", &add("10.0.0.2:2379")).await;
    says(&taken, 409, "is the address of node 2");
    let member_already =
        Identification { members: [(id(4), Incarnation(77))].into(), ..ours.clone() };
    let answer = post(&node, "/v1/members", &add(&serving(member_already).await)).await;
    says(&answer, 409, "takes itself for a member");

    let address = serving(ours).await;
    let answer = post(&node, "/v1/members", &add(&address)).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let asked = node.changes.lock().unwrap().clone();
    let [MemberChange::AddLearner { id: added, member }] = &asked[..] else {
        panic!("{asked:?}");
    };
    assert_eq!((*added, member.incarnation), (id(4), Incarnation(77)));
    assert_eq!(member.when_caught_up, WhenCaughtUp::Promote);
    assert_eq!(MemberAddress::from_data(&member.data).unwrap().peer, address);
}

#[tokio::test]
async fn a_member_is_said_to_have_moved_only_where_it_answers() {
    let node = start(1000).await;
    led(&node, Some(1));
    let me = |incarnation| Identification {
        cluster_name: "test".to_owned(),
        cluster: Some(ClusterId(5)),
        node: id(2),
        incarnation: Some(Incarnation(incarnation)),
        members: [].into(),
    };
    let update = |peer: &str, client: &str| {
        let moved = json!({ "id": 2, "peer": peer, "client": client });
        json!({ "changes": [{ "update": moved }] })
    };
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let body = update(&nobody, "10.0.0.4:1");
    says(&post(&node, "/v1/members", &body.to_string()).await, 409, "Connection refused");
    let wiped = serving(me(77)).await;
    let answer = post(&node, "/v1/members", &update(&wiped, "10.0.0.4:1").to_string()).await;
    says(&answer, 409, "another disk");
    let taken = update("10.0.0.1:2380", "10.0.0.4:1");
    says(&post(&node, "/v1/members", &taken.to_string()).await, 409, "is the address of node 1");
    let shared = json!({ "changes": [
        { "update": { "id": 2, "peer": "h:1", "client": "h:2" } },
        { "update": { "id": 1, "peer": "h:3", "client": "h:2" } },
    ] });
    says(&post(&node, "/v1/members", &shared.to_string()).await, 409, "h:2 is the address of");
    assert_eq!(*node.served.lock().unwrap(), 0, "none of it came to the engine");

    // There it is, or whoever asks knows better.
    let there = serving(me(2)).await;
    let moved = update(&there, "10.0.0.4:1");
    assert_eq!(post(&node, "/v1/members", &moved.to_string()).await.status, 200);
    let mut forced = body;
    forced["dangerously_ignore_silent"] = true.into();
    assert_eq!(post(&node, "/v1/members", &forced.to_string()).await.status, 200);
}

/// Serves `identification`; returns where.
async fn serving(identification: Identification) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let forever = std::future::pending::<()>();
    tokio::spawn(serve_identity(listener, Arc::new(Says(identification)), forever));
    address
}
