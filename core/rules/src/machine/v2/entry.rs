//! An entry of v2, which has a time to live of its own (law 1): refreshed, and each refresh checked to be of our entry.
//!
//! A refresh names the last write that we know of, so it succeeds only on what we wrote ourselves, and one that arrives
//! late, after another, does nothing. If it fails, somebody else has written the entry, or a refresh of ours whose
//! answer was lost. It is taken for the latter only while our entry is certain to exist: names are given out again when
//! a store was wiped, and what stands there later may be another member's.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use super::servers::Servers;
use crate::config::Timings;
use crate::error::ErrorKind;
use crate::machine::in_flight::InFlight;
use crate::machine::session::{Check, Keeper, KeeperNews, is_long};
use crate::machine::{Answer, CandidateId, Failure, Finding, LinkId, Op, Place, Places, Reply, RequestId, Written};
use crate::member::{LeaseId, OWN_TTL, Revision};
use crate::time::Time;

/// The entry we keep.
#[derive(Clone, Debug, Hash)]
struct Held {
    candidate: CandidateId,
    place: Place,
    /// The last write of it that we know of.
    written: Revision,
    /// A refresh of ours was never answered: it may have been applied.
    in_doubt: bool,
    until: Time,
    refresh_at: Time,
    /// Who leads, as those who watch our entry were last shown, and when (they look when they see it written).
    shown: Option<Revision>,
    shown_at: Time,
    /// Nobody was shown yet whom we found leading.
    is_new: bool,
    /// It is not ours any more, and the candidate is about to hear of it.
    is_lost: bool,
}

/// A refresh under way.
#[derive(Clone, Debug, Hash)]
struct Refreshing {
    request: RequestId,
    sent_at: Time,
    /// Whom it shows as the leader, if it is visible.
    shows: Option<Revision>,
}

/// Keeps the one entry of a session of v2.
#[derive(Clone, Debug, Hash)]
pub(in crate::machine) struct EntryKeeper {
    ttl_s: u32,
    ttl: Duration,
    renew_every: Duration,
    margin: Duration,
    attempt: Duration,
    /// Counts how often all was given up; what stands for the lease.
    incarnation: LeaseId,
    is_active: bool,
    held: Option<Held>,
    under_way: Option<Refreshing>,
    /// Refreshes that nobody waits for any more: of an entry that was let go.
    abandoned: Vec<RequestId>,
    suspect_until: Option<Time>,
    /// When the wall clock jumped last: what was asked for before that proves nothing.
    jumped_at: Option<Time>,
    failures: u32,
    servers: Servers,
}

impl EntryKeeper {
    pub(in crate::machine) fn new(timings: &Timings) -> EntryKeeper {
        EntryKeeper {
            ttl_s: timings.ttl_s,
            ttl: timings.ttl(),
            renew_every: timings.renew_every,
            margin: timings.margin,
            attempt: timings.attempt,
            incarnation: 0,
            is_active: false,
            held: None,
            under_way: None,
            abandoned: Vec::new(),
            suspect_until: None,
            jumped_at: None,
            failures: 0,
            servers: Servers::new(timings),
        }
    }

    /// When to refresh an entry whose last write was asked for at `asked_at` and is answered now. An answer takes long where many
    /// candidates ask at once. Each then spreads its next refresh over the time that the answer took.
    fn next_refresh(&self, asked_at: Time, now: Time, out: &mut InFlight) -> Time {
        let took = now.since(asked_at);
        let spread = if is_long(took) { took.min(self.renew_every / 4) } else { Duration::ZERO };
        asked_at + self.renew_every - out.entropy.spread(spread)
    }

    /// Takes over the candidate's place, or lets it go.
    fn follow(&mut self, places: &Places, now: Time, out: &mut InFlight) {
        let Some((candidate, place)) = places.first_key_value() else { return self.let_go() };
        match &mut self.held {
            Some(held) if held.place.membership == place.membership => {
                held.place.is_near = place.is_near;
                held.see(place.leader, place.is_loud, self.renew_every, now);
            }
            _ => {
                self.let_go();
                let refresh_at = self.next_refresh(place.asked_at, now, out);
                self.held = Some(Held {
                    candidate: *candidate,
                    place: place.clone(),
                    written: place.membership.revision,
                    in_doubt: false,
                    until: place.asked_at + self.ttl,
                    refresh_at,
                    shown: place.leader,
                    shown_at: place.asked_at,
                    is_new: true,
                    is_lost: false,
                });
                if self.jumped_at.is_some_and(|jumped| place.asked_at <= jumped) {
                    self.doubt_all(now);
                }
            }
        }
    }

