//! Watches, and the stream that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use etcd_leader::machine::{Answer, Change, Op, Sign, WatchId, WatchNews, Watched};
use etcd_leader::member::Member;

use crate::bench::{Bench, PREFIX, after, endpoint_address, streams, text};
use support::{Cluster, Proxy};

#[tokio::test]
async fn a_watch_tells_deletes_and_foreign_puts() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let before = bench.member(link, 0x10).await;
    let ours = bench.member(link, 0x20).await;
    let watch = bench.watch(link, &before.key, &after(&ours.key), ours.revision + 1);
    assert_eq!(bench.news(watch).await, WatchNews::Created { revision: ours.revision });

    cluster.etcdctl(&["put", text(&ours.key), "somebody else"]);
    let [change] = &bench.changes(watch).await[..] else { panic!("one change") };
    let overwritten = Member { name: b"somebody else".into(), lease: 0, ..ours.clone() };
    assert_eq!(
        *change,
        Change { at: ours.revision + 1, key: ours.key.clone(), now: Some(overwritten), sign: Sign::Nothing }
    );

    bench.answer(link, Op::Leave { key: before.key.clone(), revision: before.revision }).await;
    assert_eq!(
        bench.changes(watch).await,
        [Change { at: ours.revision + 2, key: before.key.clone(), now: None, sign: Sign::Nothing }]
    );

    bench.send(link, Op::Unwatch { watch });
    cluster.etcdctl(&["del", text(&ours.key)]);
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
}

/// A watch of puts, from now on: it hears of the leader, of no end, and no write of one that waits looks like a leader's.
#[tokio::test]
async fn a_leader_is_known_by_its_write_and_one_that_waits_is_not() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let (first, ours) = (bench.member(link, 0x10).await, bench.member(link, 0x20).await);
    let range = Watched { from: first.key.clone(), to: ours.key.clone(), start: None, puts_only: true };
    let watch = bench.watch_range(link, range);
    assert_eq!(bench.news(watch).await, WatchNews::Created { revision: ours.revision });
    let mut written = first.revision;
    // Each row has the sign that we take the entry to have, the sign that it is to get, and the signs that the watch tells.
    let writes: [(Sign, Sign, &[Sign]); 8] = [
        (Sign::Waits, Sign::Waits, &[Sign::Nothing, Sign::Waits]),
        (Sign::Nothing, Sign::Waits, &[Sign::Nothing, Sign::Waits]),
        (Sign::Waits, Sign::Leads, &[Sign::Leads]),
        (Sign::Leads, Sign::Leads, &[Sign::Nothing, Sign::Leads]),
        (Sign::Nothing, Sign::Waits, &[Sign::Nothing, Sign::Nothing, Sign::Waits]),
        (Sign::Nothing, Sign::Leads, &[Sign::Nothing, Sign::Nothing, Sign::Leads]),
        (Sign::Leads, Sign::Waits, &[Sign::Waits]),
        // The entry does not have the sign that we take it to have.
        (Sign::Leads, Sign::Waits, &[Sign::Leads, Sign::Waits]),
    ];
    for (shows, sign, told) in writes {
        let (key, name) = (first.key.clone(), first.name.clone());
        let touch = Op::Touch { key, name, revision: first.revision, written, lease: first.lease, shows, sign };
        let reply = bench.ask(link, touch).await.expect("an answer");
        assert_eq!(reply.answer, Answer::Touched { touched: true, found: None }, "{sign:?}");
        let mut heard = Vec::new();
        while heard.len() < told.len() {
            heard.extend(bench.changes(watch).await);
        }
        assert!(heard.iter().all(|change| change.now.as_ref() == Some(&first)), "{heard:?}");
        assert_eq!(heard.iter().map(|change| change.sign).collect::<Vec<_>>(), told, "{shows:?} {sign:?}");
        written = reply.stamp.revision;
        assert_eq!(heard.last().map(|change| change.at), Some(written));
    }
    bench.answer(link, Op::Leave { key: first.key.clone(), revision: first.revision }).await;
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
}

