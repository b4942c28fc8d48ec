//! What an election may cost at most, checked where nothing fails (the quiet mood).

use etcd_leader_rules::config::{Api, Timings};
use etcd_leader_rules::machine::members_of;

use crate::referee::Cause;
use crate::rng::{MS, Ns};
use crate::store::Store;
use crate::world::{ELECTIONS, Mood};

/// How long after a change its costs are counted: several round trips, and far less than a ttl.
const WINDOW: Ns = 40 * MS;

/// What one process did in one election since it heard that its leader left.
#[derive(Clone, Copy)]
struct Costs {
    proc: usize,
    election: usize,
    looks: u32,
}

pub(crate) struct Frugal {
    active: bool,
    was_active: bool,
    /// Who has heard of something since the last change.
    heard: Vec<usize>,
    renew_every: Ns,
    is_v2: bool,
    pub(crate) renewals: u64,
    pub(crate) confirms: u64,
    /// v2: renewals that show who leads: a change may bring one forward.
    pub(crate) shows: u64,
    /// v2: all looks, and what called for one: an entry made, one that went, a watch that ended.
    pub(crate) looks: u64,
    pub(crate) calls: u64,
    look_every: Ns,
    /// Sessions begun, and how long they lived together.
    pub(crate) sessions: u64,
    pub(crate) session_ns: Ns,
    prefixes: Vec<Vec<u8>>,
    /// When a leader left, in each election.
    left: Vec<Option<Ns>>,
    /// When a member last went without having left.
    died: Vec<Option<Ns>>,
    costs: Vec<Costs>,
    /// The last look of each process in each election, unless something was heard since.
    last_looks: Vec<(usize, usize, Ns)>,
    /// When each process last checked what it knows: what that shows calls for a look.
    checks: Vec<(usize, Ns)>,
    /// Processes that look since a watch of theirs was ended.
    owed: Vec<usize>,
}

impl Frugal {
    pub(crate) fn new(timings: &Timings, mood: Mood) -> Frugal {
        Frugal {
            active: mood == Mood::Quiet,
            was_active: false,
            heard: Vec::new(),
            // Whoever leads or is next in line renews twice as often.
            renew_every: timings.renew_every.as_nanos() as Ns / if timings.api == Api::V2 { 1 } else { 2 },
            is_v2: timings.api == Api::V2,
            renewals: 0,
            confirms: 0,
            shows: 0,
            looks: 0,
            calls: 0,
            look_every: timings.ttl().as_nanos() as Ns,
            sessions: 0,
            session_ns: 0,
            prefixes: ELECTIONS.iter().map(|key| members_of(key)).collect(),
            left: vec![None; ELECTIONS.len()],
            died: vec![None; ELECTIONS.len()],
            costs: Vec::new(),
            last_looks: Vec::new(),
            checks: Vec::new(),
            owed: Vec::new(),
        }
    }

    fn election(&self, key: &[u8]) -> Option<usize> {
        self.prefixes.iter().position(|prefix| key.starts_with(prefix))
    }

    /// A leader's key goes while others wait: the change whose costs are counted.
    pub(crate) fn committed(&mut self, store: &Store, from: usize, cause: Cause, now: Ns) {
        if !self.active {
            return;
        }
        for change in store.log.get(from..).unwrap_or(&[]).iter().filter(|change| change.now.is_none()) {
            let Some(election) = self.election(&change.key) else { continue };
            // Those who look because somebody died are not to blame if the next one leaves meanwhile.
            if !matches!(cause, Cause::Client(_)) {
                self.died[election] = Some(now);
                self.left[election] = None;
                continue;
            }
            if self.died[election].is_some_and(|at| now < at + WINDOW) {
                continue;
            }
            let created = store.log[..from].iter().rev().find(|old| old.key == change.key);
            let rank = created.and_then(|old| old.now.as_ref()).map_or(0, |member| member.revision);
            if store.first(&self.prefixes[election]).is_some_and(|first| first.revision > rank) {
                self.left[election] = Some(now);
                self.heard.clear();
                self.costs.retain(|costs| costs.election != election);
            }
        }
    }

