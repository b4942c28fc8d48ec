//! What goes wrong, and when.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Input, members_of};
use etcd_leader_rules::member::{Member, Standing};

use crate::chores::Chore;
use crate::links::Route;
use crate::plan::{Fault, Heal};
use crate::referee::Cause;
use crate::rng::{MS, Ns, SECOND};
use crate::store::Lease;
use crate::trace::{note, text};
use crate::world::{ELECTIONS, Ev, World};

impl World {
    pub(crate) fn next_fault(&mut self) {
        if self.calm {
            return;
        }
        let kinds = std::mem::take(&mut self.plan.kinds);
        let kind = *self.rng.pick(&kinds);
        self.plan.kinds = kinds;
        if self.rng.permille(self.plan.snapshot_permille) {
            self.snapshot = Some((self.clusters[0].history, self.clusters[0].store.clone()));
        }
        if self.inflict(kind) {
            note!(self, "FAULT {kind:?}");
            self.stats.faults.0[kind as usize] += 1;
            self.last_trouble = self.now;
        }
        let wait = self.rng.range(self.plan.every / 4, self.plan.every * 2);
        self.after(wait, Ev::Fault);
    }

    /// A process that runs, or one that leads.
    pub(crate) fn victim(&mut self, leads: bool) -> Option<usize> {
        let fits = |proc: &crate::process::Proc| {
            proc.crew.is_some()
                && !proc.frozen
                && (!leads || proc.cands.iter().any(|c| matches!(c.report.standing, Standing::Leading { .. })))
        };
        let all: Vec<usize> = (0..self.procs.len()).filter(|at| fits(&self.procs[*at])).collect();
        if all.is_empty() { None } else { Some(*self.rng.pick(&all)) }
    }

    fn some_ttl(&mut self, low_permille: u64, high_permille: u64) -> Ns {
        self.ttl() * self.rng.range(low_permille, high_permille) / 1000
    }

    /// False if there was nothing to do it to.
    fn inflict(&mut self, kind: Fault) -> bool {
        if self.is_v2()
            && let Some(done) = self.inflict_v2(kind)
        {
            return done;
        }
        match kind {
            Fault::Kill | Fault::KillLeader => {
                let Some(proc) = self.victim(kind == Fault::KillLeader) else { return false };
                self.kill(proc);
            }
            Fault::Freeze | Fault::FreezeLeader => {
                let Some(proc) = self.victim(kind == Fault::FreezeLeader) else { return false };
                note!(self, "p{proc} freezes");
                self.procs[proc].frozen = true;
                let (wait, inc) = (self.some_ttl(100, 3000), self.procs[proc].inc);
                self.after(wait, Ev::Chore { proc, inc, chore: Chore::Thaw });
            }
            Fault::Pause => return self.pause(),
            Fault::Reroute => return self.reroute(),
            Fault::CancelWatches => return self.cancel_watches(),
            Fault::Stop | Fault::StopLeader => {
                let Some(proc) = self.victim(kind == Fault::StopLeader) else { return false };
                let inc = self.procs[proc].inc;
                let cand = self.rng.below(self.procs[proc].cands.len() as u64) as usize;
                self.after(0, Ev::Chore { proc, inc, chore: Chore::Stop { cand } });
            }
            Fault::Jump => {
                let Some(proc) = self.victim(false) else { return false };
                self.stats.jumps += 1;
                let inc = self.procs[proc].inc;
                // After a jump on v2 a process takes its own unanswered write for a copy's, and lets the entry expire.
                if self.is_v2() {
                    self.procs[proc].hindered_at = self.procs[proc].hindered_at.max(self.now);
                }
                self.after(0, Ev::Deliver { proc, inc, link: None, input: Box::new(Input::Jumped) });
            }
            Fault::Silence | Fault::Refuse => {
                let proc = self.rng.below(self.procs.len() as u64) as usize;
                let wait = self.some_ttl(50, 3000);
                let all = self.rng.permille(300);
                let one = self.rng.below(self.routes[proc].len() as u64) as usize;
                for endpoint in (0..self.routes[proc].len()).filter(|at| all || *at == one) {
                    if self.routes[proc][endpoint] != Route::Fine {
                        continue;
                    }
                    note!(self, "p{proc} cannot reach endpoint {endpoint} for {} ms", wait / MS);
                    self.routes[proc][endpoint] =
                        if kind == Fault::Silence { Route::Silent(self.now + wait) } else { Route::Refused };
                    if kind == Fault::Refuse {
                        self.break_links(proc, |link| link.endpoint == endpoint, ErrorKind::Unreachable);
                    }
                    self.after(wait, Ev::Heal(Heal::Route { proc, endpoint }));
                }
            }
            Fault::Estrange => return self.estrange(),
            Fault::Slow => {
                let proc = self.rng.below(self.procs.len() as u64) as usize;
                self.procs[proc].slow_until = self.now + self.some_ttl(100, 2000);
            }
            Fault::ForeignEndpoint => {
                let Some(proc) = self.victim(false) else { return false };
                if !self.procs[proc].books.has_joined {
                    return false;
                }
                let endpoint = self.rng.below(self.routes[proc].len() as u64) as usize;
                // A single endpoint that moves is a cluster built anew, which nobody could tell from this.
                if self.routes[proc].len() < 2 || self.routes[proc].contains(&Route::Foreign) {
                    return false;
                }
                note!(self, "endpoint {endpoint} of p{proc} leads to another cluster");
                self.routes[proc][endpoint] = Route::Foreign;
                self.break_links(proc, |link| link.endpoint == endpoint, ErrorKind::Unreachable);
            }
            Fault::Denied => {
                self.clusters[0].denied = true;
                let wait = self.some_ttl(50, 1500);
                self.after(wait, Ev::Heal(Heal::Allow));
            }
            Fault::DeniedKey => {
                if self.clusters[0].denied_prefix.is_some() {
                    return false;
                }
                let election = self.rng.below(self.elections as u64) as usize;
                note!(self, "the keys of {} are denied", ELECTIONS[election]);
                self.clusters[0].denied_prefix = Some(members_of(ELECTIONS[election]));
                let wait = self.some_ttl(50, 3000);
                self.after(wait, Ev::Heal(Heal::AllowKey));
            }
            Fault::AdminRevoke | Fault::AdminDelete | Fault::ForeignPut => return self.tamper(kind),
            Fault::Orphan => return self.orphan(),
            Fault::Copy => return self.copy(),
            Fault::ForeignJoin | Fault::ForeignPair => self.foreign_join(kind == Fault::ForeignPair),
            Fault::OtherWrites => {
                let most = if self.rng.permille(100) { 3000 } else { 20 };
                self.clusters[0].store.revision += 1 + self.rng.below(most);
                self.clusters[0].mark(self.now);
            }
            Fault::Compact => {
                let store = &mut self.clusters[0].store;
                store.compacted = store.revision - self.rng.below(4).min(store.revision - 1);
            }
            _ => return self.inflict_on_cluster(kind),
        }
        true
    }

