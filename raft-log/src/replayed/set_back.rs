//! A group that was set back to what was left of its log, and of which more can be read later.

use std::mem;

use raft_core::Position;

use super::Replayed;
use crate::checkpoint::Checkpoint;
use crate::pieces::Piece;

impl Replayed {
    /// It was set back to what a head or seal says, and more of it can be read now. All of it
    /// counts again where that is all that had been lost: what was written since follows what
    /// was left, and takes the place of what followed that.
    pub(crate) fn set_back(&mut self, checkpoint: &Checkpoint) {
        if Some(self.last) == checkpoint.damaged_up_to {
            self.hard_state = checkpoint.hard_state;
            self.set_back_to = Some(checkpoint.last);
        } else {
            self.cut_behind(checkpoint.last);
        }
    }

    /// Something takes the place of what followed the end that it was set back to, which is lost.
    pub(super) fn stay_set_back(&mut self) {
        if self.set_back_to.take().is_some() {
            self.damaged_up_to = Some(self.last);
        }
    }

    /// True where the log ends here as far as whoever wrote a frame knew.
    pub(crate) fn stands_at(&self, last: Position) -> bool {
        self.last == last || self.set_back_to == Some(last)
    }

    /// Whether a head or seal says that what was lost is there again, all of it or some: it could
    /// be read when that was written. Nothing else makes a log longer without a frame.
    pub(crate) fn is_back(&self, checkpoint: &Checkpoint) -> bool {
        let reaches = |lost: Position| checkpoint.last <= lost;
        self.last < checkpoint.last
            && self.damaged_up_to.is_none_or(reaches)
            && self.hard_state == checkpoint.hard_state
    }

    /// What was lost, and is there again, stands in no segment that is left, but for where it was
    /// relocated to. What is here is kept aside like that, until it is known what lies between.
    pub(crate) fn come_back(&mut self, last: Position) {
        let (runs, memberships) = (mem::take(&mut self.runs), mem::take(&mut self.memberships));
        let (runs, memberships) = (Vec::from(runs), Vec::from(memberships));
        for frame in self.frames.holding(self.first, self.last.index) {
            let Some(place) = frame.place else { continue };
            let (runs, memberships) = (runs.clone(), memberships.clone());
            let whole =
                Piece { first: self.first, last: self.last.index, runs, memberships, place };
            if let Some(piece) = whole.within(frame.first, frame.last) {
                self.pieces.put(piece);
            }
        }
        self.frames.clear();
        (self.first, self.last) = (last.index.next(), last);
    }
}
