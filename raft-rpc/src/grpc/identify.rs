//! Who is there? Asked before a cluster is formed, when nobody knows its id.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use raft_core::{ClusterId, Incarnation, NodeId};
use tokio::net::TcpListener;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::connect::{connect, endpoint, within};
use super::error::{TransportError, Unacceptable};
use super::generated::identity_client::IdentityClient;
use super::generated::identity_server::{Identity, IdentityServer};
use super::generated::peer_server::{Peer, PeerServer};
use super::hello::checksum_of;
use super::options::TransportOptions;
use super::server::{http_server, incoming};
use super::wire;
use crate::codec::FORMAT_VERSION;

/// What a node says about itself and its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identification {
    /// The name that people gave the cluster.
    pub cluster_name: String,
    /// The cluster, once it is formed.
    pub cluster: Option<ClusterId>,
    /// Who speaks.
    pub node: NodeId,
    /// The speaker's incarnation, once it is drawn.
    pub incarnation: Option<Incarnation>,
    /// The initial members. With their incarnations once the cluster is formed; while
    /// it is being formed those that the speaker is configured with, each with an
    /// incarnation of zero. Empty where the speaker has not begun to ask the others.
    pub members: BTreeMap<NodeId, Incarnation>,
}

/// Answers for a node. It is called on threads of the runtime and must not block.
pub trait IdentityProvider: Send + Sync + 'static {
    /// What this node says to the one that asks.
    fn identify(&self, asked_by: &Identification) -> Identification;
}

/// Asks the node at `address` (`host:port`) who it is.
///
/// # Errors
/// As [`TransportError`] says; nothing is tried again.
pub async fn identify(
    address: &str,
    request: &Identification,
    timeout: Duration,
) -> Result<Identification, TransportError> {
    let endpoint = endpoint(address)?;
    let asked = async {
        let channel = connect(address, endpoint, timeout).await?;
        let answer = IdentityClient::new(channel).identify(encode(request)).await;
        answer.map_err(|status| TransportError::of_greeting(address, status))
    };
    let answer = within(address, timeout, asked).await??.into_inner();
    decode(answer).map_err(|why| why.into_error(address))
}

/// The service that answers [`identify`], to be mounted alone or beside the peers'.
#[must_use]
pub fn identity_service(provider: Arc<dyn IdentityProvider>) -> IdentityServer<IdentityService> {
    IdentityServer::new(IdentityService { provider })
}

/// Answers [`identify`] on `listener` until `shutdown` completes: for a node that does
/// not know its cluster yet. Peers that want to talk already are told to come back.
///
/// # Errors
/// [`TransportError::Serve`] where the listener fails.
pub async fn serve_identity(
    listener: TcpListener,
    provider: Arc<dyn IdentityProvider>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), TransportError> {
    http_server(&TransportOptions::default())
        .add_service(identity_service(provider))
        .add_service(PeerServer::new(NotYet))
        .serve_with_incoming_shutdown(incoming(listener), shutdown)
        .await
        .map_err(TransportError::Serve)
}

/// Answers for one node; made by [`identity_service`].
pub struct IdentityService {
    provider: Arc<dyn IdentityProvider>,
}

#[tonic::async_trait]
impl Identity for IdentityService {
    async fn identify(
        &self,
        request: Request<wire::Identification>,
    ) -> Result<Response<wire::Identification>, Status> {
        let asked_by = decode(request.into_inner()).map_err(Unacceptable::into_status)?;
        Ok(Response::new(encode(&self.provider.identify(&asked_by))))
    }
}

/// Answers peers that have formed the cluster before this node has.
struct NotYet;

#[tonic::async_trait]
impl Peer for NotYet {
    type ExchangeStream = ReceiverStream<Result<wire::Frame, Status>>;

    async fn exchange(
        &self,
        _: Request<Streaming<wire::Frame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        Err(Status::unavailable("the node there still waits for the members of a new cluster"))
    }
}

fn encode(from: &Identification) -> wire::Identification {
    let members = from.members.iter().map(|(node, incarnation)| wire::MemberIncarnation {
        node: node.get(),
        incarnation: incarnation.0,
    });
    let mut identification = wire::Identification {
        version: FORMAT_VERSION,
        cluster_name: from.cluster_name.clone(),
        cluster: from.cluster.map_or(0, |cluster| cluster.0),
        node: from.node.get(),
        incarnation: from.incarnation.map_or(0, |incarnation| incarnation.0),
        members: members.collect(),
        checksum: 0,
    };
    identification.checksum = checksum(&identification);
    identification
}

/// What shows that an identification is as it was sent: members are written down by it.
fn checksum(of: &wire::Identification) -> u32 {
    let speaker = [u64::from(of.version), of.cluster, of.node, of.incarnation];
    let members = of.members.iter().flat_map(|member| [member.node, member.incarnation]);
    checksum_of(speaker.into_iter().chain(members), &of.cluster_name)
}

fn decode(from: wire::Identification) -> Result<Identification, Unacceptable> {
    if from.version != FORMAT_VERSION {
        return Err(Unacceptable::Unfit(format!(
            "message format {} is not known, only format {FORMAT_VERSION} is: run the same \
             version of the program on all nodes",
            from.version
        )));
    }
    let (stated, found) = (from.checksum, checksum(&from));
    if stated != found {
        return Err(Unacceptable::Damaged(format!(
            "what node {} by its words says of itself states the checksum {stated:08x} and has \
             {found:08x}",
            from.node
        )));
    }
    fitting(from).map_err(Unacceptable::Unfit)
}

/// What an identification that is as it was sent says.
fn fitting(from: wire::Identification) -> Result<Identification, String> {
    let node = |number, whose| {
        NodeId::new(number).ok_or_else(|| format!("{whose} is node 0, which names no node"))
    };
    let members = from
        .members
        .iter()
        .map(|member| Ok((node(member.node, "a member")?, Incarnation(member.incarnation))));
    Ok(Identification {
        cluster_name: from.cluster_name,
        cluster: (from.cluster != 0).then_some(ClusterId(from.cluster)),
        node: node(from.node, "the speaker")?,
        incarnation: (from.incarnation != 0).then_some(Incarnation(from.incarnation)),
        members: members.collect::<Result<_, String>>()?,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn one_flipped_bit_is_never_taken_for_what_a_node_says_of_itself() {
        let (one, two) = (NodeId::new(1).unwrap(), NodeId::new(2).unwrap());
        let says = Identification {
            cluster_name: "orders".into(),
            cluster: Some(ClusterId(7)),
            node: one,
            incarnation: Some(Incarnation(60)),
            members: [(one, Incarnation(60)), (two, Incarnation(70))].into(),
        };
        let sent = encode(&says).encode_to_vec();
        assert_eq!(decode(encode(&says)), Ok(says));
        let mut damaged = 0;
        for bit in 0..sent.len() * 8 {
            let mut bytes = sent.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // What is no message at all is refused before anybody looks at it.
            let Ok(message) = wire::Identification::decode(&bytes[..]) else { continue };
            let refused = decode(message).expect_err("a flipped bit");
            damaged += usize::from(matches!(refused, Unacceptable::Damaged(_)));
        }
        assert!(damaged > sent.len() * 4, "{damaged} of {} bits", sent.len() * 8);
    }
}
