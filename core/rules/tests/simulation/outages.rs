//! Faults of the cluster itself: members that restart, freeze or are cut off; elections of the raft leader; wipes.

use etcd_leader_rules::error::ErrorKind;

use crate::plan::{Fault, Heal};
use crate::referee::Cause;
use crate::rng::{MS, SECOND};
use crate::trace::note;
use crate::world::{Ev, World};

impl World {
    pub(crate) fn inflict_on_cluster(&mut self, kind: Fault) -> bool {
        let count = self.clusters[0].nodes.len();
        let leader = self.clusters[0].leader.unwrap_or(0);
        let node = match kind {
            Fault::LeaderFreeze | Fault::LeaderCut => leader,
            _ => self.rng.below(count as u64) as usize,
        };
        let wait = self.ttl() * self.rng.range(50, 2500) / 1000;
        let state = &mut self.clusters[0].nodes[node];
        match kind {
            Fault::MemberRestart => {
                if !state.up {
                    return false;
                }
                self.crash(node);
                let round = self.rounds;
                let wait = wait.min(self.ttl());
                self.after(wait, Ev::Heal(Heal::Up { node, round }));
            }
            Fault::MemberFreeze | Fault::LeaderFreeze => {
                if state.frozen || !state.up {
                    return false;
                }
                // Long enough for the others to choose a new leader, as often as not.
                let wait = if self.rng.permille(500) { wait.max(2500 * MS) } else { wait };
                note!(self, "n{node} freezes for {} ms", wait / MS);
                self.clusters[0].nodes[node].frozen = true;
                self.after(wait, Ev::Heal(Heal::Thaw { node }));
                if count > 1 {
                    // On waking it hears nobody for a while, and does not know that it was replaced.
                    self.clusters[0].nodes[node].cut = true;
                    let stale = if self.rng.permille(500) { self.rng.below(300 * MS) } else { self.rng.below(SECOND) };
                    self.after(wait + stale, Ev::Heal(Heal::Join { node }));
                }
            }
            Fault::MemberCut | Fault::LeaderCut => {
                if state.cut || count == 1 {
                    return false;
                }
                note!(self, "n{node} is cut off for {} ms", wait / MS);
                self.clusters[0].nodes[node].cut = true;
                self.after(wait, Ev::Heal(Heal::Join { node }));
                let (round, wait) = (self.rounds, SECOND + self.rng.below(SECOND));
                self.after(wait, Ev::StepDown { node, round });
                // Streams that ask for a leader are ended after a while.
                for proc in 0..self.procs.len() {
                    if self.rng.permille(500) {
                        self.break_links(proc, |link| link.cluster == 0 && link.node == node, ErrorKind::NoQuorum);
                    }
                }
            }
            Fault::NoQuorum => {
                if count == 1 {
                    return false;
                }
                for node in 0..2 {
                    self.clusters[0].nodes[node].cut = true;
                    self.after(wait, Ev::Heal(Heal::Join { node }));
                    let (round, wait) = (self.rounds, SECOND + self.rng.below(SECOND));
                    self.after(wait, Ev::StepDown { node, round });
                }
            }
            Fault::MemberLag => {
                state.lag = self.rng.below(500 * MS);
                self.after(wait, Ev::Heal(Heal::Lag { node }));
            }
            Fault::NewLeader => {
                if !self.clusters[0].serves() {
                    return false;
                }
                let to = self.rng.below(count as u64) as usize;
                if !self.clusters[0].nodes[to].up || self.clusters[0].nodes[to].frozen || self.clusters[0].nodes[to].cut
                {
                    return false;
                }
                self.clusters[0].elect(to, self.now);
            }
            Fault::WholeRestart => {
                (0..count).for_each(|node| self.crash(node));
                let round = self.rounds;
                let wait = wait.min(self.ttl());
                (0..count).for_each(|node| self.after(wait, Ev::Heal(Heal::Up { node, round })));
            }
            Fault::WipeSameId | Fault::WipeNewId | Fault::Restore => return self.reset(kind, wait.min(self.ttl())),
            Fault::RestoreAhead => return self.restore_ahead(wait.min(self.ttl())),
            _ => return false,
        }
        self.unwell_at = self.now;
        self.reconfigured();
        true
    }

