//! What is said of nodes that break their promises: to whom it happened, and what to do.

use std::collections::HashMap;
use std::mem::{Discriminant, discriminant};
use std::time::Duration;

use raft_core::{GroupId, Instant, NodeId};
use raft_state::Evidence;

/// It is said again after so long: what is wrong may show with every heartbeat.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// When each kind of evidence against a peer was told of last in a group, and what it was then.
#[derive(Debug, Default)]
pub(crate) struct Broken(HashMap<Kind, (Instant, Evidence)>);

type Kind = (GroupId, NodeId, Discriminant<Evidence>);

impl Broken {
    /// What is to be said; nothing where that was said a moment ago.
    pub(crate) fn words(
        &mut self,
        now: Instant,
        group: GroupId,
        peer: NodeId,
        evidence: Evidence,
    ) -> Option<String> {
        let kind = (group, peer, discriminant(&evidence));
        // Of two leaders each pair is news; the rest tells the same with other numbers.
        let same = |known: &Evidence| {
            *known == evidence || !matches!(evidence, Evidence::TwoLeaders { .. })
        };
        let said = self.0.get(&kind).filter(|(_, known)| same(known));
        if said.is_some_and(|(at, _)| now < at.after(AGAIN_AFTER)) {
            return None;
        }
        let words = words(group, peer, &evidence);
        self.0.insert(kind, (now, evidence));
        Some(words)
    }
}

const REPLACE: &str = "stop it, and have another member take its place: raft-node member replace";

fn words(group: GroupId, peer: NodeId, evidence: &Evidence) -> String {
    match evidence {
        Evidence::CommitBeyondLog { commit, last } => format!(
            "group {group}: this node has forgotten what it promised: node {peer}, which leads, \
             knows entries up to {commit} to be on its disk, and its log ends at {last}. Its data \
             folder was set back, or the end of its log is gone; {REPLACE}"
        ),
        Evidence::Denied => format!(
            "group {group}: node {peer} has forgotten what it promised, and is not served in this \
             term: it denies entries that it had. Its data folder was set back, or the end of its \
             log is gone; {REPLACE}"
        ),
        _ => format!(
            "group {group}: node {peer} broke its promises and is not served in this term: \
             {evidence:?}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{Index, Term};

    use super::*;

    #[test]
    fn what_shows_with_every_heartbeat_is_said_once_a_minute() {
        let mut broken = Broken::default();
        let (group, peer) = (GroupId(1), NodeId::new(2).unwrap());
        let beyond = |last| Evidence::CommitBeyondLog { commit: Index(9), last: Index(last) };
        let mut says = |s, evidence| {
            let now = Instant(0).after(Duration::from_secs(s));
            broken.words(now, group, peer, evidence)
        };
        let first = says(1, beyond(4)).unwrap();
        assert!(first.contains("entries up to 9") && first.contains("ends at 4"), "{first}");
        assert_eq!(says(2, beyond(5)), None);
        assert!(says(3, Evidence::Denied).is_some(), "something else");
        assert_eq!(says(62, Evidence::Denied), None);
        assert!(says(63, Evidence::Denied).is_some(), "a minute later");
        let two = |term| Evidence::TwoLeaders { term: Term(term), known: peer, other: peer };
        assert!(says(64, two(1)).is_some() && says(65, two(2)).is_some(), "another term");
        assert_eq!(says(66, two(2)), None);
    }
}
