//! The greeting: each side of a stream states who it is and whom it means.

use raft_core::{Boot, ClusterId, Incarnation, Lane, NodeId, Position};

use super::error::Unacceptable;
use super::transport::{LocalIdentity, Standing};
use super::wire;
use crate::codec::FORMAT_VERSION;

/// A greeting that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
    pub(super) boot: Boot,
    pub(super) lane: Lane,
    pub(super) standing: Standing,
}

/// What this node says to `to` when it opens or accepts a stream.
pub(super) fn hello(me: LocalIdentity, standing: Standing, lane: Lane, to: NodeId) -> wire::Hello {
    let lane = match lane {
        Lane::Control => wire::Lane::Control,
        Lane::Append => wire::Lane::Append,
        Lane::Snapshot => wire::Lane::Snapshot,
    };
    let mut hello = wire::Hello {
        version: FORMAT_VERSION,
        cluster: me.cluster.0,
        node: me.node.get(),
        boot: me.boot.0,
        lane: lane.into(),
        to: to.get(),
        incarnation: me.incarnation.0,
        address: standing.address,
        named_at: standing.named_at.index.0,
        named_at_term: standing.named_at.term.0,
        checksum: 0,
    };
    hello.checksum = checksum(&hello);
    hello
}

/// What shows that a greeting is as it was sent: all that follows on the stream is taken for
/// that run of that node.
pub(super) fn checksum(of: &wire::Hello) -> u32 {
    let numbers = [
        u64::from(of.version),
        of.cluster,
        of.node,
        of.boot,
        i64::from(of.lane).cast_unsigned(),
        of.to,
        of.incarnation,
        of.named_at,
        of.named_at_term,
    ];
    checksum_of(numbers, &of.address)
}

/// The checksum of numbers and a text, as `raft.proto` describes it.
pub(super) fn checksum_of(numbers: impl IntoIterator<Item = u64>, text: &str) -> u32 {
    let sum = numbers
        .into_iter()
        .fold(0, |sum, number| crc32c::crc32c_append(sum, &number.to_le_bytes()));
    crc32c::crc32c_append(sum, text.as_bytes())
}

/// What a frame that must be a greeting says to this node, or what is wrong with it
/// and what to do.
pub(super) fn understand(
    me: LocalIdentity,
    frame: Option<wire::Frame>,
) -> Result<Greeting, Unacceptable> {
    let my_id = me.node;
    let Some(wire::FrameContent::Hello(hello)) = frame.and_then(|frame| frame.content) else {
        let why = "the first frame of the stream is not a greeting: this is no Raft node of a \
                   known version";
        return Err(Unacceptable::Unfit(why.into()));
    };
    let wire::Hello { version, node: number, .. } = hello;
    if version != FORMAT_VERSION {
        return Err(Unacceptable::Unfit(format!(
            "node {number} speaks message format {version}, node {my_id} speaks format \
             {FORMAT_VERSION}: run the same version of the program on both"
        )));
    }
    let (stated, found) = (hello.checksum, checksum(&hello));
    if stated != found {
        return Err(Unacceptable::Damaged(format!(
            "a greeting for node {my_id}, of node {number} by its words, states the checksum \
             {stated:08x} and has {found:08x}"
        )));
    }
    fitting(me, hello).map_err(Unacceptable::Unfit)
}

