//! The ends of faults, and the admin who tidies up.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::members_of;
use etcd_leader_rules::member::Member;

use crate::links::Route;
use crate::plan::{Fault, Heal};
use crate::referee::Cause;
use crate::trace::note;
use crate::world::{ELECTIONS, Ev, World};

impl World {
    pub(crate) fn heal(&mut self, heal: Heal) {
        match heal {
            Heal::Peace => return self.peace(),
            Heal::Route { proc, endpoint } => {
                if self.routes[proc][endpoint] != Route::Foreign {
                    self.routes[proc][endpoint] = Route::Fine;
                    // An opening that was swallowed meanwhile hinders until the transport gives it up.
                    self.procs[proc].hindered_at = self.procs[proc].hindered_at.max(self.now);
                }
            }
            Heal::Up { node, round } => self.boot(node, round),
            Heal::Thaw { node } => {
                if self.clusters[0].nodes[node].frozen {
                    self.clusters[0].nodes[node].frozen = false;
                    self.reconfigured();
                }
            }
            Heal::Join { node } => {
                self.clusters[0].nodes[node].cut = false;
                self.reconfigured();
            }
            Heal::Lag { node } => {
                self.clusters[0].nodes[node].lag = 0;
                self.unwell_at = self.now;
            }
            Heal::Allow => {
                self.clusters[0].denied = false;
                self.unwell_at = self.now;
            }
            Heal::AllowKey => {
                let prefix = self.clusters[0].denied_prefix.take();
                let election = ELECTIONS.iter().position(|key| Some(members_of(key)) == prefix).unwrap_or(0);
                self.allowed_at[election] = self.now;
                self.unwell_at = self.now;
                note!(self, "the keys of {} are allowed again", ELECTIONS[election]);
            }
            Heal::Original { key, written } => self.original_goes_on(key, written),
            Heal::Foreign { key } => {
                let store = &mut self.clusters[0].store;
                let before = store.log.len();
                if store.entries.contains_key(&key) {
                    store.advance();
                    store.delete(&key);
                    self.committed(0, before, Cause::Foreign);
                }
            }
        }
        self.last_trouble = self.now;
    }

    /// The last fault: all that lasts ends within three ttl by itself; an admin tidies up what has no owner.
    fn peace(&mut self) {
        note!(self, "peace");
        self.calm = true;
        self.last_trouble = self.now;
        for proc in 0..self.procs.len() {
            self.procs[proc].slow_until = self.procs[proc].slow_until.min(self.now);
        }
        // A stranger among the endpoints may stay; but after our cluster was built anew nobody could tell who is who.
        // Nor is known what time the clock shows that was far ahead when it was seen last.
        let rebuilt =
            self.stats.faults.0[Fault::WipeNewId as usize] > 0 || self.is_v2() && self.plan.v2.spread > self.ttl() / 5;
        for proc in 0..self.procs.len() {
            if rebuilt || self.rng.permille(500) {
                let strange = self.routes[proc].iter_mut().filter(|route| **route == Route::Foreign);
                strange.for_each(|route| *route = Route::Fine);
                self.break_links(proc, |link| link.cluster == 1, ErrorKind::Unreachable);
            }
        }
        self.tidy();
        if self.is_v2() {
            self.agree_on_the_time();
        }
        let wait = self.bound();
        self.after(wait, Ev::Settled);
    }

    /// Deletes what would stay for ever, as in a real store.
    pub(crate) fn tidy(&mut self) {
        if self.is_v2() {
            return self.tidy_v2();
        }
        let store = &self.clusters[0].store;
        let orphans: Vec<Vec<u8>> = store
            .entries
            .values()
            .filter(|member| {
                // Entries without a lease whose owner is dead: nobody could know of these.
                let owner = self.procs.iter().find(|proc| proc.crew.is_some() && proc.books.owns(&member.key));
                let restored = self.clusters[0].history > 0 || self.orphans.contains(&member.revision);
                let campaigns = |proc: &crate::process::Proc| {
                    let prefix = |cand: &crate::process::Cand| members_of(ELECTIONS[cand.election]);
                    proc.cands.iter().any(|cand| !cand.report.ended && member.key.starts_with(&prefix(cand)))
                };
                // A candidate that ended while it could not reach the cluster did not hear that its key was put over.
                owner.map_or(member.lease == 0, |proc| member.lease == 0 && (restored || !campaigns(proc)))
            })
            .map(|member| member.key.clone())
            .collect();
        let before = store.log.len();
        for key in orphans {
            self.clusters[0].store.advance();
            self.clusters[0].store.delete(&key);
        }
        self.committed(0, before, Cause::Tampering);
    }

    /// A process is over, and could not tell what became of a key that somebody took off its lease: an admin sees to it.
    pub(crate) fn tidy_after(&mut self, proc: usize) {
        if self.is_v2() {
            return self.tidy_v2();
        }
        let store = &self.clusters[0].store;
        let books = &self.procs[proc].books;
        let stray = |member: &&Member| member.lease == 0 && books.owns(&member.key);
        let keys: Vec<_> = store.entries.values().filter(stray).map(|member| member.key.clone()).collect();
        let before = store.log.len();
        for key in keys {
            self.clusters[0].store.advance();
            self.clusters[0].store.delete(&key);
            self.last_trouble = self.now;
        }
        self.committed(0, before, Cause::Tampering);
    }
}
