//! What you were told, beside what is so; the difference is the next event.
//!
//! The mailbox keeps levels, not a log (law 5): a report replaces the one before, so it never grows and never
//! overflows, and [`Event::Elected`] and [`Event::Unelected`] alternate by construction. It reads no clock: whoever asks
//! says what time it is, so that nobody is told "elected" who does not lead at that very moment.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::machine::handover::{Command, Handover};
use crate::machine::{Report, Trouble};
use crate::member::{Leader, Revision, Standing};
use crate::time::Time;

/// What happened, as the user is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// We lead. The token is higher than that of every leader before us in this history of the store: guard writes
    /// with it.
    Elected {
        /// The token.
        token: Revision,
    },
    /// We do not lead any more, and why.
    Unelected {
        /// Why.
        why: Error,
    },
    /// Who leads now: another, ourselves, or (`None`) nobody that is known.
    Leader(Option<Leader>),
    /// Something is wrong and retried, or (`None`) that is over.
    Retrying(Option<Arc<Trouble>>),
    /// The last event, after a stop or when the election cannot go on.
    Ended(Ended),
}

/// How an election has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ended {
    /// `None`: the last term ended by your stop, and the entry was held until your work had ended, so that nobody else led
    /// before. [`ErrorKind::Stopped`]: it was stopped before it ever led. [`ErrorKind::Overrun`]: your
    /// work had not ended within `stop_timeout_ms`, and the entry was given up meanwhile. Else why the last term was lost
    /// before your work had ended, or why the election cannot go on.
    pub why: Option<Error>,
    /// Whether the entry is known to be gone. Otherwise it expires with its lease, or the library deletes it as soon as it
    /// can.
    pub released: bool,
}

/// What there is to tell next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// This.
    Event(Event),
    /// Nothing now.
    Nothing,
    /// Nothing any more, ever.
    Ended,
}

/// One election's mailbox.
#[derive(Clone, Debug, Hash)]
pub struct Mailbox {
    name: String,
    is: Report,
    /// The token the user was told to lead with, if it was not told that this is over.
    led: Option<Revision>,
    /// The user hears that its term is over, and has not come back from it.
    is_losing: bool,
    /// Why that term is over, from the first report that says so; later ones tell of later terms.
    lost: Option<Error>,
    /// The last term that has ended, by the clock or by a report. It never begins again (law 4).
    over: Option<Revision>,
    leader: Option<Leader>,
    trouble: Option<Arc<Trouble>>,
    /// Another trouble is told at this time at the earliest.
    trouble_at: Time,
    trouble_every: Duration,
    stopped_at: Option<Time>,
    handover: Handover,
    /// The token of the term that the hand-over is about: the last that the user was told of.
    token: Option<Revision>,
    /// Our clock may have lost time: nobody is to be told that it leads.
    is_suspect: bool,
    has_told_end: bool,
}

impl Mailbox {
    /// An empty mailbox of the candidate `name`; troubles are told at most once in `trouble_every`, after the first. A store
    /// reset and the end of all trouble are told at once. `stop_timeout` is as in the configuration.
    pub fn new(name: &str, trouble_every: Duration, stop_timeout: Duration) -> Mailbox {
        Mailbox {
            name: name.to_string(),
            is: Report::default(),
            led: None,
            is_losing: false,
            lost: None,
            over: None,
            leader: None,
            trouble: None,
            trouble_at: Time::ZERO,
            trouble_every,
            stopped_at: None,
            handover: Handover::new(stop_timeout),
            token: None,
            is_suspect: false,
            has_told_end: false,
        }
    }

    /// Replaces the report by a newer one. A term that has ended by the clock is over, even if the report prolongs it.
    pub fn set(&mut self, report: Report, now: Time) {
        if let Standing::Leading { token, until } = self.is.standing {
            let is_same = matches!(report.standing, Standing::Leading { token: next, .. } if next == token);
            if now >= until || !is_same {
                self.over = Some(token);
            }
            if self.led == Some(token) && !is_same {
                self.lost = report.lost.clone();
            }
        }
        self.is = report;
        self.handover.report(match self.is.standing {
            Standing::Leading { token, .. } if self.over == Some(token) => Err(Error::deadline()),
            Standing::Leading { token, until } if self.token == Some(token) => Ok(until),
            _ => Err(self.is.lost.clone().unwrap_or_else(Error::deadline)),
        });
        if self.is.ended {
            self.handover.end();
        }
    }

