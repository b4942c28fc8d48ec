//! The keys that the session owns beside its candidates: those in doubt, and entries on our lease that are nobody's (law 8).

use std::collections::BTreeSet;

use super::Session;
use super::orphans;

impl Session {
    /// Takes over a key whose join may still arrive.
    pub(in crate::machine) fn own_doubt(&mut self, key: Vec<u8>) {
        self.doubts.add(key);
    }

    /// Takes over, of what hangs on our lease, the entries that no candidate owns.
    pub(super) fn own_orphans(&mut self, keys: Vec<Vec<u8>>) {
        let owned = self.keys.all();
        let placed: BTreeSet<&[u8]> = self.places.values().map(|place| place.membership.key.as_slice()).collect();
        for key in keys.into_iter().filter(|key| !placed.contains(key.as_slice())) {
            match orphans::entry(&key).filter(|(_, lease)| self.keeper.has_named(*lease)) {
                Some((prefix, _)) if owned.contains(prefix) => self.strays.push(key),
                Some(_) => self.doubts.add_orphan(key),
                None => {}
            }
        }
    }

    /// Entries on our lease that may be those of a candidate, or nobody's.
    pub(in crate::machine) fn take_strays(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.strays)
    }

    pub(in crate::machine) fn own_orphan(&mut self, key: Vec<u8>) {
        self.doubts.add_orphan(key);
    }

    pub(in crate::machine) fn has_doubt_under(&self, prefix: &[u8]) -> bool {
        self.doubts.has_one_under(prefix)
    }

    /// Whether a key under this prefix may still be there, or appear.
    pub(in crate::machine) fn owes(&self, prefix: &[u8]) -> bool {
        self.doubts.has_any_under(prefix)
    }
}
