//! What you were told, beside what is so; the difference is the next event.
//!
//! The mailbox keeps levels, not a log (law 5): a report replaces the one before, so it never grows and never
//! overflows, and [`Event::Elected`] and [`Event::Unelected`] alternate by construction. It reads no clock: whoever asks
//! says what time it is, so that nobody is told "elected" who does not lead at that very moment.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::machine::{Report, Trouble};
use crate::member::{Leader, Revision, Standing};
use crate::time::Time;

/// What happened, as the user is told.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The election has ended for good.
    Failed(Error),
}

/// What there is to tell next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// This.
    Event(Event),
    /// Nothing now.
    Nothing,
    /// Nothing any more, ever.
    Ended,
}

/// How far the user is with the end of its term (law 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Farewell {
    /// The user does not know of a stop that ended its term.
    #[default]
    None,
    /// The user is hearing Unelected.
    Entered,
    /// The user has heard it.
    Acknowledged,
}

/// One election's mailbox.
#[derive(Debug)]
pub struct Mailbox {
    name: String,
    is: Report,
    /// The token the user was told to lead with, if it was not told that this is over.
    led: Option<Revision>,
    leader: Option<Leader>,
    trouble: Option<Arc<Trouble>>,
    /// Another trouble is told at this time at the earliest.
    trouble_at: Time,
    trouble_every: Duration,
    stopped_at: Option<Time>,
    /// Our clock may have lost time: nobody is to be told that it leads.
    is_suspect: bool,
    farewell: Farewell,
    has_failed: bool,
    has_ended: bool,
}

impl Mailbox {
    /// An empty mailbox of the candidate `name`; troubles are told at most once in `trouble_every`, after the first.
    pub fn new(name: &str, trouble_every: Duration) -> Mailbox {
        Mailbox {
            name: name.to_string(),
            is: Report::default(),
            led: None,
            leader: None,
            trouble: None,
            trouble_at: Time::ZERO,
            trouble_every,
            stopped_at: None,
            is_suspect: false,
            farewell: Farewell::None,
            has_failed: false,
            has_ended: false,
        }
    }

    /// What is so now.
    pub fn set(&mut self, report: Report) {
        self.is = report;
    }

    /// The user asked to stop at this time: from then on only Unelected is told.
    pub fn stop(&mut self, at: Time) {
        self.stopped_at.get_or_insert(at);
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
        self.has_ended || self.is.ended
    }

    /// Whether the election has ended and our key is known to be gone.
    pub fn has_released(&self) -> bool {
        self.is.ended && self.is.released
    }

    /// Nothing more will be so: the place is given up, or is not waited for any longer.
    pub fn end(&mut self) {
        self.has_ended = true;
    }

