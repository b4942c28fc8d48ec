//! What the keeper of a lease makes of the answers: until when the lease is certain, and when it is renewed next.

use std::time::Duration;

use super::{Held, LeaseKeeper, Replaced, Step};
use crate::error::ErrorKind;
use crate::machine::in_flight::InFlight;
use crate::machine::session::{Check, Keeper, KeeperNews};
use crate::machine::{Answer, CandidateId, Failure, Finding, Former, Reply, RequestId};
use crate::member::{LeaseId, Member, Revision};
use crate::time::Time;

impl LeaseKeeper {
    /// Takes the answer to the request of the current step.
    pub(super) fn settle(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        is_undated: bool,
        now: Time,
        out: &mut InFlight,
    ) -> (KeeperNews, Vec<Check>) {
        let is_ours = match &self.step {
            Step::Granting { request, .. } | Step::Renewing { request } | Step::Confirming { request, .. } => {
                *request == id
            }
            Step::Idle | Step::Renewed { .. } => false,
        };
        if !is_ours {
            return (KeeperNews::Nothing, Vec::new());
        }
        let step = std::mem::replace(&mut self.step, Step::Idle);
        match (step, result) {
            (Step::Confirming { places, .. }, Err(failure))
                if failure.is_of_key && self.reads.may_go_on(places.len()) =>
            {
                self.reads.denied();
                self.next_at = now;
                (KeeperNews::Nothing, unchecked(&places))
            }
            (Step::Confirming { places, .. }, Err(failure)) if failure.is_of_key => {
                (self.failed(failure, now, out), unchecked(&places))
            }
            (Step::Confirming { places, .. }, Err(failure))
                if failure.kind == ErrorKind::Invalid && places.len() > 1 =>
            {
                self.reads.refused(places.len());
                self.next_at = now;
                (KeeperNews::Nothing, Vec::new())
            }
            (Step::Renewing { .. }, Err(failure)) if failure.is_of_key => {
                self.is_denied = true;
                self.failures = self.failures.saturating_add(1);
                self.next_at = now + out.entropy.backoff(self.failures, self.attempt / 4);
                (KeeperNews::Nothing, Vec::new())
            }
            (_, Err(failure)) => (self.failed(failure, now, out), Vec::new()),
            (Step::Granting { id, .. }, Ok(Reply { answer: Answer::Granted { ttl_s }, .. })) => {
                (self.granted(id, ttl_s, now), Vec::new())
            }
            (Step::Renewing { .. }, Ok(Reply { answer: Answer::Renewed { ttl_s }, stamp })) => {
                if is_undated && ttl_s > 0 {
                    return (KeeperNews::Nothing, Vec::new());
                }
                (self.renewed(ttl_s, stamp.term), Vec::new())
            }
            (Step::Confirming { ttl, term, places, .. }, Ok(Reply { answer: Answer::Confirmed { found }, stamp })) => {
                self.confirmed(ttl, term == stamp.term, &places, found, now, out)
            }
            (step, Ok(reply)) => {
                let detail = format!("the backend answered {:?} to {step:?}", reply.answer);
                (self.failed(Failure::new(ErrorKind::Internal, detail), now, out), Vec::new())
            }
        }
    }

    pub(super) fn granted(&mut self, id: LeaseId, ttl_s: i64, now: Time) -> KeeperNews {
        let ttl = self.certain_ttl(ttl_s);
        let (until, is_proven) = (self.leading_until(), !self.is_suspect());
        let replaced = self.held.take();
        if let Some(old) = &replaced {
            // An entry that is still on it is denied to us and ends with it. Its user may have to hear of that first. The lease may
            // live for a full ttl, however old our last renewal is: a new raft leader grants it anew.
            let kept_until = old.until.max(old.renewed_until).max(now);
            self.retired.add(old.id, old.granted, kept_until + old.granted, now);
            let lease = Former { lease: old.id, until, is_proven };
            self.former = Some(Replaced { lease, is_suspect: self.suspect_until.is_some() });
            self.replaced.push(old.id);
        }
        let granted = Duration::from_secs(u64::try_from(ttl_s).unwrap_or(0)).max(ttl);
        self.held = Some(Held { id, ttl, until: self.sent_at + ttl, renewed_until: Time::ZERO, granted });
        self.next_at = self.sent_at + self.pause(ttl);
        self.suspect_until = None;
        self.is_denied = false;
        if replaced.is_none() {
            self.failures = 0;
        }
        KeeperNews::Kept
    }