    fn let_go(&mut self) {
        self.abandoned.extend(self.under_way.take().map(|refresh| refresh.request));
        (self.held, self.suspect_until) = (None, None);
    }

    /// Nothing is certain before a refresh that is sent from now on.
    fn doubt_all(&mut self, now: Time) {
        if let Some(held) = &mut self.held {
            self.suspect_until.get_or_insert(now + self.attempt);
            held.refresh_at = now;
        }
    }

    fn applied(
        &mut self,
        refresh: &Refreshing,
        found: Written,
        is_undated: bool,
        now: Time,
        out: &mut InFlight,
    ) -> (KeeperNews, Vec<Check>) {
        let next_refresh = self.next_refresh(refresh.sent_at, now, out);
        let Some(held) = &mut self.held else { return (KeeperNews::Nothing, Vec::new()) };
        if !held.is_entry(&found) {
            return (KeeperNews::Nothing, vec![held.lost(Some(found))]);
        }
        held.written = found.at;
        held.in_doubt = false;
        if refresh.shows.is_some() {
            (held.shown, held.shown_at, held.is_new) = (refresh.shows, refresh.sent_at, false);
        }
        self.failures = 0;
        if is_undated {
            return (KeeperNews::Nothing, Vec::new());
        }
        held.until = refresh.sent_at + self.ttl;
        held.refresh_at = next_refresh;
        self.suspect_until = None;
        self.servers.wrote(now);
        (KeeperNews::Kept, Vec::new())
    }

    fn not_applied(&mut self, found: Option<Written>, now: Time) -> (KeeperNews, Vec<Check>) {
        let Some(held) = &mut self.held else { return (KeeperNews::Nothing, Vec::new()) };
        // A clock that stood still does not tell.
        let is_certain = now < held.until && self.suspect_until.is_none();
        match found {
            Some(found) if held.is_entry(&found) && held.in_doubt && is_certain => {
                // The lost one was applied. Only one that names it proves how long the entry lives.
                held.written = found.at;
                held.refresh_at = now;
                (KeeperNews::Nothing, Vec::new())
            }
            found => (KeeperNews::Nothing, vec![held.lost(found)]),
        }
    }

    fn failed(&mut self, failure: Failure, now: Time, out: &mut InFlight) -> KeeperNews {
        self.failures = self.failures.saturating_add(1);
        let wait = out.entropy.backoff(self.failures, self.attempt / 2);
        if let Some(held) = &mut self.held {
            held.in_doubt |= !failure.kind.is_definite_refusal();
            held.refresh_at = now + wait;
        }
        KeeperNews::Failed(failure)
    }
}

impl Keeper for EntryKeeper {
    fn copy(&self) -> Box<dyn Keeper> {
        Box::new(self.clone())
    }

    fn feed(&self, mut hasher: &mut dyn Hasher) {
        self.hash(&mut hasher);
    }

    fn lease(&self) -> Option<LeaseId> {
        self.is_active.then_some(self.incarnation)
    }

    /// An entry lives as long as it was asked for.
    fn granted(&self) -> Option<Duration> {
        Some(self.ttl)
    }

    fn written(&self) -> Revision {
        self.held.as_ref().filter(|held| !held.is_lost).map_or(0, |held| held.written)
    }

    fn leading_until(&self) -> Time {
        let held = self.held.as_ref().filter(|held| !held.is_lost);
        let until = held.map_or(Time::ZERO, |held| held.until - self.margin);
        self.suspect_until.map_or(until, |suspect| suspect.min(until)) - self.servers.skew()
    }

    fn is_suspect(&self) -> bool {
        self.suspect_until.is_some()
    }

    fn is_over(&self) -> bool {
        !self.is_active
    }

    fn retire(&mut self, _: Time) {
        self.is_active = false;
        self.let_go();
    }

    fn relinked(&mut self, endpoint: usize, now: Time, out: &mut InFlight) {
        self.servers.relinked(endpoint, now);
        let is_lost = self.under_way.take().is_some();
        if let Some(held) = &mut self.held {
            held.in_doubt |= is_lost;
            // When etcd restarts, all candidates come back at once, and the lead depends on one answer. The others refresh when it
            // is due. If it is overdue, they spread over half of the time that they have left.
            if held.place.is_near || self.suspect_until.is_some() {
                held.refresh_at = now;
            } else if held.in_doubt || held.refresh_at <= now {
                held.refresh_at = now + out.entropy.spread((held.until - self.margin).since(now) / 2);
            }
        }
    }