    /// The token with which we lead at this moment.
    pub fn leads(&self, now: Time) -> Option<Revision> {
        match self.is.standing {
            Standing::Leading { token, until } if now < until && !self.is_stopped() => Some(token),
            _ => None,
        }
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

    /// Whether the user believes to lead: it was told Elected, and not yet Unelected.
    pub fn believes_to_lead(&self) -> bool {
        self.led.is_some()
    }

    /// Whether the user is hearing Unelected, or has heard it, after a stop.
    pub fn has_entered_farewell(&self) -> bool {
        self.farewell != Farewell::None
    }

    /// Whether the user has heard Unelected after a stop.
    pub fn has_acknowledged(&self) -> bool {
        self.farewell == Farewell::Acknowledged
    }

    /// Whether [`Mailbox::take`] or [`Mailbox::acknowledge`] has something to do.
    pub fn is_due(&self, now: Time) -> bool {
        self.farewell == Farewell::Entered || self.peek(now) != Next::Nothing
    }

    /// The user is back from hearing Unelected.
    pub fn acknowledge(&mut self) {
        if self.farewell == Farewell::Entered {
            self.farewell = Farewell::Acknowledged;
        }
    }

    /// The next event; it counts as told.
    pub fn take(&mut self, now: Time) -> Next {
        let next = self.peek(now);
        match &next {
            Next::Event(Event::Elected { token }) => self.led = Some(*token),
            Next::Event(Event::Unelected { .. }) => {
                self.led = None;
                if self.is_stopped() {
                    self.farewell = Farewell::Entered;
                }
            }
            Next::Event(Event::Leader(leader)) => self.leader.clone_from(leader),
            Next::Event(Event::Retrying(trouble)) => {
                self.trouble.clone_from(trouble);
                self.trouble_at = now + self.trouble_every;
            }
            Next::Event(Event::Failed(_)) => self.has_failed = true,
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
        let leads = self.leads(now);
        if self.led.is_some() && self.led != leads {
            return Next::Event(Event::Unelected { why: self.why_lost() });
        }
        if self.has_failed {
            return Next::Ended;
        }
        if let Some(error) = self.is.fatal.as_ref().filter(|_| !self.is_stopped()) {
            return Next::Event(Event::Failed(error.clone()));
        }
        if self.is_stopped() {
            return if self.has_ended { Next::Ended } else { Next::Nothing };
        }
        let leader = self.leader(now);
        match (self.led, leads) {
            (None, Some(_)) if self.is_suspect => {}
            (None, Some(token)) => return Next::Event(Event::Elected { token }),
            _ if leader != self.leader => return Next::Event(Event::Leader(leader)),
            _ => {}
        }
        if self.is.trouble != self.trouble && (now >= self.trouble_at || self.is.trouble.is_none()) {
            return Next::Event(Event::Retrying(self.is.trouble.clone()));
        }
        Next::Nothing
    }

    fn why_lost(&self) -> Error {
        let late = || Error::new(ErrorKind::Deadline, "a renewal was not confirmed in time");
        let stopped = || Error::new(ErrorKind::Stopped, "the election was asked to stop");
        match (self.is.standing.clone(), self.stopped_at) {
            // The machine has not heard of the stop; the clock may have been first.
            (Standing::Leading { until, .. }, Some(at)) => {
                if at < until {
                    stopped()
                } else {
                    late()
                }
            }
            (_, Some(_)) => self.is.lost.clone().unwrap_or_else(stopped),
            // Still leading on paper: the clock has passed the end.
            (Standing::Leading { .. }, None) if self.leads_until().is_some() && self.is.lost.is_none() => late(),
            _ => self.is.lost.clone().unwrap_or_else(late),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u32) -> Time {
        Time::ZERO + SECOND * seconds
    }

    fn leading(token: Revision, until: u32) -> Report {
        Report { standing: Standing::Leading { token, until: at(until) }, ..Report::default() }
    }

    fn following(name: &str, token: Revision) -> Report {
        let leader = Leader { name: name.into(), token };
        Report { standing: Standing::Following(Some(leader)), ..Report::default() }
    }

    fn out(kind: ErrorKind) -> Report {
        Report { lost: Some(Error::new(kind, "lost")), ..Report::default() }
    }

    fn trouble(detail: &str) -> Option<Arc<Trouble>> {
        Some(Arc::new(Trouble { error: Error::new(ErrorKind::Unreachable, detail), endpoint: Some(0) }))
    }

    /// All there is to tell now, as short words.
    fn told(mailbox: &mut Mailbox, now: u32) -> Vec<String> {
        let mut words = Vec::new();
        loop {
            words.push(match mailbox.take(at(now)) {
                Next::Nothing => return words,
                Next::Ended => "ended".into(),
                Next::Event(Event::Elected { token }) => format!("elected {token}"),
                Next::Event(Event::Unelected { why }) => format!("unelected {:?}", why.kind()),
                Next::Event(Event::Leader(leader)) => {
                    leader.map_or("leader -".into(), |one| format!("leader {}", one.name))
                }
                Next::Event(Event::Retrying(trouble)) => {
                    trouble.map_or("fine".into(), |one| format!("retrying {}", one.error.detail()))
                }
                Next::Event(Event::Failed(error)) => format!("failed {:?}", error.kind()),
            });
            if words.last().is_some_and(|word| word == "ended") {
                return words;
            }
        }
    }

    fn mailbox() -> Mailbox {
        Mailbox::new("me", SECOND * 10)
    }

    #[test]
    fn elected_then_leader_then_nothing() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        assert_eq!(told(&mut mailbox, 1), ["elected 7", "leader me"]);
        assert_eq!(told(&mut mailbox, 2), [""; 0]);
    }

    #[test]
    fn elected_is_not_told_after_its_end() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        assert_eq!(told(&mut mailbox, 5), [""; 0]);
    }

    #[test]
    fn unelected_comes_by_the_clock_alone() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        told(&mut mailbox, 1);
        assert_eq!(told(&mut mailbox, 5), ["unelected Deadline", "leader -"]);
    }

