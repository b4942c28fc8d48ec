//! The books learn from the replies to a crew's requests, and from the changes that its watches report.

use std::time::Duration;

use etcd_leader_rules::machine::{Answer, Input, Reply, WatchNews, members_of};
use etcd_leader_rules::time::Time;

use super::{Renewed, Sent, Verb};
use crate::world::{ELECTIONS, World};

impl World {
    /// A crew is about to be told something.
    pub(crate) fn before(&mut self, proc: usize, input: &Input) {
        let now = self.local(proc);
        match input {
            Input::Reply { id, result } => {
                let books = &mut self.procs[proc].books;
                let Some(at) = books.calls.iter().position(|call| call.id == *id) else { return };
                let call = books.calls.remove(at);
                if books.calls.iter().any(|other| other.link == call.link && other.order < call.order) {
                    self.stats.replies_overtaken += 1;
                }
                let is_settled = match result {
                    Ok(_) => true,
                    Err(failure) => failure.kind.is_definite_refusal(),
                };
                if is_settled {
                    books.ledger.settled(*id);
                }
                if let Ok(reply) = result {
                    self.replied(proc, &call, reply, now);
                } else if call.verb == Verb::Check {
                    self.referee.frugal.checked(proc, self.now);
                }
            }
            // What was under way is void from now on: what it grants is never used, and runs out.
            Input::Jumped => {
                let books = &mut self.procs[proc].books;
                books.calls.iter_mut().for_each(|call| call.is_void = true);
                books.renewed = None;
                books.ledger.sees_jump();
            }
            Input::Watch { watch, news: WatchNews::Changes { changes }, .. } => {
                let books = &mut self.procs[proc].books;
                let range = books.watches.iter().find(|known| known.0 == *watch);
                self.procs[proc].range = range.map(|known| known.2.clone());
                // A crew does not hear a watch that it has ended.
                let is_watched = self.procs[proc].range.is_some();
                let books = &mut self.procs[proc].books;
                if let Some(last) = changes.last().filter(|_| is_watched) {
                    books.known = books.known.max(last.at);
                    let election = ELECTIONS.iter().position(|key| last.key.starts_with(&members_of(key))).unwrap_or(0);
                    books.heard[election] = last.at;
                }
                let mut ends = changes.iter().filter(|change| change.now.is_none());
                let ledger = &mut self.procs[proc].books.ledger;
                self.referee.frugal.calls += u64::from(ends.any(|change| ledger.heard_end(&change.key)));
                self.referee.frugal.heard(proc);
            }
            Input::Watch { news: WatchNews::Canceled { .. }, .. } => {
                self.referee.frugal.canceled(proc);
            }
            _ => {}
        }
    }

