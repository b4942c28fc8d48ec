//! All that may happen next.

use etcd_leader_rules::machine::{LinkId, RequestId, WatchId};
use etcd_leader_rules::member::LeaseId;

use crate::state::{Ns, State};
use crate::wires::{Call, Conn, Watch};

/// Something that happens. `at` is the process that it happens to.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    /// The store carries a request out.
    Perform { at: usize, id: RequestId },
    /// It carries a write out that was sent on a connection that is gone.
    Arrive { at: usize, ghost: usize },
    /// It makes a watch.
    Begin { at: usize, watch: WatchId },
    /// An answer reaches the process.
    Answer { at: usize, id: RequestId },
    /// A watch tells it something: all that it has, or the first revision.
    Tell { at: usize, watch: WatchId, is_all: bool },
    /// The end of a lease that has run out is committed.
    End { lease: LeaseId },
    /// Time passes.
    Pass { to: Ns },
    /// Nothing goes wrong until a lease has run out, or a term: all is carried out and answered in turn, but what is late.
    Rest,
    /// A timer of the process goes off.
    Wake { at: usize },
    /// It notices that the wall clock has jumped.
    Notice { at: usize },
    /// After a stop, the work of its user ends.
    Release { at: usize },
    /// It runs on after a pause that has outlived its lease. Its clock has counted that time, or stood still.
    GoOn { at: usize, is_counted: bool },

    /// Faults, one for each: time passes although so many things are under way. These are late from now on.
    PassLate { to: Ns, late: u8 },
    /// Fault: from now on, all that is under way between it and etcd may be late.
    Slow { at: usize },
    /// Fault: a connection breaks.
    Lose { at: usize, link: LinkId },
    /// Fault: the process is killed, and started anew.
    Crash { at: usize },
    /// Fault: it does not run for a while.
    Pause { at: usize },
    /// Fault: somebody else deletes an entry.
    Delete { key: Vec<u8> },
    /// Counted as a fault: its user asks to stop.
    Stop { at: usize },
}

impl Action {
    /// The number of faults of a path that it is.
    pub(crate) fn faults(&self) -> u8 {
        match self {
            Action::PassLate { late, .. } => *late,
            Action::Slow { .. }
            | Action::Lose { .. }
            | Action::Crash { .. }
            | Action::Pause { .. }
            | Action::Delete { .. }
            | Action::Stop { .. } => 1,
            _ => 0,
        }
    }
}

impl State {
    /// All that may happen now, faults last.
    ///
    /// Of steps that are as good in another order, one order is enough. Whether a message is late matters when time passes, and
    /// so does whether a process is paused. A request that is carried out, and whose answer is lost with the connection, is as
    /// good as one that arrives after the connection is lost.
    pub(crate) fn actions(&self) -> Vec<Action> {
        let mut all = self.events();
        if self.may_rest(&all) {
            all.push(Action::Rest);
        }
        if self.faults > 0 {
            self.faults_now(&mut all);
        }
        all
    }

    /// All that happens by itself.
    fn events(&self) -> Vec<Action> {
        let mut all = Vec::new();
        [0, 1].into_iter().for_each(|at| self.deliveries(at, &mut all));
        let due = self.store.leases.keys().filter(|lease| self.store.is_due(**lease, self.now));
        all.extend(due.map(|lease| Action::End { lease: *lease }));
        if let (true, 0, Some(to)) = (self.may_pass(), self.under_way(0) + self.under_way(1), self.next_time()) {
            all.push(Action::Pass { to });
        }
        all
    }

    fn faults_now(&self, all: &mut Vec<Action>) {
        let late = self.under_way(0) + self.under_way(1);
        if let (true, Some(to)) = (self.may_pass() && late > 0 && late <= self.faults, self.next_time()) {
            all.push(Action::PassLate { to, late });
        }
        for at in [0, 1].into_iter().filter(|at| self.under_way(*at) > 0 && !self.wires[*at].is_slow) {
            if self.may_pass() && late - self.under_way(at) < self.faults {
                all.push(Action::Slow { at });
            }
        }
        [0, 1].into_iter().for_each(|at| self.faults_of(at, all));
        for (at, other) in [(0, 1), (1, 0)] {
            let may_pause = self.pauses[at].is_none() && !self.processes[at].is_over() && self.has_ended_leases();
            if may_pause && !self.is_busy(other) && self.under_way(other) < self.faults {
                all.push(Action::Pause { at });
            }
        }
        all.extend(self.store.ranked().into_iter().map(|member| Action::Delete { key: member.key.clone() }));
    }

    /// Whether time may pass, but for what is under way.
    fn may_pass(&self) -> bool {
        self.has_ended_leases() && !self.is_busy(0) && !self.is_busy(1)
    }

