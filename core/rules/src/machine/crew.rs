//! One session and the candidates that share it: routes inputs, carries facts, keeps the book. It decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::candidate::{Candidate, Pace, Rules};
use super::in_flight::{InFlight, Owner};
use super::session::{Keeper, Session};
use super::v2::{EntryKeeper, V2};
use super::v3::{LeaseKeeper, V3};
use super::{
    CandidateId, Entropy, Facts, Failure, Input, Plea, Reply, Report, Request, RequestId, Trouble, WatchNews,
    members_of,
};
use crate::config::{Api, Timings};
use crate::error::Error;
use crate::time::Time;

/// The machines of all elections that share one session.
#[derive(Clone, Debug, Hash)]
pub struct Crew {
    timings: Timings,
    rules: &'static dyn Rules,
    session: Session,
    candidates: BTreeMap<CandidateId, Candidate>,
    /// Where their members live.
    prefixes: BTreeSet<Vec<u8>>,
    out: InFlight,
    /// The facts that the candidates know.
    told: Facts,
    /// The session's troubles that their reports show.
    shown: (Option<Arc<Trouble>>, Option<Error>),
    /// When each candidate wants to be called, earliest first.
    timers: BTreeSet<(Time, CandidateId)>,
    timer_of: BTreeMap<CandidateId, Time>,
    reports: BTreeMap<CandidateId, Report>,
    changed: BTreeSet<CandidateId>,
    session_timeout: Time,
}

/// The rules of the API, and what keeps our entries alive. No other place of the machine chooses an API.
fn parts_of(timings: &Timings) -> (&'static dyn Rules, Box<dyn Keeper>) {
    match timings.api {
        Api::V2 => (&V2, Box::new(EntryKeeper::new(timings))),
        Api::V3 => (&V3, Box::new(LeaseKeeper::new(timings))),
    }
}

impl Crew {
    /// A crew without candidates. Nothing happens before the first is added.
    pub fn new(timings: Timings, entropy: Entropy, now: Time) -> Crew {
        let (rules, keeper) = parts_of(&timings);
        let session = Session::new(timings, keeper);
        Crew {
            told: session.facts(),
            shown: (None, None),
            session,
            rules,
            timings,
            candidates: BTreeMap::new(),
            prefixes: BTreeSet::new(),
            out: InFlight::new(entropy, timings.checks_passwords),
            timers: BTreeSet::new(),
            timer_of: BTreeMap::new(),
            reports: BTreeMap::new(),
            changed: BTreeSet::new(),
            session_timeout: now,
        }
    }

    /// Adds an election on `key`; see [`Crew::accepts`].
    pub fn add(&mut self, key: &str, name: &str, now: Time) -> CandidateId {
        self.out.now = now;
        let id = CandidateId(self.out.fresh());
        let pace = Pace {
            rules: self.rules,
            ttl_s: self.timings.ttl_s,
            certain: self.timings.ttl().saturating_sub(self.timings.margin),
            backoff_cap: super::session::backoff_cap(&self.timings),
            urgent_backoff_cap: self.timings.attempt / 2,
            checks_passwords: self.timings.checks_passwords,
            few: self.timings.few,
        };
        let candidate = Candidate::new(key, name, pace);
        self.session.enlist(id, candidate.prefix());
        self.prefixes.insert(candidate.prefix().to_vec());
        self.candidates.insert(id, candidate);
        self.settle(BTreeSet::from([id]), now);
        id
    }

    /// Whether an election on `key` may be added: the session is not ending, and has neither a candidate nor a doubt
    /// under that key. In v2 nothing can be shared: there is one candidate in a session.
    pub fn accepts(&self, key: &str) -> bool {
        let prefix = members_of(key);
        let is_shared = !self.rules.entries_expire();
        self.session.accepts()
            && (is_shared || self.candidates.is_empty())
            && !self.session.has_doubt_under(&prefix)
            && !self.prefixes.contains(&prefix)
    }

    /// No candidate is left, nothing is in doubt, and the lease is gone: the crew may be dropped.
    pub fn is_over(&self) -> bool {
        self.candidates.is_empty() && self.session.is_over()
    }

    /// Whether the wall clock jumped and no renewal was confirmed since: nobody may say that it leads (law 1).
    pub fn is_suspect(&self) -> bool {
        self.session.is_suspect()
    }

