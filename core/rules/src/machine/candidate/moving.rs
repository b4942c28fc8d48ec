//! How our entry gets from one lease of the session to the next, in place: etcd has denied the old one for the sake of another
//! key. The create revision, and so the rank and the token, stay.

use super::Candidate;
use super::copies::Writer;
use crate::machine::in_flight::InFlight;
use crate::machine::{Facts, Former, Op, Sign, Written};
use crate::member::Revision;
use crate::time::Time;

impl Candidate {
    /// Whether our entry hangs on the lease before, and may still be moved.
    pub(super) fn may_move(&self, facts: &Facts, now: Time) -> bool {
        self.position.entry().is_some() && now < self.former_until(facts)
    }

    pub(super) fn former_until(&self, facts: &Facts) -> Time {
        self.former(facts).map_or(Time::ZERO, |former| former.until)
    }

    pub(super) fn former(&self, facts: &Facts) -> Option<Former> {
        facts.former.filter(|former| self.lease == Some(former.lease))
    }

    /// The request that moves our entry, if it hangs on another lease than the session holds.
    pub(super) fn move_entry(&mut self) -> Option<Op> {
        let entry = self.position.entry_mut()?;
        let lease = entry.target?;
        entry.moving_to = Some(lease);
        let entry = self.position.entry()?;
        Some(self.write_again(entry, lease, Sign::Nothing))
    }

    /// The answer to it: our entry hangs there, by this write.
    pub(super) fn moved(&mut self, at: Revision, sent_at: Time, now: Time) {
        let Some(entry) = self.position.entry_mut() else { return };
        (entry.asked_at, entry.answered_at) = (sent_at, now);
        self.lease = entry.moving_to.take();
        entry.target.take_if(|target| Some(*target) == self.lease);
        self.wrote(at, Sign::Nothing);
    }

    /// Another write was found under our key. If it may be ours, the move is asked for again, from there.
    pub(super) fn not_moved(&mut self, found: Option<&Written>, out: &mut InFlight) {
        match self.writer_of(found) {
            Writer::Us => {}
            Writer::Copy => self.copied(),
            Writer::Other => {
                if let Some(entry) = self.position.entry_mut() {
                    entry.moving_to = None;
                }
                self.lose(found.map(|found| &found.member), out);
            }
        }
    }

    /// It may have been applied, unless etcd said that it was not; so may one before it.
    pub(super) fn move_failed(&mut self, is_definite: bool) {
        let Some(entry) = self.position.entry_mut() else { return };
        if !is_definite {
            entry.writes.doubt();
        } else if !entry.writes.is_in_doubt() {
            entry.moving_to = None;
            self.explain();
        }
    }
}
