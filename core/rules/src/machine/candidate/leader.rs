//! How a new leader makes itself known to those behind it, and how they learn of it (v3).
//!
//! A new leader with others behind it writes its entry once more, signed: one write, of which etcd tells all who watch, and no
//! request of theirs. They believe it when they say who leads, and nothing more: it proves nothing (law 2). What they know is
//! checked by reads of single keys, seldom, as a leader of another library may not announce itself.
//! A leader that began by a look, and not by its watch, announces itself again after a ttl: others may have missed the first word.

use std::time::Duration;

use super::Candidate;
use super::entry::{Claim, Entry, Proof};
use super::hearing::Hearing;
use crate::machine::in_flight::InFlight;
use crate::machine::{Change, Op, Sign, Watched, member_key};
use crate::member::{Member, Revision};
use crate::time::Time;

/// A leader that announces itself has done so by then.
const ANNOUNCED: Duration = Duration::from_millis(20);

/// A crowd that is started at once has joined by then, and so have those whose clocks are ahead by as much.
const JOINED: Duration = Duration::from_secs(1);
/// If the one before us came so soon before us, others may come as soon after us.
const TOGETHER: Duration = Duration::from_millis(100);

impl Candidate {
    /// Lets time pass.
    pub(super) fn listen(&mut self, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        entry.writes.is_due |= entry.hearing.must_write_again(out.now);
        let hearing = &mut entry.hearing;
        hearing.must_check |= out.now >= hearing.check_at.min(hearing.announced_by);
        let may_follow = out.now >= hearing.follow_at;
        if may_follow {
            hearing.follow_at = Time::NEVER;
            self.watch_view(out);
        }
    }

    /// The keys of those who may say that they lead, if we watch for that yet.
    pub(super) fn ahead_of_us(&self, hearing: &Hearing) -> Option<Watched> {
        let (from, to) = (self.prefix.clone(), hearing.horizon.clone());
        let is_begun = self.pace.rules.leaders_announce() && hearing.follow_at == Time::NEVER;
        is_begun.then_some(Watched { from, to, start: None, puts_only: true })
    }

    /// Our first look. The candidates ahead of us have leases from before this moment, and so lower keys: we watch these for the
    /// next leader. If many join a large fleet together, we wait: etcd would tell each of them of all that join after it.
    pub(super) fn begin_to_follow(&mut self, before: Option<&Member>, count: usize, out: &mut InFlight) {
        let Some(Entry { hearing, .. }) = self.position.entry_mut() else { return };
        if !self.pace.rules.leaders_announce() || !hearing.horizon.is_empty() {
            return;
        }
        let key_at = |time: Time| member_key(&self.prefix, out.entropy.first_lease_id(time));
        hearing.horizon = key_at(out.now + JOINED);
        let is_crowded = before.is_some_and(|before| before.key >= key_at(out.now - TOGETHER));
        if is_crowded && count > self.pace.few {
            hearing.follow_at = out.now + JOINED + out.entropy.spread(JOINED);
        }
    }

    /// Somebody ahead of us has written its entry. Signed, it says that its author leads.
    pub(super) fn hear_of_leader(&mut self, change: &Change, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut().filter(|entry| !entry.leads()) else { return };
        let (Some(by), Some(view)) = (&change.now, &mut entry.view) else { return };
        if by.rank() >= (entry.revision, &self.own) || change.at <= view.first_at {
            return;
        }
        let is_first = by.rank() == view.first.rank();
        match change.sign {
            Sign::Leads if is_first => view.first_at = change.at,
            Sign::Leads => {
                // It is the one just before us: only a look shows that nobody else is ahead of us.
                entry.must_look |= view.before.as_ref().is_some_and(|before| before.rank() == by.rank());
                (view.first_at, view.is_hearsay) = (change.at, true);
                view.displaced = Some(std::mem::replace(&mut view.first, by.clone()));
                (entry.hearing.announced_by, entry.hearing.heard_at) = (Time::NEVER, Some(out.now));
                self.watch_view(out);
            }
            Sign::Waits if is_first && view.is_hearsay => self.disbelieve(change.at, out),
            Sign::Waits | Sign::Nothing => {}
        }
    }

    /// The one that said that it leads has taken that back.
    fn disbelieve(&mut self, at: Revision, out: &mut InFlight) {
        let Some(Entry { view: Some(view), hearing, .. }) = self.position.entry_mut() else { return };
        (view.first_at, view.is_hearsay) = (at, false);
        match view.displaced.take() {
            Some(displaced) => {
                view.first = displaced;
                if hearing.heard_at.is_none_or(|heard_at| out.now > heard_at + JOINED) {
                    self.leader_is_gone(out);
                }
            }
            None => self.look_by_rank(out),
        }
    }

