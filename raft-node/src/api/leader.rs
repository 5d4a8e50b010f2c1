//! Getting a request to whoever leads, within the time it has.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use raft_core::NodeId;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::{ApiError, Effect};
use super::forward::Forwarded;
use super::{Api, FORWARDED_FROM};
use crate::{NodeHandle, RequestError};

/// How long to wait before a second attempt; doubled after each, up to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(100);

/// A request that the leader must carry out, as it came.
pub(super) struct ForLeader {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
    pub(super) effect: Effect,
}

/// Who answered.
pub(super) enum Carried<T> {
    /// This node leads.
    Here(T),
    /// The leader, another node.
    There(Response),
}

impl Api {
    /// Attempts a request here, and at the leader where that is another node, until it
    /// is answered or its time is over. Tries again only where nothing can have happened.
    pub(super) async fn at_leader<T, F>(
        &self,
        request: ForLeader,
        attempt: impl Fn(NodeHandle) -> F,
    ) -> Result<Carried<T>, ApiError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let effect = request.effect;
        let mut retry = Retry::new(self.state.request_timeout, self.state.stopping.clone());
        let forwarded = self.is_forwarded(&request.parts.headers);
        loop {
            let error = match timeout_at(retry.deadline, attempt(self.state.node.clone())).await {
                Ok(Ok(answer)) => return Ok(Carried::Here(answer)),
                Ok(Err(error)) => error,
                Err(_) => return Err(ApiError::unknown(effect, retry.text("no answer"))),
            };
            let leader = match &error {
                RequestError::NotLeader { leader } if forwarded => {
                    return Err(ApiError::not_leader(*leader));
                }
                RequestError::NotLeader { leader } => *leader,
                RequestError::LeadershipLost if effect == Effect::Read => None,
                other => return Err(ApiError::of(other, effect)),
            };
            let why = match leader.filter(|leader| *leader != self.state.me) {
                Some(leader) => match self.forward(leader, &request, retry.deadline).await? {
                    Ok(response) => return Ok(Carried::There(response)),
                    Err(why) => why,
                },
                None => {
                    self.check_halted()?;
                    "no leader is known".to_owned()
                }
            };
            retry.pause(&why).await?;
        }
    }

    /// A group that has stopped here will know no leader, however long anybody waits.
    fn check_halted(&self) -> Result<(), ApiError> {
        let status = self.state.node.status(self.state.group);
        match status.and_then(|status| status.halted) {
            Some(why) => Err(ApiError::refused(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("this node has stopped serving, ask another one: {why}"),
            )),
            None => Ok(()),
        }
    }

    /// True where the request says that another member forwarded it. Only a member's id
    /// is believed; a claim that is none is an ordinary client's. A client that claims
    /// to be a member gains nothing by it: its request is refused at once where it
    /// would have been forwarded.
    fn is_forwarded(&self, headers: &HeaderMap) -> bool {
        let claim = headers.get(FORWARDED_FROM).and_then(|claim| claim.to_str().ok());
        let id = claim.and_then(|claim| claim.parse().ok()).and_then(NodeId::new);
        id.is_some_and(|id| self.state.members.contains_key(&id))
    }

    /// The leader's answer; or why there is none, where trying again is safe.
    async fn forward(
        &self,
        leader: NodeId,
        request: &ForLeader,
        deadline: Instant,
    ) -> Result<Result<Response, String>, ApiError> {
        let ForLeader { parts, body, effect, .. } = request;
        let answer = self.forwarder.forward(leader, parts, body.clone(), deadline).await;
        match answer {
            Forwarded::Answered(response) => Ok(Ok(response)),
            Forwarded::NotCarriedOut(why) => Ok(Err(why)),
            Forwarded::Unclear(why) if *effect == Effect::Read => Ok(Err(why)),
            Forwarded::Unclear(why) => Err(ApiError::unknown(*effect, why)),
        }
    }
}

/// Attempts until a deadline, with growing pauses.
struct Retry {
    timeout: Duration,
    deadline: Instant,
    pause: Duration,
    stopping: watch::Receiver<bool>,
}

impl Retry {
    fn new(timeout: Duration, stopping: watch::Receiver<bool>) -> Self {
        Self { timeout, deadline: Instant::now() + timeout, pause: FIRST_PAUSE, stopping }
    }

    /// Waits, or gives up where there is no time for another attempt, or the node stops.
    async fn pause(&mut self, why: &str) -> Result<(), ApiError> {
        let wake = (Instant::now() + self.pause).min(self.deadline);
        tokio::select! {
            () = sleep_until(wake) => {}
            Ok(_) = self.stopping.wait_for(|stopping| *stopping) => {
                let why = format!("{why}, and this node is stopping");
                return Err(ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, why));
            }
        }
        if wake == self.deadline {
            return Err(ApiError::refused(StatusCode::SERVICE_UNAVAILABLE, self.text(why)));
        }
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        Ok(())
    }

    fn text(&self, why: &str) -> String {
        format!("{why} within {} ms", self.timeout.as_millis())
    }
}
