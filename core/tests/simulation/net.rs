//! Between processes and members: delays, losses, ghosts, and watches.

use etcd_leader::error::ErrorKind;
use etcd_leader::machine::{
    Change, Failure, Input, LinkId, Op, Reply, Request, RequestId, WatchId, WatchNews, members_of,
};
use etcd_leader::member::Revision;

use crate::cluster::Outcome;
use crate::process::{Cand, Chore};
use crate::referee::Cause;
use crate::rng::{MS, Ns, SECOND, US};
use crate::trace::{note, text};
use crate::world::{ELECTIONS, Ev, Mood, World};

/// How a process reaches an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Fine,
    /// Packets vanish until then.
    Silent(Ns),
    /// Connections are refused until healed.
    Refused,
    /// The name leads to another cluster.
    Foreign,
}

/// A connection of a process.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) endpoint: usize,
    pub(crate) cluster: usize,
    pub(crate) node: usize,
    pub(crate) boots: u32,
    pub(crate) broken: bool,
}

/// A request on its way.
pub(crate) struct Call {
    pub(crate) proc: usize,
    pub(crate) inc: u32,
    pub(crate) link: LinkId,
    pub(crate) endpoint: usize,
    pub(crate) cluster: usize,
    pub(crate) node: usize,
    pub(crate) boots: u32,
    pub(crate) id: RequestId,
    pub(crate) op: Op,
    pub(crate) sent: Ns,
    /// The way back: whether a reply comes at all, and an error in its place.
    pub(crate) replies: bool,
    pub(crate) error: Option<ErrorKind>,
    /// Refused with that error without being applied.
    pub(crate) refused: bool,
    /// Held back somewhere: carried out whatever became of the connection.
    pub(crate) ghost: bool,
}

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
    pub(crate) from: Vec<u8>,
    pub(crate) to: Vec<u8>,
    /// The first revision not yet told.
    pub(crate) next: Revision,
    pub(crate) pumping: bool,
    pub(crate) last_sent: Ns,
}

impl World {
    /// One way between a process and a member.
    fn delay(&mut self, proc: usize) -> Ns {
        let base = self.rng.range(80 * US, 1200 * US);
        let slow = if self.now < self.procs[proc].slow_until {
            self.rng.below(self.settings.attempt.as_nanos() as Ns * 3 / 2)
        } else {
            0
        };
        base + slow
    }

    pub(crate) fn chance(&mut self, permille: u64) -> bool {
        !self.calm && self.mood == Mood::Storm && self.rng.permille(permille)
    }

    /// A crew wants something carried out.
    pub(crate) fn send(&mut self, proc: usize, request: Request) {
        note!(self, "p{proc} -> {} on {}: {}", request.id.0, request.link.0, words(&request.op));
        self.stats.requests += 1;
        let inc = self.procs[proc].inc;
        let Request { id, link, op } = request;
        match op {
            Op::Close => {
                self.procs[proc].links.retain(|known| known.id != link);
                let wait = self.delay(proc);
                self.after(wait, Ev::Forget { proc, inc, link, watch: None });
            }
            Op::Open { endpoint, key } => {
                let (cluster, node) =
                    if self.routes[proc][endpoint] == Route::Foreign { (1, 0) } else { (0, endpoint) };
                let boots = self.clusters[cluster].nodes[node].boots;
                let open = Link { id: link, endpoint, cluster, node, boots, broken: false };
                self.procs[proc].links.push(open);
                self.call(proc, id, link, Op::Open { endpoint, key });
            }
            Op::Watch { watch, from, to, start } => {
                let Some(on) = self.procs[proc].link(link) else { return };
                let (endpoint, node, boots) = (on.endpoint, on.node, on.boots);
                self.next_watcher += 1;
                let serial = self.next_watcher;
                let last_sent = self.now;
                let watcher = Watcher {
                    serial,
                    proc,
                    inc,
                    link,
                    endpoint,
                    node,
                    watch,
                    from,
                    to,
                    next: start,
                    pumping: false,
                    last_sent,
                };
                let wait = self.delay(proc);
                self.after(wait, Ev::NewWatch(Box::new(NewWatch { watcher, boots })));
            }
            Op::Unwatch { watch } => {
                let wait = self.delay(proc);
                self.after(wait, Ev::Forget { proc, inc, link, watch: Some(watch) });
            }
            op => self.call(proc, id, link, op),
        }
    }

