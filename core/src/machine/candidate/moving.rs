//! How our entry gets from one lease of the session to the next, in place: etcd has denied the old one for the sake of another
//! key. The create revision, and so the rank and the token, stay.

use super::copies::Writer;
use super::{Candidate, Verb};
use crate::config::Api;
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Facts, Failure, Former, Op, Sign, Written};
use crate::member::Revision;
use crate::time::Time;

impl Candidate {
    /// The facts as far as they hold for our entry. While it hangs on the former lease it ends with that. And what was sent
    /// before our join, or our move, was answered says nothing of our entry: somebody may have deleted that before the renewal,
    /// and our watch cannot have told us yet (law 3).
    pub(super) fn as_of_our_entry(&self, facts: &Facts) -> Facts {
        let (mut until, mut is_suspect) = (facts.until, facts.is_suspect);
        if self.pace.api == Api::V3 && until < self.answered_at + self.pace.certain {
            until = until.min(self.joined_at + self.pace.certain);
        }
        if self.place.is_some() && self.lease != facts.lease {
            until = until.min(self.former_until(facts));
            is_suspect |= self.former(facts).is_none_or(|former| !former.is_proven);
        }
        Facts { until, is_suspect, ..*facts }
    }

    /// Whether our entry hangs on the lease before, and may still be moved.
    pub(super) fn may_move(&self, facts: &Facts, now: Time) -> bool {
        self.place.is_some() && now < self.former_until(facts)
    }

    fn former_until(&self, facts: &Facts) -> Time {
        self.former(facts).map_or(Time::ZERO, |former| former.until)
    }

    fn former(&self, facts: &Facts) -> Option<Former> {
        facts.former.filter(|former| self.lease == Some(former.lease))
    }

    /// The request that moves our entry, if it hangs on another lease than the session holds.
    pub(super) fn move_entry(&mut self) -> Option<Op> {
        let (place, lease) = (self.place.as_ref()?, self.target?);
        self.moving_to = Some(lease);
        Some(self.write_again(place, lease, Sign::Nothing))
    }

    /// The answer to it: our entry hangs there, by this write.
    pub(super) fn moved(&mut self, at: Revision, sent_at: Time, now: Time) {
        if self.place.is_none() {
            return;
        }
        (self.joined_at, self.answered_at) = (sent_at, now);
        self.lease = self.moving_to.take();
        self.target.take_if(|target| Some(*target) == self.lease);
        self.wrote(at);
    }

    /// Another write was found under our key. If it may be ours, the move is asked for again, from there.
    pub(super) fn not_moved(&mut self, found: Option<&Written>, out: &mut InFlight) {
        match self.writer_of(found) {
            Writer::Us => {}
            Writer::Copy => self.copied(),
            Writer::Other => {
                self.moving_to = None;
                self.lose(found.map(|found| &found.member), out);
            }
        }
    }

    /// A lease that was given up is not written to any more, if the write was not sent yet (law 8).
    pub(super) fn drop_unsent_writes(&mut self, facts: &Facts, out: &mut InFlight) {
        if self.moving_to.is_some_and(|lease| Some(lease) != facts.lease)
            && self.pending.take_if(|pending| pending.verb == Verb::Move && out.forget(pending.id)).is_some()
        {
            self.move_failed(true);
        }
        if self.lease != facts.lease {
            self.drop_unsent_touch(out);
        }
    }

    /// It may have been applied, unless etcd said that it was not; so may one before it.
    pub(super) fn move_failed(&mut self, is_definite: bool) {
        if !is_definite {
            self.doubt_write();
        } else if !self.is_write_in_doubt() {
            self.moving_to = None;
            self.explain();
        }
    }

    /// Words for the end of a term whose entry we may not move, or not read.
    pub(super) fn denied(&mut self, verb: Verb, failure: &Failure) {
        if matches!(verb, Verb::Move | Verb::Look) && failure.kind == ErrorKind::Denied && self.proof.is_some() {
            self.why = Some(Error::new(failure.kind, failure.detail.clone()));
        }
    }
}
