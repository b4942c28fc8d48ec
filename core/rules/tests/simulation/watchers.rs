//! Watches, as a member has them and as they reach the processes; and links that break.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Change, Failure, Input, LinkId, WatchId, WatchNews, Watched};
use etcd_leader_rules::member::Revision;

use crate::links::{Link, Route};
use crate::referee::Cause;
use crate::rng::{MS, Ns, US};
use crate::trace::note;
use crate::world::{Ev, World};

pub(crate) struct NewWatch {
    pub(crate) watcher: Watcher,
    pub(crate) boots: u32,
}

/// A watch as the member has it.
pub(crate) struct Watcher {
    pub(crate) serial: u64,
    pub(crate) proc: usize,
    pub(crate) inc: u32,
    pub(crate) link: LinkId,
    pub(crate) endpoint: usize,
    pub(crate) node: usize,
    pub(crate) watch: WatchId,
    pub(crate) range: Watched,
    /// The first revision not yet told.
    pub(crate) next: Revision,
    pub(crate) pumping: bool,
    pub(crate) last_sent: Ns,
    /// v2: the first poll was answered at all, and how many there were.
    pub(crate) is_created: bool,
    pub(crate) polls: u64,
}

impl World {
    pub(crate) fn new_watch(&mut self, new: Box<NewWatch>) {
        if self.is_v2() {
            return self.begin_poll(new);
        }
        let watcher = &new.watcher;
        if self.procs[watcher.proc].inc != watcher.inc {
            return;
        }
        let Some(on) = self.procs[watcher.proc].link(watcher.link) else { return };
        let (cluster, node, endpoint, proc) = (on.cluster, on.node, on.endpoint, watcher.proc);
        let state = &self.clusters[cluster].nodes[node];
        if state.boots != new.boots || !state.up {
            return;
        }
        if matches!(self.routes[proc][endpoint], Route::Silent(_)) || state.frozen {
            return self.after(100 * MS, Ev::NewWatch(new));
        }
        let mut watcher = new.watcher;
        let now = self.now;
        let revision = if self.chance(self.plan.odds.stale_watch) {
            // Served by another member behind a proxy.
            self.clusters[cluster].store.revision.saturating_sub(self.rng.below(3))
        } else {
            self.clusters[cluster].applied(node, now)
        };
        self.tell(&mut watcher, WatchNews::Created { revision });
        watcher.next = watcher.range.start.unwrap_or(revision + 1);
        let prefix = self.clusters[cluster].denied_prefix.as_ref();
        let is_denied =
            self.clusters[cluster].denied || prefix.is_some_and(|prefix| watcher.range.from.starts_with(prefix));
        if watcher.next < self.clusters[cluster].store.compacted || is_denied {
            self.tell(
                &mut watcher,
                WatchNews::Canceled { reason: "mvcc: required revision has been compacted".into() },
            );
            self.stats.watch_cancels += 1;
            return;
        }
        let wanted = |change: &Change| change.at >= watcher.next && watcher.wants(change);
        let is_behind = self.clusters[cluster].store.log.iter().rev().take(200).any(wanted);
        let serial = watcher.serial;
        watcher.pumping = is_behind;
        self.watchers[cluster].push(watcher);
        if is_behind {
            let wait = self.rng.range(MS, 100 * MS);
            self.after(wait, Ev::Pump { cluster, watcher: serial });
        }
    }

    /// After changes of a store: sets the watchers going and lets the referee judge the claims.
    pub(crate) fn committed(&mut self, cluster: usize, from: usize, cause: Cause) {
        self.clusters[cluster].mark(self.now);
        if self.clusters[cluster].store.log.len() <= from {
            return;
        }
        for at in 0..self.watchers[cluster].len() {
            let watcher = &self.watchers[cluster][at];
            let log = &self.clusters[cluster].store.log[from..];
            if watcher.pumping || !log.iter().any(|change| watcher.wants(change)) {
                continue;
            }
            let mut wait = self.rng.range(50 * US, 2 * MS) + self.clusters[cluster].nodes[watcher.node].lag;
            let serial = watcher.serial;
            if self.chance(self.plan.odds.slow_watch) {
                wait += self.rng.below(self.ttl());
            }
            self.watchers[cluster][at].pumping = true;
            self.after(wait, Ev::Pump { cluster, watcher: serial });
        }
        if cluster == 0 {
            let cluster = &self.clusters[0];
            self.referee.committed(&cluster.store, from, cause, self.now);
            for (time, check) in self.referee.take_rechecks() {
                self.at(time, Ev::Check(check));
            }
        }
    }

