//! Nothing of an ended election is left (law 8): judged at rest, when leases of the dead have run out and what came late has come.

use etcd_leader_rules::machine::members_of;
use etcd_leader_rules::member::Member;

use crate::process::{Cand, Proc};
use crate::store::Store;
use crate::trace::text;
use crate::world::ELECTIONS;

/// Each entry is that of a candidate that has not ended. Another one would keep its election waiting for as long as the session
/// lives that keeps it.
pub(crate) fn entries_have_owners(store: &Store, procs: &[Proc]) -> Result<(), String> {
    let is_owned = |entry: &Member| procs.iter().enumerate().any(|(at, proc)| owns(store, (at, proc), entry));
    match store.entries.values().find(|entry| !is_owned(entry)) {
        Some(entry) => Err(format!("{}@{} is there, and no candidate's", text(&entry.key), entry.revision)),
        None => Ok(()),
    }
}

fn owns(store: &Store, (at, proc): (usize, &Proc), entry: &Member) -> bool {
    let is_of_it = |cand: &Cand| !cand.report.ended && entry.key.starts_with(&members_of(ELECTIONS[cand.election]));
    if proc.crew.is_none() || !proc.cands.iter().any(is_of_it) {
        return false;
    }
    match store.lives.get(&entry.key) {
        // After a wipe another one of the same name may have made an entry with the key and the number of this one's.
        Some(life) => life.by == Some((at, proc.inc)) || proc.books.ledger.holds(&entry.key, entry.revision),
        None => proc.books.holds(&entry.key, entry.revision),
    }
}
