//! One election: join, look, wait, lead, step down, leave (laws 2, 3, 5, 6, 9).
//!
//! The candidate is written as levels, not as a script: inputs change what it knows, and `advance` then
//! does whatever is missing (a leave, a join, a look, a watch). So a lost reply, a broken link and a new lease all lead
//! through the same few lines.

use std::sync::Arc;
use std::time::Duration;

use super::outbox::Outbox;
use super::{Facts, Failure, LinkId, Op, Plea, Report, RequestId, Trouble, member_key, members_of};
use crate::error::{Error, ErrorKind};
use crate::member::{Leader, LeaseId, Member, Membership, Revision, Standing, View};
use crate::time::Time;

mod replies;
mod watching;
use watching::Watching;

/// The times a candidate keeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Without news for this long a waiter looks again.
    pub(super) ttl: Duration,
    /// How long a request may take.
    pub(super) attempt: Duration,
    /// The longest wait between retries.
    pub(super) backoff_cap: Duration,
    /// How long a stop waits for the user.
    pub(super) stop_timeout: Duration,
}

/// What the user wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// To lead.
    Campaign,
    /// To stop, but the user believes to lead and must hear first; `None`: is just hearing it.
    Hold(Option<Time>),
    /// To be gone.
    Leave,
}

/// How we know that we are first (law 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// A look showed it.
    Looked,
    /// The delete of the only one ahead of us; a look must agree by then.
    Watched { agree_by: Time },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Join,
    Look,
    Leave,
    /// Delete what was left behind under a former lease.
    Clear,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    id: RequestId,
    verb: Verb,
    deadline: Time,
}

/// One election of one process.
#[derive(Debug)]
pub struct Candidate {
    prefix: Vec<u8>,
    name: Vec<u8>,
    pace: Pace,
    wish: Wish,
    link: Option<LinkId>,
    endpoint: Option<usize>,
    lease: Option<LeaseId>,
    /// Our member key under that lease.
    own: Vec<u8>,
    place: Option<Membership>,
    view: Option<View>,
    proof: Option<Proof>,
    /// The newest revision our knowledge includes; an older look is stale.
    seen: Revision,
    /// An entry under our key that must be deleted before we join.
    burn: Option<Revision>,
    /// No entry up to this revision is adopted: a leave was sent for it, or we were told that it is lost.
    burnt: Revision,
    /// Entries under former leases. A foreign put may have taken one off its lease: it would stay for ever.
    left_behind: Vec<Membership>,
    /// A join under this lease was never answered, so it may still arrive.
    join_in_doubt: bool,
    pending: Option<Pending>,
    /// Covers our key, and while we wait the one just before it too: the one range watch of law 2b.
    watch: Option<Watching>,
    /// Covers the leader's key, where that is not one of those.
    leader_watch: Option<Watching>,
    must_look: bool,
    look_at: Time,
    retry_at: Time,
    failures: u32,
    /// Watches that the server ended in a row.
    cancels: u32,
    /// When we, asked to leave, hand what is left over to the session.
    leave_by: Option<Time>,
    /// The session's certainty has run out, and is not back yet.
    lapsed: bool,
    why: Option<Error>,
    warning: Option<Arc<Trouble>>,
    trouble: Option<Arc<Trouble>>,
    report: Report,
    ended: bool,
    pleas: Vec<Plea>,
}

