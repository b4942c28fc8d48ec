//! Watches in v2: each is a row of long polls that the backend makes, one event each; between two polls events are only
//! kept by the history, which forgets.

use etcd_leader_rules::machine::{Change, WatchNews};

use crate::links::Route;
use crate::rng::{MS, US};
use crate::watchers::{NewWatch, Watcher};
use crate::world::{Ev, World};

impl World {
    /// A poll reaches a member.
    pub(crate) fn begin_poll(&mut self, new: Box<NewWatch>) {
        let watcher = &new.watcher;
        if self.procs[watcher.proc].inc != watcher.inc {
            return;
        }
        let Some(on) = self.procs[watcher.proc].link(watcher.link) else { return };
        if on.broken || on.unwatched.contains(&watcher.watch) {
            return;
        }
        let (cluster, node, endpoint, proc) = (on.cluster, on.node, on.endpoint, watcher.proc);
        let state = &self.clusters[cluster].nodes[node];
        if state.boots != new.boots || !state.up {
            return;
        }
        if matches!(self.routes[proc][endpoint], Route::Silent(_)) || state.frozen {
            return self.after(100 * MS, Ev::NewWatch(new));
        }
        let mut watcher = new.watcher;
        let is_denied = self.clusters[cluster].denied || self.chance(self.plan.odds.cancel_watch);
        if is_denied || watcher.next < self.clusters[cluster].store.oldest_event() {
            self.stats.watch_cancels += 1;
            let reason = if is_denied { "some refusal" } else { "the requested history has been cleared (401)" };
            self.stats.cleared += u64::from(!is_denied);
            return self.tell(&mut watcher, WatchNews::Canceled { reason: reason.into() });
        }
        let applied = self.clusters[cluster].applied(node, self.now);
        if !std::mem::replace(&mut watcher.is_created, true) {
            let back = if self.chance(self.plan.odds.stale_watch) { self.rng.below(3) } else { 0 };
            self.tell(&mut watcher, WatchNews::Created { revision: applied.saturating_sub(back) });
        }
        watcher.polls += 1;
        let (serial, poll) = (watcher.serial, watcher.polls);
        let missed = self.next_event(cluster, &watcher).map(|change| change.at);
        watcher.pumping = missed.is_some();
        self.watchers[cluster].push(watcher);
        if let Some(at) = missed {
            self.stats.caught_up += 1;
            let lag = if at > applied { self.clusters[cluster].nodes[node].lag } else { 0 };
            let wait = self.rng.range(10 * US, MS);
            self.after(wait + lag, Ev::Pump { cluster, watcher: serial });
        } else {
            let wait = self.plan.v2.poll;
            self.after(wait, Ev::PollEnds { cluster, watcher: serial, poll });
        }
    }

    fn next_event(&self, cluster: usize, watcher: &Watcher) -> Option<Change> {
        let log = &self.clusters[cluster].store.log;
        let from = log.partition_point(|change| change.at < watcher.next);
        log[from..].iter().find(|change| watcher.covers(&change.key)).cloned()
    }

    /// A poll is answered with its event; the next one follows.
    pub(crate) fn answer_poll(&mut self, cluster: usize, serial: u64) {
        let Some(at) = self.watchers[cluster].iter().position(|watcher| watcher.serial == serial) else { return };
        let node = &self.clusters[cluster].nodes[self.watchers[cluster][at].node];
        if node.frozen || node.cut || (!self.clusters[cluster].serves() && cluster == 0) {
            return self.after(50 * MS, Ev::Pump { cluster, watcher: serial });
        }
        let mut watcher = self.watchers[cluster].swap_remove(at);
        watcher.pumping = false;
        if let Some(change) = self.next_event(cluster, &watcher) {
            watcher.next = change.at + 1;
            self.tell(&mut watcher, WatchNews::Changes { changes: vec![change] });
        }
        self.poll_again(watcher);
    }

    /// etcd ends a poll without news after a while.
    pub(crate) fn end_poll(&mut self, cluster: usize, serial: u64, poll: u64) {
        let same = |watcher: &Watcher| watcher.serial == serial && watcher.polls == poll && !watcher.pumping;
        if let Some(at) = self.watchers[cluster].iter().position(same) {
            self.stats.empty_polls += 1;
            let watcher = self.watchers[cluster].swap_remove(at);
            self.poll_again(watcher);
        }
    }

    fn poll_again(&mut self, watcher: Watcher) {
        let wait = self.delay(watcher.proc) + self.delay(watcher.proc);
        let Some(boots) = self.procs[watcher.proc].link(watcher.link).map(|link| link.boots) else { return };
        self.after(wait, Ev::NewWatch(Box::new(NewWatch { watcher, boots })));
    }
}
