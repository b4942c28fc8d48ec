//! What can happen in a row of a table.

use etcd_leader_rules::ErrorKind as Kind;
use etcd_leader_rules::machine::Sign;

/// What happens next in a row of a table.
#[derive(Clone, Debug)]
pub(crate) enum Do {
    /// Time passes: to this many milliseconds after the start.
    At(u64),
    /// The same, but we are frozen meanwhile: the next that happens is read first on waking.
    FrozenTo(u64),
    /// The oldest open of this endpoint is answered by cluster 1.
    Opened(usize),
    /// The same by this cluster.
    OpenedBy(usize, u64),
    OpenFails(usize, Kind),
    Granted,
    Renewed(i64),
    /// The confirming read: the raft term it is answered in (keepalives are answered in term 1), and whether our key
    /// is found.
    Confirmed(u64, bool),
    /// The join put our key, at revision 20; ahead of us are these revisions.
    Joined(&'static [u64]),
    /// The join found our key put by an earlier one, at this revision.
    FoundOwn(u64),
    /// A look at this revision: ahead of us are these.
    Looked(u64, &'static [u64]),
    /// A look at this revision: we are the first, and another is behind us.
    LookedFirst(u64),
    /// A check at this revision: all that it asks for stands, but for these.
    Checked(u64, &'static [&'static str]),
    /// On the watch made as this one, at this revision, the entry of this revision is written, with this sign.
    Written(usize, u64, u64, Sign),
    /// A look at this revision finds our key gone.
    LookedGone(u64),
    /// v2: the post made our entry, at revision 20.
    Posted,
    /// v2: the refresh wrote our entry, at this revision.
    Refreshed(u64),
    /// v2: it did not; our entry's last write was at this revision.
    NotOurs(u64),
    /// v2: it did not; another entry has our key, created at this revision.
    Another(u64),
    /// v2: it did not; nothing is there.
    NoEntry,
    /// v2: the next open of this endpoint is answered with this second on its clock.
    OpenedAt(usize, u64),
    Left,
    /// What was to be deleted was not there.
    WasGone,
    /// v2: another name has our key and our number by now.
    Spared,
    Revoked,
    Fails(Kind),
    /// v3: a request fails, since its key is denied to us.
    KeyDenied,
    /// v3: a lease is not renewed, since a key that hangs on it is denied to us.
    RenewDenied,
    /// v3: our entry hangs on the other lease now; or it was not ours any more, and nothing was there.
    Moved(bool),
    /// v3: our entry was written at this revision.
    Touched(u64),
    /// v3: it was not, since it was last written at this revision.
    WrittenBefore(u64),
    /// Somebody writes our entry as we would, at this revision.
    Copied(u64),
    /// v3: what hangs on our lease: our own entry, and these keys, each named after the lease where it ends in a slash.
    Listed(&'static [&'static str]),
    /// What is read under the oldest key in doubt was created at this revision; 0: nothing is there.
    Found(u64),
    Created,
    /// The same, at this revision.
    CreatedAt(u64),
    /// One response on the first watch: these changes, `(revision, key)`; our key is "own", others by their revision.
    Gone(&'static [(u64, &'static str)]),
    /// Two watches were confirmed.
    BothCreated,
    /// The same on this watch of ours, counted from 0.
    GoneOn(usize, &'static [(u64, &'static str)]),
    /// Somebody puts our key, without a lease, at this revision.
    Overwritten(u64),
    /// v2: somebody sets our key, which makes another entry, without a time to live, at this revision.
    SetAnew(u64),
    Canceled,
    LinkBreaks,
    Jump,
    Stop(bool),
    /// The user's work has ended.
    Released,
    /// The user has seen the end of the term with this token.
    Expired(u64),
}
