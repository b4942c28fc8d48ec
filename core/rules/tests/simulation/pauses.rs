//! A machine that is paused: the process stands still, and so do its own clocks. Only the wall clock shows it afterwards, which
//! the driver may see after it has read some answers. Until then, and until a renewal is confirmed, nobody says that it leads.

use etcd_leader_rules::machine::{Input, LinkId, Report};
use etcd_leader_rules::member::Standing;
use etcd_leader_rules::time::Time;

use crate::chores::Chore;
use crate::rng::Ns;
use crate::trace::note;
use crate::world::{Ev, World};

/// The knowledge of a process of how long it was paused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pause {
    /// It was not, or has confirmed a renewal since.
    #[default]
    Over,
    /// It is paused, since then.
    Since(Ns),
    /// It goes on, and has not seen the wall clock.
    Unseen,
    /// It has seen it, and has confirmed no renewal since.
    Seen,
}

impl World {
    /// Some process is paused, for longer than the margin makes up for.
    pub(crate) fn pause(&mut self) -> bool {
        let leads = self.rng.permille(600);
        let Some(proc) = self.victim(leads).filter(|proc| self.procs[*proc].pause == Pause::Over) else { return false };
        let wait = self.timings.margin.as_nanos() as Ns / 2 + self.ttl() * self.rng.range(10, 2500) / 1000;
        note!(self, "p{proc} is paused, and its clocks stand still");
        self.procs[proc].frozen = true;
        self.procs[proc].pause = Pause::Since(self.now);
        self.referee.paused(proc);
        let inc = self.procs[proc].inc;
        self.after(wait, Ev::Chore { proc, inc, chore: Chore::Thaw });
        true
    }

    /// It goes on: nobody of it claims anything. What waits for it is taken in, the jump of the wall clock at some time.
    pub(crate) fn resume(
        &mut self,
        proc: usize,
        mut waiting: Vec<(Option<LinkId>, Input)>,
    ) -> Vec<(Option<LinkId>, Input)> {
        let this = &mut self.procs[proc];
        let Pause::Since(since) = this.pause else { return waiting };
        let pause = self.now - since;
        this.clock.stood += pause;
        this.paused = (self.now, pause);
        this.books.stood_still(std::time::Duration::from_nanos(pause));
        this.pause = Pause::Unseen;
        self.stats.pauses += 1;
        let first = if self.rng.permille(600) { 0 } else { self.rng.below(waiting.len() as u64 + 1) as usize };
        waiting.insert(first, (None, Input::Jumped));
        waiting
    }

    /// A process is about to hear that the wall clock has jumped.
    pub(crate) fn sees_jump(&mut self, proc: usize) {
        let pause = &mut self.procs[proc].pause;
        if *pause == Pause::Unseen {
            *pause = Pause::Seen;
        }
    }

    /// As the driver does: whether a process that was paused may say again that it leads, from now on.
    pub(crate) fn trusts_its_clock(&mut self, proc: usize) -> bool {
        let this = &mut self.procs[proc];
        let is_suspect = this.crew.as_ref().is_some_and(|crew| crew.is_suspect());
        let is_sure_again = this.pause == Pause::Seen && !is_suspect;
        if is_sure_again {
            this.pause = Pause::Over;
        }
        let is_unsure = this.pause != Pause::Over;
        this.cands.iter_mut().for_each(|cand| cand.user.suspect(is_unsure));
        if is_sure_again {
            (0..self.procs[proc].cands.len()).for_each(|cand| self.expect_user(proc, cand));
        }
        is_sure_again
    }

    /// What its candidates have reported holds from now on.
    pub(crate) fn claims_again(&mut self, proc: usize) {
        for cand in 0..self.procs[proc].cands.len() {
            let one = &self.procs[proc].cands[cand];
            let Standing::Leading { token, .. } = one.report.standing else { continue };
            let begins = one.last_token != Some(token);
            let standing = if begins { Standing::Out } else { Standing::Leading { token, until: Time::ZERO } };
            let old = Report { standing, ..one.report.clone() };
            self.judge_claim(proc, cand, &old, &Input::Tick);
        }
    }
}