    fn cost(&mut self, proc: usize, election: usize) -> &mut Costs {
        let at = self.costs.iter().position(|costs| costs.proc == proc && costs.election == election);
        let at = at.unwrap_or_else(|| {
            self.costs.push(Costs { proc, election, looks: 0 });
            self.costs.len() - 1
        });
        &mut self.costs[at]
    }

    fn is_recent(&self, election: usize, now: Ns) -> bool {
        self.left[election].is_some_and(|at| now < at + WINDOW)
    }

    /// A process looks. A second look so soon after the first, with no news between them, is wasted.
    pub(crate) fn looked(&mut self, proc: usize, prefix: &[u8], now: Ns) -> Result<(), String> {
        let Some(election) = self.election(prefix).filter(|_| self.active) else { return Ok(()) };
        let is_owed = self.owed.iter().position(|other| *other == proc).map(|at| self.owed.swap_remove(at)).is_some();
        if self.is_recent(election, now) && self.heard.contains(&proc) && !is_owed {
            let cost = self.cost(proc, election);
            cost.looks += 1;
            if cost.looks > 2 {
                return Err(format!("p{proc} looks {} times after one change of the leader", cost.looks));
            }
        }
        let wasted = self.last_looks.iter().any(|(p, e, at)| (*p, *e) == (proc, election) && now < at + WINDOW);
        self.last_looks.retain(|(p, e, at)| (*p, *e) != (proc, election) && now < at + WINDOW);
        self.last_looks.push((proc, election, now));
        if wasted { Err(format!("p{proc} looks twice with no news between the looks")) } else { Ok(()) }
    }

    /// A watch of a process was ended: it looks, whatever else happens.
    pub(crate) fn canceled(&mut self, proc: usize) {
        self.calls += 1;
        self.heard(proc);
        self.owed.push(proc);
    }

    /// A check of a process was answered.
    pub(crate) fn checked(&mut self, proc: usize, now: Ns) {
        self.heard(proc);
        self.checks.retain(|(_, at)| now < at + WINDOW);
        self.checks.push((proc, now));
    }

    /// All stop: who succeeds whom is by chance.
    pub(crate) fn rest(&mut self) {
        (self.active, self.was_active) = (false, self.active);
    }

    /// A process asks for another entry, whatever it has seen from the one before.
    pub(crate) fn joins(&mut self, proc: usize) {
        self.last_looks.retain(|(p, ..)| *p != proc);
    }

    pub(crate) fn heard(&mut self, proc: usize) {
        if !self.heard.contains(&proc) {
            self.heard.push(proc);
        }
        self.last_looks.retain(|(p, ..)| *p != proc);
    }

    /// The direct successor leads by its watch alone (law 2b).
    pub(crate) fn elected(&mut self, proc: usize, election: usize, by_watch: bool, now: Ns) -> Result<(), String> {
        if !self.active || !self.is_recent(election, now) {
            return Ok(());
        }
        // In v2 only a look makes a leader; in v3 a check may come before the watch.
        let may_look = self.is_v2 || self.checks.iter().any(|(of, at)| *of == proc && now < at + WINDOW);
        let cost = self.cost(proc, election);
        if cost.looks > u32::from(may_look) && !by_watch {
            return Err(format!("p{proc} needed {} looks to succeed a leader that left", cost.looks));
        }
        Ok(())
    }

    /// At the end: a renewal has one confirming read at most, and there are no more than the period asks for.
    pub(crate) fn total(&self) -> Result<(), String> {
        if !self.was_active {
            return Ok(());
        }
        let (renewals, confirms) = (self.renewals, self.confirms);
        let most = self.session_ns / self.renew_every + 2 * self.sessions + self.shows;
        if renewals > most {
            Err(format!("{renewals} renewals where {most} would do"))
        } else if !self.is_v2 && confirms > renewals {
            Err(format!("{renewals} renewals, but {confirms} confirming reads"))
        } else if self.is_v2 && self.looks > self.calls + self.session_ns / self.look_every {
            let (looks, calls, waits) = (self.looks, self.calls, self.session_ns / self.look_every);
            Err(format!("{looks} looks, where {calls} were called for and {waits} may come from waiting"))
        } else {
            Ok(())
        }
    }
}
