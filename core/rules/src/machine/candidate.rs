//! One election: join, look, wait, lead, step down, leave (laws 2, 3, 5, 6, 9).
//!
//! Two values say where it stands. The stage goes on in one direction: campaigning, handing over, leaving, ended. The
//! position is no entry, an entry that must be deleted, or an entry with a claim. A candidate that campaigns joins while it has no
//! entry, waits with one, and leads while the claim is proven. What it knows from its place in the line belongs to the entry,
//! and goes with it.
//!
//! The candidate is written as levels, not as a script: inputs change what it knows, and `advance` then
//! does whatever is missing (a leave, a join, a look, a watch). So a lost reply, a broken link and a new lease all lead
//! through the same few lines.

use std::sync::Arc;

use super::in_flight::InFlight;
use super::{Facts, LinkId, Plea, Report, RequestId, Trouble, members_of};
use crate::error::{Error, ErrorKind};
use crate::member::{LeaseId, Revision, Standing};
use crate::time::Time;

mod act;
mod copies;
mod entry;
mod hearing;
mod leader;
mod line;
mod losing;
mod moving;
mod pace;
mod replies;
mod rules;
mod status;
mod traces;
mod watch;
mod watching;
mod writes;
use entry::{Claim, Entry, Position, Proof};
pub(in crate::machine) use pace::Pace;
pub(in crate::machine) use rules::{Remainder, Rules};
use traces::Traces;

/// The aim of the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// We are to lead.
    Campaigning,
    /// We are to end, but not before the user's work has ended: our entry stays, and no term begins.
    HandingOver,
    /// What we have in etcd is given up. At that time the rest is the session's.
    Leaving { by: Time },
    /// Nothing changes any more.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Verb {
    Join,
    Look,
    /// Read whether what we know still holds.
    Check,
    /// v2: read whether the leader's entry still stands.
    Glance,
    Leave,
    /// Hang our entry on another lease.
    Move,
    /// Delete what was left behind under a former lease.
    Clear,
}

impl Verb {
    /// Nothing is left of it in etcd.
    fn is_read(self) -> bool {
        matches!(self, Verb::Look | Verb::Check | Verb::Glance)
    }
}

#[derive(Clone, Copy, Debug, Hash)]
struct Pending {
    id: RequestId,
    verb: Verb,
    sent_at: Time,
}

/// The one request at a time, and when the next may follow.
#[derive(Clone, Debug, Default, Hash)]
struct Asking {
    pending: Option<Pending>,
    retry_at: Time,
    failures: u32,
    /// Watches that the server ended in a row.
    cancels: u32,
    trouble: Option<Arc<Trouble>>,
}

impl Asking {
    fn is_pending(&self, verb: Verb) -> bool {
        self.pending.is_some_and(|pending| pending.verb == verb)
    }
}

/// One election of one process.
#[derive(Clone, Debug, Hash)]
pub struct Candidate {
    prefix: Vec<u8>,
    name: Vec<u8>,
    pace: Pace,
    stage: Stage,
    position: Position,
    /// The key of our entry, or the one that we join at: in v3 named after the lease that it is made under.
    own: Vec<u8>,
    traces: Traces,
    asking: Asking,
    link: Option<LinkId>,
    /// The lease that our entry hangs on, or will hang on.
    lease: Option<LeaseId>,
    /// Until when leading is certain, as the session said last.
    until: Time,
    /// The wall clock has jumped since the last renewal that was confirmed: our entry may have run out.
    is_suspect: bool,
    /// The session's certainty has run out, and is not back yet.
    lapsed: bool,
    /// The newest revision our knowledge includes; an older look is stale.
    seen: Revision,
    /// A join of ours was answered.
    has_joined: bool,
    /// A join of somebody in our session was.
    session_has_joined: bool,
    /// The leader once changed without an announcement: somebody here does not make any.
    are_some_silent: bool,
    /// Why the term that has just ended did, or will.
    why: Option<Error>,
    warning: Option<Arc<Trouble>>,
    report: Report,
    pleas: Vec<Plea>,
}

