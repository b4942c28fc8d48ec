//! `Election::lead`: one term, for as long as a future takes, on an executor of nobody's.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use etcd_leader::{Api, Config, Election, Error, ErrorKind, Event, Next, Term};

use super::candidate::{Candidate, PATIENCE, Setup, check_terms};
use super::store::{Store, on_v2_and_v3, single};
use support::Cluster;

const TTL_S: u32 = 3;
const KEY: &str = "/led";

/// Wakes the thread that waits for the future. The flag is for work that blocks there: it takes what unparks the thread.
struct Alarm {
    has_rung: AtomicBool,
    thread: Thread,
}

impl Alarm {
    fn new() -> Arc<Alarm> {
        Arc::new(Alarm { has_rung: AtomicBool::new(false), thread: std::thread::current() })
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.has_rung.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let alarm = Alarm::new();
    let waker = Waker::from(alarm.clone());
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        let begun = Instant::now();
        while !alarm.has_rung.swap(false, Ordering::SeqCst) {
            assert!(begun.elapsed() < PATIENCE, "it is never woken");
            std::thread::park_timeout(PATIENCE);
        }
    }
}

pub(crate) fn start(cluster: &Cluster, api: Api, stop_timeout_ms: u32) -> Election {
    let config = Config {
        endpoints: cluster.urls(),
        key: KEY.into(),
        name: "rust".into(),
        ttl_s: TTL_S,
        stop_timeout_ms,
        api,
        ..Config::default()
    };
    Election::start(&config).expect("started")
}

/// The next in line, once `leading` leads.
pub(crate) fn next_in_line(urls: &[String], api: Api) -> Candidate {
    let next = Setup::new(urls, KEY, TTL_S).on(api).start("next");
    assert_eq!(next.hears("leader"), "rust");
    next
}

fn kind<T>(given: Result<T, Error>) -> Option<ErrorKind> {
    given.err().map(|error| error.kind())
}

on_v2_and_v3!(the_work_gives_its_value_and_the_next_leads_when_it_has_ended);
fn the_work_gives_its_value_and_the_next_leads_when_it_has_ended(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let election = start(&cluster, api, 0);
    let (next, token) = block_on(election.lead(async |term: Term| {
        assert!(!term.is_lost() && election.token() == Some(term.token()));
        let mut next = next_in_line(&urls, api);
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(next.claims(), "no");
        (next, term.token())
    }))
    .expect("the entry was held");
    assert!(next.elected() > token);
    // One term is all there is.
    assert_eq!(kind(block_on(election.lead(async |_| ()))), Some(ErrorKind::Stopped));
    assert_eq!(election.next(None).expect("no fork"), Next::Ended);
}

on_v2_and_v3!(a_term_that_was_told_before_is_led);
fn a_term_that_was_told_before_is_led(api: Api) {
    let cluster = single();
    let election = start(&cluster, api, 0);
    let Next::Event(Event::Elected { token }) = election.next(Some(PATIENCE)).expect("no fork") else {
        panic!("alone")
    };
    assert_eq!(block_on(election.lead(async |term| term.token())), Ok(token));
}

on_v2_and_v3!(a_lead_that_is_lost_is_told_to_the_work_and_in_the_place_of_its_value);
fn a_lead_that_is_lost_is_told_to_the_work_and_in_the_place_of_its_value(api: Api) {
    let cluster = single();
    let (urls, store) = (cluster.urls(), Store { cluster: &cluster, api });
    let election = start(&cluster, api, 60_000);
    let mut told = None;
    let given = block_on(election.lead(async |term: Term| {
        let next = next_in_line(&urls, api);
        store.delete(&store.key_of(KEY, "rust"));
        // As a part of the work that runs elsewhere would be told.
        let mut parts = [term.clone(), term.clone()].map(|term| Box::pin(async move { term.lost().await.kind() }));
        for part in &mut parts {
            told = Some(part.await);
            assert_eq!(told, Some(ErrorKind::KeyLost));
        }
        assert!(term.is_lost() && !election.is_leader());
        next.elected();
        "nobody takes this for the work of a leader"
    }));
    assert_eq!((told, kind(given)), (Some(ErrorKind::KeyLost), Some(ErrorKind::KeyLost)));
}

on_v2_and_v3!(work_that_a_stop_from_elsewhere_ends_in_time_has_its_value);
fn work_that_a_stop_from_elsewhere_ends_in_time_has_its_value(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let election = start(&cluster, api, 60_000);
    let given = block_on(election.lead(async |term: Term| {
        let mut next = next_in_line(&urls, api);
        std::thread::scope(|threads| drop(threads.spawn(|| election.stop())));
        assert!(term.is_lost());
        assert_eq!(term.lost().await.kind(), ErrorKind::Stopped);
        // The entry is kept while the work ends.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(next.claims(), "no");
        next
    }));
    given.expect("the entry was held").elected();
}

on_v2_and_v3!(work_that_goes_on_beyond_the_stop_timeout_is_an_overrun);
fn work_that_goes_on_beyond_the_stop_timeout_is_an_overrun(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let election = start(&cluster, api, 500);
    let given = block_on(election.lead(async |term: Term| {
        let next = next_in_line(&urls, api);
        election.stop();
        assert_eq!(term.lost().await.kind(), ErrorKind::Stopped);
        next.elected();
    }));
    assert_eq!(kind(given), Some(ErrorKind::Overrun));
}

