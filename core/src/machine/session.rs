//! One session: a lease with its renewals, what they prove, and what is in doubt (laws 1, 4, 7, 8, 10).
//!
//! `links` finds an endpoint that serves and sticks to it; `lease` keeps the lease and confirms every renewal;
//! `doubts` owns the keys whose fate is open; here is the history of the store, and what the parts tell each other.

use std::sync::Arc;

use super::outbox::Outbox;
use super::{
    Answer, CandidateId, Facts, Failure, LinkId, Places, Reply, RequestId, Stamp, Trouble, WatchId, WatchNews,
};
use crate::config::{OnStoreReset, SessionSettings};
use crate::error::{Error, ErrorKind};
use crate::member::{LeaseId, Member, Membership, Revision};
use crate::time::Time;

mod doubts;
mod lease;
mod links;

use doubts::Doubts;
use lease::{Keeper, LeaseNews};
use links::{LinkNews, Links};

pub(super) use links::backoff_cap;

/// What the confirming read found for one candidate's place: the revision it should have, and the entry.
pub(super) type Check = (CandidateId, Revision, Option<Member>);

/// The session of one crew.
#[derive(Debug)]
pub struct Session {
    settings: SessionSettings,
    links: Links,
    keeper: Keeper,
    doubts: Doubts,
    /// Where our candidates stand, for the confirming read.
    places: Places,
    /// A key we may read.
    key: Vec<u8>,
    quiet_until: Time,
    /// A join was answered: from now on nothing is fatal (law 7).
    has_joined: bool,
    has_users: bool,
    /// The last candidate has left: no other may come.
    is_closing: bool,
    trouble: Option<Arc<Trouble>>,
    fatal: Option<Error>,
    checks: Vec<Check>,
}

impl Session {
    pub(super) fn new(settings: SessionSettings) -> Session {
        Session {
            links: Links::new(&settings),
            keeper: Keeper::new(&settings),
            doubts: Doubts::new(settings.attempt),
            places: Places::new(),
            key: Vec::new(),
            quiet_until: Time::ZERO,
            has_joined: false,
            has_users: false,
            is_closing: false,
            trouble: None,
            fatal: None,
            checks: Vec::new(),
            settings,
        }
    }

    /// A first or further candidate; `prefix` is a key it may read.
    pub(super) fn enlist(&mut self, prefix: &[u8]) {
        self.has_users = true;
        self.key = prefix.to_vec();
    }

    /// The last candidate has left.
    pub(super) fn dismiss(&mut self) {
        self.has_users = false;
        self.is_closing = true;
    }

    /// Notes where a candidate stands now.
    pub(super) fn place(&mut self, candidate: CandidateId, place: Option<&Membership>) {
        match place {
            Some(place) if self.places.get(&candidate) == Some(place) => {}
            Some(place) => {
                self.places.insert(candidate, place.clone());
            }
            None => {
                self.places.remove(&candidate);
            }
        }
    }

    /// Takes over a key whose join may still arrive.
    pub(super) fn own_doubt(&mut self, key: Vec<u8>) {
        self.doubts.add(key);
    }

    pub(super) fn has_doubt_under(&self, prefix: &[u8]) -> bool {
        self.doubts.has_one_under(prefix)
    }

    /// What candidates may read.
    pub(super) fn facts(&self) -> Facts {
        Facts {
            link: self.links.current(),
            endpoint: self.links.endpoint(),
            lease: self.keeper.lease(),
            until: self.keeper.leading_until(),
            quiet_until: self.quiet_until,
        }
    }

    /// Whether the wall clock jumped and no renewal was confirmed since.
    pub(super) fn is_suspect(&self) -> bool {
        self.keeper.is_suspect()
    }

    pub(super) fn trouble(&self) -> Option<&Arc<Trouble>> {
        self.trouble.as_ref()
    }

    pub(super) fn fatal(&self) -> Option<&Error> {
        self.fatal.as_ref()
    }

    pub(super) fn take_checks(&mut self) -> Vec<Check> {
        std::mem::take(&mut self.checks)
    }

    /// No user, no doubt, no lease: the crew may be dropped.
    pub(super) fn is_over(&self) -> bool {
        !self.has_users && self.keeper.is_over() && self.doubts.is_over()
    }

    /// Whether a candidate may still be added.
    pub(super) fn accepts(&self) -> bool {
        self.fatal.is_none() && !self.is_closing
    }

    /// Looks at what an answer says of the store before anything else in it counts. Answers of another cluster and of
    /// another history do not count: `Err` says why (laws 4 and 10).
    pub(super) fn observe(
        &mut self,
        link: LinkId,
        reply: &Reply,
        known: Revision,
        now: Time,
        out: &mut Outbox,
    ) -> Result<(), Failure> {
        if self.links.current() != Some(link) {
            return Ok(());
        }
        if self.links.is_foreign(reply.stamp.cluster) {
            return Err(Failure::new(ErrorKind::ClusterMismatch, "the answer came from another etcd cluster"));
        }
        self.has_joined |= matches!(reply.answer, Answer::Joined { .. });
        // The header of a keepalive is not linearizable.
        if !matches!(reply.answer, Answer::Renewed { .. }) {
            self.check_history(reply.stamp, known, now, out);
        }
        Ok(())
    }

    /// A watch event proves its revision.
    pub(super) fn saw(&mut self, revision: Revision, out: &mut Outbox) {
        out.known = out.known.max(revision);
    }

