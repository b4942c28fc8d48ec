//! Every outstanding request and watch of a crew, in one table: whose it is, on which link, since when, how urgent.
//!
//! The table holds requests back: of those that candidates send, a link carries a [`WINDOW`] at a time. A server that is
//! asked ten thousand things at once answers the renewals among them too late. Where each request costs etcd the check of a
//! password (API v2), a link carries one at a time, and a leave beside it; a refresh goes before all others. etcd checks all
//! that it is asked at once side by side, so that everything is late together, and raft with it.

use std::collections::{BTreeMap, VecDeque};

use super::{CandidateId, Entropy, LinkId, Op, Request, RequestId, WatchId, Watched};
use crate::member::Revision;
use crate::time::Time;

/// How many of the candidates' requests may be unanswered on one link. Measured with 10,000 elections of one process: 64, 128
/// and 256 are as good, 512 is worse.
const WINDOW: usize = 128;

/// Which machine a request or a watch belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// The session.
    Session,
    /// This candidate.
    Candidate(CandidateId),
}

/// The order in which requests go out when not all may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Priority {
    /// Openings, the lease and what confirms it: never held back.
    Session,
    /// A refresh of API v2, where each request costs a check of the password.
    Refresh,
    /// What lets another one lead, or us go on leading: leaves, and entries that are moved to another lease.
    HandOver,
    /// Joins.
    Join,
    /// Looks, and keys in doubt.
    Rest,
}

impl Priority {
    const HELD: usize = 4;

    fn of(op: &Op, checks_passwords: bool) -> Priority {
        match op {
            Op::Refresh { .. } if checks_passwords => Priority::Refresh,
            Op::Leave { .. } | Op::Withdraw { .. } | Op::Touch { .. } => Priority::HandOver,
            Op::Join { .. } | Op::Post { .. } => Priority::Join,
            Op::Look { .. } | Op::Check { .. } => Priority::Rest,
            _ => Priority::Session,
        }
    }

    /// Its place among the queues of what is held back.
    fn queue(self) -> Option<usize> {
        match self {
            Priority::Session => None,
            Priority::Refresh => Some(0),
            Priority::HandOver => Some(1),
            Priority::Join => Some(2),
            Priority::Rest => Some(3),
        }
    }
}

/// An outstanding request.
#[derive(Clone, Copy, Debug, Hash)]
pub(super) struct Booking {
    pub(super) owner: Owner,
    pub(super) link: LinkId,
    /// When it was sent, or, while it is held back, when it was asked for.
    pub(super) sent_at: Time,
    /// The highest revision known when it was sent: a linearizable answer from the same history is not below it.
    pub(super) known: Revision,
    /// Whether it was not sent yet, as the link's window is full.
    is_held: bool,
    /// Whether it takes a place in that window.
    is_counted: bool,
    /// The wall clock jumped while the request was under way: our clock may have stood still, so nobody knows its age.
    pub(super) is_undated: bool,
}

/// Hands out ids and requests, keeps the table, and draws random numbers for all machines of a crew.
#[derive(Clone, Debug, Hash)]
pub(super) struct InFlight {
    pub(super) entropy: Entropy,
    /// What time it is, for the table.
    pub(super) now: Time,
    /// In whose name [`InFlight::send`] and [`InFlight::watch`] act.
    pub(super) owner: Owner,
    /// The highest revision seen so far.
    pub(super) known: Revision,
    /// To be handed out at once.
    requests: VecDeque<Request>,
    /// To be handed out when the window of their link has room, by priority.
    held: [VecDeque<Request>; Priority::HELD],
    /// Each request costs etcd the check of our password.
    checks_passwords: bool,
    last_id: u64,
    under_way: BTreeMap<RequestId, Booking>,
    /// How many counted requests are unanswered on each link.
    load: BTreeMap<LinkId, usize>,
    watches: BTreeMap<WatchId, (Owner, LinkId)>,
}

impl InFlight {
    pub(super) fn new(entropy: Entropy, checks_passwords: bool) -> InFlight {
        InFlight {
            entropy,
            checks_passwords,
            now: Time::ZERO,
            owner: Owner::Session,
            known: 0,
            requests: VecDeque::new(),
            held: Default::default(),
            last_id: 0,
            under_way: BTreeMap::new(),
            load: BTreeMap::new(),
            watches: BTreeMap::new(),
        }
    }

