//! What the machines ask of etcd, and how it answers: the words that both APIs are translated from and to.

use std::time::Duration;

use super::watches::{Sign, Watched};
use crate::error::ErrorKind;
use crate::member::{LeaseId, Member, Revision};

/// One attempt to be connected to one endpoint; never used again once closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// One request of ours; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One watch of ours; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(pub u64);

/// A request of a machine, to be carried out by a backend on the link it names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// What the reply will name.
    pub id: RequestId,
    /// The link to use. A request for a link that was closed meanwhile is dropped.
    pub link: LinkId,
    /// What to do.
    pub op: Op,
}

/// The verbs. Those without an answer ([`Op::Close`], [`Op::Watch`], [`Op::Unwatch`]) get no reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Connect to this endpoint (an index into the configured ones), and read `key` linearizably. Answer: `Opened`.
    Open {
        /// Which endpoint, counted from 0.
        endpoint: usize,
        /// A key we may read: that of one of our elections.
        key: Vec<u8>,
        /// A login in the place of an auth token that is refused waits for any part of this, so that after a restart of
        /// etcd those log in first who have a lead to keep.
        patience: Duration,
        /// Whether the answer is to show that the server serves us. If not, API v2 does not read if we show a password, which
        /// etcd checks with each read: the stamp names the cluster and tells the clock, and its revision is 0.
        is_proof: bool,
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
    /// Read these keys, for a candidate: whether what it knows of its election still holds. v3: linearizably, at one revision.
    /// Answer: `Confirmed`. v2: one after the other, as this server knows them. Answer: `Glimpsed`.
    Check {
        /// The keys to read.
        keys: Vec<Vec<u8>>,
    },
    /// Which keys hang on this lease? Answer: `Listed`.
    ListKeys {
        /// Which lease.
        lease: LeaseId,
    },
    /// End this lease and delete all that hangs on it. Answer: `Revoked`, also if there is none.
    Revoke {
        /// Which lease.
        lease: LeaseId,
    },
    /// If our key does not exist, put it; in the same transaction look, if the entries are few. Answer: `Joined`.
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
    /// v3: if this revision created our key and that one wrote it last, put it again, on its lease or on another; the revision
    /// that created it stays. Answer: `Touched`.
    Touch {
        /// The key.
        key: Vec<u8>,
        /// The value, as it is and stays.
        name: Vec<u8>,
        /// The revision that created it.
        revision: Revision,
        /// The revision of its last write that we know of, which was ours.
        written: Revision,
        /// The lease that it hangs on from then on.
        lease: LeaseId,
        /// The sign of that last write, if it is known; [`Sign::Nothing`] if not.
        shows: Sign,
        /// The sign that the write is to have.
        sign: Sign,
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
    /// v2: give our entry its time to live anew, if it has our name and nobody has written it since `written`. Answer:
    /// `Refreshed`.
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
    /// v3: delete this key if this revision created it. Answer: `Left`, also if it did not.
    Leave {
        /// The key.
        key: Vec<u8>,
        /// The revision that created it.
        revision: Revision,
    },
    /// v2: delete this key if this revision created it, and it has our name or would stay for ever: a wiped store gives
    /// keys and revisions out again. Answer: `Left`, also if another revision created it, or `Spared`.
    Withdraw {
        /// The key.
        key: Vec<u8>,
        /// Our name.
        name: Vec<u8>,
        /// The revision that created it.
        revision: Revision,
        /// The revision of its last write that we know of: if that still holds, one request is enough.
        written: Revision,
    },
    /// Watch these keys. Gives [`super::Input::Watch`]. In v2 a watch covers one key.
    Watch {
        /// What the events will name.
        watch: WatchId,
        /// Which keys.
        range: Watched,
    },
    /// End a watch. Events already on their way are ignored.
    Unwatch {
        /// Which.
        watch: WatchId,
    },
}

/// The steps of an opening, for people: one that is slow is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Files with certificates are read.
    ReadingFiles,
    /// The host's name is looked up.
    LookUp,
    /// The server has not taken the connection yet.
    Connecting,
    /// The TLS handshake.
    Handshake,
    /// The login, or the first read.
    Reading,
    /// API v2: the connection, the handshake and the first request. Its HTTP client does not tell them apart.
    Asking,
}

impl Step {
    /// What is slow, at the beginning of a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Step::ReadingFiles => "reading the certificate files",
            Step::LookUp => "the look-up of the host's name",
            Step::Connecting => "connecting",
            Step::Handshake => "the TLS handshake",
            Step::Reading => "the login, or the first read,",
            Step::Asking => "the connection, or the answer to the first request,",
        }
    }
}

/// What every etcd answer says of the store it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
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
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reply {
    /// What it says of the store.
    pub stamp: Stamp,
    /// What it says.
    pub answer: Answer,
}

/// The answers to the verbs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
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
    /// v2: the same, as the server that was asked knows it; the stamp has the oldest revision of these reads. It may lag behind
    /// the others, so that this says nothing of how far the store is.
    Glimpsed {
        /// The entries.
        found: Vec<Option<Member>>,
    },
    /// What hangs on the lease, as far as the member knows; nothing if there is no such lease.
    Listed {
        /// The keys.
        keys: Vec<Vec<u8>>,
    },
    /// The lease does not exist any more.
    Revoked,
    /// Whether our key was created just now, and what the same transaction saw. If it was not, only `own` of what was
    /// seen counts. Of many entries it shows none but ours: the rest is for a look.
    Joined {
        /// Whether the key was created by this request.
        created: bool,
        /// What the transaction saw.
        seen: Seen,
    },
    /// Whether the key was written, and if not, what it holds.
    Touched {
        /// Whether this request wrote it.
        touched: bool,
        /// If not, the entry and its last write, if there is one.
        found: Option<Written>,
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
    Left {
        /// Whether it did when the request was carried out.
        was_there: bool,
    },
    /// v2: it does, but with another name and a time to live; it was not deleted.
    Spared,
}

/// An entry, and the revision of its last write (v3: `mod_revision`, v2: `modifiedIndex`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Written {
    /// The entry.
    pub member: Member,
    /// The revision of its last write.
    pub at: Revision,
}

/// v2: of so many entries a look tells who they are, the leader's first. In that order they lead after it.
pub const LINE: usize = 32;

/// What one linearizable read at one revision saw of an election.
#[derive(Clone, Debug, PartialEq, Eq, Default, Hash)]
pub struct Seen {
    /// Our own key.
    pub own: Option<Member>,
    /// The two entries of the highest rank not above ours (ours among them), the highest first.
    pub latest: Vec<Member>,
    /// The entries of the lowest rank of all, the lowest first: two, in v2 up to [`LINE`].
    pub first: Vec<Member>,
    /// How many entries there are.
    pub count: usize,
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Failure {
    /// What went wrong. Unless it is a definite refusal, the request may have been applied, or may yet be.
    pub kind: ErrorKind,
    /// The words for people.
    pub detail: String,
    /// v3: etcd does not let us use one key, which says nothing of the link, of the session, or of other keys.
    pub is_of_key: bool,
}

impl Failure {
    /// A failure of this kind with this message.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Failure {
        Failure { kind, detail: detail.into(), is_of_key: false }
    }

    /// Whether the connection itself is to blame, so that another endpoint should be tried.
    pub fn blames_link(&self) -> bool {
        self.kind.blames_link() && !self.is_of_key
    }
}