    /// The leader's entry is gone, and ours is not the next in line: its successor may be about to announce itself.
    pub(super) fn leader_is_gone(&mut self, out: &mut InFlight) {
        let Some(Entry { view: Some(view), hearing, .. }) = self.position.entry_mut() else { return };
        if self.pace.rules.leaders_announce() {
            hearing.missed = view.first.revision;
            hearing.announced_by = hearing.announced_by.min(out.now + ANNOUNCED + out.entropy.spread(ANNOUNCED));
        } else {
            self.follow_next(out);
        }
    }

    /// The entry just before ours is gone: others may have lost theirs at the same moment, and the one that is nearest to the
    /// leader takes over.
    pub(super) fn look_by_rank(&mut self, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        let Some(view) = &entry.view else { return };
        let is_alone = view.next_in_line || !self.pace.rules.looks_are_sorted();
        let turn = if is_alone { Duration::ZERO } else { self.pace.turn(view, entry.revision) };
        if turn.is_zero() {
            entry.must_look = true;
        } else {
            entry.look_by(out.now + turn);
        }
    }

    /// The read that shows whether what we know still holds: our entry, the one just before it, the leader's, and that of
    /// the leader before, which an announcement has put aside.
    pub(super) fn check(&mut self) -> Option<Op> {
        let Some(Entry { view: Some(view), hearing, .. }) = self.position.entry_mut() else { return None };
        if !std::mem::take(&mut hearing.must_check) {
            return None;
        }
        (hearing.check_at, hearing.announced_by) = (Time::NEVER, Time::NEVER);
        let mut keys = vec![self.own.clone()];
        let next = self.pace.next_leader(view);
        for member in view.before.iter().chain([&view.first]).chain(&view.displaced).chain(next) {
            if !keys.contains(&member.key) {
                keys.push(member.key.clone());
            }
        }
        Some(hearing.ask(keys))
    }

    /// The answer to it.
    pub(super) fn checked_view(&mut self, found: &[Option<Member>], at: Revision, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        if !self.pace.rules.checks_are_linearizable() && at < self.seen.max(entry.writes.last()) {
            // The server's own view may be old; a look never is.
            entry.must_look = true;
            return;
        }
        if at < self.seen {
            entry.hearing.must_check = true;
            return;
        }
        let found = |key: &[u8]| found.iter().flatten().find(|member| member.key == key);
        let ours = found(&self.own);
        if !self.is_ours(ours) {
            self.lose(ours, out);
            return;
        }
        self.seen = at;
        let Some(entry) = self.position.entry_mut() else { return };
        entry.unseen_until = None;
        let is_confirmed = !matches!(entry.claim, Claim::Leads(Proof::Unconfirmed { .. }));
        let Some(view) = entry.view.as_mut().filter(|_| is_confirmed) else {
            entry.must_look = true;
            return;
        };
        if view.first.key == self.own {
            // Our entry stands: nobody can be ahead of it.
            view.at = at;
            self.checked_gaps(out);
            return;
        }
        let stands = |member: &Member| found(&member.key).filter(|found| found.revision == member.revision);
        if view.before.as_ref().is_some_and(|before| stands(before).is_some()) {
            view.at = at;
        } else {
            self.look_by_rank(out);
        }
        self.check_next(|next| stands(next).is_some(), at, out);
        self.check_leader(|member| stands(member).cloned(), at, out);
        self.check_later(out);
        self.watch_what_stays(out);
        self.checked_gaps(out);
    }

    /// What a check at this revision has shown of the leader. What an announcement has told meanwhile is newer.
    fn check_leader(&mut self, stands: impl Fn(&Member) -> Option<Member>, at: Revision, out: &mut InFlight) {
        let Some(Entry { view: Some(view), hearing, .. }) = self.position.entry_mut() else { return };
        if view.first_at > at || !hearing.has_asked(&view.first.key) {
            return;
        }
        let displaced = view.displaced.take().and_then(|displaced| stands(&displaced));
        let leader =
            stands(&view.first).into_iter().chain(displaced).min_by(|one, other| one.rank().cmp(&other.rank()));
        if let Some(leader) = leader {
            (view.first, view.first_at) = (leader, at);
        } else if hearing.missed == view.first.revision {
            self.are_some_silent = true;
            self.look_by_rank(out);
        } else {
            self.leader_is_gone(out);
        }
    }

    /// Nothing needs to be read before that.
    pub(super) fn check_later(&mut self, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        let Some(view) = entry.view.as_ref().filter(|view| self.pace.checks_keys(view.count)) else { return };
        let wait = self.pace.check_again(view, entry.revision, self.are_some_silent);
        // Those who joined together, or were told together, need not check together.
        entry.hearing.check_at = out.now + wait - out.entropy.spread(wait / 8);
    }
}
