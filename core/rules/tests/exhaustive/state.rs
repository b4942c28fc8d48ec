//! One state of the world, all that may happen in it, and what comes of each.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Answer, Failure, Input, Op, RequestId, WatchId};
use etcd_leader_rules::time::Time;

use crate::action::Action;
use crate::judge::{Broken, Judge};
use crate::part::{Part, digest};
use crate::process::{Process, Said};
use crate::store::Store;
use crate::wires::{Call, Wires};

/// Nanoseconds of true time.
pub(crate) type Ns = u64;
pub(crate) const SECOND: Ns = 1_000_000_000;
/// A late message comes after all else that happens at a moment.
const AFTER: Ns = 1;
/// Two ttls: by then a lease that is not renewed has run out.
pub(crate) const LONGEST_REST: Ns = 10 * SECOND;
/// The time that the clocks of the processes show at the beginning.
const ORIGIN: Ns = 1000 * SECOND;

/// A process that does not run, and since when.
pub(crate) type Pause = Option<Ns>;

#[derive(Clone)]
pub(crate) struct State {
    pub(crate) now: Ns,
    pub(crate) store: Part<Store>,
    pub(crate) processes: [Part<Process>; 2],
    pub(crate) wires: [Part<Wires>; 2],
    pub(crate) pauses: [Pause; 2],
    /// By how much the clock of each is behind, since it stood still.
    behind: [Ns; 2],
    starts: [u64; 2],
    pub(crate) judge: Judge,
    /// The number of faults that may still happen.
    pub(crate) faults: u8,
}

impl State {
    /// Two processes that have just started, and an empty store.
    pub(crate) fn new(faults: u8) -> State {
        let mut said = [Said::default(), Said::default()];
        let processes = [0, 1].map(|at| Part::new(Process::new(at, 0, Time::from_nanos(ORIGIN), &mut said[at])));
        let mut wires = [Wires::default(), Wires::default()];
        for (wires, said) in wires.iter_mut().zip(said) {
            said.requests.into_iter().for_each(|request| wires.send(request));
        }
        State {
            now: 0,
            store: Part::new(Store::empty()),
            processes,
            wires: wires.map(Part::new),
            pauses: [None, None],
            behind: [0, 0],
            starts: [0, 0],
            judge: Judge::default(),
            faults,
        }
    }

    /// A number for this state.
    pub(crate) fn digest(&self) -> u64 {
        let [one, other] = &self.processes;
        let [to_one, to_other] = &self.wires;
        let parts = [self.store.digest(), one.digest(), other.digest(), to_one.digest(), to_other.digest()];
        digest(&(self.now, parts, self.pauses, self.behind, &self.judge, self.faults))
    }

    /// The time on the clock of a process.
    pub(crate) fn local(&self, at: usize) -> Time {
        Time::from_nanos(ORIGIN + self.now - self.behind[at])
    }

    /// The time at which it will show that.
    pub(crate) fn truly(&self, at: usize, time: Time) -> Ns {
        time.as_nanos().saturating_sub(ORIGIN).saturating_add(self.behind[at])
    }

    /// The time at which a process wants to be called, unless it is paused.
    pub(crate) fn alarm(&self, at: usize) -> Ns {
        let timeout = self.processes[at].timeout();
        let is_set = self.pauses[at].is_none() && timeout < Time::NEVER;
        if is_set { self.truly(at, timeout) } else { Ns::MAX }
    }

    /// The next moment at which anything happens by itself.
    pub(crate) fn next_time(&self) -> Option<Ns> {
        let ends = self.store.leases.values().map(|lease| lease.expires);
        let next = ends.chain([0, 1].map(|at| self.alarm(at))).filter(|time| *time > self.now).min()?;
        (next < Ns::MAX).then_some(next)
    }

    /// The state after this, or the law that it breaks.
    pub(crate) fn step(&self, action: &Action) -> Result<State, Broken> {
        let mut next = self.clone();
        next.faults -= action.faults();
        next.apply(action)?;
        next.judge_claims()?;
        Ok(next)
    }

