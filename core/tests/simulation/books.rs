//! What the referee knows of one crew from its requests and the replies it got: leases and how certain they are,
//! what it has seen of the store, what it has burnt. Kept apart from the machines' own books, and far simpler.

use std::time::Duration;

use etcd_leader::config::OnStoreReset;
use etcd_leader::error::ErrorKind;
use etcd_leader::machine::{
    Answer, CandidateId, Input, LinkId, Op, Reply, Report, Request, RequestId, WatchId, WatchNews, member_key,
    members_of,
};
use etcd_leader::member::{LeaseId, Revision, Standing};
use etcd_leader::time::Time;

use crate::net::Route;
use crate::process::Chore;
use crate::referee::Claim;
use crate::rng::{MS, Ns, SECOND};
use crate::trace::{note, text};
use crate::world::{ELECTIONS, Ev, Mood, World};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Open(usize),
    Grant(LeaseId),
    Renew(LeaseId),
    Confirm,
    Join(usize),
    Look(usize),
    Other,
}

struct Sent {
    id: RequestId,
    link: LinkId,
    verb: Verb,
    at: Time,
    order: u64,
    known: Revision,
}

pub(crate) struct LeaseBook {
    pub(crate) id: LeaseId,
    first_sent: Time,
    ttl: Duration,
    /// Until when it is proven to live (law 1).
    certain: Time,
    revoked: bool,
    /// When it was last asked for or renewed, and for how long the server grants it each time.
    kept_at: Time,
    granted: Duration,
    /// In which cluster; a term that began in the old one may run out there.
    cluster: u64,
}

struct Renewed {
    lease: LeaseId,
    link: LinkId,
    sent: Time,
    ttl: Duration,
    term: u64,
    order: u64,
}

#[derive(Default)]
pub(crate) struct Books {
    calls: Vec<Sent>,
    pub(crate) leases: Vec<LeaseBook>,
    renewed: Option<Renewed>,
    order: u64,
    /// The highest revision seen.
    known: Revision,
    cluster: Option<u64>,
    /// The store went back: nobody of this crew leads before this.
    quiet_until: Option<Time>,
    /// When it learned of that, in true time.
    went_back: Option<Ns>,
    /// Endpoints asked, as bits.
    asked: u64,
    pub(crate) has_joined: bool,
    /// Keys and revisions for which a leave was sent.
    burnt: Vec<(Vec<u8>, Revision)>,
    /// Entries of its own that its joins have shown it.
    places: Vec<(Vec<u8>, Revision)>,
    watches: Vec<(WatchId, LinkId, Vec<u8>, Vec<u8>)>,
}

/// Who leads by its watch must have looked by then (law 2).
pub(crate) struct Agreement {
    proc: usize,
    inc: u32,
    cand: usize,
    token: Revision,
    since: Ns,
}

/// How late a timer may be.
const TIMER: Ns = 10 * MS;

impl Books {
    /// Whether this key is one of this crew, of whatever election.
    pub(crate) fn owns(&self, key: &[u8]) -> bool {
        let suffix = key.rsplit(|byte| *byte == b'/').next().unwrap_or(key);
        std::str::from_utf8(suffix)
            .ok()
            .and_then(|hex| i64::from_str_radix(hex, 16).ok())
            .is_some_and(|id| self.leases.iter().any(|lease| lease.id == id && format!("{id:x}").as_bytes() == suffix))
    }

    pub(crate) fn has_burnt(&self, key: &[u8], revision: Revision) -> bool {
        self.burnt.iter().any(|burnt| burnt.0 == key && burnt.1 == revision)
    }

    fn lease(&mut self, id: LeaseId) -> Option<&mut LeaseBook> {
        self.leases.iter_mut().find(|lease| lease.id == id)
    }
}

