//! The rules of etcd's API v3 alone: entries hang on a lease, watches cover ranges, and reads are linearizable.

use super::candidate::{Remainder, Rules};
use super::{Op, Watched, member_key};
use crate::member::{LeaseId, Member, Revision};

mod doubts;
mod lease;
mod marks;
mod orphans;
mod reads;
mod retired;

pub(super) use lease::LeaseKeeper;

/// The rules of API v3.
#[derive(Debug)]
pub(super) struct V3;

impl Rules for V3 {
    fn entries_expire(&self) -> bool {
        false
    }

    fn renewals_show_the_entry(&self) -> bool {
        false
    }

    fn leaders_announce(&self) -> bool {
        true
    }

    fn checks_are_linearizable(&self) -> bool {
        true
    }

    fn looks_are_sorted(&self) -> bool {
        true
    }

    fn writes_show_copies(&self) -> bool {
        true
    }

    fn own_key(&self, prefix: &[u8], lease: LeaseId) -> Option<Vec<u8>> {
        Some(member_key(prefix, lease))
    }

    fn join(&self, prefix: &[u8], own: &[u8], name: &[u8], lease: LeaseId, _: u32) -> Op {
        Op::Join { prefix: prefix.to_vec(), own: own.to_vec(), name: name.to_vec(), lease }
    }

    fn leave(&self, own: &[u8], _: &[u8], revision: Revision, _: Revision) -> Op {
        Op::Leave { key: own.to_vec(), revision }
    }

    fn is_kept(&self, entry: &Member, _: &[u8], leases: [Option<LeaseId>; 2]) -> bool {
        leases.contains(&Some(entry.lease))
    }

    fn remainder(&self, revision: Revision, found: Option<&Member>) -> Remainder {
        found.map_or(Remainder::Nothing, |_| Remainder::Stale(revision))
    }

    fn neighbours(&self, own: &[u8], before: &[u8], _: Revision, _: bool) -> Vec<Watched> {
        vec![Watched::range(None, own.min(before), own.max(before))]
    }
}
