//! The laws of the election, and the contract of the machines that hold them.
//!
//! A machine is a value: it takes an [`Input`] and the time, and gives [`Request`]s, [`Report`]s and the moment it
//! wants to be called again. It reads no clock, opens no socket and starts no thread, so a simulation can run it
//! through more bad days in a minute than a data centre sees in a century. Two machines decide everything, and do not
//! know each other: [`candidate`] (one per election) and [`session`] (one per lease). [`crew`] carries facts between
//! one session and its candidates and keeps the books: which request belongs to whom.
//!
//! # The laws
//!
//! 1. **Leading has an end that needs no message.** A lease is certain until `sent_at + ttl` of its grant or of its
//!    last *confirmed* renewal; leading ends a margin before that. A renewal is confirmed when, after its reply, one
//!    linearizable read on the same member returns the raft term that the reply had: a frozen raft leader that was cut
//!    off answers keepalives for leases that have long expired.
//! 2. **Only facts make a leader:** (a) a linearizable look, taken after our join, that shows us first; or (b) a
//!    committed delete of the one member that our last look showed ahead of us, delivered by the one watch that covers
//!    both it and us, live, in a response that does not also end us. After (b) a look follows at once; if it
//!    disagrees, or does not come in time, we step down.
//! 3. **Our own key is watched always**, for deletes and for puts. Gone, re-created, or moved off our lease: we are
//!    out, say so, and join again. A waiter without news looks again every ttl.
//! 4. **Tokens of successive leaders grow within one history of the store.** A store that went back is reported, and
//!    nobody of ours leads for one ttl and a margin.
//! 5. **Elected and Unelected alternate**; after a stop nothing but Unelected and Stopped is delivered
//!    ([`crate::mailbox`]).
//! 6. **The user first, the key afterwards.** After a stop the place is kept until the user has heard of it, or the
//!    stop's time is over.
//! 7. **Transient is the rule.** Errors mean "look again", with jittered backoff, for ever. Fatal is only what every
//!    reachable endpoint says before the first join. Only a definite refusal settles a request; all else is in doubt.
//! 8. **What is in doubt is owned until it is settled.** The session watches a key whose join may still arrive, and
//!    deletes what appears, until the lease has ended. A revision for which a leave was sent is never adopted again; a
//!    lease is never used again after a revoke was tried.
//! 9. **We never wait for ourselves**, never parse another member's suffix, and rank by (create revision, key) alone.
//! 10. **One cluster.** At first contact all endpoints are asked; later an endpoint of another cluster is put aside,
//!     and nothing it says counts.

use std::sync::Arc;

use crate::error::{Error, ErrorKind};
use crate::member::{LeaseId, Member, Membership, Revision, Standing};
use crate::time::Time;

pub mod candidate;
pub mod crew;
mod entropy;
mod outbox;
pub mod session;

pub use entropy::Entropy;

/// One attempt to be connected to one endpoint; never used again once closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One request of ours; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One watch of ours; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// One election of the crew; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CandidateId(pub u64);

/// A wish of a machine, to be carried out by a backend on the link it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What the reply will name.
    pub id: RequestId,
    /// The link to use. A request for a link that was closed meanwhile is dropped.
    pub link: LinkId,
    /// What to do.
    pub op: Op,
}