    #[test]
    fn a_term_that_came_and_went_unseen_is_not_told() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        mailbox.set(following("you", 9));
        assert_eq!(told(&mut mailbox, 1), ["leader you"]);
    }

    #[test]
    fn a_new_term_is_told_as_unelected_and_elected() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        told(&mut mailbox, 1);
        mailbox.set(Report { lost: out(ErrorKind::KeyLost).lost, ..leading(9, 8) });
        assert_eq!(told(&mut mailbox, 2), ["unelected KeyLost", "elected 9", "leader me"]);
    }

    #[test]
    fn after_stop_only_unelected_and_the_end() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        told(&mut mailbox, 1);
        mailbox.stop(at(1));
        assert_eq!(mailbox.leads(at(1)), None);
        mailbox.set(Report { trouble: trouble("x"), ..following("you", 9) });
        assert_eq!(told(&mut mailbox, 1), ["unelected Stopped"]);
        assert!(mailbox.has_entered_farewell() && !mailbox.has_acknowledged());
        assert!(mailbox.is_due(at(1)), "an acknowledgement is due");
        mailbox.acknowledge();
        assert!(mailbox.has_acknowledged() && !mailbox.is_due(at(1)));
        mailbox.end();
        assert_eq!(told(&mut mailbox, 1), ["ended"]);
    }

    #[test]
    fn what_was_lost_before_the_stop_is_told_with_its_own_reason() {
        for (lost, report, why) in
            [("by the clock", None, "Deadline"), ("by a fact", Some(out(ErrorKind::KeyLost)), "KeyLost")]
        {
            let mut mailbox = mailbox();
            mailbox.set(leading(7, 5));
            told(&mut mailbox, 1);
            if let Some(report) = report {
                mailbox.set(report);
            }
            mailbox.stop(at(6));
            assert_eq!(told(&mut mailbox, 7), [format!("unelected {why}")], "lost {lost}");
        }
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        told(&mut mailbox, 1);
        mailbox.stop(at(4));
        assert_eq!(told(&mut mailbox, 7), ["unelected Stopped"], "the stop was first, though it is told late");
    }

    #[test]
    fn a_stop_before_elected_was_told_tells_nothing() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        mailbox.stop(at(1));
        assert_eq!(told(&mut mailbox, 1), [""; 0]);
        assert!(!mailbox.has_entered_farewell());
    }

    #[test]
    fn troubles_are_told_at_once_then_once_in_a_while_and_their_end_at_once() {
        let mut mailbox = mailbox();
        mailbox.set(Report { trouble: trouble("a"), ..Report::default() });
        assert_eq!(told(&mut mailbox, 1), ["retrying a"]);
        mailbox.set(Report { trouble: trouble("b"), ..Report::default() });
        assert_eq!(told(&mut mailbox, 2), [""; 0]);
        assert_eq!(mailbox.due_at(), at(11));
        assert_eq!(told(&mut mailbox, 11), ["retrying b"]);
        mailbox.set(Report::default());
        assert_eq!(told(&mut mailbox, 12), ["fine"]);
    }

    #[test]
    fn failed_comes_after_unelected_and_is_the_end() {
        let mut mailbox = mailbox();
        mailbox.set(leading(7, 5));
        told(&mut mailbox, 1);
        let fatal = Some(Error::new(ErrorKind::StoreReset, "gone back"));
        mailbox.set(Report { fatal, ..out(ErrorKind::StoreReset) });
        assert_eq!(told(&mut mailbox, 2), ["unelected StoreReset", "failed StoreReset", "ended"]);
    }
}
