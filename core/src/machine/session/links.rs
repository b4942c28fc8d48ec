//! Which endpoint serves us (laws 7 and 10): one at a time, and on any failure the first of all that answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::SessionSettings;
use crate::error::{Error, ErrorKind};
use crate::machine::outbox::Outbox;
use crate::machine::{Failure, LinkId, Op, RequestId, Stamp};
use crate::member::Revision;
use crate::time::Time;

/// At first contact: how long the first endpoint that answered waits for the others, to find two clusters in one list.
const FIRST_CONTACT: Duration = Duration::from_millis(500);
/// The longest wait between two rounds, and the shortest limit on it.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
const MIN_BACKOFF_CAP: Duration = Duration::from_millis(250);

/// What the session should know.
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

#[derive(Debug)]
struct Try {
    link: LinkId,
    id: RequestId,
    endpoint: usize,
    outcome: Option<Result<(Stamp, Revision), Failure>>,
}

impl Try {
    /// What its first read gave, and what was known when that was asked for; if it has answered, for this cluster.
    fn read(&self, cluster: Option<u64>) -> Option<(Stamp, Revision)> {
        let read = self.outcome.as_ref()?.as_ref().ok()?;
        cluster.is_none_or(|ours| ours == read.0.cluster).then_some(*read)
    }
}

#[derive(Debug)]
enum State {
    Down { retry_at: Time },
    Opening { tries: Vec<Try>, deadline: Time, first_answer: Option<Time> },
    Up { link: LinkId, endpoint: usize },
}

/// The search for an endpoint that serves.
#[derive(Debug)]
pub(super) struct Links {
    endpoints: usize,
    attempt: Duration,
    backoff_cap: Duration,
    state: State,
    /// The cluster we belong to, once known (law 10).
    cluster: Option<u64>,
    /// Endpoints that refused us for good on a link of theirs, and how; asked again when all others failed.
    refused: BTreeMap<usize, Failure>,
    failures: u32,
}

impl Links {
    pub(super) fn new(settings: &SessionSettings) -> Links {
        Links {
            endpoints: settings.endpoints.len(),
            attempt: settings.attempt,
            backoff_cap: backoff_cap(settings),
            state: State::Down { retry_at: Time::ZERO },
            cluster: None,
            refused: BTreeMap::new(),
            failures: 0,
        }
    }

    /// The link that serves us.
    pub(super) fn current(&self) -> Option<LinkId> {
        if let State::Up { link, .. } = self.state { Some(link) } else { None }
    }

    /// The endpoint that serves us.
    pub(super) fn endpoint(&self) -> Option<usize> {
        if let State::Up { endpoint, .. } = self.state { Some(endpoint) } else { None }
    }

    /// The endpoint that a link leads to, or is being opened to.
    pub(super) fn endpoint_of(&self, link: LinkId) -> Option<usize> {
        match &self.state {
            State::Up { link: ours, endpoint } if *ours == link => Some(*endpoint),
            State::Opening { tries, .. } => tries.iter().find(|one| one.link == link).map(|one| one.endpoint),
            _ => None,
        }
    }

    pub(super) fn is_foreign(&self, cluster: u64) -> bool {
        self.cluster.is_some_and(|ours| ours != cluster)
    }

    pub(super) fn is_waiting_for(&self, id: RequestId) -> bool {
        matches!(&self.state, State::Opening { tries, .. } if tries.iter().any(|one| one.id == id))
    }

    /// While none serves us: there is another key to ask for, at once.
    pub(super) fn hurry(&mut self, now: Time) {
        if let State::Down { retry_at } = &mut self.state {
            *retry_at = now;
        }
    }

    /// The link did real work: the next failure starts with a short wait again.
    pub(super) fn serve_well(&mut self) {
        self.failures = 0;
        self.refused.clear();
    }

    pub(super) fn timeout(&self) -> Time {
        match &self.state {
            State::Down { retry_at } => *retry_at,
            State::Opening { deadline, first_answer, .. } => {
                first_answer.map_or(*deadline, |first| (first + FIRST_CONTACT).min(*deadline))
            }
            State::Up { .. } => Time::NEVER,
        }
    }