/// The verbs. Those without an answer ([`Op::Close`], [`Op::Watch`], [`Op::Unwatch`]) get no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Connect to this endpoint (an index into the configured ones) and read `key` linearizably. Answer: `Opened`.
    Open {
        /// Which endpoint, counted from 0.
        endpoint: usize,
        /// A key we may read: that of one of our elections.
        key: Vec<u8>,
    },
    /// Drop the connection with everything on it: requests under way, streams, watches.
    Close,
    /// Create this lease. Answer: `Granted`.
    Grant {
        /// The id, chosen by us.
        lease: LeaseId,
        /// The time to live asked for, in seconds.
        ttl_s: u32,
    },
    /// Keep this lease alive. Answer: `Renewed`.
    Renew {
        /// Which lease.
        lease: LeaseId,
    },
    /// Read these keys linearizably at one revision; none is fine. Answer: `Confirmed`.
    Confirm {
        /// A key we may read, for when `keys` is empty.
        key: Vec<u8>,
        /// The keys to read.
        keys: Vec<Vec<u8>>,
    },
    /// End this lease and delete all that hangs on it. Answer: `Revoked`, also if there is none.
    Revoke {
        /// Which lease.
        lease: LeaseId,
    },
    /// If our key does not exist, put it; in the same transaction look. Answer: `Joined`.
    Join {
        /// Under which members live: the election's key and a slash.
        prefix: Vec<u8>,
        /// Our own key.
        own: Vec<u8>,
        /// The value.
        name: Vec<u8>,
        /// The lease it hangs on.
        lease: LeaseId,
    },
    /// Read our key and its neighbours linearizably at one revision. Answer: `Looked`.
    Look {
        /// Under which members live.
        prefix: Vec<u8>,
        /// Our own key.
        own: Vec<u8>,
        /// The revision of our entry: `latest` of the answer holds none above it.
        up_to: Revision,
    },
    /// v2: create an entry under the prefix, with the next number of the store for its name. Answer: `Posted`. Repeated,
    /// it makes another one.
    Post {
        /// Under which members live: the election's key and a slash.
        prefix: Vec<u8>,
        /// The value.
        name: Vec<u8>,
        /// Its time to live, in seconds.
        ttl_s: u32,
    },
    /// v2: give our entry its time to live anew, if nobody has written it since `written`. Answer: `Refreshed`.
    Refresh {
        /// The key.
        key: Vec<u8>,
        /// The value, as it is and stays.
        name: Vec<u8>,
        /// The revision of the last write of the entry that we know of, which was ours.
        written: Revision,
        /// Its time to live, in seconds.
        ttl_s: u32,
        /// Whether those who watch the entry are to see it.
        visible: bool,
    },
    /// Delete this key if this revision created it. Answer: `Left`, also if it did not.
    Leave {
        /// The key.
        key: Vec<u8>,
        /// The revision that created it.
        revision: Revision,
    },
    /// Watch the keys from `from` up to, not including, `to`, from the revision `start` on. Gives [`Input::Watch`]. In
    /// v2 a watch covers one key.
    Watch {
        /// What the events will name.
        watch: WatchId,
        /// The first key of the range.
        from: Vec<u8>,
        /// The key after the last of the range.
        to: Vec<u8>,
        /// The first revision wanted.
        start: Revision,
    },
    /// End a watch. Events already on their way are ignored.
    Unwatch {
        /// Which.
        watch: WatchId,
    },
}

/// What every etcd answer says of the store it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Stamp {
    /// The cluster that answered.
    pub cluster: u64,
    /// The revision of the store when it answered.
    pub revision: Revision,
    /// The raft term the member was in; 0 where it does not say.
    pub term: u64,
    /// v2: the member's own wall clock, in whole seconds since 1970 (HTTP's `Date`).
    pub clock_s: Option<u64>,
}

/// A reply: where it comes from, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it says of the store.
    pub stamp: Stamp,
    /// What it says.
    pub answer: Answer,
}

/// The answers to the verbs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Connected, and the stamp is that of a linearizable read.
    Opened,
    /// The lease exists now.
    Granted {
        /// The time to live that the server gave it, in seconds.
        ttl_s: i64,
    },
    /// The lease was kept alive, if `ttl_s` is above 0; otherwise it is gone.
    Renewed {
        /// Its time to live, in seconds.
        ttl_s: i64,
    },
    /// What was found for each key asked for, in that order.
    Confirmed {
        /// The entries.
        found: Vec<Option<Member>>,
    },
    /// The lease does not exist any more.
    Revoked,
    /// Whether our key was created just now, and what the same transaction saw. If it was not, only `own` of what was
    /// seen counts.
    Joined {
        /// Whether the key was created by this request.
        created: bool,
        /// What the transaction saw.
        seen: Seen,
    },
    /// v2: the entry exists now.
    Posted {
        /// The entry.
        own: Member,
    },
    /// v2: whether the entry was written, and what it is now (read linearizably if it was not written).
    Refreshed {
        /// Whether this request wrote it.
        applied: bool,
        /// The entry, if there is one.
        found: Option<Written>,
    },
    /// What a look saw.
    Looked(Seen),
    /// The key with that revision does not exist any more.
    Left,
}

/// An entry of v2, and the revision of its last write (`modifiedIndex`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The entry.
    pub member: Member,
    /// The revision of its last write.
    pub at: Revision,
}