impl World {
    /// A crew has sent a request.
    pub(crate) fn requested(&mut self, proc: usize, request: &Request) {
        let now = self.local(proc);
        let all = (1u64 << self.routes[proc].len()) - 1;
        let books = &mut self.procs[proc].books;
        let mut wrong = None;
        let verb = match &request.op {
            Op::Open { endpoint, .. } => {
                books.asked |= 1 << endpoint;
                Verb::Open(*endpoint)
            }
            Op::Close => {
                books.calls.retain(|call| call.link != request.link);
                books.watches.retain(|watch| watch.1 != request.link);
                return;
            }
            Op::Grant { lease, ttl_s } => {
                match books.lease(*lease) {
                    Some(known) if known.revoked => {
                        wrong = Some((8, format!("lease {lease:x} granted again after a revoke")))
                    }
                    Some(_) => {}
                    None => {
                        let ttl = Duration::from_secs(u64::from(*ttl_s));
                        let certain = Time::ZERO;
                        books.leases.push(LeaseBook {
                            id: *lease,
                            first_sent: now,
                            ttl,
                            certain,
                            revoked: false,
                            kept_at: now,
                            granted: ttl,
                            cluster: 0,
                        });
                        if !self.referee.all_leases.insert(*lease) {
                            wrong = Some((8, format!("lease id {lease:x} was used before")));
                        }
                    }
                }
                Verb::Grant(*lease)
            }
            Op::Renew { lease } => {
                self.stats.renewals += 1;
                self.referee.frugal.renewals += 1;
                if books.calls.iter().any(|call| call.verb == Verb::Renew(*lease) && call.link == request.link) {
                    wrong = Some((1, "two keepalives in flight on one link".into()));
                }
                if let Some(lease) = books.lease(*lease) {
                    lease.kept_at = now;
                }
                Verb::Renew(*lease)
            }
            Op::Confirm { .. } => {
                self.referee.frugal.confirms += 1;
                Verb::Confirm
            }
            Op::Join { lease, own, prefix, .. } => {
                self.stats.joins += 1;
                self.stats.rejoins += u64::from(books.places.iter().any(|place| place.0 == *own));
                if books.lease(*lease).is_none_or(|known| known.revoked || known.certain == Time::ZERO) {
                    wrong = Some((8, format!("join under lease {lease:x}, which was revoked or never granted")));
                }
                if books.asked != all {
                    wrong = Some((10, "joined before all endpoints were asked".into()));
                }
                Verb::Join(election_of(prefix))
            }
            Op::Look { prefix, .. } => {
                self.stats.looks += 1;
                if let Err(what) = self.referee.frugal.looked(proc, prefix, self.now) {
                    wrong = Some((11, what));
                }
                Verb::Look(election_of(prefix))
            }
            Op::Leave { key, revision } => {
                self.stats.leaves += 1;
                books.burnt.push((key.clone(), *revision));
                let is_current = |lease: &LeaseBook| key.ends_with(format!("{:x}", lease.id).as_bytes());
                self.stats.left_behind_cleared += u64::from(!books.leases.last().is_some_and(is_current));
                self.stats.ghosts_deleted +=
                    u64::from(!books.places.iter().any(|place| place.1 == *revision && place.0 == *key));
                Verb::Other
            }
            Op::Revoke { lease } => {
                self.stats.revokes += 1;
                if let Some(lease) = books.lease(*lease) {
                    lease.revoked = true;
                }
                Verb::Other
            }
            Op::Watch { watch, from, to, .. } => {
                books.watches.push((*watch, request.link, from.clone(), to.clone()));
                return;
            }
            Op::Unwatch { watch } => {
                books.watches.retain(|known| known.0 != *watch);
                return;
            }
        };
        books.order += 1;
        let (order, known) = (books.order, books.known);
        books.calls.push(Sent { id: request.id, link: request.link, verb, at: now, order, known });
        self.referee.leaving(proc, &request.op, &self.clusters[0].store, self.now);
        if let Some((law, what)) = wrong {
            self.referee.accuse(law, format!("p{proc}: {what}"));
        }
    }