    /// Opens links when it is time to, and closes the round when its time is over. `is_urgent`: a lease is at stake.
    pub(super) fn advance(
        &mut self,
        key: &[u8],
        is_urgent: bool,
        has_joined: bool,
        now: Time,
        out: &mut Outbox,
    ) -> Vec<LinkNews> {
        match &mut self.state {
            State::Down { retry_at } if now >= *retry_at => {
                let mut asked: Vec<usize> = (0..self.endpoints).filter(|at| !self.refused.contains_key(at)).collect();
                // The earliest link wins a tie: drawn by lot, so that a fleet spreads over the members.
                asked.sort_by_cached_key(|_| out.entropy.draw());
                let tries = asked.into_iter().map(|endpoint| {
                    let link = LinkId(out.fresh());
                    let id = out.send(link, Op::Open { endpoint, key: key.to_vec() });
                    Try { link, id, endpoint, outcome: None }
                });
                let tries: Vec<Try> = tries.collect();
                let is_empty = tries.is_empty();
                self.state = State::Opening { tries, deadline: now + self.attempt, first_answer: None };
                // When each has refused us already, that is the answer.
                if is_empty { self.judge(has_joined, now, out) } else { Vec::new() }
            }
            State::Down { retry_at } if is_urgent => {
                // Never wait beyond what the deadline needs.
                *retry_at = (*retry_at).min(now + self.attempt / 2);
                Vec::new()
            }
            State::Opening { tries, deadline, .. } if now >= *deadline => {
                let late = format!("no answer within {} ms", self.attempt.as_millis());
                let mut news = Vec::new();
                for one in tries.iter_mut().filter(|one| one.outcome.is_none()) {
                    let failure = Failure::new(ErrorKind::Timeout, late.clone());
                    news.push(LinkNews::Failed { endpoint: one.endpoint, failure: failure.clone() });
                    one.outcome = Some(Err(failure));
                }
                news.extend(self.judge(has_joined, now, out));
                news
            }
            State::Opening { first_answer: Some(first), .. } if now >= *first + FIRST_CONTACT => {
                self.judge(has_joined, now, out)
            }
            _ => Vec::new(),
        }
    }

    /// An endpoint has answered, or failed to.
    pub(super) fn reply(
        &mut self,
        id: RequestId,
        result: Result<Stamp, Failure>,
        known: Revision,
        has_joined: bool,
        now: Time,
        out: &mut Outbox,
    ) -> Vec<LinkNews> {
        let cluster = self.cluster;
        let State::Opening { tries, first_answer, .. } = &mut self.state else { return Vec::new() };
        let Some(one) = tries.iter_mut().find(|one| one.id == id) else { return Vec::new() };
        let mut news = Vec::new();
        match &result {
            Ok(stamp) => {
                if cluster.is_none() {
                    first_answer.get_or_insert(now);
                } else if cluster != Some(stamp.cluster) {
                    let detail = "it belongs to another etcd cluster; it is put aside";
                    let failure = Failure::new(ErrorKind::ClusterMismatch, detail);
                    news.push(LinkNews::Failed { endpoint: one.endpoint, failure });
                }
            }
            Err(failure) if failure.is_of_key => {}
            Err(failure) => news.push(LinkNews::Failed { endpoint: one.endpoint, failure: failure.clone() }),
        }
        one.outcome = Some(result.map(|stamp| (stamp, known)));
        let all_known = tries.iter().all(|one| one.outcome.is_some());
        let one_serves = cluster.is_some() && tries.iter().any(|one| one.read(cluster).is_some());
        if all_known || one_serves {
            news.extend(self.judge(has_joined, now, out));
        }
        news
    }

    /// The link failed us: close it, and look for another at once.
    pub(super) fn failed(&mut self, link: LinkId, failure: Failure, now: Time, out: &mut Outbox) -> Vec<LinkNews> {
        match &mut self.state {
            State::Up { link: ours, endpoint } if *ours == link => {
                let endpoint = *endpoint;
                if failure.kind.is_fatal_before_join() || failure.kind == ErrorKind::ClockSkew {
                    self.refused.insert(endpoint, failure.clone());
                }
                out.close(link);
                // The first failure of a link that served is answered at once.
                self.failures = self.failures.saturating_add(1);
                let wait = if self.failures == 1 { Duration::ZERO } else { self.backoff(out) };
                self.state = State::Down { retry_at: now + wait };
                vec![LinkNews::Failed { endpoint, failure }]
            }
            State::Opening { tries, deadline, .. } => {
                let Some(one) = tries.iter_mut().find(|one| one.link == link) else { return Vec::new() };
                one.outcome = Some(Err(failure.clone()));
                let endpoint = one.endpoint;
                if tries.iter().all(|one| one.outcome.is_some()) {
                    *deadline = now;
                }
                vec![LinkNews::Failed { endpoint, failure }]
            }
            _ => Vec::new(),
        }
    }

