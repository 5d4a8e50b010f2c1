//! Getting a request carried out by whoever leads, within the time it has. The engine
//! passes requests on to another leader by itself; here is what to do while there is none.

use std::time::Duration;

use axum::http::StatusCode;
use raft_core::NodeId;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout_at};

use super::Api;
use super::answer::{ApiError, Effect};
use crate::handle::Pauses;
use crate::{NodeHandle, RequestError};

impl Api {
    /// Attempts a request until it is answered or its time is over. Tries again only
    /// where nothing can have happened, while nobody leads, mostly; or where what has
    /// happened does not happen again.
    pub(super) async fn with_leader<T, F>(
        &self,
        effect: Effect,
        attempt: impl Fn(NodeHandle) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let mut doubt = false;
        let outcome = self.attempts(effect, attempt, &mut doubt).await;
        outcome.map_err(|error| if doubt { error.in_doubt() } else { error })
    }

    /// Attempts as above. `doubt` becomes true once an attempt may have changed something.
    async fn attempts<T, F>(
        &self,
        effect: Effect,
        attempt: impl Fn(NodeHandle) -> F,
        doubt: &mut bool,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let mut retry = Retry::new(self.state.request_timeout);
        loop {
            let error =
                match timeout_at(retry.pauses.deadline, attempt(self.state.node.clone())).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) => error,
                    Err(_) => return Err(ApiError::unknown(effect, retry.text("no answer"))),
                };
            let why = match &error {
                RequestError::NotLeader { leader: Some(leader) } if !self.state.forward => {
                    return Err(self.elsewhere(*leader));
                }
                RequestError::NotLeader { leader: Some(leader) } => {
                    format!("node {leader}, which seemed to lead, did not take the request")
                }
                RequestError::NotLeader { leader: None } => {
                    self.check_halted()?;
                    self.no_leader()
                }
                RequestError::LeadershipLost if effect != Effect::Write => {
                    *doubt = effect == Effect::WriteOnce;
                    error.to_string()
                }
                RequestError::NoRoom => return Err(self.no_room(effect)),
                _ => return Err(ApiError::of(&error, effect)),
            };
            retry.pause(why, self.state.stopping.clone()).await?;
        }
    }

    /// Who leads, and where, for a client that is to ask there.
    pub(super) fn elsewhere(&self, leader: NodeId) -> ApiError {
        let members = self.members();
        let address = members.get(&leader).and_then(Option::as_ref);
        let why = format!("node {leader} leads, and this node passes nothing on: ask there");
        ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why).with(json!({
            "leader": leader.get(),
            "client": address.map(|address| &address.client),
        }))
    }

    /// That nobody leads, with who is missing once that is known.
    pub(super) fn no_leader(&self) -> String {
        match &*self.state.no_quorum.borrow() {
            Some(missing) => format!("no leader is known: {missing}"),
            None => "no leader is known".to_owned(),
        }
    }

    /// That the leader has no room, with the folder where that is this node.
    fn no_room(&self, effect: Effect) -> ApiError {
        let status = self.state.node.status(self.state.group);
        let status = status.filter(|status| status.leader == Some(self.state.me));
        match status.and_then(|status| status.no_room) {
            Some(why) => ApiError::refused(StatusCode::INSUFFICIENT_STORAGE, why),
            None => ApiError::of(&RequestError::NoRoom, effect),
        }
    }

    /// A group that has stopped here will know no leader, however long anybody waits.
    pub(super) fn check_halted(&self) -> Result<(), ApiError> {
        let status = self.state.node.status(self.state.group);
        match status.and_then(|status| status.halted) {
            Some(why) => Err(ApiError::refused(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("this node has stopped serving, ask another one: {why}"),
            )),
            None => Ok(()),
        }
    }
}

/// Attempts until a deadline, with pauses between them.
pub(super) struct Retry {
    timeout: Duration,
    pub(super) pauses: Pauses,
}

impl Retry {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, pauses: Pauses::within(timeout) }
    }

    /// Waits, or gives up where there is no time for another attempt, or the node stops.
    pub(super) async fn pause(
        &mut self,
        why: String,
        mut stopping: watch::Receiver<bool>,
    ) -> Result<(), ApiError> {
        let next = self.pauses.next_attempt();
        tokio::select! {
            () = sleep_until(next.unwrap_or(self.pauses.deadline)) => {}
            Ok(_) = stopping.wait_for(|stopping| *stopping) => {
                let why = format!("{why}, and this node is stopping");
                return Err(ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why));
            }
        }
        let over = || ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, self.text(&why));
        next.map(drop).ok_or_else(over)
    }

    pub(super) fn text(&self, why: &str) -> String {
        format!("{why} (waited {} ms)", self.timeout.as_millis())
    }
}
