//! One etcd of API v3 as its clients see it: one linearizable order, leases, revisions, and the log that watches read. Its raft
//! leader never changes.

use std::collections::BTreeMap;

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Answer, Change, Failure, Op, Reply, Seen, Sign, Stamp, Watched, Written};
use etcd_leader_rules::member::{LeaseId, Member, Revision};

use crate::signs;
use crate::state::{Ns, SECOND};

/// A transaction that joins shows the entries if there are no more than these.
const JOIN_SHOWS: usize = 8;

/// A lease as the lessor holds it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Lease {
    ttl_s: i64,
    pub(crate) expires: Ns,
}

/// An entry, with its last write and how often it was written.
#[derive(Clone, Debug, Hash)]
struct Held {
    member: Member,
    written: Revision,
    version: u64,
    /// The last write says nothing.
    is_quiet: bool,
}

#[derive(Clone, Debug, Hash)]
pub(crate) struct Store {
    pub(crate) revision: Revision,
    entries: BTreeMap<Vec<u8>, Held>,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    log: Vec<Change>,
}

impl Store {
    pub(crate) fn empty() -> Store {
        Store { revision: 1, entries: BTreeMap::new(), leases: BTreeMap::new(), log: Vec::new() }
    }

    /// All entries, the leader's first.
    pub(crate) fn ranked(&self) -> Vec<&Member> {
        let mut all: Vec<&Member> = self.entries.values().map(|held| &held.member).collect();
        all.sort_by(|one, other| one.rank().cmp(&other.rank()));
        all
    }

    /// The changes from `next` on that a watch of this range is told.
    pub(crate) fn changes(&self, range: &Watched, next: Revision) -> Vec<Change> {
        let covers = |key: &[u8]| range.from.as_slice() <= key && key < range.to.as_slice();
        let wants =
            |change: &&Change| change.at >= next && covers(&change.key) && (change.now.is_some() || !range.puts_only);
        self.log.iter().filter(wants).cloned().collect()
    }

    /// Whether this lease has run out, though its end is not committed yet.
    pub(crate) fn is_due(&self, lease: LeaseId, now: Ns) -> bool {
        self.leases.get(&lease).is_some_and(|lease| lease.expires <= now)
    }

    /// Ends a lease and deletes all that hangs on it, in one revision.
    pub(crate) fn end(&mut self, lease: LeaseId) {
        self.leases.remove(&lease);
        let on_it = self.entries.values().filter(|held| held.member.lease == lease);
        let keys: Vec<Vec<u8>> = on_it.map(|held| held.member.key.clone()).collect();
        self.delete(&keys);
    }

    /// Deletes these keys in one revision.
    pub(crate) fn delete(&mut self, keys: &[Vec<u8>]) {
        if keys.is_empty() {
            return;
        }
        self.revision += 1;
        for key in keys {
            self.entries.remove(key);
            self.log.push(Change { at: self.revision, key: key.clone(), now: None, sign: Sign::Nothing });
        }
    }

    fn put(&mut self, key: &[u8], name: &[u8], lease: LeaseId, is_quiet: bool) {
        self.revision += 1;
        let at = self.revision;
        let (created, version) = self.entries.get(key).map_or((at, 1), |old| (old.member.revision, old.version + 1));
        let member = Member { key: key.to_vec(), name: name.to_vec(), revision: created, lease };
        self.entries.insert(key.to_vec(), Held { member: member.clone(), written: at, version, is_quiet });
        let sign = self.sign(key);
        self.log.push(Change { at, key: key.to_vec(), now: Some(member), sign });
    }

    /// Writes an entry, as often as its sign needs it.
    fn touch(&mut self, key: &[u8], name: &[u8], lease: LeaseId, signs: [Sign; 2]) {
        signs::touch(signs, |is_quiet| {
            self.put(key, name, lease, is_quiet);
            (self.entries[key].version, self.sign(key))
        });
    }

    /// The sign that the last write of an entry carries.
    fn sign(&self, key: &[u8]) -> Sign {
        let of = |held: &Held| signs::sign(key, held.member.lease, held.version, held.is_quiet);
        self.entries.get(key).map_or(Sign::Nothing, of)
    }

    fn found(&self, key: &[u8]) -> Option<Member> {
        self.entries.get(key).map(|held| held.member.clone())
    }

