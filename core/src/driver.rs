//! Machine <-> backend, for one session: replies in, requests out, reports to the mailboxes. One future.

use std::cell::{Cell, RefCell};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};

use crate::backend::Backend;
use crate::clock;
use crate::config::SessionSettings;
use crate::error::{Error, ErrorKind};
use crate::machine::crew::Crew;
use crate::machine::{CandidateId, Entropy, Input, Report};
use crate::shared::Shared;
use crate::time::Time;
use crate::wall::WallWatch;

/// Inputs taken in between two looks at the machine's requests, so that a flood of news cannot keep them back.
const BATCH: usize = 256;
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// When time alone makes something due: for most elections, never.
#[derive(Default)]
struct Alarms {
    /// A trouble that was held back may be told.
    troubles: Times,
    /// Timeouts of hand-overs.
    handovers: Times,
}

/// A time for each of some elections, the earliest at hand.
#[derive(Default)]
struct Times {
    of: BTreeMap<CandidateId, Time>,
    sorted: BTreeSet<(Time, CandidateId)>,
}

impl Times {
    fn set(&mut self, id: CandidateId, time: Option<Time>) {
        if let Some(before) = self.of.remove(&id) {
            self.sorted.remove(&(before, id));
        }
        if let Some(time) = time {
            self.of.insert(id, time);
            self.sorted.insert((time, id));
        }
    }

    fn first(&self) -> Time {
        self.sorted.first().map_or(Time::NEVER, |(time, _)| *time)
    }

    /// Takes out what is due.
    fn take_past(&mut self, now: Time) -> Vec<CandidateId> {
        let mut due = Vec::new();
        while let Some((_, id)) = self.sorted.first().copied().filter(|(time, _)| *time <= now) {
            self.set(id, None);
            due.push(id);
        }
        due
    }
}

/// A session in the engine. Its parts are borrowed only between two awaits, by the engine and by its own future.
pub(crate) struct Driver {
    pub(crate) settings: SessionSettings,
    crew: RefCell<Crew>,
    members: RefCell<BTreeMap<CandidateId, Arc<Shared>>>,
    /// Which elections ring with which slot, and those that have rung.
    slots: RefCell<HashMap<usize, Vec<CandidateId>>>,
    rung: RefCell<Vec<CandidateId>>,
    alarms: RefCell<Alarms>,
    backend: RefCell<Box<dyn Backend>>,
    wall: Arc<WallWatch>,
    wake: Notify,
    /// Takes the slots of elections that have ended.
    left: mpsc::UnboundedSender<usize>,
    has_died: Cell<bool>,
}

impl Driver {
    pub(crate) fn new(
        settings: SessionSettings,
        backend: Box<dyn Backend>,
        left: mpsc::UnboundedSender<usize>,
        seed: u64,
    ) -> Driver {
        let entropy = Entropy::new(seed, clock::epoch_ms());
        Driver {
            crew: RefCell::new(Crew::new(settings.timings, entropy, clock::now())),
            members: RefCell::new(BTreeMap::new()),
            slots: RefCell::default(),
            rung: RefCell::default(),
            alarms: RefCell::default(),
            backend: RefCell::new(backend),
            wall: Arc::new(WallWatch::new(settings.timings.margin)),
            wake: Notify::new(),
            left,
            has_died: Cell::new(false),
            settings,
        }
    }

    pub(crate) fn accepts(&self, key: &str) -> bool {
        !self.has_died.get() && self.crew.borrow().accepts(key)
    }

    pub(crate) fn add(&self, shared: Arc<Shared>) {
        shared.join_session(self.wall.clone());
        let settings = &shared.settings;
        let mut crew = self.crew.borrow_mut();
        let id = crew.add(&settings.key, &settings.name, clock::now());
        self.slots.borrow_mut().entry(shared.slot()).or_default().push(id);
        // It may have rung before it was here.
        self.rung.borrow_mut().push(id);
        self.members.borrow_mut().insert(id, shared);
        self.wake.notify_one();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.has_died.get() || self.crew.borrow().is_over()
    }