    /// Takes in what happened. Afterwards requests and reports may be waiting, and the timeout may be another.
    pub fn handle(&mut self, input: Input, now: Time) {
        self.out.now = now;
        self.end_terms(now);
        let mut touched = BTreeSet::new();
        match input {
            Input::Tick => {}
            Input::Jumped => {
                self.session.jumped(now, &mut self.out);
                self.candidates.values_mut().for_each(Candidate::jumped);
            }
            Input::Reply { id, result } => self.reply(id, result, &mut touched, now),
            Input::Opening { link, step } => self.session.opening(link, step),
            Input::Broken { link, failure } => self.session.link_failed(link, failure, now, &mut self.out),
            Input::Watch { link, watch, news } => {
                let owner = self.out.watcher(link, watch);
                if let (Some(_), WatchNews::Changes { changes }) = (owner, &news) {
                    changes.iter().for_each(|change| self.session.saw(change.at, &mut self.out));
                }
                match owner {
                    None => {}
                    Some(Owner::Session) => {
                        self.out.owner = Owner::Session;
                        self.session.watch_news(watch, news, now, &mut self.out);
                    }
                    Some(Owner::Candidate(id)) => {
                        self.call(id, &mut touched, |candidate, out| candidate.watch_news(watch, news, now, out));
                    }
                }
            }
            Input::Stop { candidate, holds } => self.call(candidate, &mut touched, |one, _| one.stop(holds, now)),
            Input::Release { candidate } => self.call(candidate, &mut touched, |one, _| one.release(now)),
            Input::Expired { candidate, token } => self.call(candidate, &mut touched, |one, _| one.expired(token)),
        }
        self.settle(touched, now);
    }

    /// The next request to carry out; to be emptied after every call that changes something.
    pub fn poll_request(&mut self) -> Option<Request> {
        self.out.pop()
    }

    /// When [`Crew::handle`] wants an [`Input::Tick`] at the latest.
    pub fn poll_timeout(&self) -> Option<Time> {
        let first = self.timers.first().map_or(Time::NEVER, |(time, _)| *time);
        Some(first.min(self.session_timeout)).filter(|time| *time < Time::NEVER)
    }

    /// The next election whose report changed, with the newest.
    pub fn poll_report(&mut self) -> Option<(CandidateId, Report)> {
        let id = self.changed.pop_first()?;
        let report = self.reports.get(&id)?.clone();
        if !self.candidates.contains_key(&id) {
            self.reports.remove(&id);
        }
        Some((id, report))
    }

    /// Time passes before the input counts: an answer that was read after the end of a term does not revive it (law 4).
    fn end_terms(&mut self, now: Time) {
        let facts = self.session.facts();
        let due: Vec<_> = self.timers.iter().take_while(|(time, _)| *time <= now).map(|(_, id)| *id).collect();
        for id in due {
            self.call(id, &mut BTreeSet::new(), |one, _| one.end_by_clock(&facts, now));
        }
    }