    fn check_history(&mut self, stamp: Stamp, known: Revision, now: Time, out: &mut Outbox) {
        if stamp.revision < known {
            let detail = format!(
                "the store went back from revision {known} to {}: it was wiped or restored from a backup",
                stamp.revision
            );
            self.reset(stamp.revision, detail, now, out);
        }
        out.known = out.known.max(stamp.revision);
    }

    /// A new history begins: nothing of the old one counts, and nobody of ours leads until all of the old one have
    /// stepped down (law 4).
    fn reset(&mut self, revision: Revision, detail: String, now: Time, out: &mut Outbox) {
        out.begin_history(revision);
        self.quiet_until = now + self.settings.ttl() + self.settings.margin;
        self.drop_lease(now);
        let error = Error::new(ErrorKind::StoreReset, detail);
        self.worry(None, error.clone());
        if self.settings.on_store_reset == OnStoreReset::Stop {
            self.fatal = Some(error);
        }
    }

    pub(super) fn reply(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        known: Revision,
        now: Time,
        out: &mut Outbox,
    ) {
        if self.links.is_waiting_for(id) {
            let stamp = result.map(|reply| reply.stamp);
            let news = self.links.reply(id, stamp, known, self.has_joined, now, out);
            self.hear_of_links(news, now, out);
        } else if self.doubts.is_waiting_for(id) {
            if let (Err(failure), Some(link)) = (self.doubts.reply(id, result, now, out), self.links.current()) {
                self.link_failed(link, failure, now, out);
            }
        } else {
            let (news, checks) = self.keeper.reply(id, result, now, out);
            self.checks.extend(checks);
            self.hear_of_lease(news, now, out);
        }
    }

    pub(super) fn watch_news(&mut self, watch: WatchId, news: WatchNews, now: Time, out: &mut Outbox) {
        self.doubts.watch_news(watch, news, now, out);
    }

    /// The link is to blame for a failure: close it and look for another.
    pub(super) fn link_failed(&mut self, link: LinkId, failure: Failure, now: Time, out: &mut Outbox) {
        let news = self.links.failed(link, failure, now, out);
        self.hear_of_links(news, now, out);
    }

    /// Somebody was told that our lease does not exist.
    pub(super) fn lease_gone(&mut self, lease: LeaseId, now: Time) {
        if self.keeper.lease() == Some(lease) {
            self.drop_lease(now);
        }
    }

    /// The wall clock jumped ahead: leading is certain only once a renewal says so (law 1).
    pub(super) fn jumped(&mut self, now: Time) {
        self.keeper.suspect(now);
    }

    pub(super) fn advance(&mut self, now: Time, out: &mut Outbox) {
        if !self.has_users {
            self.drop_lease(now);
        }
        if self.keeper.lease().is_none() {
            self.doubts.lease_ended(self.keeper.kept_until(now), out);
        }
        if self.is_over() {
            self.links.close(out);
            return;
        }
        let is_urgent = now < self.keeper.leading_until();
        let news = self.links.advance(&self.key, is_urgent, self.has_joined, now, out);
        self.hear_of_links(news, now, out);
        if let Some(link) = self.links.current() {
            let wants_lease = self.has_users && self.fatal.is_none();
            if let Some(failure) = self.keeper.advance(link, wants_lease, &self.key, &self.places, now, out) {
                self.link_failed(link, failure, now, out);
            } else if let Err(failure) = self.doubts.advance(link, &self.key, now, out) {
                self.link_failed(link, failure, now, out);
            }
        } else {
            self.keeper.give_up_late(now);
            self.doubts.give_up_late(now);
        }
    }

    pub(super) fn timeout(&self, now: Time) -> Time {
        if self.is_over() {
            return Time::NEVER;
        }
        let served = self.links.current().is_some();
        self.links.timeout().min(self.keeper.timeout(served, now)).min(self.doubts.timeout(served, now))
    }

    fn hear_of_links(&mut self, news: Vec<LinkNews>, now: Time, out: &mut Outbox) {
        for news in news {
            match news {
                LinkNews::Up { stamp, known } => {
                    self.keeper.relinked(now);
                    self.doubts.relinked();
                    self.check_history(stamp, known, now, out);
                }
                LinkNews::Failed { endpoint, failure } => {
                    self.worry(Some(endpoint), Error::new(failure.kind, failure.detail));
                }
                LinkNews::Rebuilt => {
                    let detail = "all endpoints belong to a new etcd cluster: it was built anew".to_string();
                    self.reset(0, detail, now, out);
                }
                LinkNews::Fatal(error) => self.fatal = Some(error),
            }
        }
    }

    fn hear_of_lease(&mut self, news: LeaseNews, now: Time, out: &mut Outbox) {
        match news {
            LeaseNews::Nothing => {}
            LeaseNews::Kept => {
                // A reset is told for as long as it keeps us from leading.
                if now >= self.quiet_until {
                    self.trouble = None;
                }
                self.links.serve_well();
            }
            LeaseNews::Gone => self.drop_lease(now),
            LeaseNews::Failed(failure) => {
                let Some(link) = self.links.current() else { return };
                if failure.kind.blames_link() {
                    self.link_failed(link, failure, now, out);
                } else {
                    self.worry(self.links.endpoint(), Error::new(failure.kind, failure.detail));
                }
            }
        }
    }

    fn drop_lease(&mut self, now: Time) {
        self.keeper.retire(now);
        self.places.clear();
    }

    fn worry(&mut self, endpoint: Option<usize>, error: Error) {
        self.trouble = Some(Arc::new(Trouble { error, endpoint }));
    }
}