/// What one linearizable read at one revision saw of an election.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Seen {
    /// Our own key.
    pub own: Option<Member>,
    /// The two entries of the highest rank not above ours (ours among them), the highest first.
    pub latest: Vec<Member>,
    /// The two entries of the lowest rank of all, the lowest first.
    pub first: Vec<Member>,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong. Unless it is a definite refusal, the request may have been applied, or may yet be.
    pub kind: ErrorKind,
    /// The words for people.
    pub detail: String,
}

impl Failure {
    /// A failure of this kind with this message.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Failure {
        Failure { kind, detail: detail.into() }
    }
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchNews {
    /// The watch exists now; the store was at this revision.
    Created {
        /// The revision.
        revision: Revision,
    },
    /// One response: all changes of its range up to this revision that were not told before.
    Changes {
        /// The changes, oldest first.
        changes: Vec<Change>,
    },
    /// The watch has ended, for instance because its start was compacted.
    Canceled {
        /// In the server's words.
        reason: String,
    },
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The revision of the change.
    pub at: Revision,
    /// Which key.
    pub key: Vec<u8>,
    /// What it holds now; `None` if it was deleted.
    pub now: Option<Member>,
}

/// What a machine is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A request has been answered, or has failed.
    Reply {
        /// Which.
        id: RequestId,
        /// How.
        result: Result<Reply, Failure>,
    },
    /// A watch has news.
    Watch {
        /// On which link.
        link: LinkId,
        /// Which watch.
        watch: WatchId,
        /// What.
        news: WatchNews,
    },
    /// A link broke on its own: a stream ended or failed.
    Broken {
        /// Which.
        link: LinkId,
        /// Why.
        failure: Failure,
    },
    /// The wall clock jumped ahead: this machine may have been frozen without its clocks noticing.
    Jumped,
    /// The user wants this election to end. `led` says that the user believes to lead and must hear first (law 6).
    Stop {
        /// Which election.
        candidate: CandidateId,
        /// Whether the user was told Elected and not yet Unelected.
        led: bool,
    },
    /// The user is being told Unelected: wait for as long as that takes.
    Entered {
        /// Which election.
        candidate: CandidateId,
    },
    /// The user has heard Unelected.
    Acknowledged {
        /// Which election.
        candidate: CandidateId,
    },
    /// Nothing new but the time.
    Tick,
}

/// What there is to know of one election: a level, the newest replaces the ones before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Where we stand.
    pub standing: Standing,
    /// Why we do not lead any more, if we ever did.
    pub lost: Option<Error>,
    /// What keeps us from being served, if anything does.
    pub trouble: Option<Arc<Trouble>>,
    /// Why the election has ended for good, if it has.
    pub fatal: Option<Error>,
    /// Whether the election has ended: nothing changes any more.
    pub ended: bool,
    /// Whether, at the end, our key is known to be gone.
    pub released: bool,
}

/// Something that is wrong just now and retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub error: Error,
    /// Which endpoint it concerns, counted from 0; `None` if all or none.
    pub endpoint: Option<usize>,
}

/// The facts of a session that its candidates read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The link that serves us, if one does.
    pub link: Option<LinkId>,
    /// The endpoint it leads to, counted from 0.
    pub endpoint: Option<usize>,
    /// Our lease, if we hold one.
    pub lease: Option<LeaseId>,
    /// Until when leading is certain: the end of the lease less the margin (law 1).
    pub until: Time,
    /// Before this nobody of ours leads (law 4).
    pub quiet_until: Time,
}

/// What a candidate asks of its session; carried by the crew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plea {
    /// A request failed or missed its deadline, and the link is to blame.
    LinkFailed(LinkId, Failure),
    /// etcd says that this lease does not exist.
    LeaseGone(LeaseId),
    /// A join of this key under a lease that has ended was never answered.
    InDoubt(Vec<u8>),
}

/// The key to check for each candidate that has a place, in the order in which they are checked.
pub type Places = std::collections::BTreeMap<CandidateId, Membership>;

/// The prefix under which the members of an election live.
pub fn members_of(key: &str) -> Vec<u8> {
    format!("{key}/").into_bytes()
}

/// A member key: the prefix and the lease in lowercase hex, as Go's `concurrency` package has it.
pub fn member_key(prefix: &[u8], lease: LeaseId) -> Vec<u8> {
    let mut key = prefix.to_vec();
    key.extend_from_slice(format!("{lease:x}").as_bytes());
    key
}