    pub(super) fn close(&mut self, out: &mut Outbox) {
        match std::mem::replace(&mut self.state, State::Down { retry_at: Time::NEVER }) {
            State::Up { link, .. } => out.close(link),
            State::Opening { tries, .. } => tries.iter().for_each(|one| out.close(one.link)),
            State::Down { .. } => {}
        }
    }

    /// Ends a round: takes the first good endpoint, or none.
    fn judge(&mut self, has_joined: bool, now: Time, out: &mut Outbox) -> Vec<LinkNews> {
        let retry = State::Down { retry_at: now };
        let State::Opening { tries, .. } = std::mem::replace(&mut self.state, retry) else { return Vec::new() };
        let clusters = clusters_of(&tries);
        if self.cluster.is_none() && clusters.len() > 1 {
            tries.iter().for_each(|one| out.close(one.link));
            self.state = State::Down { retry_at: Time::NEVER };
            let endpoints: Vec<usize> = clusters.values().copied().collect();
            return vec![LinkNews::Fatal(Error::new(
                ErrorKind::ClusterMismatch,
                format!(
                    "endpoints[{}] and endpoints[{}] belong to two different etcd clusters; list the members of one",
                    endpoints[0], endpoints[1]
                ),
            ))];
        }
        let mut news = Vec::new();
        // All that are configured, not one less: a stranger in the list must not take over when ours is down.
        let is_unanimous = tries.len() == self.endpoints && tries.iter().all(|one| matches!(one.outcome, Some(Ok(_))));
        if is_unanimous && clusters.len() == 1 && self.cluster.is_some_and(|ours| !clusters.contains_key(&ours)) {
            self.cluster = None;
            news.push(LinkNews::Rebuilt);
        }
        let cluster = self.cluster;
        let chosen = tries.iter().filter(|one| one.read(cluster).is_some()).min_by_key(|one| one.link);
        tries
            .iter()
            .filter(|one| chosen.is_none_or(|chosen| chosen.link != one.link))
            .for_each(|one| out.close(one.link));
        match chosen.and_then(|one| Some((one, one.read(cluster)?))) {
            Some((one, (stamp, known))) => {
                self.cluster = Some(stamp.cluster);
                self.state = State::Up { link: one.link, endpoint: one.endpoint };
                // After a rebuild what was known before means nothing.
                let known = if news.is_empty() { known } else { 0 };
                let seen = tries.iter().filter_map(|one| one.read(self.cluster)).map(|(stamp, _)| stamp.revision);
                let seen = seen.max().unwrap_or(0);
                news.push(LinkNews::Up { stamp, known, seen });
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                self.state = State::Down { retry_at: now + self.backoff(out) };
                let verdict = if has_joined { None } else { self.verdict(&tries) };
                let is_final = verdict.is_some();
                let denied = tries.iter().find_map(|one| {
                    let failure = one.outcome.as_ref()?.as_ref().err().filter(|failure| failure.is_of_key)?;
                    Some(LinkNews::Denied { endpoint: one.endpoint, failure: failure.clone(), is_final })
                });
                if let (None, Some(error)) = (&denied, verdict) {
                    self.state = State::Down { retry_at: Time::NEVER };
                    news.push(LinkNews::Fatal(error));
                }
                news.extend(denied);
                self.refused.clear();
            }
        }
        news
    }

    /// Fatal is what every reachable endpoint says (law 7).
    fn verdict(&self, tries: &[Try]) -> Option<Error> {
        let unreachable = |kind| matches!(kind, ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::NoQuorum);
        let failures = tries.iter().filter_map(|one| one.outcome.as_ref()?.as_ref().err());
        let mut said = failures.filter(|failure| !unreachable(failure.kind)).chain(self.refused.values());
        let first = said.next()?;
        let all_agree = first.kind.is_fatal_before_join() && said.all(|other| other.kind == first.kind);
        all_agree.then(|| Error::new(first.kind, first.detail.clone()))
    }

    fn backoff(&self, out: &mut Outbox) -> Duration {
        out.entropy.backoff(self.failures, self.backoff_cap)
    }
}

/// The longest wait between retries: in proportion to the ttl, so that a healed fault is noticed well within one.
pub(in crate::machine) fn backoff_cap(settings: &SessionSettings) -> Duration {
    (settings.ttl() / 4).clamp(MIN_BACKOFF_CAP, MAX_BACKOFF)
}

/// Each cluster that answered, with one endpoint of it.
fn clusters_of(tries: &[Try]) -> BTreeMap<u64, usize> {
    let mut clusters = BTreeMap::new();
    for one in tries {
        if let Some(Ok((stamp, _))) = &one.outcome {
            clusters.entry(stamp.cluster).or_insert(one.endpoint);
        }
    }
    clusters
}
