//! Replaying the kept frames: from what is on disk to what every group is.
//!
//! Where frames are missing that were durable, the groups behind that place are put together
//! from what stands behind it, like those whose beginning was in segments that are gone. What
//! they were before it is kept beside them: a group that turns out to go on from there is
//! whole, and of any other it is what is left.

use std::collections::{BTreeMap, BTreeSet};

use raft_core::GroupId;

use crate::checkpoint::{Checkpoint, Seal};
use crate::frames::Place;
use crate::replayed::Replayed;
use crate::scan::{Content, Found};

/// What contradicts everything before it; never seen unless this code or the disk lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction(pub(crate) String);

/// The groups, as far as the frames have been replayed.
///
/// Invariant: while `knows_all`, `groups` are all groups there are, as they are.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    groups: BTreeMap<GroupId, Replayed>,
    /// A head has said which groups there are, or a seal, and no frame is missing behind it.
    /// The first head replayed is the authority on everything before it.
    knows_all: bool,
    /// The latest head: its epoch and what it says.
    head: Option<(u64, Vec<Checkpoint>)>,
    /// Whether frames were missing that were durable.
    has_gaps: bool,
    /// The groups as they last were before such a place, without a gap.
    before: BTreeMap<GroupId, Replayed>,
    may_lack_groups: bool,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The groups at the end of the log.
    pub(crate) groups: BTreeMap<GroupId, Replayed>,
    /// Groups of which nothing is known from behind the last place where frames are missing,
    /// so that they may have voted since.
    pub(crate) votes_lost: BTreeSet<GroupId>,
    /// Groups that were made where frames are missing, so that nobody knows who was in them.
    pub(crate) unmade: BTreeSet<GroupId>,
    /// Whether there may have been groups of which nothing is known.
    pub(crate) may_lack_groups: bool,
}

impl Replay {
    /// Takes in the frame of the next sequence.
    pub(crate) fn take(&mut self, epoch: u64, found: &Found) -> Result<(), Contradiction> {
        let header = &found.header;
        match &found.content {
            Content::Nothing => return Ok(()),
            Content::Removed => {
                self.groups.remove(&header.group);
                self.before.remove(&header.group);
                return Ok(());
            }
            Content::Head(head) => {
                self.head = Some((epoch, head.groups.clone()));
                self.may_lack_groups |= head.may_lack_groups;
                return self.restate(&head.groups);
            }
            Content::Seal(seal) => {
                let Some(groups) = self.sealed(epoch, seal) else { return Ok(()) };
                return self.restate(&groups);
            }
            Content::Append(_) | Content::Relocated(_) | Content::Reset(_) => {}
        }
        if !self.knows_all {
            self.go_on_from_before(found);
        }
        let known = self.groups.contains_key(&header.group);
        let group = self.groups.entry(header.group).or_insert_with(Replayed::unknown);
        // Where not everything is known, frames are replayed onto groups of which nothing
        // is known yet; the next head or seal then says what is true.
        let lenient = !self.knows_all;
        if !known && !lenient && !matches!(found.content, Content::Reset(_)) {
            return Err(Contradiction(format!("group {} was never made", header.group)));
        }
        let place = Place { epoch, offset: found.offset, length: found.length };
        match &found.content {
            Content::Append(appended) => {
                group.append(appended, header.last, place, lenient)?;
            }
            Content::Relocated(relocated) => {
                let stands = group.stands_at(header.last);
                if lenient && !stands {
                    // All that is known is where the log ends.
                    group.forget_entries(header.last);
                } else if !stands || !lenient && group.hard_state != header.hard_state {
                    let text = format!("a relocation says that the log ends at {}", header.last);
                    return Err(Contradiction(text));
                }
                group.relocate(relocated, place)?;
            }
            Content::Reset(reset) => group.reset(reset)?,
            _ => unreachable!("handled above"),
        }
        group.hard_state = header.hard_state;
        if !group.stands_at(header.last) {
            if !lenient {
                let (found, said) = (group.last, header.last);
                let text = format!("the log ends at {found}, the frame says {said}");
                return Err(Contradiction(text));
            }
            group.forget_entries(header.last);
        }
        // Where little of the group may be known, a head or a seal tells the rest.
        if lenient { Ok(()) } else { group.coherent() }
    }

    /// Frames are missing here that were durable.
    pub(crate) fn gap(&mut self) {
        (self.has_gaps, self.knows_all) = (true, false);
        for (id, mut group) in std::mem::take(&mut self.groups) {
            let Some(before) = self.before.get_mut(&id) else {
                // One whose beginning was collected is known from there on.
                self.before.insert(id, group);
                continue;
            };
            if group.missing().is_none() {
                group.remember_loss(before.lost_up_to());
                *before = group;
            } else {
                before.remember_loss(group.lost_up_to());
            }
        }
    }