    fn replied(&mut self, proc: usize, call: &Sent, reply: &Reply, now: Time) {
        let quarantine = self.timings.ttl() + self.timings.margin;
        let ours = self.clusters[0].id;
        let books = &mut self.procs[proc].books;
        let stamp = reply.stamp;
        // Not at the first word of it: the crew may be asking all endpoints, and choose another.
        if books.cluster.is_none() && matches!(call.verb, Verb::Grant(_) | Verb::Post) {
            books.cluster = Some(stamp.cluster);
        }
        if books.cluster.is_some_and(|known| known != stamp.cluster) {
            if stamp.cluster != ours {
                self.stats.foreign_replies += 1;
                return;
            }
            // The cluster was built anew: the quarantine cannot begin before the first word of it.
            (books.cluster, books.known) = (Some(ours), stamp.revision);
            (books.quiet_until, books.went_back) = (Some(now + quarantine), Some(self.now));
            books.ledger.void();
            self.stats.quarantines += 1;
            self.referee.lost_history(proc);
        }
        // An opening that did not read shows nothing of the store.
        let has_read = stamp.revision > 0 || !matches!(call.verb, Verb::Open(_));
        // The header of what the lessor says is not linearizable.
        let lags = matches!(reply.answer, Answer::Renewed { .. } | Answer::Listed { .. } | Answer::Glimpsed { .. });
        if has_read && !lags {
            if stamp.revision < call.known {
                let text = format!(
                    "p{proc}: the store went back from {} to {}: quiet for {quarantine:?}",
                    call.known, stamp.revision
                );
                if self.trace.on {
                    self.trace.push(self.now, text);
                }
                (books.quiet_until, books.went_back) = (Some(now + quarantine), Some(self.now));
                books.known = stamp.revision;
                // The new history answers all that is under way, and is known of by now.
                books.calls.iter_mut().for_each(|call| call.known = 0);
                books.ledger.void();
                self.stats.quarantines += 1;
                self.referee.lost_history(proc);
                if self.clusters[0].history == 0 {
                    let text = format!("p{proc}: the model went back from {} to {}", call.known, stamp.revision);
                    self.referee.accuse(0, text);
                    return;
                }
            }
            // The crew may not choose this endpoint: then its words need not count.
            if !matches!(call.verb, Verb::Open(_)) {
                books.known = books.known.max(stamp.revision);
            }
        }
        let asked = books.refreshes.iter().position(|(id, ..)| *id == call.id);
        let asked = asked.map(|at| books.refreshes.swap_remove(at)).map(|(_, key, shows)| (key, shows));
        if self.is_v2() {
            let on = self.procs[proc].link(call.link).map(|link| (link.endpoint, link.id));
            self.hears_v2(proc, on, (call.at, call.is_void), &asked, reply);
        }
        let books = &mut self.procs[proc].books;
        match (call.verb, &reply.answer) {
            (Verb::Grant(id), Answer::Granted { ttl_s }) if !call.is_void => {
                if let Some(lease) = books.lease(id) {
                    lease.granted = Duration::from_secs(*ttl_s as u64);
                    lease.ttl = lease.ttl.min(lease.granted);
                    lease.certain = lease.first_sent + lease.ttl;
                    lease.cluster = stamp.cluster;
                }
            }
            (Verb::Renew(id), Answer::Renewed { ttl_s }) if *ttl_s > 0 && !call.is_void => {
                let ttl = Duration::from_secs(*ttl_s as u64);
                let (link, sent, term, order) = (call.link, call.at, stamp.term, books.order);
                books.renewed = Some(Renewed { lease: id, link, sent, ttl, term, order });
            }
            (Verb::Confirm, Answer::Confirmed { .. }) => {
                let Some(renewed) = &books.renewed else { return };
                if renewed.link == call.link && call.order > renewed.order {
                    if renewed.term == stamp.term {
                        let (id, sent, ttl) = (renewed.lease, renewed.sent, renewed.ttl);
                        if let Some(lease) = books.lease(id) {
                            lease.certain = lease.certain.max(sent + lease.ttl.min(ttl));
                        }
                    } else {
                        self.stats.refused_by_term += 1;
                    }
                }
            }
            (Verb::Check, _) => self.referee.frugal.checked(proc, self.now),
            (Verb::Look(election), Answer::Looked(_)) => {
                self.stats.stale_looks += u64::from(stamp.revision < books.heard[election]);
                self.has_looked(proc, election);
            }
            (Verb::Move(lease), Answer::Touched { touched: true, .. }) => {
                self.stats.moved += 1;
                if let Some(at) = books.moves.iter().position(|(id, _)| *id == call.id) {
                    // Of two answers the one of the later write counts.
                    let moved = books.moved.entry(books.moves.swap_remove(at).1).or_insert((lease, 0));
                    if stamp.revision >= moved.1 {
                        *moved = (lease, stamp.revision);
                    }
                }
            }
            (Verb::Join(election), Answer::Joined { created, seen }) => {
                books.has_joined = true;
                self.stats.else_joins += u64::from(!created);
                if let Some(own) = &seen.own {
                    self.stats.burnt_refused +=
                        u64::from(books.burnt.iter().any(|b| b.0 == own.key && b.1 == own.revision));
                    books.places.push((own.key.clone(), own.revision));
                }
                if *created && !seen.first.is_empty() {
                    self.has_looked(proc, election);
                }
            }
            _ => {}
        }
    }
}
