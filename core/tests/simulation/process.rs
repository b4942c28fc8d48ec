//! Processes: a crew each, with a clock of their own, and users who listen to it.

use std::time::Duration;

use etcd_leader::config::SessionSettings;
use etcd_leader::machine::crew::Crew;
use etcd_leader::machine::{CandidateId, Entropy, Input, LinkId, Report, Request};
use etcd_leader::member::Standing;
use etcd_leader::time::Time;

use crate::books::Books;
use crate::net::{Link, Route};
use crate::rng::{MS, Ns, Rng, SECOND};
use crate::trace::note;
use crate::user::User;
use crate::world::{ELECTIONS, Ev, Mood, World};

/// What is under test; a trait, so that the referee itself can be tested with candidates that break the laws.
pub(crate) trait Actor {
    fn add(&mut self, key: &str, name: &str, stop_timeout: Duration, now: Time) -> CandidateId;
    fn handle(&mut self, input: Input, now: Time);
    fn poll_request(&mut self) -> Option<Request>;
    fn poll_timeout(&self) -> Option<Time>;
    fn poll_report(&mut self) -> Option<(CandidateId, Report)>;
    fn accepts(&self, key: &str) -> bool;
    fn is_over(&self) -> bool;
}

impl Actor for Crew {
    fn add(&mut self, key: &str, name: &str, stop_timeout: Duration, now: Time) -> CandidateId {
        Crew::add(self, key, name, stop_timeout, now)
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
}

/// The real thing.
pub(crate) fn real(settings: SessionSettings, seed: u64, epoch_ms: u64, now: Time) -> Box<dyn Actor> {
    Box::new(Crew::new(settings, Entropy::new(seed, epoch_ms), now))
}

/// A clock that started at another moment and runs a little fast or slow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset: Ns,
    ppm: i64,
}

impl Clock {
    pub(crate) fn local(&self, at: Ns) -> Time {
        Time::from_nanos((self.offset + at).wrapping_add_signed((at / MS) as i64 * self.ppm))
    }

    /// The first true moment at which this clock shows `time` or more.
    pub(crate) fn truly(&self, time: Time) -> Ns {
        let nanos = time.as_nanos().saturating_sub(self.offset);
        let mut at =
            nanos.saturating_add_signed(-((nanos / MS) as i64).saturating_mul(self.ppm)).saturating_sub(10_000);
        while self.local(at) < time {
            at += (time.as_nanos() - self.local(at).as_nanos()).max(1);
        }
        at
    }
}

/// Something a process or its user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    Start,
    /// The user asks for events.
    Poll {
        cand: usize,
    },
    Stop {
        cand: usize,
    },
    /// The user is told, and is back from that after a while.
    Entered {
        cand: usize,
        heard: Ns,
    },
    Acknowledge {
        cand: usize,
    },
    /// An ended election is started again.
    Again {
        election: usize,
    },
    Thaw,
}

/// One candidate of a process, as its user has it.
pub(crate) struct Cand {
    pub(crate) id: CandidateId,
    pub(crate) election: usize,
    pub(crate) name: String,
    pub(crate) report: Report,
    pub(crate) user: User,
    pub(crate) stopped: bool,
    /// With which it led last.
    pub(crate) last_token: Option<u64>,
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
    pub(crate) backlog: Vec<(Option<LinkId>, Input)>,
    pub(crate) links: Vec<Link>,
    pub(crate) cands: Vec<Cand>,
    pub(crate) books: Books,
    pub(crate) slow_until: Ns,
    /// When something last stood between it and the cluster.
    pub(crate) hindered_at: Ns,
    /// What the watch covers that is just telling something.
    pub(crate) range: Option<(Vec<u8>, Vec<u8>)>,
    /// Elections this process campaigns in, as bits.
    mask: u64,
    started: Ns,
    wake_due: Ns,
    spins: (Ns, u32),
}

