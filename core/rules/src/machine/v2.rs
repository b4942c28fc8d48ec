//! The rules of etcd's API v2 alone: each entry has a time to live of its own, a watch covers one key, and a wipe of the store
//! gives keys and revisions out again.

use super::candidate::{Remainder, Rules};
use super::{Op, Watched};
use crate::member::{LeaseId, Member, OWN_TTL, Revision};

mod clocks;
mod entry;
mod probes;
mod servers;

pub(super) use entry::EntryKeeper;

/// The rules of API v2.
#[derive(Debug)]
pub(super) struct V2;

impl Rules for V2 {
    fn entries_expire(&self) -> bool {
        true
    }

    fn renewals_show_the_entry(&self) -> bool {
        true
    }

    fn leaders_announce(&self) -> bool {
        false
    }

    fn checks_are_linearizable(&self) -> bool {
        false
    }

    fn looks_are_sorted(&self) -> bool {
        false
    }

    fn writes_show_copies(&self) -> bool {
        false
    }

    /// etcd names it with the answer.
    fn own_key(&self, _: &[u8], _: LeaseId) -> Option<Vec<u8>> {
        None
    }

    fn join(&self, prefix: &[u8], _: &[u8], name: &[u8], _: LeaseId, ttl_s: u32) -> Op {
        Op::Post { prefix: prefix.to_vec(), name: name.to_vec(), ttl_s }
    }

    fn leave(&self, own: &[u8], name: &[u8], revision: Revision, written: Revision) -> Op {
        Op::Withdraw { key: own.to_vec(), name: name.to_vec(), revision, written }
    }

    fn is_kept(&self, entry: &Member, name: &[u8], _: [Option<LeaseId>; 2]) -> bool {
        entry.lease == OWN_TTL && entry.name == name
    }

    fn remainder(&self, _: Revision, found: Option<&Member>) -> Remainder {
        match found {
            None => Remainder::EndedEarly,
            // It may be another candidate's: a wipe gives key and number out again. Or it is ours, and somebody has refreshed it.
            Some(found) if found.lease == OWN_TTL => Remainder::Expires,
            Some(found) => Remainder::Stale(found.revision),
        }
    }

    fn neighbours(&self, own: &[u8], before: &[u8], at: Revision, checks_passwords: bool) -> Vec<Watched> {
        let key = |key: &[u8]| Watched::key(Some(at + 1), key);
        if before == own {
            vec![key(own)]
        } else if checks_passwords {
            // A refresh shows soon enough that our own is gone, while we follow.
            vec![key(before)]
        } else {
            vec![key(own), key(before)]
        }
    }
}
