//! The laws of the election, and the contract of the machines that hold them.
//!
//! A machine is a value: it takes an [`Input`] and the time, and gives [`Request`]s, [`Report`]s and the moment it
//! wants to be called again. It reads no clock, opens no socket and starts no thread, so a simulation can run it
//! through more bad days in a minute than a data centre sees in a century. Two machines decide everything, and do not
//! know each other: [`candidate`] (one per election) and [`session`] (one per lease). [`crew`] carries facts between
//! one session and its candidates and keeps the books: which request belongs to whom. [`handover`] stands between the user
//! and a candidate: it says how a term ends after a stop, and how it has ended. They speak both of etcd's APIs;
//! what differs is in
//! `machine/v2` and `machine/v3`: the rules for a candidate, and what keeps its entry alive. The crew alone chooses.
//!
//! # The laws
//!
//! 1. **Leading has an end that needs no message.** A lease is certain until `sent_at + ttl` of its grant or of its
//!    last *confirmed* renewal; leading ends a margin before that. A renewal is confirmed when, after its reply, one
//!    linearizable read on the same member returns the raft term that the reply had: a frozen raft leader that was cut
//!    off answers keepalives for leases that have long expired. A session whose candidates all wait behind the next in
//!    line does not confirm: it does so before one of them may lead, and after a jump of the wall clock. In v2 an
//!    entry's own time to live takes the place of the lease. Its refresh is a write, which needs no confirmation; but
//!    its end is written down by the clock of one member and judged by that of another, so leading ends earlier by as
//!    much as the one is seen to be behind.
//! 2. **Only facts make a leader:** (a) a linearizable look, taken after our join, that shows us first; or (b) a
//!    committed delete of the one member that our last look showed ahead of us, delivered by the one watch that covers
//!    both it and us, live (it has missed no change since), in a response that does not also end us. After (b) a look
//!    follows at once; if it disagrees, we step down, and before it agrees no renewal prolongs the term. A watch of v2
//!    covers one key: there only (a) counts.
//! 3. **Our own key is watched always**, for deletes and for puts; in v2 with a password, where each watch costs etcd a
//!    check of it, a follower learns from its refreshes instead. Gone, re-created, or moved off our lease: we are
//!    out, say so, and join again. A waiter without news reads every ttl, or far behind every four, whether its entry,
//!    the one just before it and the leader's still stand. A renewal that was sent before our join was answered says
//!    nothing of our key: it does not prolong what the join began. On a new link, and after a denied read, no renewal
//!    prolongs a term before a look has shown our key.
//! 4. **Tokens grow from term to term within one history of the store.** An entry that has led and lost the lead is never
//!    led from again: it is deleted, and joined afresh. Time passes before an input that could prolong a term counts. A
//!    store that went back is reported, and nobody of ours leads for one ttl and a margin.
//! 5. **Elected and Unelected alternate**; after a stop nothing but Unelected and Ended is delivered
//!    ([`crate::mailbox`]).
//! 6. **The work first, the key afterwards.** After a stop the entry is kept until the user's work has ended, or the
//!    stop's time is over; and the last event says whether it was held until then ([`handover`]). An entry that was gone when
//!    etcd was asked to delete it, though it was certain to stand, was lost before.
//! 7. **Transient is the rule, and slow is not dead.** Errors mean "look again", with jittered backoff, for ever. A
//!    request ends when it is answered, when its link breaks, or when nobody needs the answer: a late answer counts, and
//!    only `until` has consequences. While the link that serves owes an answer for longer than usual, others are opened
//!    beside it, and the first that answers takes its place. A leader and the next in line whose link broke open another at
//!    once; the others, which are many, spread theirs. Fatal is only what every reachable endpoint says before the
//!    first join (and where others share the session, a join that etcd denies: that is decided when it is applied, on
//!    every member alike). Only a definite refusal settles a request; all else is in doubt.
//! 8. **What is in doubt is owned until it is settled.** The session watches a key whose join may still arrive, and
//!    deletes what appears, until the lease has ended. A revision for which a leave was sent is never adopted again; a
//!    lease is never used again after a revoke was tried. Each new link asks which keys hang on the lease: an entry that no
//!    candidate owns is deleted. In v2, where a wipe gives names out again, an entry that we
//!    have no answer about is nobody's and runs out; a refresh names our last write, and another write is taken for
//!    ours only while one of ours is in doubt and our entry is certain to exist.
//! 9. **We never wait for ourselves**, never parse another member's suffix, and rank by (create revision, key) alone.
//! 10. **One cluster.** At first contact all endpoints are asked; later an endpoint of another cluster is put aside,
//!     and nothing it says counts.
//! 11. **A crowd costs what it must:** no look and no renewal without a reason, and one change wakes one candidate. In
//!     v3 a new leader with others behind it writes its entry once more, signed; one that a look made lead writes it again
//!     after a ttl. All others report it from that write alone, which proves nothing (law 2); only the one just behind it
//!     looks. In a small fleet each watches the leader's end, too, since other libraries announce nothing. If entries of many
//!     end at once, those behind them look by rank, the nearest first. In v2 each knows from its last look in which order the
//!     first entries will lead. In a small fleet each watches the leader's end; in a crowd each watches the next in line,
//!     which writes its entry when it leads, and one read of the leader's key shows whether it does.
//! 12. **One denied key costs no other election anything.** etcd renews a lease only for a user who may write each key on it. If it
//!     denies that, another lease is granted, and the entries move there in place: create revision, rank and token stay. Until
//!     a move is answered, an entry is as certain as the old lease. A key that we may not read is led from only for as long
//!     as was certain when we last saw it.
//! 13. **A copy of this process** (a checkpoint, the clone of a machine) holds our lease and keeps it alive as we do. A session
//!     that leads, or is next in line, writes one of its entries once on each new link, guarded by the last write it knows
//!     of; and a candidate that finds its entry written by somebody else gives up the session and its lease.

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::member::{LeaseId, Member, Membership, Revision, Standing};
use crate::time::Time;

