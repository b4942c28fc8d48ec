//! What one election's handle and its driver share: the mailbox, and what `is_leader` reads without a lock.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::config::Settings;
use crate::machine::Report;
use crate::mailbox::Mailbox;
use crate::member::Revision;
use crate::rung::Rung;
use crate::time::Time;
use crate::wake::Bell;

/// What the wall clock says of ours; one per session.
#[derive(Debug)]
pub(crate) struct WallWatch {
    /// How far the wall clock was ahead when all was well.
    offset: AtomicI64,
    /// A jump was seen, and no renewal was confirmed since.
    is_suspect: AtomicBool,
    /// A jump ahead by less than this, in nanoseconds, is covered by the margin.
    tolerance: i64,
}

impl WallWatch {
    pub(crate) fn new(margin: Duration) -> WallWatch {
        WallWatch {
            offset: AtomicI64::new(clock::wall_offset(clock::now())),
            is_suspect: AtomicBool::new(false),
            tolerance: i64::try_from(margin.as_nanos() / 2).unwrap_or(i64::MAX),
        }
    }

    /// Whether the wall clock is where it should be.
    fn is_calm(&self, now: Time) -> bool {
        !self.is_suspect.load(Ordering::SeqCst)
            && clock::wall_offset(now).saturating_sub(self.offset.load(Ordering::SeqCst)) <= self.tolerance
    }

    /// Follows the wall clock's slow drift; true if it has jumped ahead since the last time.
    pub(crate) fn has_jumped(&self) -> bool {
        let offset = clock::wall_offset(clock::now());
        let jumped = offset.saturating_sub(self.offset.load(Ordering::SeqCst)) > self.tolerance;
        if jumped {
            // Before the offset, so that there is no moment in which all seems well.
            self.is_suspect.store(true, Ordering::SeqCst);
        }
        self.offset.store(offset, Ordering::SeqCst);
        jumped
    }

    pub(crate) fn set_suspect(&self, is_suspect: bool) {
        self.is_suspect.store(is_suspect, Ordering::SeqCst);
    }
}

type Hook = Arc<dyn Fn() + Send + Sync>;

/// See the module.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    bell: Arc<Bell>,
    /// Which handle it is that rings.
    slot: usize,
    wall: std::sync::OnceLock<Arc<WallWatch>>,
    /// Until when we lead, in nanoseconds; 0 if we do not.
    until: AtomicU64,
    token: AtomicU64,
    /// When the end was asked for, in nanoseconds; 0 if it was not.
    stopped_at: AtomicU64,
    is_closed: AtomicBool,
    mailbox: Mutex<Mailbox>,
    news: Condvar,
    hook: Mutex<Option<Hook>>,
}

impl Shared {
    /// `number` counts the handles of the engine whose bell this is.
    pub(crate) fn new(settings: Settings, bell: Arc<Bell>, number: usize) -> Shared {
        let mailbox = Mailbox::new(&settings.name, settings.session.ttl());
        Shared {
            settings,
            bell,
            slot: Rung::slot(number),
            wall: std::sync::OnceLock::new(),
            until: AtomicU64::new(0),
            token: AtomicU64::new(0),
            stopped_at: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            mailbox: Mutex::new(mailbox),
            news: Condvar::new(),
            hook: Mutex::new(None),
        }
    }