/// What a greeting that is as it was sent says to this node.
fn fitting(me: LocalIdentity, hello: wire::Hello) -> Result<Greeting, String> {
    let LocalIdentity { cluster, node: my_id, .. } = me;
    let number = hello.node;
    if hello.cluster != cluster.0 {
        let theirs = ClusterId(hello.cluster);
        return Err(format!(
            "node {number} of cluster {theirs} called, this is node {my_id} of cluster \
             {cluster}: correct the addresses of the peers, or the data folder, of one of them"
        ));
    }
    let Some(node) = NodeId::new(number) else {
        return Err("the caller does not say which node it is".into());
    };
    if node == my_id {
        return Err(format!(
            "node {my_id} called, and this is node {my_id} too: two nodes run under one id, or \
             the address of a peer is the node's own"
        ));
    }
    if hello.incarnation == 0 {
        return Err(format!(
            "node {node} does not say which life of its disk it speaks for: it runs an older \
             version of the program; run the same version on both"
        ));
    }
    if hello.to != my_id.get() {
        return Err(format!(
            "node {node} called node {}, this is node {my_id}: correct the address of node {} \
             where node {node} runs",
            hello.to, hello.to
        ));
    }
    let lane = match hello.lane() {
        wire::Lane::Control => Lane::Control,
        wire::Lane::Append => Lane::Append,
        wire::Lane::Snapshot => Lane::Snapshot,
        wire::Lane::Unspecified => {
            return Err(format!("node {node} opens a lane that node {my_id} does not know"));
        }
    };
    let incarnation = Incarnation(hello.incarnation);
    let named_at = Position::new(hello.named_at_term, hello.named_at);
    let standing = Standing { named_at, address: hello.address };
    Ok(Greeting { node, incarnation, boot: Boot(hello.boot), lane, standing })
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn identity(node: u64) -> LocalIdentity {
        let node = NodeId::new(node).unwrap();
        let incarnation = Incarnation(node.get() * 10);
        LocalIdentity { cluster: ClusterId(7), node, incarnation, boot: Boot(node.get() * 100) }
    }

    fn standing() -> Standing {
        Standing { address: "host-2:1".into(), named_at: Position::new(4, 9) }
    }

    /// What node 1 makes of the greeting of a node 2 that says it after `change`.
    fn heard(change: impl FnOnce(&mut wire::Hello)) -> Result<Greeting, Unacceptable> {
        let mut hello = hello(identity(2), standing(), Lane::Append, identity(1).node);
        change(&mut hello);
        hello.checksum = checksum(&hello);
        let content = Some(wire::FrameContent::Hello(hello));
        understand(identity(1), Some(wire::Frame { content }))
    }

    #[test]
    fn a_peer_is_understood() {
        let LocalIdentity { node, incarnation, boot, .. } = identity(2);
        let (lane, standing) = (Lane::Append, standing());
        assert_eq!(heard(|_| ()), Ok(Greeting { node, incarnation, boot, lane, standing }));
    }

    #[test]
    fn everybody_else_is_told_what_is_wrong() {
        let refusal = |change: fn(&mut wire::Hello), why: &str| {
            let said = heard(change).unwrap_err().to_string();
            assert!(said.contains(why), "{said:?} does not say {why:?}");
        };
        refusal(|hello| hello.version = 1, "node 2 speaks message format 1");
        refusal(
            |hello| hello.cluster = 8,
            "node 2 of cluster 0000000000000008 called, this is node 1 of cluster 0000000000000007",
        );
        refusal(|hello| hello.node = 0, "does not say which node");
        refusal(|hello| hello.node = 1, "two nodes run under one id");
        refusal(|hello| hello.to = 3, "node 2 called node 3, this is node 1");
        refusal(|hello| hello.incarnation = 0, "node 2 does not say which life of its disk");
        refusal(|hello| hello.lane = 4, "a lane that node 1 does not know");
        let said = understand(identity(1), Some(wire::Frame { content: None })).unwrap_err();
        assert!(said.to_string().contains("is not a greeting"), "{said:?}");
    }

    #[test]
    fn one_flipped_bit_is_never_understood() {
        let hello = hello(identity(2), standing(), Lane::Append, identity(1).node);
        let frame = wire::Frame { content: Some(wire::FrameContent::Hello(hello)) };
        let sent = frame.encode_to_vec();
        let mut damaged = 0;
        for bit in 0..sent.len() * 8 {
            let mut bytes = sent.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // What is no frame at all ends the stream before anybody looks at it.
            let Ok(frame) = wire::Frame::decode(&bytes[..]) else { continue };
            let refused = understand(identity(1), Some(frame)).expect_err("a flipped bit");
            damaged += usize::from(matches!(refused, Unacceptable::Damaged(_)));
        }
        assert!(damaged > sent.len() * 4, "{damaged} of {} bits", sent.len() * 8);
    }
}