    fn apply(&mut self, action: &Action) -> Result<(), Broken> {
        match *action {
            Action::Perform { at, id } => self.perform(at, id),
            Action::Arrive { at, ghost } => {
                let op = self.wires[at].change().ghosts.remove(ghost);
                self.carry_out(at, &op).map(drop)
            }
            Action::Begin { at, watch } => {
                let store = &self.store;
                self.wires[at].change().watch(watch).1.begin(store);
                Ok(())
            }
            Action::Answer { at, id } => self.answer(at, id),
            Action::Tell { at, watch, is_all } => self.tell(at, watch, is_all),
            Action::End { lease } => {
                self.store.change().end(lease);
                Ok(())
            }
            Action::Pass { to } => {
                self.now = to;
                Ok(())
            }
            Action::PassLate { to, .. } => {
                self.now = to;
                for at in [0, 1] {
                    if self.pauses[at].is_none() {
                        self.wires[at].change().delay(&self.store);
                    }
                }
                Ok(())
            }
            Action::Rest => self.rest(),
            Action::Wake { at } => self.let_act(at, None, Process::wake),
            Action::Notice { at } => self.let_act(at, None, Process::notice),
            Action::Release { at } => self.let_act(at, None, Process::release),
            Action::Stop { at } => self.let_act(at, None, Process::stop),
            Action::Slow { at } => {
                self.wires[at].change().slow_down();
                Ok(())
            }
            Action::Lose { at, link } => {
                self.wires[at].change().lose(link);
                let failure = Failure::new(ErrorKind::Unreachable, "the connection is lost");
                self.give(at, Input::Broken { link, failure })
            }
            Action::Crash { at } => self.crash(at),
            Action::Pause { at } => {
                self.pauses[at] = Some(self.now);
                Ok(())
            }
            Action::GoOn { at, is_counted } => {
                let since = self.pauses[at].take().unwrap_or(self.now);
                if !is_counted {
                    self.behind[at] += self.now - since;
                    self.processes[at].change().has_jumped = true;
                }
                Ok(())
            }
            Action::Delete { ref key } => {
                let undone: Vec<_> = self.store.ranked().into_iter().filter(|member| member.key == *key).collect();
                undone.iter().for_each(|member| self.judge.undone.push((member.revision, self.now)));
                for process in &mut self.processes {
                    process.change().undone.extend(undone.iter().map(|member| member.revision));
                }
                self.store.change().delete(std::slice::from_ref(key));
                Ok(())
            }
        }
    }

    /// All goes well until a lease has run out, or a term, or for as long as a rest may last.
    fn rest(&mut self) -> Result<(), Broken> {
        let over = self.now + LONGEST_REST;
        while let Some(action) = self.calm_action().filter(|_| self.now < over) {
            self.apply(&action)?;
            self.judge_claims()?;
        }
        Ok(())
    }

    fn perform(&mut self, at: usize, id: RequestId) -> Result<(), Broken> {
        let op = self.wires[at].change().call(id).op.clone();
        let answer = self.carry_out(at, &op)?;
        self.wires[at].change().call(id).answer = Some(answer);
        Ok(())
    }

    fn carry_out(&mut self, at: usize, op: &Op) -> Result<Result<etcd_leader_rules::machine::Reply, Failure>, Broken> {
        let is_write = !matches!(
            op,
            Op::Open { .. } | Op::Look { .. } | Op::Confirm { .. } | Op::Check { .. } | Op::ListKeys { .. }
        );
        let now = self.now;
        let answer =
            if is_write { self.store.change().perform(op, now) } else { (*self.store).clone().perform(op, now) };
        if let (Op::Join { name, .. }, Ok(reply)) = (op, &answer)
            && matches!(reply.answer, Answer::Joined { created: true, .. })
            && self.processes[at].is_over()
            && self.processes[at].name.as_bytes() == name
        {
            return Err(Broken::new(8, format!("an entry of p{at} appears although p{at} is over")));
        }
        Ok(answer)
    }

    fn answer(&mut self, at: usize, id: RequestId) -> Result<(), Broken> {
        let wires = self.wires[at].change();
        let Call { op, is_late, .. } = wires.call(id).clone();
        self.now += AFTER * u64::from(is_late);
        let result = wires.take(id);
        if matches!(op, Op::Look { .. } | Op::Join { .. }) {
            self.judge.looked(at);
        }
        self.give(at, Input::Reply { id, result })
    }

    fn tell(&mut self, at: usize, watch: WatchId, is_all: bool) -> Result<(), Broken> {
        let store = &self.store;
        let (link, on) = self.wires[at].change().watch(watch);
        self.now += AFTER * u64::from(on.is_late);
        let news = on.take(store, is_all);
        self.give(at, Input::Watch { link, watch, news })
    }

    fn crash(&mut self, at: usize) -> Result<(), Broken> {
        self.wires[at].change().lose_all();
        self.starts[at] += 1;
        self.pauses[at] = None;
        self.judge.forget(at);
        let (start, now) = (self.starts[at], self.local(at));
        self.let_act(at, None, |process, _, said| *process = Process::new(at, start, now, said))
    }

    fn give(&mut self, at: usize, input: Input) -> Result<(), Broken> {
        let copy = input.clone();
        self.let_act(at, Some(copy), |process, now, said| process.hear(input, now, said))
    }

    /// Lets a process do something, for a cause that it hears of if there is one, and takes in what it says.
    fn let_act(
        &mut self,
        at: usize,
        cause: Option<Input>,
        act: impl FnOnce(&mut Process, Time, &mut Said),
    ) -> Result<(), Broken> {
        let (now, mut said) = (self.local(at), Said::default());
        act(self.processes[at].change(), now, &mut said);
        self.judge_said(at, cause.as_ref(), &said)?;
        let wires = self.wires[at].change();
        said.requests.into_iter().for_each(|request| wires.send(request));
        Ok(())
    }
}