    pub(crate) fn crash(&mut self, node: usize) {
        note!(self, "n{node} goes down");
        let state = &mut self.clusters[0].nodes[node];
        (state.up, state.believes, state.frozen) = (false, false, false);
        state.boots += 1;
        self.clusters[0].leader.take_if(|leader| *leader == node);
        for proc in 0..self.procs.len() {
            self.break_links(
                proc,
                |link| link.cluster == 0 && link.node == node && !link.is_hung,
                ErrorKind::Unreachable,
            );
        }
        self.watchers[0].retain(|watcher| watcher.node != node);
    }

    pub(crate) fn boot(&mut self, node: usize, _round: u64) {
        if !self.clusters[0].nodes[node].up {
            note!(self, "n{node} comes up");
            self.clusters[0].nodes[node].up = true;
            self.reconfigured();
        }
    }

    /// A member that was replaced as leader has answered a keepalive. Often it hears of the others just then, in time
    /// for the confirming read.
    pub(crate) fn fooled(&mut self, node: usize) {
        if self.rng.permille(300) {
            let wait = self.rng.below(60 * MS);
            self.after(wait, Ev::Heal(Heal::Join { node }));
        }
    }

    /// After members changed: is there a leader, and who knows?
    pub(crate) fn reconfigured(&mut self) {
        self.unwell_at = self.now;
        self.clusters[0].settle();
        let cluster = &self.clusters[0];
        if cluster.serves() || !cluster.has_quorum() {
            return;
        }
        self.rounds += 1;
        let round = self.rounds;
        let wait = SECOND + self.rng.below(SECOND);
        let wait = if cluster.nodes.len() == 1 { wait / 5 } else { wait };
        self.after(wait, Ev::Elect { round });
    }

    pub(crate) fn elect(&mut self, round: u64) {
        let cluster = &self.clusters[0];
        if round != self.rounds || cluster.serves() || !cluster.has_quorum() {
            return;
        }
        let fit = |at: &usize| {
            let node = &cluster.nodes[*at];
            node.up && !node.frozen && !node.cut
        };
        let able: Vec<usize> = (0..cluster.nodes.len()).filter(fit).collect();
        let at = *self.rng.pick(&able);
        self.clusters[0].elect(at, self.now);
        self.unwell_at = self.now;
        note!(self, "n{at} leads the cluster in term {}", self.clusters[0].term);
        self.last_trouble = self.last_trouble.max(if self.calm { self.now } else { 0 });
    }

    /// A leader without a quorum notices after an election timeout.
    pub(crate) fn step_down(&mut self, node: usize, _round: u64) {
        let cluster = &mut self.clusters[0];
        if cluster.nodes[node].cut && cluster.nodes[node].believes {
            if cluster.nodes[node].frozen {
                return self.after(SECOND, Ev::StepDown { node, round: 0 });
            }
            cluster.nodes[node].believes = false;
            if cluster.leader == Some(node) {
                cluster.leader = None;
                self.reconfigured();
            }
        }
    }

    /// The leader's lessor ends leases that ran out; never early, often a little late.
    pub(crate) fn expire(&mut self, lease: i64, history: u32) {
        let now = self.now;
        if self.clusters[0].history != history {
            return;
        }
        let serves = self.clusters[0].serves();
        let Some(known) = self.clusters[0].store.leases.get(&lease) else { return };
        let (due, jitter) = (known.expires, self.rng.below(500 * MS));
        if due > now {
            return self.at(due + jitter, Ev::Expire { lease, history });
        }
        if !serves {
            return self.after(200 * MS, Ev::Expire { lease, history });
        }
        let before = self.clusters[0].store.log.len();
        self.clusters[0].store.end_lease(lease);
        note!(self, "   etcd: lease {lease:x} has run out");
        self.committed(0, before, Cause::Expiry);
    }
}
