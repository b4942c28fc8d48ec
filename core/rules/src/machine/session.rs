//! One session: a lease with its renewals, what they prove, and what is in doubt (laws 1, 4, 7, 8, 10).
//!
//! `links` finds an endpoint that serves and sticks to it; a `keeper` keeps our places: `v3/lease` by a lease, each
//! renewal of which it confirms, `v2/entry` by the entry's own time to live, which ends by the servers' clocks; `keys` knows which
//! key to ask for where any would do; `history` notices another cluster and a store that went back; `news` is what the parts tell
//! each other.

use std::sync::Arc;
use std::time::Duration;

use super::in_flight::{Booking, InFlight};
use super::{CandidateId, Facts, Failure, LinkId, Place, Places, Reply, RequestId, Step, Trouble, WatchId, WatchNews};
use crate::config::Timings;
use crate::error::{Error, ErrorKind};
use crate::member::LeaseId;
use crate::time::Time;

mod history;
mod keeper;
mod keys;
mod links;
mod news;
mod round;
mod silence;

use keys::Keys;
use links::Links;
use round::Urgency;
use silence::Waiting;

pub(super) use keeper::{Check, Keeper, KeeperNews};
pub(super) use links::backoff_cap;
pub(super) use silence::is_long;

/// Whether there is somebody to keep the lease for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// The first candidate is yet to come.
    Unused,
    /// Some candidate needs it.
    InUse,
    /// The last candidate has left: no other may come.
    Closing,
}

/// A trouble that keeps us from leading, or may do so.
#[derive(Clone, Debug, Hash)]
struct Worry {
    trouble: Arc<Trouble>,
    /// No link has served since.
    is_unserved: bool,
}

/// The session of one crew.
#[derive(Clone, Debug, Hash)]
pub struct Session {
    timings: Timings,
    links: Links,
    keeper: Box<dyn Keeper>,
    /// Entries of ours that have no place: a candidate's that it will yet take, or nobody's.
    strays: Vec<Vec<u8>>,
    /// Where our candidates stand, for the confirming read.
    places: Places,
    /// How many of them lead or are next in line.
    near: usize,
    keys: Keys,
    /// Candidates that etcd does not let in, and its words.
    refusals: Vec<(CandidateId, Error)>,
    quiet_until: Time,
    /// A join was answered: from now on nothing is fatal (law 7).
    has_joined: bool,
    stage: Stage,
    worry: Option<Worry>,
    /// The lease that etcd has granted last, and the warning if it is much longer than we asked for.
    granted: Option<Duration>,
    long_lease: Option<Arc<Trouble>>,
    fatal: Option<Error>,
    checks: Vec<Check>,
}

impl Session {
    pub(super) fn new(timings: Timings, keeper: Box<dyn Keeper>) -> Session {
        Session {
            links: Links::new(&timings),
            strays: Vec::new(),
            places: Places::new(),
            near: 0,
            keys: Keys::default(),
            refusals: Vec::new(),
            quiet_until: Time::ZERO,
            has_joined: false,
            stage: Stage::Unused,
            worry: None,
            granted: keeper.granted(),
            long_lease: None,
            fatal: None,
            checks: Vec::new(),
            keeper,
            timings,
        }
    }

    /// A first or further candidate; `prefix` is a key that it must be allowed to read.
    pub(super) fn enlist(&mut self, candidate: CandidateId, prefix: &[u8]) {
        debug_assert!(self.stage != Stage::Closing, "accepts() says so");
        self.stage = Stage::InUse;
        self.keys.add(candidate, prefix);
    }

    /// A candidate has left.
    pub(super) fn delist(&mut self, candidate: CandidateId) {
        self.keys.remove(candidate);
        self.place(candidate, None);
    }

    /// The last candidate has left.
    pub(super) fn dismiss(&mut self) {
        self.stage = Stage::Closing;
    }

    fn is_in_use(&self) -> bool {
        self.stage == Stage::InUse
    }

