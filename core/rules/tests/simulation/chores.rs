//! What a process and its users do: start, ask for events, stop, hear of it, start again.

use etcd_leader_rules::machine::{Input, Report};
use etcd_leader_rules::member::Standing;
use etcd_leader_rules::time::Time;

use crate::books::Books;
use crate::links::Route;
use crate::process::{Cand, Proc};
use crate::rng::{MS, Ns};
use crate::trace::note;
use crate::user::User;
use crate::world::{ELECTIONS, Ev, Mood, World};

/// Something a process or its user does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chore {
    Start,
    /// The user asks for events, unless it has found another moment meanwhile.
    Poll {
        cand: usize,
        due: Ns,
    },
    Stop {
        cand: usize,
    },
    /// After a stop the user takes Unelected, and its work ends after a while.
    Take {
        cand: usize,
        works: Ns,
    },
    Release {
        cand: usize,
    },
    /// A timeout of the hand-over may be over.
    HandOver {
        cand: usize,
    },
    /// An ended election is started again.
    Again {
        election: usize,
    },
    Thaw,
}

impl World {
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
            Chore::Poll { cand, due } => self.poll_user(proc, cand, due),
            Chore::Stop { cand } => self.stop(proc, cand),
            Chore::Take { cand, works } => self.take(proc, cand, works),
            Chore::Release { cand } => self.release(proc, cand),
            Chore::HandOver { cand } => self.hand_over(proc, cand),
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
        let crew = (self.make)(self.timings, seed, epoch_ms, now);
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
        if self.is_v2() {
            return self.add(proc, proc % self.elections);
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
        let inc = self.procs[proc].inc;
        let cand = self.procs[proc].cands.len();
        let name = if self.plan.v2.one_name { "one".into() } else { format!("p{proc}.{inc}.{cand}") };
        let Some(crew) = &mut self.procs[proc].crew else { return };
        let id = crew.add(ELECTIONS[election], &name, now);
        let user = User::new(&name, self.timings.ttl(), self.rng.permille(500));
        let (report, stopped, has_joined, last_token) = (Report::default(), false, false, None);
        let (looked_at, lost_at, asks_at) = (0, 0, Ns::MAX);
        let one =
            Cand { id, election, name, report, user, asks_at, stopped, has_joined, last_token, looked_at, lost_at };
        self.procs[proc].cands.push(one);
        self.expect_user(proc, cand);
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
        let (now, local) = (self.now, self.local(proc));
        let inc = self.procs[proc].inc;
        let is_over = self.procs[proc].crew.is_none();
        let Some(one) = self.procs[proc].cands.get_mut(cand) else { return };
        if one.stopped || is_over {
            return;
        }
        one.stopped = true;
        let led = one.user.stop(local);
        let leads = matches!(one.report.standing, Standing::Leading { .. });
        note!(self, "p{proc} user stops {cand}, led={led}");
        self.referee.stopping(proc, inc, cand, led && leads, now, self.ttl());
        if led {
            self.stats.stops_held += 1;
            // The user takes Unelected at once or late, or never; its work ends soon or late.
            let taken = if self.rng.permille(800) { self.rng.below(5 * MS) } else { self.rng.below(2 * self.ttl()) };
            let works = if self.rng.permille(700) { self.rng.below(20 * MS) } else { self.rng.below(2 * self.ttl()) };
            if self.rng.permille(100) {
                // The work ends elsewhere, perhaps before Unelected is taken.
                let ends = self.rng.below(20 * MS);
                self.after(ends, Ev::Chore { proc, inc, chore: Chore::Release { cand } });
            }
            if self.ending || self.rng.permille(900) {
                let taken = if self.ending { taken.min(20 * MS) } else { taken };
                let works = if self.ending { works.min(50 * MS) } else { works };
                self.after(taken, Ev::Chore { proc, inc, chore: Chore::Take { cand, works } });
            } else {
                self.stats.stops_timed_out += 1;
            }
        }
        self.hand_over(proc, cand);
        if !self.ending && self.rng.permille(700) {
            let wait = self.rng.below(2 * self.ttl());
            let election = self.procs[proc].cands[cand].election;
            self.after(wait, Ev::Chore { proc, inc, chore: Chore::Again { election } });
        }
    }

