//! Which endpoint serves us (laws 7 and 10): one at a time. While none does, all are tried until one answers; while one does
//! but is silent for longer than usual, the others are tried beside it, and the first that answers takes over.
//!
//! A try runs to its end: it ends when it is answered, when its transport gives up, or when it is not needed any more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::round::{LinkNews, Round, Serving, Try, Urgency};
use super::silence::{Circumstances, Silence, Waiting};
use crate::config::Timings;
use crate::error::ErrorKind;
use crate::machine::in_flight::InFlight;
use crate::machine::{Failure, LinkId, Op, RequestId, Stamp, Step};
use crate::member::Revision;
use crate::time::Time;

mod judge;

/// At first contact: how long the first endpoint that answered waits for the others, to find two clusters in one list.
const FIRST_CONTACT: Duration = Duration::from_millis(500);
/// The longest wait between two tries of an endpoint, and the shortest limit on it.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
const MIN_BACKOFF_CAP: Duration = Duration::from_millis(250);

/// The search for an endpoint that serves.
#[derive(Clone, Debug, Hash)]
pub(super) struct Links {
    endpoints: usize,
    attempt: Duration,
    backoff_cap: Duration,
    urgency: Urgency,
    /// The limit on waits between tries just now.
    longest_wait: Duration,
    serving: Option<Serving>,
    round: Option<Round>,
    /// Before this no endpoint is tried that has failed.
    retry_at: Time,
    silence: Silence,
    /// The cluster we belong to, once known (law 10).
    cluster: Option<u64>,
    /// Endpoints that refused us for good on a link of theirs, and how; asked again when all others failed.
    refused: BTreeMap<usize, Failure>,
    failures: u32,
}

impl Links {
    pub(super) fn new(timings: &Timings) -> Links {
        Links {
            endpoints: timings.endpoints,
            attempt: timings.attempt,
            backoff_cap: backoff_cap(timings),
            urgency: Urgency::Start,
            longest_wait: backoff_cap(timings),
            serving: None,
            round: None,
            retry_at: Time::ZERO,
            silence: Silence::new(timings.attempt),
            cluster: None,
            refused: BTreeMap::new(),
            failures: 0,
        }
    }

    /// The link that serves us.
    pub(super) fn current(&self) -> Option<LinkId> {
        self.serving.as_ref().map(|serving| serving.link)
    }

    /// The endpoint that serves us.
    pub(super) fn endpoint(&self) -> Option<usize> {
        self.serving.as_ref().map(|serving| serving.endpoint)
    }

    /// The endpoint that a link leads to, or is being opened to.
    pub(super) fn endpoint_of(&self, link: LinkId) -> Option<usize> {
        let serving = self.serving.as_ref().filter(|serving| serving.link == link).map(|serving| serving.endpoint);
        serving.or_else(|| self.tries().find(|one| one.link == link).map(|one| one.endpoint))
    }

    fn tries(&self) -> impl Iterator<Item = &Try> {
        self.round.iter().flat_map(|round| &round.tries)
    }

    pub(super) fn is_foreign(&self, cluster: u64) -> bool {
        self.cluster.is_some_and(|ours| ours != cluster)
    }

    pub(super) fn is_waiting_for(&self, id: RequestId) -> bool {
        self.tries().any(|one| one.id == id)
    }

    /// While none serves us: there is another key to ask for, at once.
    pub(super) fn hurry(&mut self, now: Time) {
        if self.serving.is_none() {
            self.retry_at = now;
        }
    }

    /// The link did real work: the next failure starts with a short wait again.
    pub(super) fn serve_well(&mut self) {
        self.failures = 0;
        self.refused.clear();
        self.silence.served();
        if let Some(serving) = &mut self.serving {
            (serving.is_unwell, serving.is_told) = (false, false);
        }
    }

