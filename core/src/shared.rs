//! What one election's handle and its driver share: the mailbox, and what `is_leader` reads without a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;

use crate::clock;
use crate::config::Settings;
use crate::machine::Report;
use crate::mailbox::{Mailbox, Next};
use crate::member::Revision;
use crate::rung::Rung;
use crate::time::Time;
use crate::wake::Bell;
use crate::wall::WallWatch;

/// The consequences of a report.
#[derive(Debug)]
pub(crate) struct Heard {
    /// A trouble is held back until then.
    pub(crate) trouble_at: Option<Time>,
    /// The report prolongs the term with this token, which somebody has seen end by the clock.
    pub(crate) expired: Option<Revision>,
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
    /// The granted ttl in milliseconds; 0 if it is not known yet.
    granted_ms: AtomicU64,
    /// When the end was asked for, in nanoseconds; 0 if it was not.
    stopped_at: AtomicU64,
    is_closed: AtomicBool,
    mailbox: Mutex<Mailbox>,
    news: Condvar,
    hook: Mutex<Option<Hook>>,
    /// Of the task that waits for news.
    waker: AtomicWaker,
}

impl Shared {
    /// `number` counts the handles of the engine whose bell this is.
    pub(crate) fn new(settings: Settings, bell: Arc<Bell>, number: usize) -> Shared {
        let mailbox = Mailbox::new(&settings.name, settings.session.timings.ttl(), settings.stop_timeout);
        Shared {
            settings,
            bell,
            slot: Rung::slot(number),
            wall: std::sync::OnceLock::new(),
            until: AtomicU64::new(0),
            token: AtomicU64::new(0),
            granted_ms: AtomicU64::new(0),
            stopped_at: AtomicU64::new(0),
            is_closed: AtomicBool::new(false),
            mailbox: Mutex::new(mailbox),
            news: Condvar::new(),
            hook: Mutex::new(None),
            waker: AtomicWaker::new(),
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

    /// Takes in a report. Leading is visible to [`Shared::leads`] at once.
    pub(crate) fn set(&self, report: Report) -> Heard {
        if let Some(granted) = report.granted {
            self.granted_ms.store(u64::try_from(granted.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        let mut mailbox = self.mailbox();
        let now = clock::now();
        mailbox.set(report, now);
        self.publish(&mut mailbox, now);
        let trouble_at = Some(mailbox.due_at()).filter(|at| *at > now && *at < Time::NEVER);
        let heard = Heard { trouble_at, expired: mailbox.revived() };
        self.alert(mailbox, now);
        heard
    }

    /// Takes the next event. To come here says: your work after the one before has ended.
    pub(crate) fn take(&self) -> Next {
        self.look(Mailbox::take_in_turn)
    }

    /// Takes the next event, and says nothing of your work: after a stop [`Shared::release`] does.
    pub(crate) fn take_on(&self) -> Next {
        self.look(Mailbox::take)
    }

    /// Your work after a stop takes as long as it needs.
    pub(crate) fn hold(&self) {
        self.mailbox().hold();
    }

    /// Your work after a stop has ended.
    pub(crate) fn release(&self) {
        self.look(Mailbox::release);
    }

    /// The user does something with the mailbox.
    fn look<T>(&self, act: impl FnOnce(&mut Mailbox, Time) -> T) -> T {
        let mut mailbox = self.mailbox();
        let (now, was_losing) = (clock::now(), mailbox.is_losing());
        let done = act(&mut mailbox, now);
        if was_losing {
            self.publish(&mut mailbox, now);
        }
        // The stop itself rings.
        if mailbox.has_release() {
            self.ring();
        }
        done
    }

    /// Shows readers the term that the mailbox knows of.
    fn publish(&self, mailbox: &mut Mailbox, now: Time) {
        match mailbox.leads(now).zip(mailbox.leads_until()) {
            Some((token, until)) if self.token.load(Ordering::SeqCst) == token => {
                if !self.prolong(until) {
                    mailbox.end_term(token);
                }
            }
            Some((token, until)) => {
                // Until goes first and comes last: a reader never takes one term's end for another's.
                self.until.store(0, Ordering::SeqCst);
                self.token.store(token, Ordering::SeqCst);
                self.until.store(until.as_nanos(), Ordering::SeqCst);
            }
            None => self.until.store(0, Ordering::SeqCst),
        }
    }

    /// Prolongs the term that readers see; false if one of them has seen its end.
    fn prolong(&self, until: Time) -> bool {
        let before = self.until.load(Ordering::SeqCst);
        before != 0 && self.until.compare_exchange(before, until.as_nanos(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Tells whoever waits if the mailbox has something. The mailbox is held meanwhile: an alert that came after somebody has
    /// taken what it is about would be followed by a look, and a look after a stop says that the work has ended.
    pub(crate) fn alert(&self, mailbox: MutexGuard<'_, Mailbox>, now: Time) {
        if !mailbox.is_due(now) {
            return;
        }
        self.news.notify_all();
        let hook = self.hook.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(hook) = hook {
            hook();
        }
        drop(mailbox);
        // The waker may drop the task, and a task that is dropped looks at the mailbox.
        self.waker.wake();
    }

    /// The clock is not in doubt any more: a term that was told before may have nothing else to tell.
    pub(crate) fn calm(&self) {
        self.waker.wake();
    }

    /// Has this task woken once the mailbox has something; the latest counts.
    pub(crate) fn wakes(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    pub(crate) fn set_hook(&self, hook: Hook) {
        *self.hook.lock().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// The token and the certain end of our term, if we lead at this moment. Takes no lock. A reader that finds the end
    /// passed sees to it that the term is not prolonged any more: there is no "yes" after a "no" of the clock (law 4).
    pub(crate) fn leads(&self) -> Option<(Revision, Duration)> {
        loop {
            let token = self.token.load(Ordering::SeqCst);
            let end = self.until.load(Ordering::SeqCst);
            let (until, now) = (Time::from_nanos(end), clock::now());
            if now < until {
                let leads = !self.is_stopped() && self.is_calm(now) && self.token.load(Ordering::SeqCst) == token;
                return leads.then(|| (token, until.since(now)));
            }
            // It fails if the term was prolonged at this very moment, in time: then look again.
            if end == 0 || self.until.compare_exchange(end, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
                return None;
            }
        }
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

    /// How long etcd lets the entry live without a renewal, once it has said so.
    pub(crate) fn granted(&self) -> Option<Duration> {
        Some(self.granted_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0).map(Duration::from_millis)
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
    use crate::mailbox::Event;
    use crate::member::Standing;
    use crate::wake::Bell;

    fn shared() -> Shared {
        let endpoints = vec!["http://127.0.0.1:1".into()];
        let config = Config { endpoints, key: "/a".into(), name: "me".into(), ..Config::default() };
        let settings = config.validate().expect("a good config");
        let margin = settings.session.timings.margin;
        let shared = Shared::new(settings, Arc::new(Bell::new().expect("a pipe").0), 0);
        shared.join_session(Arc::new(WallWatch::new(margin)));
        shared
    }

    fn leading(token: Revision, until: Time) -> Report {
        Report { standing: Standing::Leading { token, until }, ..Report::default() }
    }

    #[test]
    fn a_reader_that_has_seen_the_end_of_a_term_sees_no_more_of_it() {
        let shared = shared();
        let (soon, later) = (clock::now() + Duration::from_millis(20), clock::now() + Duration::from_secs(60));
        assert_eq!(shared.set(leading(7, soon)).expired, None);
        while shared.leads().is_some() {
            std::thread::yield_now();
        }
        // As if the engine had confirmed a renewal in time, and were only now come to say so.
        assert_eq!(shared.set(leading(7, later)).expired, Some(7));
        assert_eq!(shared.leads(), None);
        assert_eq!(shared.mailbox().take(clock::now()), Next::Nothing, "nor does the mailbox tell of it");
        assert_eq!(shared.set(Report::default()).expired, None);
        assert_eq!(shared.set(leading(8, later)).expired, None);
        assert!(shared.leads().is_some_and(|(token, _)| token == 8));
    }

    /// Readers on other threads race with an engine that prolongs each term a few hundred times, and then too late.
    #[test]
    fn for_no_reader_is_there_a_yes_after_a_no() {
        const TERMS: u64 = 30;
        let shared = Arc::new(shared());
        let seen: [Arc<AtomicU64>; 2] = Default::default();
        let is_over = Arc::new(AtomicBool::new(false));
        let readers = seen.each_ref().map(|seen| {
            let (shared, seen, is_over) = (shared.clone(), seen.clone(), is_over.clone());
            std::thread::spawn(move || {
                let (mut last, mut ended) = (0, 0);
                while !is_over.load(Ordering::SeqCst) {
                    match shared.leads() {
                        Some((token, _)) => {
                            assert!(token > ended, "{token} leads again");
                            seen.fetch_add(u64::from(token != last), Ordering::SeqCst);
                            last = token;
                        }
                        None => ended = last,
                    }
                }
            })
        });
        let (part, give_up) = (Duration::from_millis(1), clock::now() + Duration::from_secs(60));
        for token in 1.. {
            for _ in 0..300 {
                shared.set(leading(token, clock::now() + part));
            }
            std::thread::sleep(part * 2);
            assert_eq!(shared.set(leading(token, clock::now() + part)).expired, Some(token));
            if seen.iter().all(|seen| seen.load(Ordering::SeqCst) >= TERMS) || clock::now() > give_up {
                break;
            }
        }
        is_over.store(true, Ordering::SeqCst);
        readers.into_iter().for_each(|reader| reader.join().expect("no yes after a no"));
        assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) >= TERMS), "{seen:?}");
    }

    /// As after a freeze: the engine leads again before the user's thread has run at all.
    #[test]
    fn a_reader_sees_a_new_term_only_when_the_end_of_the_old_one_was_told() {
        let shared = shared();
        let later = clock::now() + Duration::from_secs(60);
        shared.set(leading(7, later));
        assert_eq!(shared.take(), Next::Event(Event::Elected { token: 7 }));
        for _ in 0..2 {
            shared.set(leading(8, later));
            assert_eq!(shared.leads(), None, "the user still works for term 7");
        }
        assert!(matches!(shared.take(), Next::Event(Event::Unelected { .. })));
        shared.set(leading(8, later));
        assert_eq!(shared.leads(), None, "the user is hearing of the end");
        assert_eq!(shared.take(), Next::Event(Event::Elected { token: 8 }));
        assert!(shared.leads().is_some_and(|(token, _)| token == 8));
    }

    #[test]
    fn while_the_wall_clock_is_suspect_nobody_is_told_elected() {
        let shared = shared();
        let wall = shared.wall.get().expect("a session").clone();
        let leading = leading(7, clock::now() + Duration::from_secs(60));
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
