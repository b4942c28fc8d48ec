//! The history of the store, as answers show it: those of another cluster do not count, and a store that went back begins a new
//! history (laws 4 and 10).

use super::Session;
use crate::config::OnStoreReset;
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::{Booking, InFlight};
use crate::machine::{Answer, Failure, Reply, Stamp};
use crate::member::Revision;
use crate::time::Time;

impl Session {
    /// Looks at what an answer says of the store before anything else in it counts. Answers of another cluster and of
    /// another history do not count: `Err` says why (laws 4 and 10).
    pub(in crate::machine) fn observe(
        &mut self,
        reply: &Reply,
        booking: &Booking,
        now: Time,
        out: &mut InFlight,
    ) -> Result<(), Failure> {
        let link = booking.link;
        if self.links.current() != Some(link) {
            self.note_clock(reply.stamp, booking, now);
            return Ok(());
        }
        if self.links.is_foreign(reply.stamp.cluster) {
            return Err(Failure::new(ErrorKind::ClusterMismatch, "the answer came from another etcd cluster"));
        }
        self.note_answer(&reply.answer, booking.sent_at, now);
        self.has_joined |= matches!(reply.answer, Answer::Joined { .. } | Answer::Posted { .. });
        self.note_clock(reply.stamp, booking, now);
        if matches!(reply.answer, Answer::Posted { .. }) {
            self.keeper.wrote(now);
        }
        if reply.stamp.clock_s.is_some() {
            self.weigh_clocks(now, out);
        }
        if matches!(reply.answer, Answer::Posted { .. }) {
            self.trouble_is_over(now);
        }
        match reply.answer {
            // The header of what the lessor says is not linearizable.
            Answer::Renewed { .. } | Answer::Listed { .. } => {}
            // A lease that is gone already is revoked by a refusal, which has no header: its stamp is an older one of the link's.
            Answer::Revoked | Answer::Glimpsed { .. } => self.saw(reply.stamp.revision, out),
            _ => self.check_history(reply.stamp, booking.known, now, out),
        }
        Ok(())
    }

    /// The serving link has answered, so it is not silent. What the lessor says proves nothing of that: a member without a
    /// majority says it, too.
    fn note_answer(&mut self, answer: &Answer, sent_at: Time, now: Time) {
        let is_linearizable =
            !matches!(answer, Answer::Renewed { .. } | Answer::Listed { .. } | Answer::Glimpsed { .. });
        self.links.heard(Some(now.since(sent_at)), is_linearizable.then_some(now));
    }

    /// An answer or a watch that showed this revision proves it.
    pub(in crate::machine) fn saw(&mut self, revision: Revision, out: &mut InFlight) {
        out.known = out.known.max(revision);
    }

    pub(super) fn check_history(&mut self, stamp: Stamp, known: Revision, now: Time, out: &mut InFlight) {
        if stamp.revision < known {
            let detail = format!(
                "the store went back from revision {known} to {}: it was wiped or restored from a backup",
                stamp.revision
            );
            self.reset(stamp.revision, detail, now, out);
        }
        out.known = out.known.max(stamp.revision);
    }

    /// A new history begins: nothing of the old one counts, and nobody of ours leads until all of the old one have
    /// stepped down (law 4).
    pub(super) fn reset(&mut self, revision: Revision, detail: String, now: Time, out: &mut InFlight) {
        out.begin_history(revision);
        self.quiet_until = now + self.timings.ttl() + self.timings.margin;
        self.drop_lease(now);
        let error = Error::new(ErrorKind::StoreReset, detail);
        self.worry(None, error.clone());
        if self.timings.on_store_reset == OnStoreReset::Stop {
            self.fatal = Some(error);
        }
    }
}
