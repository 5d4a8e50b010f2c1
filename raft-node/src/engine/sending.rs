//! Messages in and out: entries to followers, beats, and what peers send.

use raft_core::{
    Beat, BeatReply, Body, Boot, Entry, Envelope, GroupId, Index, Instant, Message, NodeId, Term,
    Token,
};
use raft_log::{LogError, Read};
use raft_state::{Input, ReadId, SendEntries};

use super::effect::Effect;
use super::engine::Engine;
use super::job::{Job, ReadFor};

impl Engine {
    pub(crate) fn on_message(&mut self, now: Instant, message: Message) {
        match &message.body {
            body if self.has_no_room_for(body) => {}
            Body::SnapshotChunk { data, .. } => {
                let bytes = data.len() as u64;
                self.count(message.group, |figures| figures.snapshot_bytes_received += bytes);
                self.on_chunk(now, message);
            }
            Body::AppendReply { token, .. } => {
                self.append_answered(now, &message, token.number);
                self.step(now, message.group, Input::Message(message));
            }
            Body::SnapshotChunkReply { token, next_offset } => {
                let (token, next_offset) = (*token, *next_offset);
                self.on_chunk_reply(now, message.group, message.from, token, next_offset);
            }
            Body::SnapshotInstalled { token, .. } => {
                self.end_transfer(message.group, message.from, *token);
                self.step(now, message.group, Input::Message(message));
            }
            _ => self.step(now, message.group, Input::Message(message)),
        }
    }

    /// Reads what a replica wants sent, at once where it lies in memory.
    pub(crate) fn send_entries(&mut self, now: Instant, group: GroupId, request: SendEntries) {
        let SendEntries { from, up_to, max_bytes, .. } = request;
        if !self.may_send(group, &request) {
            return self.entries_gone(now, group, request);
        }
        match self.log.read(group, from, up_to, max_bytes) {
            Read::Entries(entries) => self.send_append(now, group, request, entries),
            Read::Later(job) => {
                let purpose = ReadFor::Sending(request);
                self.effects.push_back(Effect::Run(Box::new(Job::ReadEntries {
                    group,
                    purpose,
                    job,
                })));
            }
            Read::Gone => self.entries_gone(now, group, request),
        }
    }

    /// Sends entries that were read for a replica, if it still leads in that term: the
    /// log of a leader never changes below its end.
    pub(crate) fn send_append(
        &mut self,
        now: Instant,
        group: GroupId,
        request: SendEntries,
        entries: Vec<Entry>,
    ) {
        if entries.is_empty() || !self.may_send(group, &request) {
            return self.entries_gone(now, group, request);
        }
        self.append_sent(now, group, request.to, request.token.number);
        let (message, sent) = request.append(group, self.me, entries);
        self.outgoing.push(message.to, Envelope::Group(message));
        self.hand(now, group, sent);
    }

    pub(crate) fn on_entries_read(
        &mut self,
        now: Instant,
        group: GroupId,
        purpose: ReadFor,
        outcome: Result<Vec<Entry>, LogError>,
    ) {
        match (purpose, outcome) {
            (ReadFor::Sending(request), Ok(entries)) => {
                self.send_append(now, group, request, entries);
                self.drain(now, group);
            }
            (ReadFor::Sending(request), Err(why)) => {
                self.cannot_be_sent(now, group, request, &why);
                self.drain(now, group);
            }
            (ReadFor::Applying { from }, outcome) => self.on_page_read(now, group, from, outcome),
        }
    }

    /// What is committed is sent as a snapshot. Of what is not, the replica decides.
    fn cannot_be_sent(
        &mut self,
        now: Instant,
        group: GroupId,
        request: SendEntries,
        why: &LogError,
    ) {
        let Some(state) = self.groups.get_mut(&group) else { return };
        let (to, number, from) = (request.to, request.token.number, request.from);
        if from <= state.replica.commit() {
            state.unreadable = state.unreadable.max(from);
        }
        let why = match why {
            LogError::Damaged(damage) => damage.to_string(),
            why => why.to_string(),
        };
        let why = format!("entries of group {group} could not be read for sending: {why}");
        self.effects.push_back(Effect::Trouble { why });
        self.hand(now, group, Input::EntriesUnreadable { to, number, from });
    }

    pub(crate) fn makes_way(&mut self, now: Instant, group: GroupId, from: Index) {
        let why = format!(
            "this leader cannot read its entries from {from} on, and nothing can be committed \
             without them: the others go on with what they have; start this node again, and it \
             fetches the entries if others have them"
        );
        self.halt(now, group, why);
    }

    pub(crate) fn entries_gone(&mut self, now: Instant, group: GroupId, request: SendEntries) {
        let input = Input::EntriesGone { to: request.to, number: request.token.number };
        self.hand(now, group, input);
    }

