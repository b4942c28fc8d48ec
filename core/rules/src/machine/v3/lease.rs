//! The lease: granted under an id of ours, renewed, and each renewal confirmed (law 1).
//!
//! `outcomes` says what follows from the answers; `reads` are the confirmations; `retired` revokes leases that are not used any
//! more; `doubts` owns the keys whose fate is open; `orphans` finds entries on the lease that are nobody's; `marks` lets a copy of
//! this process notice us.
//!
//! Since 3.4.42, 3.5.28 and 3.6.9 etcd renews a lease only for a user who may write each key on it; before, whatever is on it. If
//! one election has lost that right, another lease is granted, and the others move their entries there: the denied one is left
//! behind alone, and ends with the old lease.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::doubts::Doubts;
use super::marks::Marks;
use super::orphans::{Orphans, namesake};
use super::reads::Reads;
use super::retired::Retired;
use crate::config::Timings;
use crate::machine::in_flight::InFlight;
use crate::machine::session::{Check, Keeper, KeeperNews, backoff_cap};
use crate::machine::{CandidateId, Failure, Finding, Former, LinkId, Op, Places, Reply, RequestId, WatchId, WatchNews};
use crate::member::{LeaseId, Revision};
use crate::time::Time;

mod outcomes;

#[derive(Clone, Debug, Hash)]
struct Held {
    id: LeaseId,
    /// The least of what we asked for and what was granted: that long it is certain.
    ttl: Duration,
    until: Time,
    /// Until when it lives by a renewal that was not confirmed, if that is the last.
    renewed_until: Time,
    /// What was granted: that long, and twice if raft changes its leader, the server may keep it.
    granted: Duration,
}

/// What is under way.
#[derive(Clone, Debug, Hash)]
enum Step {
    Idle,
    Granting {
        request: RequestId,
        id: LeaseId,
    },
    Renewing {
        request: RequestId,
    },
    /// The keepalive was answered; the confirming read is to be sent, once somebody may lead.
    Renewed {
        ttl: Duration,
        term: u64,
    },
    Confirming {
        request: RequestId,
        ttl: Duration,
        term: u64,
        places: Vec<(CandidateId, Revision)>,
        since: Time,
    },
}

/// The lease that the one that is held has replaced, and until when leading under it is certain.
#[derive(Clone, Copy, Debug, Hash)]
struct Replaced {
    lease: Former,
    /// The wall clock has jumped since its last renewal was confirmed: nobody knows how old it is.
    is_suspect: bool,
}

/// Keeps the lease that all places of a session hang on.
#[derive(Clone, Debug, Hash)]
pub(in crate::machine) struct LeaseKeeper {
    asked_ttl_s: u32,
    renew_every: Duration,
    margin: Duration,
    attempt: Duration,
    backoff_cap: Duration,
    held: Option<Held>,
    step: Step,
    /// When the first request of the current step was sent, and so what its success counts from.
    sent_at: Time,
    next_at: Time,
    /// Until a renewal is confirmed nothing is certain beyond this (a jump of the wall clock).
    suspect_until: Option<Time>,
    failures: u32,
    reads: Reads,
    /// Somebody wants a lease to be held.
    is_wanted: bool,
    /// Somebody leads under it, or is next in line.
    is_near: bool,
    /// Somebody may lead under it at any moment. If nobody may, renewals are not confirmed (law 1).
    must_prove: bool,
    /// etcd denied the last renewal, for the sake of some key on the lease, or does not let us delete one.
    is_denied: bool,
    former: Option<Replaced>,
    /// The leases that were replaced: entries that were moved keep their names.
    replaced: Vec<LeaseId>,
    retired: Retired,
    doubts: Doubts,
    orphans: Orphans,
    marks: Marks,
}

impl LeaseKeeper {
    pub(in crate::machine) fn new(timings: &Timings) -> LeaseKeeper {
        LeaseKeeper {
            asked_ttl_s: timings.ttl_s,
            renew_every: timings.renew_every,
            margin: timings.margin,
            attempt: timings.attempt,
            backoff_cap: backoff_cap(timings),
            held: None,
            step: Step::Idle,
            sent_at: Time::ZERO,
            next_at: Time::ZERO,
            suspect_until: None,
            failures: 0,
            reads: Reads::new(),
            is_wanted: false,
            is_near: false,
            must_prove: true,
            is_denied: false,
            former: None,
            replaced: Vec::new(),
            retired: Retired::new(timings.attempt),
            doubts: Doubts::new(timings.attempt),
            orphans: Orphans::default(),
            marks: Marks::new(),
        }
    }

