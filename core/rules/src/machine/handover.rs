//! How a term ends after a stop: first your work ends, then the entry goes (law 6).
//!
//! One value between the user and the candidate. It takes what the user does and what the candidate reports, each with its
//! time, and emits what the candidate must do, its own timeout, and the verdict that the last event carries.
//!
//! ```text
//! campaigning --stop, leading--> notifying --entered--> working --release--> releasing --> ended
//!      |                             '------release, or stop_timeout----------->'^
//!      '--stop, not leading------------------------------------------------------'
//! ```

use std::time::Duration;

use super::{CandidateId, Input};
use crate::error::{Error, ErrorKind};
use crate::time::Time;

/// Where a stop stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Nobody has asked for the end.
    Campaigning,
    /// The user leads as far as it knows, or ends its work and will say when that is done. It has until this time.
    Notifying { until: Time },
    /// The user ends its work, which may take as long as it needs. `in_turn`: inside what it does with Unelected, so that it
    /// comes for the next event when that is done. Otherwise it says so.
    Working { in_turn: bool },
    /// The user does not work any more. The entry goes, and is not waited for beyond this time.
    Releasing { until: Time },
    /// Nothing more happens.
    Ended,
}

/// How the last term ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Term {
    /// The user was never told to lead.
    None,
    /// It goes on, or its end is not decided yet.
    Open,
    /// The entry was held until the work had ended.
    Held,
    /// The lead was lost before that.
    Lost(Error),
}

/// An order to the candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Campaign no more. `holds`: the user leads as far as it knows, so keep the entry until [`Command::Release`].
    Stop {
        /// Whether the entry is to be kept.
        holds: bool,
    },
    /// The user's work has ended: give the entry up.
    Release,
}

impl Command {
    /// As this candidate takes it.
    pub fn input(self, candidate: CandidateId) -> Input {
        match self {
            Command::Stop { holds } => Input::Stop { candidate, holds },
            Command::Release => Input::Release { candidate },
        }
    }
}

/// See the module.
#[derive(Clone, Debug, Hash)]
pub struct Handover {
    state: State,
    term: Term,
    /// Until when the entry is certain to keep others from leading, as the candidate has reported last.
    holds_until: Time,
    /// Since when, after a stop, no work of the user's is waited for.
    released_at: Option<Time>,
    stop_timeout: Duration,
    /// Of a stop: whether the entry is to be kept. Not asked of the candidate yet.
    stop: Option<bool>,
    /// The release was not asked of the candidate yet.
    release: bool,
}

impl Handover {
    /// Of an election that campaigns; `stop_timeout` as in the configuration.
    pub fn new(stop_timeout: Duration) -> Handover {
        Handover {
            state: State::Campaigning,
            term: Term::None,
            holds_until: Time::ZERO,
            released_at: None,
            stop_timeout,
            stop: None,
            release: false,
        }
    }

    /// The user was told that it leads, and the entry is certain to keep others from leading until this time.
    pub fn begin_term(&mut self, holds_until: Time) {
        (self.term, self.holds_until) = (Term::Open, holds_until);
    }

    /// The candidate reports until when the entry of the term is certain to keep others from leading, or why it does not any
    /// more.
    pub fn report(&mut self, holds: Result<Time, Error>) {
        match holds {
            Ok(until) => self.holds_until = until,
            Err(why) if self.holds() => self.lose(why),
            // etcd says now that the entry was gone before we gave it up.
            Err(why) if self.term == Term::Held && why.kind() == ErrorKind::KeyLost => self.term = Term::Lost(why),
            // Before a stop the user takes the reason with Unelected. After the release nothing else is lost any more.
            Err(_) => {}
        }
    }

    /// The user asked for the end at this time. `led`: it was told that it leads, and not that this is over.
    pub fn stop(&mut self, at: Time, led: bool) {
        if self.state != State::Campaigning {
            return;
        }
        self.stop = Some(led);
        match led {
            true => self.state = State::Notifying { until: at + self.stop_timeout },
            false => self.wait_for_etcd(at),
        }
    }