    /// The wall clock was set: the driver looks for itself.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whether an election of ours rings with this slot.
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.slots.borrow().contains_key(&slot)
    }

    /// The handle of this slot has rung.
    pub(crate) fn ring(&self, slot: usize) {
        self.rung.borrow_mut().extend(self.slots.borrow().get(&slot).into_iter().flatten());
        self.wake.notify_one();
    }

    /// Runs the session until nothing of it is left. A panic, which is a fault of ours, ends its elections and is told.
    pub(crate) async fn run(&self, inbox: mpsc::UnboundedReceiver<Input>) {
        if AssertUnwindSafe(self.work(inbox)).catch_unwind().await.is_ok() {
            return;
        }
        self.has_died.set(true);
        for member in std::mem::take(&mut *self.members.borrow_mut()).into_values() {
            let fault =
                || Some(Error::new(ErrorKind::Internal, "a fault in the library ended the election, please report it"));
            member.set(Report { lost: fault(), fatal: fault(), ended: true, ..Report::default() });
        }
    }

    async fn work(&self, mut inbox: mpsc::UnboundedReceiver<Input>) {
        loop {
            self.flush();
            if self.is_over() {
                return;
            }
            let wait = self.next_time().since(clock::now());
            tokio::select! {
                input = inbox.recv() => self.take_in(input, &mut inbox),
                () = self.wake.notified() => self.look_around(),
                () = tokio::time::sleep(wait) => self.look_around(),
            }
        }
    }

    fn take_in(&self, first: Option<Input>, inbox: &mut mpsc::UnboundedReceiver<Input>) {
        let mut crew = self.crew.borrow_mut();
        let more = std::iter::from_fn(|| inbox.try_recv().ok());
        for input in first.into_iter().chain(more.take(BATCH)) {
            crew.handle(input, clock::now());
        }
    }

    /// Time has passed, and somebody may have rung.
    fn look_around(&self) {
        let now = clock::now();
        if self.wall.has_jumped() {
            self.crew.borrow_mut().handle(Input::Jumped, now);
        }
        self.look_at_handles(now);
        self.crew.borrow_mut().handle(Input::Tick, now);
        self.remind(now);
    }

    /// Handles may have been stopped, released or closed, and hand-overs have timeouts.
    fn look_at_handles(&self, now: Time) {
        let (mut crew, mut alarms) = (self.crew.borrow_mut(), self.alarms.borrow_mut());
        let members = self.members.borrow();
        for id in self.rung.take().into_iter().chain(alarms.handovers.take_past(now)) {
            let Some(member) = members.get(&id) else { continue };
            let (inputs, timeout) = hand_over(member, id, now);
            alarms.handovers.set(id, timeout);
            inputs.into_iter().for_each(|input| crew.handle(input, now));
        }
    }

    /// Carries requests to the backend and reports to the mailboxes.
    fn flush(&self) {
        loop {
            let mut crew = self.crew.borrow_mut();
            while let Some(request) = crew.poll_request() {
                self.backend.borrow_mut().perform(request);
            }
            let is_calm_again = !crew.is_suspect() && self.wall.set_suspect(false);
            let expired = self.report(&mut crew);
            if is_calm_again {
                self.members.borrow().values().for_each(|member| member.calm());
            }
            if expired.is_empty() {
                return;
            }
            expired.into_iter().for_each(|input| crew.handle(input, clock::now()));
        }
    }

    /// Carries reports to the mailboxes. Gives the terms that somebody has seen end before they were prolonged.
    fn report(&self, crew: &mut Crew) -> Vec<Input> {
        let mut expired = Vec::new();
        let (mut members, mut alarms) = (self.members.borrow_mut(), self.alarms.borrow_mut());
        while let Some((id, report)) = crew.poll_report() {
            let has_ended = report.ended;
            if let Some(member) = members.get(&id) {
                let heard = member.set(report);
                alarms.troubles.set(id, heard.trouble_at);
                expired.extend(heard.expired.map(|token| Input::Expired { candidate: id, token }));
            }
            if has_ended && let Some(member) = members.remove(&id) {
                let mut slots = self.slots.borrow_mut();
                if let Entry::Occupied(mut ids) = slots.entry(member.slot()) {
                    ids.get_mut().retain(|other| *other != id);
                    if ids.get().is_empty() {
                        ids.remove();
                    }
                }
                let _ = self.left.send(member.slot());
                alarms.troubles.set(id, None);
                alarms.handovers.set(id, None);
            }
        }
        expired
    }

    fn next_time(&self) -> Time {
        let crew = self.crew.borrow().poll_timeout().unwrap_or(Time::NEVER);
        let alarms = self.alarms.borrow();
        let first = crew.min(alarms.troubles.first()).min(alarms.handovers.first());
        // The runtime's clock does not count sleep: never trust it for long.
        first.min(clock::now() + MAX_SLEEP)
    }

    /// Tells those for whom time alone made something due.
    fn remind(&self, now: Time) {
        let (members, mut alarms) = (self.members.borrow(), self.alarms.borrow_mut());
        for id in alarms.troubles.take_past(now) {
            members.get(&id).inspect(|shared| shared.alert(shared.mailbox(), now));
        }
    }
}

