use super::*;

#[test]
fn each_command_and_the_read_are_requests() {
    let requests = |commands: usize, read| {
        let commands = alloc::vec![Bytes::new(); commands];
        let (to_boot, group, term) = (Boot(1), GroupId(1), Term(1));
        Forward { to_boot, group, term, number: 5, commands, read }.requests()
    };
    assert_eq!([requests(0, true), requests(3, false), requests(3, true)], [1, 3, 4]);
}

/// What keeps a leader waits neither for entries nor for snapshots; and a successor is
/// asked to stand behind the entries that it needs for that.
#[test]
fn everything_travels_on_the_lane_of_what_it_may_wait_for() {
    let (token, position) = (Token::default(), Position::ZERO);
    let (last, granted) = (position, true);
    let control = [
        Body::PreVote { token, last },
        Body::PreVoteReply { token, granted },
        Body::Vote { token, last, transfer: false },
        Body::VoteReply { token, granted },
        Body::Heartbeat { token, commit: Index::ZERO },
        Body::HeartbeatReply { token, commit: Index::ZERO },
        Body::Belong { token },
        Body::Removed { token, at: position },
    ];
    let (entries, commit) = (Vec::new(), Index::ZERO);
    let append = [
        Body::Append { token, prev: position, entries, commit },
        Body::AppendReply { token, outcome: AppendOutcome::StaleTerm },
        Body::TimeoutNow { token, last },
    ];
    let snapshot = [
        Body::SnapshotChunkReply { token, next_offset: 0 },
        Body::SnapshotInstalled { token, last: Index::ZERO },
    ];
    let id = NodeId::new(1).unwrap();
    let travels = |bodies: &[Body], lane| {
        for body in bodies.iter().cloned() {
            let message = Message::new(GroupId(1), id, id, Term(1), body);
            assert_eq!(Envelope::Group(message.clone()).lane(), lane, "{message:?}");
        }
    };
    travels(&control, Lane::Control);
    travels(&append, Lane::Append);
    travels(&snapshot, Lane::Snapshot);
    assert_eq!(Envelope::Beat(Beat::default()).lane(), Lane::Control);
    assert_eq!(Envelope::BeatReply(BeatReply::default()).lane(), Lane::Control);
    let reply = ForwardReply { to_boot: Boot(1), outcomes: Vec::new() };
    assert_eq!(Envelope::ForwardReply(reply).lane(), Lane::Append);
    assert!(Lane::Control < Lane::Append && Lane::Append < Lane::Snapshot);
}
