//! A model etcd cluster: members, raft leader and term, lessor, and what each request does when it is carried out.
//!
//! Not raft itself, but all that clients can see of it: a committed state; members that lag, freeze, restart or are
//! cut off; an old leader that does not know yet that it was replaced and goes on answering keepalives; leases that
//! begin anew with a new leader.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Answer, Failure, Op, Reply, Seen, Stamp};
use etcd_leader_rules::member::Revision;

use crate::cluster_v2::Stage;
use crate::rng::{Ns, SECOND};
use crate::store::{Lease, Store};
use crate::store_v2::Wall;

/// etcd raises shorter leases to this (one and a half election timeouts, rounded up), unless it is set up for slow networks.
pub(crate) const MIN_TTL_S: i64 = 2;

/// One member.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) up: bool,
    pub(crate) frozen: bool,
    /// Cut off from the other members (clients still reach it).
    pub(crate) cut: bool,
    /// It takes itself for the raft leader, rightly or not.
    pub(crate) believes: bool,
    pub(crate) term: u64,
    /// How far behind the committed state its own copy is, while it lags.
    pub(crate) lag: Ns,
    /// It has applied at least this.
    pub(crate) floor: Revision,
    /// How often it was started; connections do not outlive a start.
    pub(crate) boots: u32,
    /// How far its wall clock is ahead of true time.
    pub(crate) ahead: Wall,
}

impl Node {
    fn active(&self) -> bool {
        self.up && !self.frozen && !self.cut
    }
}

/// What became of a request that reached a member.
pub(crate) enum Outcome {
    /// It has been answered.
    Done(Result<Reply, Failure>),
    /// The member cannot serve it now: frozen, or without a quorum.
    Stuck,
    /// v2: another request follows.
    Next(Stage),
}

pub(crate) struct Cluster {
    pub(crate) id: u64,
    /// Counts wipes and restores: tokens are comparable within one history only.
    pub(crate) history: u32,
    pub(crate) store: Store,
    pub(crate) nodes: Vec<Node>,
    pub(crate) leader: Option<usize>,
    pub(crate) term: u64,
    /// When the store reached which revision, for the view of members that lag.
    pub(crate) past: Vec<(Ns, Revision)>,
    /// Nobody but an admin may do anything until this is over.
    pub(crate) denied: bool,
    /// Our user may not use the keys under this prefix.
    pub(crate) denied_prefix: Option<Vec<u8>>,
    /// Nor a lease on which one of them hangs: so since etcd 3.4.42, 3.5.28 and 3.6.9.
    pub(crate) guards_leases: bool,
    /// It raises shorter leases to this.
    pub(crate) min_ttl_s: i64,
    /// How many entries a join shows.
    pub(crate) join_reads: usize,
    /// How many keys one transaction may read.
    pub(crate) max_reads: usize,
    /// v2: we show a password, which is checked with each request but for the list of members.
    pub(crate) checks_passwords: bool,
    /// v2: a look counts each entry so often, so that a few candidates spread their requests as many do.
    pub(crate) each_counts: usize,
    /// v2: the key of the election holds a value.
    pub(crate) is_file: bool,
    /// Keepalives that a deposed leader answered.
    pub(crate) stale_renewals: u64,
}

impl Cluster {
    pub(crate) fn new(id: u64, members: usize) -> Cluster {
        let node = Node {
            up: true,
            frozen: false,
            cut: false,
            believes: false,
            term: 2,
            lag: 0,
            floor: 0,
            boots: 0,
            ahead: 0,
        };
        let mut nodes = vec![node; members];
        nodes[0].believes = true;
        let store = Store::empty();
        let past = vec![(0, store.revision)];
        Cluster {
            id,
            history: 0,
            store,
            nodes,
            leader: Some(0),
            term: 2,
            past,
            denied: false,
            denied_prefix: None,
            guards_leases: true,
            min_ttl_s: MIN_TTL_S,
            join_reads: 8,
            max_reads: usize::MAX,
            checks_passwords: false,
            each_counts: 1,
            is_file: false,
            stale_renewals: 0,
        }
    }

