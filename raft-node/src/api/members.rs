//! Who takes part: asked and changed; and leadership handed over.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::Response;
use raft_core::{Member, MemberChange, NodeId, WhenCaughtUp};
use raft_state::{ChangeRefusal, TransferRefusal, Unheard};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Api;
use super::admission::{check_addresses_differ, renamed};
use super::answer::{ApiError, Effect, json_response};
use super::input::bad;
use super::passing_on::NotHere;
use crate::config::{Listed, MemberAddress, check_member};
use crate::{ChangeMembersError, GroupStatus, NodeHandle, RequestError, TransferError};

/// More steps make no sense in one change; it keeps a mistake small.
const MAX_STEPS: usize = 32;

/// The body of a change.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    changes: Vec<Step>,
    /// Changes the members even where so many of them are silent that nothing could be
    /// committed afterwards.
    #[serde(default)]
    dangerously_ignore_silent: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Step {
    Add(Added),
    Promote(u64),
    Demote(u64),
    Remove(u64),
    Update(Listed),
}

/// A node to be added. Fields of [`Listed`] stand here again, since serde refuses unknown
/// fields only where it sees them all.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    id: u64,
    peer: String,
    client: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "as")]
    part: Part,
    #[serde(default)]
    replaces: Option<u64>,
}

/// What a member is, or is to be once it has caught up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    #[default]
    Voter,
    Learner,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct To {
    to: Option<u64>,
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Response {
    let mut response = json_response(StatusCode::OK, &api.listed());
    response.headers_mut().insert(header::CACHE_CONTROL, super::NO_STORE);
    response
}

pub(super) async fn change(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body, _place) = api.write_of(request).await?;
    let asked: Asked = serde_json::from_slice(&body)
        .map_err(|why| bad(format!("the body is not {{\"changes\": [step, ...]}}: {why}")))?;
    let unheard =
        if asked.dangerously_ignore_silent { Unheard::DangerouslyAllow } else { Unheard::Refuse };
    let steps = steps_of(asked.changes)?;
    let attempt = |node| changed(&api, node, &steps, unheard);
    api.carried_out_by_leader(&parts, &body, attempt).await
}

pub(super) async fn transfer(
    State(api): State<Arc<Api>>,
    request: Request<Body>,
) -> Result<Response, ApiError> {
    let (parts, body, _place) = api.write_of(request).await?;
    let To { to } = match &body[..] {
        [] => To::default(),
        body => serde_json::from_slice(body)
            .map_err(|why| bad(format!("the body is not {{\"to\": id}}: {why}")))?,
    };
    let to = to.map(node_id).transpose()?;
    let attempt = |node| transferred(&api, node, to);
    api.carried_out_by_leader(&parts, &body, attempt).await
}

/// A step, as far as this node can know it: who a node to be added is, the node itself says.
#[derive(Clone, Debug)]
pub(super) enum Checked {
    Add { id: NodeId, address: MemberAddress, when_caught_up: WhenCaughtUp },
    Update { id: NodeId, address: MemberAddress },
    Other(MemberChange),
}

impl Checked {
    /// Where a member is to be reached after the step; `None` where the step leaves that.
    pub(super) const fn moves(&self) -> Option<(NodeId, &MemberAddress)> {
        match self {
            Self::Add { id, address, .. } | Self::Update { id, address } => Some((*id, address)),
            Self::Other(_) => None,
        }
    }
}

fn steps_of(steps: Vec<Step>) -> Result<Vec<Checked>, ApiError> {
    match steps.len() {
        0 => Err(bad("the change has no step")),
        1..=MAX_STEPS => steps.into_iter().map(checked).collect(),
        many => Err(bad(format!("the change has {many} steps; {MAX_STEPS} are allowed"))),
    }
}

fn checked(step: Step) -> Result<Checked, ApiError> {
    Ok(Checked::Other(match step {
        Step::Add(Added { id, peer, client, name, part, replaces }) => {
            let listed = Listed { id, peer, client, name };
            let (id, address) = check_member(listed).map_err(bad)?;
            let when_caught_up = match (part, replaces) {
                (Part::Voter, None) => WhenCaughtUp::Promote,
                (Part::Voter, Some(old)) => WhenCaughtUp::Replace(node_id(old)?),
                (Part::Learner, None) => WhenCaughtUp::Stay,
                (Part::Learner, Some(_)) => {
                    return Err(bad("who replaces a member becomes a voter, and stays no learner"));
                }
            };
            return Ok(Checked::Add { id, address, when_caught_up });
        }
        Step::Promote(id) => MemberChange::Promote { id: node_id(id)? },
        Step::Demote(id) => MemberChange::Demote { id: node_id(id)? },
        Step::Remove(id) => MemberChange::Remove { id: node_id(id)? },
        Step::Update(listed) => {
            let (id, address) = check_member(listed).map_err(bad)?;
            return Ok(Checked::Update { id, address });
        }
    }))
}

fn node_id(id: u64) -> Result<NodeId, ApiError> {
    NodeId::new(id).ok_or_else(|| bad("0 is no node's id"))
}