    /// A number that no request, link, watch or candidate of this crew had before.
    pub(super) fn fresh(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Takes in a request that gets a reply.
    pub(super) fn send(&mut self, link: LinkId, op: Op) -> RequestId {
        let priority = Priority::of(&op, self.checks_passwords);
        self.enter(link, op, priority)
    }

    /// The same for one that can wait.
    pub(super) fn send_at_leisure(&mut self, link: LinkId, op: Op) -> RequestId {
        self.enter(link, op, Priority::Rest)
    }

    fn enter(&mut self, link: LinkId, op: Op, priority: Priority) -> RequestId {
        let id = RequestId(self.fresh());
        let (owner, sent_at, known) = (self.owner, self.now, self.known);
        let queue = priority.queue();
        let (is_held, is_counted, is_undated) = (queue.is_some(), false, false);
        self.under_way.insert(id, Booking { owner, link, sent_at, known, is_held, is_counted, is_undated });
        queue.map_or(&mut self.requests, |queue| &mut self.held[queue]).push_back(Request { id, link, op });
        id
    }

    /// The wall clock jumped: nobody knows the age of what is under way.
    pub(super) fn jumped(&mut self) {
        let sent = self.under_way.values_mut().filter(|booking| !booking.is_held);
        sent.for_each(|booking| booking.is_undated = true);
    }

    /// Starts a watch.
    pub(super) fn watch(&mut self, link: LinkId, range: Watched) -> WatchId {
        let watch = WatchId(self.fresh());
        self.watches.insert(watch, (self.owner, link));
        self.post(link, Op::Watch { watch, range });
        watch
    }

    /// Ends a watch.
    pub(super) fn unwatch(&mut self, watch: WatchId) {
        if let Some((_, link)) = self.watches.remove(&watch) {
            self.post(link, Op::Unwatch { watch });
        }
    }

    /// Nobody waits for this answer any more: the request is not sent if it was held back. One that was sent has its place
    /// until it is answered, since the server is at work on it; and its answer still tells of the store and of the clocks.
    /// Whether it is sure not to be sent.
    pub(super) fn forget(&mut self, id: RequestId) -> bool {
        let was_held = self.under_way.get(&id).is_some_and(|booking| booking.is_held);
        if was_held {
            self.under_way.remove(&id);
        }
        was_held
    }

    /// Closes a link: what is under way on it is forgotten, and so in doubt.
    pub(super) fn close(&mut self, link: LinkId) {
        self.under_way.retain(|_, booking| booking.link != link);
        self.watches.retain(|_, (_, on)| *on != link);
        self.requests.retain(|request| request.link != link);
        self.held.iter_mut().for_each(|held| held.retain(|request| request.link != link));
        self.load.remove(&link);
        self.post(link, Op::Close);
    }

    /// The store went back to this revision: answers to what is under way are not measured by the old history.
    pub(super) fn begin_history(&mut self, revision: Revision) {
        self.known = revision;
        self.under_way.values_mut().for_each(|booking| booking.known = 0);
    }

    /// Takes a reply out of the table; `None` if nobody waits for it any more.
    pub(super) fn settle(&mut self, id: RequestId) -> Option<Booking> {
        let booking = self.under_way.remove(&id)?;
        if let Some(load) = self.load.get_mut(&booking.link).filter(|_| booking.is_counted) {
            *load -= 1;
        }
        Some(booking)
    }

    /// When the oldest request on this link was sent that is not answered.
    pub(super) fn oldest(&self, link: LinkId) -> Option<Time> {
        let on_it = self.under_way.values().find(|booking| booking.link == link);
        on_it.map(|booking| booking.sent_at)
    }

    /// Whose watch this is, if it is one of this link.
    pub(super) fn watcher(&self, link: LinkId, watch: WatchId) -> Option<Owner> {
        self.watches.get(&watch).filter(|(_, on)| *on == link).map(|(owner, _)| *owner)
    }

    /// The next request to carry out; [`InFlight::now`] is when it is sent.
    pub(super) fn pop(&mut self) -> Option<Request> {
        self.requests.pop_front().or_else(|| (0..Priority::HELD).find_map(|queue| self.pop_held(queue)))
    }

    fn pop_held(&mut self, queue: usize) -> Option<Request> {
        while let Some(request) = self.held[queue].front() {
            let (id, link) = (request.id, request.link);
            let Some(booking) = self.under_way.get_mut(&id) else {
                self.held[queue].pop_front();
                continue;
            };
            let load = self.load.entry(link).or_default();
            // A read whose answer is lost keeps nobody from leaving.
            let beside = usize::from(Some(queue) == Priority::HandOver.queue());
            if *load >= if self.checks_passwords { 1 + beside } else { WINDOW } {
                return None;
            }
            *load += 1;
            (booking.sent_at, booking.known) = (self.now, self.known.max(booking.known));
            (booking.is_held, booking.is_counted) = (false, true);
            return self.held[queue].pop_front();
        }
        None
    }

    fn post(&mut self, link: LinkId, op: Op) {
        let id = RequestId(self.fresh());
        self.requests.push_back(Request { id, link, op });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(7);

    fn table() -> InFlight {
        InFlight::new(Entropy::new(1, 0), false)
    }

    fn look() -> Op {
        Op::Look { prefix: Vec::new(), own: Vec::new(), up_to: 0 }
    }

    fn leave() -> Op {
        Op::Leave { key: Vec::new(), revision: 1 }
    }

    fn pop_all(table: &mut InFlight) -> Vec<RequestId> {
        std::iter::from_fn(|| table.pop()).map(|request| request.id).collect()
    }

    #[test]
    fn a_link_carries_a_window_of_requests_and_the_urgent_go_first() {
        let mut table = table();
        let looks: Vec<RequestId> = (0..2 * WINDOW).map(|_| table.send(LINK, look())).collect();
        assert_eq!(pop_all(&mut table), looks[..WINDOW]);
        let (leave, renew) = (table.send(LINK, leave()), table.send(LINK, Op::Renew { lease: 1 }));
        assert_eq!(pop_all(&mut table), [renew], "what keeps the lease is never held back");
        table.settle(looks[0]);
        assert_eq!(pop_all(&mut table), [leave]);
        table.settle(renew);
        assert!(pop_all(&mut table).is_empty(), "it took no place");
        table.settle(leave);
        assert_eq!(pop_all(&mut table), [looks[WINDOW]]);
    }

    #[test]
    fn where_each_costs_a_check_of_the_password_one_goes_at_a_time_and_a_leave_beside_it() {
        let mut table = InFlight::new(Entropy::new(1, 0), true);
        let looks = [table.send(LINK, look()), table.send(LINK, look())];
        assert_eq!(pop_all(&mut table), looks[..1]);
        let leaves = [table.send(LINK, leave()), table.send(LINK, leave())];
        assert_eq!(pop_all(&mut table), leaves[..1]);
        table.settle(looks[0]);
        assert_eq!(pop_all(&mut table), leaves[1..]);
        table.settle(leaves[0]);
        assert!(pop_all(&mut table).is_empty());
        table.settle(leaves[1]);
        assert_eq!(pop_all(&mut table), looks[1..]);
    }

    #[test]
    fn what_nobody_waits_for_is_not_sent_and_if_it_was_it_has_its_place_until_it_is_answered() {
        let mut table = table();
        let looks: Vec<RequestId> = (0..WINDOW + 2).map(|_| table.send(LINK, look())).collect();
        assert_eq!(pop_all(&mut table).len(), WINDOW);
        table.forget(looks[WINDOW]);
        table.forget(looks[3]);
        assert!(pop_all(&mut table).is_empty());
        assert!(table.settle(looks[3]).is_some(), "its answer is heard");
        assert_eq!(pop_all(&mut table), [looks[WINDOW + 1]]);
    }

    #[test]
    fn a_request_counts_from_when_it_is_sent() {
        let mut table = table();
        let looks: Vec<RequestId> = (0..=WINDOW).map(|_| table.send(LINK, look())).collect();
        pop_all(&mut table);
        (table.now, table.known) = (Time::from_nanos(5), 9);
        table.settle(looks[0]);
        assert_eq!(pop_all(&mut table), [looks[WINDOW]]);
        let booking = table.settle(looks[WINDOW]).expect("it is under way");
        assert_eq!((booking.sent_at, booking.known), (Time::from_nanos(5), 9));
    }
}
