//! The user of one candidate: asks the mailbox for events, and judges them (law 5).

use std::time::Duration;

use etcd_leader_rules::ErrorKind;
use etcd_leader_rules::machine::Report;
use etcd_leader_rules::machine::handover::Command;
use etcd_leader_rules::mailbox::{Ended, Event, Mailbox, Next};
use etcd_leader_rules::member::{Revision, Standing};
use etcd_leader_rules::time::Time;

#[derive(Clone, Debug, Hash)]
pub(crate) struct User {
    mailbox: Mailbox,
    /// What is so, for comparison.
    is: Report,
    /// The token we were told to lead with.
    told: Option<u64>,
    stopped: bool,
    /// The election could not go on, when it stopped.
    has_failed: bool,
    /// It ends its work before it comes for the next event; otherwise it says when the work has ended.
    in_turn: bool,
    /// After a stop it has taken Unelected.
    has_taken: bool,
    /// The token of the last term that we were told of.
    term: Option<u64>,
    /// After a stop: whether it still claimed to lead when its work had ended.
    held: Option<bool>,
    has_ended: bool,
    /// Somebody has ended the entry of that term, or taken the whole store back.
    is_undone: bool,
    /// It cannot trust its clock.
    is_suspect: bool,
}

impl User {
    pub(crate) fn new(name: &str, ttl: Duration, in_turn: bool) -> User {
        User {
            mailbox: Mailbox::new(name, ttl, ttl),
            is: Report::default(),
            told: None,
            stopped: false,
            has_failed: false,
            in_turn,
            has_taken: false,
            term: None,
            held: None,
            has_ended: false,
            is_undone: false,
            is_suspect: false,
        }
    }

    /// Gives the term that the report prolongs although it has ended.
    pub(crate) fn set(&mut self, report: Report, now: Time) -> Option<Revision> {
        self.is = report.clone();
        self.mailbox.set(report, now);
        self.mailbox.revived()
    }

    /// Whether the wall clock has jumped and no renewal was confirmed since.
    pub(crate) fn suspect(&mut self, is_suspect: bool) {
        self.is_suspect = is_suspect;
        self.mailbox.suspect(is_suspect);
    }

    /// Asks for all events; what they must not say is an error.
    pub(crate) fn poll(&mut self, now: Time) -> Result<(), String> {
        for _ in 0..16 {
            let seen = self.mailbox.leads(now);
            if self.told.is_some() && seen.is_some() && seen != self.told {
                return Err(format!("works for {:?}, and is shown {seen:?}", self.told));
            }
            if self.in_turn && self.is_working() {
                return Ok(());
            }
            match if self.in_turn { self.mailbox.take_in_turn(now) } else { self.mailbox.take(now) } {
                Next::Nothing | Next::Ended => {
                    let leads = self.leads(now);
                    return if leads.is_some() && self.told != leads && !self.has_ended && !self.is_suspect {
                        Err(format!("leads with {leads:?}, but the user was told {:?} and nothing more", self.told))
                    } else if leads.is_none() && self.told.is_some() {
                        Err("does not lead, and the user is not told".into())
                    } else {
                        Ok(())
                    };
                }
                Next::Event(event) => self.judge(&event, now).map_err(|what| format!("{event:?} {what}"))?,
            }
        }
        Err("the mailbox never ends".into())
    }

    /// When there is, or without any report will be, something to tell it.
    pub(crate) fn due_at(&self, now: Time) -> Time {
        if self.mailbox.is_due(now) {
            return now;
        }
        let ends_at = self.mailbox.leads_until().filter(|until| *until > now);
        ends_at.unwrap_or(Time::NEVER).min(self.mailbox.due_at().max(now))
    }

    fn leads(&self, now: Time) -> Option<u64> {
        match self.is.standing {
            Standing::Leading { token, until } if now < until && !self.stopped => Some(token),
            _ => None,
        }
    }

