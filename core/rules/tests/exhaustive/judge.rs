//! The laws, held against the store and against what the processes say. It knows neither the machines nor the model's network.

use etcd_leader_rules::machine::{Input, Op, Report, WatchNews};
use etcd_leader_rules::member::{Revision, Standing};
use etcd_leader_rules::time::Time;

use crate::process::{Said, timings};
use crate::state::{Ns, State};
use crate::trace::text;

/// A broken law, and how.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Broken {
    pub(crate) law: u32,
    pub(crate) what: String,
}

impl Broken {
    pub(crate) fn new(law: u32, what: String) -> Broken {
        Broken { law, what }
    }
}

/// A term of a process, by its own words.
#[derive(Clone, Copy, Debug, Hash)]
struct Term {
    token: Revision,
    until: Time,
    is_over: bool,
    /// It began by a watch, and no look has confirmed it (law 2b).
    is_unconfirmed: bool,
}

/// The memory of the judge.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Judge {
    terms: [Option<Term>; 2],
    /// The highest token that was claimed and true.
    highest: Revision,
    /// The entries that somebody else has deleted, and when: their authors may claim to lead until they can know.
    pub(crate) undone: Vec<(Revision, Ns)>,
}

impl Judge {
    /// A look or a join was answered.
    pub(crate) fn looked(&mut self, at: usize) {
        if let Some(term) = &mut self.terms[at] {
            term.is_unconfirmed = false;
        }
    }

    /// The process is another.
    pub(crate) fn forget(&mut self, at: usize) {
        self.terms[at] = None;
    }

    /// A process whose clock is to be trusted reports that it leads, or that it does not (laws 2b and 4).
    fn report(&mut self, at: usize, report: &Report, by_watch: bool, now: Time) -> Result<(), Broken> {
        let before = self.terms[at];
        let Standing::Leading { token, until } = report.standing else {
            if let Some(term) = &mut self.terms[at] {
                term.is_over = true;
            }
            return Ok(());
        };
        let same = before.filter(|term| term.token == token);
        if same.is_some_and(|term| term.is_over || now >= term.until) && now < until {
            return Err(Broken::new(4, format!("p{at} leads again with token {token}, which a term before it had")));
        }
        if token < self.highest && self.undone.iter().all(|(undone, _)| *undone != token) {
            return Err(Broken::new(4, format!("p{at} leads with token {token}, but {} came before", self.highest)));
        }
        let is_unconfirmed = same.map_or(by_watch, |term| term.is_unconfirmed);
        if let Some(term) = same.filter(|term| term.is_unconfirmed && until > term.until) {
            let what = format!("p{at} leads by a watch, and beyond {:?} although no look has confirmed it", term.until);
            return Err(Broken::new(2, what));
        }
        self.terms[at] = Some(Term { token, until, is_over: false, is_unconfirmed });
        Ok(())
    }
}

impl State {
    /// Judges the words that a process has just said.
    pub(crate) fn judge_said(&mut self, at: usize, cause: Option<&Input>, said: &Said) -> Result<(), Broken> {
        if said.spins {
            return Err(Broken::new(0, format!("p{at} spins")));
        }
        if let Some(complaint) = &said.complaint {
            return Err(Broken::new(5, format!("p{at}: {complaint}")));
        }
        let by_watch = matches!(cause, Some(Input::Watch { news: WatchNews::Changes { .. }, .. }));
        let now = self.local(at);
        for report in &said.reports {
            // Otherwise no user is told that it leads.
            if self.processes[at].is_calm() {
                self.judge.report(at, report, by_watch, now)?;
            }
            if report.ended && report.released {
                self.judge_released(at)?;
            }
        }
        said.requests.iter().try_for_each(|request| self.judge_request(at, &request.op))?;
        if said.is_over { self.judge_over(at) } else { Ok(()) }
    }

