//! Processes: a crew each, with a clock of their own, and users who listen to it.

use etcd_leader_rules::config::Timings;
use etcd_leader_rules::machine::crew::Crew;
use etcd_leader_rules::machine::{CandidateId, Entropy, Input, LinkId, Report, Request, Watched};
use etcd_leader_rules::time::Time;

use crate::books::Books;
use crate::links::Link;
use crate::pauses::Pause;
use crate::referee::urgency;
use crate::rng::{MS, Ns, Rng, SECOND};
use crate::trace::note;
use crate::user::User;
use crate::words::input_words;
use crate::world::{Ev, Mood, World};

/// What is under test; a trait, so that the referee itself can be tested with candidates that break the laws.
pub(crate) trait Actor {
    fn add(&mut self, key: &str, name: &str, now: Time) -> CandidateId;
    fn handle(&mut self, input: Input, now: Time);
    fn poll_request(&mut self) -> Option<Request>;
    fn poll_timeout(&self) -> Option<Time>;
    fn poll_report(&mut self) -> Option<(CandidateId, Report)>;
    fn accepts(&self, key: &str) -> bool;
    fn is_over(&self) -> bool;
    /// Whether nobody may say that it leads since the wall clock jumped.
    fn is_suspect(&self) -> bool;
}

impl Actor for Crew {
    fn add(&mut self, key: &str, name: &str, now: Time) -> CandidateId {
        Crew::add(self, key, name, now)
    }
    fn handle(&mut self, input: Input, now: Time) {
        Crew::handle(self, input, now);
    }
    fn poll_request(&mut self) -> Option<Request> {
        Crew::poll_request(self)
    }
    fn poll_timeout(&self) -> Option<Time> {
        Crew::poll_timeout(self)
    }
    fn poll_report(&mut self) -> Option<(CandidateId, Report)> {
        Crew::poll_report(self)
    }
    fn accepts(&self, key: &str) -> bool {
        Crew::accepts(self, key)
    }
    fn is_over(&self) -> bool {
        Crew::is_over(self)
    }
    fn is_suspect(&self) -> bool {
        Crew::is_suspect(self)
    }
}

/// The real thing.
pub(crate) fn real(timings: Timings, seed: u64, epoch_ms: u64, now: Time) -> Box<dyn Actor> {
    Box::new(Crew::new(timings, Entropy::new(seed, epoch_ms), now))
}

/// A clock that started at another moment and runs a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: Ns,
    ppm: i64,
    /// For how long it has stood still.
    pub(crate) stood: Ns,
}

impl Clock {
    pub(crate) fn local(&self, at: Ns) -> Time {
        let ran = at - self.stood;
        Time::from_nanos((self.offset + ran).wrapping_add_signed((ran / MS) as i64 * self.ppm))
    }

    /// The first true moment at which this clock shows `time` or more.
    pub(crate) fn truly(&self, time: Time) -> Ns {
        let nanos = time.as_nanos().saturating_sub(self.offset);
        let mut at =
            nanos.saturating_add_signed(-((nanos / MS) as i64).saturating_mul(self.ppm)).saturating_sub(10_000)
                + self.stood;
        while self.local(at) < time {
            at += (time.as_nanos() - self.local(at).as_nanos()).max(1);
        }
        at
    }
}

/// One candidate of a process, as its user has it.
pub(crate) struct Cand {
    pub(crate) id: CandidateId,
    pub(crate) election: usize,
    pub(crate) name: String,
    pub(crate) report: Report,
    pub(crate) user: User,
    /// When it asks next for events.
    pub(crate) asks_at: Ns,
    pub(crate) stopped: bool,
    /// With which it led last.
    pub(crate) last_token: Option<u64>,
    /// It had a place.
    pub(crate) has_joined: bool,
    /// When it last saw the whole election, by a look or a join, and when it last stopped leading.
    pub(crate) looked_at: Ns,
    pub(crate) lost_at: Ns,
}

