//! The crowd's server in API v2: entries end by the clock, and a watch is a row of long polls, one event each.

use etcd_leader_rules::member::Revision;

use super::*;

/// etcd keeps so many events.
const KEPT: u64 = 1_000;
/// The raft leader tells so often what time it is.
const SYNC: Ns = 500 * MS;

/// A long poll.
pub(super) struct Poll {
    pub(super) proc: usize,
    pub(super) link: LinkId,
    watch: WatchId,
    key: Vec<u8>,
    /// The first revision that it wants.
    next: Revision,
    /// It is the first of its watch.
    is_first: bool,
}

impl Poll {
    pub(super) fn new(proc: usize, link: LinkId, watch: WatchId, range: &Watched) -> Poll {
        let next = range.start.expect("a watch of API v2 says from when on");
        Poll { proc, link, watch, key: range.from.clone(), next, is_first: true }
    }
}

pub(super) fn cluster() -> Cluster {
    Cluster { checks_passwords: true, ..Cluster::new_v2(0xc1, 1, KEPT) }
}

impl Crowd {
    pub(super) fn is_v2(&self) -> bool {
        self.cluster.checks_passwords
    }

    pub(super) fn unwatch(&mut self, proc: usize, watch: WatchId) {
        self.watches.retain(|(of, _, one, _)| (*of, *one) != (proc, watch));
        self.polls.retain(|poll| (poll.proc, poll.watch) != (proc, watch));
    }

    /// A poll is answered at once if there is an event for it, and waits for one if there is none.
    pub(super) fn poll(&mut self, mut poll: Poll) {
        if !self.procs[poll.proc].links.contains(&poll.link) {
            return;
        }
        if std::mem::take(&mut poll.is_first) {
            self.news(&poll, WatchNews::Created { revision: self.cluster.store.revision });
        }
        self.polls.push(poll);
        self.answer_polls();
    }

    /// A poll that has an event ends with it, and the next one is asked for.
    pub(super) fn answer_polls(&mut self) {
        for mut poll in std::mem::take(&mut self.polls) {
            let event = self.cluster.store.log.iter().rev().take_while(|change| change.at >= poll.next);
            match event.filter(|change| change.key == poll.key).last().cloned() {
                Some(change) => {
                    poll.next = change.at + 1;
                    self.news(&poll, WatchNews::Changes { changes: vec![change] });
                    self.log_in(1, Ev::Poll(Box::new(poll)));
                }
                None => self.polls.push(poll),
            }
        }
    }

    fn news(&mut self, poll: &Poll, news: WatchNews) {
        let input = Box::new(Input::Watch { link: poll.link, watch: poll.watch, news });
        self.at(self.now + WAY, Ev::Deliver { proc: poll.proc, input });
    }

    pub(super) fn sync(&mut self) {
        while self.cluster.expire_next(self.now).is_some() {}
        self.answer_polls();
        self.at(self.now + SYNC, Ev::Sync);
    }
}