    /// Takes a group to be what it was before frames went missing, where this frame shows
    /// that it is still that.
    fn go_on_from_before(&mut self, found: &Found) {
        let (id, last) = (found.header.group, found.header.last);
        let Some(before) = self.before.get(&id).filter(|_| !self.groups.contains_key(&id)) else {
            return;
        };
        let cut_behind = match &found.content {
            Content::Append(appended) if appended.count > 0 => {
                before.precedes(appended).then_some(before.last)
            }
            Content::Reset(reset) if !reset.keeps_suffix => None,
            // An entry stands for all before it (thesis, section 3.5, log matching).
            _ => before.holds(last).then_some(last),
        };
        if let Some(last) = cut_behind
            && let Some(mut group) = self.before.remove(&id)
        {
            group.cut_behind(last);
            self.groups.insert(id, group);
        }
    }

    /// What a seal says, together with the head of its segment.
    fn sealed(&self, epoch: u64, seal: &Seal) -> Option<Vec<Checkpoint>> {
        let (_, head) = self.head.as_ref().filter(|(of, _)| *of == epoch)?;
        let listed: BTreeSet<GroupId> = seal.groups.iter().map(|group| group.group).collect();
        let changed = |id: &GroupId| listed.contains(id) || seal.removed.contains(id);
        let as_before = head.iter().filter(|group| !changed(&group.group));
        Some(as_before.chain(&seal.groups).cloned().collect())
    }

    /// Takes over what a head or a seal says: these are all groups.
    fn restate(&mut self, groups: &[Checkpoint]) -> Result<(), Contradiction> {
        let restated: BTreeMap<GroupId, &Checkpoint> =
            groups.iter().map(|group| (group.group, group)).collect();
        if self.knows_all {
            for (id, group) in &mut self.groups {
                let Some(restated) = restated.get(id) else {
                    // The disk could not read of it then, and nothing was made in its place.
                    if self.may_lack_groups {
                        continue;
                    }
                    let text = format!("a head or seal does not know group {id}");
                    return Err(Contradiction(text));
                };
                if group.damaged_up_to.is_some() && group.is_back(restated) {
                    continue;
                }
                // One that misses entries was set back to what is left, where this was written
                // when the log was opened with that damage.
                if group.missing().is_some() {
                    continue;
                }
                let is_back = group.damaged_up_to.is_none() || group.last != restated.last;
                if restated.damaged_up_to.is_some() && is_back && group.holds(restated.last) {
                    // More can be read now than when it was set back to this.
                    group.set_back(restated);
                    continue;
                }
                group.agrees_with(restated)?;
            }
        }
        let readable_again = self.knows_all && self.may_lack_groups;
        self.groups.retain(|id, _| readable_again || restated.contains_key(id));
        self.before.retain(|id, _| restated.contains_key(id));
        for (id, checkpoint) in restated {
            if self.knows_all && !self.groups.contains_key(&id) {
                return Err(Contradiction(format!("only a head or seal knows group {id}")));
            }
            let group = self.groups.entry(id).or_insert_with(Replayed::unknown);
            let last = checkpoint.last;
            let before = self.before.get(&id).is_some_and(|before| before.holds(last));
            if group.last != last
                && before
                && let Some(whole) = self.before.remove(&id)
            {
                *group = whole;
                group.cut_behind(last);
            } else if (!self.knows_all || group.damaged_up_to.is_some())
                && group.is_back(checkpoint)
            {
                group.come_back(last);
            }
            if group.set_back_to.is_none_or(|to| to != last) {
                group.rebase(checkpoint)?;
            }
            group.coherent()?;
        }
        self.knows_all = true;
        Ok(())
    }

    /// The groups at the end of the log, and what cannot be known of them.
    pub(crate) fn finish(mut self) -> Result<Outcome, Contradiction> {
        let mut outcome = Outcome::default();
        for (id, group) in self.groups {
            let before = self.before.remove(&id);
            if before.is_none() && !group.is_made {
                outcome.unmade.insert(id);
            }
            let lost_up_to = before.as_ref().and_then(Replayed::lost_up_to);
            let is_whole = group.missing().is_none();
            let mut group = if is_whole { group } else { group.left(before) };
            group.remember_loss(lost_up_to);
            group.coherent()?;
            outcome.groups.insert(id, group);
        }
        outcome.votes_lost = self.before.into_keys().collect();
        outcome.may_lack_groups = self.may_lack_groups || (self.has_gaps && !self.knows_all);
        Ok(outcome)
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