    fn seen(&self, own: &[u8], up_to: Revision) -> Seen {
        let all = self.ranked();
        let latest = all.iter().rev().filter(|member| member.rank() <= (up_to, own));
        Seen {
            own: self.found(own),
            latest: latest.take(2).map(|member| (*member).clone()).collect(),
            first: all.iter().take(2).map(|member| (*member).clone()).collect(),
            count: all.len(),
        }
    }

    /// A lease on which something is to hang.
    fn must_exist(&self, lease: LeaseId) -> Result<(), Failure> {
        let missing = || Failure::new(ErrorKind::LeaseLost, "etcdserver: requested lease not found");
        self.leases.contains_key(&lease).then_some(()).ok_or_else(missing)
    }

    /// Carries out a request.
    pub(crate) fn perform(&mut self, op: &Op, now: Ns) -> Result<Reply, Failure> {
        // etcd fills the header of a keepalive's answer before it renews.
        let before = self.revision;
        let answer = self.answer(op, now)?;
        let revision = if matches!(op, Op::Renew { .. }) { before } else { self.revision };
        Ok(Reply { stamp: Stamp { cluster: 1, revision, term: 2, clock_s: None }, answer })
    }

    fn answer(&mut self, op: &Op, now: Ns) -> Result<Answer, Failure> {
        Ok(match op {
            Op::Open { .. } => Answer::Opened,
            Op::Grant { lease, .. } if self.leases.contains_key(lease) => {
                return Err(Failure::new(ErrorKind::Server, "etcdserver: lease already exists"));
            }
            Op::Grant { lease, ttl_s } => {
                let ttl_s = i64::from(*ttl_s);
                self.leases.insert(*lease, Lease { ttl_s, expires: now + ttl_s.unsigned_abs() * SECOND });
                Answer::Granted { ttl_s }
            }
            Op::Renew { lease } => match self.leases.get_mut(lease).filter(|lease| lease.expires > now) {
                Some(lease) => {
                    lease.expires = now + lease.ttl_s.unsigned_abs() * SECOND;
                    Answer::Renewed { ttl_s: lease.ttl_s }
                }
                // The answer waits for the end of a lease that has run out.
                None => {
                    self.end(*lease);
                    Answer::Renewed { ttl_s: 0 }
                }
            },
            Op::Revoke { lease } => {
                self.end(*lease);
                Answer::Revoked
            }
            Op::Confirm { keys, .. } | Op::Check { keys } => {
                Answer::Confirmed { found: keys.iter().map(|key| self.found(key)).collect() }
            }
            Op::ListKeys { lease } => {
                let on_it = self.entries.values().filter(|held| held.member.lease == *lease);
                Answer::Listed { keys: on_it.map(|held| held.member.key.clone()).collect() }
            }
            Op::Join { own, name, lease, .. } => {
                let created = !self.entries.contains_key(own);
                if created {
                    self.must_exist(*lease)?;
                    self.put(own, name, *lease, false);
                }
                let seen = self.seen(own, Revision::MAX);
                let is_shown = !created || seen.count <= JOIN_SHOWS;
                let (own, count) = (seen.own.clone(), seen.count);
                Answer::Joined { created, seen: if is_shown { seen } else { Seen { own, count, ..Seen::default() } } }
            }
            Op::Touch { key, name, revision, written, lease, shows, sign } => {
                let held = self.entries.get(key);
                let found = held.map(|held| Written { member: held.member.clone(), at: held.written });
                let is_it = |found: &Written| found.member.revision == *revision && found.at == *written;
                if !found.as_ref().is_some_and(is_it) {
                    return Ok(Answer::Touched { touched: false, found });
                }
                self.must_exist(*lease)?;
                self.touch(key, name, *lease, [*shows, *sign]);
                Answer::Touched { touched: true, found: None }
            }
            Op::Look { own, up_to, .. } => Answer::Looked(self.seen(own, *up_to)),
            Op::Leave { key, revision } => {
                let was_there = self.entries.get(key).is_some_and(|held| held.member.revision == *revision);
                if was_there {
                    self.delete(std::slice::from_ref(key));
                }
                Answer::Left { was_there }
            }
            other => unreachable!("not carried out here: {other:?}"),
        })
    }
}
