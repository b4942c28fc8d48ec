//! How we notice a copy of this process, which holds our lease and our entry (law 13).

use super::Candidate;
use crate::config::Api;
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Failure, LinkId, Op, Plea, RequestId, Written};
use crate::member::Revision;

/// What we know of the writes of our entry.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// The last that was ours.
    last: Revision,
    /// The entry is to be written once.
    is_due: bool,
    asked: Option<RequestId>,
    /// A write of ours was never answered: it may have been applied.
    in_doubt: bool,
    /// The last that we were told of and do not know for ours, while one of ours is not answered.
    unexplained: Revision,
}

impl Candidate {
    /// Our entry was made, or moved, by this write.
    pub(super) fn wrote(&mut self, at: Revision) {
        let unexplained = std::mem::take(&mut self.writes.unexplained);
        self.writes = Writes { last: at, is_due: self.writes.is_due, ..Writes::default() };
        if unexplained > at {
            self.copied();
        }
    }

    pub(super) fn must_touch(&mut self) {
        self.writes.is_due = true;
    }

    /// What was asked on the link before is not answered any more.
    pub(super) fn forget_touch(&mut self) {
        self.writes.in_doubt |= self.writes.asked.take().is_some();
    }

    /// Writes our entry once, if that is due. Nothing else waits for it: a write may take as long as a disk does.
    pub(super) fn touch(&mut self, link: LinkId, out: &mut InFlight) {
        let (Some(place), Some(lease)) = (&self.place, self.lease) else { return };
        // A look comes first: a term may depend on it.
        let has_looked = !self.must_look && self.pending.is_none();
        if self.writes.is_due && self.writes.asked.is_none() && self.target.is_none() && has_looked {
            let (revision, written) = (place.revision, self.writes.last);
            let op = Op::Touch { key: place.key.clone(), name: self.name.clone(), revision, written, lease };
            (self.writes.is_due, self.writes.asked) = (false, Some(out.send_at_leisure(link, op)));
        }
    }

    /// Whether this is the answer that our touch waits for.
    pub(super) fn is_touch(&self, id: RequestId) -> bool {
        self.writes.asked == Some(id)
    }

    /// The answer to it: `Ok` if we wrote at that revision, or what was found instead.
    pub(super) fn touched(&mut self, result: Result<Result<Revision, Option<Written>>, Failure>, out: &mut InFlight) {
        self.writes.asked = None;
        let Some(place) = self.place.clone() else { return };
        match result {
            Ok(Ok(at)) => self.wrote(at),
            Ok(Err(Some(found))) if found.member.revision == place.revision && self.is_kept(&found.member) => {
                // Perhaps ours, or from before a restore that took our last write back: then it is written once more, and a copy
                // notices that.
                let is_older = found.at < self.writes.last;
                if std::mem::take(&mut self.writes.in_doubt) || is_older {
                    (self.writes.last, self.writes.is_due) = (found.at, true);
                } else {
                    self.copied();
                }
            }
            Ok(Err(found)) => self.lose(found.map(|found| found.member).as_ref(), out),
            Err(failure) => self.writes.in_doubt |= !failure.kind.is_definite_refusal(),
        }
    }

    /// A watch tells that our entry was written and is ours as before.
    pub(super) fn saw_write(&mut self, at: Revision) {
        if self.pace.api == Api::V2 || at <= self.writes.last {
            return;
        }
        if self.writes.asked.is_some() || self.writes.in_doubt || self.moving_to.is_some() {
            self.writes.unexplained = self.writes.unexplained.max(at);
        } else {
            self.copied();
        }
    }

    fn copied(&mut self) {
        if let (Some(_), Some(lease)) = (&self.place, self.lease) {
            let words = "somebody else wrote our key as we would: a copy of this process, which ran on from a checkpoint or a clone?";
            self.why = Some(Error::new(ErrorKind::KeyLost, words));
            self.pleas.push(Plea::Copied(lease));
            self.is_spent |= self.proof.take().is_some();
            self.view = None;
        }
    }
}