    pub(crate) fn has_quorum(&self) -> bool {
        self.nodes.iter().filter(|node| node.active()).count() * 2 > self.nodes.len()
    }

    /// Whether there is a leader that can commit.
    pub(crate) fn serves(&self) -> bool {
        self.has_quorum() && self.leader.is_some_and(|at| self.nodes[at].active())
    }

    /// Makes one of the active members the leader of a new term. Its lessor gives every lease its full time again.
    pub(crate) fn elect(&mut self, at: usize, now: Ns) {
        self.term += 1;
        self.leader = Some(at);
        for lease in self.store.leases.values_mut() {
            lease.expires = lease.expires.max(now + lease.ttl_s as u64 * SECOND);
        }
        self.settle();
    }

    /// Lets the members that can hear the leader know its term.
    pub(crate) fn settle(&mut self) {
        if !self.serves() {
            return;
        }
        for (at, node) in self.nodes.iter_mut().enumerate().filter(|(_, node)| node.active()) {
            node.term = self.term;
            node.believes = self.leader == Some(at);
        }
    }

    /// What this member's own copy of the store has reached.
    pub(crate) fn applied(&self, node: usize, now: Ns) -> Revision {
        let node = &self.nodes[node];
        if node.lag == 0 {
            return self.store.revision;
        }
        let then = now.saturating_sub(node.lag);
        let at = self.past.partition_point(|(time, _)| *time <= then);
        let old = if at == 0 { 1 } else { self.past[at - 1].1 };
        old.max(node.floor).min(self.store.revision)
    }

    /// Remembers when the store reached its revision.
    pub(crate) fn mark(&mut self, now: Ns) {
        if self.past.last().is_none_or(|(_, revision)| *revision != self.store.revision) {
            self.past.push((now, self.store.revision));
        }
    }

    fn stamp(&self, node: usize) -> Stamp {
        Stamp { cluster: self.id, revision: self.store.revision, term: self.nodes[node].term, clock_s: None }
    }

    /// Carries out a request at this member, at this moment, or says that it cannot.
    pub(crate) fn perform(&mut self, at: usize, op: &Op, now: Ns) -> Outcome {
        let node = &self.nodes[at];
        if !node.up {
            return Outcome::Done(Err(Failure::new(ErrorKind::Unreachable, "connection refused")));
        }
        if node.frozen {
            return Outcome::Stuck;
        }
        if self.denied || self.denies(op) {
            let refusal = Failure::new(ErrorKind::Denied, "etcdserver: permission denied");
            return Outcome::Done(Err(Failure { is_of_key: true, ..refusal }));
        }
        if let Op::Renew { lease } = op {
            return self.renew(at, *lease, now);
        }
        if !node.active() || !self.serves() {
            return Outcome::Stuck;
        }
        Outcome::Done(self.commit(at, op, now))
    }

    fn denies(&self, op: &Op) -> bool {
        let Some(prefix) = &self.denied_prefix else { return false };
        let is_under = |key: &[u8]| key.starts_with(prefix);
        match op {
            Op::Open { key, .. } => is_under(key),
            Op::Confirm { key, keys } if keys.is_empty() => is_under(key),
            Op::Confirm { keys, .. } | Op::Check { keys } => keys.iter().any(|key| is_under(key)),
            Op::Join { prefix, .. } | Op::Look { prefix, .. } => is_under(prefix),
            Op::Leave { key, .. } | Op::Touch { key, .. } => is_under(key),
            Op::Renew { lease } | Op::Revoke { lease } | Op::ListKeys { lease } => {
                self.guards_leases && self.store.under(prefix).any(|entry| entry.lease == *lease)
            }
            _ => false,
        }
    }

