//! How a term ends after a stop: the entry is kept while the work ends, and the last event says whether it was held until then.

use std::time::Duration;

use etcd_leader::{Api, Config, Election, Ended, ErrorKind, Event, Next};

use super::candidate::{Setup, millis, now_ms, waits};
use super::store::{Store, on_v2_and_v3, single};
use support::{Cluster, wait_for};

const TTL_S: u32 = 3;
const TTL_MS: u64 = TTL_S as u64 * 1000;
const KEY: &str = "/heard";

/// Started alone, and elected.
fn leader(cluster: &Cluster, api: Api, stop_timeout_ms: u32) -> Election {
    let config = Config {
        endpoints: cluster.urls(),
        key: KEY.into(),
        name: "polite".into(),
        ttl_s: TTL_S,
        // So often that a busy machine does not lose the lead.
        renew_ms: 300,
        stop_timeout_ms,
        api,
        ..Config::default()
    };
    let election = Election::start(&config).expect("started");
    assert!(matches!(next_of(&election), Next::Event(Event::Elected { .. })));
    assert!(matches!(next_of(&election), Next::Event(Event::Leader(Some(_)))));
    election
}

/// The next that it is told, but for troubles: a busy machine has some.
fn next_of(election: &Election) -> Next {
    loop {
        match election.next(Some(Duration::from_secs(40))).expect("no fork") {
            Next::Event(Event::Retrying(_)) => {}
            next => return next,
        }
    }
}

/// The last event, as it says why; nothing follows.
fn verdict(election: &Election) -> (Option<ErrorKind>, bool) {
    let Next::Event(Event::Ended(Ended { why, released })) = next_of(election) else { panic!("not the end") };
    assert_eq!(next_of(election), Next::Ended);
    assert_eq!(next_of(election), Next::Ended, "for ever");
    (why.map(|why| why.kind()), released)
}

on_v2_and_v3!(a_place_is_kept_until_the_work_has_ended);
fn a_place_is_kept_until_the_work_has_ended(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let election = leader(&cluster, api, 60_000);
    let mut next = Setup::new(&urls, KEY, TTL_S).on(api).start("next");
    next.hears("leader");

    election.stop();
    assert!(!election.is_leader() && election.token().is_none());
    assert!(matches!(next_of(&election), Next::Event(Event::Unelected { .. })));
    // The work takes longer than a ttl to end; the entry is renewed meanwhile.
    std::thread::sleep(Duration::from_millis(TTL_MS * 3 / 2));
    assert_eq!(next.claims(), "no", "nobody leads while the user has not come back");
    assert!(!election.is_due(), "when the work has ended is for the user to say");
    let busy = waits(&cluster, std::slice::from_ref(&next));
    let back = now_ms();
    assert_eq!(verdict(&election), (None, true));
    let (elected, _) = next.hears_at("elected");
    let bound = back + 1000 + millis(busy.so_far());
    assert!((back..bound).contains(&elected), "at once after the user came back, not {} ms later", elected - back);
    next.stop();
}

on_v2_and_v3!(work_that_says_nothing_is_waited_for_and_the_verdict_says_so);
fn work_that_says_nothing_is_waited_for_and_the_verdict_says_so(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let election = leader(&cluster, api, 500);
    let next = Setup::new(&urls, KEY, TTL_S).on(api).start("next");
    next.hears("leader");
    let busy = waits(&cluster, std::slice::from_ref(&next));
    let stopped = now_ms();
    election.stop();
    let (elected, _) = next.hears_at("elected");
    let bound = stopped + 1500 + millis(busy.so_far());
    assert!((stopped + 500..bound).contains(&elected), "after {} ms", elected - stopped);
    let Next::Event(Event::Unelected { why }) = next_of(&election) else { panic!("late, but told") };
    assert_eq!(why.kind(), ErrorKind::Overrun, "the entry is not kept any more");
    assert_eq!(verdict(&election).0, Some(ErrorKind::Overrun));
}