pub(crate) struct Proc {
    /// Counts restarts.
    pub(crate) inc: u32,
    pub(crate) crew: Option<Box<dyn Actor>>,
    pub(crate) clock: Clock,
    pub(crate) frozen: bool,
    pub(crate) pause: Pause,
    /// When the last pause ended, and how long it was.
    pub(crate) paused: (Ns, Ns),
    pub(crate) backlog: Vec<(Option<LinkId>, Input)>,
    pub(crate) links: Vec<Link>,
    pub(crate) cands: Vec<Cand>,
    pub(crate) books: Books,
    pub(crate) slow_until: Ns,
    /// When something last stood between it and the cluster.
    pub(crate) hindered_at: Ns,
    /// When it last told that clocks differ. After that it leaves a server whose clock is behind.
    pub(crate) skewed_at: Ns,
    /// What the watch covers that is just telling something.
    pub(crate) range: Option<Watched>,
    /// Elections this process campaigns in, as bits.
    pub(crate) mask: u64,
    pub(crate) started: Ns,
    pub(crate) wake_due: Ns,
    spins: (Ns, u32),
}

impl Proc {
    pub(crate) fn new(at: usize, rng: &mut Rng) -> Proc {
        let clock = Clock {
            offset: rng.below(3600) * SECOND,
            ppm: if rng.permille(300) { 0 } else { rng.below(2001) as i64 - 1000 },
            stood: 0,
        };
        Proc {
            inc: 0,
            crew: None,
            clock,
            frozen: false,
            pause: Pause::default(),
            paused: (0, 0),
            backlog: Vec::new(),
            links: Vec::new(),
            cands: Vec::new(),
            books: Books::default(),
            slow_until: 0,
            hindered_at: 0,
            skewed_at: 0,
            range: None,
            mask: if at < 2 { 7 } else { rng.range(1, 8) },
            started: 0,
            wake_due: Ns::MAX,
            spins: (0, 0),
        }
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }
}

impl World {
    pub(crate) fn local(&self, proc: usize) -> Time {
        self.procs[proc].clock.local(self.now)
    }

    /// Those who campaign in an election and have not been stopped.
    pub(crate) fn campaigners(&self, election: usize) -> Vec<(usize, usize)> {
        let all = self.procs.iter().enumerate().filter(|(_, proc)| proc.crew.is_some());
        all.flat_map(|(p, proc)| (0..proc.cands.len()).map(move |c| (p, c)))
            .filter(|(p, c)| {
                let cand = &self.procs[*p].cands[*c];
                cand.election == election && !cand.stopped && cand.report.fatal.is_none()
            })
            .collect()
    }

    /// Something reaches a process, unless its link was closed meanwhile.
    pub(crate) fn deliver(&mut self, proc: usize, inc: u32, link: Option<LinkId>, input: Input) {
        if self.procs[proc].inc != inc || self.procs[proc].crew.is_none() {
            return;
        }
        if self.procs[proc].frozen {
            self.procs[proc].backlog.push((link, input));
            return;
        }
        self.give(proc, link, input);
    }

    pub(crate) fn give(&mut self, proc: usize, link: Option<LinkId>, input: Input) {
        if let Some(id) = link {
            let Some(on) = self.procs[proc].links.iter_mut().find(|known| known.id == id) else { return };
            if matches!(input, Input::Broken { .. }) {
                on.broken = true;
            }
        }
        if self.trace.on && !matches!(input, Input::Tick) {
            note!(self, "p{proc} <- {}", input_words(&input));
        }
        let now = self.local(proc);
        if input == Input::Jumped {
            self.sees_jump(proc);
        }
        self.before(proc, &input);
        let Some(crew) = &mut self.procs[proc].crew else { return };
        let copy = if matches!(input, Input::Watch { .. }) { input.clone() } else { Input::Tick };
        crew.handle(input, now);
        self.drain(proc, &copy);
    }

