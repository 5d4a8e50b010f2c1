//! The messages written down in `wire.rs` are those of `proto/raft.proto`.

use std::fmt::Debug;

use prost::Message;
use raft_core::Random;

use super::wire;
use crate::{codec, random_envelopes};

/// What a Protobuf compiler makes of the same file.
mod compiled {
    #![allow(clippy::all, missing_docs, unreachable_pub, dead_code, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/messages/raft.v1.rs"));
}

/// Both read the same out of the bytes, by name and value, and write them again.
fn assert_same<Ours: Message + Debug, Theirs: Message + Default + Debug>(message: &Ours) {
    let bytes = message.encode_to_vec();
    let theirs = Theirs::decode(&bytes[..]).expect("the compiled message reads our bytes");
    assert_eq!(format!("{theirs:#?}"), format!("{message:#?}"));
    assert_eq!(theirs.encode_to_vec(), bytes);
}

#[test]
fn batches_are_those_of_the_proto_file() {
    let mut random = Random::new(4);
    for _ in 0..1_000 {
        let batch = codec::batch_of(&random_envelopes::batch(&mut random));
        assert_same::<_, compiled::Batch>(&batch);
    }
}

#[test]
fn frames_and_identifications_are_those_of_the_proto_file() {
    let hello = wire::Hello {
        version: 1,
        cluster: 2,
        node: 3,
        boot: 4,
        lane: wire::Lane::Snapshot.into(),
        to: 6,
        incarnation: 7,
        address: "host:8".into(),
        named_at: 9,
        named_at_term: 4,
        checksum: 11,
    };
    let batch = codec::encode_batch(&random_envelopes::batch(&mut Random::new(5)));
    for content in [wire::FrameContent::Hello(hello), wire::FrameContent::Batch(batch)] {
        assert_same::<_, compiled::Frame>(&wire::Frame { content: Some(content) });
    }
    assert_same::<_, compiled::Identification>(&wire::Identification {
        version: 1,
        cluster_name: "name".into(),
        cluster: 2,
        node: 3,
        incarnation: 4,
        members: vec![wire::MemberIncarnation { node: 5, incarnation: 6 }],
        checksum: 7,
    });
}