    fn has_ended_leases(&self) -> bool {
        !self.store.leases.keys().any(|lease| self.store.is_due(*lease, self.now))
    }

    /// Whether all is quiet, and a lease is to run out that nobody renews, or may, since something is late.
    fn may_rest(&self, events: &[Action]) -> bool {
        let renews = |at: usize, lease| self.pauses[at].is_none() && self.wires[at].leases.contains(lease);
        let mut doomed = self.store.leases.keys().filter(|lease| !renews(0, lease) && !renews(1, lease));
        let has_late = |at: usize| self.wires[at].calls().any(|call| call.is_late);
        let is_quiet = events.iter().any(|event| matches!(event, Action::Pass { .. }));
        is_quiet && (has_late(0) || has_late(1) || doomed.next().is_some())
    }

    /// The next step if nothing goes wrong. Nothing, if a lease has run out, or a term whose leader has not noticed that.
    pub(crate) fn calm_action(&self) -> Option<Action> {
        let is_calm = |action: &Action| match *action {
            Action::Perform { at, id } | Action::Answer { at, id } => {
                self.wires[at].calls().any(|call| call.id == id && !call.is_late)
            }
            Action::Begin { at, watch } | Action::Tell { at, watch, .. } => {
                self.wires[at].watches().any(|one| one.id == watch && !one.is_late)
            }
            Action::Wake { .. } | Action::Notice { .. } | Action::End { .. } | Action::Pass { .. } => true,
            _ => false,
        };
        if [0, 1].into_iter().any(|at| self.pauses[at].is_none() && self.processes[at].is_late(self.local(at))) {
            return None;
        }
        let mut all = self.events();
        let first = all.iter().position(is_calm)?;
        Some(all.swap_remove(first)).filter(|action| !matches!(action, Action::End { .. }))
    }

    /// Whether a process has something to do before time passes.
    fn is_busy(&self, at: usize) -> bool {
        self.pauses[at].is_none() && (self.processes[at].has_jumped || self.alarm(at) <= self.now)
    }

    /// The number of things under way between it and the store for which time waits.
    fn under_way(&self, at: usize) -> u8 {
        if self.pauses[at].is_some() { 0 } else { self.wires[at].in_time(&self.store) }
    }

    fn deliveries(&self, at: usize, all: &mut Vec<Action>) {
        let (process, wires) = (&self.processes[at], &self.wires[at]);
        let runs = self.pauses[at].is_none();
        for Call { id, answer, .. } in wires.calls() {
            match answer {
                None => all.push(Action::Perform { at, id: *id }),
                Some(_) if runs => all.push(Action::Answer { at, id: *id }),
                Some(_) => {}
            }
        }
        for watch in wires.watches() {
            match watch.created {
                None => all.push(Action::Begin { at, watch: watch.id }),
                Some(_) if runs => self.news(at, watch, all),
                Some(_) => {}
            }
        }
        all.extend((0..wires.ghosts.len()).map(|ghost| Action::Arrive { at, ghost }));
        if self.alarm(at) <= self.now {
            all.push(Action::Wake { at });
        }
        if runs && process.has_jumped {
            all.push(Action::Notice { at });
        }
        if runs && process.may_release() {
            all.push(Action::Release { at });
        }
        let lives = |lease| self.store.leases.contains_key(lease) && !self.store.is_due(*lease, self.now);
        if self.pauses[at].is_some_and(|since| since < self.now) && !wires.leases.iter().any(lives) {
            all.extend([true, false].map(|is_counted| Action::GoOn { at, is_counted }));
        }
    }

    fn news(&self, at: usize, on: &Watch, all: &mut Vec<Action>) {
        if !on.is_under_way(&self.store) {
            return;
        }
        let watch = on.id;
        all.push(Action::Tell { at, watch, is_all: true });
        let first = on.news(&self.store, false).len();
        if on.is_told && first < on.news(&self.store, true).len() {
            all.push(Action::Tell { at, watch, is_all: false });
        }
    }

    fn faults_of(&self, at: usize, all: &mut Vec<Action>) {
        let (process, wires) = (&self.processes[at], &self.wires[at]);
        if self.pauses[at].is_some() {
            return;
        }
        let is_open = |conn: &&Conn| conn.calls.iter().all(|call| call.is_late || call.answer.is_none());
        all.extend(wires.conns.iter().filter(is_open).map(|conn| Action::Lose { at, link: conn.link }));
        if process.is_over() {
            return;
        }
        if wires.conns.iter().all(|conn| is_open(&conn)) {
            all.push(Action::Crash { at });
        }
        if !process.is_stopped {
            all.push(Action::Stop { at });
        }
    }
}