    /// The serving link has answered: what that took; and when, if only a member with a majority can have given that answer.
    pub(super) fn heard(&mut self, took: Option<Duration>, at: Option<Time>) {
        if let Some(serving) = &mut self.serving {
            serving.has_answered |= took.is_some();
            serving.heard_at = at.unwrap_or(serving.heard_at);
        }
        if let Some(took) = took {
            self.silence.answered(took);
        }
    }

    fn circumstances(&self) -> Circumstances {
        Circumstances { has_others: self.endpoints > 1, is_urgent: self.urgency == Urgency::Lead }
    }

    /// When the serving link is silent for too long, if nothing of this is answered by then.
    fn late_at(&self, waiting: &Waiting) -> Time {
        match &self.serving {
            None => Time::NEVER,
            Some(serving) if serving.is_unwell => Time::ZERO,
            Some(serving) => self.silence.late_at(waiting, serving.heard_at, self.circumstances()),
        }
    }

    /// When it is told that the serving link is silent.
    fn told_at(&self, waiting: &Waiting) -> Time {
        match &self.serving {
            Some(serving) if !serving.is_told => self.silence.told_at(waiting, serving.heard_at, self.circumstances()),
            _ => Time::NEVER,
        }
    }

    pub(super) fn timeout(&self, waiting: &Waiting) -> Time {
        let late_at = self.late_at(waiting);
        match &self.round {
            None if self.serving.is_none() => self.retry_at,
            None if late_at == Time::NEVER => Time::NEVER,
            None => late_at.max(self.retry_at).min(self.told_at(waiting)),
            // It ends with an answer, of one of them or of the serving link.
            Some(round) if self.serving.is_some() => {
                let retry_at = if round.has_failed() { self.retry_at } else { Time::NEVER };
                retry_at.min(self.told_at(waiting))
            }
            Some(round) => {
                let first = round.first_answer.map_or(Time::NEVER, |first| first + FIRST_CONTACT);
                let retry = if round.judge_at == Time::NEVER { self.retry_at } else { Time::NEVER };
                first.min(round.judge_at).min(retry)
            }
        }
    }

    /// Tries endpoints when it is time to.
    pub(super) fn advance(
        &mut self,
        key: &[u8],
        urgency: Urgency,
        has_joined: bool,
        waiting: Waiting,
        now: Time,
        out: &mut InFlight,
    ) -> Vec<LinkNews> {
        self.urgency = urgency;
        // Never wait beyond what a deadline needs.
        let is_urgent = urgency == Urgency::Lead;
        self.longest_wait = if is_urgent { self.backoff_cap.min(self.attempt / 2) } else { self.backoff_cap };
        if self.serving.is_some() {
            let mut news = self.try_beside(key, has_joined, &waiting, now, out);
            let asked_at = waiting.renewal.filter(|_| now >= self.told_at(&waiting));
            news.extend(self.serving.as_mut().zip(asked_at).map(|(serving, asked_at)| serving.silent(asked_at, now)));
            return news;
        }
        match &mut self.round {
            None if now >= self.retry_at => return self.try_all(key, has_joined, now, out),
            None if is_urgent => self.retry_at = self.retry_at.min(now + self.longest_wait),
            None => {}
            Some(round) if now >= round.judge_at => {
                // The next round tells of a try that is younger than this one.
                let is_slow = |one: &&mut Try| !one.is_told && one.outcome.is_none() && one.begun + self.attempt <= now;
                let slow = round.tries.iter_mut().filter(is_slow);
                let mut news: Vec<LinkNews> = slow.map(|one| one.slow(now)).collect();
                news.extend(self.judge(has_joined, now, out));
                return news;
            }
            Some(round) if round.first_answer.is_some_and(|first| now >= first + FIRST_CONTACT) => {
                return self.judge(has_joined, now, out);
            }
            Some(round) if round.judge_at == Time::NEVER && now >= self.retry_at => {
                return self.try_all(key, has_joined, now, out);
            }
            Some(_) => {}
        }
        Vec::new()
    }

