//! What clients have asked nodes for: each is told what became of it, once.

use std::collections::BTreeMap;

use raft_core::Instant;

use super::invariant::Check;

/// Every request that a node has taken and not answered yet.
///
/// Clients that gave up do not listen any more; a node knows nothing of that.
#[derive(Debug, Default)]
pub(crate) struct Asked(BTreeMap<u64, (usize, Instant)>);

impl Asked {
    /// A node is asked at this moment of its clock.
    pub(crate) fn ask(&mut self, id: u64, node: usize, at: Instant) {
        self.0.insert(id, (node, at));
    }

    /// A node has answered.
    pub(crate) fn answered(&mut self, id: u64) -> Result<(), String> {
        let asked = self.0.remove(&id).map(drop);
        asked.ok_or_else(|| Check::Answered.fails(format_args!("request {id} is answered twice")))
    }

    /// A process has ended, and what it was asked for with it.
    pub(crate) fn gone(&mut self, node: usize) {
        self.0.retain(|_, (asked, _)| *asked != node);
    }

    /// Nobody has waited at a node since then, by its clock, or for longer.
    pub(crate) fn nobody_since(&self, node: usize, then: Instant) -> Result<(), String> {
        let waits = |(at, asked): &(usize, Instant)| *at == node && *asked <= then;
        match self.0.iter().find(|(_, asked)| waits(asked)) {
            None => Ok(()),
            Some((id, (_, asked))) => Err(Check::Answered.fails(format_args!(
                "request {id} waits since {asked:?} at the node in place {node}"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_twice_or_by_a_process_that_is_gone_is_found_out() {
        let mut asked = Asked::default();
        asked.ask(1, 0, Instant(5));
        asked.ask(2, 0, Instant(6));
        asked.ask(3, 1, Instant(7));
        asked.answered(1).unwrap();
        asked.answered(1).unwrap_err();
        asked.answered(2).unwrap();
        asked.gone(1);
        asked.answered(3).unwrap_err();
    }

    #[test]
    fn who_is_never_answered_is_found_out() {
        let mut asked = Asked::default();
        asked.ask(1, 0, Instant(5));
        asked.ask(2, 0, Instant(9));
        asked.nobody_since(0, Instant(4)).unwrap();
        asked.nobody_since(1, Instant(5)).unwrap();
        asked.nobody_since(0, Instant(5)).unwrap_err();
        asked.answered(1).unwrap();
        asked.nobody_since(0, Instant(8)).unwrap();
    }
}