    fn call(&mut self, proc: usize, id: RequestId, link: LinkId, op: Op) {
        let inc = self.procs[proc].inc;
        let Some(on) = self.procs[proc].link(link) else { return };
        let (endpoint, cluster, node, boots, broken) = (on.endpoint, on.cluster, on.node, on.boots, on.broken);
        let mut call = Call {
            proc,
            inc,
            link,
            endpoint,
            cluster,
            node,
            boots,
            id,
            op,
            sent: self.now,
            replies: true,
            error: None,
            refused: false,
            ghost: false,
        };
        if broken {
            return self.fail(&call, ErrorKind::Unreachable, "the connection is broken");
        }
        let mut wait = self.delay(proc);
        let odds = self.plan.odds;
        match self.routes[proc][endpoint] {
            Route::Refused => return self.fail(&call, ErrorKind::Unreachable, "connection refused"),
            Route::Silent(until) if self.rng.permille(500) => {
                // Sent again by the kernel when the way is open.
                wait += until.saturating_sub(self.now);
                call.ghost = self.rng.permille(300);
            }
            Route::Silent(_) => return,
            Route::Fine | Route::Foreign => {}
        }
        if self.chance(odds.lost_request) {
            self.procs[proc].hindered_at = self.now;
            return;
        }
        call.replies = !self.chance(odds.lost_reply);
        if self.chance(odds.late) {
            self.stats.late_requests += 1;
            call.ghost = self.rng.permille(700);
            wait += self.rng.below(3 * self.ttl());
        }
        if let Op::Grant { ttl_s, .. } = &mut call.op
            && self.chance(odds.short_grant)
        {
            self.stats.short_grants += 1;
            *ttl_s = (*ttl_s - 1).max(1);
        }
        if matches!(call.op, Op::Join { .. }) && self.chance(odds.stop_at_join) {
            call.ghost = true;
            wait += self.rng.below(2 * self.ttl());
            let cand = self.procs[proc].cands.iter().rposition(|cand| joins(&call.op, cand));
            if let Some(cand) = cand {
                let soon = self.rng.below(self.ttl() / 4);
                self.after(soon, Ev::Chore { proc, inc, chore: Chore::Stop { cand } });
            }
        }
        if self.chance(odds.error_applied) {
            self.stats.errors_applied += 1;
            let kinds = [
                ErrorKind::NoSpace,
                ErrorKind::Timeout,
                ErrorKind::NoQuorum,
                ErrorKind::Server,
                ErrorKind::Unreachable,
            ];
            call.error = Some(*self.rng.pick(&kinds));
        } else if self.chance(odds.error_refused) {
            let kinds = [ErrorKind::NoSpace, ErrorKind::Server, ErrorKind::NoQuorum, ErrorKind::Protocol];
            call.error = Some(*self.rng.pick(&kinds));
            call.refused = true;
        }
        if !call.replies || call.error.is_some() || wait > SECOND / 10 {
            self.procs[proc].hindered_at = self.now + wait;
        }
        self.after(wait, Ev::Exec(Box::new(call)));
    }

    /// A request arrives, perhaps for the second time of asking.
    pub(crate) fn exec(&mut self, mut call: Box<Call>) {
        let now = self.now;
        let node = &self.clusters[call.cluster].nodes[call.node];
        if node.boots != call.boots && !call.ghost {
            return self.fail(&call, ErrorKind::Unreachable, "connection reset by peer");
        }
        let (is_up, is_frozen) = (node.up, node.frozen);
        if !is_up {
            if call.ghost {
                return self.after(100 * MS, Ev::Exec(call));
            }
            return self.fail(&call, ErrorKind::Unreachable, "connection refused");
        }
        if call.refused && !is_frozen {
            let kind = call.error.unwrap_or(ErrorKind::Server);
            return self.fail(&call, kind, "refused");
        }
        let before = self.clusters[call.cluster].store.log.len();
        let stale = self.clusters[call.cluster].stale_renewals;
        let revision = self.clusters[call.cluster].store.revision;
        match self.clusters[call.cluster].perform(call.node, &call.op, now) {
            Outcome::Stuck => {
                let waited = now - call.sent;
                if !is_frozen && call.replies && (waited > 7 * SECOND || self.rng.permille(80)) {
                    let kind = if waited > SECOND { ErrorKind::Timeout } else { ErrorKind::NoQuorum };
                    self.fail(&call, kind, "etcdserver: no leader");
                    (call.replies, call.ghost) = (false, true);
                    if self.rng.permille(500) {
                        return;
                    }
                }
                if waited > 3 * self.ttl() + 8 * SECOND {
                    return;
                }
                let wait = self.rng.range(40 * MS, 200 * MS);
                self.after(wait, Ev::Exec(call));
            }
            Outcome::Done(result) => {
                if self.calm && now - call.sent > SECOND {
                    self.last_trouble = now;
                }
                note!(self, "   etcd n{}: p{} {} -> {}", call.node, call.proc, call.id.0, outcome(&result));
                if call.cluster == 0 {
                    self.performed(&call, &result, revision);
                }
                if self.clusters[call.cluster].stale_renewals > stale {
                    self.fooled(call.node);
                }
                let expired = matches!(call.op, Op::Renew { .. });
                let cause = if expired { Cause::Expiry } else { Cause::Client(call.proc) };
                self.committed(call.cluster, before, cause);
                self.answer(&call, result);
            }
        }
    }