    /// A crew is about to be told something.
    pub(crate) fn before(&mut self, proc: usize, input: &Input) {
        let now = self.local(proc);
        match input {
            Input::Reply { id, result } => {
                let books = &mut self.procs[proc].books;
                let Some(at) = books.calls.iter().position(|call| call.id == *id) else { return };
                let call = books.calls.remove(at);
                if books.calls.iter().any(|other| other.link == call.link && other.order < call.order) {
                    self.stats.replies_overtaken += 1;
                }
                if let Ok(reply) = result {
                    self.replied(proc, &call, reply, now);
                }
            }
            Input::Watch { watch, news: WatchNews::Changes { changes }, .. } => {
                let books = &mut self.procs[proc].books;
                let range = books.watches.iter().find(|known| known.0 == *watch);
                self.procs[proc].range = range.map(|known| (known.2.clone(), known.3.clone()));
                // What a watch says that was ended is not heard.
                let is_watched = self.procs[proc].range.is_some();
                let books = &mut self.procs[proc].books;
                if let Some(last) = changes.last().filter(|_| is_watched) {
                    books.known = books.known.max(last.at);
                }
                self.referee.frugal.heard(proc);
            }
            _ => {}
        }
    }

    fn replied(&mut self, proc: usize, call: &Sent, reply: &Reply, now: Time) {
        let quarantine = self.settings.ttl() + self.settings.margin;
        let ours = self.clusters[0].id;
        let books = &mut self.procs[proc].books;
        let stamp = reply.stamp;
        // Not at the first word of it: the crew may be asking all endpoints, and choose another.
        if books.cluster.is_none() && matches!(call.verb, Verb::Grant(_)) {
            books.cluster = Some(stamp.cluster);
        }
        if books.cluster.is_some_and(|known| known != stamp.cluster) {
            if stamp.cluster != ours {
                self.stats.foreign_replies += 1;
                return;
            }
            // The cluster was built anew: the quarantine cannot begin before the first word of it.
            (books.cluster, books.known) = (Some(ours), stamp.revision);
            (books.quiet_until, books.went_back) = (Some(now + quarantine), Some(self.now));
            self.stats.quarantines += 1;
            self.referee.lost_history(proc);
        }
        if !matches!(reply.answer, Answer::Renewed { .. }) {
            if stamp.revision < call.known {
                let text = format!(
                    "p{proc}: the store went back from {} to {}: quiet for {quarantine:?}",
                    call.known, stamp.revision
                );
                if self.trace.on {
                    self.trace.push(self.now, text);
                }
                (books.quiet_until, books.went_back) = (Some(now + quarantine), Some(self.now));
                books.known = stamp.revision;
                self.stats.quarantines += 1;
                self.referee.lost_history(proc);
                if self.clusters[0].history == 0 {
                    let text = format!("p{proc}: the model went back from {} to {}", call.known, stamp.revision);
                    self.referee.accuse(0, text);
                    return;
                }
            }
            // What an endpoint says that is asked but not chosen need not count.
            if !matches!(call.verb, Verb::Open(_)) {
                books.known = books.known.max(stamp.revision);
            }
        }
        match (call.verb, &reply.answer) {
            (Verb::Grant(id), Answer::Granted { ttl_s }) => {
                if let Some(lease) = books.lease(id) {
                    lease.granted = Duration::from_secs(*ttl_s as u64);
                    lease.ttl = lease.ttl.min(lease.granted);
                    lease.certain = lease.first_sent + lease.ttl;
                    lease.cluster = stamp.cluster;
                }
            }
            (Verb::Renew(id), Answer::Renewed { ttl_s }) if *ttl_s > 0 => {
                let ttl = Duration::from_secs(*ttl_s as u64);
                let (link, sent, term, order) = (call.link, call.at, stamp.term, books.order);
                books.renewed = Some(Renewed { lease: id, link, sent, ttl, term, order });
            }
            (Verb::Confirm, Answer::Confirmed { .. }) => {
                let Some(renewed) = &books.renewed else { return };
                if renewed.link == call.link && call.order > renewed.order {
                    if renewed.term == stamp.term {
                        let (id, sent, ttl) = (renewed.lease, renewed.sent, renewed.ttl);
                        if let Some(lease) = books.lease(id) {
                            lease.certain = lease.certain.max(sent + lease.ttl.min(ttl));
                        }
                    } else {
                        self.stats.refused_by_term += 1;
                    }
                }
            }
            (Verb::Look(election), Answer::Looked(_)) => self.has_looked(proc, election),
            (Verb::Join(election), Answer::Joined { created, seen }) => {
                books.has_joined = true;
                self.stats.else_joins += u64::from(!created);
                if let Some(own) = &seen.own {
                    self.stats.burnt_refused +=
                        u64::from(books.burnt.iter().any(|b| b.0 == own.key && b.1 == own.revision));
                    books.places.push((own.key.clone(), own.revision));
                }
                if *created {
                    self.has_looked(proc, election);
                }
            }
            _ => {}
        }
    }