    pub(crate) fn wake(&mut self, proc: usize, inc: u32, due: Ns) {
        let this = &mut self.procs[proc];
        if this.inc != inc || this.wake_due != due {
            return;
        }
        if this.frozen {
            return;
        }
        this.wake_due = Ns::MAX;
        let now = self.local(proc);
        let this = &mut self.procs[proc];
        let Some(crew) = &mut this.crew else { return };
        if crew.poll_timeout().is_none_or(|time| time > now) {
            return self.set_alarm(proc);
        }
        // A crew that wants to be called again and again in no time would burn a processor.
        this.spins = if this.spins.0 + MS > self.now { (this.spins.0, this.spins.1 + 1) } else { (self.now, 0) };
        if this.spins.1 > 200 {
            self.referee.accuse(0, format!("p{proc} spins"));
        }
        self.give(proc, None, Input::Tick);
    }

    /// Carries away what a crew has for the world.
    pub(crate) fn drain(&mut self, proc: usize, cause: &Input) {
        let Some(crew) = &mut self.procs[proc].crew else { return };
        let requests: Vec<Request> = std::iter::from_fn(|| crew.poll_request()).collect();
        let reports: Vec<(CandidateId, Report)> = std::iter::from_fn(|| crew.poll_report()).collect();
        if self.is_v2() {
            reports.iter().for_each(|(_, report)| self.says_v2(proc, report));
        }
        for request in requests {
            self.requested(proc, &request);
            self.send(proc, request);
        }
        let is_sure_again = self.trusts_its_clock(proc);
        let mut expired = Vec::new();
        for (id, report) in reports {
            expired.extend(self.reported(proc, id, report, cause));
        }
        if is_sure_again {
            self.claims_again(proc);
        }
        // As the driver does.
        for input in expired {
            self.give(proc, None, input);
        }
        if self.is_v2() {
            self.judge_clocks(proc);
        }
        let attempt = self.timings.attempt;
        if let Err(what) = urgency::a_leader_looks_for_a_link(&self.procs[proc], attempt, self.local(proc)) {
            self.referee.accuse(7, format!("p{proc} {what}"));
        }
        if self.procs[proc].crew.as_ref().is_some_and(|crew| crew.is_over()) {
            note!(self, "p{proc} is over");
            self.stats.overs += 1;
            self.judge_over(proc);
            self.drop_crew(proc);
            return;
        }
        self.set_alarm(proc);
    }

    /// The process is gone, or has let go of its crew: so are its connections.
    pub(crate) fn drop_crew(&mut self, proc: usize) {
        let this = &mut self.procs[proc];
        if this.crew.take().is_some() {
            self.referee.frugal.sessions += 1;
            self.referee.frugal.session_ns += self.now - this.started;
            self.stats.candidate_ns += (self.now - this.started) * this.cands.len() as u64;
        }
        this.links.clear();
        this.backlog.clear();
        this.frozen = false;
        this.pause = Pause::default();
        let inc = this.inc;
        for watchers in &mut self.watchers {
            watchers.retain(|watcher| watcher.proc != proc || watcher.inc != inc);
        }
        self.referee.gone(proc);
    }

    fn set_alarm(&mut self, proc: usize) {
        let Some(time) = self.procs[proc].crew.as_ref().and_then(|crew| crew.poll_timeout()) else { return };
        let late = if self.mood == Mood::Storm { self.rng.below(3 * MS) } else { self.rng.below(200_000) };
        let this = &self.procs[proc];
        let exact = this.clock.truly(time).max(self.now);
        // An earlier alarm looks again when it rings.
        if this.wake_due <= exact {
            return;
        }
        let (due, inc) = (exact + late, this.inc);
        self.procs[proc].wake_due = due;
        self.at(due, Ev::Wake { proc, inc, due });
    }
}
