//! Everything on the way between one process and the store: requests, answers, watches, and what a connection that broke has left.

use etcd_leader_rules::machine::{Change, Failure, LinkId, Op, Reply, Request, RequestId, WatchId, WatchNews, Watched};
use etcd_leader_rules::member::{LeaseId, Revision};

use crate::store::Store;

/// A request, and its answer once it has been carried out.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Call {
    pub(crate) id: RequestId,
    pub(crate) op: Op,
    pub(crate) answer: Option<Result<Reply, Failure>>,
    /// Time may pass while it is under way.
    pub(crate) is_late: bool,
}

/// A watch, as the server has it.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Watch {
    pub(crate) id: WatchId,
    pub(crate) range: Watched,
    /// The revision of the store when it was made, once it is.
    pub(crate) created: Option<Revision>,
    /// That was told.
    pub(crate) is_told: bool,
    /// The first revision that was not told yet.
    pub(crate) next: Revision,
    /// Time may pass while it has something to tell.
    pub(crate) is_late: bool,
}

/// A connection. Its requests are answered in any order, and its watches tell in any order.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Conn {
    pub(crate) link: LinkId,
    pub(crate) calls: Vec<Call>,
    pub(crate) watches: Vec<Watch>,
}

#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Wires {
    pub(crate) conns: Vec<Conn>,
    /// Writes that were sent on a connection that is gone: each may still be carried out, and nobody hears of it.
    pub(crate) ghosts: Vec<Op>,
    /// All that is sent is late.
    pub(crate) is_slow: bool,
    /// The leases under which this process has joined.
    pub(crate) leases: Vec<LeaseId>,
}

impl Watch {
    /// Its news: all of it, or, if `is_all` is not set, the first revision alone.
    pub(crate) fn news(&self, store: &Store, is_all: bool) -> Vec<Change> {
        let mut changes = store.changes(&self.range, self.next);
        if let (false, Some(first)) = (is_all, changes.first().map(|change| change.at)) {
            changes.retain(|change| change.at == first);
        }
        changes
    }

    /// Takes the next news.
    pub(crate) fn take(&mut self, store: &Store, is_all: bool) -> WatchNews {
        if !std::mem::replace(&mut self.is_told, true) {
            return WatchNews::Created { revision: self.created.unwrap_or_default() };
        }
        let changes = self.news(store, is_all);
        self.next = changes.last().map_or(self.next, |last| last.at + 1);
        WatchNews::Changes { changes }
    }

    /// Makes it.
    pub(crate) fn begin(&mut self, store: &Store) {
        self.created = Some(store.revision);
        self.next = self.range.start.unwrap_or(store.revision + 1);
    }

    pub(crate) fn is_under_way(&self, store: &Store) -> bool {
        !self.is_told || !self.news(store, true).is_empty()
    }
}

impl Wires {
    pub(crate) fn calls(&self) -> impl Iterator<Item = &Call> {
        self.conns.iter().flat_map(|conn| &conn.calls)
    }

    pub(crate) fn watches(&self) -> impl Iterator<Item = &Watch> {
        self.conns.iter().flat_map(|conn| &conn.watches)
    }

    pub(crate) fn call(&mut self, id: RequestId) -> &mut Call {
        let mut calls = self.conns.iter_mut().flat_map(|conn| &mut conn.calls);
        calls.find(|call| call.id == id).expect("a request that is under way")
    }

    pub(crate) fn watch(&mut self, id: WatchId) -> (LinkId, &mut Watch) {
        let mut watches = self.conns.iter_mut().flat_map(|conn| conn.watches.iter_mut().map(|one| (conn.link, one)));
        watches.find(|(_, watch)| watch.id == id).expect("a watch that is on")
    }

    /// Takes an answer off.
    pub(crate) fn take(&mut self, id: RequestId) -> Result<Reply, Failure> {
        for conn in &mut self.conns {
            if let Some(at) = conn.calls.iter().position(|call| call.id == id) {
                return conn.calls.remove(at).answer.expect("it was carried out");
            }
        }
        unreachable!("nobody waits for {id:?}")
    }

    /// Takes in a request. One for a connection that is gone is dropped.
    pub(crate) fn send(&mut self, request: Request) {
        let Request { id, link, op } = request;
        if let Op::Open { .. } = op {
            self.conns.push(Conn { link, calls: Vec::new(), watches: Vec::new() });
        }
        let Some(at) = self.conns.iter().position(|conn| conn.link == link) else { return };
        let conn = &mut self.conns[at];
        if let Op::Join { lease, .. } = op
            && !self.leases.contains(&lease)
        {
            self.leases.push(lease);
        }
        match op {
            Op::Close => self.lose(link),
            Op::Watch { watch, range } => {
                conn.watches.push(Watch {
                    id: watch,
                    range,
                    created: None,
                    is_told: false,
                    next: 0,
                    is_late: self.is_slow,
                });
            }
            Op::Unwatch { watch } => conn.watches.retain(|one| one.id != watch),
            op => conn.calls.push(Call { id, op, answer: None, is_late: self.is_slow }),
        }
    }

    /// A connection is gone. Of what was sent on it, writes may still arrive.
    pub(crate) fn lose(&mut self, link: LinkId) {
        for conn in self.conns.extract_if(.., |conn| conn.link == link) {
            let unanswered = conn.calls.into_iter().filter(|call| call.answer.is_none()).map(|call| call.op);
            let is_write = |op: &Op| {
                matches!(
                    op,
                    Op::Grant { .. }
                        | Op::Renew { .. }
                        | Op::Revoke { .. }
                        | Op::Join { .. }
                        | Op::Touch { .. }
                        | Op::Leave { .. }
                )
            };
            self.ghosts.extend(unanswered.filter(is_write));
        }
    }

    /// The process is gone, and its connections with it.
    pub(crate) fn lose_all(&mut self) {
        let links: Vec<LinkId> = self.conns.iter().map(|conn| conn.link).collect();
        links.into_iter().for_each(|link| self.lose(link));
        self.leases.clear();
        self.is_slow = false;
    }

    /// The number of things under way for which time waits.
    pub(crate) fn in_time(&self, store: &Store) -> u8 {
        let calls = self.calls().filter(|call| !call.is_late).count();
        let watches = self.watches().filter(|watch| !watch.is_late && watch.is_under_way(store)).count();
        u8::try_from(calls + watches).unwrap_or(u8::MAX)
    }

    /// All that is under way is late, and all that will be.
    pub(crate) fn slow_down(&mut self) {
        self.is_slow = true;
        self.conns.iter_mut().flat_map(|conn| &mut conn.calls).for_each(|call| call.is_late = true);
        self.conns.iter_mut().flat_map(|conn| &mut conn.watches).for_each(|watch| watch.is_late = true);
    }

    /// All that is under way is late.
    pub(crate) fn delay(&mut self, store: &Store) {
        for conn in &mut self.conns {
            conn.calls.iter_mut().for_each(|call| call.is_late = true);
            conn.watches.iter_mut().for_each(|watch| watch.is_late |= watch.is_under_way(store));
        }
    }
}
