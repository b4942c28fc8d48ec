//! The confirming reads check the keys of all candidates in turn, as many at a time as the server takes.

use std::ops::Bound;

use crate::machine::{CandidateId, Places};
use crate::member::Revision;

/// How many keys one confirming read checks: etcd takes at most 128 operations in one transaction, unless `--max-txn-ops`
/// says otherwise.
const KEYS_PER_READ: usize = 100;

/// Where the reads have come to.
#[derive(Clone, Debug, Hash)]
pub(super) struct Reads {
    /// The last candidate whose key was checked; the next read goes on behind it.
    cursor: Option<CandidateId>,
    /// Reads in a row that were denied. Some elections may have lost their permission: they must not end the others, so that
    /// each key is read alone, until one is found that is allowed.
    denied: usize,
    /// How many keys one read checks: less if the server refuses so many.
    at_most: usize,
    /// How many keys there are to check.
    places: usize,
}

impl Reads {
    pub(super) fn new() -> Reads {
        Reads { cursor: None, denied: 0, at_most: KEYS_PER_READ, places: 0 }
    }

    /// The places that the next read checks, with their keys.
    pub(super) fn next(&mut self, places: &Places) -> Vec<(CandidateId, Revision, Vec<u8>)> {
        self.places = places.len();
        let behind = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let from_cursor = places.range((behind, Bound::Unbounded));
        let from_start = places.iter().take_while(|(id, _)| self.cursor.is_some_and(|cursor| **id <= cursor));
        let chosen: Vec<_> = from_cursor
            .chain(from_start)
            .take(if self.denied > 0 { 1 } else { self.at_most })
            .map(|(id, place)| (*id, place.membership.revision, place.membership.key.clone()))
            .collect();
        self.cursor = chosen.last().map(|(id, ..)| *id);
        chosen
    }

    /// Whether another key may be allowed, if a read of so many was denied.
    pub(super) fn may_go_on(&self, keys: usize) -> bool {
        if self.denied == 0 { keys > 1 } else { self.denied < self.places }
    }

    /// etcd has denied a read.
    pub(super) fn denied(&mut self) {
        self.denied += 1;
    }

    /// A read was allowed, or has failed for another reason.
    pub(super) fn end_of_denials(&mut self) {
        self.denied = 0;
    }

    /// The server has refused to read so many keys at once.
    pub(super) fn refused(&mut self, keys: usize) {
        self.at_most = keys / 2;
    }
}
