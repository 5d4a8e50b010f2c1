//! What waits to be sent on one lane to one peer.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use raft_core::Envelope;
use tokio_stream::Stream;

use super::options::TransportOptions;
use super::wire;
use crate::codec;

/// A bounded queue that never blocks: what finds no room is dropped and counted.
///
/// Invariants:
/// - `bytes` is the sum of the weights of what waits.
/// - Only the newest stream takes from the queue, and only while the lane is up.
pub(super) struct LaneQueue {
    limits: TransportOptions,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Counts the streams, so that an older one knows that it is over.
    stream: u64,
    up: bool,
    waker: Option<Waker>,
    dropped: u64,
    sent: u64,
}

struct Waiting {
    envelope: Envelope,
    weight: usize,
    since: Instant,
}

/// What a queue counts.
#[derive(Clone, Copy)]
pub(super) struct QueueCounts {
    pub(super) up: bool,
    pub(super) envelopes: usize,
    pub(super) bytes: usize,
    pub(super) dropped: u64,
    pub(super) sent: u64,
}

impl LaneQueue {
    pub(super) fn new(limits: TransportOptions) -> Self {
        Self { limits, state: Mutex::default() }
    }

    /// Adds a batch, or drops all of it. False where it holds an envelope that no
    /// receiver accepts.
    pub(super) fn push(&self, batch: Vec<Envelope>) -> bool {
        let since = Instant::now();
        let weigh = |envelope| Waiting { weight: codec::weight(&envelope), envelope, since };
        let batch: Vec<_> = batch.into_iter().map(weigh).collect();
        let bytes: usize = batch.iter().map(|waiting| waiting.weight).sum();
        let sendable = batch.iter().all(|waiting| waiting.weight <= self.limits.message_bytes);
        let mut state = self.lock();
        if !state.up {
            state.drop_stale(&self.limits, since);
        }
        let full = state.waiting.len() + batch.len() > self.limits.queue_envelopes
            || state.bytes + bytes > self.limits.queue_bytes;
        if !sendable || (full && !state.waiting.is_empty()) {
            state.dropped += batch.len() as u64;
            return sendable;
        }
        state.bytes += bytes;
        state.waiting.extend(batch);
        if state.up {
            state.wake();
        }
        true
    }

    /// A new stream for the lane, which says `hello` and then waits for
    /// [`LaneQueue::open`]. Any former stream ends.
    pub(super) fn stream(self: &Arc<Self>, hello: wire::Hello) -> LaneStream {
        let mut state = self.lock();
        state.restart();
        LaneStream { hello: Some(hello), queue: Arc::clone(self), number: state.stream }
    }

    /// The newest stream may take what waits and is not stale.
    pub(super) fn open(&self) {
        let mut state = self.lock();
        state.drop_stale(&self.limits, Instant::now());
        state.up = true;
        state.wake();
    }

    /// The lane is down; its stream ends.
    pub(super) fn close(&self) {
        self.lock().restart();
    }

    pub(super) fn counts(&self) -> QueueCounts {
        let state = self.lock();
        QueueCounts {
            up: state.up,
            envelopes: state.waiting.len(),
            bytes: state.bytes,
            dropped: state.dropped,
            sent: state.sent,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn restart(&mut self) {
        self.stream += 1;
        self.up = false;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn drop_stale(&mut self, limits: &TransportOptions, now: Instant) {
        while let Some(oldest) = self.waiting.front()
            && now.saturating_duration_since(oldest.since) > limits.stale_after
        {
            self.pop();
            self.dropped += 1;
        }
    }

    fn pop(&mut self) -> Option<Envelope> {
        let oldest = self.waiting.pop_front()?;
        self.bytes -= oldest.weight;
        Some(oldest.envelope)
    }

    /// Everything that waits, up to the size of a frame and at least one.
    fn take_frame(&mut self, limit: usize) -> Vec<Envelope> {
        let mut frame = Vec::new();
        let mut bytes = 0;
        while let Some(oldest) = self.waiting.front()
            && (frame.is_empty() || bytes + oldest.weight <= limit)
        {
            bytes += oldest.weight;
            frame.extend(self.pop());
        }
        frame
    }
}

/// The frames of one stream: the greeting, and then whatever waits, in as few frames
/// as possible. It is polled only when the connection has room for more.
pub(super) struct LaneStream {
    hello: Option<wire::Hello>,
    queue: Arc<LaneQueue>,
    number: u64,
}

impl Stream for LaneStream {
    type Item = wire::Frame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<wire::Frame>> {
        if let Some(hello) = self.hello.take() {
            let content = Some(wire::FrameContent::Hello(hello));
            return Poll::Ready(Some(wire::Frame { content }));
        }
        let mut state = self.queue.lock();
        if state.stream != self.number {
            return Poll::Ready(None);
        }
        if !state.up || state.waiting.is_empty() {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        let envelopes = state.take_frame(self.queue.limits.frame_bytes);
        state.sent += 1;
        drop(state);
        let content = Some(wire::FrameContent::Batch(codec::encode_batch(&envelopes)));
        Poll::Ready(Some(wire::Frame { content }))
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