    /// Once no lease is held, the server may keep what hung on one of ours until the last of them is over.
    fn settle_doubts(&mut self, now: Time, out: &mut InFlight) {
        if self.held.is_none() {
            let default = now + Duration::from_secs(u64::from(self.asked_ttl_s)) * 2 + self.attempt;
            self.doubts.lease_ended(self.retired.kept_until().unwrap_or(default), out);
        }
    }

    /// Whether this key is named as an entry of ours is, or was.
    fn has_named(&self, key: &[u8]) -> bool {
        namesake(key).is_some_and(|lease| self.lease() == Some(lease) || self.replaced.contains(&lease))
    }

    /// Renews the lease, or asks for one, when it is time to; confirms a renewal as soon as somebody may lead.
    fn renew(&mut self, link: LinkId, key: &[u8], places: &Places, now: Time, out: &mut InFlight) {
        if let (Step::Renewed { ttl, term }, true) = (&self.step, self.must_prove()) {
            let (ttl, term) = (*ttl, *term);
            let places = self.reads.next(places);
            let keys = places.iter().map(|(_, _, key)| key.clone()).collect();
            let request = out.send(link, Op::Confirm { key: key.to_vec(), keys });
            let places = places.into_iter().map(|(id, revision, _)| (id, revision)).collect();
            self.step = Step::Confirming { request, ttl, term, places, since: now };
        }
        if now < self.next_at || !matches!(self.step, Step::Idle | Step::Renewed { .. }) {
            return;
        }
        if let Some(held) = self.held.as_ref().filter(|_| !self.is_denied) {
            self.sent_at = now;
            let request = out.send(link, Op::Renew { lease: held.id });
            self.step = Step::Renewing { request };
        } else if self.is_wanted {
            self.sent_at = now;
            // A fresh id each time: one whose grant was lost may be alive, and one that exists may be somebody else's.
            let id = out.entropy.lease_id(now);
            self.step =
                Step::Granting { request: out.send(link, Op::Grant { lease: id, ttl_s: self.asked_ttl_s }), id };
        }
    }
}

impl Keeper for LeaseKeeper {
    fn copy(&self) -> Box<dyn Keeper> {
        Box::new(self.clone())
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }

    fn lease(&self) -> Option<LeaseId> {
        self.held.as_ref().map(|held| held.id)
    }

    fn granted(&self) -> Option<Duration> {
        self.held.as_ref().map(|held| held.granted)
    }

    fn former(&self) -> Option<Former> {
        self.former.map(|former| former.lease)
    }

    fn leading_until(&self) -> Time {
        let until = self.held.as_ref().map_or(Time::ZERO, |held| held.until.max(held.renewed_until) - self.margin);
        self.suspect_until.map_or(until, |suspect| suspect.min(until))
    }

    /// A renewal that was not confirmed is enough for those who wait.
    fn is_suspect(&self) -> bool {
        self.suspect_until.is_some()
            || self.former.is_some_and(|former| former.is_suspect)
            || self.held.as_ref().is_some_and(|held| held.renewed_until > held.until)
    }

    fn is_over(&self) -> bool {
        let is_asked_for = matches!(self.step, Step::Granting { .. });
        self.held.is_none() && !is_asked_for && self.retired.is_empty() && self.doubts.is_over()
    }

    fn retire(&mut self, now: Time) {
        let had_former = self.former.take().is_some();
        if self.held.is_some() || had_former {
            self.retired.hurry(now);
            self.lose(now);
        }
    }

    /// A lease is revoked if it can be: that settles all that is in doubt under it. The one before it stands as long as was
    /// certain: a user may still have to hear (law 6).
    fn lose(&mut self, now: Time) {
        if let Some(held) = self.held.take() {
            self.retired.add(held.id, held.granted, now, now);
            // A grant that is under way, to replace this one, is waited for: it is used, or revoked.
            if !matches!(self.step, Step::Granting { .. }) {
                self.step = Step::Idle;
            }
            self.next_at = now;
            self.suspect_until = None;
            self.is_denied = false;
        }
    }

    fn replace(&mut self, now: Time) {
        self.is_denied = true;
        self.next_at = now;
    }

    fn own_doubt(&mut self, key: Vec<u8>) {
        self.doubts.add(key);
    }

    fn own_orphan(&mut self, key: Vec<u8>) {
        self.doubts.add_orphan(key);
    }

    fn has_doubt_under(&self, prefix: &[u8]) -> bool {
        self.doubts.has_one_under(prefix)
    }

    fn owes(&self, prefix: &[u8]) -> bool {
        self.doubts.has_any_under(prefix)
    }

    fn marked(&mut self) {
        self.marks.marked();
    }