    /// Notes where a candidate stands now.
    pub(super) fn place(&mut self, candidate: CandidateId, place: Option<Place>) {
        if place.as_ref().is_some_and(|place| place.is_marked) {
            self.keeper.marked();
        }
        self.near += usize::from(place.as_ref().is_some_and(|place| place.is_near));
        let before = match place {
            Some(place) => self.places.insert(candidate, place),
            None => self.places.remove(&candidate),
        };
        self.near -= usize::from(before.is_some_and(|place| place.is_near));
    }

    /// What candidates may read.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            link: self.links.current(),
            lease: self.keeper.lease(),
            former: self.keeper.former(),
            until: self.keeper.leading_until(),
            quiet_until: self.quiet_until,
            has_joined: self.has_joined,
            is_suspect: self.keeper.is_suspect(),
            written: self.keeper.written(),
        }
    }

    /// Whether the wall clock jumped and no renewal was confirmed since.
    pub(super) fn is_suspect(&self) -> bool {
        self.keeper.is_suspect()
    }

    pub(super) fn trouble(&self) -> Option<&Arc<Trouble>> {
        self.worry.as_ref().map(|worry| &worry.trouble)
    }

    pub(super) fn granted(&self) -> (Option<Duration>, Option<&Arc<Trouble>>) {
        (self.granted, self.long_lease.as_ref())
    }

    pub(super) fn fatal(&self) -> Option<&Error> {
        self.fatal.as_ref()
    }

    /// The candidates that etcd does not let in, and its words.
    pub(super) fn take_refusals(&mut self) -> Vec<(CandidateId, Error)> {
        std::mem::take(&mut self.refusals)
    }

    pub(super) fn take_checks(&mut self) -> Vec<Check> {
        std::mem::take(&mut self.checks)
    }

    /// Takes over a key whose join may still arrive.
    pub(super) fn own_doubt(&mut self, key: Vec<u8>) {
        self.keeper.own_doubt(key);
    }

    /// Entries of ours that may be those of a candidate, or nobody's.
    pub(super) fn take_strays(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.strays)
    }

    /// Takes over an entry that is nobody's.
    pub(super) fn own_orphan(&mut self, key: Vec<u8>) {
        self.keeper.own_orphan(key);
    }

    /// Whether an entry under this prefix may still appear.
    pub(super) fn has_doubt_under(&self, prefix: &[u8]) -> bool {
        self.keeper.has_doubt_under(prefix)
    }

    /// Whether an entry under this prefix that was taken over may be there, or appear.
    pub(super) fn owes(&self, prefix: &[u8]) -> bool {
        self.keeper.owes(prefix)
    }

    /// No user, no doubt, no lease: the crew may be dropped.
    pub(super) fn is_over(&self) -> bool {
        !self.is_in_use() && self.keeper.is_over()
    }

    /// Whether a candidate may still be added.
    pub(super) fn accepts(&self) -> bool {
        self.fatal.is_none() && self.stage != Stage::Closing
    }

    /// An opening has come so far.
    pub(super) fn opening(&mut self, link: LinkId, step: Step) {
        self.links.opening(link, step);
    }

    /// A server that refuses is not silent.
    pub(super) fn note_failure(&mut self, link: LinkId, failure: &Failure, now: Time) {
        if self.links.current() == Some(link) && failure.kind != ErrorKind::Unreachable {
            self.links.heard(None, Some(now));
        }
    }

    pub(super) fn reply(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        booking: &Booking,
        now: Time,
        out: &mut InFlight,
    ) {
        if self.links.is_waiting_for(id) {
            let stamp = result.map(|reply| reply.stamp);
            let news = self.links.reply(id, stamp, booking.known, self.has_joined, now, out);
            self.hear_of_links(news, now, out);
        } else {
            let (news, checks) = self.keeper.reply(id, result, booking.is_undated, now, out);
            self.checks.extend(checks);
            self.hear_of_lease(news, now, out);
        }
    }

    pub(super) fn watch_news(&mut self, watch: WatchId, news: WatchNews, now: Time, out: &mut InFlight) {
        self.keeper.watch_news(watch, news, now, out);
    }

    /// The link is to blame for the failure of a request. A server that says that it cannot serve now may do so soon, and its
    /// connection stands: others are tried beside it.
    pub(super) fn request_failed(&mut self, link: LinkId, failure: Failure, now: Time, out: &mut InFlight) {
        if matches!(failure.kind, ErrorKind::Timeout | ErrorKind::NoQuorum) {
            let news = self.links.unwell(link, failure);
            self.hear_of_links(news, now, out);
        } else {
            self.link_failed(link, failure, now, out);
        }
    }

    /// The link is broken, or of no use: close it and look for another.
    pub(super) fn link_failed(&mut self, link: LinkId, failure: Failure, now: Time, out: &mut InFlight) {
        let news = self.links.failed(link, failure, now, out);
        self.hear_of_links(news, now, out);
    }

    /// An entry was gone before its time, as if another member's clock were ahead.
    pub(super) fn doubt_clocks(&mut self, now: Time) {
        self.keeper.doubt_clocks(now);
    }

    /// Somebody was told that our lease does not exist.
    pub(super) fn lease_gone(&mut self, lease: LeaseId, now: Time) {
        if self.keeper.lease() == Some(lease) {
            self.lose_lease(now);
        }
    }

    /// An entry on this lease cannot be deleted: only the end of the lease ends it. Another is granted, and the other entries move.
    pub(super) fn leave_behind(&mut self, lease: LeaseId, now: Time) {
        if self.keeper.lease() == Some(lease) {
            self.keeper.replace(now);
        }
    }

    /// Somebody else renews our lease (law 13).
    pub(super) fn copied(&mut self, lease: LeaseId, now: Time) {
        if self.keeper.lease() == Some(lease) {
            self.drop_lease(now);
        }
    }

    /// The wall clock jumped ahead: leading is certain only once a renewal says so (law 1).
    pub(super) fn jumped(&mut self, now: Time, out: &mut InFlight) {
        out.jumped();
        self.keeper.suspect(now, out);
    }

    pub(super) fn advance(&mut self, now: Time, out: &mut InFlight) {
        if !self.is_in_use() {
            self.drop_lease(now);
        }
        if self.is_over() {
            self.links.close(out);
            self.keeper.close(out);
            return;
        }
        let urgency = match (now < self.keeper.leading_until(), self.near) {
            (true, 1..) => Urgency::Lead,
            (true, 0) if !self.places.is_empty() => Urgency::Follow,
            _ => Urgency::Start,
        };
        let waiting = self.waiting(out);
        let news = self.links.advance(self.keys.current(), urgency, self.has_joined, waiting, now, out);
        self.hear_of_links(news, now, out);
        if let Some(link) = self.links.current() {
            let wants_lease = self.is_in_use() && self.fatal.is_none();
            // Those who have no place yet may lead as soon as they have.
            let may_lead = self.near > 0 || self.places.len() < self.keys.count();
            self.keeper.hurry(self.near > 0, may_lead);
            let check = self.keeper.advance(link, wants_lease, self.keys.current(), &self.places, now, out);
            self.checks.extend(check);
        } else {
            self.keeper.unlinked(self.is_in_use(), now, out);
        }
    }

    /// What the serving link has not answered yet.
    fn waiting(&self, out: &InFlight) -> Waiting {
        let any = self.links.current().and_then(|link| out.oldest(link));
        Waiting { renewal: self.keeper.waiting_since(), any }
    }

    pub(super) fn timeout(&self, now: Time, out: &InFlight) -> Time {
        if self.is_over() {
            return Time::NEVER;
        }
        let served = self.links.current().is_some();
        self.links.timeout(&self.waiting(out)).min(self.keeper.timeout(served, now))
    }

    /// Nobody needs the lease any longer.
    fn drop_lease(&mut self, now: Time) {
        self.keeper.retire(now);
        self.leave_places();
    }

    /// The lease is gone.
    fn lose_lease(&mut self, now: Time) {
        self.keeper.lose(now);
        self.leave_places();
    }

    fn leave_places(&mut self) {
        self.places.clear();
        self.near = 0;
    }
}
