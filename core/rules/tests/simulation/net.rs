//! Between processes and members: delays, losses, ghosts, and watches.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Failure, Input, LinkId, Op, Reply, Request, RequestId, members_of};
use etcd_leader_rules::member::Revision;

use crate::chores::Chore;
use crate::cluster::Outcome;
use crate::cluster_v2::Stage;
use crate::links::{Call, Link, Route};
use crate::process::Cand;
use crate::referee::Cause;
use crate::rng::{MS, Ns, SECOND, US};
use crate::trace::note;
use crate::watchers::{NewWatch, Watcher};
use crate::words::{outcome, words};
use crate::world::{ELECTIONS, Ev, Mood, World};

/// After so long without a sign of life the transport gives a connection up.
const TRANSPORT_PATIENCE: Ns = 8 * SECOND;

impl World {
    /// One way between a process and a member.
    pub(crate) fn delay(&mut self, proc: usize) -> Ns {
        let base = self.rng.range(80 * US, 1200 * US);
        let slow = if self.now < self.procs[proc].slow_until {
            self.rng.below(self.timings.attempt.as_nanos() as Ns * 3 / 2)
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
            Op::Open { endpoint, key, patience, is_proof } => {
                let (cluster, node) =
                    if self.routes[proc][endpoint] == Route::Foreign { (1, 0) } else { (0, endpoint) };
                let boots = self.clusters[cluster].nodes[node].boots;
                let open = Link {
                    id: link,
                    endpoint,
                    cluster,
                    node,
                    boots,
                    broken: false,
                    rerouted: None,
                    is_hung: false,
                    unwatched: Vec::new(),
                };
                self.procs[proc].links.push(open);
                self.call(proc, id, link, Op::Open { endpoint, key, patience, is_proof });
            }
            Op::Watch { watch, range } => {
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
                    next: range.start.unwrap_or(0),
                    range,
                    pumping: false,
                    last_sent,
                    is_created: false,
                    polls: 0,
                };
                let wait = self.delay(proc);
                self.after(wait, Ev::NewWatch(Box::new(NewWatch { watcher, boots })));
            }
            Op::Unwatch { watch } => {
                if let Some(on) = self.procs[proc].links.iter_mut().find(|on| on.id == link) {
                    on.unwatched.push(watch);
                }
                let wait = self.delay(proc);
                self.after(wait, Ev::Forget { proc, inc, link, watch: Some(watch) });
            }
            op => self.call(proc, id, link, op),
        }
    }

    fn call(&mut self, proc: usize, id: RequestId, link: LinkId, op: Op) {
        let inc = self.procs[proc].inc;
        let Some(on) = self.procs[proc].link(link) else { return };
        let (endpoint, broken, is_hung) = (on.endpoint, on.broken, on.is_hung);
        // Renewals are a stream, which stays where it is.
        let rerouted = on.rerouted.filter(|_| !matches!(op, Op::Renew { .. }));
        let (cluster, node) = rerouted.unwrap_or((on.cluster, on.node));
        let boots = rerouted.map_or(on.boots, |(cluster, node)| self.clusters[cluster].nodes[node].boots);
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
            is_second: false,
            stage: Stage::First,
            taken: None,
        };
        if broken {
            return self.fail(&call, ErrorKind::Unreachable, "the connection is broken");
        }
        if is_hung && rerouted.is_none() {
            return self.swallowed(&call);
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
            Route::Silent(_) => return self.swallowed(&call),
            Route::Fine | Route::Foreign => {}
        }
        if self.chance(odds.lost_request) {
            return self.swallowed(&call);
        }
        call.replies = !self.chance(odds.lost_reply);
        if !call.replies {
            self.swallowed(&call);
        }
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
        if matches!(call.op, Op::Join { .. } | Op::Post { .. }) && self.chance(odds.stop_at_join) {
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
            self.procs[proc].hindered_at = self.procs[proc].hindered_at.max(self.now + wait);
        }
        if self.is_v2() && self.chance(odds.repeated) {
            self.stats.repeated += 1;
            if let Op::Withdraw { key, revision, .. } = &call.op {
                self.referee.repeated(key, *revision);
            }
            let again = Call { replies: false, ghost: true, is_second: true, ..call.clone() };
            let first = self.rng.below(wait + 1);
            self.after(first, Ev::Exec(Box::new(again)));
        }
        self.after(wait, Ev::Exec(Box::new(call)));
    }

    /// A request or its answer is lost for good, so the connection is, too: the transport says so after a while. An
    /// opening fails, and so does a single request of v2, where the machines hear of no connections; a link of v3 breaks.
    pub(crate) fn swallowed(&mut self, call: &Call) {
        let wait = self.rng.range(TRANSPORT_PATIENCE / 2, TRANSPORT_PATIENCE);
        // An opening runs to its end, and there may be no other server.
        let is_open = matches!(call.op, Op::Open { .. });
        let hindered_at = if is_open { self.now + wait } else { self.now };
        self.procs[call.proc].hindered_at = self.procs[call.proc].hindered_at.max(hindered_at);
        let failure = Failure::new(ErrorKind::Unreachable, "nothing has arrived for too long");
        let (proc, inc, link) = (call.proc, call.inc, call.link);
        self.after(wait, Ev::Lost { proc, inc, link, id: call.id, failure: Box::new(failure), is_open });
    }

    /// The transport gives up a connection on which something was lost.
    pub(crate) fn lost(&mut self, proc: usize, inc: u32, link: LinkId, id: RequestId, failure: Failure, is_open: bool) {
        if self.procs[proc].inc != inc || self.procs[proc].link(link).is_none() {
            return;
        }
        self.procs[proc].hindered_at = self.now;
        self.last_trouble = self.last_trouble.max(self.now);
        if is_open || self.is_v2() {
            let input = Box::new(Input::Reply { id, result: Err(failure) });
            self.after(0, Ev::Deliver { proc, inc, link: Some(link), input });
        } else {
            self.break_links(proc, |on| on.id == link, failure.kind);
        }
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
        let owner = self.owner_of(&call);
        let done = if self.is_v2() {
            let node = &self.clusters[call.cluster].nodes[call.node];
            let taken = (self.clusters[call.cluster].wall(call.node, now), node.ahead);
            if !is_frozen {
                call.taken.get_or_insert(taken);
            }
            let taken = call.taken.unwrap_or(taken);
            self.clusters[call.cluster].perform_v2(call.node, &call.op, call.stage, taken, now)
        } else {
            self.clusters[call.cluster].perform(call.node, &call.op, now)
        };
        match done {
            Outcome::Next(stage) => self.go_on(call, stage),
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
                if waited > TRANSPORT_PATIENCE && is_frozen && !call.ghost {
                    // What is frozen answers no ping.
                    self.lost(
                        call.proc,
                        call.inc,
                        call.link,
                        call.id,
                        Failure::new(ErrorKind::Unreachable, "frozen"),
                        matches!(call.op, Op::Open { .. }),
                    );
                    call.ghost = true;
                }
                if waited > 3 * self.ttl() + 8 * SECOND {
                    if call.replies {
                        self.swallowed(&call);
                    }
                    return;
                }
                let wait = self.rng.range(40 * MS, 200 * MS).max(waited / 8);
                self.after(wait, Ev::Exec(call));
            }
            Outcome::Done(result) => {
                if self.calm && now - call.sent > SECOND {
                    self.last_trouble = now;
                }
                note!(self, "   etcd n{}: p{} {} -> {}", call.node, call.proc, call.id.0, outcome(&result));
                let mut cause = Cause::Client(call.proc);
                if call.cluster == 0 {
                    self.performed(&call, &result, revision);
                    if self.performed_v2(&call, &result, owner) {
                        cause = Cause::Tampering;
                    }
                }
                if self.clusters[call.cluster].stale_renewals > stale {
                    self.fooled(call.node);
                }
                let expired = matches!(call.op, Op::Renew { .. });
                let cause = if expired { Cause::Expiry } else { cause };
                self.committed(call.cluster, before, cause);
                self.answer(&call, result);
                if self.is_v2() {
                    self.put_over(&call);
                }
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
        if let (Op::Join { own, lease, .. }, true) = (&call.op, changed && !self.is_back(&call.op)) {
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
        if self.chance(self.plan.odds.slow_reply) {
            wait += self.rng.below(self.timings.attempt.as_nanos() as Ns);
        }
        match self.routes[call.proc][call.endpoint] {
            Route::Silent(until) if self.rng.permille(500) => wait += until.saturating_sub(self.now),
            Route::Silent(_) => return self.swallowed(call),
            _ => {}
        }
        let input = Box::new(Input::Reply { id: call.id, result });
        self.after(wait, Ev::Deliver { proc: call.proc, inc: call.inc, link: Some(call.link), input });
    }
}

/// Whether this is a join of this candidate.
fn joins(op: &Op, cand: &Cand) -> bool {
    matches!(op, Op::Join { prefix, .. } | Op::Post { prefix, .. } if *prefix == members_of(ELECTIONS[cand.election]))
}