    /// A watcher sends all it has, in one response or in one per revision.
    pub(crate) fn pump(&mut self, cluster: usize, serial: u64) {
        if self.is_v2() {
            return self.answer_poll(cluster, serial);
        }
        let Some(at) = self.watchers[cluster].iter().position(|watcher| watcher.serial == serial) else { return };
        let mut watcher = self.watchers[cluster].swap_remove(at);
        let node = &self.clusters[cluster].nodes[watcher.node];
        if node.frozen || node.cut || (!self.clusters[cluster].serves() && cluster == 0) {
            self.watchers[cluster].push(watcher);
            return self.after(50 * MS, Ev::Pump { cluster, watcher: serial });
        }
        watcher.pumping = false;
        let mut changes: Vec<Change> = Vec::new();
        for change in self.clusters[cluster].store.log.iter().rev() {
            if change.at < watcher.next {
                break;
            }
            if watcher.wants(change) {
                changes.push(change.clone());
            }
        }
        changes.reverse();
        // Of the revision that was compacted itself, etcd up to 3.5.15 tells the puts and keeps the deletes to itself.
        let compacted = self.clusters[cluster].store.compacted;
        let before = changes.len();
        changes.retain(|change| change.at != compacted || change.now.is_some());
        self.stats.lost_deletes += (before - changes.len()) as u64;
        if changes.first().is_some_and(|first| first.at < compacted) {
            self.stats.watch_cancels += 1;
            return self.tell(
                &mut watcher,
                WatchNews::Canceled { reason: "mvcc: required revision has been compacted".into() },
            );
        }
        if self.chance(self.plan.odds.cancel_watch) {
            self.stats.watch_cancels += 1;
            return self.tell(&mut watcher, WatchNews::Canceled { reason: "etcdserver: no leader".into() });
        }
        if let Some(last) = changes.last() {
            watcher.next = last.at + 1;
        }
        if self.chance(self.plan.odds.lost_delete) && changes.iter().any(|change| change.now.is_none()) {
            self.stats.lost_deletes += 1;
            note!(self, "   etcd loses a delete for watch {} of p{}", watcher.watch.0, watcher.proc);
            changes.retain(|change| change.now.is_some());
        }
        let coalesced = self.rng.permille(600);
        while !changes.is_empty() {
            let at = changes[0].at;
            let end = if coalesced { changes.len() } else { changes.partition_point(|change| change.at == at) };
            let rest = changes.split_off(end);
            self.tell(&mut watcher, WatchNews::Changes { changes });
            changes = rest;
        }
        self.watchers[cluster].push(watcher);
    }

    /// The users and roles of etcd have changed, and a process's token with them: its watches end one by one, on a stream that
    /// stands.
    pub(crate) fn cancel_watches(&mut self) -> bool {
        let Some(proc) = self.victim(false) else { return false };
        let (mut ended, others): (Vec<Watcher>, Vec<Watcher>) =
            std::mem::take(&mut self.watchers[0]).into_iter().partition(|watcher| watcher.proc == proc);
        self.watchers[0] = others;
        for watcher in &mut ended {
            self.stats.watch_cancels += 1;
            self.tell(watcher, WatchNews::Canceled { reason: "rpc error: auth: revision in header is old".into() });
        }
        !ended.is_empty()
    }

    /// Sends news of a watch, in the order of this watch.
    pub(crate) fn tell(&mut self, watcher: &mut Watcher, news: WatchNews) {
        let mut when = self.now + self.delay(watcher.proc);
        if let Route::Silent(until) = self.routes[watcher.proc][watcher.endpoint] {
            when = when.max(until);
        }
        when = when.max(watcher.last_sent + 1);
        watcher.last_sent = when;
        let (proc, inc, link) = (watcher.proc, watcher.inc, watcher.link);
        let input = Box::new(Input::Watch { link, watch: watcher.watch, news });
        self.at(when, Ev::Deliver { proc, inc, link: Some(link), input });
    }

    /// Breaks links of a process, as a reset would.
    pub(crate) fn break_links(&mut self, proc: usize, which: impl Fn(&Link) -> bool, kind: ErrorKind) {
        let broken: Vec<LinkId> =
            self.procs[proc].links.iter().filter(|link| !link.broken && which(link)).map(|link| link.id).collect();
        if !broken.is_empty() {
            self.procs[proc].hindered_at = self.now;
        }
        for link in broken {
            for watchers in &mut self.watchers {
                watchers.retain(|watcher| watcher.proc != proc || watcher.link != link);
            }
            let wait = self.delay(proc);
            let inc = self.procs[proc].inc;
            let input = Box::new(Input::Broken { link, failure: Failure::new(kind, "the stream ended") });
            self.after(wait, Ev::Deliver { proc, inc, link: Some(link), input });
        }
    }
}

impl Watcher {
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.range.from.as_slice() <= key && key < self.range.to.as_slice()
    }

    fn wants(&self, change: &Change) -> bool {
        self.covers(&change.key) && (change.now.is_some() || !self.range.puts_only)
    }
}