    /// When this process last had not the whole cluster at its service.
    fn hindered_at(&self, proc: usize) -> Ns {
        let cluster = &self.clusters[0];
        let is_unwell = cluster.denied
            || !cluster.serves()
            || cluster.nodes.iter().any(|node| !node.up || node.frozen || node.cut || node.lag > 0);
        let is_cut_off = self.routes[proc].iter().any(|route| *route != Route::Fine);
        let now = if is_unwell || is_cut_off { self.now } else { 0 };
        let this = &self.procs[proc];
        now.max(self.unwell_at).max(this.hindered_at).max(this.slow_until)
    }

    /// A crew says that nothing of it is left (law 8). That must be so, unless it could not reach the cluster and has
    /// waited for as long as the server keeps its leases: then what is left must go by itself, and nobody may renew it.
    pub(crate) fn judge_over(&mut self, proc: usize) {
        let (now, history) = (self.local(proc), self.clusters[0].history);
        let (inc, hindered_at) = (self.procs[proc].inc, self.hindered_at(proc));
        let (books, store) = (&self.procs[proc].books, &self.clusters[0].store);
        let (mut wrong, mut has_left) = (None, false);
        for member in store.entries.values().filter(|member| history == 0 && books.owns(&member.key)) {
            let Some(lease) =
                books.leases.iter().find(|lease| member.key.ends_with(format!("{:x}", lease.id).as_bytes()))
            else {
                continue;
            };
            has_left = true;
            let what = format!("p{proc} is over, but there is {}@{}", text(&member.key), member.revision);
            let kept = lease.granted * 2;
            if now < lease.kept_at + kept {
                wrong = Some(format!("{what}, which it gave up after {:?}", now.since(lease.kept_at)));
            } else if self.now > hindered_at + kept.as_nanos() as Ns {
                wrong = Some(format!("{what}, and nothing stood in its way since {} s", hindered_at / SECOND));
            }
        }
        let left =
            books.leases.iter().filter(|lease| store.leases.contains_key(&lease.id)).map(|lease| lease.id).collect();
        self.stats.overs_unreached += u64::from(has_left);
        self.referee.crew_over(proc, inc, left, history);
        if let Some(what) = wrong {
            self.referee.accuse(8, what);
        }
        if self.calm {
            self.tidy_after(proc);
        }
    }

    fn has_looked(&mut self, proc: usize, election: usize) {
        let now = self.now;
        let ours = self.procs[proc].cands.iter_mut().filter(|cand| cand.election == election);
        ours.for_each(|cand| cand.looked_at = now);
    }

    /// After (b) a look follows at once; if it does not come in time, the leader steps down.
    pub(crate) fn agree(&mut self, check: Agreement) {
        let Agreement { proc, inc, cand, token, since } = check;
        let this = &self.procs[proc];
        if this.inc != inc || this.crew.is_none() {
            return;
        }
        if this.frozen {
            return self.after(50 * MS, Ev::Agree(check));
        }
        let one = &this.cands[cand];
        let leads = matches!(one.report.standing, Standing::Leading { token: ours, .. } if ours == token);
        if leads && one.looked_at < since {
            self.referee
                .accuse(2, format!("p{proc} leads with token {token} by its watch, and no look has confirmed it"));
        }
    }