    /// Like [`step`](Engine::step), for use while outputs are being carried out: the
    /// loop that does so goes on with what follows from it.
    fn hand(&mut self, now: Instant, group: GroupId, input: Input) {
        if let Some(state) = self.groups.get_mut(&group).filter(|state| state.halted.is_none()) {
            state.replica.handle(now, input);
        }
    }

    /// Whether the replica leads in this term.
    pub(crate) fn leads(&self, group: GroupId, term: Term) -> bool {
        let replica = self.groups.get(&group).map(|state| &state.replica);
        replica.is_some_and(|replica| replica.is_leader() && replica.term() == term)
    }

    fn may_send(&self, group: GroupId, request: &SendEntries) -> bool {
        self.leads(group, request.term)
            && self.log.shape(group).is_some_and(|shape| shape.holds(request.prev))
    }

    pub(crate) fn on_beat(&mut self, now: Instant, from: NodeId, boot: Boot, beat: Beat) {
        if !self.liveness.begin_answer(now, from, boot, &beat) {
            return;
        }
        for named in beat.groups {
            let body = Body::Heartbeat { token: named.token, commit: named.commit };
            let (group, to_disk, term) = (named.group, named.to_disk, named.term);
            let message = Message { to_disk, ..Message::new(group, from, self.me, term, body) };
            let meant = message.means(self.incarnation);
            self.step(now, group, Input::Message(message));
            let follows = self.groups.get(&group).is_some_and(|state| {
                let replica = &state.replica;
                let follows = replica.leader() == Some(from) && replica.term() == term;
                meant && state.halted.is_none() && follows
            });
            self.liveness.named_by(from, group, term, follows);
        }
        let groups = &self.groups;
        let term_of = |group| groups.get(&group).map_or(Term::ZERO, |state| state.replica.term());
        if let Some(reply) = self.liveness.end_answer(term_of) {
            self.outgoing.push(from, Envelope::BeatReply(reply));
        }
    }

    pub(crate) fn on_beat_reply(
        &mut self,
        now: Instant,
        from: NodeId,
        boot: Boot,
        reply: BeatReply,
    ) {
        if !self.liveness.answered(from, boot, &reply) {
            return;
        }
        self.liveness.time_answer(now, from);
        for says in reply.follows {
            self.liveness.confirm(from, says.group, says.term);
            let body = Body::HeartbeatReply { token: says.token, commit: says.commit };
            let message = Message::new(says.group, from, self.me, says.term, body);
            self.step(now, says.group, Input::Message(message));
        }
        for (group, term) in reply.refuses {
            self.liveness.refuse(from, group);
            // A later term is news to the replica; the token of no request says nothing else.
            let body = Body::HeartbeatReply { token: Token::default(), commit: Index::ZERO };
            let message = Message::new(group, from, self.me, term, body);
            self.step(now, group, Input::Message(message));
        }
        for (group, term) in reply.stopped {
            self.liveness.stop_heard(from, group, term);
        }
    }

    /// Sends the beats that are due or have something to say, each naming the groups
    /// that it could not vouch for silently.
    pub(crate) fn send_beats(&mut self, now: Instant) {
        for (peer, group) in self.liveness.unconfirmed(now) {
            let state = self.groups.get_mut(&group);
            if let Some(message) = state.and_then(|state| state.replica.heartbeat(now, peer)) {
                self.send(message);
            }
        }
        self.liveness.send(now, &mut self.outgoing);
    }

    /// Lets a replica that leads, or may, take in reads. A lease lasts as long as beats were
    /// answered, so the replica is told of them first.
    pub(crate) fn read(&mut self, now: Instant, group: GroupId, ids: Vec<ReadId>) {
        if self.config.replica.lease_drift.is_some() {
            self.refresh_contacts(now, group);
        }
        self.step(now, group, Input::Read(ids));
    }

    /// Tells a replica of the contact that beats between nodes brought, before anything
    /// is decided on it: they know of it first.
    pub(crate) fn refresh_contacts(&mut self, now: Instant, group: GroupId) {
        let Some(state) = self.groups.get(&group).filter(|state| state.halted.is_none()) else {
            return;
        };
        let term = state.replica.term();
        if state.replica.is_leader() {
            for (follower, sent_at) in self.liveness.followers_heard(group, term) {
                self.step(now, group, Input::FollowerHeard { follower, term, sent_at });
            }
        } else if let Some(leader) = state.replica.leader()
            && let Some(at) = self.liveness.leader_heard(leader, group, term)
        {
            self.step(now, group, Input::LeaderHeard { leader, term, at });
        }
    }
}