    /// While a link serves: others are tried as long as it is silent, and the first that answers takes over.
    fn try_beside(
        &mut self,
        key: &[u8],
        has_joined: bool,
        waiting: &Waiting,
        now: Time,
        out: &mut InFlight,
    ) -> Vec<LinkNews> {
        let is_late = now >= self.late_at(waiting);
        let Some(round) = &mut self.round else {
            let is_due = is_late && now >= self.retry_at;
            return if is_due { self.try_all(key, has_joined, now, out) } else { Vec::new() };
        };
        if !is_late && self.serving.as_ref().is_some_and(|serving| serving.has_answered) {
            self.close_round(out);
        } else if round.tries.iter().any(|one| one.read(self.cluster).is_some()) || round.is_known() {
            return self.judge(has_joined, now, out);
        } else if round.has_failed() && now >= self.retry_at {
            // Those that have failed are not kept waiting by one that says nothing.
            round.tries.extract_if(.., |one| one.outcome.is_some()).for_each(|one| out.close(one.link));
            return self.try_all(key, has_joined, now, out);
        }
        Vec::new()
    }

    /// Tries each endpoint that is not being tried already; beside a link that serves, the others if there are any.
    fn try_all(&mut self, key: &[u8], has_joined: bool, now: Time, out: &mut InFlight) -> Vec<LinkNews> {
        let serving = self.endpoint().filter(|_| self.endpoints > 1);
        if let Some(serving) = &mut self.serving {
            serving.has_answered = false;
        }
        let mut round = self.round.take().unwrap_or_default();
        let is_asked = |at: &usize| {
            Some(*at) != serving && !self.refused.contains_key(at) && round.tries.iter().all(|one| one.endpoint != *at)
        };
        let mut asked: Vec<usize> = (0..self.endpoints).filter(is_asked).collect();
        // The earliest link wins a tie: drawn by lot, so that a fleet spreads over the members.
        asked.sort_by_cached_key(|_| out.entropy.draw());
        // One that is late is not left for another that may serve us no better.
        let is_proof = self.serving.is_some();
        let patience = if self.urgency == Urgency::Follow { self.backoff_cap } else { Duration::ZERO };
        round.tries.extend(asked.into_iter().map(|endpoint| {
            let link = LinkId(out.fresh());
            let id = out.send(link, Op::Open { endpoint, key: key.to_vec(), patience, is_proof });
            Try { link, id, endpoint, begun: now, step: Step::Connecting, is_told: false, outcome: None }
        }));
        round.judge_at = now + self.attempt;
        let is_empty = round.tries.is_empty();
        self.round = Some(round);
        // When each has refused us already, that is the answer.
        if is_empty { self.judge(has_joined, now, out) } else { Vec::new() }
    }

    /// The opening of a link has come so far.
    pub(super) fn opening(&mut self, link: LinkId, step: Step) {
        let tries = self.round.iter_mut().flat_map(|round| &mut round.tries);
        tries.filter(|one| one.link == link).for_each(|one| one.step = step);
    }

