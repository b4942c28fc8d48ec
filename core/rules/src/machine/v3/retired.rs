//! Leases that are not used any more: each is revoked, and gone by itself in the end (law 8).

use std::time::Duration;

use crate::error::ErrorKind;
use crate::machine::in_flight::InFlight;
use crate::machine::session::KeeperNews;
use crate::machine::{Failure, LinkId, Op, Reply, RequestId};
use crate::member::LeaseId;
use crate::time::Time;

#[derive(Clone, Debug, Hash)]
struct Lease {
    id: LeaseId,
    /// The server keeps it no longer than this.
    over_at: Time,
    ask_at: Time,
    asked: Option<RequestId>,
}

/// The leases of a session that are not used any more.
#[derive(Clone, Debug, Hash)]
pub(super) struct Retired {
    attempt: Duration,
    leases: Vec<Lease>,
}

impl Retired {
    pub(super) fn new(attempt: Duration) -> Retired {
        Retired { attempt, leases: Vec::new() }
    }

    /// Takes over a lease that may live for so long from now on, twice if raft changes its leader; it is revoked from `ask_at` on.
    pub(super) fn add(&mut self, id: LeaseId, granted: Duration, ask_at: Time, now: Time) {
        self.leases.push(Lease { id, over_at: now + granted * 2 + self.attempt, ask_at, asked: None });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Nobody needs any of them any longer.
    pub(super) fn hurry(&mut self, now: Time) {
        self.leases.iter_mut().for_each(|lease| lease.ask_at = lease.ask_at.min(now));
    }

    /// What was asked on the link before is asked again, not before then.
    pub(super) fn relinked(&mut self, ask_at: Time) {
        for lease in &mut self.leases {
            (lease.asked, lease.ask_at) = (None, lease.ask_at.max(ask_at));
        }
    }

    /// Forgets those that the server has forgotten by now.
    pub(super) fn let_time_pass(&mut self, now: Time) {
        self.leases.retain(|lease| now < lease.over_at);
    }

    pub(super) fn revoke(&mut self, link: LinkId, now: Time, out: &mut InFlight) {
        for lease in self.leases.iter_mut().filter(|lease| lease.asked.is_none() && now >= lease.ask_at) {
            lease.asked = Some(out.send(link, Op::Revoke { lease: lease.id }));
        }
    }

    pub(super) fn kept_until(&self) -> Option<Time> {
        self.leases.iter().map(|lease| lease.over_at).max()
    }

    pub(super) fn timeout(&self, is_served: bool) -> Time {
        let over = self.leases.iter().map(|lease| lease.over_at).min().unwrap_or(Time::NEVER);
        let ask = self.leases.iter().filter(|lease| is_served && lease.asked.is_none()).map(|lease| lease.ask_at).min();
        over.min(ask.unwrap_or(Time::NEVER))
    }

    pub(super) fn is_waiting_for(&self, id: RequestId) -> bool {
        self.leases.iter().any(|lease| lease.asked == Some(id))
    }

    pub(super) fn reply(&mut self, id: RequestId, result: Result<Reply, Failure>, now: Time) -> KeeperNews {
        let Some(at) = self.leases.iter().position(|lease| lease.asked == Some(id)) else { return KeeperNews::Nothing };
        match result {
            // Also a definite refusal: it leaves the lease alive, with all that may yet arrive under it.
            Err(failure) if failure.kind != ErrorKind::LeaseLost => {
                self.leases[at].asked = None;
                self.leases[at].ask_at = now + self.attempt / 2;
                // Of all that hung on it, one key may be denied to us by now.
                if failure.is_of_key { KeeperNews::Nothing } else { KeeperNews::Failed(failure) }
            }
            _ => {
                self.leases.swap_remove(at);
                KeeperNews::Nothing
            }
        }
    }
}
