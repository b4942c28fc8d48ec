//! What a session makes of the news of its parts: links that are up or broken, a lease that is kept or gone, keys that are
//! denied, clocks that differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::keeper::KeeperNews;
use super::round::LinkNews;
use super::{Session, Worry};
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::{Booking, InFlight};
use crate::machine::{Failure, Stamp, Trouble};
use crate::time::Time;

/// How much a failure of one endpoint says, beside those of others.
fn telling(kind: ErrorKind) -> u8 {
    match kind {
        ErrorKind::Unreachable | ErrorKind::Timeout => 0,
        _ => 1,
    }
}

impl Session {
    pub(super) fn hear_of_links(&mut self, news: Vec<LinkNews>, now: Time, out: &mut InFlight) {
        for news in news {
            match news {
                LinkNews::Up { stamp, known, seen } => {
                    if let Some(worry) = &mut self.worry {
                        worry.is_unserved = false;
                    }
                    self.keys.allowed();
                    if let Some(endpoint) = self.links.endpoint() {
                        self.keeper.relinked(endpoint, now, out);
                    }
                    // An opening of API v2 that has not read shows nothing of the store: the first answer will.
                    if stamp.revision > 0 {
                        self.check_history(stamp, known, now, out);
                    }
                    out.known = out.known.max(seen);
                    self.weigh_clocks(now, out);
                }
                LinkNews::Failed { endpoint, failure } => {
                    self.worry(Some(endpoint), Error::new(failure.kind, failure.detail));
                }
                LinkNews::Denied { endpoint, failure, is_final } => {
                    self.key_denied(Some(endpoint), failure, is_final, now)
                }
                LinkNews::Rebuilt => {
                    let detail = "all endpoints belong to a new etcd cluster: it was built anew".to_string();
                    self.reset(0, detail, now, out);
                }
                LinkNews::Fatal(error) => self.fatal = Some(error),
            }
        }
    }

    pub(super) fn hear_of_lease(&mut self, news: KeeperNews, now: Time, out: &mut InFlight) {
        match news {
            KeeperNews::Nothing => {}
            KeeperNews::Kept => {
                self.note_grant();
                self.keys.allowed();
                self.weigh_clocks(now, out);
                self.trouble_is_over(now);
                self.links.serve_well();
            }
            KeeperNews::Clock => self.weigh_clocks(now, out),
            KeeperNews::Listed(keys) => {
                let placed: BTreeSet<&[u8]> =
                    self.places.values().map(|place| place.membership.key.as_slice()).collect();
                self.strays.extend(keys.into_iter().filter(|key| !placed.contains(key.as_slice())));
            }
            KeeperNews::Gone => self.lose_lease(now),
            KeeperNews::Failed(failure) => {
                let Some(link) = self.links.current() else { return };
                if failure.blames_link() {
                    self.request_failed(link, failure, now, out);
                } else if failure.is_of_key {
                    self.key_denied(self.links.endpoint(), failure, false, now);
                } else {
                    self.worry(self.links.endpoint(), Error::new(failure.kind, failure.detail));
                }
            }
        }
    }

    /// The serving endpoint has granted us a whole ttl. A trouble that may keep us from leading stands for as long as it lasts.
    pub(super) fn trouble_is_over(&mut self, now: Time) {
        if now >= self.quiet_until && self.keeper.skew() <= self.timings.ttl() / 4 {
            self.worry = None;
        }
    }

    pub(super) fn note_clock(&mut self, stamp: Stamp, booking: &Booking, now: Time) {
        let Booking { link, sent_at, is_undated, .. } = *booking;
        let endpoint = self.links.endpoint_of(link).or(self.keeper.endpoint_of(link));
        let is_of_no_use = is_undated || self.links.is_foreign(stamp.cluster);
        if let (Some(clock_s), Some(endpoint), false) = (stamp.clock_s, endpoint, is_of_no_use) {
            self.keeper.note_clock(endpoint, clock_s, sent_at, now);
        }
    }

    /// Warns of a clock that is behind, and leaves a member by whose clock nobody could lead.
    pub(super) fn weigh_clocks(&mut self, now: Time, out: &mut InFlight) {
        let (Some(link), Some(endpoint)) = (self.links.current(), self.links.endpoint()) else { return };
        let behind = self.keeper.behind(now);
        let Some((ahead, skew)) = behind.filter(|(_, skew)| *skew > self.timings.ttl() / 4) else { return };
        let detail = format!(
            "its clock is at least {} ms behind that of endpoints[{ahead}], so that our entries end early; set the clocks",
            skew.as_millis()
        );
        let failure = Failure::new(ErrorKind::ClockSkew, detail);
        if self.timings.renew_every + self.timings.margin + skew < self.timings.ttl() {
            self.worry(Some(endpoint), Error::new(failure.kind, failure.detail));
        } else {
            self.link_failed(link, failure, now, out);
        }
    }

    /// etcd raises a lease to one and a half times its election timeout: a crash then costs the next one more than was
    /// asked for. A second more is nobody's trouble.
    fn note_grant(&mut self) {
        let asked = self.timings.ttl();
        let Some(granted) = self.keeper.granted() else { return };
        if granted <= asked + Duration::from_secs(1) {
            self.long_lease = None;
        } else if self.granted != Some(granted) {
            let detail = format!(
                "etcd grants leases of {} s where {} s were asked for, so that a crash costs the next one up to {} s; lower its \
                 --election-timeout, or set ttl_s to what it grants",
                granted.as_secs(),
                asked.as_secs(),
                granted.as_secs()
            );
            self.long_lease = Some(Arc::new(Trouble { error: Error::new(ErrorKind::Server, detail), endpoint: None }));
        }
        self.granted = Some(granted);
    }

    /// We may not read the key that was asked for. It is told when we may read none.
    fn key_denied(&mut self, endpoint: Option<usize>, failure: Failure, is_final: bool, now: Time) {
        let error = Error::new(failure.kind, failure.detail);
        let next = self.keys.denied(is_final);
        self.refusals.extend(next.refused.map(|candidate| (candidate, error.clone())));
        if next.is_untried {
            self.links.hurry(now);
        } else {
            self.worry(endpoint, error);
        }
    }

    /// While no endpoint serves, each fails in its own way: the most telling failure stands, so that it is told once, and
    /// one that does not answer does not hide another's reason.
    pub(super) fn worry(&mut self, endpoint: Option<usize>, error: Error) {
        let is_less = |told: &Trouble| told.endpoint != endpoint && telling(error.kind()) <= telling(told.error.kind());
        let stands = |worry: &Worry| worry.is_unserved && is_less(&worry.trouble);
        if endpoint.is_some() && self.worry.as_ref().is_some_and(stands) {
            return;
        }
        let is_unserved = self.links.current().is_none();
        self.worry = Some(Worry { trouble: Arc::new(Trouble { error, endpoint }), is_unserved });
    }
}