/// Changes the members, where this node leads.
async fn changed(
    api: &Api,
    node: NodeHandle,
    steps: &[Checked],
    unheard: Unheard,
) -> Result<Value, NotHere> {
    let group = api.state.group;
    let status = node.status(group).unwrap_or_default();
    if status.leader != Some(api.state.me) {
        return Err(NotHere::Elsewhere(status.leader));
    }
    check_addresses_differ(&status.members, steps)?;
    let mut changes = Vec::with_capacity(steps.len());
    for step in steps {
        changes.push(match step {
            Checked::Other(change) => change.clone(),
            Checked::Update { id, address } => {
                let known = status.members.members().get(id);
                if let (Some(member), Unheard::Refuse) = (known, unheard) {
                    api.check_moved(*id, member, address).await?;
                }
                let data = renamed(address, known).to_data();
                MemberChange::Update { id: *id, data }
            }
            Checked::Add { id, address, when_caught_up } => {
                let incarnation = api.incarnation_of(*id, address).await?;
                let (data, when_caught_up) = (address.to_data(), *when_caught_up);
                let member = Member { incarnation, data, when_caught_up };
                MemberChange::AddLearner { id: *id, member }
            }
        });
    }
    match node.change_members(group, changes, unheard).await {
        Ok(index) => Ok(json!({ "index": index.0 })),
        Err(ChangeMembersError::Request(why)) => Err(not_here(&why)),
        Err(ChangeMembersError::Refused(why)) => Err(refused_change(&why)),
    }
}

/// Hands leadership over, where this node has it, and waits until somebody else does.
async fn transferred(api: &Api, node: NodeHandle, to: Option<NodeId>) -> Result<Value, NotHere> {
    let group = api.state.group;
    match node.transfer(group, to).await {
        Ok(()) => {}
        Err(TransferError::Request(why)) => return Err(not_here(&why)),
        Err(TransferError::Refused(TransferRefusal::AlreadyLeads(id))) => {
            return Ok(json!({ "leader": id.get() }));
        }
        Err(TransferError::Refused(why)) => {
            return Err(conflict(why.to_string(), "transfer_refused"));
        }
        Err(why @ TransferError::TimedOut) => {
            return Err(conflict(why.to_string(), "transfer_timed_out"));
        }
    }
    let leader = node.led_by_another(group, api.state.me).await;
    Ok(json!({ "leader": leader.get() }))
}

fn not_here(why: &RequestError) -> NotHere {
    match why {
        RequestError::NotLeader { leader } => NotHere::Elsewhere(*leader),
        RequestError::Overloaded => NotHere::NotYet(why.to_string()),
        _ => NotHere::Never(ApiError::of(why, Effect::Write)),
    }
}

fn refused_change(why: &ChangeRefusal) -> NotHere {
    let text = why.to_string();
    match why {
        ChangeRefusal::NotLeader { leader } => NotHere::Elsewhere(*leader),
        ChangeRefusal::NoCommitInTerm | ChangeRefusal::Transferring => NotHere::NotYet(text),
        ChangeRefusal::InFlight { .. } => conflict(text, "change_under_way"),
        ChangeRefusal::Behind { .. } => conflict(text, "behind"),
        ChangeRefusal::Unheard { .. } => {
            let how = "dangerously_ignore_silent makes the change all the same";
            conflict(format!("{text}; {how}"), "silent")
        }
        ChangeRefusal::Invalid(_) => conflict(text, "invalid"),
    }
}

pub(super) fn conflict(why: String, reason: &str) -> NotHere {
    let error = ApiError::refused(StatusCode::CONFLICT, why);
    NotHere::Never(error.with(json!({ "reason": reason })))
}

impl Api {
    /// The members, as this node knows them.
    fn listed(&self) -> Value {
        let status = self.state.node.status(self.state.group).unwrap_or_default();
        let members = status.members.members().iter();
        let members: Vec<Value> =
            members.map(|(id, member)| listed_member(&status, *id, member)).collect();
        json!({
            "index": status.members_index.0,
            "joint": status.members.is_joint(),
            "leader": status.leader.map(NodeId::get),
            "last": status.last.0,
            "members": members,
        })
    }
}

fn listed_member(status: &GroupStatus, id: NodeId, member: &Member) -> Value {
    let membership = &status.members;
    let address = MemberAddress::from_data(&member.data);
    let address = address.as_ref();
    let part = if membership.voters().contains(&id) {
        Some(Part::Voter)
    } else {
        membership.learners().contains(&id).then_some(Part::Learner)
    };
    let replaces = match member.when_caught_up {
        WhenCaughtUp::Replace(old) => Some(old.get()),
        WhenCaughtUp::Stay | WhenCaughtUp::Promote => None,
    };
    let progress = status.peers.iter().find(|peer| peer.id == id);
    json!({
        "id": id.get(),
        "as": part,
        "outgoing": membership.outgoing().contains(&id),
        "promoted_when_caught_up": member.when_caught_up != WhenCaughtUp::Stay,
        "replaces": replaces,
        "name": address.and_then(|address| address.name.as_ref()),
        "peer": address.map(|address| &address.peer),
        "client": address.map(|address| &address.client),
        "incarnation": member.incarnation.to_string(),
        "match": progress.map(|peer| peer.matched.0),
        "heard_ms": progress.and_then(|peer| peer.heard).map(super::status::milliseconds),
    })
}