    pub(crate) fn kill(&mut self, proc: usize) {
        note!(self, "p{proc} is killed");
        self.drop_crew(proc);
        self.procs[proc].inc += 1;
        let inc = self.procs[proc].inc;
        if proc < 2 || self.rng.permille(700) {
            let wait = self.some_ttl(10, 2500);
            self.after(wait, Ev::Chore { proc, inc, chore: Chore::Start });
        }
    }

    /// A process is cut off, asked to stop, and meanwhile somebody puts over its keys and so takes them off their lease.
    fn estrange(&mut self) -> bool {
        let Some(proc) = self.victim(false) else { return false };
        let (wait, inc) = (self.cut_off(proc), self.procs[proc].inc);
        for cand in 0..self.procs[proc].cands.len() {
            self.after(0, Ev::Chore { proc, inc, chore: Chore::Stop { cand } });
        }
        let books = &self.procs[proc].books;
        let store = &mut self.clusters[0].store;
        // One that a restore brought back, and that is taken off our lease before we hear of it, is ours no more.
        let ours = |entry: &&Member| books.owns(&entry.key) && !self.orphans.contains(&entry.revision);
        let keys: Vec<_> = store.entries.values().filter(ours).map(|entry| entry.key.clone()).collect();
        let before = store.log.len();
        for key in keys {
            note!(self, "p{proc} is cut off for {} ms, and somebody puts over {}", wait / MS, text(&key));
            let store = &mut self.clusters[0].store;
            store.advance();
            store.put(&key, b"somebody", 0);
        }
        self.committed(0, before, Cause::Tampering);
        true
    }

    /// Nothing of a process reaches any member, for a time that this tells.
    pub(crate) fn cut_off(&mut self, proc: usize) -> Ns {
        let wait = self.some_ttl(1500, 4500);
        for endpoint in 0..self.routes[proc].len() {
            if self.routes[proc][endpoint] == Route::Fine {
                self.routes[proc][endpoint] = Route::Refused;
                self.after(wait, Ev::Heal(Heal::Route { proc, endpoint }));
            }
        }
        self.break_links(proc, |_| true, ErrorKind::Unreachable);
        wait
    }