    /// The election cannot go on, for this reason, and nobody was told.
    pub fn fail(&mut self, why: Error) {
        if matches!(self.term, Term::None | Term::Open) {
            self.term = Term::Lost(why);
        }
    }

    /// The term was lost, for this reason, unless its end is decided.
    pub fn lose(&mut self, why: Error) {
        if self.term == Term::Open {
            self.term = Term::Lost(why);
        }
    }

    /// After a stop: the user has taken Unelected, and ends its work before it comes for the next event.
    pub fn enter(&mut self) {
        if let State::Notifying { .. } = self.state {
            self.state = State::Working { in_turn: true };
        }
    }

    /// After a stop: the user's work takes as long as it needs, and the user will say when it has ended.
    pub fn hold(&mut self) {
        if self.holds() {
            self.state = State::Working { in_turn: false };
        }
    }

    /// The user's work has ended at this time. Before a stop it means nothing.
    pub fn release(&mut self, at: Time) {
        if !self.holds() {
            return;
        }
        if at >= self.holds_until {
            self.lose(Error::deadline());
        }
        if self.term == Term::Open {
            self.term = Term::Held;
        }
        self.give_up(at);
    }

    /// The handle is gone: nobody works, and nobody is told.
    pub fn close(&mut self, at: Time) {
        self.stop(at, false);
        self.release(at);
    }

    /// The candidate is done with etcd.
    pub fn end(&mut self) {
        self.state = State::Ended;
    }

    /// A timeout may be over.
    pub fn let_time_pass(&mut self, now: Time) {
        match self.state {
            State::Notifying { until } if now >= until => {
                self.lose(overrun());
                self.give_up(until);
            }
            State::Releasing { until } if now >= until => self.end(),
            _ => {}
        }
    }

    /// When [`Handover::let_time_pass`] has something to do.
    pub fn timeout(&self) -> Time {
        match self.state {
            State::Notifying { until } | State::Releasing { until } => until,
            State::Campaigning | State::Working { .. } | State::Ended => Time::NEVER,
        }
    }

    /// Takes the next order to the candidate.
    pub fn poll_command(&mut self) -> Option<Command> {
        if let Some(holds) = self.stop.take() {
            return Some(Command::Stop { holds });
        }
        std::mem::take(&mut self.release).then_some(Command::Release)
    }

    /// Whether [`Handover::poll_command`] has a release.
    pub fn has_release(&self) -> bool {
        self.release
    }

    /// Whether the entry is kept after a stop, since the user leads as far as it knows, or ends its work.
    pub fn holds(&self) -> bool {
        matches!(self.state, State::Notifying { .. } | State::Working { .. })
    }

    /// Whether the user ends its work before it comes for the next event.
    pub fn is_working(&self) -> bool {
        self.state == State::Working { in_turn: true }
    }

    /// Since when, after a stop, no work of the user's is waited for.
    pub fn released_at(&self) -> Option<Time> {
        self.released_at
    }

    /// Whether nothing more happens.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Why the entry was not held until the user's work had ended; `None`: it was.
    pub fn verdict(&self) -> Option<Error> {
        match &self.term {
            Term::Held => None,
            Term::Lost(why) => Some(why.clone()),
            Term::None | Term::Open => Some(stopped()),
        }
    }

    fn give_up(&mut self, since: Time) {
        self.release = true;
        self.wait_for_etcd(since);
    }

    fn wait_for_etcd(&mut self, since: Time) {
        self.released_at = Some(since);
        self.state = State::Releasing { until: since + self.stop_timeout };
    }
}

fn overrun() -> Error {
    Error::new(
        ErrorKind::Overrun,
        "stop_timeout_ms passed before the leading work had ended, and the entry was given up",
    )
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the election was stopped before it led")
}

#[cfg(test)]
mod tests;
