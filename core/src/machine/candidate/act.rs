//! A candidate asks etcd for one thing at a time. Its touch alone goes out beside that.

use super::{Candidate, Pending, Verb, Wish};
use crate::config::Api;
use crate::machine::in_flight::InFlight;
use crate::machine::{Op, member_key};
use crate::time::Time;

impl Candidate {
    /// Does the next thing that is missing.
    pub(super) fn act(&mut self, now: Time, out: &mut InFlight) {
        self.ask_next(now, out);
        if let (Some(link), false) = (self.link, self.ended) {
            self.touch(link, out);
        }
    }

    fn ask_next(&mut self, now: Time, out: &mut InFlight) {
        if self.wish == Wish::Leave {
            let leave_by = *self.leave_by.get_or_insert(now + self.pace.ttl() * 2);
            if self.is_gone() || now >= leave_by {
                self.end(now, out);
                return;
            }
        }
        let Some(link) = self.link else { return };
        let is_busy = match self.pending {
            // A leave does not wait for a read, nor a look for a check.
            Some(pending) if matches!(pending.verb, Verb::Check | Verb::Glance) && self.must_look => false,
            Some(pending) => !pending.verb.is_read() || (self.wish != Wish::Leave && self.burn.is_none()),
            None => false,
        };
        if is_busy || now < self.retry_at {
            return;
        }
        let leave = if self.wish == Wish::Leave { self.place.as_ref().map(|place| place.revision) } else { None };
        // The rest of our entry keeps others from leading. It has to, until the user's work has ended (law 6).
        let burn = self.burn.filter(|_| self.wish != Wish::Hold);
        let (verb, op) = if let Some(revision) = burn.or(leave) {
            if leave == Some(revision) {
                self.forget_place(out);
            }
            self.burn = Some(revision);
            self.burnt = self.burnt.max(revision);
            let (key, name) = (self.own.clone(), self.name.clone());
            let op = match self.pace.api {
                Api::V2 => Op::Withdraw { key, name, revision, written: self.last_written() },
                Api::V3 => Op::Leave { key, revision },
            };
            (Verb::Leave, op)
        } else if let Some(op) = self.move_entry() {
            (Verb::Move, op)
        } else if let (None, Some(lease), Wish::Campaign) = (&self.place, self.lease, self.wish) {
            if self.pace.api == Api::V3 {
                // An entry that was moved had the name of the lease before.
                self.own = member_key(&self.prefix, lease);
            }
            let (prefix, own, name) = (self.prefix.clone(), self.own.clone(), self.name.clone());
            let op = match self.pace.api {
                Api::V2 => Op::Post { prefix, name, ttl_s: self.pace.ttl_s },
                Api::V3 => Op::Join { prefix, own, name, lease },
            };
            (Verb::Join, op)
        } else if let (Some(old), false) = (self.left_behind.first().cloned(), self.wish == Wish::Hold) {
            (Verb::Clear, Op::Leave { key: old.key, revision: old.revision })
        } else if let (true, Some(place)) = (self.must_look, &self.place) {
            (self.must_look, self.look_at) = (false, Time::NEVER);
            let up_to = place.revision;
            (Verb::Look, Op::Look { prefix: self.prefix.clone(), own: self.own.clone(), up_to })
        } else if let Some(op) = self.check() {
            (Verb::Check, op)
        } else if let Some(glance) = self.glance() {
            glance
        } else {
            return;
        };
        if let Some(look) = self.pending.replace(Pending { id: out.send(link, op), verb, sent_at: now }) {
            out.forget(look.id);
        }
    }
}