    /// A crew's report has changed while it handled `cause`.
    pub(crate) fn reported(&mut self, proc: usize, id: CandidateId, report: Report, cause: &Input) {
        let Some(cand) = self.procs[proc].cands.iter().position(|cand| cand.id == id) else { return };
        note!(self, "p{proc} report {cand}: {}", report_words(&report));
        let now = self.local(proc);
        let one = &mut self.procs[proc].cands[cand];
        let old = std::mem::replace(&mut one.report, report.clone());
        one.user.set(report.clone());
        let (election, stopped, inc) = (one.election, one.stopped, self.procs[proc].inc);
        if let (None, Some(fatal)) = (&old.fatal, &report.fatal) {
            self.stats.fatal += 1;
            let may_be = if fatal.kind() == ErrorKind::StoreReset {
                self.stats.stopped_by_reset += 1;
                self.settings.on_store_reset == OnStoreReset::Stop && self.clusters[0].history > 0
            } else {
                let may_happen = self.strangers || self.plan.may_be_fatal();
                !self.procs[proc].books.has_joined && fatal.kind().is_fatal_before_join() && may_happen
            };
            if !may_be {
                self.referee.accuse(7, format!("p{proc} gave up: {fatal:?}"));
            }
            // An operator looks at it and starts it again.
            if fatal.kind() == ErrorKind::StoreReset && !stopped {
                self.last_trouble = self.now;
                let wait = self.rng.below(2 * self.ttl());
                self.after(wait, Ev::Chore { proc, inc, chore: Chore::Again { election } });
            }
        }
        let is_mismatch =
            |report: &Report| report.trouble.as_ref().is_some_and(|t| t.error.kind() == ErrorKind::ClusterMismatch);
        self.stats.put_aside += u64::from(is_mismatch(&report) && !is_mismatch(&old));
        let led = matches!(old.standing, Standing::Leading { .. });
        let Standing::Leading { token, until } = report.standing else {
            if led {
                self.procs[proc].cands[cand].lost_at = self.now;
                self.stats.losses += 1;
                let why = report.lost.as_ref().map(|lost| lost.kind());
                self.stats.lost_by_deadline += u64::from(why == Some(ErrorKind::Deadline));
                if why.is_none() {
                    self.referee.accuse(5, format!("p{proc} lost the lead without a reason"));
                }
            }
            self.referee.renounced(proc, inc, cand);
            if report.released && !old.released {
                let prefix = members_of(ELECTIONS[election]);
                let store = &self.clusters[0].store;
                let left = store.under(&prefix).find(|member| {
                    self.procs[proc].books.owns(&member.key)
                        && member.name == self.procs[proc].cands[cand].name.as_bytes()
                });
                if let Some(left) = left.filter(|_| self.clusters[0].history == 0) {
                    let what = format!(
                        "p{proc} says that its key is gone, but there is {}@{}",
                        text(&left.key),
                        left.revision
                    );
                    self.referee.accuse(8, what);
                }
            }
            return;
        };
        if stopped {
            self.referee.accuse(5, format!("p{proc} claims {} after its stop", ELECTIONS[election]));
        }
        let prefix = members_of(ELECTIONS[election]);
        let books = &self.procs[proc].books;
        let store = &self.clusters[0].store;
        let key = books.places.iter().rev().find(|place| place.1 == token && place.0.starts_with(&prefix));
        let key = key.map(|place| place.0.clone());
        let lease =
            key.as_ref().and_then(|key| books.leases.iter().rev().find(|lease| member_key(&prefix, lease.id) == *key));
        let (mut wrong, mut agree) = (None, false);
        if key.is_none() {
            wrong = Some((2, format!("claims token {token}, which no join gave it")));
        }
        if let Some(lease) = lease {
            if until + self.settings.margin > lease.certain {
                wrong = Some((
                    1,
                    format!(
                        "claims until {until:?}, but its lease is certain until {:?} less the margin",
                        lease.certain
                    ),
                ));
            }
            if lease.revoked {
                wrong = Some((8, "claims under a lease for which it sent a revoke".into()));
            }
        }
        if books.burnt.iter().any(|(burnt, revision)| *revision == token && Some(burnt) == key.as_ref()) {
            wrong = Some((8, format!("claims token {token}, for which it sent a leave")));
        }
        // What is left of a term may run out meanwhile; it must not grow.
        let grows = !matches!(old.standing, Standing::Leading { token: t, until: u } if t == token && until <= u);
        let is_here = lease.is_none_or(|lease| lease.cluster == self.clusters[0].id);
        if grows && is_here && books.quiet_until.is_some_and(|quiet| now < quiet) {
            wrong = Some((4, format!("claims before {:?}, when the store had gone back", books.quiet_until)));
        }
        let range = self.procs[proc].range.as_ref();
        let is_new = !matches!(old.standing, Standing::Leading { token: before, .. } if before == token);
        let by_watch = matches!(cause, Input::Watch { news: WatchNews::Changes { changes }, .. }
            if changes.iter().any(|change| change.key.starts_with(&prefix)));
        if let (true, Input::Watch { watch, news: WatchNews::Changes { changes }, .. }, Some(key)) =
            (is_new && by_watch, cause, &key)
        {
            self.stats.takeovers_by_watch += 1;
            agree = true;
            // A key that was created anew has been deleted before.
            let ends =
                |change: &etcd_leader::machine::Change| change.now.as_ref().is_none_or(|m| m.revision == change.at);
            let deletes_other = changes.iter().any(|change| ends(change) && change.key != *key);
            let deletes_own = changes.iter().any(|change| change.now.is_none() && change.key == *key);
            let is_range = range.is_some_and(|(from, to)| {
                from <= key && key < to && changes.iter().all(|c| *from <= c.key && c.key < *to)
            });
            if !deletes_other || deletes_own || !is_range {
                wrong = Some((2, format!("leads by watch {} that does not prove it", watch.0)));
            }
        } else if is_new {
            self.stats.takeovers_by_look += 1;
            let one = &self.procs[proc].cands[cand];
            if one.looked_at < one.lost_at {
                wrong = Some((2, format!("leads again with token {token}, and has not looked since it did not")));
            }
        }
        let until_truly = self.procs[proc].clock.truly(until);
        let unaware = self.referee.last_reset.is_some_and(|reset| books.went_back.is_none_or(|known| known < reset));
        let claim = Claim { proc, inc, cand, election, token, until: until_truly, broken: None, unaware };
        if let Some((law, what)) = wrong {
            self.referee.accuse(law, format!("p{proc} {what}"));
        }
        if is_new {
            let before = self.procs[proc].cands[cand].last_token.replace(token);
            let is_resumed = before == Some(token);
            self.stats.resumed += u64::from(is_resumed);
            self.stats.leader_changes += u64::from(!is_resumed);
        }
        let truth = key.is_some_and(|key| store.first(&prefix).is_some_and(|f| f.key == key && f.revision == token));
        let history = self.clusters[0].history;
        if !stopped {
            self.referee.claims(claim, truth, history, self.now);
        }
        if agree {
            let by = self.procs[proc].clock.truly(now + self.settings.attempt) + TIMER;
            let since = self.now;
            self.at(by, Ev::Agree(Agreement { proc, inc, cand, token, since }));
        }
        if is_new
            && self.mood == Mood::Quiet
            && let Err(what) = self.referee.frugal.elected(proc, election, by_watch, self.now)
        {
            self.referee.accuse(11, what);
        }
    }
}

fn election_of(prefix: &[u8]) -> usize {
    ELECTIONS.iter().position(|key| members_of(key) == prefix).unwrap_or(0)
}

fn report_words(report: &Report) -> String {
    let mut words = format!("{:?}", report.standing);
    for (name, error) in [("lost", &report.lost), ("fatal", &report.fatal)] {
        if let Some(error) = error {
            words += &format!(" {name}: {error:?}");
        }
    }
    if let Some(trouble) = &report.trouble {
        words += &format!(" trouble: {:?} at {:?}", trouble.error, trouble.endpoint);
    }
    if report.released {
        words += " released";
    }
    words
}