    /// A process that says to lead has the first entry, on a lease that lives longer than that by the margin, and is alone (laws 1 and 2).
    pub(crate) fn judge_claims(&mut self) -> Result<(), Broken> {
        let settings = settings_of_all();
        let mut true_claims = 0;
        for at in [0, 1] {
            let Some((token, until)) = self.processes[at].claim(self.local(at)) else { continue };
            let until = self.truly(at, until);
            let who = format!("p{at} leads with token {token}");
            if let Some((_, since)) = self.judge.undone.iter().find(|(undone, _)| *undone == token) {
                if until > since + settings.ttl - settings.margin {
                    return Err(Broken::new(
                        3,
                        format!("{who} until {until}, although its entry was deleted at {since}"),
                    ));
                }
                continue;
            }
            let ranked = self.store.ranked();
            let Some(entry) = ranked.iter().find(|entry| entry.revision == token) else {
                return Err(Broken::new(1, format!("{who}, and its entry is gone")));
            };
            if ranked[0].revision != token {
                return Err(Broken::new(2, format!("{who}, and {} is ahead of it", text(&ranked[0].key))));
            }
            let ends = self.store.leases.get(&entry.lease).map_or(0, |lease| lease.expires);
            if until + settings.margin > ends {
                let what = format!("{who} until {until}, and its lease may end at {ends}");
                return Err(Broken::new(1, what));
            }
            self.judge.highest = self.judge.highest.max(token);
            true_claims += 1;
        }
        if true_claims > 1 { Err(Broken::new(2, "both lead".into())) } else { Ok(()) }
    }

    /// An entry on which the user counts is not given up (law 6).
    fn judge_request(&self, at: usize, op: &Op) -> Result<(), Broken> {
        let Some(token) = self.processes[at].holds() else { return Ok(()) };
        let ranked = self.store.ranked();
        let Some(entry) = ranked.iter().find(|entry| entry.revision == token) else { return Ok(()) };
        let gives_up = match op {
            Op::Leave { key, revision } => *key == entry.key && *revision == token,
            Op::Revoke { lease } => *lease == entry.lease,
            _ => false,
        };
        if gives_up && !self.store.is_due(entry.lease, self.now) {
            return Err(Broken::new(6, format!("p{at} gives up token {token} before its user's work has ended")));
        }
        Ok(())
    }

    /// It says that its key is gone (law 8).
    fn judge_released(&self, at: usize) -> Result<(), Broken> {
        let name = self.processes[at].name.as_bytes();
        match self.store.ranked().into_iter().find(|entry| entry.name == name) {
            Some(left) => {
                let what = format!("p{at} says that its key is gone, but there is {}", text(&left.key));
                Err(Broken::new(8, what))
            }
            None => Ok(()),
        }
    }

    /// A crew is over: nothing is left of it (law 8).
    fn judge_over(&self, at: usize) -> Result<(), Broken> {
        let name = self.processes[at].name.as_bytes();
        let left = self.store.ranked().into_iter().find(|entry| entry.name == name);
        if let Some(left) = left.filter(|left| !self.store.is_due(left.lease, self.now)) {
            return Err(Broken::new(8, format!("p{at} is over, but there is {}", text(&left.key))));
        }
        let lives = |lease: &&i64| self.store.leases.contains_key(*lease) && !self.store.is_due(**lease, self.now);
        match self.wires[at].leases.iter().find(lives) {
            Some(lease) => Err(Broken::new(8, format!("p{at} is over, but there is its lease {lease:x}"))),
            None => Ok(()),
        }
    }
}

/// The times that all processes have agreed on.
struct Agreed {
    ttl: Ns,
    margin: Ns,
}

fn settings_of_all() -> &'static Agreed {
    static AGREED: std::sync::OnceLock<Agreed> = std::sync::OnceLock::new();
    let nanos = |time: std::time::Duration| Ns::try_from(time.as_nanos()).unwrap_or(Ns::MAX);
    AGREED.get_or_init(|| {
        let timings = timings();
        Agreed { ttl: nanos(timings.ttl()), margin: nanos(timings.margin) }
    })
}
