//! Everything of ours in etcd beside our entry, and everything that may yet come there (law 8).

use super::entry::Position;
use super::{Candidate, Pending};
use crate::member::{Membership, Revision};
use crate::time::Time;

/// The traces that requests of ours have left, or may have.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Traces {
    /// No entry up to this revision is adopted: a leave was sent for it, or we were told that it is lost.
    pub(super) given_up: Revision,
    /// Entries under former leases. A foreign put may have taken one off its lease: it would stay for ever.
    pub(super) left_behind: Vec<Membership>,
    /// Keys under former leases at which a request of ours that was not answered may still make an entry.
    pub(super) in_doubt: Vec<Vec<u8>>,
    /// A write under this lease that makes our entry was never answered, so it may still arrive.
    pub(super) join_in_doubt: bool,
    /// v2: until then an entry of ours may stand, or come to stand, that is left to run out: an unanswered join made it,
    /// or somebody else has written it.
    pub(super) expires_at: Time,
}

impl Traces {
    /// A revision for which a leave is sent, or which was lost, is never adopted again.
    pub(super) fn give_up(&mut self, revision: Revision) {
        self.given_up = self.given_up.max(revision);
    }

    /// The lease is another one: what was known of its keys has been handed on.
    pub(super) fn begin_lease(&mut self) {
        (self.given_up, self.join_in_doubt) = (0, false);
    }
}

impl Candidate {
    /// The keys that may hold, or come to hold, an entry of ours: the session owns them once we have ended. In v2
    /// every entry runs out.
    pub(in crate::machine) fn doubts(&self) -> Vec<Vec<u8>> {
        if self.pace.rules.entries_expire() {
            return Vec::new();
        }
        let may_exist = self.traces.join_in_doubt || !matches!(self.position, Position::Out);
        let own = (may_exist && self.lease.is_some()).then(|| self.own.clone());
        let behind = self.traces.left_behind.iter().map(|old| old.key.clone());
        own.into_iter().chain(behind).chain(self.traces.in_doubt.iter().cloned()).collect()
    }

    /// Whether this key is ours, or was.
    pub(in crate::machine) fn owns(&self, key: &[u8]) -> bool {
        self.own == key || self.traces.left_behind.iter().any(|old| old.key == key)
    }

    /// v2: an entry of ours may be left, or may yet come, which only its time to live ends. As with a lease, etcd may
    /// grant that anew once, when raft's leader changes.
    pub(super) fn leave_to_expire(&mut self, now: Time) {
        if self.pace.rules.entries_expire() {
            self.traces.expires_at = now + self.pace.ttl() * 2;
        }
    }

    /// A join was sent and may be applied at any time from now on.
    pub(super) fn doubt_join(&mut self, now: Time) {
        self.traces.join_in_doubt = true;
        self.leave_to_expire(now);
    }

    /// Nothing of ours is in etcd, as far as is known. A write under way is waited for.
    pub(super) fn is_gone(&self) -> bool {
        let is_writing = |pending: Pending| !pending.verb.is_read();
        matches!(self.position, Position::Out)
            && self.traces.left_behind.is_empty()
            && !self.asking.pending.is_some_and(is_writing)
    }
}