    /// What follows from a request that was carried out in our cluster.
    fn performed(&mut self, call: &Call, result: &Result<Reply, Failure>, before: Revision) {
        if let (Op::Grant { lease, .. }, Ok(_)) = (&call.op, result)
            && let Some(granted) = self.clusters[0].store.leases.get(lease)
        {
            let (due, history) = (granted.expires, self.clusters[0].history);
            let jitter = self.rng.below(500 * MS);
            self.at(due + jitter, Ev::Expire { lease: *lease, history });
        }
        let changed = self.clusters[0].store.revision != before;
        if let (Op::Join { own, lease, .. }, true) = (&call.op, changed) {
            self.referee.joined(call.proc, call.inc, own, *lease, self.clusters[0].history);
        }
    }

    fn answer(&mut self, call: &Call, result: Result<Reply, Failure>) {
        if !call.replies {
            return;
        }
        let result = match call.error {
            Some(kind) => Err(Failure::new(kind, "an error that was applied")),
            None => result,
        };
        self.reply(call, result);
    }

    fn fail(&mut self, call: &Call, kind: ErrorKind, detail: &str) {
        if call.replies {
            self.reply(call, Err(Failure::new(kind, detail)));
        }
    }

    fn reply(&mut self, call: &Call, result: Result<Reply, Failure>) {
        let mut wait = self.delay(call.proc);
        match self.routes[call.proc][call.endpoint] {
            Route::Silent(until) if self.rng.permille(500) => wait += until.saturating_sub(self.now),
            Route::Silent(_) => return,
            _ => {}
        }
        let input = Box::new(Input::Reply { id: call.id, result });
        self.after(wait, Ev::Deliver { proc: call.proc, inc: call.inc, link: Some(call.link), input });
    }

    pub(crate) fn new_watch(&mut self, new: Box<NewWatch>) {
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
        if watcher.next <= self.clusters[cluster].store.compacted || self.clusters[cluster].denied {
            self.tell(
                &mut watcher,
                WatchNews::Canceled { reason: "mvcc: required revision has been compacted".into() },
            );
            self.stats.watch_cancels += 1;
            return;
        }
        let wanted = |change: &Change| change.at >= watcher.next && watcher.covers(&change.key);
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
            if watcher.pumping || !log.iter().any(|change| watcher.covers(&change.key)) {
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
            if watcher.covers(&change.key) {
                changes.push(change.clone());
            }
        }
        changes.reverse();
        if changes.first().is_some_and(|first| first.at <= self.clusters[cluster].store.compacted) {
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

    /// Sends news of a watch, in the order of this watch.
    fn tell(&mut self, watcher: &mut Watcher, news: WatchNews) {
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

/// Whether this is a join of this candidate.
fn joins(op: &Op, cand: &Cand) -> bool {
    matches!(op, Op::Join { prefix, .. } if *prefix == members_of(ELECTIONS[cand.election]))
}

impl Watcher {
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        self.from.as_slice() <= key && key < self.to.as_slice()
    }
}

/// A request in words.
pub(crate) fn words(op: &Op) -> String {
    match op {
        Op::Open { endpoint, .. } => format!("open endpoint {endpoint}"),
        Op::Close => "close".into(),
        Op::Grant { lease, ttl_s } => format!("grant {lease:x} for {ttl_s} s"),
        Op::Renew { lease } => format!("renew {lease:x}"),
        Op::Confirm { keys, .. } => format!("confirm {:?}", keys.iter().map(|key| text(key)).collect::<Vec<_>>()),
        Op::Revoke { lease } => format!("revoke {lease:x}"),
        Op::Join { own, .. } => format!("join {}", text(own)),
        Op::Look { own, up_to, .. } => format!("look for {} up to {up_to}", text(own)),
        Op::Leave { key, revision } => format!("leave {} of {revision}", text(key)),
        Op::Watch { watch, from, to, start } => {
            format!("watch {} [{}, {}) from {start}", watch.0, text(from), text(to).replace('\0', "+0"))
        }
        Op::Unwatch { watch } => format!("unwatch {}", watch.0),
    }
}

fn outcome(result: &Result<Reply, Failure>) -> String {
    match result {
        Ok(reply) => format!("rev {} term {} {}", reply.stamp.revision, reply.stamp.term, answer_words(&reply.answer)),
        Err(failure) => format!("{:?} {}", failure.kind, failure.detail),
    }
}

pub(crate) fn answer_words(answer: &etcd_leader::machine::Answer) -> String {
    use etcd_leader::machine::Answer;
    let seen_words = |seen: &etcd_leader::machine::Seen| {
        let list = |members: &[etcd_leader::member::Member]| {
            members.iter().map(|m| format!("{}@{}", text(&m.key), m.revision)).collect::<Vec<_>>().join(" ")
        };
        format!(
            "own {:?} latest [{}] first [{}]",
            seen.own.as_ref().map(|m| m.revision),
            list(&seen.latest),
            list(&seen.first)
        )
    };
    match answer {
        Answer::Confirmed { found } => {
            format!(
                "confirmed {:?}",
                found.iter().map(|m| m.as_ref().map(|m| (m.revision, m.lease))).collect::<Vec<_>>()
            )
        }
        Answer::Joined { created, seen } => format!("joined created={created} {}", seen_words(seen)),
        Answer::Looked(seen) => format!("looked {}", seen_words(seen)),
        other => format!("{other:?}"),
    }
}
