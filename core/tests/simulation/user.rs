//! The user of one candidate: asks the mailbox for events, and judges them (law 5).

use std::time::Duration;

use etcd_leader::machine::Report;
use etcd_leader::mailbox::{Event, Mailbox, Next};
use etcd_leader::member::{Revision, Standing};
use etcd_leader::time::Time;

pub(crate) struct User {
    mailbox: Mailbox,
    /// What is so, for comparison.
    is: Report,
    /// The token we were told to lead with.
    told: Option<u64>,
    stopped: bool,
    failed: bool,
}

impl User {
    pub(crate) fn new(name: &str, ttl: Duration) -> User {
        User { mailbox: Mailbox::new(name, ttl), is: Report::default(), told: None, stopped: false, failed: false }
    }

    /// Gives the term that the report prolongs although it has ended.
    pub(crate) fn set(&mut self, report: Report, now: Time) -> Option<Revision> {
        self.is = report.clone();
        self.mailbox.set(report, now);
        self.mailbox.revived()
    }

    /// Asks for all events; what they must not say is an error.
    pub(crate) fn poll(&mut self, now: Time) -> Result<(), String> {
        for _ in 0..16 {
            let seen = self.mailbox.leads(now);
            if self.told.is_some() && seen.is_some() && seen != self.told {
                return Err(format!("works for {:?}, and is shown {seen:?}", self.told));
            }
            match self.mailbox.take(now) {
                Next::Nothing | Next::Ended => {
                    let leads = self.leads(now);
                    return if leads.is_some() && self.told != leads && !self.failed {
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

    fn leads(&self, now: Time) -> Option<u64> {
        match self.is.standing {
            Standing::Leading { token, until } if now < until && !self.stopped => Some(token),
            _ => None,
        }
    }

    fn judge(&mut self, event: &Event, now: Time) -> Result<(), &'static str> {
        if self.stopped && !matches!(event, Event::Unelected { .. }) {
            return Err("after a stop");
        }
        if self.failed {
            return Err("after the end");
        }
        match event {
            Event::Elected { .. } if self.told.is_some() => return Err("twice in a row"),
            Event::Elected { token } if self.leads(now) != Some(*token) => return Err("told to one who does not lead"),
            Event::Elected { token } => self.told = Some(*token),
            Event::Unelected { .. } if self.told.is_none() => return Err("without an Elected before it"),
            Event::Unelected { .. } => self.told = None,
            Event::Leader(Some(leader)) if self.told.is_some() && Some(leader.token) != self.told => {
                return Err("names another while we were told that we lead");
            }
            Event::Failed(_) if self.told.is_some() => return Err("without an Unelected before it"),
            Event::Failed(_) => self.failed = true,
            _ => {}
        }
        Ok(())
    }

    /// Stops; says whether the user believes to lead.
    pub(crate) fn stop(&mut self, now: Time) -> bool {
        self.stopped = true;
        self.mailbox.stop(now);
        self.mailbox.believes_to_lead()
    }

    /// After a stop: hears Unelected. True if there was something to hear.
    pub(crate) fn enter(&mut self, now: Time) -> Result<bool, String> {
        self.poll(now)?;
        Ok(self.mailbox.has_entered_farewell())
    }

    pub(crate) fn acknowledge(&mut self, now: Time) -> bool {
        self.mailbox.acknowledge(now);
        self.mailbox.has_acknowledged()
    }
}