    /// Somebody was told by the clock that the term with this token is over.
    pub fn end_term(&mut self, token: Revision) {
        self.over = Some(token);
    }

    /// The term that the report prolongs although it is over: the machine does not know that yet.
    pub fn revived(&self) -> Option<Revision> {
        match self.is.standing {
            Standing::Leading { token, .. } if self.over == Some(token) => Some(token),
            _ => None,
        }
    }

    /// The user asked to stop at this time: from then on only Unelected and Ended are told.
    pub fn stop(&mut self, at: Time) {
        if self.stopped_at.is_none() {
            if self.led.is_some() && self.led != self.term(at) {
                // Though nobody has taken it yet, the term was over before.
                self.handover.lose(self.why_lost());
            }
            if let Some(fatal) = &self.is.fatal {
                self.handover.fail(fatal.clone());
            }
            self.stopped_at = Some(at);
            self.handover.stop(at, self.led.is_some());
        }
    }

    /// After a stop: the user's work takes as long as it needs, until [`Mailbox::release`].
    pub fn hold(&mut self) {
        self.handover.hold();
    }

    /// The user's work has ended at this time, whether or not Unelected was taken. Before a stop it means nothing.
    pub fn release(&mut self, at: Time) {
        // On such a clock nobody knows how long the work took.
        if self.is_suspect && self.handover.holds() {
            self.handover.lose(Error::deadline());
        }
        self.handover.release(at);
    }

    /// The handle is gone.
    pub fn close(&mut self, at: Time) {
        self.handover.close(at);
    }

    /// A timeout of the hand-over may be over.
    pub fn let_time_pass(&mut self, now: Time) {
        self.handover.let_time_pass(now);
    }

    /// When [`Mailbox::let_time_pass`] has something to do.
    pub fn timeout(&self) -> Time {
        self.handover.timeout()
    }

    /// Takes the next order to the candidate.
    pub fn poll_command(&mut self) -> Option<Command> {
        self.handover.poll_command()
    }

    /// Whether [`Mailbox::poll_command`] has a release.
    pub fn has_release(&self) -> bool {
        self.handover.has_release()
    }

    /// Whether the entry is kept after a stop, since the user leads as far as it knows, or ends its work.
    pub fn holds(&self) -> bool {
        self.handover.holds()
    }

    /// Whether the user ends its work before it comes for the next event.
    pub fn is_working(&self) -> bool {
        self.handover.is_working()
    }

    /// Since when, after a stop, no work of the user's is waited for: there was none, or it has ended.
    pub fn released_at(&self) -> Option<Time> {
        self.handover.released_at()
    }

    /// Whether the wall clock has jumped and no renewal was confirmed since. Who believes to lead is told of an end only if
    /// there is one; but nobody begins on such a clock.
    pub fn suspect(&mut self, is_suspect: bool) {
        self.is_suspect = is_suspect;
    }

    fn is_stopped(&self) -> bool {
        self.stopped_at.is_some()
    }

    /// Whether the election has ended by itself.
    pub fn is_ended(&self) -> bool {
        self.handover.has_ended()
    }

    /// Whether the election has ended and our key is known to be gone.
    pub fn has_released(&self) -> bool {
        self.is.ended && self.is.released
    }

    /// The token with which we lead at this moment, as far as the user may know. Whoever works for a term, or is hearing
    /// that it is over, would take a later one for it.
    pub fn leads(&self, now: Time) -> Option<Revision> {
        self.term(now).filter(|token| !self.is_losing && self.led.is_none_or(|led| led == *token))
    }

    /// The token with which we lead at this moment.
    fn term(&self, now: Time) -> Option<Revision> {
        match self.is.standing {
            Standing::Leading { token, until } if now < until && self.over != Some(token) && !self.is_stopped() => {
                Some(token)
            }
            _ => None,
        }
    }

    /// Until when the entry is certain to keep others from leading.
    fn stands_until(&self) -> Time {
        if let Standing::Leading { until, .. } = self.is.standing { until } else { Time::ZERO }
    }

    /// Until when leading is certain, if we lead.
    pub fn leads_until(&self) -> Option<Time> {
        match self.is.standing {
            Standing::Leading { until, .. } if !self.is_stopped() => Some(until),
            _ => None,
        }
    }

