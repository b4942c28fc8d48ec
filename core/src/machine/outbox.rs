//! Where the machines put their requests, and the book of what is under way: which request and which watch is whose.

use std::collections::{BTreeMap, VecDeque};

use super::{CandidateId, Entropy, LinkId, Op, Request, RequestId, WatchId};
use crate::member::Revision;
use crate::time::Time;

/// Which machine a request or a watch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The session.
    Session,
    /// This candidate.
    Candidate(CandidateId),
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Booking {
    pub(super) owner: Owner,
    pub(super) link: LinkId,
    pub(super) sent_at: Time,
    /// The highest revision known when it was sent: a linearizable answer from the same history is not below it.
    pub(super) known: Revision,
}

/// Collects requests, hands out ids, keeps the book, and draws random numbers for all machines of a crew.
#[derive(Debug)]
pub(super) struct Outbox {
    pub(super) entropy: Entropy,
    /// What time it is, for the book.
    pub(super) now: Time,
    /// In whose name [`Outbox::send`] and [`Outbox::watch`] act.
    pub(super) owner: Owner,
    /// The highest revision seen so far.
    pub(super) known: Revision,
    requests: VecDeque<Request>,
    last_id: u64,
    under_way: BTreeMap<RequestId, Booking>,
    watches: BTreeMap<WatchId, (Owner, LinkId)>,
}

impl Outbox {
    pub(super) fn new(entropy: Entropy) -> Outbox {
        Outbox {
            entropy,
            now: Time::ZERO,
            owner: Owner::Session,
            known: 0,
            requests: VecDeque::new(),
            last_id: 0,
            under_way: BTreeMap::new(),
            watches: BTreeMap::new(),
        }
    }

    /// A number that no request, link, watch or candidate of this crew had before.
    pub(super) fn fresh(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Queues a request that gets a reply.
    pub(super) fn send(&mut self, link: LinkId, op: Op) -> RequestId {
        let id = RequestId(self.fresh());
        self.under_way.insert(id, Booking { owner: self.owner, link, sent_at: self.now, known: self.known });
        self.requests.push_back(Request { id, link, op });
        id
    }

    /// Starts a watch of the keys from `from` up to, not including, `to`.
    pub(super) fn watch(&mut self, link: LinkId, from: Vec<u8>, to: Vec<u8>, start: Revision) -> WatchId {
        let watch = WatchId(self.fresh());
        self.watches.insert(watch, (self.owner, link));
        self.post(link, Op::Watch { watch, from, to, start });
        watch
    }

    /// Ends a watch.
    pub(super) fn unwatch(&mut self, watch: WatchId) {
        if let Some((_, link)) = self.watches.remove(&watch) {
            self.post(link, Op::Unwatch { watch });
        }
    }

    /// Closes a link: what is under way on it is forgotten, and so in doubt.
    pub(super) fn close(&mut self, link: LinkId) {
        self.under_way.retain(|_, booking| booking.link != link);
        self.watches.retain(|_, (_, on)| *on != link);
        self.requests.retain(|request| request.link != link);
        self.post(link, Op::Close);
    }

    /// The store went back to this revision: answers to what is under way are not measured by the old history.
    pub(super) fn begin_history(&mut self, revision: Revision) {
        self.known = revision;
        self.under_way.values_mut().for_each(|booking| booking.known = 0);
    }

    /// Takes a reply out of the book; `None` if nobody waits for it any more.
    pub(super) fn settle(&mut self, id: RequestId) -> Option<Booking> {
        self.under_way.remove(&id)
    }

    /// Whose watch this is, if it is one of this link.
    pub(super) fn watcher(&self, link: LinkId, watch: WatchId) -> Option<Owner> {
        self.watches.get(&watch).filter(|(_, on)| *on == link).map(|(owner, _)| *owner)
    }

    /// The next request to carry out.
    pub(super) fn pop(&mut self) -> Option<Request> {
        self.requests.pop_front()
    }

    fn post(&mut self, link: LinkId, op: Op) {
        let id = RequestId(self.fresh());
        self.requests.push_back(Request { id, link, op });
    }
}