    fn tamper(&mut self, kind: Fault) -> bool {
        let election = self.rng.below(self.elections as u64) as usize;
        let prefix = members_of(ELECTIONS[election]);
        let store = &mut self.clusters[0].store;
        let members: Vec<_> = store.under(&prefix).cloned().collect();
        if members.is_empty() {
            return false;
        }
        // The leader's key more often than others.
        let member = if self.rng.permille(500) {
            members.iter().min_by(|a, b| a.rank().cmp(&b.rank())).cloned().unwrap_or_else(|| members[0].clone())
        } else {
            self.rng.pick(&members).clone()
        };
        // An orphan that somebody takes off its lease would stay for ever: no candidate can clear it.
        if kind == Fault::ForeignPut && self.orphans.contains(&member.revision) {
            return false;
        }
        let before = store.log.len();
        match kind {
            Fault::AdminRevoke => {
                store.end_lease(member.lease);
            }
            Fault::AdminDelete => {
                store.advance();
                store.delete(&member.key);
            }
            _ => {
                store.advance();
                store.put(&member.key, b"somebody", 0);
            }
        }
        note!(
            self,
            "{kind:?} of {}@{} at revision {}",
            text(&member.key),
            member.revision,
            self.clusters[0].store.revision
        );
        self.committed(0, before, Cause::Tampering);
        true
    }

    /// A copy of a process has come up, and its first act is to write an entry of its own, as it takes it: no more is left of
    /// it, for it will find the entry written by the other, or the lease gone.
    fn copy(&mut self) -> bool {
        let store = &self.clusters[0].store;
        let leads = |cand: &&crate::process::Cand| matches!(cand.report.standing, Standing::Leading { .. });
        let cands = self.procs.iter().flat_map(|proc| proc.cands.iter().filter(leads));
        let entries = cands.filter_map(|cand| store.first(&members_of(ELECTIONS[cand.election])));
        let ours = |entry: &&Member| self.procs.iter().any(|proc| proc.books.owns(&entry.key));
        let Some(entry) = entries.filter(|entry| store.leases.contains_key(&entry.lease)).find(ours).cloned() else {
            return false;
        };
        let store = &mut self.clusters[0].store;
        let before = store.log.len();
        store.advance();
        store.put(&entry.key, &entry.name, entry.lease);
        note!(self, "a copy writes {}@{} at revision {}", text(&entry.key), entry.revision, store.revision);
        self.committed(0, before, Cause::Copied);
        for proc in self.procs.iter_mut().filter(|proc| proc.books.owns(&entry.key)) {
            proc.books.copied = proc.books.leases.iter().map(|lease| lease.id).collect();
        }
        true
    }

    /// An entry that a candidate has left is back on the lease that its process still keeps, as after a restore with
    /// `--bump-revision`, which ends all connections.
    fn orphan(&mut self) -> bool {
        let store = &self.clusters[0].store;
        let left = self.procs.iter().enumerate().filter(|(_, this)| this.crew.is_some()).find_map(|(proc, this)| {
            this.books.burnt.iter().find_map(|(key, _)| {
                let lease = this.books.lease_of(key).filter(|lease| store.leases.contains_key(lease))?;
                let is_of_it = |cand: &&crate::process::Cand| key.starts_with(&members_of(ELECTIONS[cand.election]));
                let of = this.cands.iter().rev().find(is_of_it)?;
                let is_left = this.cands.iter().filter(is_of_it).all(|cand| cand.report.ended);
                (is_left && !store.entries.contains_key(key)).then(|| (proc, key.clone(), of.name.clone(), lease))
            })
        });
        let Some((proc, key, name, lease)) = left else { return false };
        let store = &mut self.clusters[0].store;
        let before = store.log.len();
        store.advance();
        store.put(&key, name.as_bytes(), lease);
        self.orphans.push(store.revision);
        note!(self, "{} of p{proc} is back, and its connections end", text(&key));
        self.committed(0, before, Cause::Tampering);
        self.break_links(proc, |_| true, ErrorKind::Unreachable);
        true
    }

    /// A Go-style member: another suffix, a lease of its own; later it leaves, or its lease runs out.
    fn foreign_join(&mut self, pair: bool) {
        let election = self.rng.below(self.elections as u64) as usize;
        let lease = (self.rng.next() >> 2) as i64;
        let (ttl_s, history) = (self.lease_time() as i64 / SECOND as i64, self.clusters[0].history);
        let expires = self.now + ttl_s as u64 * SECOND;
        let store = &mut self.clusters[0].store;
        let before = store.log.len();
        store.leases.insert(lease, Lease { ttl_s, expires });
        store.advance();
        let key = [members_of(ELECTIONS[election]), format!("{lease}").into_bytes()].concat();
        store.put(&key, b"go", lease);
        if pair {
            let twin = [members_of(ELECTIONS[election]), format!("0{lease}").into_bytes()].concat();
            store.put(&twin, b"go twin", lease);
        }
        note!(self, "a foreign member joins with {}", text(&key));
        self.committed(0, before, Cause::Foreign);
        self.at(expires, Ev::Expire { lease, history });
        if self.rng.permille(600) {
            let wait = self.some_ttl(50, 900);
            self.after(wait, Ev::Heal(Heal::Foreign { key }));
        }
    }
}
