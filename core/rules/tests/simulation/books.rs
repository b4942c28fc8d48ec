//! The books of one crew hold what the referee knows from its requests and the replies: leases and how certain they are, the
//! states of the store that it has seen, the entries that it has burnt. They are kept apart from the machines' own books, and far simpler.

mod answers;

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_leader_rules::config::Api;
use etcd_leader_rules::machine::{LinkId, Op, Request, RequestId, WatchId, Watched, members_of};
use etcd_leader_rules::member::{LeaseId, Revision};
use etcd_leader_rules::time::Time;

use crate::ledger::Ledger;
use crate::rng::Ns;
use crate::world::{ELECTIONS, World};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Open(usize),
    Grant(LeaseId),
    Renew(LeaseId),
    Confirm,
    Join(usize),
    Post,
    Look(usize),
    Check,
    Move(LeaseId),
    Other,
}

struct Sent {
    id: RequestId,
    link: LinkId,
    verb: Verb,
    at: Time,
    order: u64,
    known: Revision,
    /// Sent before the wall clock jumped: it proves nothing of how old the lease is.
    is_void: bool,
}

pub(crate) struct LeaseBook {
    pub(crate) id: LeaseId,
    first_sent: Time,
    ttl: Duration,
    /// Until when it is proven to live (law 1).
    pub(crate) certain: Time,
    pub(crate) revoked: bool,
    /// When it was last asked for or renewed, and for how long the server grants it each time.
    pub(crate) kept_at: Time,
    pub(crate) granted: Duration,
    /// In which cluster; a term that began in the old one may run out there.
    pub(crate) cluster: u64,
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
    /// The newest that a watch has told of each election.
    pub(crate) heard: [Revision; ELECTIONS.len()],
    /// The highest revision seen.
    known: Revision,
    cluster: Option<u64>,
    /// The store went back: nobody of this crew leads before this.
    pub(crate) quiet_until: Option<Time>,
    /// When it learned of that, in true time.
    pub(crate) went_back: Option<Ns>,
    /// Endpoints asked, as bits.
    asked: u64,
    pub(crate) has_joined: bool,
    /// Keys and revisions for which a leave was sent.
    pub(crate) burnt: Vec<(Vec<u8>, Revision)>,
    /// Entries of its own that its joins have shown it.
    pub(crate) places: Vec<(Vec<u8>, Revision)>,
    /// Entries that hang on another lease than the one that they are named after, and moves under way.
    moved: BTreeMap<Vec<u8>, (LeaseId, Revision)>,
    moves: Vec<(RequestId, Vec<u8>)>,
    /// The leases that a copy of this process has, too.
    pub(crate) copied: Vec<LeaseId>,
    watches: Vec<(WatchId, LinkId, Watched)>,
    /// v2.
    pub(crate) ledger: Ledger,
    /// v2: the key that each refresh under way is for, and the leader that it shows if it is visible.
    pub(crate) refreshes: Vec<(RequestId, Vec<u8>, Option<Revision>)>,
}

impl Books {
    /// The process was paused, and its clock stood still: all that happened before is longer ago than its clock shows.
    pub(crate) fn stood_still(&mut self, pause: Duration) {
        // A lease that was granted stays one.
        let back = |time: Time| if time > Time::ZERO { (time - pause).max(Time::from_nanos(1)) } else { time };
        for lease in &mut self.leases {
            (lease.first_sent, lease.certain, lease.kept_at) =
                (back(lease.first_sent), back(lease.certain), back(lease.kept_at));
        }
        self.calls.iter_mut().for_each(|call| call.at = back(call.at));
        self.renewed.iter_mut().for_each(|renewed| renewed.sent = back(renewed.sent));
        self.ledger.stood_still(pause, back);
    }

    /// Whether this key is one of this crew, of whatever election.
    pub(crate) fn owns(&self, key: &[u8]) -> bool {
        self.lease_of(key).is_some()
    }

    /// The lease of this crew that a key is named after.
    pub(crate) fn lease_of(&self, key: &[u8]) -> Option<LeaseId> {
        let suffix = key.rsplit(|byte| *byte == b'/').next().unwrap_or(key);
        let id = std::str::from_utf8(suffix).ok().and_then(|hex| i64::from_str_radix(hex, 16).ok())?;
        let is_ours = format!("{id:x}").as_bytes() == suffix && self.leases.iter().any(|lease| lease.id == id);
        is_ours.then_some(id)
    }

    /// The lease that an entry of this crew hangs on.
    pub(crate) fn hangs_on(&self, key: &[u8]) -> Option<LeaseId> {
        self.moved.get(key).map(|(lease, _)| *lease).or_else(|| self.lease_of(key))
    }

