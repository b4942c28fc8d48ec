//! A process: a crew of one candidate, and its user.

use etcd_leader_rules::Config;
use etcd_leader_rules::config::Timings;
use etcd_leader_rules::machine::crew::Crew;
use etcd_leader_rules::machine::{CandidateId, Entropy, Input, Report, Request};
use etcd_leader_rules::member::{Revision, Standing};
use etcd_leader_rules::time::Time;

use crate::user::User;

pub(crate) const KEY: &str = "/e";

/// As most users have them, with a short lease.
pub(crate) fn timings() -> Timings {
    let endpoints = vec!["http://127.0.0.1:1".into()];
    let config = Config { endpoints, key: KEY.into(), name: "one".into(), ttl_s: 5, ..Config::default() };
    config.validate().expect("a good configuration").session.timings
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Process {
    /// Its name, which a restart changes.
    pub(crate) name: String,
    /// `None` once it is over.
    crew: Option<Crew>,
    id: CandidateId,
    user: User,
    pub(crate) is_stopped: bool,
    pub(crate) report: Report,
    /// Its clock stood still for a while, and the driver has not noticed yet that the wall clock has jumped.
    pub(crate) has_jumped: bool,
    /// It has, and no renewal was confirmed since.
    is_suspect: bool,
    /// The entries that a foreign hand has deleted.
    pub(crate) undone: Vec<Revision>,
}

/// The words of a process while it handled something.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) requests: Vec<Request>,
    pub(crate) reports: Vec<Report>,
    /// A wrong word to its user (law 5).
    pub(crate) complaint: Option<String>,
    /// It wants to be called for ever.
    pub(crate) spins: bool,
    /// It was over just now.
    pub(crate) is_over: bool,
}

impl Process {
    /// The `start`th start of a process: a crew of its own, with its own numbers.
    pub(crate) fn new(at: usize, start: u64, now: Time, said: &mut Said) -> Process {
        let timings = timings();
        let (name, ttl) = (format!("p{at}.{start}"), timings.ttl());
        let mut crew = Crew::new(timings, Entropy::new(1 + at as u64 + 2 * start, 1_795_000_000_000), now);
        let id = crew.add(KEY, &name, now);
        // One of each kind: it ends its work before it comes for the next event, or says when that has ended.
        let user = User::new(&name, ttl, at == 0);
        let (report, is_stopped, has_jumped, is_suspect) = (Report::default(), false, false, false);
        let (crew, undone) = (Some(crew), Vec::new());
        let mut this = Process { name, crew, id, user, is_stopped, report, has_jumped, is_suspect, undone };
        this.drain(now, said);
        this
    }

    pub(crate) fn is_over(&self) -> bool {
        self.crew.is_none()
    }

    /// The time at which it wants to be called.
    pub(crate) fn timeout(&self) -> Time {
        let crew = self.crew.as_ref().and_then(Crew::poll_timeout).unwrap_or(Time::NEVER);
        if self.is_over() { Time::NEVER } else { crew.min(self.user.timeout()) }
    }

    /// With which token, and until when, it leads by its own clock.
    pub(crate) fn claim(&self, now: Time) -> Option<(Revision, Time)> {
        let may_say_so = !self.is_over() && self.is_calm() && (!self.is_stopped || self.user.holds());
        match self.report.standing {
            Standing::Leading { token, until } if may_say_so && now < until => Some((token, until)),
            _ => None,
        }
    }

    /// Its term has ended by the clock, and it has not noticed.
    pub(crate) fn is_late(&self, now: Time) -> bool {
        matches!(self.report.standing, Standing::Leading { until, .. } if until <= now)
    }

    /// The token of the term whose entry its user counts on after a stop.
    pub(crate) fn holds(&self) -> Option<Revision> {
        self.user.term().filter(|_| self.user.holds())
    }

    pub(crate) fn may_release(&self) -> bool {
        self.user.may_release() && self.is_calm()
    }

    /// Whether its user ends its work before it comes for the next event.
    pub(crate) fn is_in_turn(&self) -> bool {
        self.user.is_in_turn()
    }

    /// On another clock nobody is told that it leads.
    pub(crate) fn is_calm(&self) -> bool {
        !self.has_jumped && !self.is_suspect
    }

    /// The driver notices that the wall clock has jumped.
    pub(crate) fn notice(&mut self, now: Time, said: &mut Said) {
        (self.has_jumped, self.is_suspect) = (false, true);
        self.hear(Input::Jumped, now, said);
    }

    /// It takes something in.
    pub(crate) fn hear(&mut self, input: Input, now: Time, said: &mut Said) {
        if let Some(crew) = &mut self.crew {
            crew.handle(input, now);
            self.drain(now, said);
        }
    }

    /// A timer has gone off.
    pub(crate) fn wake(&mut self, now: Time, said: &mut Said) {
        for _ in 0..100 {
            self.obey(now, said);
            self.hear(Input::Tick, now, said);
            if self.timeout() > now {
                return;
            }
        }
        said.spins = true;
    }

    /// Its user asks to stop.
    pub(crate) fn stop(&mut self, now: Time, said: &mut Said) {
        self.is_stopped = true;
        self.user.stop(now);
        self.obey(now, said);
        self.drain(now, said);
    }

    /// The work of its user has ended.
    pub(crate) fn release(&mut self, now: Time, said: &mut Said) {
        let held = self.claim(now).is_some_and(|(token, _)| Some(token) == self.user.term());
        self.user.release(held, now);
        self.obey(now, said);
        self.drain(now, said);
    }

    /// The driver carries out what the hand-over wants.
    fn obey(&mut self, now: Time, said: &mut Said) {
        for command in self.user.commands(now) {
            self.hear(command.input(self.id), now, said);
        }
    }

    /// As the driver does: requests go out, reports go to the user, who takes all events.
    fn drain(&mut self, now: Time, said: &mut Said) {
        let Some(crew) = &mut self.crew else { return };
        loop {
            said.requests.extend(std::iter::from_fn(|| crew.poll_request()));
            let Some((id, report)) = crew.poll_report() else { break };
            self.report = report.clone();
            said.reports.push(report.clone());
            if let Some(token) = self.user.set(report, now) {
                crew.handle(Input::Expired { candidate: id, token }, now);
            }
        }
        self.is_suspect &= crew.is_suspect();
        if crew.is_over() {
            (self.crew, said.is_over) = (None, true);
        }
        self.user.suspect(self.is_suspect);
        self.user.undone(self.user.term().is_some_and(|token| self.undone.contains(&token)));
        if let Err(complaint) = self.user.poll(now) {
            said.complaint.get_or_insert(complaint);
        }
    }
}
