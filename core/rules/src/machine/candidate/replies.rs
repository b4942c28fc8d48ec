//! What a candidate makes of the answers to its requests.

use std::sync::Arc;

use super::entry::{Entry, Position, Proof, Stale};
use super::{Candidate, Pending, Stage, Verb};
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Answer, Failure, Plea, Reply, RequestId, Seen, Trouble};
use crate::member::{Member, Revision, View};
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
        let Some(Pending { verb, sent_at, .. }) = self.asking.pending.take_if(|pending| pending.id == id) else {
            return;
        };
        let reply = match result {
            Ok(reply) => reply,
            Err(failure) => return self.failed(verb, failure, now, out),
        };
        (self.asking.failures, self.asking.trouble) = (0, None);
        let at = reply.stamp.revision;
        match (verb, reply.answer) {
            (Verb::Join, Answer::Joined { created, seen }) => {
                self.has_joined = true;
                self.joined(created, seen, at, (sent_at, now), out);
            }
            (Verb::Join, Answer::Posted { own }) => {
                self.has_joined = true;
                self.own.clone_from(&own.key);
                self.take_place(&own, (sent_at, now)).must_look = true;
            }
            (Verb::Check, Answer::Confirmed { found } | Answer::Glimpsed { found }) => {
                self.checked_view(&found, at, out);
            }
            (Verb::Glance, Answer::Glimpsed { found }) => {
                self.glanced(found.first().and_then(Option::as_ref), at, out);
            }
            (Verb::Look, Answer::Looked(seen)) => self.looked(seen, at, now, out),
            (Verb::Move, Answer::Touched { touched: true, .. }) => self.moved(at, sent_at, now),
            (Verb::Move, Answer::Touched { found, .. }) => self.not_moved(found.as_ref(), out),
            (Verb::Leave, Answer::Left { was_there: true }) => self.position = Position::Out,
            (Verb::Leave, Answer::Left { was_there: false }) => {
                self.was_gone(now);
                self.position = Position::Out;
            }
            (Verb::Leave, Answer::Spared) => {
                self.was_gone(now);
                self.position = Position::Out;
                self.leave_to_expire(now);
            }
            (Verb::Clear, Answer::Left { .. }) => {
                self.traces.left_behind.remove(0);
            }
            (verb, answer) => {
                let detail = format!("the backend answered {answer:?} to {verb:?}");
                self.failed(verb, Failure::new(ErrorKind::Internal, detail), now, out);
            }
        }
    }

    fn joined(
        &mut self,
        created: bool,
        seen: Seen,
        at: Revision,
        (sent_at, answered_at): (Time, Time),
        out: &mut InFlight,
    ) {
        let Some(own) = seen.own.clone() else { return };
        // Only what a join of ours may have made: a restored backup may hold an entry that an earlier candidate left.
        let is_adoptable = self.traces.join_in_doubt
            && self.is_kept(&own)
            && own.revision > self.traces.given_up
            && own.name == self.name;
        if !created && !is_adoptable {
            self.position = Position::Stale(Stale::new(own.revision, 0));
            return;
        }
        let entry = self.take_place(&own, (sent_at, answered_at));
        if created && !seen.first.is_empty() {
            self.looked(seen, at, answered_at, out);
        } else {
            entry.must_look = true;
        }
    }

    fn take_place(&mut self, own: &Member, (asked_at, answered_at): (Time, Time)) -> &mut Entry {
        debug_assert!(matches!(self.position, Position::Out), "a join was answered beside {:?}", self.position);
        self.seen = self.seen.max(own.revision);
        self.position.take(Entry::new(own.revision, asked_at, answered_at))
    }

    fn looked(&mut self, seen: Seen, at: Revision, now: Time, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        if at < self.seen {
            entry.must_look = true;
            return;
        }
        if !self.is_ours(seen.own.as_ref()) {
            self.lose(seen.own.as_ref(), out);
            return;
        }
        let Some(first) = seen.first.iter().min_by_key(|member| member.rank()).cloned() else {
            let failure = Failure::new(ErrorKind::Protocol, "a look showed our entry but no first one");
            self.failed(Verb::Look, failure, now, out);
            return;
        };
        self.seen = at;
        let Some(entry) = self.position.entry_mut() else { return };
        let rank = (entry.revision, self.own.as_slice());
        let before = seen.latest.iter().filter(|member| member.rank() < rank).max_by_key(|member| member.rank());
        let next_in_line = seen.first.get(1).is_some_and(|second| second.key == self.own);
        (entry.unseen_until, entry.look_at) = (None, Time::NEVER);
        entry.hearing.looked();
        let is_first = first.key == self.own;
        if is_first {
            let is_by_look = !entry.leads();
            entry.prove(Proof::Looked);
            if self.pace.rules.leaders_announce() && entry.hearing.must_announce(seen.first.len() > 1) {
                entry.writes.must_write();
                // A look made us lead, and not our watch, as after a restored backup. Candidates that were connecting have missed
                // the write. The entry of the leader that they know may stand, so that no delete tells them.
                if is_by_look {
                    entry.hearing.write_at = now + self.pace.ttl();
                }
            }
        } else {
            if entry.drop_proof() {
                self.why.get_or_insert(Error::new(ErrorKind::KeyLost, "a look showed another member before us"));
            }
            if !self.pace.checks_keys(seen.count) {
                entry.look_at = now + self.pace.look_again(seen.count, next_in_line);
            }
        }
        let line = self.pace.line(&seen.first, rank, seen.count);
        self.warn_of_nesting(before.into_iter().chain([&first]).find(|member| self.is_nested(member)).cloned());
        self.begin_to_follow(before, seen.count, out);
        let (before, span) = (before.cloned(), at.saturating_sub(first.revision));
        let view = View {
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
        };
        if let Some(entry) = self.position.entry_mut() {
            entry.view = Some(view);
        }
        if !is_first {
            self.check_later(out);
        }
        self.watch_view(out);
    }

    pub(super) fn failed(&mut self, verb: Verb, failure: Failure, now: Time, out: &mut InFlight) {
        let is_definite = failure.kind.is_definite_refusal();
        let moving_to = self.position.entry().and_then(|entry| entry.moving_to);
        let lease = if verb == Verb::Move { moving_to } else { self.lease };
        match (verb, self.position.entry_mut()) {
            (Verb::Check, entry) if failure.kind == ErrorKind::Invalid => {
                // The server takes fewer operations in one transaction. A look has as many as our join.
                entry.into_iter().for_each(|entry| entry.must_look = true);
                return;
            }
            (Verb::Join, _) if !is_definite => self.doubt_join(now),
            (Verb::Look, Some(entry)) => entry.must_look = true,
            (Verb::Check | Verb::Glance, Some(entry)) => entry.hearing.must_check(),
            (Verb::Move, Some(_)) => self.move_failed(is_definite),
            _ => {}
        }
        // Its lease may be renewed for ever, and it would stand in the way of those behind it.
        let is_of_no_use = |entry: &Entry| failure.is_of_key && entry.is_out_of_sight(now);
        if verb.is_read() && self.stage == Stage::Campaigning && self.position.entry().is_some_and(is_of_no_use) {
            self.retire_entry(out);
        }
        self.asking.failures = self.asking.failures.saturating_add(1);
        let leads = self.position.entry().is_some_and(Entry::leads);
        let cap = if leads { self.pace.urgent_backoff_cap.min(self.pace.backoff_cap) } else { self.pace.backoff_cap };
        self.asking.retry_at = now + out.entropy.backoff(self.asking.failures, cap);
        let error = Error::new(failure.kind, failure.detail.clone());
        self.asking.trouble = Some(Arc::new(Trouble { error: error.clone(), endpoint: None }));
        match (failure.kind, lease, self.link) {
            (ErrorKind::LeaseLost, Some(lease), _) => self.pleas.push(Plea::LeaseGone(lease)),
            // The link may serve others, and what it says of our key is not its own opinion: etcd decides it when it
            // applies the request, on every member alike.
            (ErrorKind::Denied, ..)
                if verb == Verb::Join && !self.has_joined && (failure.is_of_key || self.session_has_joined) =>
            {
                self.refuse(error, now);
            }
            (ErrorKind::Denied, Some(lease), _) if verb == Verb::Leave && failure.is_of_key => {
                self.pleas.push(Plea::CannotLeave(lease));
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
