//! What goes wrong in v2 only: writes of other people, of members of 2015, and clocks.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Op, members_of};
use etcd_leader_rules::member::{Member, Revision};

use crate::chores::Chore;
use crate::cluster_v2::Stage;
use crate::links::Route;
use crate::plan::{Fault, Heal};
use crate::referee::Cause;
use crate::rng::{MS, SECOND};
use crate::store_v2::Term;
use crate::trace::{note, text};
use crate::world::{ELECTIONS, Ev, World};

/// The raft leader tells the time so often.
const SYNC: u64 = 500 * MS;

impl World {
    /// `None` if this is the same in both APIs.
    pub(crate) fn inflict_v2(&mut self, kind: Fault) -> Option<bool> {
        Some(match kind {
            Fault::AdminDelete | Fault::ForeignPut | Fault::ForeignUpdate | Fault::AdminRefresh | Fault::DeleteAll => {
                self.tamper_v2(kind)
            }
            Fault::ForeignJoin | Fault::ForeignPair => {
                self.original_joins();
                if kind == Fault::ForeignPair {
                    self.original_joins();
                }
                true
            }
            Fault::WriteFlood => {
                let kept = self.plan.v2.kept;
                self.clusters[0].store.revision += kept + self.rng.below(kept);
                self.clusters[0].mark(self.now);
                true
            }
            Fault::ClockStep => {
                let node = self.rng.below(self.clusters[0].nodes.len() as u64) as usize;
                self.set_clock(node);
                self.unwell_at = self.now;
                true
            }
            Fault::Estrange => self.estrange_v2(),
            _ => return None,
        })
    }

    /// Sets a member's clock to some time within the spread.
    pub(crate) fn set_clock(&mut self, node: usize) {
        let ahead = self.rng.below(self.plan.v2.spread.max(1));
        self.clusters[0].nodes[node].ahead = ahead.cast_signed();
        note!(self, "n{node}'s clock is set {} ms ahead", ahead / MS);
    }

    /// Somebody sees to the members' clocks.
    pub(crate) fn agree_on_the_time(&mut self) {
        for node in 0..self.clusters[0].nodes.len() {
            let ahead = self.rng.below(10 * MS);
            self.clusters[0].nodes[node].ahead = ahead.cast_signed();
        }
    }

    /// What a write by whatever member means for an entry's end.
    fn term(&mut self, ttl: u64) -> Term {
        let node = self.rng.below(self.clusters[0].nodes.len() as u64) as usize;
        let ends = self.clusters[0].wall(node, self.now) + ttl.cast_signed();
        Term { ends: Some(ends), ahead: self.clusters[0].nodes[node].ahead }
    }

    fn tamper_v2(&mut self, kind: Fault) -> bool {
        let election = self.rng.below(self.elections as u64) as usize;
        let prefix = members_of(ELECTIONS[election]);
        let members: Vec<Member> = self.clusters[0].store.under(&prefix).cloned().collect();
        let Some(first) = members.iter().min_by(|a, b| a.rank().cmp(&b.rank())) else { return false };
        let member = if self.rng.permille(500) { first.clone() } else { self.rng.pick(&members).clone() };
        let time = self.rng.range(1, 2 * self.ttl() / SECOND + 2) * SECOND;
        let term =
            if kind == Fault::AdminRefresh || self.rng.permille(300) { self.term(time) } else { Term::default() };
        // Whoever forgets the time to live may well write the value that was there.
        let name = if self.rng.permille(500) { member.name.as_slice() } else { b"somebody" };
        let store = &mut self.clusters[0].store;
        let before = store.log.len();
        match kind {
            Fault::AdminDelete => drop(store.remove(&member.key)),
            Fault::DeleteAll => store.remove_all(&prefix),
            Fault::ForeignPut => store.set(&member.key, b"somebody", term),
            Fault::AdminRefresh => store.update(&member.key, None, term),
            _ => store.update(&member.key, Some(name), Term::default()),
        }
        let revision = store.revision;
        note!(self, "{kind:?} of {}@{} at revision {revision}", text(&member.key), member.revision);
        self.committed(0, before, Cause::Tampering);
        true
    }

    /// A member of 2015: an entry in order, which it writes visibly every half of its time.
    fn original_joins(&mut self) {
        let election = self.rng.below(self.elections as u64) as usize;
        let ttl = self.ttl();
        let term = self.term(ttl);
        let store = &mut self.clusters[0].store;
        let before = store.log.len();
        let Member { key, revision: written, .. } = store.post(&members_of(ELECTIONS[election]), b"original", term);
        note!(self, "a member of 2015 joins with {}", text(&key));
        self.committed(0, before, Cause::Foreign);
        self.after(ttl / 2, Ev::Heal(Heal::Original { key, written }));
    }

