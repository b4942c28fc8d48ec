//! The end of an entry: it is checked, lost and given up (laws 3 and 4).

use super::entry::{Claim, Entry, Position, Proof, Stale};
use super::rules::Remainder;
use super::{Candidate, Verb};
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Finding, Place, Plea};
use crate::member::{Member, Membership, Revision};
use crate::time::Time;

impl Candidate {
    /// What the session keeps for us.
    pub(in crate::machine) fn place(&self) -> Option<Place> {
        let entry = self.position.entry()?;
        let view = entry.view.as_ref();
        Some(Place {
            membership: Membership { key: self.own.clone(), revision: entry.revision },
            name: self.name.clone(),
            asked_at: entry.asked_at,
            leader: view.map(|view| view.first.revision),
            is_marked: self.link.is_some_and(|link| entry.writes.was_written_on(link)),
            is_loud: entry.leads() && view.is_some_and(|view| self.pace.is_crowd(view.count)),
            // Before the first look we may be the first.
            is_near: entry.leads() || view.is_none_or(|view| view.next_in_line),
        })
    }

    /// What became of our entry, which we held at `revision`, as the session found out (law 3).
    pub(in crate::machine) fn checked(&mut self, revision: Revision, finding: &Finding, out: &mut InFlight) {
        let until = self.until;
        let Some(entry) = self.position.entry_mut().filter(|entry| entry.revision == revision) else { return };
        match finding {
            Finding::ToBeTouched => entry.writes.must_write(),
            Finding::Unchecked => {
                entry.unseen_until.get_or_insert(until);
                self.must_be_seen();
            }
            Finding::Entry(found) if self.is_ours(found.as_ref()) => {
                if let Some(entry) = self.position.entry_mut() {
                    entry.unseen_until = None;
                }
            }
            Finding::Entry(found) | Finding::Lost(found) => self.lose(found.as_ref(), out),
        }
    }

    /// Nobody sees our key just now: a look must show it before what is certain ends.
    pub(super) fn must_be_seen(&mut self) {
        let agree_by = self.until;
        let is_shown = self.pace.rules.renewals_show_the_entry();
        let is_sure = |entry: &&mut Entry| !is_shown && entry.claim == Claim::Leads(Proof::Looked);
        if let Some(entry) = self.position.entry_mut().filter(is_sure) {
            entry.claim = Claim::Leads(Proof::Unconfirmed { agree_by });
            entry.must_look = true;
        }
    }

    /// Nobody has seen our key for as long as that was certain. A last look shows whether we may read it again.
    pub(super) fn look_before_giving_up(&mut self, now: Time) {
        let is_looking = self.asking.is_pending(Verb::Look);
        if let Some(entry) = self.position.entry_mut() {
            entry.must_look |= entry.is_out_of_sight(now) && !is_looking;
        }
    }

    /// Our entry is not ours any more. What is left under our key, and would stay, is deleted before we join again.
    pub(super) fn lose(&mut self, left: Option<&Member>, out: &mut InFlight) {
        let Some(entry) = self.forget_entry(out) else { return };
        if entry.leads() {
            self.why
                .get_or_insert(Error::new(ErrorKind::KeyLost, "our key was deleted or overwritten by somebody else"));
        }
        match self.pace.rules.remainder(entry.revision, left) {
            Remainder::Nothing => {}
            Remainder::EndedEarly => self.pleas.push(Plea::ClocksDoubted),
            Remainder::Expires => self.leave_to_expire(out.now),
            Remainder::Stale(revision) => {
                self.position = Position::Stale(Stale::new(revision, entry.writes.last()));
            }
        }
    }

    /// Our entry is to be deleted: we leave, or have led from it and lost the lead, and the next one has another token (law 4).
    pub(super) fn retire_entry(&mut self, out: &mut InFlight) {
        if let Some(entry) = self.forget_entry(out) {
            let certain_until = match entry.claim {
                _ if self.is_suspect => Time::ZERO,
                Claim::Leads(Proof::Looked) => self.until,
                Claim::Leads(Proof::Unconfirmed { agree_by }) => self.until.min(agree_by),
                Claim::Waits | Claim::Spent => Time::ZERO,
            };
            self.position = Position::Stale(Stale { certain_until, ..Stale::new(entry.revision, entry.writes.last()) });
        }
    }

    /// The entry that we gave up was gone when etcd was asked to delete it. If nothing of ours can have ended it, the lead was
    /// lost before.
    pub(super) fn was_gone(&mut self, now: Time) {
        if self.position.stale().is_some_and(|stale| stale.asked == 1 && now < stale.certain_until) {
            let words = "our key was gone when the leading work had ended: somebody has deleted it";
            self.report.lost = Some(Error::new(ErrorKind::KeyLost, words));
        }
    }

    /// The wall clock jumped ahead: an entry that we have given up may have run out while our clock stood still.
    pub(in crate::machine) fn jumped(&mut self) {
        if let Position::Stale(stale) = &mut self.position {
            stale.certain_until = Time::ZERO;
        }
    }

    /// It is not ours from now on, whatever becomes of it, and what we knew from its place is void.
    pub(super) fn forget_entry(&mut self, out: &mut InFlight) -> Option<Box<Entry>> {
        let mut entry = self.position.take_entry()?;
        self.traces.give_up(entry.revision);
        // A move that comes late finds nothing, unless a restored backup has brought the entry back.
        self.traces.join_in_doubt |= entry.moving_to.is_some();
        entry.writes.drop_unsent(out);
        entry.watches.drain(..).for_each(|watch| out.unwatch(watch.id));
        Some(entry)
    }

    pub(super) fn is_ours(&self, found: Option<&Member>) -> bool {
        matches!((found, self.position.entry()), (Some(found), Some(entry))
            if found.revision == entry.revision && self.is_kept(found))
    }

    /// Whether an entry hangs on what our session keeps alive. Without that it would stay for ever.
    pub(super) fn is_kept(&self, member: &Member) -> bool {
        let moving_to = self.position.entry().and_then(|entry| entry.moving_to);
        self.pace.rules.is_kept(member, &self.name, [self.lease, moving_to])
    }
}