    /// An endpoint has answered, or failed to.
    pub(super) fn reply(
        &mut self,
        id: RequestId,
        result: Result<Stamp, Failure>,
        known: Revision,
        has_joined: bool,
        now: Time,
        out: &mut InFlight,
    ) -> Vec<LinkNews> {
        let cluster = self.cluster;
        let is_served = self.serving.is_some();
        let Some(round) = &mut self.round else { return Vec::new() };
        // A link that broke is not used any more, whatever its opening is answered.
        let is_open = |one: &&mut Try| one.id == id && one.outcome.is_none();
        let Some(one) = round.tries.iter_mut().find(is_open) else { return Vec::new() };
        let mut news = Vec::new();
        match &result {
            Ok(stamp) => {
                if cluster.is_none() {
                    round.first_answer.get_or_insert(now);
                } else if cluster != Some(stamp.cluster) {
                    let detail = "it belongs to another etcd cluster; it is put aside";
                    let failure = Failure::new(ErrorKind::ClusterMismatch, detail);
                    news.push(LinkNews::Failed { endpoint: one.endpoint, failure });
                }
            }
            // What is tried beside a link that serves is nobody's trouble.
            Err(failure) if failure.is_of_key || is_served => {}
            Err(failure) => news.push(LinkNews::Failed { endpoint: one.endpoint, failure: failure.clone() }),
        }
        let has_failed = result.is_err();
        one.outcome = Some(result.map(|stamp| (stamp, known)));
        if has_failed && (is_served || has_joined) {
            // Nothing depends on what all of them say together.
            self.failures = self.failures.saturating_add(1);
            let retry_at = now + self.urgency.pause(self.failures, self.longest_wait, out);
            if is_served {
                self.retry_at = retry_at;
            } else {
                round.judge_at = round.judge_at.min(retry_at);
            }
        }
        let one_serves = cluster.is_some() && round.tries.iter().any(|one| one.read(cluster).is_some());
        // Beside a link that serves, that one may have answered in this very moment.
        if !is_served && (round.is_known() || one_serves) {
            news.extend(self.judge(has_joined, now, out));
        }
        news
    }

    /// The server says that it cannot serve us just now, on a connection that stands: others are tried beside it.
    pub(super) fn unwell(&mut self, link: LinkId, failure: Failure) -> Vec<LinkNews> {
        let Some(serving) = self.serving.as_mut().filter(|serving| serving.link == link) else { return Vec::new() };
        serving.is_unwell = self.endpoints > 1;
        vec![LinkNews::Failed { endpoint: serving.endpoint, failure }]
    }

    /// The link failed us: close it, and look for another at once.
    pub(super) fn failed(&mut self, link: LinkId, failure: Failure, now: Time, out: &mut InFlight) -> Vec<LinkNews> {
        if let Some(serving) = self.serving.take_if(|serving| serving.link == link) {
            let endpoint = serving.endpoint;
            if failure.kind.is_fatal_before_join() || failure.kind == ErrorKind::ClockSkew {
                self.refused.insert(endpoint, failure.clone());
            }
            out.close(link);
            self.failures = self.failures.saturating_add(1);
            match &mut self.round {
                // What was tried beside it goes on.
                Some(round) => round.judge_at = now,
                // The first failure of a link that served is answered at once, except by followers.
                None if self.failures == 1 && self.urgency != Urgency::Follow => self.retry_at = now,
                None => self.retry_at = now + self.urgency.pause(self.failures, self.longest_wait, out),
            }
            return vec![LinkNews::Failed { endpoint, failure }];
        }
        let Some(round) = &mut self.round else { return Vec::new() };
        let Some(one) = round.tries.iter_mut().find(|one| one.link == link) else { return Vec::new() };
        one.outcome = Some(Err(failure.clone()));
        let endpoint = one.endpoint;
        if round.is_known() {
            round.judge_at = now;
        }
        vec![LinkNews::Failed { endpoint, failure }]
    }

    pub(super) fn close(&mut self, out: &mut InFlight) {
        if let Some(serving) = self.serving.take() {
            out.close(serving.link);
        }
        self.close_round(out);
        self.retry_at = Time::NEVER;
    }

    fn close_round(&mut self, out: &mut InFlight) {
        let tries = self.round.take().into_iter().flat_map(|round| round.tries);
        tries.for_each(|one| out.close(one.link));
    }
}

/// The longest wait between retries: in proportion to the ttl, so that a healed fault is noticed well within one.
pub(in crate::machine) fn backoff_cap(timings: &Timings) -> Duration {
    (timings.ttl() / 4).clamp(MIN_BACKOFF_CAP, MAX_BACKOFF)
}
