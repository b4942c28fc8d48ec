//! One election: join, look, wait, lead, step down, leave (laws 2, 3, 5, 6, 9).
//!
//! The candidate is written as levels, not as a script: inputs change what it knows, and `advance` then
//! does whatever is missing (a leave, a join, a look, a watch). So a lost reply, a broken link and a new lease all lead
//! through the same few lines.

use std::sync::Arc;

use super::in_flight::InFlight;
use super::{Facts, LinkId, Plea, Report, RequestId, Trouble, members_of};
use crate::error::{Error, ErrorKind};
use crate::member::{Leader, LeaseId, Membership, Revision, Standing, View};
use crate::time::Time;

mod act;
mod copies;
mod leader;
mod line;
mod moving;
mod pace;
mod place;
mod replies;
mod watching;
use copies::Writes;
use leader::Hearing;
pub(in crate::machine) use pace::Pace;
use watching::Watching;

/// What the user wants of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    /// To lead.
    Campaign,
    /// To end, but not before the user's work has ended: what we hold stays.
    Hold,
    /// To be gone.
    Leave,
}

/// How we know that we are first (law 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// A look showed it.
    Looked,
    /// The delete of the only one ahead of us, or a look on a link that is gone, and with it the watch of our key. A look must
    /// agree before the end that was certain at that time: renewals do not prolong a term that no look has confirmed.
    Unconfirmed { agree_by: Time },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

