//! A candidate takes in the session's status: another lease, another link, and until when leading is certain.

use super::entry::{Entry, Position};
use super::{Candidate, Pending, Verb};
use crate::error::{Error, ErrorKind};
use crate::machine::Facts;
use crate::machine::in_flight::InFlight;
use crate::member::Membership;
use crate::time::Time;

impl Candidate {
    /// The facts as far as they hold for our entry. While it hangs on the former lease it ends with that. And what was sent
    /// before our join, or our move, was answered says nothing of our entry: somebody may have deleted that before the renewal,
    /// and our watch cannot have told us yet (law 3).
    pub(super) fn as_of_our_entry(&self, facts: &Facts) -> Facts {
        let Some(entry) = self.position.entry() else { return *facts };
        let (mut until, mut is_suspect) = (facts.until, facts.is_suspect);
        if !self.pace.rules.renewals_show_the_entry() && until < entry.answered_at + self.pace.certain {
            until = until.min(entry.asked_at + self.pace.certain);
        }
        if self.lease != facts.lease {
            until = until.min(self.former_until(facts));
            is_suspect |= self.former(facts).is_none_or(|former| !former.is_proven);
        }
        Facts { until, is_suspect, ..*facts }
    }

    /// A new lease or a new link: what hung on the old one is gone.
    pub(super) fn follow(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        let (is_other_lease, may_move) = (self.lease != facts.lease, self.may_move(facts, now));
        if let Some(entry) = self.position.entry_mut() {
            entry.target = facts.lease.filter(|_| is_other_lease && may_move);
        }
        self.drop_unsent_writes(facts, out);
        if is_other_lease && !may_move {
            self.change_lease(facts, now, out);
        }
        let is_other_link = self.link != facts.link;
        if is_other_link {
            self.must_be_seen();
        }
        self.follow_writes(facts.written);
        let of_entry = self.as_of_our_entry(facts);
        (self.session_has_joined, self.until, self.is_suspect) =
            (facts.has_joined, of_entry.until, of_entry.is_suspect);
        if is_other_link {
            self.change_link(facts, now, out);
        }
    }

    /// A lease that was given up is not written to any more, if the write was not sent yet (law 8).
    fn drop_unsent_writes(&mut self, facts: &Facts, out: &mut InFlight) {
        let moving_to = self.position.entry().and_then(|entry| entry.moving_to);
        let is_unsent = |pending: &mut Pending| pending.verb == Verb::Move && out.forget(pending.id);
        if moving_to.is_some() && moving_to != facts.lease && self.asking.pending.take_if(is_unsent).is_some() {
            self.move_failed(true);
        }
        if self.lease != facts.lease
            && let Some(entry) = self.position.entry_mut()
            && entry.writes.drop_unsent(out)
        {
            self.explain();
        }
    }

    fn change_lease(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        if self.position.entry().is_some_and(Entry::leads) {
            self.why.get_or_insert(Error::new(ErrorKind::LeaseLost, "our lease is gone"));
        }
        let is_joining = self.asking.is_pending(Verb::Join);
        let own = std::mem::take(&mut self.own);
        let entry = self.forget_entry(out);
        if self.pace.rules.entries_expire() {
            // All that we knew of the store is void. What may be left of us runs out.
            if is_joining {
                self.leave_to_expire(now);
            }
        } else {
            // A join that comes late finds room once the entry that we know of is deleted.
            if self.traces.join_in_doubt || is_joining {
                self.traces.in_doubt.push(own.clone());
            }
            let stands = entry.map(|entry| entry.revision).or(self.position.stale().map(|stale| stale.revision));
            self.traces.left_behind.extend(stands.map(|revision| Membership { key: own, revision }));
            self.own = facts.lease.and_then(|lease| self.pace.rules.own_key(&self.prefix, lease)).unwrap_or_default();
        }
        self.lease = facts.lease;
        if let Some(pending) = self.asking.pending.take_if(|pending| pending.verb != Verb::Clear) {
            // A join under a lease that is given up must not be sent any more (law 8).
            out.forget(pending.id);
        }
        self.position = Position::Out;
        self.traces.begin_lease();
        self.seen = 0;
    }

    fn change_link(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        self.link = facts.link;
        let lost = self.asking.pending.take().map(|pending| pending.verb);
        if lost == Some(Verb::Join) {
            self.doubt_join(now);
        }
        let Some(entry) = self.position.entry_mut() else { return };
        if lost == Some(Verb::Move) {
            entry.writes.doubt();
        }
        entry.must_look |= lost == Some(Verb::Look);
        entry.watches.clear();
        entry.writes.forget_sent();
        if self.lapsed {
            // What was seen on the old link is too old to lead on.
            entry.drop_proof();
        }
        let is_far = !entry.leads() && entry.view.as_ref().is_some_and(|view| !view.next_in_line);
        if is_far && self.pace.rules.checks_are_linearizable() {
            entry.hearing.must_check();
        } else if is_far && self.link.is_some() {
            entry.must_look = false;
            self.look_in_turn(out);
        } else {
            entry.must_look = true;
        }
    }
}
