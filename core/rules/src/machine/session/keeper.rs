//! The keeper of our places in etcd: a lease that all share (`v3/lease`), or each entry's own time to live
//! (`v2/entry`). It also clears away the entries of ours that nobody needs any more.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use crate::machine::in_flight::InFlight;
use crate::machine::{CandidateId, Failure, Finding, Former, LinkId, Places, Reply, RequestId, WatchId, WatchNews};
use crate::member::{LeaseId, Revision};
use crate::time::Time;

/// What became of one candidate's place, if it still is at the revision named.
pub(in crate::machine) type Check = (CandidateId, Revision, Finding);

/// What the session should know.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::machine) enum KeeperNews {
    /// Nothing.
    Nothing,
    /// The lease was granted, or a renewal was confirmed.
    Kept,
    /// The lease does not exist any more.
    Gone,
    /// A server has shown its clock.
    Clock,
    /// Entries of ours that etcd has listed: those that have no place, and no candidate, are nobody's.
    Listed(Vec<Vec<u8>>),
    /// A request of ours failed.
    Failed(Failure),
}

/// Keeps the places of one session alive, and knows until when they are certain (law 1).
pub(in crate::machine) trait Keeper: std::fmt::Debug {
    /// A machine is a value: the same once more.
    fn copy(&self) -> Box<dyn Keeper>;

    /// A value that can be told from another.
    fn feed(&self, hasher: &mut dyn Hasher);

    /// What the candidates' places hang on.
    fn lease(&self) -> Option<LeaseId>;

    /// How long the server lets it live, once it has said so: a lease may live longer than we asked for.
    fn granted(&self) -> Option<Duration>;

    /// What they hung on before, if they are to be moved, and until when those who still do may lead.
    fn former(&self) -> Option<Former> {
        None
    }

    /// v2: the revision of the last write of the entry that we know of; 0 if there is none.
    fn written(&self) -> Revision {
        0
    }

    /// Until when those who are first may lead: a margin before their places may end.
    fn leading_until(&self) -> Time;

    /// Whether the wall clock jumped and no renewal was confirmed since.
    fn is_suspect(&self) -> bool;

    /// Nothing is held, asked for, in doubt, or still to be given up.
    fn is_over(&self) -> bool;

    /// What is held is not to be used any more.
    fn retire(&mut self, now: Time);

    /// An entry that hangs on what is held can be ended in no other way than with that: the others are to leave it. Where each
    /// entry has a time to live of its own, it ends by itself.
    fn replace(&mut self, _now: Time) {}

    /// The held lease or entry has ended, or can be used no longer.
    fn lose(&mut self, now: Time) {
        self.retire(now);
    }

    /// Takes over a key at which a join that was never answered may still make an entry. Where entries have a time to live of
    /// their own, each runs out.
    fn own_doubt(&mut self, _key: Vec<u8>) {}

    /// Takes over an entry of ours that is nobody's.
    fn own_orphan(&mut self, _key: Vec<u8>) {}

    /// Whether an entry under this prefix may still appear.
    fn has_doubt_under(&self, _prefix: &[u8]) -> bool {
        false
    }

    /// Whether an entry under this prefix that the keeper has taken over may be there, or appear.
    fn owes(&self, _prefix: &[u8]) -> bool {
        false
    }

    /// An entry of ours was written on the link that serves: a copy of this process notices that (law 13).
    fn marked(&mut self) {}

    fn watch_news(&mut self, _: WatchId, _: WatchNews, _now: Time, _: &mut InFlight) {}

    /// A new link serves, to this endpoint: what was under way on the old one is in doubt, and a renewal tells most.
    fn relinked(&mut self, endpoint: usize, now: Time, out: &mut InFlight);

    /// The wall clock jumped ahead.
    fn suspect(&mut self, now: Time, out: &mut InFlight);

    /// No link serves: what was under way is in doubt. `is_wanted`: some candidate needs what is held.
    fn unlinked(&mut self, is_wanted: bool, now: Time, out: &mut InFlight);

    /// The session is over: closes the links that the keeper itself has opened.
    fn close(&mut self, _: &mut InFlight) {}

    /// The endpoint to which a link of the keeper leads. Where entries end by the servers' clocks, it asks the servers that do
    /// not serve us for theirs.
    fn endpoint_of(&self, _: LinkId) -> Option<usize> {
        None
    }

    /// An answer to a request that was sent at `sent_at` says that this endpoint's clock shows this second.
    fn note_clock(&mut self, _endpoint: usize, _clock_s: u64, _sent_at: Time, _now: Time) {}

    /// The serving endpoint has written down when an entry of ours ends.
    fn wrote(&mut self, _now: Time) {}

    /// An entry of ours was gone before its time, as if another server's clock were ahead.
    fn doubt_clocks(&mut self, _now: Time) {}

    /// By how much another endpoint's clock is ahead of that of the one which serves, at least, and which.
    fn behind(&mut self, _now: Time) -> Option<(usize, Duration)> {
        None
    }

    /// By how much our entries may end early because of that.
    fn skew(&self) -> Duration {
        Duration::ZERO
    }

    /// Since when a request that prolongs our certainty is not answered, if there is one.
    fn waiting_since(&self) -> Option<Time>;

    /// Whether somebody leads or is next in line, so that what is held is worth twice as many renewals; and whether somebody may
    /// lead at any moment, so that each renewal must be confirmed.
    fn hurry(&mut self, is_near: bool, must_prove: bool);

    /// Does what is due. `key` is one that we may read. The candidate that a check names has something to do.
    fn advance(
        &mut self,
        link: LinkId,
        is_wanted: bool,
        key: &[u8],
        places: &Places,
        now: Time,
        out: &mut InFlight,
    ) -> Option<Check>;

    fn timeout(&self, is_served: bool, now: Time) -> Time;

    /// `is_undated`: the wall clock jumped since the request was sent, so that a renewal proves nothing.
    fn reply(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        is_undated: bool,
        now: Time,
        out: &mut InFlight,
    ) -> (KeeperNews, Vec<Check>);
}

impl Clone for Box<dyn Keeper> {
    fn clone(&self) -> Box<dyn Keeper> {
        self.copy()
    }
}

impl Hash for Box<dyn Keeper> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.feed(hasher);
    }
}