    /// The mailbox; it knows of a stop from the moment it was asked for, and of a jump of the wall clock.
    pub(crate) fn mailbox(&self) -> MutexGuard<'_, Mailbox> {
        // A panic elsewhere leaves levels, which the next report replaces.
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        self.bring_up_to_date(&mut mailbox);
        mailbox
    }

    fn bring_up_to_date(&self, mailbox: &mut Mailbox) {
        mailbox.suspect(!self.is_calm(clock::now()));
        if self.is_stopped() {
            mailbox.stop(Time::from_nanos(self.stopped_at.load(Ordering::SeqCst)));
        }
    }

    /// Waits on the mailbox for news, or until the time is over.
    pub(crate) fn wait<'a>(&self, mailbox: MutexGuard<'a, Mailbox>, timeout: Duration) -> MutexGuard<'a, Mailbox> {
        let (mut mailbox, _) = self.news.wait_timeout(mailbox, timeout).unwrap_or_else(PoisonError::into_inner);
        self.bring_up_to_date(&mut mailbox);
        mailbox
    }

    /// Whether the wall clock is where it should be; of the session's, so not before there is one.
    fn is_calm(&self, now: Time) -> bool {
        self.wall.get().is_some_and(|wall| wall.is_calm(now))
    }

    pub(crate) fn join_session(&self, wall: Arc<WallWatch>) {
        let _ = self.wall.set(wall);
    }

    /// Takes in a report. Leading is visible to [`Shared::leads`] at once. Gives the time until which a trouble is
    /// held back, if one is.
    pub(crate) fn set(&self, report: Report) -> Option<Time> {
        let (is_due, due_at) = {
            let mut mailbox = self.mailbox();
            mailbox.set(report);
            if mailbox.is_ended() {
                mailbox.end();
            }
            let now = clock::now();
            let leads = mailbox.leads(now).zip(mailbox.leads_until());
            // Until goes first and comes last: a reader never takes one term's end for another's.
            if leads.map(|(token, _)| token) != Some(self.token.load(Ordering::SeqCst)) {
                self.until.store(0, Ordering::SeqCst);
            }
            if let Some((token, until)) = leads {
                self.token.store(token, Ordering::SeqCst);
                self.until.store(until.as_nanos(), Ordering::SeqCst);
            } else {
                self.until.store(0, Ordering::SeqCst);
            }
            (mailbox.is_due(now), Some(mailbox.due_at()).filter(|at| *at > now && *at < Time::NEVER))
        };
        if is_due {
            self.alert();
        }
        due_at
    }

    /// Tells whoever waits that the mailbox has something.
    pub(crate) fn alert(&self) {
        self.news.notify_all();
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook();
        }
    }

    pub(crate) fn set_hook(&self, hook: Hook) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// The token and the certain end of our term, if we lead at this moment. Takes no lock.
    pub(crate) fn leads(&self) -> Option<(Revision, Duration)> {
        let token = self.token.load(Ordering::SeqCst);
        let until = Time::from_nanos(self.until.load(Ordering::SeqCst));
        let now = clock::now();
        let leads =
            now < until && !self.is_stopped() && self.is_calm(now) && self.token.load(Ordering::SeqCst) == token;
        leads.then(|| (token, until.since(now)))
    }

    /// Asks for the end of the election. Async-signal-safe.
    pub(crate) fn stop(&self) {
        if self.mark_stopped() {
            self.ring();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped_at.load(Ordering::SeqCst) != 0
    }

    /// Notes the time of the stop, if it is the first.
    fn mark_stopped(&self) -> bool {
        let now = clock::now().as_nanos().max(1);
        self.stopped_at.compare_exchange(0, now, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// The handle is gone: nobody is told anything any more.
    pub(crate) fn close(&self) {
        self.mark_stopped();
        self.is_closed.store(true, Ordering::SeqCst);
        self.ring();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    /// The driver should look at the mailbox.
    pub(crate) fn ring(&self) {
        self.bell.ring_for(self.slot);
    }

    /// What the engine finds among those that have rung.
    pub(crate) fn slot(&self) -> usize {
        self.slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::mailbox::{Event, Next};
    use crate::member::Standing;
    use crate::wake::Bell;

    #[test]
    fn while_the_wall_clock_is_suspect_nobody_is_told_elected() {
        let endpoints = vec!["http://127.0.0.1:1".into()];
        let config = Config { endpoints, key: "/a".into(), name: "me".into(), ..Config::default() };
        let settings = config.validate().expect("a good config");
        let margin = settings.session.margin;
        let shared = Shared::new(settings, Arc::new(Bell::new().expect("a pipe").0), 0);
        let wall = Arc::new(WallWatch::new(margin));
        shared.join_session(wall.clone());
        let until = clock::now() + Duration::from_secs(60);
        let leading = Report { standing: Standing::Leading { token: 7, until }, ..Report::default() };
        let next = || {
            let mut mailbox = shared.mailbox();
            let is_due = mailbox.is_due(clock::now());
            let next = mailbox.take(clock::now());
            assert_eq!(is_due, next != Next::Nothing);
            next
        };

        wall.set_suspect(true);
        shared.set(leading.clone());
        assert_eq!((shared.leads(), next()), (None, Next::Nothing), "neither that it leads nor who does");
        wall.set_suspect(false);
        assert_eq!(next(), Next::Event(Event::Elected { token: 7 }));
        assert!(matches!(next(), Next::Event(Event::Leader(Some(leader))) if leader.token == 7));
        // A jump alone ends no term.
        wall.set_suspect(true);
        assert_eq!((shared.leads(), next()), (None, Next::Nothing));
        shared.set(Report::default());
        assert!(matches!(next(), Next::Event(Event::Unelected { .. })));
    }
}