/// Says that it is gone, a while before it is.
struct Tidies<'a>(&'a Candidate, &'a Election);

impl Drop for Tidies<'_> {
    fn drop(&mut self) {
        assert!(self.1.is_leader(), "the work is dropped before the election is stopped");
        std::thread::sleep(Duration::from_millis(300));
        assert!(!self.0.has_said("elected"), "the entry is kept while the work is dropped");
    }
}

on_v2_and_v3!(a_future_that_is_dropped_drops_the_work_and_hands_over);
fn a_future_that_is_dropped_drops_the_work_and_hands_over(api: Api) {
    let cluster = single();
    let (urls, store) = (cluster.urls(), Store { cluster: &cluster, api });
    let election = start(&cluster, api, 60_000);
    let next = std::cell::OnceCell::new();
    {
        let lead = election.lead(async |_| {
            let _tidies = Tidies(next.get_or_init(|| next_in_line(&urls, api)), &election);
            std::future::pending::<()>().await;
        });
        let begun = std::future::poll_fn(|_| if next.get().is_some() { Poll::Ready(()) } else { Poll::Pending });
        let lead = Box::pin(lead);
        // Polled first, it has begun the work when it says so.
        let futures_util::future::Either::Right(_) = block_on(futures_util::future::select(lead, begun)) else {
            panic!("its work never ends")
        };
    }
    assert!(!election.is_leader());
    let mut next = next.into_inner().expect("it has begun");
    next.elected();
    let ended = loop {
        match election.next(Some(PATIENCE)).expect("no fork") {
            Next::Event(Event::Ended(ended)) => break ended,
            Next::Event(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((ended.why, ended.released), (None, true), "it was held until the work was dropped");

    // In line, there is no work; the place goes at once.
    let second = start(&cluster, api, 60_000);
    let mut lead = Box::pin(second.lead(async |_| panic!("another leads")));
    let waker = Waker::from(Alarm::new());
    assert!(lead.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    store.wait_for_members(KEY, 2);
    drop(lead);
    store.wait_for_members(KEY, 1);
    check_terms(&[&next]);
    next.stop();
}

on_v2_and_v3!(an_election_that_is_stopped_in_line_runs_no_work);
fn an_election_that_is_stopped_in_line_runs_no_work(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let first = Setup::new(&urls, KEY, TTL_S).on(api).start("first");
    first.elected();
    let election = start(&cluster, api, 0);
    let store = Store { cluster: &cluster, api };
    store.wait_for_members(KEY, 2);
    std::thread::scope(|threads| {
        let lead = threads.spawn(|| block_on(election.lead(async |_| panic!("another leads"))));
        election.stop();
        assert_eq!(kind(lead.join().expect("no work")), Some(ErrorKind::Stopped));
    });
    store.wait_for_members(KEY, 1);
}

on_v2_and_v3!(what_ended_an_earlier_term_is_no_verdict_on_work_that_never_began);
fn what_ended_an_earlier_term_is_no_verdict_on_work_that_never_began(api: Api) {
    let cluster = single();
    let election = start(&cluster, api, 0);
    let store = Store { cluster: &cluster, api };
    let wait = |wanted: fn(&Event) -> bool| {
        while !matches!(election.next(Some(PATIENCE)), Ok(Next::Event(event)) if wanted(&event)) {}
    };
    wait(|event| matches!(event, Event::Elected { .. }));
    let next = next_in_line(&cluster.urls(), api);
    store.delete(&store.key_of(KEY, "rust"));
    wait(|event| matches!(event, Event::Unelected { .. }));
    next.elected();
    let given = std::thread::scope(|threads| {
        let lead = threads.spawn(|| block_on(election.lead(async |_| panic!("another leads"))));
        store.wait_for_members(KEY, 2);
        election.stop();
        lead.join().expect("no work")
    });
    assert_eq!(kind(given), Some(ErrorKind::Stopped));
}

/// As what wakes a task of an executor that is gone: nothing else holds the task any more.
struct Drops(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>);

impl Wake for Drops {
    fn wake(self: Arc<Self>) {
        let task = self.0.lock().expect("the task").take();
        drop(task);
    }
}

#[test]
fn a_future_may_be_dropped_by_its_own_waker() {
    let cluster = single();
    let election = Arc::new(start(&cluster, Api::V3, 0));
    let led = election.clone();
    let task = Arc::new(Drops(Mutex::new(Some(Box::pin(async move {
        let _never = led.lead(async |_| panic!("nobody polls it again")).await;
    })))));
    let waker = Waker::from(task.clone());
    let is_pending = |task: &Drops| {
        let mut task = task.0.lock().expect("the task");
        task.as_mut().expect("it waits").as_mut().poll(&mut Context::from_waker(&waker)).is_pending()
    };
    assert!(is_pending(&task));
    loop {
        match election.next(Some(PATIENCE)).expect("no fork") {
            Next::Event(Event::Ended(_)) => break,
            Next::Event(_) => {}
            other => panic!("the engine stands still: {other:?}"),
        }
    }
}

/// A runtime of many threads wants futures that may move between them.
#[test]
fn its_future_is_send_if_the_work_is() {
    fn is_send(_: &impl Send) {}
    let _unused = |election: &Election| is_send(&election.lead(async |term: Term| term.lost().await));
}