    /// Whether a join has shown this entry, and no leave was sent for it.
    pub(crate) fn holds(&self, key: &[u8], revision: Revision) -> bool {
        let is_it = |other: &(Vec<u8>, Revision)| other.0 == key && other.1 == revision;
        self.places.iter().any(is_it) && !self.burnt.iter().any(is_it)
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
            Op::Check { .. } => {
                self.stats.checks += 1;
                Verb::Check
            }
            Op::ListKeys { .. } => Verb::Other,
            Op::Join { lease, own, prefix, .. } => {
                self.stats.joins += 1;
                self.referee.frugal.joins(proc);
                self.stats.rejoins += u64::from(books.places.iter().any(|place| place.0 == *own));
                if books.lease(*lease).is_none_or(|known| known.revoked || known.certain == Time::ZERO) {
                    wrong = Some((8, format!("join under lease {lease:x}, which was revoked or never granted")));
                }
                if books.asked != all {
                    wrong = Some((10, "joined before all endpoints were asked".into()));
                }
                Verb::Join(election_of(prefix))
            }
            Op::Touch { key, lease, .. } if key.ends_with(format!("{lease:x}").as_bytes()) => {
                self.stats.touches += 1;
                Verb::Other
            }
            // On another lease than the one that it is named after.
            Op::Touch { key, lease, .. } => {
                if books.lease(*lease).is_none_or(|known| known.revoked || known.certain == Time::ZERO) {
                    wrong = Some((8, format!("a move to lease {lease:x}, which was revoked or never granted")));
                }
                books.moves.push((request.id, key.clone()));
                Verb::Move(*lease)
            }
            Op::Look { prefix, .. } => {
                self.stats.looks += 1;
                self.referee.frugal.looks += 1;
                if let Err(what) = self.referee.frugal.looked(proc, prefix, self.now) {
                    wrong = Some((11, what));
                }
                Verb::Look(election_of(prefix))
            }
            Op::Post { .. } => {
                self.stats.joins += 1;
                self.referee.frugal.joins(proc);
                self.stats.rejoins += u64::from(books.ledger.all().next().is_some());
                if books.asked != all {
                    wrong = Some((10, "joined before all endpoints were asked".into()));
                }
                self.referee.frugal.calls += 1;
                Verb::Post
            }
            Op::Refresh { key, .. } => {
                match self.asks_to_refresh(proc, request) {
                    Ok(shows) => self.procs[proc].books.refreshes.push((request.id, key.clone(), shows)),
                    Err(what) => wrong = Some(what),
                }
                Verb::Other
            }
            Op::Leave { key, revision } | Op::Withdraw { key, revision, .. } => {
                self.stats.leaves += 1;
                books.burnt.push((key.clone(), *revision));
                let is_v3 = self.timings.api == Api::V3;
                let is_current = |lease: &LeaseBook| key.ends_with(format!("{:x}", lease.id).as_bytes());
                self.stats.left_behind_cleared += u64::from(is_v3 && !books.leases.last().is_some_and(is_current));
                self.stats.ghosts_deleted +=
                    u64::from(is_v3 && !books.places.iter().any(|place| place.1 == *revision && place.0 == *key));
                Verb::Other
            }
            Op::Revoke { lease } => {
                self.stats.revokes += 1;
                if let Some(lease) = books.lease(*lease) {
                    lease.revoked = true;
                }
                Verb::Other
            }
            Op::Watch { watch, range } => {
                books.watches.push((*watch, request.link, range.clone()));
                let (at, checked_at) = (books.ledger.looked_at, &books.ledger.checked_at);
                let begins_after = |at: &Revision| range.start == Some(at + 1);
                let has_seen = begins_after(&at) || checked_at.iter().any(begins_after);
                if self.is_v2() && !has_seen {
                    self.referee.accuse(3, format!("p{proc}: watches from {:?}, and looked at {at}", range.start));
                }
                return;
            }
            Op::Unwatch { watch } => {
                books.watches.retain(|known| known.0 != *watch);
                return;
            }
        };
        let books = &mut self.procs[proc].books;
        books.order += 1;
        let (order, known) = (books.order, books.known);
        books.calls.push(Sent { id: request.id, link: request.link, verb, at: now, order, known, is_void: false });
        let is_copied = matches!(request.op, Op::Revoke { .. }) && !books.copied.is_empty();
        // A copied session gives all its leases up, whoever has still to hear: the copy may hold the newer ones, too.
        let is_certain = self.is_certain(proc, &request.op) && !is_copied && !self.is_spent(proc, &request.op);
        self.referee.leaving(proc, &request.op, is_certain, &self.clusters[0].store, self.now);
        if let Some((law, what)) = wrong {
            self.referee.accuse(law, format!("p{proc}: {what}"));
        }
    }
}

fn election_of(prefix: &[u8]) -> usize {
    ELECTIONS.iter().position(|key| members_of(key) == prefix).unwrap_or(0)
}
