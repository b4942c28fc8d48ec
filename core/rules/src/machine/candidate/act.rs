//! A candidate asks etcd for one thing at a time. Its touch alone goes out beside that.

use super::{Candidate, Pending, Stage, Verb};
use crate::machine::Op;
use crate::machine::in_flight::InFlight;
use crate::time::Time;

impl Candidate {
    /// Does the next thing that is missing.
    pub(super) fn act(&mut self, now: Time, out: &mut InFlight) {
        if let Stage::Leaving { by } = self.stage {
            // Nobody wants the entry any more: a join that was not sent yet is no work for a server that is behind.
            let is_unsent = |pending: &mut Pending| pending.verb == Verb::Join && out.forget(pending.id);
            let _ = self.asking.pending.take_if(is_unsent);
            if now >= by || self.is_gone() {
                self.end(now, out);
                return;
            }
        }
        let Some(link) = self.link else { return };
        if let Some((verb, op)) = self.next_request(now, out) {
            let pending = Pending { id: out.send(link, op), verb, sent_at: now };
            if let Some(read) = self.asking.pending.replace(pending) {
                out.forget(read.id);
            }
        }
        self.touch(link, out);
    }

    fn is_busy(&self) -> bool {
        let Some(Pending { verb, .. }) = self.asking.pending else { return false };
        // A leave does not wait for a read, nor a look for a check.
        let leaves = matches!(self.stage, Stage::Leaving { .. }) || self.position.stale().is_some();
        let must_look = self.position.entry().is_some_and(|entry| entry.must_look);
        !verb.is_read() || !(leaves || must_look && matches!(verb, Verb::Check | Verb::Glance))
    }

    fn next_request(&mut self, now: Time, out: &mut InFlight) -> Option<(Verb, Op)> {
        if self.is_busy() || now < self.asking.retry_at {
            return None;
        }
        if matches!(self.stage, Stage::Leaving { .. }) {
            self.retire_entry(out);
        }
        // The rest of our entry keeps others from leading. It has to, until the user's work has ended (law 6).
        let may_delete = self.stage != Stage::HandingOver;
        if let Some(stale) = self.position.stale_mut().filter(|_| may_delete) {
            stale.asked += 1;
            self.traces.give_up(stale.revision);
            let op = self.pace.rules.leave(&self.own, &self.name, stale.revision, stale.written);
            return Some((Verb::Leave, op));
        }
        if let Some(op) = self.move_entry() {
            return Some((Verb::Move, op));
        }
        let has_none = self.position.entry().is_none();
        if let (true, Some(lease), Stage::Campaigning) = (has_none, self.lease, self.stage) {
            // An entry that was moved had the name of the lease before.
            if let Some(key) = self.pace.rules.own_key(&self.prefix, lease) {
                self.own = key;
            }
            let op = self.pace.rules.join(&self.prefix, &self.own, &self.name, lease, self.pace.ttl_s);
            return Some((Verb::Join, op));
        }
        if let Some(old) = self.traces.left_behind.first().filter(|_| may_delete) {
            return Some((Verb::Clear, Op::Leave { key: old.key.clone(), revision: old.revision }));
        }
        if let Some(entry) = self.position.entry_mut().filter(|entry| entry.must_look) {
            (entry.must_look, entry.look_at) = (false, Time::NEVER);
            let up_to = entry.revision;
            return Some((Verb::Look, Op::Look { prefix: self.prefix.clone(), own: self.own.clone(), up_to }));
        }
        self.check().map(|op| (Verb::Check, op)).or_else(|| self.glance().map(|op| (Verb::Glance, op)))
    }
}
