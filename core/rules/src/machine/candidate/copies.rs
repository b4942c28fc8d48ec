//! How we notice a copy of this process, which holds our lease and our entry (law 13).

use super::Candidate;
use super::entry::{Claim, Entry};
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Failure, LinkId, Op, Plea, RequestId, Sign, Written};
use crate::member::{LeaseId, Revision};

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

impl Entry {
    /// Whether a write of ours has no answer yet, or had none.
    fn may_be_written(&self) -> bool {
        self.writes.asked.is_some() || self.writes.in_doubt || self.moving_to.is_some()
    }
}

impl Candidate {
    /// Our entry was written or moved by this write of ours, which has this sign.
    pub(super) fn wrote(&mut self, at: Revision, shows: Sign) {
        if let Some(entry) = self.position.entry_mut() {
            entry.writes.wrote(at, shows);
        }
        self.explain();
    }

    /// The session has written our entry, by this write if it does so at all.
    pub(super) fn follow_writes(&mut self, at: Revision) {
        if let Some(entry) = self.position.entry_mut() {
            entry.writes.last = entry.writes.last.max(at);
        }
    }

    /// Writes our entry once, if that is due. Nothing else waits for it: a write may take as long as a disk does.
    pub(super) fn touch(&mut self, link: LinkId, out: &mut InFlight) {
        let (Some(entry), Some(lease)) = (self.position.entry(), self.lease) else { return };
        // A look comes first: a term may depend on it.
        let has_looked = !entry.must_look && self.asking.pending.is_none();
        if entry.writes.is_due && entry.writes.asked.is_none() && entry.target.is_none() && has_looked {
            let leads = entry.leads();
            let sign = if leads { Sign::Leads } else { Sign::Waits };
            let op = self.write_again(entry, lease, sign);
            let id = if leads { out.send(link, op) } else { out.send_at_leisure(link, op) };
            if let Some(Entry { writes, .. }) = self.position.entry_mut() {
                (writes.is_due, writes.asked, writes.link) = (false, Some((id, sign)), Some(link));
            }
        }
    }

    /// Guarded by our last write: of all that were never answered, one may still be applied, and none after a later one.
    pub(super) fn write_again(&self, entry: &Entry, lease: LeaseId, sign: Sign) -> Op {
        let (revision, written, shows) = (entry.revision, entry.writes.last, entry.writes.shows);
        Op::Touch { key: self.own.clone(), name: self.name.clone(), revision, written, lease, shows, sign }
    }

    /// Whether this is the answer that our touch waits for.
    pub(super) fn is_touch(&self, id: RequestId) -> bool {
        self.position.entry().is_some_and(|entry| entry.writes.asked.is_some_and(|(asked, _)| asked == id))
    }

    /// The answer to it: `Ok` if we wrote at that revision, or what was found instead.
    pub(super) fn touched(&mut self, result: Result<Result<Revision, Option<Written>>, Failure>, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        let asked = entry.writes.asked.take();
        match result {
            Ok(Ok(at)) => self.wrote(at, asked.map_or(Sign::Nothing, |(_, sign)| sign)),
            Ok(Err(found)) => match self.writer_of(found.as_ref()) {
                Writer::Us => self.must_touch(),
                Writer::Copy => self.copied(),
                Writer::Other => self.lose(found.map(|found| found.member).as_ref(), out),
            },
            Err(failure) => {
                if !failure.kind.is_definite_refusal() {
                    entry.writes.doubt();
                    // It is made again. The server may be behind: there is no hurry.
                    entry.hearing.write_at = entry.hearing.write_at.min(out.now + self.pace.ttl());
                }
                self.explain();
                // Another cluster answers on this link: the next answer may be its, too.
                if let (ErrorKind::ClusterMismatch, Some(link)) = (failure.kind, self.link) {
                    self.pleas.push(Plea::LinkFailed(link, failure));
                }
            }
        }
    }

    fn must_touch(&mut self) {
        if let Some(entry) = self.position.entry_mut() {
            entry.writes.must_write();
        }
    }

    /// A write of ours was answered: what we were told of meanwhile was somebody else's, unless another of ours is still open.
    pub(super) fn explain(&mut self) {
        let is_unexplained = |entry: &Entry| !entry.may_be_written() && entry.writes.unexplained > entry.writes.last;
        if self.position.entry().is_some_and(is_unexplained) {
            self.copied();
        }
    }

    /// Tells the author of the write that stands in the place of our last one. If we may be that, the entry is written once
    /// more from there, and a copy notices it.
    pub(super) fn writer_of(&mut self, found: Option<&Written>) -> Writer {
        let found = found.filter(|found| self.is_ours(Some(&found.member)));
        let (Some(found), Some(Entry { writes, .. })) = (found, self.position.entry_mut()) else {
            return Writer::Other;
        };
        let is_unanswered = writes.asked.is_some() || std::mem::take(&mut writes.in_doubt);
        // We know an older one, or a restore has taken our last one back.
        if is_unanswered || found.at <= writes.last {
            (writes.last, writes.shows) = (found.at, Sign::Nothing);
            return Writer::Us;
        }
        Writer::Copy
    }

    /// A watch tells that our entry was written and is ours as before.
    pub(super) fn saw_write(&mut self, at: Revision) {
        let Some(entry) = self.position.entry_mut().filter(|entry| at > entry.writes.last) else { return };
        if !self.pace.rules.writes_show_copies() {
            return;
        }
        if entry.may_be_written() {
            entry.writes.unexplained = entry.writes.unexplained.max(at);
        } else {
            self.copied();
        }
    }

    pub(super) fn copied(&mut self) {
        let Some(entry) = self.position.entry_mut() else { return };
        let words = "somebody else wrote our key as we would: a copy of this process, which ran on from a checkpoint or a clone?";
        self.why = Some(Error::new(ErrorKind::KeyLost, words));
        self.pleas.extend([self.lease, entry.target].into_iter().flatten().map(Plea::Copied));
        if entry.leads() {
            entry.claim = Claim::Spent;
        }
        entry.view = None;
    }
}