pub mod candidate;
pub mod crew;
mod entropy;
pub mod handover;
mod in_flight;
pub mod session;
mod v2;
mod v3;
mod verbs;
mod watches;

pub use entropy::Entropy;
pub use verbs::{Answer, Failure, LINE, LinkId, Op, Reply, Request, RequestId, Seen, Stamp, Step, WatchId, Written};
pub use watches::{Change, Sign, WatchNews, Watched};

/// One election of the crew; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CandidateId(pub u64);

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
    /// The opening of a link has come so far.
    Opening {
        /// Which.
        link: LinkId,
        /// The step that is under way.
        step: Step,
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
    /// This election is to end. `holds`: the user leads as far as it knows, and its work must end first (law 6).
    Stop {
        /// Which election.
        candidate: CandidateId,
        /// Whether the entry is to be kept until [`Input::Release`].
        holds: bool,
    },
    /// The user was told by the clock that the term with this token has ended: it must not be prolonged (law 4).
    Expired {
        /// Which election.
        candidate: CandidateId,
        /// Of the term.
        token: Revision,
    },
    /// After a stop: the user's work has ended.
    Release {
        /// Which election.
        candidate: CandidateId,
    },
    /// Nothing new but the time.
    Tick,
}

/// What there is to know of one election: a level, the newest replaces the ones before.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Report {
    /// Where we stand.
    pub standing: Standing,
    /// Why we do not lead any more, if we ever did.
    pub lost: Option<Error>,
    /// What keeps us from being served, if anything does.
    pub trouble: Option<Arc<Trouble>>,
    /// How long etcd lets the entry live without a renewal, once it has said so.
    pub granted: Option<Duration>,
    /// Why the election has ended for good, if it has.
    pub fatal: Option<Error>,
    /// Whether the election has ended: nothing changes any more.
    pub ended: bool,
    /// Whether, at the end, our key is known to be gone.
    pub released: bool,
}

/// Something that is wrong just now and retried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Trouble {
    /// What is wrong.
    pub error: Error,
    /// Which endpoint it concerns, counted from 0; `None` if all or none.
    pub endpoint: Option<usize>,
}

/// The facts of a session that its candidates read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    /// The link that serves us, if one does.
    pub link: Option<LinkId>,
    /// Our lease, if we hold one. In v2, where each entry has a time to live of its own: a number that changes when all
    /// that we knew of the store is void.
    pub lease: Option<LeaseId>,
    /// The lease that was held before, from which our entries are moved.
    pub former: Option<Former>,
    /// Until when leading is certain: the end of the lease less the margin (law 1).
    pub until: Time,
    /// Before this nobody of ours leads (law 4).
    pub quiet_until: Time,
    /// A join under this session was answered: what it serves with works.
    pub has_joined: bool,
    /// The wall clock jumped, and no renewal was confirmed since: nobody may begin to lead.
    pub is_suspect: bool,
    /// v2: the revision of the last write of the candidate's entry that the session knows of; 0 if it knows none.
    pub written: Revision,
}

/// A lease that another one has replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Former {
    /// Which.
    pub lease: LeaseId,
    /// The end of the lease less the margin.
    pub until: Time,
    /// That is certain. Otherwise the last renewal was not confirmed: nobody may begin to lead under it.
    pub is_proven: bool,
}

/// What a session found of a candidate's place; carried by the crew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// What a read found under its key.
    Entry(Option<Member>),
    /// Nothing; but the link is new, and the entry is to be written once, so that a copy of this process notices.
    ToBeTouched,
    /// etcd denied the read: of this key, or of another that was read with it.
    Unchecked,
    /// It is known not to be ours any more, whatever is there.
    Lost(Option<Member>),
}

/// What a candidate asks of its session; carried by the crew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Plea {
    /// A request failed or missed its deadline, and the link is to blame.
    LinkFailed(LinkId, Failure),
    /// etcd says that this lease does not exist.
    LeaseGone(LeaseId),
    /// etcd does not let us delete our entry, which hangs on this lease.
    CannotLeave(LeaseId),
    /// A join of this key under a lease that has ended was never answered.
    InDoubt(Vec<u8>),
    /// Somebody else writes our entry as we would: a copy of this process, which holds our lease.
    Copied(LeaseId),
    /// v2: our entry was gone before its time, as if another member's clock were ahead.
    ClocksDoubted,
}

/// What a session must know of a candidate's place to keep it, and to check it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The entry that is ours.
    pub membership: Membership,
    /// Its value.
    pub name: Vec<u8>,
    /// When the request that made it was sent.
    pub asked_at: Time,
    /// The revision of the first entry in the candidate's view.
    pub leader: Option<Revision>,
    /// It was written on this link: a copy of this process notices that (law 13).
    pub is_marked: bool,
    /// v2: it leads, and many hear of that by a write of its entry: at once.
    pub is_loud: bool,
    /// It leads, or is next in line: its lease is renewed twice as often, so that a server that fails costs nobody the lead.
    pub is_near: bool,
}

/// The places of a session's candidates, in the order in which they are checked.
pub type Places = std::collections::BTreeMap<CandidateId, Place>;

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