/// Brings the hand-over up to date. Gives its inputs for the candidate, and its next timeout, if it has one.
fn hand_over(shared: &Shared, id: CandidateId, now: Time) -> (Vec<Input>, Option<Time>) {
    if !shared.is_stopped() {
        return (Vec::new(), None);
    }
    let mut mailbox = shared.mailbox();
    if shared.is_closed() {
        mailbox.close(now);
    }
    mailbox.let_time_pass(now);
    let inputs = std::iter::from_fn(|| mailbox.poll_command()).map(|command| command.input(id)).collect();
    let timeout = Some(mailbox.timeout()).filter(|at| *at < Time::NEVER);
    shared.alert(mailbox, now);
    (inputs, timeout)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::Wake;

    use super::*;
    use crate::config::Config;
    use crate::mailbox::{Ended, Event, Next};
    use crate::wake::Bell;

    struct Faulty;

    impl Backend for Faulty {
        fn perform(&mut self, request: crate::machine::Request) {
            panic!("{request:?}");
        }
    }

    /// A backend that answers nothing.
    struct Silent;

    impl Backend for Silent {
        fn perform(&mut self, _: crate::machine::Request) {}
    }

    #[derive(Default)]
    struct Woken(AtomicBool);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    /// A session with one election; and the slots of elections that have ended.
    fn session(backend: impl Backend + 'static) -> (Driver, Arc<Shared>, mpsc::UnboundedReceiver<usize>) {
        let endpoints = vec!["http://127.0.0.1:1".into()];
        let config = Config { endpoints, key: "/a".into(), name: "me".into(), ..Config::default() };
        let settings = config.validate().expect("a good config");
        let shared = Arc::new(Shared::new(settings.clone(), Arc::new(Bell::new().expect("a pipe").0), 0));
        let (left, ended) = mpsc::unbounded_channel();
        let driver = Driver::new(settings.session, Box::new(backend), left, 1);
        driver.add(shared.clone());
        (driver, shared, ended)
    }

    #[test]
    fn an_election_that_has_ended_leaves_nothing_behind() {
        let (driver, shared, mut ended) = session(Silent);
        driver.flush();
        assert!(driver.has(shared.slot()) && ended.try_recv().is_err());
        shared.close();
        driver.ring(shared.slot());
        driver.look_around();
        driver.flush();
        assert_eq!(ended.try_recv(), Ok(shared.slot()));
        assert!(!driver.has(shared.slot()) && driver.members.borrow().is_empty());
    }

    /// A term was told, and while the clock is in doubt nobody can say that it goes on.
    #[test]
    fn a_task_is_woken_when_the_clock_is_sure_again() {
        let (driver, shared, _ended) = session(Silent);
        driver.flush();
        let woken = Arc::<Woken>::default();
        shared.wakes(&woken.clone().into());
        driver.wall.set_suspect(true);
        driver.flush();
        assert!(woken.0.load(Ordering::SeqCst));
    }

    #[test]
    fn a_panic_in_the_engine_ends_its_elections_and_is_told() {
        let (driver, shared, _ended) = session(Faulty);
        let (_inbox, inputs) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(driver.run(inputs));
        assert!(driver.is_over() && !driver.accepts("/b"));
        let mut mailbox = shared.mailbox();
        let next = mailbox.take(clock::now());
        let Next::Event(Event::Ended(Ended { why: Some(why), .. })) = next else { panic!("{next:?}") };
        assert_eq!(why.kind(), ErrorKind::Internal);
        assert_eq!(mailbox.take(clock::now()), Next::Ended);
    }
}
