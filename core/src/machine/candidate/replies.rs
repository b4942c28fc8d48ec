//! What a candidate makes of the answers to its requests.

use std::sync::Arc;

use super::copies::Writes;
use super::{Candidate, Proof, Verb};
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Answer, Failure, Plea, Reply, RequestId, Seen, Trouble};
use crate::member::{Member, Membership, Revision, View};
use crate::time::Time;

impl Candidate {
    pub(in crate::machine) fn reply(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        now: Time,
        out: &mut InFlight,
    ) {
        if self.is_touch(id) {
            let result = result.and_then(|reply| match reply.answer {
                Answer::Touched { touched: true, .. } => Ok(Ok(reply.stamp.revision)),
                Answer::Touched { found, .. } => Ok(Err(found)),
                answer => Err(Failure::new(ErrorKind::Internal, format!("the backend answered {answer:?} to a touch"))),
            });
            return self.touched(result, out);
        }
        let Some(pending) = self.pending.take_if(|pending| pending.id == id) else { return };
        let sent_at = pending.sent_at;
        match result {
            Err(failure) => self.failed(pending.verb, failure, now, out),
            Ok(reply) => {
                self.failures = 0;
                self.trouble = None;
                match (pending.verb, reply.answer) {
                    (Verb::Join, Answer::Joined { created, seen }) => {
                        (self.joined_at, self.answered_at, self.has_joined) = (sent_at, now, true);
                        self.joined(created, seen, reply.stamp.revision, now, out);
                    }
                    (Verb::Join, Answer::Posted { own }) => {
                        (self.joined_at, self.answered_at, self.has_joined) = (sent_at, now, true);
                        self.own.clone_from(&own.key);
                        self.take_place(own);
                        self.must_look = true;
                    }
                    (Verb::Check, Answer::Confirmed { found } | Answer::Glimpsed { found }) => {
                        self.checked_view(&found, reply.stamp.revision, out)
                    }
                    (Verb::Glance, Answer::Glimpsed { found }) => {
                        self.glanced(found.first().and_then(Option::as_ref), reply.stamp.revision, out);
                    }
                    (Verb::Look, Answer::Looked(seen)) => self.looked(seen, reply.stamp.revision, now, out),
                    (Verb::Move, Answer::Touched { touched: true, .. }) => {
                        self.moved(reply.stamp.revision, sent_at, now);
                    }
                    (Verb::Move, Answer::Touched { found, .. }) => self.not_moved(found.as_ref(), out),
                    (Verb::Leave, Answer::Left) => self.burn = None,
                    (Verb::Leave, Answer::Spared) => {
                        self.burn = None;
                        self.haunt(now);
                    }
                    (Verb::Clear, Answer::Left) => {
                        self.left_behind.remove(0);
                    }
                    (verb, answer) => {
                        let detail = format!("the backend answered {answer:?} to {verb:?}");
                        self.failed(verb, Failure::new(ErrorKind::Internal, detail), now, out);
                    }
                }
            }
        }
    }

    fn joined(&mut self, created: bool, seen: Seen, at: Revision, now: Time, out: &mut InFlight) {
        let Some(own) = seen.own.clone() else {
            self.must_look = true;
            return;
        };
        // Only what a join of ours may have made: a restored backup may hold an entry that an earlier candidate left.
        let is_adoptable =
            self.join_in_doubt && self.is_kept(&own) && own.revision > self.burnt && own.name == self.name;
        if !created && !is_adoptable {
            self.burn = Some(own.revision);
            return;
        }
        self.take_place(own);
        if created && !seen.first.is_empty() {
            self.looked(seen, at, now, out);
        } else {
            self.must_look = true;
        }
    }

    fn take_place(&mut self, own: Member) {
        self.seen = self.seen.max(own.revision);
        self.writes = Writes::default();
        self.wrote(own.revision);
        self.place = Some(Membership { key: own.key, revision: own.revision });
    }

