//! The committed state of one etcd cluster: keys, leases, revisions, and the log that watches read.

use std::collections::{BTreeMap, BTreeSet};

use etcd_leader_rules::machine::{Change, Seen, Sign, Written};
use etcd_leader_rules::member::{LeaseId, Member, Revision};

use crate::rng::Ns;
use crate::signs;
use crate::store_v2::Life;

/// A lease as the raft leader's lessor holds it.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) ttl_s: i64,
    pub(crate) expires: Ns,
}

/// What all members agree on.
#[derive(Clone)]
pub(crate) struct Store {
    pub(crate) revision: Revision,
    /// Watches from this revision or an earlier one are refused.
    pub(crate) compacted: Revision,
    pub(crate) entries: BTreeMap<Vec<u8>, Member>,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// How often each entry was written.
    pub(crate) versions: BTreeMap<Vec<u8>, u64>,
    /// The entries whose last write says nothing.
    pub(crate) quiet: BTreeSet<Vec<u8>>,
    /// v2: what it keeps beside each entry.
    pub(crate) lives: BTreeMap<Vec<u8>, Life>,
    /// v2: how many events it keeps for watches.
    pub(crate) kept: u64,
    /// Every change of every entry, oldest first; never truncated but by a restore, compaction only forbids access.
    pub(crate) log: Vec<Change>,
}

impl Store {
    pub(crate) fn empty() -> Store {
        Store {
            revision: 1,
            compacted: 0,
            entries: BTreeMap::new(),
            leases: BTreeMap::new(),
            versions: BTreeMap::new(),
            quiet: BTreeSet::new(),
            lives: BTreeMap::new(),
            kept: u64::MAX,
            log: Vec::new(),
        }
    }

    /// The entries under a prefix, in the order of their keys.
    pub(crate) fn under<'a, 'p>(&'a self, prefix: &'p [u8]) -> impl Iterator<Item = &'a Member> + use<'a, 'p> {
        self.entries.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix)).map(|(_, member)| member)
    }

    /// The entry of lowest rank under a prefix: who leads.
    pub(crate) fn first(&self, prefix: &[u8]) -> Option<&Member> {
        self.under(prefix).min_by(|a, b| a.rank().cmp(&b.rank()))
    }

    /// Whether the entry that this one made, with this token, is the first under a prefix.
    pub(crate) fn leads(&self, prefix: &[u8], token: Revision, who: (usize, u32)) -> bool {
        // In v2 a wiped store gives names and numbers out again.
        let is_its = |member: &Member| self.lives.get(&member.key).is_none_or(|life| life.by == Some(who));
        self.first(prefix).is_some_and(|first| first.revision == token && is_its(first))
    }

    /// What one read transaction sees.
    pub(crate) fn seen(&self, prefix: &[u8], own: &[u8], up_to: Revision, most: usize) -> Seen {
        let mut all: Vec<&Member> = self.under(prefix).collect();
        all.sort_by(|a, b| a.rank().cmp(&b.rank()));
        Seen {
            own: self.entries.get(own).cloned(),
            first: all.iter().take(most).map(|member| (*member).clone()).collect(),
            latest: all.iter().rev().filter(|m| m.rank() <= (up_to, own)).take(2).map(|m| (*m).clone()).collect(),
            count: all.len(),
        }
    }

    /// v2: what this key held at that revision.
    pub(crate) fn entry_at(&self, key: &[u8], revision: Revision) -> Option<Member> {
        if revision >= self.revision {
            return self.entries.get(key).cloned();
        }
        let last = self.log.iter().rev().find(|change| change.at <= revision && change.key == key);
        last.and_then(|change| change.now.clone())
    }

    /// An entry with its last write.
    pub(crate) fn written(&self, key: &[u8]) -> Option<Written> {
        let member = self.entries.get(key)?.clone();
        let last = self.log.iter().rev().find(|change| change.key == key);
        Some(Written { at: last.map_or(member.revision, |change| change.at), member })
    }

    /// Begins a write: its revision.
    pub(crate) fn advance(&mut self) -> Revision {
        self.revision += 1;
        self.revision
    }

    /// Puts a key as part of the write at the current revision.
    pub(crate) fn put(&mut self, key: &[u8], name: &[u8], lease: LeaseId) {
        self.put_as(key, name, lease, false);
    }

    fn put_as(&mut self, key: &[u8], name: &[u8], lease: LeaseId, is_quiet: bool) {
        let at = self.revision;
        let created = self.entries.get(key).map_or(at, |old| old.revision);
        let member = Member { key: key.to_vec(), name: name.to_vec(), revision: created, lease };
        self.entries.insert(key.to_vec(), member.clone());
        *self.versions.entry(key.to_vec()).or_default() += 1;
        if is_quiet {
            self.quiet.insert(key.to_vec());
        } else {
            self.quiet.remove(key);
        }
        let sign = self.sign(key);
        self.log.push(Change { at, key: key.to_vec(), now: Some(member), sign });
    }

    /// Writes an entry, as often as its sign needs it.
    pub(crate) fn touch(&mut self, key: &[u8], name: &[u8], lease: LeaseId, signs: [Sign; 2]) {
        signs::touch(signs, |is_quiet| {
            self.advance();
            self.put_as(key, name, lease, is_quiet);
            (self.versions[key], self.sign(key))
        });
    }

    /// What the last write of an entry says of its author.
    pub(crate) fn sign(&self, key: &[u8]) -> Sign {
        let version = self.versions.get(key).copied().unwrap_or_default();
        let is_quiet = self.quiet.contains(key);
        self.entries.get(key).map_or(Sign::Nothing, |member| signs::sign(key, member.lease, version, is_quiet))
    }

    /// Deletes a key as part of the write at the current revision.
    pub(crate) fn delete(&mut self, key: &[u8]) {
        if self.entries.remove(key).is_some() {
            self.versions.remove(key);
            self.quiet.remove(key);
            self.log.push(Change { at: self.revision, key: key.to_vec(), now: None, sign: Sign::Nothing });
        }
    }

    /// Ends a lease and deletes all that hangs on it, in one revision. False if there is no such lease.
    pub(crate) fn end_lease(&mut self, lease: LeaseId) -> bool {
        if self.leases.remove(&lease).is_none() {
            return false;
        }
        let keys: Vec<Vec<u8>> = self.entries.values().filter(|m| m.lease == lease).map(|m| m.key.clone()).collect();
        if !keys.is_empty() {
            self.advance();
            keys.iter().for_each(|key| self.delete(key));
        }
        true
    }
}
