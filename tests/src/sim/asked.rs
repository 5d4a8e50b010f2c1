//! What clients have asked nodes for: each is told what became of it, once.

use std::collections::BTreeMap;

use super::invariant::Check;

/// Every request that a node has taken and not answered yet.
///
/// Clients that gave up do not listen any more; a node knows nothing of that.
#[derive(Debug, Default)]
pub(crate) struct Asked(BTreeMap<u64, usize>);

impl Asked {
    pub(crate) fn ask(&mut self, id: u64, node: usize) {
        self.0.insert(id, node);
    }

    /// A node has answered.
    pub(crate) fn answered(&mut self, id: u64) -> Result<(), String> {
        let asked = self.0.remove(&id).map(drop);
        asked.ok_or_else(|| Check::Answered.fails(format_args!("request {id} is answered twice")))
    }

    /// A process has ended, and what it was asked for with it.
    pub(crate) fn gone(&mut self, node: usize) {
        self.0.retain(|_, asked| *asked != node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_twice_or_by_a_process_that_is_gone_is_found_out() {
        let mut asked = Asked::default();
        asked.ask(1, 0);
        asked.ask(2, 0);
        asked.ask(3, 1);
        asked.answered(1).unwrap();
        asked.answered(1).unwrap_err();
        asked.answered(2).unwrap();
        asked.gone(1);
        asked.answered(3).unwrap_err();
    }
}