    fn looked(&mut self, seen: Seen, at: Revision, now: Time, out: &mut InFlight) {
        let Some(place) = self.place.clone() else { return };
        if at < self.seen {
            self.must_look = true;
            return;
        }
        if !self.is_ours(seen.own.as_ref()) {
            self.lose(seen.own.as_ref(), out);
            return;
        }
        let rank = (place.revision, place.key.as_slice());
        let Some(first) = seen.first.iter().min_by_key(|member| member.rank()).cloned() else {
            let failure = Failure::new(ErrorKind::Protocol, "a look showed our entry but no first one");
            self.failed(Verb::Look, failure, now, out);
            return;
        };
        let before = seen.latest.iter().filter(|member| member.rank() < rank).max_by_key(|member| member.rank());
        let next_in_line = seen.first.get(1).is_some_and(|second| second.key == place.key);
        (self.seen, self.unseen_until) = (at, None);
        self.look_at = Time::NEVER;
        self.hearing.looked();
        self.warn_of_nesting(before.into_iter().chain([&first]).find(|member| self.is_nested(member)).cloned());
        if first.key == place.key {
            self.proof = Some(Proof::Looked);
            self.announce(seen.first.len() > 1);
        } else {
            if self.proof.take().is_some() {
                self.why.get_or_insert(Error::new(ErrorKind::KeyLost, "a look showed another member before us"));
            }
            if !self.pace.checks_keys(seen.count) {
                self.look_at = now + self.pace.look_again(seen.count);
            }
        }
        self.begin_to_follow(before, seen.count, out);
        let line = self.line(&seen.first, &place, seen.count);
        let (before, span) = (before.cloned(), at.saturating_sub(first.revision));
        self.view = Some(View {
            at,
            first,
            first_at: at,
            is_hearsay: false,
            displaced: None,
            line,
            looked_at: at,
            next_at: at,
            before,
            next_in_line,
            count: seen.count,
            span,
        });
        if self.proof.is_none() {
            self.check_later(out);
        }
        self.watch_view(out);
    }

    pub(super) fn failed(&mut self, verb: Verb, failure: Failure, now: Time, out: &mut InFlight) {
        if (verb, failure.kind) == (Verb::Check, ErrorKind::Invalid) {
            // The server takes fewer operations in one transaction. A look has as many as our join.
            self.must_look = true;
            return;
        }
        let is_definite = failure.kind.is_definite_refusal();
        let lease = if verb == Verb::Move { self.moving_to } else { self.lease };
        match verb {
            Verb::Join => {
                self.join_in_doubt |= !is_definite;
                if !is_definite {
                    self.haunt(now);
                }
            }
            Verb::Look => self.must_look = true,
            Verb::Check | Verb::Glance => self.hearing.must_check(),
            Verb::Move => self.move_failed(is_definite),
            Verb::Leave | Verb::Clear => {}
        }
        self.denied(verb, &failure);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now + out.entropy.backoff(self.failures, self.pace.backoff_cap);
        let error = Error::new(failure.kind, failure.detail.clone());
        self.trouble = Some(Arc::new(Trouble { error: error.clone(), endpoint: None }));
        match (failure.kind, lease, self.link) {
            (ErrorKind::LeaseLost, Some(lease), _) => self.pleas.push(Plea::LeaseGone(lease)),
            // The link may serve others, and what it says of our key is not its own opinion: etcd decides it when it
            // applies the request, on every member alike.
            (ErrorKind::Denied, ..)
                if verb == Verb::Join && !self.has_joined && (failure.is_of_key || self.session_has_joined) =>
            {
                self.refuse(error);
            }
            (ErrorKind::Denied, ..) if self.session_has_joined => {}
            (_, _, Some(link)) if failure.blames_link() => self.pleas.push(Plea::LinkFailed(link, failure)),
            _ => {}
        }
    }

    /// A member whose own part of the key has a slash belongs to another election, nested in ours by mistake.
    fn is_nested(&self, member: &Member) -> bool {
        member.key.get(self.prefix.len()..).is_some_and(|suffix| suffix.contains(&b'/'))
    }

    fn warn_of_nesting(&mut self, nested: Option<Member>) {
        self.warning = nested.map(|member| {
            let detail = format!(
                "the key {:?} lies inside this election and is ahead of us; is another election nested in it?",
                String::from_utf8_lossy(&member.key)
            );
            Arc::new(Trouble { error: Error::new(ErrorKind::Nested, detail), endpoint: None })
        });
    }
}
