//! Three nodes in one thread, whichever library they are made of.

use std::mem;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The length of a command.
pub(crate) const PAYLOAD_BYTES: usize = 256;

/// The nodes; the first one is to lead.
pub(crate) const NODES: usize = 3;

/// How much further the clocks go at a time, and after how many turns.
pub(crate) const TICK: Duration = Duration::from_millis(10);
const TURNS_PER_TICK: u64 = 1000;

/// How long a cluster runs before it is measured.
const WARM_UP: Duration = Duration::from_millis(200);

/// How many turns are taken between two looks at the clock.
const TURNS_PER_GLANCE: u64 = 64;

/// A replica with its log and its state machine.
pub(crate) trait Node {
    /// What it says to others.
    type Message;

    /// Stands for election.
    fn campaign(&mut self);

    /// Whether it leads, and is ready for proposals.
    fn leads(&self) -> bool;

    /// Takes in one command.
    fn propose(&mut self, payload: Vec<u8>);

    /// Takes in one message.
    fn receive(&mut self, message: Self::Message);

    /// Lets time pass.
    fn tick(&mut self);

    /// Does everything it wants done, and says how many commands it has applied.
    fn work(&mut self, post: &mut Post<Self::Message>) -> usize;
}

/// Messages on their way.
pub(crate) struct Post<M> {
    to: [Vec<M>; NODES],
}

impl<M> Post<M> {
    /// Puts in a message for the node with this id, which are counted from 1.
    pub(crate) fn send(&mut self, to: u64, message: M) {
        self.to[to as usize - 1].push(message);
    }
}

/// Three nodes, and what is on its way between them.
pub(crate) struct Cluster<N: Node> {
    nodes: [N; NODES],
    post: Post<N::Message>,
    outstanding: usize,
    turns: u64,
}

impl<N: Node> Cluster<N> {
    /// A cluster that the first node leads.
    pub(crate) fn new(nodes: [N; NODES]) -> Self {
        let post = Post { to: [const { Vec::new() }; NODES] };
        let mut cluster = Self { nodes, post, outstanding: 0, turns: 0 };
        cluster.nodes[0].campaign();
        for _ in 0..100 {
            cluster.turn(0);
        }
        assert!(cluster.nodes[0].leads(), "the first node must lead before it is measured");
        cluster
    }

    /// One turn with this many commands outstanding. Says how many the leader has applied.
    fn turn(&mut self, outstanding: usize) -> usize {
        self.turns += 1;
        if self.turns.is_multiple_of(TURNS_PER_TICK) {
            self.nodes.iter_mut().for_each(N::tick);
        }
        for _ in self.outstanding..outstanding {
            self.nodes[0].propose(vec![7; PAYLOAD_BYTES]);
        }
        let mut applied = self.nodes[0].work(&mut self.post);
        for follower in 1..NODES {
            self.deliver(follower);
        }
        applied += self.deliver(0);
        self.outstanding = outstanding - applied;
        applied
    }

    fn deliver(&mut self, to: usize) -> usize {
        let mut messages = mem::take(&mut self.post.to[to]);
        for message in messages.drain(..) {
            self.nodes[to].receive(message);
        }
        // Nobody sends to itself, so the room is still free to be used again.
        self.post.to[to] = messages;
        self.nodes[to].work(&mut self.post)
    }

    fn run(&mut self, outstanding: usize, time: Duration) -> f64 {
        let (began, mut applied) = (processor_time(), 0);
        loop {
            for _ in 0..TURNS_PER_GLANCE {
                applied += self.turn(outstanding);
            }
            let took = processor_time() - began;
            if took >= time {
                return applied as f64 / took.as_secs_f64();
            }
        }
    }
}

/// What this thread has used: others on the machine take nothing from it.
fn processor_time() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(used.tv_sec.unsigned_abs(), used.tv_nsec as u32)
}

/// Commands applied per second.
pub(crate) fn measure<N: Node>(mut cluster: Cluster<N>, outstanding: usize, time: Duration) -> f64 {
    cluster.run(outstanding, WARM_UP);
    cluster.run(outstanding, time)
}