    /// After a stop: the user takes Unelected.
    fn take(&mut self, proc: usize, cand: usize, works: Ns) {
        let inc = self.procs[proc].inc;
        if self.procs[proc].crew.is_none() {
            return;
        }
        self.ask(proc, cand);
        if self.procs[proc].cands[cand].user.is_working() {
            note!(self, "p{proc} user of {cand} ends its work");
            if self.procs[proc].cands[cand].user.is_in_turn() {
                self.referee.taken(proc, inc, cand, self.now);
            }
            self.after(works, Ev::Chore { proc, inc, chore: Chore::Release { cand } });
        }
    }

    fn release(&mut self, proc: usize, cand: usize) {
        let (inc, now) = (self.procs[proc].inc, self.local(proc));
        if !self.procs[proc].cands[cand].user.may_release() || self.procs[proc].crew.is_none() {
            return;
        }
        note!(self, "p{proc} work of {cand} has ended");
        self.stats.stops_released += 1;
        let term = self.procs[proc].cands[cand].user.term();
        let held = self.referee.released(proc, inc, cand, term, self.now);
        self.procs[proc].cands[cand].user.release(held, now);
        self.hand_over(proc, cand);
    }

    /// As the driver does after a stop.
    fn hand_over(&mut self, proc: usize, cand: usize) {
        let (inc, now) = (self.procs[proc].inc, self.local(proc));
        if self.procs[proc].crew.is_none() {
            return;
        }
        let one = &mut self.procs[proc].cands[cand];
        let (candidate, commands) = (one.id, one.user.commands(now));
        let timeout = one.user.timeout();
        for command in commands {
            self.give(proc, None, command.input(candidate));
        }
        if timeout < Time::NEVER {
            let wait = (timeout.since(now).as_nanos() as Ns).max(MS);
            self.after(wait, Ev::Chore { proc, inc, chore: Chore::HandOver { cand } });
        } else if self.procs[proc].cands.get(cand).is_some_and(|one| !one.user.is_working()) {
            self.ask(proc, cand);
        }
    }

    /// The user asks for events.
    pub(crate) fn ask(&mut self, proc: usize, cand: usize) {
        let (now, inc) = (self.local(proc), self.procs[proc].inc);
        let one = &mut self.procs[proc].cands[cand];
        one.user.undone(one.user.term().is_some_and(|token| self.referee.is_undone(one.election, token)));
        if let Err(text) = one.user.poll(now) {
            self.referee.accuse(5, format!("p{proc}.{inc} candidate {cand}: {text}"));
        }
    }

    fn poll_user(&mut self, proc: usize, cand: usize, due: Ns) {
        let one = &mut self.procs[proc].cands[cand];
        if one.asks_at != due {
            return;
        }
        one.asks_at = Ns::MAX;
        if self.procs[proc].crew.is_some() && !self.procs[proc].cands[cand].stopped {
            self.ask(proc, cand);
            self.expect_user(proc, cand);
        }
    }

    /// The user comes soon after there is something to tell, or late; and once in a ttl in any case.
    pub(crate) fn expect_user(&mut self, proc: usize, cand: usize) {
        let (now, inc) = (self.local(proc), self.procs[proc].inc);
        let Proc { clock, cands, .. } = &self.procs[proc];
        let one = &cands[cand];
        let idle = self.now + self.ttl();
        let due = one.user.due_at(now);
        let due = if due == Time::NEVER { idle } else { clock.truly(due).clamp(self.now, idle) };
        if one.stopped || one.asks_at <= due {
            return;
        }
        let lazy = if self.mood == Mood::Storm && self.rng.permille(50) { self.ttl() } else { 40 * MS };
        let due = due + self.rng.range(MS, lazy * 2);
        let one = &mut self.procs[proc].cands[cand];
        if due < one.asks_at {
            one.asks_at = due;
            self.at(due, Ev::Chore { proc, inc, chore: Chore::Poll { cand, due } });
        }
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
        let waiting = std::mem::take(&mut self.procs[proc].backlog);
        for (link, input) in self.resume(proc, waiting) {
            self.give(proc, link, input);
        }
        self.procs[proc].wake_due = Ns::MAX;
        self.give(proc, None, Input::Tick);
    }
}