    /// It goes on, leaves, or dies. In peace all of them are stopped one day.
    pub(crate) fn original_goes_on(&mut self, key: Vec<u8>, written: Revision) {
        // After a wipe the number may be another's.
        let is_its = |life: &crate::store_v2::Life| life.written == written && life.by.is_none();
        let lives = self.clusters[0].store.lives.get(&key).is_some_and(is_its);
        let fate = self.rng.below(100);
        if !lives || self.calm || fate < 8 {
            return;
        }
        if !self.clusters[0].serves() {
            return self.after(50 * MS, Ev::Heal(Heal::Original { key, written }));
        }
        let ttl = self.ttl();
        let term = self.term(ttl);
        let store = &mut self.clusters[0].store;
        let before = store.log.len();
        if fate < 25 {
            store.remove(&key);
        } else if store.compare_and_swap(&key, written, Some(b"original"), term).is_ok() {
            let written = store.revision;
            self.after(ttl / 2, Ev::Heal(Heal::Original { key, written }));
        }
        self.committed(0, before, Cause::Foreign);
    }

    /// A process is cut off, asked to stop, and meanwhile somebody puts over its entries, which so never end.
    fn estrange_v2(&mut self) -> bool {
        let Some(proc) = self.victim(false) else { return false };
        let wait = self.cut_off(proc);
        let inc = self.procs[proc].inc;
        for cand in 0..self.procs[proc].cands.len() {
            self.after(0, Ev::Chore { proc, inc, chore: Chore::Stop { cand } });
        }
        let store = &mut self.clusters[0].store;
        let before = store.log.len();
        let ours = |(_, life): &(&Vec<u8>, &crate::store_v2::Life)| life.by == Some((proc, inc));
        let keys: Vec<Vec<u8>> = store.lives.iter().filter(ours).map(|(key, _)| key.clone()).collect();
        for key in keys {
            note!(self, "p{proc} is cut off for {} ms, and somebody puts over {}", wait / MS, text(&key));
            self.clusters[0].store.update(&key, Some(b"somebody"), Term::default());
        }
        self.committed(0, before, Cause::Tampering);
        true
    }

    /// A refresh is in doubt, and what it might find is another's.
    pub(crate) fn put_over(&mut self, call: &crate::links::Call) {
        let Op::Refresh { key, name, .. } = &call.op else { return };
        if !self.chance(self.plan.odds.put_over) || !self.clusters[0].store.entries.contains_key(key) {
            return;
        }
        self.stats.put_over += 1;
        let name = if self.rng.permille(500) { name.as_slice() } else { b"somebody" };
        let ttl = 2 * self.ttl();
        let term = self.term(ttl);
        note!(self, "the connection breaks, and somebody puts over {}", text(key));
        let before = self.clusters[0].store.log.len();
        self.clusters[0].store.set(key, name, term);
        self.committed(0, before, Cause::Tampering);
        self.break_links(call.proc, |link| link.id == call.link, ErrorKind::Unreachable);
    }

    /// Ends what has run out by the raft leader's clock.
    pub(crate) fn sync(&mut self) {
        loop {
            let before = self.clusters[0].store.log.len();
            let Some((life, early)) = self.clusters[0].expire_next(self.now) else { break };
            note!(self, "   etcd: an entry written at {} has run out, {} ms early", life.written, early / 1_000_000);
            self.stats.early_ends += u64::from(early > self.timings.margin.as_nanos() as i64);
            let cause = if life.is_tampered { Cause::Tampering } else { Cause::Clocks(early) };
            self.committed(0, before, cause);
        }
        self.after(SYNC, Ev::Sync);
    }

    /// The next request of a verb that needs several.
    pub(crate) fn go_on(&mut self, mut call: Box<crate::links::Call>, stage: Stage) {
        let serves = self.procs[call.proc].inc == call.inc
            && self.procs[call.proc].link(call.link).is_some_and(|link| !link.broken);
        if !serves {
            return;
        }
        if matches!(self.routes[call.proc][call.endpoint], Route::Silent(_)) {
            return self.swallowed(&call);
        }
        (call.stage, call.ghost) = (stage, false);
        let wait = self.delay(call.proc) + self.delay(call.proc);
        self.after(wait, Ev::Exec(call));
    }

    /// Deletes what would stay for ever: an entry without an end that no living candidate knows of.
    pub(crate) fn tidy_v2(&mut self) {
        let store = &self.clusters[0].store;
        let is_known = |member: &Member| {
            let by = store.lives.get(&member.key).and_then(|life| life.by);
            self.procs.iter().enumerate().any(|(at, proc)| {
                by == Some((at, proc.inc))
                    && proc.crew.is_some()
                    && proc.cands.iter().any(|cand| !cand.report.ended)
                    && proc.books.ledger.holds(&member.key, member.revision)
            })
        };
        let strays = store.entries.values().filter(|member| member.lease == 0 && !is_known(member));
        let keys: Vec<Vec<u8>> = strays.map(|member| member.key.clone()).collect();
        let before = store.log.len();
        for key in keys {
            self.clusters[0].store.remove(&key);
            self.last_trouble = self.now;
        }
        self.committed(0, before, Cause::Tampering);
    }
}