impl Proc {
    pub(crate) fn new(at: usize, rng: &mut Rng) -> Proc {
        let clock = Clock {
            offset: rng.below(3600) * SECOND,
            ppm: if rng.permille(300) { 0 } else { rng.below(2001) as i64 - 1000 },
        };
        Proc {
            inc: 0,
            crew: None,
            clock,
            frozen: false,
            backlog: Vec::new(),
            links: Vec::new(),
            cands: Vec::new(),
            books: Books::default(),
            slow_until: 0,
            hindered_at: 0,
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

    pub(crate) fn chore(&mut self, proc: usize, inc: u32, chore: Chore) {
        if self.procs[proc].inc != inc {
            return;
        }
        if self.procs[proc].frozen && chore != Chore::Thaw {
            return self.after(50 * MS, Ev::Chore { proc, inc, chore });
        }
        match chore {
            Chore::Start => self.start(proc),
            Chore::Thaw => self.thaw(proc),
            Chore::Poll { cand } => self.poll_user(proc, cand),
            Chore::Stop { cand } => self.stop(proc, cand),
            Chore::Entered { cand, heard } => self.enter(proc, cand, heard),
            Chore::Acknowledge { cand } => self.acknowledge(proc, cand),
            Chore::Again { election } => self.again(proc, election),
        }
    }

    fn start(&mut self, proc: usize) {
        if self.ending || self.procs[proc].crew.is_some() {
            return;
        }
        note!(self, "p{proc} starts");
        let now = self.local(proc);
        let epoch_ms = 1_795_000_000_000 + self.rng.below(40) - now.as_nanos() / MS + self.now / MS;
        let seed = self.rng.next();
        let crew = (self.make)(self.settings.clone(), seed, epoch_ms, now);
        let this = &mut self.procs[proc];
        this.inc += 1;
        this.started = self.now;
        this.crew = Some(crew);
        this.cands.clear();
        this.links.clear();
        this.books = Books::default();
        this.wake_due = Ns::MAX;
        self.routes[proc].iter_mut().filter(|route| **route == Route::Foreign).for_each(|route| *route = Route::Fine);
        if self.strangers {
            let last = self.routes[proc].len() - 1;
            self.routes[proc][last] = Route::Foreign;
        }
        for election in 0..self.elections {
            if self.procs[proc].mask & (1 << election) != 0 || self.elections == 1 {
                self.add(proc, election);
            }
        }
        if self.procs[proc].cands.is_empty() {
            self.add(proc, 0);
        }
    }

    fn add(&mut self, proc: usize, election: usize) {
        let now = self.local(proc);
        let (inc, stop_timeout) = (self.procs[proc].inc, self.settings.ttl());
        let cand = self.procs[proc].cands.len();
        let name = format!("p{proc}.{inc}.{cand}");
        let Some(crew) = &mut self.procs[proc].crew else { return };
        let id = crew.add(ELECTIONS[election], &name, stop_timeout, now);
        let user = User::new(&name, self.settings.ttl());
        let (report, stopped, last_token, looked_at, lost_at) = (Report::default(), false, None, 0, 0);
        let one = Cand { id, election, name, report, user, stopped, last_token, looked_at, lost_at };
        self.procs[proc].cands.push(one);
        let first = self.rng.below(20 * MS);
        self.after(first, Ev::Chore { proc, inc, chore: Chore::Poll { cand } });
        self.drain(proc, &Input::Tick);
    }

    /// The user starts an election anew that had ended.
    fn again(&mut self, proc: usize, election: usize) {
        if self.ending {
            return;
        }
        match &self.procs[proc].crew {
            Some(crew) if crew.accepts(ELECTIONS[election]) => {
                self.stats.again += 1;
                note!(self, "p{proc} campaigns again for {}", ELECTIONS[election]);
                self.add(proc, election);
            }
            Some(_) => {
                let inc = self.procs[proc].inc;
                let wait = self.ttl() / 4;
                self.after(wait, Ev::Chore { proc, inc, chore: Chore::Again { election } });
            }
            None => self.start(proc),
        }
    }

    fn stop(&mut self, proc: usize, cand: usize) {
        let now = self.now;
        let inc = self.procs[proc].inc;
        let is_over = self.procs[proc].crew.is_none();
        let Some(one) = self.procs[proc].cands.get_mut(cand) else { return };
        if one.stopped || is_over {
            return;
        }
        one.stopped = true;
        let led = one.user.stop();
        let candidate = one.id;
        let leads = matches!(one.report.standing, Standing::Leading { .. });
        note!(self, "p{proc} user stops {cand}, led={led}");
        self.referee.stopping(proc, inc, cand, led && leads, now, self.ttl());
        if led {
            self.stats.stops_held += 1;
            // The user's handler: entered at once or late, done soon or late, or never.
            let entered = if self.rng.permille(800) { self.rng.below(5 * MS) } else { self.rng.below(2 * self.ttl()) };
            let heard = if self.rng.permille(700) { self.rng.below(20 * MS) } else { self.rng.below(2 * self.ttl()) };
            if self.ending || self.rng.permille(900) {
                let entered = if self.ending { entered.min(20 * MS) } else { entered };
                let heard = if self.ending { heard.min(50 * MS) } else { heard };
                self.after(entered, Ev::Chore { proc, inc, chore: Chore::Entered { cand, heard } });
            } else {
                self.stats.stops_timed_out += 1;
            }
        }
        self.give(proc, None, Input::Stop { candidate, led });
        if !self.ending && self.rng.permille(700) {
            let wait = self.rng.below(2 * self.ttl());
            let election = self.procs[proc].cands[cand].election;
            self.after(wait, Ev::Chore { proc, inc, chore: Chore::Again { election } });
        }
    }

    /// After a stop: the user hears that it is over.
    fn enter(&mut self, proc: usize, cand: usize, heard: Ns) {
        let (now, inc) = (self.local(proc), self.procs[proc].inc);
        if self.procs[proc].crew.is_none() {
            return;
        }
        let one = &mut self.procs[proc].cands[cand];
        let candidate = one.id;
        match one.user.enter(now) {
            Err(text) => self.referee.accuse(5, format!("p{proc}.{inc} candidate {cand}: {text}")),
            Ok(false) => {}
            Ok(true) => {
                note!(self, "p{proc} user of {cand} is being told");
                self.referee.entered(proc, inc, cand, self.now);
                self.after(heard, Ev::Chore { proc, inc, chore: Chore::Acknowledge { cand } });
                self.give(proc, None, Input::Entered { candidate });
            }
        }
    }

    fn acknowledge(&mut self, proc: usize, cand: usize) {
        let inc = self.procs[proc].inc;
        let one = &mut self.procs[proc].cands[cand];
        let candidate = one.id;
        if one.user.acknowledge() && self.procs[proc].crew.is_some() {
            note!(self, "p{proc} user of {cand} has heard");
            self.stats.stops_acknowledged += 1;
            self.referee.acknowledged(proc, inc, cand);
            self.give(proc, None, Input::Acknowledged { candidate });
        }
    }

    fn poll_user(&mut self, proc: usize, cand: usize) {
        let (now, inc) = (self.local(proc), self.procs[proc].inc);
        if self.procs[proc].crew.is_none() {
            return;
        }
        let one = &mut self.procs[proc].cands[cand];
        if let Err(text) = one.user.poll(now) {
            self.referee.accuse(5, format!("p{proc}.{inc} candidate {cand}: {text}"));
        }
        if one.stopped {
            return;
        }
        let lazy = if self.mood == Mood::Storm && self.rng.permille(50) { self.ttl() } else { 40 * MS };
        let wait = self.rng.range(MS, lazy * 2);
        self.after(wait, Ev::Chore { proc, inc, chore: Chore::Poll { cand } });
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

    fn give(&mut self, proc: usize, link: Option<LinkId>, input: Input) {
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
    fn drain(&mut self, proc: usize, cause: &Input) {
        loop {
            let Some(crew) = &mut self.procs[proc].crew else { return };
            let Some(request) = crew.poll_request() else { break };
            self.requested(proc, &request);
            self.send(proc, request);
        }
        loop {
            let Some(crew) = &mut self.procs[proc].crew else { return };
            let Some((id, report)) = crew.poll_report() else { break };
            self.reported(proc, id, report, cause);
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

    /// The process runs again: all that waited arrives in order, its timers last.
    fn thaw(&mut self, proc: usize) {
        if !self.procs[proc].frozen {
            return;
        }
        note!(self, "p{proc} thaws");
        self.last_trouble = self.now;
        self.procs[proc].frozen = false;
        self.procs[proc].hindered_at = self.now;
        for (link, input) in std::mem::take(&mut self.procs[proc].backlog) {
            self.give(proc, link, input);
        }
        self.procs[proc].wake_due = Ns::MAX;
        self.give(proc, None, Input::Tick);
    }
}

fn input_words(input: &Input) -> String {
    match input {
        Input::Reply { id, result: Ok(reply) } => {
            let stamp = reply.stamp;
            let words = crate::net::answer_words(&reply.answer);
            format!("{}: rev {} term {} {words}", id.0, stamp.revision, stamp.term)
        }
        Input::Reply { id, result: Err(failure) } => format!("{}: {:?} {}", id.0, failure.kind, failure.detail),
        Input::Watch { watch, news: etcd_leader::machine::WatchNews::Changes { changes }, .. } => {
            let words: Vec<String> = changes
                .iter()
                .map(|c| {
                    format!(
                        "{}@{} {:?}",
                        crate::trace::text(&c.key),
                        c.at,
                        c.now.as_ref().map(|m| (m.revision, m.lease))
                    )
                })
                .collect();
            format!("watch {}: {}", watch.0, words.join(", "))
        }
        Input::Watch { watch, news, .. } => format!("watch {}: {news:?}", watch.0),
        other => format!("{other:?}"),
    }
}