    fn judge(&mut self, event: &Event, now: Time) -> Result<(), &'static str> {
        if self.stopped && !matches!(event, Event::Unelected { .. } | Event::Ended(_)) {
            return Err("after a stop");
        }
        if self.has_ended {
            return Err("after the end");
        }
        match event {
            Event::Elected { .. } if self.told.is_some() => return Err("twice in a row"),
            Event::Elected { token } if self.leads(now) != Some(*token) => return Err("told to one who does not lead"),
            Event::Elected { token } => (self.told, self.term) = (Some(*token), Some(*token)),
            Event::Unelected { .. } if self.told.is_none() => return Err("without an Elected before it"),
            Event::Unelected { .. } => (self.told, self.has_taken) = (None, self.stopped),
            Event::Leader(Some(leader)) if self.told.is_some() && Some(leader.token) != self.told => {
                return Err("names another while we were told that we lead");
            }
            Event::Ended(_) if self.told.is_some() => return Err("without an Unelected before it"),
            Event::Ended(ended) => {
                self.has_ended = true;
                return self.judge_verdict(ended);
            }
            _ => {}
        }
        Ok(())
    }

    /// The last event says whether the entry was held until the work had ended (law 6).
    fn judge_verdict(&self, ended: &Ended) -> Result<(), &'static str> {
        let why = ended.why.as_ref().map(|why| why.kind());
        match (self.stopped, self.held, why) {
            // The answer to the leave says so.
            (true, Some(true), Some(ErrorKind::KeyLost)) if self.is_undone => Ok(()),
            (true, Some(true), Some(_)) => Err("although the entry was held until the work had ended"),
            (_, None | Some(false), None) => Err("although the entry was not held until the work had ended"),
            _ if self.has_failed => Ok(()),
            (true, ..) if self.term.is_none() && why != Some(ErrorKind::Stopped) => Err("and it never led"),
            (true, ..) if self.term.is_some() && why == Some(ErrorKind::Stopped) => Err("as if it had never led"),
            _ => Ok(()),
        }
    }

    /// Stops; says whether the user believes to lead.
    pub(crate) fn stop(&mut self, now: Time) -> bool {
        (self.stopped, self.has_failed) = (true, self.is.fatal.is_some());
        self.mailbox.stop(now);
        self.told.is_some()
    }

    /// After a stop: what the candidate must do. A timeout may be over.
    pub(crate) fn commands(&mut self, now: Time) -> Vec<Command> {
        self.mailbox.let_time_pass(now);
        std::iter::from_fn(|| self.mailbox.poll_command()).collect()
    }

    /// When [`User::commands`] may have more.
    pub(crate) fn timeout(&self) -> Time {
        self.mailbox.timeout()
    }

    /// Whether it counts on the entry after a stop.
    pub(crate) fn holds(&self) -> bool {
        self.mailbox.holds()
    }

    /// Whether somebody has ended the entry of the last term that it was told of.
    pub(crate) fn undone(&mut self, is_undone: bool) {
        self.is_undone = is_undone;
    }

    /// The token of the last term that it was told of.
    pub(crate) fn term(&self) -> Option<u64> {
        self.term
    }

    /// Whether it may take as long as it needs to end its work.
    pub(crate) fn is_in_turn(&self) -> bool {
        self.in_turn
    }

    /// Whether the user ends its work after a stop.
    pub(crate) fn is_working(&self) -> bool {
        self.has_taken && self.held.is_none() && self.mailbox.holds()
    }

    /// Whether it can say that the work has ended: otherwise it comes for the next event.
    pub(crate) fn may_release(&self) -> bool {
        self.is_working() || (!self.in_turn && self.held.is_none() && self.mailbox.holds())
    }

    /// The work has ended. `held`: the candidate claims to lead at this moment.
    pub(crate) fn release(&mut self, held: bool, now: Time) {
        self.held = Some(held);
        self.mailbox.release(now);
    }
}