    fn suspect(&mut self, now: Time, out: &mut InFlight) {
        self.servers.forget_clocks(now, out);
        self.jumped_at = Some(now);
        self.doubt_all(now);
    }

    fn unlinked(&mut self, _: bool, _: Time, out: &mut InFlight) {
        self.servers.unlinked(out);
        if self.under_way.take().is_some()
            && let Some(held) = &mut self.held
        {
            held.in_doubt = true;
        }
    }

    fn close(&mut self, out: &mut InFlight) {
        self.servers.close(out);
    }

    fn endpoint_of(&self, link: LinkId) -> Option<usize> {
        self.servers.endpoint_of(link)
    }

    fn note_clock(&mut self, endpoint: usize, clock_s: u64, sent_at: Time, now: Time) {
        self.servers.note_clock(endpoint, clock_s, sent_at, now);
    }

    fn wrote(&mut self, now: Time) {
        self.servers.wrote(now);
    }

    fn doubt_clocks(&mut self, now: Time) {
        self.servers.ask(now);
    }

    fn behind(&mut self, now: Time) -> Option<(usize, Duration)> {
        self.servers.behind(now)
    }

    fn skew(&self) -> Duration {
        self.servers.skew()
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
        self.servers.advance(key, now, out);
        if is_wanted && !self.is_active {
            self.is_active = true;
            self.incarnation += 1;
        }
        self.follow(places, now, out);
        // One that was not sent yet never is.
        self.abandoned.drain(..).for_each(|request| _ = out.forget(request));
        if let (Some(held), None) = (&self.held, &self.under_way)
            && !held.is_lost
            && now >= held.refresh_at
        {
            let shows = held.place.leader.filter(|leader| held.is_new || held.shown != Some(*leader));
            let op = Op::Refresh {
                key: held.place.membership.key.clone(),
                name: held.place.name.clone(),
                written: held.written,
                ttl_s: self.ttl_s,
                visible: shows.is_some(),
            };
            self.under_way = Some(Refreshing { request: out.send(link, op), sent_at: now, shows });
        }
        None
    }

    /// Each refresh is a write: as often as the members of 2015, and no more.
    fn hurry(&mut self, _: bool, _: bool) {}

    fn waiting_since(&self) -> Option<Time> {
        self.under_way.as_ref().map(|refresh| refresh.sent_at)
    }

    fn timeout(&self, is_served: bool, now: Time) -> Time {
        let refresh_at = match (&self.under_way, &self.held) {
            (None, Some(held)) if is_served && !held.is_lost => held.refresh_at.max(now),
            _ => Time::NEVER,
        };
        refresh_at.min(self.servers.timeout(is_served))
    }

    fn reply(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        is_undated: bool,
        now: Time,
        out: &mut InFlight,
    ) -> (KeeperNews, Vec<Check>) {
        if self.servers.settle(id, out) {
            return (KeeperNews::Clock, Vec::new());
        }
        let Some(refresh) = self.under_way.take_if(|refresh| refresh.request == id) else {
            return (KeeperNews::Nothing, Vec::new());
        };
        match result.map(|reply| reply.answer) {
            Ok(Answer::Refreshed { applied: true, found: Some(found) }) => {
                self.applied(&refresh, found, is_undated, now, out)
            }
            Ok(Answer::Refreshed { applied: false, found }) => self.not_applied(found, now),
            Ok(answer) => {
                let detail = format!("the backend answered {answer:?} to a refresh");
                (self.failed(Failure::new(ErrorKind::Internal, detail), now, out), Vec::new())
            }
            Err(failure) => (self.failed(failure, now, out), Vec::new()),
        }
    }
}

impl Held {
    /// Takes in who leads. Those behind us are told at once, but not more often than we refresh anyway, unless we lead, and many
    /// wait for our word.
    fn see(&mut self, leader: Option<Revision>, is_loud: bool, renew_every: Duration, now: Time) {
        if self.place.leader.is_none() {
            // The first we found: whoever came after us has most likely found the same.
            self.shown = leader;
        }
        self.place.leader = leader.or(self.place.leader);
        if self.shown != self.place.leader {
            let due = if is_loud { now } else { self.shown_at + renew_every };
            self.refresh_at = self.refresh_at.min(due);
        }
    }

    fn is_entry(&self, found: &Written) -> bool {
        let (place, member) = (&self.place.membership, &found.member);
        member.key == place.key
            && member.revision == place.revision
            && member.lease == OWN_TTL
            && member.name == self.place.name
    }

    fn lost(&mut self, found: Option<Written>) -> Check {
        self.is_lost = true;
        (self.candidate, self.place.membership.revision, Finding::Lost(found.map(|found| found.member)))
    }
}