    /// A keepalive: answered by whoever takes itself for the leader. The header is filled before it is passed on.
    fn renew(&mut self, at: usize, id: i64, now: Ns) -> Outcome {
        let node = &self.nodes[at];
        let stamp = Stamp { revision: self.applied(at, now), ..self.stamp(at) };
        let known = |ttl_s| Outcome::Done(Ok(Reply { stamp, answer: Answer::Renewed { ttl_s } }));
        if node.believes && self.leader != Some(at) {
            // Deposed and unaware: its own copy of the lease is as alive as ever.
            self.stale_renewals += 1;
            return known(self.store.leases.get(&id).map_or(self.min_ttl_s, |lease| lease.ttl_s));
        }
        if self.leader != Some(at) && !(node.active() && self.serves()) {
            return Outcome::Stuck;
        }
        let serves = self.serves();
        match self.store.leases.get_mut(&id) {
            Some(lease) if lease.expires > now => {
                lease.expires = now + lease.ttl_s as u64 * SECOND;
                known(lease.ttl_s)
            }
            // The answer waits for the end of an expired lease to be committed.
            Some(_) if !serves => Outcome::Stuck,
            _ => {
                self.store.end_lease(id);
                known(0)
            }
        }
    }

    /// Everything that needs a quorum.
    fn commit(&mut self, at: usize, op: &Op, now: Ns) -> Result<Reply, Failure> {
        let store = &mut self.store;
        let answer = match op {
            Op::Open { .. } => Answer::Opened,
            Op::Grant { lease, ttl_s } => {
                let ttl_s = i64::from(*ttl_s).max(self.min_ttl_s);
                let expires = now + ttl_s as u64 * SECOND;
                if store.leases.contains_key(lease) {
                    return Err(Failure::new(ErrorKind::Server, "etcdserver: lease already exists"));
                }
                store.leases.insert(*lease, Lease { ttl_s, expires });
                Answer::Granted { ttl_s }
            }
            Op::Revoke { lease } => {
                store.end_lease(*lease);
                Answer::Revoked
            }
            Op::Confirm { keys, .. } | Op::Check { keys } if keys.len() > self.max_reads => {
                return Err(Failure::new(ErrorKind::Invalid, "etcdserver: too many operations in txn request"));
            }
            Op::Confirm { keys, .. } | Op::Check { keys } => {
                Answer::Confirmed { found: keys.iter().map(|key| store.entries.get(key).cloned()).collect() }
            }
            Op::ListKeys { lease } => {
                let on_it = store.entries.values().filter(|entry| entry.lease == *lease);
                Answer::Listed { keys: on_it.map(|entry| entry.key.clone()).collect() }
            }
            Op::Join { prefix, own, name, lease } => {
                let created = !store.entries.contains_key(own);
                if created {
                    if !store.leases.contains_key(lease) {
                        return Err(Failure::new(ErrorKind::LeaseLost, "etcdserver: requested lease not found"));
                    }
                    store.advance();
                    store.put(own, name, *lease);
                }
                let seen = store.seen(prefix, own, Revision::MAX, 2);
                let is_shown = !created || seen.count <= self.join_reads;
                let own = seen.own.clone();
                let seen = if is_shown { seen } else { Seen { own, count: seen.count, ..Seen::default() } };
                Answer::Joined { created, seen }
            }
            Op::Touch { key, name, revision, written, lease, shows, sign } => {
                let found = store.written(key);
                let touched = found.as_ref().is_some_and(|f| f.member.revision == *revision && f.at == *written);
                if touched {
                    if !store.leases.contains_key(lease) {
                        return Err(Failure::new(ErrorKind::LeaseLost, "etcdserver: requested lease not found"));
                    }
                    store.touch(key, name, *lease, [*shows, *sign]);
                }
                Answer::Touched { touched, found: found.filter(|_| !touched) }
            }
            Op::Look { prefix, own, up_to } => Answer::Looked(store.seen(prefix, own, *up_to, 2)),
            Op::Leave { key, revision } => {
                let was_there = store.entries.get(key).is_some_and(|entry| entry.revision == *revision);
                if was_there {
                    store.advance();
                    store.delete(key);
                }
                Answer::Left { was_there }
            }
            Op::Close
            | Op::Renew { .. }
            | Op::Watch { .. }
            | Op::Unwatch { .. }
            | Op::Post { .. }
            | Op::Refresh { .. }
            | Op::Withdraw { .. } => {
                unreachable!("not carried out here: {op:?}")
            }
        };
        // A member that answered has applied what it answered.
        self.nodes[at].floor = self.store.revision;
        self.mark(now);
        Ok(Reply { stamp: self.stamp(at), answer })
    }
}