impl Candidate {
    pub(super) fn new(key: &str, name: &str, pace: Pace) -> Candidate {
        Candidate {
            prefix: members_of(key),
            name: name.as_bytes().to_vec(),
            pace,
            wish: Wish::Campaign,
            link: None,
            endpoint: None,
            lease: None,
            own: Vec::new(),
            place: None,
            view: None,
            proof: None,
            seen: 0,
            burn: None,
            burnt: 0,
            left_behind: Vec::new(),
            join_in_doubt: false,
            pending: None,
            watch: None,
            leader_watch: None,
            must_look: false,
            look_at: Time::NEVER,
            retry_at: Time::ZERO,
            failures: 0,
            cancels: 0,
            leave_by: None,
            lapsed: false,
            why: None,
            warning: None,
            trouble: None,
            report: Report::default(),
            ended: false,
            pleas: Vec::new(),
        }
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn place(&self) -> Option<&Membership> {
        self.place.as_ref()
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Whether we are done: nothing of us is left in etcd that is not in doubt.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// The keys that may hold, or come to hold, an entry of ours: the session owns them once we have ended (law 8).
    pub(super) fn doubts(&self) -> Vec<Vec<u8>> {
        let may_exist = self.join_in_doubt || self.place.is_some() || self.burn.is_some();
        let own = (may_exist && self.lease.is_some()).then(|| self.own.clone());
        own.into_iter().chain(self.left_behind.iter().map(|old| old.key.clone())).collect()
    }

    pub(super) fn take_pleas(&mut self) -> Vec<Plea> {
        std::mem::take(&mut self.pleas)
    }

    pub(super) fn stop(&mut self, led: bool, now: Time) {
        if self.wish == Wish::Campaign {
            self.wish = if led { Wish::Hold(Some(now + self.pace.stop_timeout)) } else { Wish::Leave };
            self.why = Some(Error::new(ErrorKind::Stopped, "the election was asked to stop"));
        }
    }

    /// The election cannot go on.
    pub(super) fn fail(&mut self, error: Error) {
        if self.wish != Wish::Leave {
            self.wish = Wish::Leave;
            self.why = Some(error);
        }
    }

    pub(super) fn entered(&mut self) {
        if let Wish::Hold(until) = &mut self.wish {
            *until = None;
        }
    }

    pub(super) fn acknowledged(&mut self) {
        if matches!(self.wish, Wish::Hold(_)) {
            self.wish = Wish::Leave;
        }
    }

    /// What the session's confirming read found under our key, when we held it at `revision` (law 3).
    pub(super) fn checked(&mut self, revision: Revision, found: Option<&Member>, out: &mut Outbox) {
        if self.place.as_ref().is_some_and(|place| place.revision == revision) && !self.is_ours(found) {
            self.lose(found.is_some(), out);
        }
    }

    /// Notices what the session says now, lets times pass, and does what is missing.
    pub(super) fn advance(&mut self, facts: &Facts, now: Time, out: &mut Outbox) {
        if self.ended {
            return;
        }
        self.follow(facts, out);
        self.let_time_pass(facts, now, out);
        self.act(now, out);
    }

    /// A new lease or a new link: what hung on the old one is gone.
    fn follow(&mut self, facts: &Facts, out: &mut Outbox) {
        if self.lease != facts.lease {
            if self.place.is_some() && self.proof.is_some() {
                self.why.get_or_insert(Error::new(ErrorKind::LeaseLost, "our lease is gone"));
            }
            let is_joining = self.pending.is_some_and(|pending| pending.verb == Verb::Join);
            if let Some(revision) = self.place.as_ref().map(|place| place.revision).or(self.burn) {
                self.left_behind.push(Membership { key: std::mem::take(&mut self.own), revision });
            } else if self.join_in_doubt || is_joining {
                self.pleas.push(Plea::InDoubt(std::mem::take(&mut self.own)));
            }
            self.forget_place(out);
            self.lease = facts.lease;
            self.own = facts.lease.map_or(Vec::new(), |lease| member_key(&self.prefix, lease));
            self.pending.take_if(|pending| pending.verb != Verb::Clear);
            (self.burn, self.burnt, self.seen, self.join_in_doubt) = (None, 0, 0, false);
        }
        if self.link != facts.link {
            if self.pending.take().is_some_and(|pending| pending.verb == Verb::Join) {
                self.join_in_doubt = true;
            }
            (self.watch, self.leader_watch) = (None, None);
            if self.lapsed {
                // What was seen on the old link is too old to lead on.
                self.proof = None;
            }
            (self.link, self.endpoint) = (facts.link, facts.endpoint);
            self.must_look = self.place.is_some();
        }
    }

    fn let_time_pass(&mut self, facts: &Facts, now: Time, out: &mut Outbox) {
        if self.proof.is_some() && now >= facts.until && !self.lapsed {
            self.lapsed = true;
            self.proof = None;
            self.must_look = true;
            self.why.get_or_insert(Error::new(ErrorKind::Deadline, "a renewal was not confirmed in time"));
        }
        if now < facts.until {
            self.lapsed = false;
        }
        if matches!(self.proof, Some(Proof::Watched { agree_by }) if now >= agree_by) {
            self.proof = None;
            self.must_look = true;
            self.why.get_or_insert(Error::new(ErrorKind::Timeout, "no look confirmed in time that we are first"));
        }
        if matches!(self.wish, Wish::Hold(Some(until)) if now >= until) {
            self.wish = Wish::Leave;
        }
        if let Some(pending) = self.pending.take_if(|pending| now >= pending.deadline) {
            let detail = format!("no answer within {} ms", self.pace.attempt.as_millis());
            self.failed(pending.verb, Failure::new(ErrorKind::Timeout, detail), now, out);
        }
        let is_watch_late = self.watches().any(|watch| watch.is_overdue(now));
        if let (true, Some(link)) = (is_watch_late, self.link) {
            let detail = format!("no watch within {} ms", self.pace.attempt.as_millis());
            self.pleas.push(Plea::LinkFailed(link, Failure::new(ErrorKind::Timeout, detail)));
        }
        if now >= self.look_at {
            self.must_look = true;
        }
        self.publish(facts, now);
    }

    /// Does the next thing that is missing.
    fn act(&mut self, now: Time, out: &mut Outbox) {
        if self.wish == Wish::Leave {
            let leave_by = *self.leave_by.get_or_insert(now + self.pace.ttl * 2);
            if self.is_gone() || now >= leave_by {
                self.end(out);
                return;
            }
        }
        let Some(link) = self.link else { return };
        let is_busy = match self.pending {
            // A leave does not wait for a look.
            Some(pending) => pending.verb != Verb::Look || self.wish != Wish::Leave,
            None => false,
        };
        if is_busy || now < self.retry_at {
            return;
        }
        let leave = if self.wish == Wish::Leave { self.place.as_ref().map(|place| place.revision) } else { None };
        let (verb, op) = if let Some(revision) = self.burn.or(leave) {
            if leave == Some(revision) {
                self.forget_place(out);
            }
            self.burn = Some(revision);
            self.burnt = self.burnt.max(revision);
            (Verb::Leave, Op::Leave { key: self.own.clone(), revision })
        } else if let (None, Some(lease), Wish::Campaign) = (&self.place, self.lease, self.wish) {
            let (prefix, own, name) = (self.prefix.clone(), self.own.clone(), self.name.clone());
            (Verb::Join, Op::Join { prefix, own, name, lease })
        } else if let Some(old) = self.left_behind.first().cloned() {
            (Verb::Clear, Op::Leave { key: old.key, revision: old.revision })
        } else if let (true, Some(place)) = (self.must_look, &self.place) {
            (self.must_look, self.look_at) = (false, Time::NEVER);
            let up_to = place.revision;
            (Verb::Look, Op::Look { prefix: self.prefix.clone(), own: self.own.clone(), up_to })
        } else {
            return;
        };
        self.pending = Some(Pending { id: out.send(link, op), verb, deadline: now + self.pace.attempt });
    }

    /// When [`Candidate::advance`] wants to be called again.
    pub(super) fn timeout(&self, facts: &Facts, now: Time) -> Time {
        if self.ended {
            return Time::NEVER;
        }
        let agree_by = match self.proof {
            Some(Proof::Watched { agree_by }) => agree_by,
            _ => Time::NEVER,
        };
        let leave_by = self.leave_by.unwrap_or(Time::NEVER);
        let told_by = if let Wish::Hold(Some(until)) = self.wish { until } else { Time::NEVER };
        let still_ahead = |time: Time| if time > now { time } else { Time::NEVER };
        let (lapse, quiet, retry) =
            (still_ahead(facts.until), still_ahead(facts.quiet_until), still_ahead(self.retry_at));
        let look = if self.must_look { Time::NEVER } else { self.look_at };
        let request = self.pending.map_or(Time::NEVER, |pending| pending.deadline);
        let watch = self.watches().map(|watch| watch.created_by()).min().unwrap_or(Time::NEVER);
        [agree_by, leave_by, told_by, lapse, quiet, retry, look, request, watch]
            .into_iter()
            .min()
            .unwrap_or(Time::NEVER)
    }

    /// Our entry is not ours any more. If something is left under our key, it is deleted before we join again.
    fn lose(&mut self, is_left: bool, out: &mut Outbox) {
        let Some(place) = self.place.clone() else { return };
        if self.proof.is_some() {
            self.why
                .get_or_insert(Error::new(ErrorKind::KeyLost, "our key was deleted or overwritten by somebody else"));
        }
        self.burnt = self.burnt.max(place.revision);
        self.burn = is_left.then_some(place.revision);
        self.forget_place(out);
    }

    fn forget_place(&mut self, out: &mut Outbox) {
        (self.place, self.view, self.proof) = (None, None, None);
        for watch in [self.watch.take(), self.leader_watch.take()].into_iter().flatten() {
            out.unwatch(watch.id());
        }
        self.must_look = false;
        self.look_at = Time::NEVER;
    }

    fn is_ours(&self, found: Option<&Member>) -> bool {
        matches!((found, &self.place), (Some(found), Some(place))
            if found.revision == place.revision && Some(found.lease) == self.lease)
    }

    /// Nothing of ours is in etcd, as far as is known. A join under way is waited for.
    fn is_gone(&self) -> bool {
        let has_entry = self.lease.is_some() && (self.place.is_some() || self.burn.is_some());
        !has_entry && self.left_behind.is_empty() && self.pending.is_none_or(|pending| pending.verb == Verb::Look)
    }

    fn end(&mut self, out: &mut Outbox) {
        self.report.ended = true;
        self.report.released = self.doubts().is_empty();
        self.report.trouble = None;
        self.report.standing = Standing::Out;
        for watch in [self.watch.take(), self.leader_watch.take()].into_iter().flatten() {
            out.unwatch(watch.id());
        }
        self.pending = None;
        self.ended = true;
    }

    fn leader(&self) -> Option<Leader> {
        let first = &self.view.as_ref()?.first;
        (first.key != self.own).then(|| Leader { name: first.name_text(), token: first.revision })
    }

    /// Brings the report up to date.
    fn publish(&mut self, facts: &Facts, now: Time) {
        let is_certain = now < facts.until;
        let standing = match (&self.place, self.proof) {
            _ if self.wish != Wish::Campaign || !is_certain => Standing::Out,
            (None, _) => Standing::Out,
            (Some(place), Some(_)) if now >= facts.quiet_until => {
                Standing::Leading { token: place.revision, until: facts.until }
            }
            (Some(_), _) => Standing::Following(self.leader()),
        };
        let led = matches!(self.report.standing, Standing::Leading { .. });
        let leads = matches!(standing, Standing::Leading { .. });
        if led && !leads {
            let unknown = || Error::new(ErrorKind::Deadline, "a renewal was not confirmed in time");
            self.report.lost = Some(self.why.take().unwrap_or_else(unknown));
        } else if leads {
            self.why = None;
        }
        self.report.standing = standing;
        self.report.trouble = self.trouble.clone().or_else(|| self.warning.clone());
    }
}