    pub(super) fn renewed(&mut self, ttl_s: i64, term: u64) -> KeeperNews {
        if ttl_s <= 0 {
            return KeeperNews::Gone;
        }
        let ttl = self.held.as_ref().map_or(Duration::ZERO, |held| held.ttl).min(self.certain_ttl(ttl_s));
        self.step = Step::Renewed { ttl, term };
        if self.must_prove() {
            return KeeperNews::Nothing;
        }
        self.next_at = self.sent_at + self.pause(ttl);
        self.failures = 0;
        if let Some(held) = &mut self.held {
            held.renewed_until = self.sent_at + ttl;
        }
        KeeperNews::Kept
    }

    /// Somebody may lead at any moment, or nobody knows how old the lease is.
    pub(super) fn must_prove(&self) -> bool {
        self.must_prove || self.suspect_until.is_some()
    }

    pub(super) fn confirmed(
        &mut self,
        ttl: Duration,
        is_same_term: bool,
        places: &[(CandidateId, Revision)],
        found: Vec<Option<Member>>,
        now: Time,
        out: &mut InFlight,
    ) -> (KeeperNews, Vec<Check>) {
        let checks =
            places.iter().zip(found).map(|((candidate, at), found)| (*candidate, *at, Finding::Entry(found))).collect();
        if !is_same_term {
            // The member that answered the keepalive may have been a leader of the past.
            self.failures = self.failures.saturating_add(1);
            self.next_at = now + out.entropy.backoff(self.failures, self.attempt / 4);
            return (KeeperNews::Nothing, checks);
        }
        if let Some(held) = &mut self.held {
            (held.until, held.renewed_until) = (self.sent_at + ttl, Time::ZERO);
        }
        self.next_at = self.sent_at + self.pause(ttl);
        self.failures = 0;
        self.reads.end_of_denials();
        self.suspect_until = None;
        (KeeperNews::Kept, checks)
    }

    pub(super) fn failed(&mut self, failure: Failure, now: Time, out: &mut InFlight) -> KeeperNews {
        if failure.kind == ErrorKind::LeaseLost {
            return KeeperNews::Gone;
        }
        self.reads.end_of_denials();
        self.failures = self.failures.saturating_add(1);
        let cap = if self.held.is_some() { self.attempt / 2 } else { self.backoff_cap };
        self.next_at = now + out.entropy.backoff(self.failures, cap);
        KeeperNews::Failed(failure)
    }

    /// The server may give more than we asked for; only what both said is certain.
    fn certain_ttl(&self, granted_s: i64) -> Duration {
        let granted = u64::try_from(granted_s).unwrap_or(0);
        Duration::from_secs(granted.min(u64::from(self.asked_ttl_s)))
    }

    /// How long after a renewal the next one follows: sooner if the server gives less time than we asked for.
    /// Never at once: one that gives none would be asked in a loop.
    pub(super) fn pause(&self, ttl: Duration) -> Duration {
        let every = if self.is_near { self.renew_every / 2 } else { self.renew_every };
        every * u32::try_from(ttl.as_secs().max(1)).unwrap_or(self.asked_ttl_s) / self.asked_ttl_s
    }
}

/// One of these places may not be read, so that nobody has seen any of them.
fn unchecked(places: &[(CandidateId, Revision)]) -> Vec<Check> {
    places.iter().map(|(candidate, at)| (*candidate, *at, Finding::Unchecked)).collect()
}