#[derive(Clone, Copy, Debug)]
struct Pending {
    id: RequestId,
    verb: Verb,
    sent_at: Time,
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
    /// The lease that our entry hangs on, or will hang on.
    lease: Option<LeaseId>,
    /// The lease that the session holds instead: our entry is to be moved there.
    target: Option<LeaseId>,
    /// A move to this lease was sent; it may have been applied.
    moving_to: Option<LeaseId>,
    writes: Writes,
    /// Until when leading is certain, as the session said last.
    until: Time,
    /// Our member key, named after the lease that it was made under.
    own: Vec<u8>,
    place: Option<Membership>,
    /// When the join that made it, or the last move, was sent, and when it was answered.
    joined_at: Time,
    answered_at: Time,
    view: Option<View>,
    proof: Option<Proof>,
    /// While we may not read our key: until when it was certain to stand when we last saw it.
    unseen_until: Option<Time>,
    /// A term has ended that was led from our entry: another one needs another entry (law 4).
    is_spent: bool,
    /// The newest revision our knowledge includes; an older look is stale.
    seen: Revision,
    /// An entry under our key that must be deleted before we join.
    burn: Option<Revision>,
    /// No entry up to this revision is adopted: a leave was sent for it, or we were told that it is lost.
    burnt: Revision,
    /// Entries under former leases. A foreign put may have taken one off its lease: it would stay for ever.
    left_behind: Vec<Membership>,
    /// Keys under former leases at which a request of ours that was not answered may still make an entry.
    haunted: Vec<Vec<u8>>,
    /// A join under this lease was never answered, so it may still arrive.
    join_in_doubt: bool,
    /// v2: until then an entry of ours may stand, or come to stand, that is left to run out: an unanswered join made it,
    /// or somebody else has written it.
    ghost_until: Time,
    /// A join of ours was answered.
    has_joined: bool,
    /// A join of somebody in our session was.
    session_has_joined: bool,
    pending: Option<Pending>,
    /// What the view needs. In v3 the first covers our key, and while we wait the one just before it too: the one range
    /// watch of law 2b.
    watches: Vec<Watching>,
    must_look: bool,
    look_at: Time,
    /// v2: the next in line has written its entry, and may lead.
    must_glance: bool,
    /// v3: what we are told of who leads.
    hearing: Hearing,
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
            target: None,
            moving_to: None,
            writes: Writes::default(),
            until: Time::ZERO,
            own: Vec::new(),
            place: None,
            joined_at: Time::ZERO,
            answered_at: Time::ZERO,
            view: None,
            proof: None,
            unseen_until: None,
            is_spent: false,
            seen: 0,
            burn: None,
            burnt: 0,
            left_behind: Vec::new(),
            haunted: Vec::new(),
            join_in_doubt: false,
            ghost_until: Time::ZERO,
            has_joined: false,
            session_has_joined: false,
            pending: None,
            watches: Vec::new(),
            must_look: false,
            look_at: Time::NEVER,
            must_glance: false,
            hearing: Hearing::default(),
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

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// Whether we are done: nothing of us is left in etcd that is not in doubt.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn take_pleas(&mut self) -> Vec<Plea> {
        // Until the user's work has ended, what stands there stays (law 6).
        if self.wish != Wish::Hold {
            self.pleas.extend(self.haunted.drain(..).map(Plea::InDoubt));
        }
        std::mem::take(&mut self.pleas)
    }

    pub(super) fn stop(&mut self, holds: bool) {
        match (self.wish, holds) {
            (Wish::Campaign, true) => self.wish = Wish::Hold,
            (Wish::Campaign, false) => self.leave(),
            (Wish::Hold | Wish::Leave, _) => {}
        }
    }

    /// After a stop: the user's work has ended.
    pub(super) fn release(&mut self) {
        if self.wish == Wish::Hold {
            self.leave();
        }
    }

    fn leave(&mut self) {
        self.wish = Wish::Leave;
        self.why.get_or_insert(Error::new(ErrorKind::Stopped, "the election was asked to stop"));
    }

    /// The election cannot go on.
    pub(super) fn fail(&mut self, error: Error) {
        if self.wish != Wish::Leave {
            self.wish = Wish::Leave;
            self.why = Some(error);
        }
    }

    /// etcd does not let us take part: the user is told, and we leave.
    pub(super) fn refuse(&mut self, error: Error) {
        self.report.fatal = Some(error.clone());
        self.fail(error);
    }

    /// Notices what the session says now, lets times pass, and does what is missing.
    pub(super) fn advance(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        if self.ended {
            return;
        }
        self.follow(facts, now, out);
        self.let_time_pass(facts, now, out);
        self.act(now, out);
    }

    /// Ends the term if its time is over.
    pub(super) fn end_by_clock(&mut self, facts: &Facts, now: Time) {
        let led = matches!(self.report.standing, Standing::Leading { .. });
        self.drop_old_proof(&self.as_of_our_entry(facts), now);
        self.is_spent |= led && self.proof.is_none();
    }

    /// Our user has seen the end of the term with this token before us.
    pub(super) fn expired(&mut self, token: Revision) {
        if self.place.as_ref().is_some_and(|place| place.revision == token) {
            self.why.get_or_insert(Error::deadline());
            (self.proof, self.is_spent) = (None, true);
        }
    }

    fn drop_old_proof(&mut self, facts: &Facts, now: Time) {
        if self.proof.is_some() && now >= facts.until && !self.lapsed {
            self.lapsed = true;
            self.proof = None;
            self.must_look = true;
            self.why.get_or_insert(Error::deadline());
        }
        if now < facts.until {
            self.lapsed = false;
        }
        if matches!(self.proof, Some(Proof::Unconfirmed { agree_by }) if now >= agree_by) {
            self.proof = None;
            self.must_look = true;
            self.why.get_or_insert(Error::new(ErrorKind::Timeout, "no look confirmed in time that we are first"));
        }
    }

    fn let_time_pass(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        let facts = &self.as_of_our_entry(facts);
        self.drop_old_proof(facts, now);
        self.must_look |= now >= self.look_at;
        self.listen(out);
        self.publish(facts, now);
        if self.is_spent && self.wish == Wish::Campaign {
            self.retire_entry(out);
        }
    }

    /// When [`Candidate::advance`] wants to be called again.
    pub(super) fn timeout(&self, facts: &Facts, now: Time) -> Time {
        if self.ended {
            return Time::NEVER;
        }
        let agree_by = match self.proof {
            Some(Proof::Unconfirmed { agree_by }) => agree_by,
            _ => Time::NEVER,
        };
        let leave_by = self.leave_by.unwrap_or(Time::NEVER);
        let facts = self.as_of_our_entry(facts);
        let still_ahead = |time: Time| if time > now { time } else { Time::NEVER };
        let (lapse, quiet, retry) =
            (still_ahead(facts.until), still_ahead(facts.quiet_until), still_ahead(self.retry_at));
        let look = if self.must_look { Time::NEVER } else { self.look_at };
        [agree_by, leave_by, lapse, quiet, retry, look, self.hearing.next_time()]
            .into_iter()
            .min()
            .unwrap_or(Time::NEVER)
    }

    fn end(&mut self, now: Time, out: &mut InFlight) {
        self.report.ended = true;
        self.report.released = self.is_gone() && self.doubts().is_empty() && now >= self.ghost_until;
        self.report.trouble = None;
        self.report.standing = Standing::Out;
        self.watches.drain(..).for_each(|watch| out.unwatch(watch.id()));
        if let Some(pending) = self.pending.take() {
            self.join_in_doubt |= pending.verb == Verb::Join;
            out.forget(pending.id);
        }
        self.ended = true;
    }

    fn leader(&self) -> Option<Leader> {
        let first = &self.view.as_ref()?.first;
        (first.key != self.own).then(|| Leader { name: first.name_text(), token: first.revision })
    }

    /// Brings the report up to date.
    fn publish(&mut self, facts: &Facts, now: Time) {
        let is_certain = now < facts.until;
        let led = matches!(self.report.standing, Standing::Leading { .. });
        let may_begin = self.wish == Wish::Campaign && !facts.is_suspect;
        let standing = match (&self.place, self.proof) {
            _ if self.wish == Wish::Leave || !is_certain => Standing::Out,
            (None, _) => Standing::Out,
            (Some(place), Some(proof)) if !self.is_spent && now >= facts.quiet_until && (led || may_begin) => {
                let until = match proof {
                    Proof::Looked => facts.until,
                    Proof::Unconfirmed { agree_by } => facts.until.min(agree_by),
                };
                Standing::Leading { token: place.revision, until }
            }
            _ if self.wish == Wish::Hold => Standing::Out,
            (Some(_), _) => Standing::Following(self.leader()),
        };
        let leads = matches!(standing, Standing::Leading { .. });
        if led && !leads {
            self.report.lost = Some(self.why.take().unwrap_or_else(Error::deadline));
            self.is_spent = self.place.is_some();
        } else if leads {
            self.why = None;
        }
        self.report.standing = standing;
        self.report.trouble = self.trouble.clone().or_else(|| self.warning.clone());
    }
}
