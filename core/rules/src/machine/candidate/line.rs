//! v2: how those who wait know who leads. A watch of v2 covers one key, and a look lists all entries, so that each keeps the order in
//! which the first of them will lead, as its last look showed it.
//!
//! In a small fleet each watches the leader's entry: when that ends, the next of the line leads. In a crowd that would wake all at the
//! moment at which the next in line takes over. There each watches the entry of the next in line, which writes it once when it leads;
//! one read of the leader's key then shows whether that is what the write meant.

use super::Candidate;
use super::entry::Entry;
use super::pace::Pace;
use crate::machine::in_flight::InFlight;
use crate::machine::{LINE, Op};
use crate::member::{Member, Revision, View};

/// A follower that knows fewer of those who will lead looks again before it knows none.
const SHORT: usize = LINE / 2;

impl Pace {
    /// The entry of the next in line, if that is what a follower watches.
    pub(super) fn next_leader<'a>(&self, view: &'a View) -> Option<&'a Member> {
        view.line.first().filter(|_| self.is_crowd(view.count))
    }

    /// Of the first entries that a look showed, those between the leader's and ours.
    pub(super) fn line(&self, first: &[Member], own: (Revision, &[u8]), count: usize) -> Vec<Member> {
        if self.rules.leaders_announce() || self.is_frugal(count) {
            return Vec::new();
        }
        first.iter().skip(1).take_while(|member| member.rank() < own).cloned().collect()
    }
}

impl Candidate {
    /// The leader's entry has ended, and ours is not the next in line: the next of the line leads, unless it ended before, which
    /// its watch says at once.
    pub(super) fn follow_next(&mut self, out: &mut InFlight) {
        let Some(Entry { view: Some(view), .. }) = self.position.entry_mut() else { return };
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
        let Some(Entry { view: Some(view), must_glance, .. }) = self.position.entry_mut() else { return };
        let Some(next) = view.line.first() else { return };
        if now.is_some_and(|now| now.revision == next.revision) {
            *must_glance |= at > view.first_at;
        } else if view.before.as_ref().is_none_or(|before| before.rank() != next.rank()) {
            view.line.remove(0);
            view.next_at = view.looked_at;
            self.shortened(out);
        }
    }

    /// Takes in what a check has shown of it.
    pub(super) fn check_next(&mut self, stands: impl Fn(&Member) -> bool, at: Revision, out: &mut InFlight) {
        let Some(Entry { view: Some(view), hearing, .. }) = self.position.entry_mut() else { return };
        let Some(next) = self.pace.next_leader(view).filter(|next| hearing.has_asked(&next.key)) else { return };
        if stands(next) {
            view.next_at = at;
        } else {
            self.hear_of_next(None, at, out);
        }
    }

    fn shortened(&mut self, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        let Some(view) = &entry.view else { return };
        let is_all = view.next_in_line || view.before.as_ref().map(Member::rank) == view.line.last().map(Member::rank);
        if self.pace.is_crowd(view.count) && view.line.len() < SHORT && !is_all {
            entry.look_by(out.now + out.entropy.spread(self.pace.ttl()));
        }
        self.watch_what_stays(out);
    }

    /// The read of the leader's key alone.
    pub(super) fn glance(&mut self) -> Option<Op> {
        let entry = self.position.entry_mut()?;
        let leads = entry.leads();
        let view = entry.view.as_ref().filter(|_| std::mem::take(&mut entry.must_glance) && !leads)?;
        Some(entry.hearing.ask(vec![view.first.key.clone()]))
    }

    /// The answer to it. A server that lags may still show an entry that has ended; a check finds that out later.
    pub(super) fn glanced(&mut self, found: Option<&Member>, at: Revision, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut().filter(|entry| !entry.leads()) else { return };
        let asked = &entry.hearing;
        let Some(view) = entry.view.as_mut().filter(|view| asked.has_asked(&view.first.key)) else { return };
        if found.is_some_and(|found| found.revision == view.first.revision) {
            view.first_at = view.first_at.max(at);
        } else {
            self.follow_next(out);
        }
    }
}