    fn take_due(&mut self, now: Time) -> Vec<CandidateId> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.timers.first().copied().filter(|(time, _)| *time <= now) {
            self.set_timer(id, Time::NEVER);
            due.push(id);
        }
        due
    }

    fn reply(&mut self, id: RequestId, result: Result<Reply, Failure>, touched: &mut BTreeSet<CandidateId>, now: Time) {
        let Some(booking) = self.out.settle(id) else { return };
        self.out.owner = Owner::Session;
        let result = match result {
            Ok(reply) => self.session.observe(&reply, &booking, now, &mut self.out).map(|()| reply),
            failed => failed,
        };
        if let Err(failure) = &result {
            self.session.note_failure(booking.link, failure, now);
        }
        match booking.owner {
            Owner::Session => self.session.reply(id, result, &booking, now, &mut self.out),
            Owner::Candidate(owner) => {
                // A new history may have begun with this very answer: then the candidate must know that first.
                self.tell(owner, now);
                self.call(owner, touched, |candidate, out| candidate.reply(id, result, now, out));
            }
        }
    }

    /// Lets one candidate act in its own name.
    fn call(
        &mut self,
        id: CandidateId,
        touched: &mut BTreeSet<CandidateId>,
        act: impl FnOnce(&mut Candidate, &mut InFlight),
    ) {
        if let Some(candidate) = self.candidates.get_mut(&id) {
            self.out.owner = Owner::Candidate(id);
            act(candidate, &mut self.out);
            touched.insert(id);
        }
    }

    fn tell(&mut self, id: CandidateId, now: Time) {
        let facts = self.session.facts();
        if let Some(candidate) = self.candidates.get_mut(&id) {
            self.out.owner = Owner::Candidate(id);
            candidate.advance(&facts, now, &mut self.out);
        }
    }

    /// Lets the session and those candidates that are concerned advance, until all agree on the facts.
    fn settle(&mut self, mut touched: BTreeSet<CandidateId>, now: Time) {
        for key in self.session.take_strays() {
            if !self.candidates.values().any(|candidate| candidate.owns(&key)) {
                self.session.own_orphan(key);
            }
        }
        loop {
            self.out.owner = Owner::Session;
            self.session.advance(now, &mut self.out);
            for (id, revision, finding) in self.session.take_checks() {
                self.call(id, &mut touched, |candidate, out| candidate.checked(revision, &finding, out));
            }
            for (id, error) in self.session.take_refusals() {
                self.call(id, &mut touched, |candidate, _| candidate.refuse(error, now));
            }
            let facts = self.session.facts();
            let news = (self.session.trouble().cloned(), self.session.fatal().cloned());
            if facts != self.told || news != self.shown {
                (self.told, self.shown) = (facts, news);
                touched.extend(self.candidates.keys());
            }
            touched.extend(self.take_due(now));
            if touched.is_empty() {
                break;
            }
            for id in std::mem::take(&mut touched) {
                self.advance(id, &facts, now);
            }
        }
        self.session_timeout = self.session.timeout(now, &self.out);
    }

    fn advance(&mut self, id: CandidateId, facts: &Facts, now: Time) {
        let Some(candidate) = self.candidates.get_mut(&id) else { return };
        if let Some(error) = self.session.fatal() {
            candidate.fail(error.clone(), now);
        }
        self.out.owner = Owner::Candidate(id);
        candidate.advance(facts, now, &mut self.out);
        self.session.place(id, candidate.place());
        let (timeout, pleas, ended) = (candidate.timeout(facts, now), candidate.take_pleas(), candidate.has_ended());
        // A timer in the past would be called for ever within this very moment.
        self.set_timer(id, timeout.max(now + Duration::from_nanos(1)));
        self.out.owner = Owner::Session;
        for plea in pleas {
            match plea {
                Plea::LinkFailed(link, failure) => self.session.request_failed(link, failure, now, &mut self.out),
                Plea::LeaseGone(lease) => self.session.lease_gone(lease, now),
                Plea::CannotLeave(lease) => self.session.leave_behind(lease, now),
                Plea::InDoubt(key) => self.session.own_doubt(key),
                Plea::Copied(lease) => self.session.copied(lease, now),
                Plea::ClocksDoubted => self.session.doubt_clocks(now),
            }
        }
        self.publish(id);
        if ended {
            self.retire(id);
        }
    }

    fn retire(&mut self, id: CandidateId) {
        self.set_timer(id, Time::NEVER);
        self.session.delist(id);
        if let Some(candidate) = self.candidates.remove(&id) {
            self.prefixes.remove(candidate.prefix());
            candidate.doubts().into_iter().for_each(|key| self.session.own_doubt(key));
        }
        if self.candidates.is_empty() {
            self.session.dismiss();
        }
    }

    fn set_timer(&mut self, id: CandidateId, at: Time) {
        if let Some(old) = self.timer_of.remove(&id) {
            self.timers.remove(&(old, id));
        }
        if at < Time::NEVER {
            self.timers.insert((at, id));
            self.timer_of.insert(id, at);
        }
    }

    /// Puts a candidate's report and the session's news together, and keeps it if it is new.
    fn publish(&mut self, id: CandidateId) {
        let Some(candidate) = self.candidates.get(&id) else { return };
        let mut report = candidate.report().clone();
        report.fatal = self.session.fatal().cloned().or(report.fatal);
        report.released &= !self.session.owes(candidate.prefix());
        let (granted, long_lease) = self.session.granted();
        report.granted = granted;
        if !candidate.has_ended() {
            report.trouble = self.session.trouble().cloned().or(report.trouble).or(long_lease.cloned());
        }
        if self.reports.get(&id) != Some(&report) {
            self.reports.insert(id, report);
            self.changed.insert(id);
        }
    }
}