    fn watch_news(&mut self, watch: WatchId, news: WatchNews, now: Time, out: &mut InFlight) {
        self.doubts.watch_news(watch, news, now, out);
    }

    fn relinked(&mut self, _: usize, now: Time, _: &mut InFlight) {
        self.step = Step::Idle;
        self.next_at = if self.held.is_some() { now } else { self.next_at };
        self.is_denied = false;
        // The store may have been restored, and an entry that was moved hang on one of those again: the look on the new link
        // ends its term first (simulation, seed 13922).
        self.retired.relinked(if self.held.is_some() { now + self.attempt } else { now });
        self.doubts.relinked();
        self.orphans.relinked(self.lease());
        self.marks.relinked(self.held.is_some(), now);
    }

    fn suspect(&mut self, now: Time, _: &mut InFlight) {
        // A lease that was asked for before the jump may be older than it seems: it is left to run out.
        if matches!(self.step, Step::Granting { .. }) {
            self.step = Step::Idle;
        }
        // No renewal will say how old that is.
        if let Some(Replaced { lease, is_suspect }) = &mut self.former {
            lease.until = lease.until.min(now + self.attempt);
            *is_suspect = true;
        }
        if self.held.is_some() {
            self.suspect_until.get_or_insert(now + self.attempt);
            self.next_at = now;
            match self.step {
                Step::Renewed { .. } | Step::Confirming { .. } => self.step = Step::Idle,
                // Its answer will prove nothing; yet only one keepalive may be under way.
                Step::Renewing { .. } | Step::Idle | Step::Granting { .. } => {}
            }
        }
    }

    fn unlinked(&mut self, is_wanted: bool, now: Time, out: &mut InFlight) {
        self.settle_doubts(now, out);
        self.step = Step::Idle;
        self.retired.let_time_pass(now);
        self.doubts.unlinked(is_wanted, now);
    }

    fn advance(
        &mut self,
        link: LinkId,
        is_wanted: bool,
        key: &[u8],
        places: &Places,
        now: Time,
        out: &mut InFlight,
    ) -> Option<Check> {
        self.settle_doubts(now, out);
        self.is_wanted = is_wanted;
        self.former.take_if(|former| now >= former.lease.until);
        self.retired.let_time_pass(now);
        self.retired.revoke(link, now, out);
        self.renew(link, key, places, now, out);
        self.orphans.advance(link, self.lease(), now, out);
        self.doubts.advance(link, key, self.retired.is_empty(), now, out);
        let marker =
            if self.marks.take_due(self.is_near, now) { places.iter().find(|(_, place)| place.is_near) } else { None };
        marker.map(|(candidate, place)| (*candidate, place.membership.revision, Finding::ToBeTouched))
    }

    fn hurry(&mut self, is_near: bool, must_prove: bool) {
        let begins = is_near && !self.is_near;
        (self.is_near, self.must_prove) = (is_near, must_prove);
        if let (true, Some(held)) = (begins, &self.held) {
            self.next_at = self.next_at.min(self.sent_at + self.pause(held.ttl));
        }
    }

    fn waiting_since(&self) -> Option<Time> {
        match self.step {
            Step::Renewing { .. } => Some(self.sent_at),
            Step::Confirming { since, .. } => Some(since),
            // It waits for a disk, as long as that takes; another server's is not faster.
            Step::Granting { .. } | Step::Idle | Step::Renewed { .. } => None,
        }
    }

    fn timeout(&self, is_served: bool, now: Time) -> Time {
        let over = self.retired.timeout(is_served).min(self.doubts.timeout(is_served, now));
        if !is_served {
            return over;
        }
        let over = over.min(self.former.map_or(Time::NEVER, |former| former.lease.until.max(now)));
        let step = match self.step {
            Step::Idle | Step::Renewed { .. } if self.held.is_some() || self.is_wanted => self.next_at.max(now),
            _ => Time::NEVER,
        };
        step.min(over).min(self.marks.timeout().max(now))
    }

    fn reply(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        is_undated: bool,
        now: Time,
        out: &mut InFlight,
    ) -> (KeeperNews, Vec<Check>) {
        if self.retired.is_waiting_for(id) {
            return (self.retired.reply(id, result, now), Vec::new());
        }
        if self.doubts.is_waiting_for(id) {
            return (self.doubts.reply(id, result, now, out), Vec::new());
        }
        if self.orphans.is_waiting_for(id) {
            let keys = self.orphans.reply(result, now + self.renew_every).into_iter();
            return (KeeperNews::Listed(keys.filter(|key| self.has_named(key)).collect()), Vec::new());
        }
        self.settle(id, result, is_undated, now, out)
    }
}
