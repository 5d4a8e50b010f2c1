//! Changing who takes part in a group, and handing its leadership over.

use raft_core::{GroupId, Index, MemberChange, NodeId};
use raft_state::{ChangeRefusal, TransferOutcome, TransferRefusal, Unheard};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::handle::{NodeHandle, Request, RequestError};

/// How often is looked for the leader that takes over.
#[cfg(feature = "server")]
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(5);

/// Why the members of a group were not changed, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeMembersError {
    /// As for any request; [`crate::Outcome::of`] says whether it may have happened. Where
    /// another node leads, ask that one: changes are not passed on.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The leader refuses; nothing happened.
    #[error(transparent)]
    Refused(ChangeRefusal),
}

/// Why leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TransferError {
    /// As for any request. Where another node leads, ask that one.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The leader refuses; nothing happened.
    #[error(transparent)]
    Refused(TransferRefusal),
    /// Nobody took it over within an election timeout, and this node still leads.
    #[error("nobody took the leadership over within an election timeout; this node still leads")]
    TimedOut,
}

impl NodeHandle {
    /// Changes who takes part in a group, in steps that happen together, and waits until
    /// that is committed; returns where it stands in the log. Only the leader can do so.
    /// Where more than one voter changes at once, both the old and the new voters decide
    /// for a moment more (Raft thesis, section 4.3); that ends by itself.
    ///
    /// # Errors
    /// [`ChangeMembersError`].
    pub async fn change_members(
        &self,
        group: GroupId,
        changes: Vec<MemberChange>,
        unheard: Unheard,
    ) -> Result<Index, ChangeMembersError> {
        let place = self.place(0)?;
        let (answer, answered) = oneshot::channel();
        self.send(Request::Change { group, changes, unheard, answer, place })?;
        answered.await.unwrap_or_else(|_| Err(RequestError::Stopped.into()))
    }

    /// Hands the leadership of a group over to `to`, or to whoever is best placed, and
    /// waits until this node leads no more; that takes an election timeout at most, in which
    /// no command is taken.
    ///
    /// # Errors
    /// [`TransferError`].
    pub async fn transfer(&self, group: GroupId, to: Option<NodeId>) -> Result<(), TransferError> {
        let place = self.place(0)?;
        let (answer, answered) = oneshot::channel();
        self.send(Request::Transfer { group, to, answer, place })?;
        answered.await.unwrap_or_else(|_| Err(RequestError::Stopped.into()))
    }

    /// Waits until another node than `me` leads a group, as far as is known here.
    #[cfg(feature = "server")]
    pub(crate) async fn led_by_another(&self, group: GroupId, me: NodeId) -> NodeId {
        loop {
            match self.status(group).and_then(|status| status.leader) {
                Some(leader) if leader != me => return leader,
                _ => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Lets this node stand for the leadership of a group now. A leader that is heard is
    /// not deposed by that.
    ///
    /// # Errors
    /// Where the request was not taken in.
    pub fn campaign(&self, group: GroupId) -> Result<(), RequestError> {
        self.send(Request::Campaign { group })
    }
}

impl From<ChangeRefusal> for ChangeMembersError {
    fn from(why: ChangeRefusal) -> Self {
        match why {
            ChangeRefusal::NotLeader { leader } => RequestError::NotLeader { leader }.into(),
            why => Self::Refused(why),
        }
    }
}

/// What the outcome of a transfer is to whoever asked for it.
pub(crate) fn transferred(outcome: TransferOutcome) -> Result<(), TransferError> {
    match outcome {
        TransferOutcome::SteppedDown => Ok(()),
        TransferOutcome::TimedOut => Err(TransferError::TimedOut),
        TransferOutcome::Refused(TransferRefusal::NotLeader { leader }) => {
            Err(RequestError::NotLeader { leader }.into())
        }
        TransferOutcome::Refused(why) => Err(TransferError::Refused(why)),
    }
}
