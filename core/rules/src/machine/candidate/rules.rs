//! The differences between etcd's two APIs for a candidate. Each API states its own rules: `machine/v2` and
//! `machine/v3`.

use std::fmt::Debug;
use std::hash::{Hash, Hasher};

use crate::machine::{Op, Watched};
use crate::member::{LeaseId, Member, Revision};

/// The rules of one API.
pub(in crate::machine) trait Rules: Debug + Send + Sync {
    /// Whether an entry has a time to live of its own, and so ends without us. Otherwise it hangs on the session's lease.
    fn entries_expire(&self) -> bool;

    /// Whether a renewal shows that our entry stands. Otherwise only our watch and a look do.
    fn renewals_show_the_entry(&self) -> bool;

    /// Whether a new leader writes its entry once more, signed, and those behind it learn from that who leads. Otherwise they know
    /// from their last look in which order the first entries will lead.
    fn leaders_announce(&self) -> bool;

    /// Whether a read of single keys is as new as the store is. Otherwise it is as new as the server that answers.
    fn checks_are_linearizable(&self) -> bool;

    /// Whether each look costs etcd the sorting of all entries, so that those who look for one cause do so in turn.
    fn looks_are_sorted(&self) -> bool;

    /// Whether a write of our entry that is not ours is a sign of a copy of this process (law 13).
    fn writes_show_copies(&self) -> bool;

    /// The key at which a candidate with this lease joins, if it is ours to choose.
    fn own_key(&self, prefix: &[u8], lease: LeaseId) -> Option<Vec<u8>>;

    /// The request that makes an entry.
    fn join(&self, prefix: &[u8], own: &[u8], name: &[u8], lease: LeaseId, ttl_s: u32) -> Op;

    /// The request that deletes the entry that this revision created. The other is that of its last write that we know of.
    fn leave(&self, own: &[u8], name: &[u8], revision: Revision, written: Revision) -> Op;

    /// Whether an entry hangs on what our session keeps alive. Without that it would stay for ever.
    fn is_kept(&self, entry: &Member, name: &[u8], leases: [Option<LeaseId>; 2]) -> bool;

    /// What is to become of that which was found in the place of our entry, which this revision had created.
    fn remainder(&self, revision: Revision, found: Option<&Member>) -> Remainder;

    /// What shows the end of our entry, and of the one just before it. Both are known as of this revision.
    fn neighbours(&self, own: &[u8], before: &[u8], at: Revision, checks_passwords: bool) -> Vec<Watched>;
}

impl Hash for dyn Rules {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        // There are no more than two of them.
        self.entries_expire().hash(hasher);
    }
}

/// The rest in the place where our entry was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::machine) enum Remainder {
    /// Nothing that concerns us.
    Nothing,
    /// Nothing, although its time to live had not passed, as if another server's clock were ahead.
    EndedEarly,
    /// What this revision created is to be deleted.
    Stale(Revision),
    /// It may be ours, and ends without us.
    Expires,
}
