//! The store is replaced: wiped, or restored from a backup.

use etcd_leader_rules::machine::Op;
use etcd_leader_rules::member::Member;

use crate::plan::{Fault, Heal};
use crate::referee::Cause;
use crate::rng::{Ns, SECOND};
use crate::store::Store;
use crate::trace::note;
use crate::world::{Ev, World};

impl World {
    /// The store is replaced by an empty one, or by an older one.
    pub(crate) fn reset(&mut self, kind: Fault, down: Ns) -> bool {
        let store = match kind {
            Fault::Restore => match self.snapshot.take() {
                Some((_, store)) => store,
                None => return false,
            },
            _ if self.is_v2() => Store::empty_v2(self.plan.v2.kept),
            _ => Store::empty(),
        };
        note!(self, "{kind:?}: from revision {} to {}", self.clusters[0].store.revision, store.revision);
        let cluster = &mut self.clusters[0];
        cluster.store = store;
        cluster.history += 1;
        cluster.past = vec![(0, cluster.store.revision)];
        if kind == Fault::WipeNewId {
            cluster.id += 0x100;
        }
        self.restart_with_store(down);
        // Entries of v2 come back with the ends that they had.
        self.clusters[0].store.lives.values_mut().for_each(|life| life.is_tampered = true);
        self.stats.history_changes += 1;
        let cluster = &self.clusters[0];
        self.referee.committed(&cluster.store, usize::MAX, Cause::Reset, self.now);
        self.reconfigured();
        true
    }

    /// A backup is restored with a raised revision (etcdutl's `--bump-revision` and `--mark-compacted`): no revision tells that the
    /// store is an older one. What was written since is gone, and what had gone since is back.
    pub(crate) fn restore_ahead(&mut self, down: Ns) -> bool {
        let history = self.clusters[0].history;
        let Some((_, mut store)) = self.snapshot.take_if(|(of, _)| *of == history) else { return false };
        let before = &self.clusters[0].store;
        store.revision = store.revision.max(before.revision) + 1_000 + self.rng.below(1_000);
        store.compacted = store.revision;
        note!(self, "RestoreAhead: from revision {} to {}", self.clusters[0].store.revision, store.revision);
        let before = std::mem::replace(&mut self.clusters[0].store, store);
        let store = &self.clusters[0].store;
        let is_new = |entry: &&Member| before.entries.get(&entry.key).is_none_or(|old| old.revision != entry.revision);
        self.orphans.extend(store.entries.values().filter(is_new).map(|entry| entry.revision));
        self.leases_back.extend(store.leases.keys().filter(|lease| !before.leases.contains_key(lease)));
        self.clusters[0].past = vec![(0, self.clusters[0].store.revision)];
        self.restart_with_store(down);
        self.stats.restores_ahead += 1;
        let cluster = &self.clusters[0];
        self.referee.restored(&before, &cluster.store, self.now);
        self.reconfigured();
        true
    }

    /// All members go down, and come up with the new store.
    fn restart_with_store(&mut self, down: Ns) {
        self.hold_links();
        // A new cluster begins with a low term, which may be the one the old had.
        if self.rng.permille(500) {
            self.clusters[0].term = 2;
        }
        let history = self.clusters[0].history;
        for at in 0..self.clusters[0].nodes.len() {
            self.crash(at);
            let node = &mut self.clusters[0].nodes[at];
            (node.cut, node.lag, node.floor) = (false, 0, 0);
        }
        self.clusters[0].leader = None;
        let round = self.rounds;
        for node in 0..self.clusters[0].nodes.len() {
            self.after(down, Ev::Heal(Heal::Up { node, round }));
        }
        let leases: Vec<(i64, i64)> =
            self.clusters[0].store.leases.iter().map(|(id, lease)| (*id, lease.ttl_s)).collect();
        for (lease, ttl_s) in leases {
            let full = self.now + down + ttl_s as u64 * SECOND;
            if let Some(lease) = self.clusters[0].store.leases.get_mut(&lease) {
                lease.expires = full;
            }
            self.at(full, Ev::Expire { lease, history });
        }
    }

    /// Whether the lease of this join had ended, and an accident brought it back.
    pub(crate) fn is_back(&self, op: &Op) -> bool {
        matches!(op, Op::Join { lease, .. } if self.leases_back.contains(lease))
    }
}
