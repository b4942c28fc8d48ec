//! The end of a world: once all is well somebody must lead, and all must know; then all stop, and nothing may be left.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::Trouble;
use etcd_leader_rules::member::Standing;

use crate::chores::Chore;
use crate::links::Route;
use crate::process::Cand;
use crate::referee::at_rest;
use crate::rng::{MS, Ns, SECOND};
use crate::trace::{note, text};
use crate::world::{ELECTIONS, Ev, World};

impl World {
    /// All that peace needs: leases of the dead run out, a store that went back is sat out (ttl + margin), waits
    /// between retries are over (a quarter of the ttl), deadlines of lost requests pass, a lost delete is made up for
    /// by the look after a ttl; each a ttl or less, some of them one after the other.
    pub(crate) fn bound(&self) -> Ns {
        4 * self.lease_time() + 2 * self.ttl() + 3 * SECOND + 2 * self.plan.v2.spread
    }

    pub(crate) fn settled(&mut self) {
        if self.is_v2() {
            self.tidy_v2();
        }
        let quiet_for = self.now - self.last_trouble;
        if quiet_for < self.bound() {
            self.after(self.bound() - quiet_for, Ev::Settled);
            return;
        }
        note!(self, "it has been quiet for {} ms: somebody must lead", quiet_for / MS);
        self.judge_rest();
        self.after(3 * self.ttl(), Ev::Finale);
    }

    fn judge_rest(&mut self) {
        for election in 0..self.elections {
            self.must_be_led(election);
        }
        if let Err(what) = at_rest::entries_have_owners(&self.clusters[0].store, &self.procs) {
            self.referee.accuse(8, what);
        }
    }

    fn must_be_led(&mut self, election: usize) {
        let candidates: Vec<(usize, usize)> = self.campaigners(election);
        if candidates.is_empty() {
            return;
        }
        let now = self.now;
        let leaders = self.referee.leaders(election, now);
        if leaders.is_empty() {
            let who: Vec<String> =
                candidates.iter().map(|(p, c)| format!("p{p}: {:?}", self.procs[*p].cands[*c].report)).collect();
            self.referee
                .accuse(7, format!("nobody leads {} though all is well: {}", ELECTIONS[election], who.join("; ")));
            return;
        }
        if leaders.len() > 1 {
            self.referee.accuse(2, format!("{leaders:?} lead {} though all is well", ELECTIONS[election]));
        }
        let token = leaders[0].1;
        // v2: one that learns how far clocks differ steps down even now, and others may hear of that by their next look.
        let has_lost =
            |cand: &Cand| cand.election == election && cand.lost_at > 0 && now < cand.lost_at + 2 * self.ttl();
        let is_new = self.is_v2() && self.procs.iter().flat_map(|proc| &proc.cands).any(has_lost);
        for (p, c) in candidates {
            let report = &self.procs[p].cands[c].report;
            let knows = match &report.standing {
                Standing::Leading { token: ours, .. } => *ours == token,
                Standing::Following(Some(leader)) => leader.token == token,
                _ => false,
            };
            // v2: one that has just found its server's clock behind is on its way to another server.
            let skewed_at = Some(self.procs[p].skewed_at).filter(|at| self.is_v2() && *at > 0);
            let is_moving = report.standing == Standing::Out && skewed_at.is_some_and(|at| now < at + self.ttl());
            if !knows && !is_new && !is_moving {
                let text = format!("p{p} does not know that {token} leads {}: {report:?}", ELECTIONS[election]);
                self.referee.accuse(7, text);
            } else if report.trouble.as_ref().is_some_and(|trouble| !self.may_trouble(p, trouble)) {
                self.referee.accuse(7, format!("p{p} is still troubled though all is well: {report:?}"));
            }
        }
    }

    /// The troubles that a process may still have though all is well: a stranger among its endpoints; or that it saw the clock of
    /// a member, which it had no need to ask since, far ahead.
    fn may_trouble(&self, proc: usize, trouble: &Trouble) -> bool {
        let clocks_differed = self.plan.v2.spread > self.ttl() / 5;
        // etcd grants more than was asked for: that is told for as long as it is so.
        let is_long = trouble.error.kind() == ErrorKind::Server && self.lease_time() > self.ttl() + SECOND;
        self.routes[proc].contains(&Route::Foreign)
            || is_long
            || (trouble.error.kind() == ErrorKind::ClockSkew && clocks_differed)
    }

    /// Still led by the same; then all stop.
    pub(crate) fn finale(&mut self) {
        self.judge_rest();
        self.ending = true;
        self.referee.frugal.rest();
        note!(self, "finale: all stop");
        for proc in 0..self.procs.len() {
            let inc = self.procs[proc].inc;
            for cand in 0..self.procs[proc].cands.len() {
                let wait = self.rng.below(20 * MS);
                self.after(wait, Ev::Chore { proc, inc, chore: Chore::Stop { cand } });
            }
        }
        let stop_timeout = self.ttl();
        self.after(stop_timeout + self.ttl() + 2 * SECOND, Ev::End);
    }

    pub(crate) fn end(&mut self) {
        for (at, proc) in self.procs.iter().enumerate() {
            if proc.crew.is_some() {
                let text = format!(
                    "p{at} has stopped but is not over: {:?}",
                    proc.cands.iter().map(|c| &c.report).collect::<Vec<_>>()
                );
                self.referee.accuse(8, text);
            }
        }
        let left: Vec<String> = self.clusters[0]
            .store
            .entries
            .values()
            .map(|m| format!("{}@{} lease {:x}", text(&m.key), m.revision, m.lease))
            .collect();
        if !left.is_empty() {
            self.referee.accuse(8, format!("all have stopped, but there remain {left:?}"));
        }
        (0..self.procs.len()).for_each(|proc| self.drop_crew(proc));
        if let Err(what) = self.referee.frugal.total() {
            self.referee.accuse(11, what);
        }
        self.over = true;
    }
}
