//! `Election::events`: the events as a stream, on an executor of nobody's.

use std::time::Duration;

use etcd_leader::{Api, Election, ErrorKind, Event};
use futures_util::{FutureExt, StreamExt};

use super::lead::{block_on, next_in_line, start};
use super::store::{on_v2_and_v3, single};

fn next(election: &Election) -> Option<Event> {
    block_on(election.events().next()).map(|event| event.expect("no fork"))
}

/// The next event that is no news of the leader or of troubles.
fn next_turn(election: &Election) -> Option<Event> {
    loop {
        match next(election) {
            Some(Event::Leader(_) | Event::Retrying(_)) => {}
            other => return other,
        }
    }
}

on_v2_and_v3!(a_stream_has_all_events_and_says_nothing_of_the_work);
fn a_stream_has_all_events_and_says_nothing_of_the_work(api: Api) {
    let cluster = single();
    let election = start(&cluster, api, 60_000);
    let Some(Event::Elected { token }) = next(&election) else { panic!("alone") };
    // Each call has another stream: one that was dropped has taken nothing along.
    assert!(matches!(next(&election), Some(Event::Leader(Some(leader))) if leader.token == token));
    assert!(election.events().next().now_or_never().is_none(), "nothing more has happened");
    let mut next_one = next_in_line(&cluster.urls(), api);

    std::thread::scope(|threads| {
        // It is woken by what another thread does.
        let hears = threads.spawn(|| next_turn(&election));
        election.stop();
        let unelected = hears.join().expect("it hears");
        assert!(matches!(unelected, Some(Event::Unelected { why }) if why.kind() == ErrorKind::Stopped));
    });
    // It comes for another event, and the entry is kept: only the user knows when the work has ended.
    assert!(election.events().next().now_or_never().is_none());
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(next_one.claims(), "no");
    election.release();
    next_one.elected();
    let Some(Event::Ended(ended)) = next_turn(&election) else { panic!("its end") };
    assert_eq!((ended.why, ended.released), (None, true));
    assert!(next(&election).is_none() && next(&election).is_none(), "it has ended, and stays so");
}

/// A runtime of many threads wants streams that may move between them.
#[test]
fn the_stream_is_send_and_tells_of_a_loss_that_the_clock_alone_shows() {
    fn is_send<T: Send>(one: T) -> T {
        one
    }
    let mut cluster = single();
    let election = start(&cluster, Api::V3, 0);
    assert!(matches!(next(&election), Some(Event::Elected { .. })));
    cluster.member(0).kill();
    let lost = async {
        let mut events = is_send(election.events());
        loop {
            if let Event::Unelected { why } = events.next().await.expect("it goes on").expect("no fork") {
                return why.kind();
            }
        }
    };
    assert_eq!(block_on(lost), ErrorKind::Deadline);
}