    /// Who leads, as far as is known at this moment.
    pub fn leader(&self, now: Time) -> Option<Leader> {
        match &self.is.standing {
            _ if self.is_stopped() => None,
            Standing::Following(leader) => leader.clone(),
            _ => self.leads(now).map(|token| Leader { name: self.name.clone(), token }),
        }
    }

    /// Whether the user is hearing that its term is over.
    pub fn is_losing(&self) -> bool {
        self.is_losing
    }

    /// Whether [`Mailbox::take`] has something to tell. While the user's work ends after a stop, nothing is due: when it has
    /// ended is for the user to say.
    pub fn is_due(&self, now: Time) -> bool {
        self.peek(now) != Next::Nothing
    }

    /// The next event, for one who ends its work before it comes for another.
    pub fn take_in_turn(&mut self, now: Time) -> Next {
        if self.handover.is_working() {
            self.release(now);
        }
        let next = self.take(now);
        if matches!(next, Next::Event(Event::Unelected { .. })) {
            self.handover.enter();
        }
        next
    }

    /// The next event; it counts as told. After a stop [`Mailbox::release`] says that the user's work has ended.
    pub fn take(&mut self, now: Time) -> Next {
        let next = self.peek(now);
        self.is_losing = matches!(next, Next::Event(Event::Unelected { .. }));
        match &next {
            Next::Event(Event::Elected { token }) => {
                (self.led, self.token) = (Some(*token), Some(*token));
                self.handover.begin_term(self.stands_until());
            }
            Next::Event(Event::Unelected { why }) => {
                (self.led, self.lost) = (None, None);
                if why.kind() != ErrorKind::Stopped {
                    self.handover.lose(why.clone());
                }
            }
            Next::Event(Event::Leader(leader)) => self.leader.clone_from(leader),
            Next::Event(Event::Retrying(trouble)) => {
                self.trouble.clone_from(trouble);
                self.trouble_at = now + self.trouble_every;
            }
            Next::Event(Event::Ended(_)) => self.has_told_end = true,
            Next::Nothing | Next::Ended => {}
        }
        next
    }

    /// When, without any report, there may be something to tell.
    pub fn due_at(&self) -> Time {
        if self.is_stopped() || self.trouble == self.is.trouble { Time::NEVER } else { self.trouble_at }
    }

    /// The difference between what was told and what is so, the most urgent first.
    fn peek(&self, now: Time) -> Next {
        let term = self.term(now);
        if self.led.is_some() && self.led != term {
            return Next::Event(Event::Unelected { why: self.why_lost() });
        }
        if self.has_told_end {
            return Next::Ended;
        }
        if self.is_stopped() {
            return if self.handover.has_ended() { self.end(self.handover.verdict()) } else { Next::Nothing };
        }
        if let Some(error) = &self.is.fatal {
            return self.end(Some(error.clone()));
        }
        let leader = self.leader(now);
        match (self.led, term) {
            (None, Some(_)) if self.is_suspect => {}
            (None, Some(token)) => return Next::Event(Event::Elected { token }),
            _ if leader != self.leader => return Next::Event(Event::Leader(leader)),
            _ => {}
        }
        let cannot_wait = self.is.trouble.as_ref().is_none_or(|trouble| trouble.error.kind() == ErrorKind::StoreReset);
        if self.is.trouble != self.trouble && (now >= self.trouble_at || cannot_wait) {
            return Next::Event(Event::Retrying(self.is.trouble.clone()));
        }
        Next::Nothing
    }

    fn end(&self, why: Option<Error>) -> Next {
        Next::Event(Event::Ended(Ended { why, released: self.has_released() }))
    }

    fn why_lost(&self) -> Error {
        if let Some(overrun) = self.handover.verdict().filter(|why| why.kind() == ErrorKind::Overrun) {
            return overrun;
        }
        let is_stop = match (&self.lost, &self.is.standing) {
            (Some(why), _) => return why.clone(),
            // The machine has not heard of the end: the stop may have been first, or the clock.
            (None, Standing::Leading { token, until }) if self.led == Some(*token) => {
                self.over != self.led && self.stopped_at.is_some_and(|at| at < *until)
            }
            (None, _) => self.is_stopped(),
        };
        if is_stop { Error::new(ErrorKind::Stopped, "the election was asked to stop") } else { Error::deadline() }
    }
}

#[cfg(test)]
mod tests;
