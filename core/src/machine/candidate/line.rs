//! v2: how those who wait know who leads. A watch of v2 covers one key, and a look lists all entries, so that each keeps the order in
//! which the first of them will lead, as its last look showed it.
//!
//! In a small fleet each watches the leader's entry: when that ends, the next of the line leads. In a crowd that would wake all at the
//! moment at which the next in line takes over. There each watches the entry of the next in line, which writes it once when it leads;
//! one read of the leader's key then shows whether that is what the write meant.

use super::{Candidate, Verb};
use crate::config::Api;
use crate::machine::in_flight::InFlight;
use crate::machine::{LINE, Op};
use crate::member::{Member, Membership, Revision, View};

/// A follower that knows fewer of those who will lead looks again before it knows none.
const SHORT: usize = LINE / 2;

impl Candidate {
    /// Of the first entries that a look showed, those between the leader's and ours.
    pub(super) fn line(&self, first: &[Member], place: &Membership, count: usize) -> Vec<Member> {
        let own = (place.revision, place.key.as_slice());
        if self.pace.api == Api::V3 || self.pace.is_frugal(count) {
            return Vec::new();
        }
        first.iter().skip(1).take_while(|member| member.rank() < own).cloned().collect()
    }

    /// The entry of the next in line, if that is what we watch.
    pub(super) fn next_leader<'a>(&self, view: &'a View) -> Option<&'a Member> {
        view.line.first().filter(|_| self.pace.is_crowd(view.count))
    }

    /// The leader's entry has ended, and ours is not the next in line: the next of the line leads, unless it ended before, which
    /// its watch says at once.
    pub(super) fn follow_next(&mut self, out: &mut InFlight) {
        let Some(view) = self.view.as_mut() else { return };
        if view.line.is_empty() {
            self.look_in_turn(out);
            return;
        }
        (view.first, view.first_at) = (view.line.remove(0), view.next_at);
        view.next_at = view.looked_at;
        view.next_in_line = view.before.as_ref().is_some_and(|before| before.rank() == view.first.rank());
        self.shortened(out);
    }

    /// The entry of the next in line was written, or has ended.
    pub(super) fn hear_of_next(&mut self, now: Option<&Member>, at: Revision, out: &mut InFlight) {
        let Some(view) = self.view.as_mut() else { return };
        let Some(next) = view.line.first() else { return };
        if now.is_some_and(|now| now.revision == next.revision) {
            self.must_glance |= at > view.first_at;
        } else if view.before.as_ref().is_none_or(|before| before.rank() != next.rank()) {
            view.line.remove(0);
            view.next_at = view.looked_at;
            self.shortened(out);
        }
    }

    /// Takes in what a check has shown of it.
    pub(super) fn check_next(&mut self, stands: impl Fn(&Member) -> bool, at: Revision, out: &mut InFlight) {
        let next = self.view.as_ref().and_then(|view| self.next_leader(view));
        let Some(next) = next.filter(|next| self.hearing.has_asked(&next.key)) else { return };
        if !stands(next) {
            self.hear_of_next(None, at, out);
        } else if let Some(view) = self.view.as_mut() {
            view.next_at = at;
        }
    }

    fn shortened(&mut self, out: &mut InFlight) {
        let Some(view) = &self.view else { return };
        let is_all = view.next_in_line || view.before.as_ref().map(Member::rank) == view.line.last().map(Member::rank);
        if self.pace.is_crowd(view.count) && view.line.len() < SHORT && !is_all {
            self.look_at = self.look_at.min(out.now + out.entropy.spread(self.pace.ttl()));
        }
        // Otherwise what the look shows is watched.
        if !self.must_look {
            self.watch_view(out);
        }
    }

    /// The read of the leader's key alone.
    pub(super) fn glance(&mut self) -> Option<(Verb, Op)> {
        let view = self.view.as_ref().filter(|_| std::mem::take(&mut self.must_glance) && self.proof.is_none())?;
        let keys = vec![view.first.key.clone()];
        Some((Verb::Glance, self.hearing.ask(keys)))
    }

    /// The answer to it. A server that lags may still show an entry that has ended; a check finds that out later.
    pub(super) fn glanced(&mut self, found: Option<&Member>, at: Revision, out: &mut InFlight) {
        let is_asked = |view: &&mut View| self.proof.is_none() && self.hearing.has_asked(&view.first.key);
        let Some(view) = self.view.as_mut().filter(is_asked) else { return };
        if found.is_some_and(|found| found.revision == view.first.revision) {
            view.first_at = view.first_at.max(at);
        } else {
            self.follow_next(out);
        }
    }
}
