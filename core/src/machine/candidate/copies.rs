//! How we notice a copy of this process, which holds our lease and our entry (law 13).

use super::Candidate;
use crate::config::Api;
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Failure, LinkId, Op, Plea, RequestId, Sign, Written};
use crate::member::{LeaseId, Membership, Revision};

/// What we know of the writes of our entry.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The last that was ours.
    last: Revision,
    /// The entry is to be written once.
    is_due: bool,
    asked: Option<RequestId>,
    /// On which link we last asked for one.
    link: Option<LinkId>,
    /// A write of ours was never answered: it may have been applied.
    in_doubt: bool,
    /// The last that we were told of and do not know for ours, while one of ours is not answered.
    unexplained: Revision,
}

/// The possible authors of a write that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// We may have made it: one of our writes was never answered.
    Us,
    /// A copy of this process made it.
    Copy,
    /// Our entry is gone, or it is another's.
    Other,
}

impl Candidate {
    /// Our entry was made, written or moved by this write. A late answer says nothing of those after it.
    pub(super) fn wrote(&mut self, at: Revision) {
        if at > self.writes.last {
            let Writes { is_due, link, unexplained, .. } = self.writes;
            self.writes = Writes { last: at, is_due, link, unexplained, ..Writes::default() };
        }
        self.explain();
    }

    /// v2: the session has written our entry.
    pub(super) fn follow_writes(&mut self, at: Revision) {
        if self.pace.api == Api::V2 && self.place.is_some() {
            self.writes.last = self.writes.last.max(at);
        }
    }

    /// The last write of our entry that we know of.
    pub(super) fn last_written(&self) -> Revision {
        self.writes.last
    }

    /// Whether our entry is written on the link that serves us.
    pub(super) fn is_marked(&self) -> bool {
        self.link.is_some() && self.writes.link == self.link
    }

    pub(super) fn must_touch(&mut self) {
        self.writes.is_due = true;
    }

    /// What was asked on the link before is not answered any more.
    pub(super) fn forget_touch(&mut self) {
        self.writes.in_doubt |= self.writes.asked.take().is_some();
    }

    /// Nothing is written any more under a lease that is given up, if it was not sent yet (law 8).
    pub(super) fn drop_unsent_touch(&mut self, out: &mut InFlight) {
        if self.writes.asked.take_if(|asked| out.forget(*asked)).is_some() {
            self.writes.is_due = true;
            self.explain();
        }
    }

    /// Writes our entry once, if that is due. Nothing else waits for it: a write may take as long as a disk does.
    pub(super) fn touch(&mut self, link: LinkId, out: &mut InFlight) {
        let (Some(place), Some(lease)) = (&self.place, self.lease) else { return };
        // A look comes first: a term may depend on it.
        let has_looked = !self.must_look && self.pending.is_none();
        if self.writes.is_due && self.writes.asked.is_none() && self.target.is_none() && has_looked {
            let leads = self.proof.is_some();
            let op = self.write_again(place, lease, if leads { Sign::Leads } else { Sign::Waits });
            let id = if leads { out.send(link, op) } else { out.send_at_leisure(link, op) };
            (self.writes.is_due, self.writes.asked, self.writes.link) = (false, Some(id), Some(link));
        }
    }

    /// Guarded by our last write: of all that were never answered, one may still be applied, and none after a later one.
    pub(super) fn write_again(&self, place: &Membership, lease: LeaseId, sign: Sign) -> Op {
        let (revision, written) = (place.revision, self.writes.last);
        Op::Touch { key: place.key.clone(), name: self.name.clone(), revision, written, lease, sign }
    }

    pub(super) fn doubt_write(&mut self) {
        self.writes.in_doubt = true;
    }

    pub(super) fn is_write_in_doubt(&self) -> bool {
        self.writes.in_doubt
    }

    /// Whether this is the answer that our touch waits for.
    pub(super) fn is_touch(&self, id: RequestId) -> bool {
        self.writes.asked == Some(id)
    }

    /// The answer to it: `Ok` if we wrote at that revision, or what was found instead.
    pub(super) fn touched(&mut self, result: Result<Result<Revision, Option<Written>>, Failure>, out: &mut InFlight) {
        self.writes.asked = None;
        if self.place.is_none() {
            return;
        }
        match result {
            Ok(Ok(at)) => self.wrote(at),
            Ok(Err(found)) => match self.writer_of(found.as_ref()) {
                Writer::Us => self.writes.is_due = true,
                Writer::Copy => self.copied(),
                Writer::Other => self.lose(found.map(|found| found.member).as_ref(), out),
            },
            Err(failure) => {
                self.writes.in_doubt |= !failure.kind.is_definite_refusal();
                self.explain();
            }
        }
    }

    /// A write of ours was answered: what we were told of meanwhile was somebody else's, unless another of ours is still open.
    pub(super) fn explain(&mut self) {
        if !self.may_be_written() && self.writes.unexplained > self.writes.last {
            self.copied();
        }
    }

    /// Whether a write of ours has no answer yet, or had none.
    fn may_be_written(&self) -> bool {
        self.writes.asked.is_some() || self.writes.in_doubt || self.moving_to.is_some()
    }

    /// Tells the author of the write that stands in the place of our last one. If we may be that, the entry is written once
    /// more from there, and a copy notices it.
    pub(super) fn writer_of(&mut self, found: Option<&Written>) -> Writer {
        let Some(found) = found.filter(|found| self.is_ours(Some(&found.member))) else { return Writer::Other };
        let is_unanswered = self.writes.asked.is_some() || std::mem::take(&mut self.writes.in_doubt);
        // We know an older one, or a restore has taken our last one back.
        if is_unanswered || found.at <= self.writes.last {
            self.writes.last = found.at;
            return Writer::Us;
        }
        Writer::Copy
    }

    /// A watch tells that our entry was written and is ours as before.
    pub(super) fn saw_write(&mut self, at: Revision) {
        if self.pace.api == Api::V2 || at <= self.writes.last {
            return;
        }
        if self.may_be_written() {
            self.writes.unexplained = self.writes.unexplained.max(at);
        } else {
            self.copied();
        }
    }

    pub(super) fn copied(&mut self) {
        if self.place.is_some() {
            let words = "somebody else wrote our key as we would: a copy of this process, which ran on from a checkpoint or a clone?";
            self.why = Some(Error::new(ErrorKind::KeyLost, words));
            self.pleas.extend([self.lease, self.target].into_iter().flatten().map(Plea::Copied));
            self.is_spent |= self.proof.take().is_some();
            self.view = None;
        }
    }
}