impl Candidate {
    pub(super) fn new(key: &str, name: &str, pace: Pace) -> Candidate {
        Candidate {
            prefix: members_of(key),
            name: name.as_bytes().to_vec(),
            pace,
            stage: Stage::Campaigning,
            position: Position::default(),
            own: Vec::new(),
            traces: Traces::default(),
            asking: Asking::default(),
            link: None,
            lease: None,
            until: Time::ZERO,
            is_suspect: false,
            lapsed: false,
            seen: 0,
            has_joined: false,
            session_has_joined: false,
            are_some_silent: false,
            why: None,
            warning: None,
            report: Report::default(),
            pleas: Vec::new(),
        }
    }

    pub(super) fn prefix(&self) -> &[u8] {
        &self.prefix
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Whether we are done: nothing of us is left in etcd that is not in doubt.
    pub(super) fn has_ended(&self) -> bool {
        self.stage == Stage::Ended
    }

    pub(super) fn take_pleas(&mut self) -> Vec<Plea> {
        // Until the user's work has ended, what stands there stays (law 6).
        if self.stage != Stage::HandingOver {
            self.pleas.extend(self.traces.in_doubt.drain(..).map(Plea::InDoubt));
        }
        std::mem::take(&mut self.pleas)
    }

    pub(super) fn stop(&mut self, holds: bool, now: Time) {
        match (self.stage, holds) {
            (Stage::Campaigning, true) => self.stage = Stage::HandingOver,
            (Stage::Campaigning, false) => self.leave(now),
            (Stage::HandingOver | Stage::Leaving { .. } | Stage::Ended, _) => {}
        }
    }

    /// After a stop: the user's work has ended.
    pub(super) fn release(&mut self, now: Time) {
        if self.stage == Stage::HandingOver {
            self.leave(now);
        }
    }

    fn leave(&mut self, now: Time) {
        self.stage = Stage::Leaving { by: now + self.pace.ttl() * 2 };
        self.why.get_or_insert(Error::new(ErrorKind::Stopped, "the election was asked to stop"));
    }

    /// The election cannot go on.
    pub(super) fn fail(&mut self, error: Error, now: Time) {
        if matches!(self.stage, Stage::Campaigning | Stage::HandingOver) {
            self.why = Some(error);
            self.leave(now);
        }
    }

    /// etcd does not let us take part: the user is told, and we leave.
    pub(super) fn refuse(&mut self, error: Error, now: Time) {
        self.report.fatal = Some(error.clone());
        self.fail(error, now);
    }

    /// Notices what the session says now, lets times pass, and does what is missing.
    pub(super) fn advance(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        if self.has_ended() {
            return;
        }
        self.follow(facts, now, out);
        self.let_time_pass(facts, now, out);
        self.act(now, out);
        self.assert_invariants();
    }

    /// Ends the term if its time is over.
    pub(super) fn end_by_clock(&mut self, facts: &Facts, now: Time) {
        let led = self.leads();
        self.drop_old_proof(&self.as_of_our_entry(facts), now);
        if let Some(entry) = self.position.entry_mut().filter(|entry| led && !entry.leads()) {
            entry.claim = Claim::Spent;
        }
    }

    /// Our user has seen the end of the term with this token before us.
    pub(super) fn expired(&mut self, token: Revision) {
        if let Some(entry) = self.position.entry_mut().filter(|entry| entry.revision == token) {
            entry.claim = Claim::Spent;
            self.why.get_or_insert(Error::deadline());
        }
    }

    /// Whether we have said that we lead.
    fn leads(&self) -> bool {
        matches!(self.report.standing, Standing::Leading { .. })
    }

    fn drop_old_proof(&mut self, facts: &Facts, now: Time) {
        let is_certain = now < facts.until;
        let was_certain = !self.lapsed;
        self.lapsed &= !is_certain;
        let Some(entry) = self.position.entry_mut() else { return };
        let Claim::Leads(proof) = entry.claim else { return };
        let why = match proof {
            _ if !is_certain && was_certain => {
                self.lapsed = true;
                Error::deadline()
            }
            Proof::Unconfirmed { agree_by } if now >= agree_by => {
                Error::new(ErrorKind::Timeout, "no look confirmed in time that we are first")
            }
            Proof::Looked | Proof::Unconfirmed { .. } => return,
        };
        entry.drop_proof();
        entry.must_look = true;
        self.why.get_or_insert(why);
    }

    fn let_time_pass(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        let facts = &self.as_of_our_entry(facts);
        self.drop_old_proof(facts, now);
        if let Some(entry) = self.position.entry_mut() {
            entry.must_look |= now >= entry.look_at;
        }
        self.look_before_giving_up(now);
        self.listen(out);
        self.publish(facts, now);
        let is_spent = self.position.entry().is_some_and(|entry| entry.claim == Claim::Spent);
        if is_spent && self.stage == Stage::Campaigning {
            self.retire_entry(out);
        }
    }

    /// When [`Candidate::advance`] wants to be called again.
    pub(super) fn timeout(&self, facts: &Facts, now: Time) -> Time {
        let leave_by = match self.stage {
            Stage::Campaigning | Stage::HandingOver => Time::NEVER,
            Stage::Leaving { by } => by,
            Stage::Ended => return Time::NEVER,
        };
        let facts = self.as_of_our_entry(facts);
        let still_ahead = |time: Time| if time > now { time } else { Time::NEVER };
        let of_all = [facts.until, facts.quiet_until, self.asking.retry_at].map(still_ahead).into_iter();
        let of_entry = self
            .position
            .entry()
            .map(|entry| entry.next_time().min(entry.unseen_until.map_or(Time::NEVER, still_ahead)));
        of_all.chain([leave_by]).chain(of_entry).min().unwrap_or(Time::NEVER)
    }

    fn end(&mut self, now: Time, out: &mut InFlight) {
        self.report.ended = true;
        self.report.released = self.is_gone() && self.doubts().is_empty() && now >= self.traces.expires_at;
        self.report.trouble = None;
        self.report.standing = Standing::Out;
        if let Some(entry) = self.position.entry_mut() {
            entry.watches.drain(..).for_each(|watch| out.unwatch(watch.id));
        }
        if let Some(pending) = self.asking.pending.take() {
            self.traces.join_in_doubt |= pending.verb == Verb::Join;
            out.forget(pending.id);
        }
        self.stage = Stage::Ended;
    }

    /// Brings the report up to date.
    fn publish(&mut self, facts: &Facts, now: Time) {
        let (is_certain, led) = (now < facts.until, self.leads());
        let may_begin = self.stage == Stage::Campaigning && !facts.is_suspect;
        let may_lead = now >= facts.quiet_until && (led || may_begin);
        let standing = match (self.stage, self.position.entry()) {
            (Stage::Leaving { .. } | Stage::Ended, _) | (_, None) => Standing::Out,
            _ if !is_certain => Standing::Out,
            (_, Some(Entry { claim: Claim::Leads(proof), revision, .. })) if may_lead => {
                let until = match proof {
                    Proof::Looked => facts.until,
                    Proof::Unconfirmed { agree_by } => facts.until.min(*agree_by),
                };
                Standing::Leading { token: *revision, until }
            }
            (Stage::HandingOver, _) => Standing::Out,
            (Stage::Campaigning, Some(entry)) => Standing::Following(entry.leader(&self.own)),
        };
        let leads = matches!(standing, Standing::Leading { .. });
        self.report.standing = standing;
        self.report.trouble = self.asking.trouble.clone().or_else(|| self.warning.clone());
        if leads {
            self.why = None;
        } else if led {
            self.report.lost = Some(self.why.take().unwrap_or_else(Error::deadline));
            // What we leave is given up, and nobody would lead from it again.
            let is_left = matches!(self.stage, Stage::Leaving { .. });
            if let Some(entry) = self.position.entry_mut().filter(|_| !is_left) {
                entry.claim = Claim::Spent;
            }
        }
    }

    /// States that cannot be, and that the types do not rule out.
    fn assert_invariants(&self) {
        let entry = self.position.entry();
        debug_assert!(!self.leads() || entry.is_some_and(Entry::leads), "we lead without a proof: {self:?}");
        debug_assert!(entry.is_none_or(|one| !one.leads() || one.view.is_some()), "a proof without a view: {self:?}");
        debug_assert!(entry.is_none() || self.lease.is_some(), "an entry without a lease: {self:?}");
        debug_assert!(
            entry.is_none_or(|one| one.watches.is_empty()) || self.link.is_some(),
            "watches on no link: {self:?}"
        );
        debug_assert!(!self.has_ended() || self.asking.pending.is_none(), "an ended election waits: {self:?}");
    }
}
