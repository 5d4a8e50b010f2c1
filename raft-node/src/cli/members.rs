//! `raft-node member` and `raft-node transfer`.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use hyper::Method;
use raft_core::NodeId;
use raft_node::config::{MemberAddress, parse_member};
use serde_json::{Value, json};

use super::client::{Effect, ask, on_runtime};
use super::http::{Reply, send};
use super::{Cluster, Exit, printed, say};

/// How often is looked whether a change is complete.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often is told what is waited for.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// What to do with the members.
#[derive(Debug, Subcommand)]
pub(super) enum MemberCommand {
    /// Print who the members are, and where
    List {
        #[command(flatten)]
        cluster: Cluster,
    },
    /// Add a node that runs and waits, started with serve --join
    ///
    /// It receives the log as a learner, and becomes a voter by itself once it has caught
    /// up.
    Add {
        /// The node, as ID=PEER/CLIENT, such as 4=10.0.0.4:2380/10.0.0.4:2379
        #[arg(value_name = "NODE", value_parser = parse_member)]
        node: Node,
        /// Let it stay a learner, which receives everything and never votes
        #[arg(long)]
        learner: bool,
        /// What people call the node
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Put a node in the place of a member, which is removed
    ///
    /// The new node must run and wait, started with serve --join. It takes the place once
    /// it has caught up.
    Replace {
        /// The member to be replaced, which may be gone for good
        #[arg(value_parser = node_id)]
        old: NodeId,
        /// The new node, as ID=PEER/CLIENT
        #[arg(value_name = "NODE", value_parser = parse_member)]
        node: Node,
        /// What people call the node
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Remove a member; if it runs, it stops
    Remove {
        /// The member
        #[arg(value_parser = node_id)]
        id: NodeId,
        #[command(flatten)]
        options: Options,
    },
    /// Let a learner vote
    Promote {
        /// The learner
        #[arg(value_parser = node_id)]
        id: NodeId,
        #[command(flatten)]
        options: Options,
    },
    /// Make a voter a learner
    Demote {
        /// The voter
        #[arg(value_parser = node_id)]
        id: NodeId,
        #[command(flatten)]
        options: Options,
    },
    /// Tell the cluster where a member is reached from now on
    Update {
        /// The member, as ID=PEER/CLIENT; it must answer there already
        #[arg(value_name = "NODE", value_parser = parse_member)]
        node: Node,
        /// What people call it from now on
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        options: Options,
    },
}

/// A node with its addresses, as it is parsed from the command line.
pub(super) type Node = (NodeId, MemberAddress);

/// How a change is made.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// How long to wait until the change is complete, in milliseconds; 0 does not wait
    #[arg(long, default_value_t = 60_000)]
    wait_ms: u64,
    /// Make the change even where so many members are silent that nothing can be committed
    /// afterwards, until they are back
    #[arg(long)]
    dangerously_ignore_silent: bool,
    #[command(flatten)]
    cluster: Cluster,
}

/// When a change is complete.
#[derive(Clone, Copy, Debug)]
enum Complete {
    /// The old and the new voters do not decide together any more.
    NotJoint,
    /// And this node votes.
    Votes(NodeId),
}

/// `raft-node member`.
pub(super) fn member(command: MemberCommand) -> Exit {
    use Complete::{NotJoint, Votes};
    let add = |(id, at): &Node, name: Option<String>| json!({ "id": id.get(), "peer": at.peer, "client": at.client, "name": name });
    match command {
        MemberCommand::List { cluster } => list(&cluster),
        MemberCommand::Add { node, learner, name, options } => {
            let (mut added, id) = (add(&node, name), node.0);
            added["as"] = if learner { "learner" } else { "voter" }.into();
            let complete = if learner { NotJoint } else { Votes(id) };
            change(&options, &json!({ "add": added }), complete)
        }
        MemberCommand::Replace { old, node, name, options } => {
            let mut added = add(&node, name);
            added["replaces"] = old.get().into();
            change(&options, &json!({ "add": added }), Votes(node.0))
        }
        MemberCommand::Remove { id, options } => {
            change(&options, &json!({ "remove": id.get() }), NotJoint)
        }
        MemberCommand::Promote { id, options } => {
            change(&options, &json!({ "promote": id.get() }), Votes(id))
        }
        MemberCommand::Demote { id, options } => {
            change(&options, &json!({ "demote": id.get() }), NotJoint)
        }
        MemberCommand::Update { node, name, options } => {
            change(&options, &json!({ "update": add(&node, name) }), NotJoint)
        }
    }
}

/// `raft-node transfer`.
pub(super) fn transfer(cluster: &Cluster, to: Option<NodeId>) -> Exit {
    let body = json!({ "to": to.map(NodeId::get) }).to_string();
    match ask(cluster, &Method::POST, "/v1/transfer", &body, Effect::Write) {
        Ok(answer) => {
            say(format_args!("node {} leads", answer["leader"]));
            Exit::Done
        }
        Err(exit) => exit,
    }
}

/// The id of a node, as people write it.
pub(super) fn node_id(text: &str) -> Result<NodeId, String> {
    let id = text.parse().ok().and_then(NodeId::new);
    id.ok_or_else(|| format!("{text:?} is no node's id, which is a number from 1 on"))
}

fn change(options: &Options, step: &Value, complete: Complete) -> Exit {
    let body = json!({
        "changes": [step],
        "dangerously_ignore_silent": options.dangerously_ignore_silent,
    });
    let cluster = &options.cluster;
    let patience = Duration::from_millis(options.wait_ms);
    // Those that are asked may be those that leave; the others are known before.
    let mut looks = Looks::at(cluster);
    if !patience.is_zero() {
        looks.lists();
    }
    match ask(cluster, &Method::POST, "/v1/members", &body.to_string(), Effect::Write) {
        Ok(answer) => {
            say(format_args!("changed at index {}", answer["index"]));
            wait(&mut looks, answer["index"].as_u64().unwrap_or(0), complete, patience)
        }
        Err(exit) => exit,
    }
}

/// Waits until the change that stands at `index` is complete.
fn wait(looks: &mut Looks, index: u64, complete: Complete, patience: Duration) -> Exit {
    let began = Instant::now();
    let mut told = began;
    loop {
        if patience.is_zero() {
            return Exit::Done;
        }
        let lists = looks.lists();
        let newest = lists.iter().max_by_key(|list| list["index"].as_u64());
        let list = newest.filter(|list| list["index"].as_u64() >= Some(index));
        if list.is_some_and(|list| is_complete(list, complete)) {
            if let Complete::Votes(id) = complete {
                say(format_args!("node {id} is a voter"));
            }
            return Exit::Done;
        }
        let over = began.elapsed() >= patience;
        if over || told.elapsed() >= TELL_EVERY {
            told = Instant::now();
            say(format_args!("waiting: {}", waits_for(&lists, complete)));
        }
        if over {
            say("raft-node: the change is made and not complete; it goes on by itself");
            return Exit::Unknown;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn is_complete(list: &Value, complete: Complete) -> bool {
    let settled = list["joint"] == false;
    match complete {
        Complete::NotJoint => settled,
        Complete::Votes(id) => settled && member_of(list, id)["as"] == "voter",
    }
}

fn waits_for(lists: &[Value], complete: Complete) -> String {
    if lists.is_empty() {
        return "none of the nodes that are known answers".to_owned();
    }
    let Complete::Votes(id) = complete else {
        return "the old and the new voters still decide together".to_owned();
    };
    let mut known = lists.iter().map(|list| (list, member_of(list, id)));
    let led = known.find(|(_, member)| member["match"].is_u64());
    led.map_or_else(
        || format!("node {id} does not vote yet"),
        |(list, member)| {
            format!("node {id} holds the log up to {} of {}", member["match"], list["last"])
        },
    )
}

fn member_of(list: &Value, id: NodeId) -> &Value {
    let members = list["members"].as_array().map_or(&[][..], Vec::as_slice);
    members.iter().find(|member| member["id"] == id.get()).unwrap_or(&Value::Null)
}

/// Where is looked: at the endpoints that were named, and at all members that were seen.
struct Looks {
    endpoints: BTreeSet<String>,
    timeout: Duration,
}

impl Looks {
    fn at(cluster: &Cluster) -> Self {
        let endpoints = cluster.endpoints.iter().cloned().collect();
        Self { endpoints, timeout: Duration::from_millis(cluster.timeout_ms) }
    }

    /// What each node that answers knows of the members.
    fn lists(&mut self) -> Vec<Value> {
        let timeout = self.timeout;
        let ask = |endpoint: &String| {
            let request = send(endpoint, Method::GET, "/v1/members", String::new(), timeout);
            match on_runtime(request) {
                Ok(Reply::Answered { status: 200, body }) => Some(body),
                _ => None,
            }
        };
        let lists: Vec<Value> = self.endpoints.iter().filter_map(ask).collect();
        let members = lists.iter().filter_map(|list| list["members"].as_array()).flatten();
        let clients = members.filter_map(|member| member["client"].as_str());
        self.endpoints.extend(clients.map(ToOwned::to_owned));
        lists
    }
}

fn list(cluster: &Cluster) -> Exit {
    let answer = match ask(cluster, &Method::GET, "/v1/members", "", Effect::Read) {
        Ok(answer) => answer,
        Err(exit) => return exit,
    };
    let mut text = line(&["NODE", "AS", "PEER", "CLIENT", "NAME", ""]);
    let members = answer["members"].as_array().map_or(&[][..], Vec::as_slice);
    for member in members {
        let field = |name: &str| match &member[name] {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        let notes = notes(member, &answer["leader"]);
        let fields = ["id", "as", "peer", "client", "name"].map(field);
        let [id, part, peer, client, name] = fields.each_ref().map(|field| &field[..]);
        text = format!("{text}\n{}", line(&[id, part, peer, client, name, &notes]));
    }
    printed(writeln!(std::io::stdout(), "{text}"))
}

/// What else is to be said of a member.
fn notes(member: &Value, leader: &Value) -> String {
    let mut notes = Vec::new();
    if member["id"] == *leader {
        notes.push("leads".to_owned());
    }
    if member["outgoing"] == true {
        notes.push("votes until the change under way is complete".to_owned());
    }
    match (&member["promoted_when_caught_up"], member["replaces"].as_u64()) {
        (_, Some(old)) => notes.push(format!("replaces node {old} once it has caught up")),
        (Value::Bool(true), None) => notes.push("votes once it has caught up".to_owned()),
        _ => {}
    }
    notes.join(", ")
}

fn line([node, part, peer, client, name, notes]: &[&str; 6]) -> String {
    let line = format!("{node:>6} {part:<8} {peer:<22} {client:<22} {name:<10} {notes}");
    line.trim_end().to_owned()
}
