//! What is tried in the search for an endpoint: each try of one, and what follows from all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Failure, LinkId, RequestId, Stamp, Step};
use crate::member::Revision;
use crate::time::Time;

/// How much depends on the next link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Urgency {
    /// There is nothing to lose yet.
    Start,
    /// A place behind the next in line: many others have one, too, and all lose their links at once when etcd restarts.
    Follow,
    /// The lead, or the place of the next in line.
    Lead,
}

impl Urgency {
    /// How long to wait before the next try. Followers spread theirs: so they keep neither the leader nor each other waiting
    /// for logins.
    pub(super) fn pause(self, failures: u32, longest: Duration, out: &mut InFlight) -> Duration {
        match self {
            // Half a ttl at first: no lease that is renewed in time runs out by that.
            Urgency::Follow if failures <= 1 => out.entropy.spread(longest * 2),
            Urgency::Follow => out.entropy.spread(longest),
            Urgency::Start | Urgency::Lead => out.entropy.backoff(failures, longest),
        }
    }
}

/// News of the links, for the session.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LinkNews {
    /// A link serves us; its first linearizable read gave this stamp. `known` was known when that was asked for, `seen`
    /// is the highest revision that such a read gave on any link.
    Up { stamp: Stamp, known: Revision, seen: Revision },
    /// An endpoint failed us.
    Failed { endpoint: usize, failure: Failure },
    /// No endpoint served us, and one does not let us use the key that it was asked for. `is_final`: nobody serves us that is
    /// reached, and nobody of ours has ever joined.
    Denied { endpoint: usize, failure: Failure, is_final: bool },
    /// Every configured endpoint answers for one other cluster.
    Rebuilt,
    /// The election cannot work, and never did.
    Fatal(Error),
}

/// A try of an endpoint.
#[derive(Clone, Debug, Hash)]
pub(super) struct Try {
    pub(super) link: LinkId,
    pub(super) id: RequestId,
    pub(super) endpoint: usize,
    pub(super) begun: Time,
    pub(super) step: Step,
    /// It was told that this one is slow.
    pub(super) is_told: bool,
    pub(super) outcome: Option<Result<(Stamp, Revision), Failure>>,
}

impl Try {
    /// What its first read gave, and what was known when that was asked for; if it has answered, for this cluster.
    pub(super) fn read(&self, cluster: Option<u64>) -> Option<(Stamp, Revision)> {
        let read = self.outcome.as_ref()?.as_ref().ok()?;
        cluster.is_none_or(|ours| ours == read.0.cluster).then_some(*read)
    }
}

/// The link that serves us.
#[derive(Clone, Debug, Hash)]
pub(super) struct Serving {
    pub(super) link: LinkId,
    pub(super) endpoint: usize,
    /// When it last answered anything that only a member with a majority can answer.
    pub(super) heard_at: Time,
    /// The server itself has said that it cannot serve just now.
    pub(super) is_unwell: bool,
    /// It was told that it is silent.
    pub(super) is_told: bool,
    /// It has answered something since others were last tried beside it.
    pub(super) has_answered: bool,
}

impl Serving {
    /// The news that it has not answered a request since `asked_at`.
    pub(super) fn silent(&mut self, asked_at: Time, now: Time) -> LinkNews {
        self.is_told = true;
        let long = now.since(asked_at).as_millis();
        let detail = format!("no answer to a request for {long} ms; it is waited for, and others are asked too");
        LinkNews::Failed { endpoint: self.endpoint, failure: Failure::new(ErrorKind::Timeout, detail) }
    }
}

/// Tries of endpoints, one of each at a time.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Round {
    pub(super) tries: Vec<Try>,
    /// When those without an answer count as silent.
    pub(super) judge_at: Time,
    pub(super) first_answer: Option<Time>,
}

impl Try {
    /// That it is slow.
    pub(super) fn slow(&mut self, now: Time) -> LinkNews {
        self.is_told = true;
        let took = now.since(self.begun).as_millis();
        let detail = format!("{} has taken {took} ms so far; it goes on", self.step.words());
        LinkNews::Failed { endpoint: self.endpoint, failure: Failure::new(ErrorKind::Timeout, detail) }
    }
}

impl Round {
    /// Each has been answered, or has failed.
    pub(super) fn is_known(&self) -> bool {
        self.tries.iter().all(|one| one.outcome.is_some())
    }

    /// One has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.tries.iter().any(|one| matches!(one.outcome, Some(Err(_))))
    }
}

/// Each cluster that answered, with one endpoint of it.
pub(super) fn clusters_of(tries: &[Try]) -> BTreeMap<u64, usize> {
    let mut clusters = BTreeMap::new();
    for one in tries {
        if let Some(Ok((stamp, _))) = &one.outcome {
            clusters.entry(stamp.cluster).or_insert(one.endpoint);
        }
    }
    clusters
}

/// Fatal is what every reachable endpoint says (law 7): those of which a try has failed, and those that refused us before.
pub(super) fn verdict(failed: &[Try], refused: &BTreeMap<usize, Failure>) -> Option<Error> {
    let unreachable = |kind| matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::NoQuorum);
    let failures = failed.iter().filter_map(|one| one.outcome.as_ref()?.as_ref().err());
    let mut said = failures.filter(|failure| !unreachable(failure.kind)).chain(refused.values());
    let first = said.next()?;
    let all_agree = first.kind.is_fatal_before_join() && said.all(|other| other.kind == first.kind);
    all_agree.then(|| Error::new(first.kind, first.detail.clone()))
}