#[tokio::test]
async fn one_revision_is_one_response() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let first = bench.member(link, 0x10).await;
    bench.member(link, 0x20).await;
    let last = bench.member(link, 0x30).await;
    let watch = bench.watch(link, &first.key, &after(&last.key), last.revision + 1);
    bench.news(watch).await;
    cluster.etcdctl(&["del", text(PREFIX), "--prefix"]);
    let changes = bench.changes(watch).await;
    assert_eq!(changes.len(), 3);
    assert!(changes.iter().all(|change| change.now.is_none() && change.at == last.revision + 1));
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_is_canceled() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 3).await;
    for value in ["a", "b", "c"] {
        cluster.etcdctl(&["put", "/other", value]);
    }
    cluster.etcdctl(&["compact", &(ours.revision + 2).to_string()]);
    let (lost, live) = (
        bench.watch(link, &ours.key, &after(&ours.key), ours.revision),
        bench.watch(link, &ours.key, &after(&ours.key), cluster.revision() + 1),
    );
    let canceled = loop {
        match bench.news(lost).await {
            WatchNews::Canceled { reason } => break reason,
            WatchNews::Created { .. } => {}
            news => panic!("{news:?}"),
        }
    };
    assert!(canceled.contains(&format!("revision {}", ours.revision + 2)), "{canceled}");
    assert!(matches!(bench.news(live).await, WatchNews::Created { .. }));
    cluster.etcdctl(&["del", text(&ours.key)]);
    assert_eq!(bench.changes(live).await.len(), 1);
    assert_eq!(bench.rest(Duration::from_millis(100)).await, [], "and nothing broke");
}

#[tokio::test]
async fn a_watch_that_cannot_be_made_is_canceled_and_leaves_the_others() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let good = bench.watch(link, b"/a", b"/b", 2);
    let empty = bench.watch(link, b"/b", b"/a", 2);
    let other = bench.watch(link, b"/c", b"/d", 2);
    assert!(matches!(bench.news(good).await, WatchNews::Created { .. }));
    assert!(matches!(bench.news(empty).await, WatchNews::Canceled { .. }));
    assert!(matches!(bench.news(other).await, WatchNews::Created { .. }));
}

#[tokio::test]
async fn a_thousand_watches_share_one_stream_and_one_connection() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(endpoint_address(&cluster));
    let mut bench = Bench::on(&[proxy.url()]);
    let (link, stamp) = bench.open(0).await.expect("a link");
    let key = |at: usize| format!("/many/{at:04}").into_bytes();
    let watches: BTreeMap<WatchId, usize> =
        (0..1000).map(|at| (bench.watch(link, &key(at), &after(&key(at)), stamp.revision + 1), at)).collect();
    for watch in watches.keys() {
        assert!(matches!(bench.news(*watch).await, WatchNews::Created { .. }));
    }
    for at in [0, 421, 999] {
        cluster.etcdctl(&["put", text(&key(at)), "x"]);
        let (watch, _) = watches.iter().find(|(_, number)| **number == at).expect("the watch");
        let [change] = &bench.changes(*watch).await[..] else { panic!("one change") };
        assert_eq!(change.key, key(at));
    }
    assert_eq!(streams(&cluster), BTreeSet::from(["1".to_string()]));
    assert_eq!(proxy.connections(), 1);
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
}

/// The time from a delete to its event, for a watch from the next revision on. Printed; see `--nocapture`.
#[tokio::test]
#[allow(clippy::print_stdout)]
async fn a_delete_is_told_soon() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    for start_after in [1, 0] {
        let mut took = Vec::new();
        for lease in 1..=50 {
            let ours = bench.member(link, lease).await;
            let watch = bench.watch(link, &ours.key, &after(&ours.key), ours.revision + start_after);
            assert!(matches!(bench.news(watch).await, WatchNews::Created { .. }));
            let begun = Instant::now();
            bench.send(link, Op::Leave { key: ours.key, revision: ours.revision });
            while bench.changes(watch).await.iter().all(|change| change.now.is_some()) {}
            took.push(begun.elapsed());
            bench.send(link, Op::Unwatch { watch });
            bench.answer(link, Op::Revoke { lease }).await;
        }
        took.sort();
        println!("delete to event, start = revision + {start_after}: median {:?}, most {:?}", took[25], took[49]);
    }
}
