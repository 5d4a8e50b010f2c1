use raft_core::Random;

use super::*;

fn put(key: &'static [u8], value: &'static [u8]) -> KvCommand {
    KvCommand::Put { key: Bytes::from_static(key), value: Bytes::from_static(value) }
}

#[test]
fn commands_and_answers_survive_the_way_there_and_back() {
    let delete = KvCommand::Delete { key: Bytes::from_static(b"k") };
    let (expires_after, session) = (Duration::from_millis(300), SessionId(7));
    let (open, close) =
        (KvCommand::OpenSession { expires_after }, KvCommand::CloseSession { session });
    let call = SessionCall { session, sequence: Sequence(8), acknowledged: Sequence(6) };
    let once = |change| KvCommand::InSession { call, change: Box::new(change) };
    let plain = [put(b"k", b"v"), put(b"", b""), put(b"\xff\x00", b""), delete.clone()];
    let swap = |expected: Option<&'static [u8]>| {
        let [key, value] = [&b"k"[..], b"v"].map(Bytes::from_static);
        KvCommand::CompareAndSwap { key, expected: expected.map(Bytes::from_static), value }
    };
    for command in [swap(None), swap(Some(b"")), swap(Some(b"e")), once(swap(None))] {
        assert!(command.encode().len() <= command.room());
        assert_eq!(KvCommand::decode(command.encode()), Ok(command));
    }
    for command in plain.into_iter().chain([open, close, once(put(b"k", b"v")), once(delete)]) {
        assert!(command.encode().len() <= command.room());
        assert_eq!(KvCommand::decode(command.encode()), Ok(command));
    }
    let refused = KvAnswer::Refused { why: "no".to_owned() };
    let (gone, absent) =
        (KvAnswer::Deleted { existed: true }, KvAnswer::Deleted { existed: false });
    let value = |value: &'static [u8]| Actual::Value(Bytes::from_static(value));
    for actual in [Actual::Nothing, value(b""), value(b"v"), Actual::Long(1 << 40)] {
        let answer = KvAnswer::Unequal { actual };
        assert_eq!(KvAnswer::decode(answer.encode()), Ok(answer));
    }
    for answer in [KvAnswer::Stored, gone, absent, refused] {
        assert_eq!(KvAnswer::decode(answer.encode()), Ok(answer));
    }
    let stored = KvAnswer::Stored.encode();
    for answer in [
        KvAnswer::SessionOpened { session, expires_after },
        KvAnswer::SessionClosed { existed: true },
        KvAnswer::SessionClosed { existed: false },
        KvAnswer::SessionNotOpen { session },
        KvAnswer::Stale { acknowledged: Sequence(6) },
        KvAnswer::Repeated { index: Index(9), answer: stored },
        KvAnswer::NoRoom { why: "full".to_owned() },
    ] {
        assert_eq!(KvAnswer::decode(answer.encode()), Ok(answer));
    }
}

#[test]
fn the_encoding_is_fixed() {
    assert_eq!(put(b"ab", b"c").encode().as_ref(), b"\x01\x01\x02\0\0\0abc");
    let call = SessionCall::one_at_a_time(SessionId(1), Sequence(3));
    let once = KvCommand::InSession { call, change: Box::new(put(b"", b"")) }.encode();
    let numbers = b"\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0";
    assert_eq!(once, [&b"\x01\x05"[..], numbers, b"\x01\x01\0\0\0\0"].concat());
}

#[test]
fn what_is_no_command_says_why() {
    let decode = |bytes: &'static [u8]| KvCommand::decode(Bytes::from_static(bytes));
    assert_eq!(decode(b""), Err(KvDecodeError::Short));
    assert_eq!(decode(b"\x01\x01\x05\0\0\0abc"), Err(KvDecodeError::Short));
    assert_eq!(decode(b"\x02\x01\x01\0\0\0a"), Err(KvDecodeError::Version(2)));
    assert_eq!(decode(b"\x01\x09\x01\0\0\0a"), Err(KvDecodeError::Kind(9)));
    assert_eq!(decode(b"\x01\x02\x01\0\0\0ab"), Err(KvDecodeError::Long(1)));
    assert_eq!(decode(b"\x01\x04\0\0\0\0\0\0\0\0a"), Err(KvDecodeError::Long(1)));
    assert_eq!(decode(b"\x01\x05\0\0"), Err(KvDecodeError::Short));
    let session = [&[VERSION, IN_SESSION][..], &[0; 24]].concat();
    let nested = [&session[..], &session, &[VERSION, DELETE, 0, 0, 0, 0]].concat();
    assert_eq!(KvCommand::decode(nested.into()), Err(KvDecodeError::NoChange));
}

#[test]
fn no_bytes_make_decoding_panic() {
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        let len = usize::try_from(random.below(40)).unwrap();
        let bytes: Vec<u8> = (0..len).map(|_| random.below(6) as u8).collect();
        let command = KvCommand::decode(Bytes::from(bytes.clone()));
        if let Ok(command) = command {
            assert_eq!(command.encode(), bytes);
        }
        let _ = KvAnswer::decode(Bytes::from(bytes));
    }
}