on_v2_and_v3!(work_that_ends_elsewhere_releases_the_entry);
fn work_that_ends_elsewhere_releases_the_entry(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let election = leader(&cluster, api, 60_000);
    let mut next = Setup::new(&urls, KEY, TTL_S).on(api).start("next");
    next.hears("leader");
    election.release();
    assert!(election.is_leader(), "before a stop it means nothing");
    election.stop();
    assert!(matches!(election.take().expect("no fork"), Next::Event(Event::Unelected { .. })));
    assert_eq!(election.take().expect("no fork"), Next::Nothing, "to take events says nothing of the work");
    assert_eq!(next.claims(), "no");
    std::thread::scope(|threads| drop(threads.spawn(|| election.release())));
    next.hears("elected");
    let ended = wait_for("the end", || match election.take().expect("no fork") {
        Next::Event(Event::Ended(ended)) => Some(ended),
        _ => None,
    });
    assert_eq!(ended, Ended { why: None, released: true });
}

on_v2_and_v3!(an_entry_that_is_deleted_while_the_work_ends_is_lost);
fn an_entry_that_is_deleted_while_the_work_ends_is_lost(api: Api) {
    let cluster = single();
    let store = Store { cluster: &cluster, api };
    let election = leader(&cluster, api, 60_000);
    election.stop();
    assert!(matches!(next_of(&election), Next::Event(Event::Unelected { .. })));
    let urls = cluster.urls();
    let other = Setup::new(&urls, KEY, TTL_S).on(api).start("other");
    other.hears("leader");
    store.delete(&store.key_of(KEY, "polite"));
    other.hears("elected");
    assert_eq!(verdict(&election).0, Some(ErrorKind::KeyLost));
}

on_v2_and_v3!(an_entry_that_is_deleted_before_the_work_has_ended_is_lost_though_nobody_knows_it_yet);
fn an_entry_that_is_deleted_before_the_work_has_ended_is_lost_though_nobody_knows_it_yet(api: Api) {
    let cluster = single();
    let store = Store { cluster: &cluster, api };
    for _ in 0..10 {
        let election = leader(&cluster, api, 60_000);
        election.stop();
        assert!(matches!(next_of(&election), Next::Event(Event::Unelected { .. })));
        store.delete(&store.key_of(KEY, "polite"));
        election.release();
        assert_eq!(verdict(&election).0, Some(ErrorKind::KeyLost));
    }
}

on_v2_and_v3!(with_etcd_gone_the_clock_decides);
fn with_etcd_gone_the_clock_decides(api: Api) {
    let mut cluster = single();
    // The work ends while the entry is certain to stand.
    let election = leader(&cluster, api, 500);
    cluster.member(0).freeze();
    let stopped = now_ms();
    election.stop();
    assert!(matches!(next_of(&election), Next::Event(Event::Unelected { .. })));
    let in_time = election.time_left().is_zero() && now_ms() < stopped + 500;
    let (why, released) = verdict(&election);
    assert!(!released && now_ms() >= stopped + 500, "etcd is waited for as long as was asked");
    assert!(!in_time || why.is_none(), "{why:?}");
    cluster.member(0).thaw();
    drop(election);
    Store { cluster: &cluster, api }.wait_for_members(KEY, 0);
    // The work goes on beyond that.
    let election = leader(&cluster, api, 500);
    cluster.member(0).freeze();
    election.stop();
    let Next::Event(Event::Unelected { why }) = next_of(&election) else { panic!("it leads no more") };
    assert_eq!(why.kind(), ErrorKind::Stopped);
    std::thread::sleep(Duration::from_millis(TTL_MS));
    assert_eq!(verdict(&election), (Some(ErrorKind::Deadline), false));
    cluster.member(0).thaw();
}

on_v2_and_v3!(a_loss_before_the_stop_and_one_that_never_led_are_told_apart);
fn a_loss_before_the_stop_and_one_that_never_led_are_told_apart(api: Api) {
    let cluster = single();
    let store = Store { cluster: &cluster, api };
    let election = leader(&cluster, api, 60_000);
    store.delete(&store.key_of(KEY, "polite"));
    let Next::Event(Event::Unelected { why }) = next_of(&election) else { panic!("it was deleted") };
    assert_eq!(why.kind(), ErrorKind::KeyLost);
    election.stop();
    assert_eq!(verdict(&election).0, Some(ErrorKind::KeyLost));

    let first = leader(&cluster, api, 60_000);
    let config = Config {
        endpoints: cluster.urls(),
        key: KEY.into(),
        name: "second".into(),
        ttl_s: TTL_S,
        api,
        ..Config::default()
    };
    let second = Election::start(&config).expect("started");
    assert!(matches!(next_of(&second), Next::Event(Event::Leader(Some(_)))));
    second.stop();
    assert_eq!(verdict(&second), (Some(ErrorKind::Stopped), true));
    drop(first);
}
