//! Links that cannot be made, break, or are closed.

use std::collections::BTreeSet;
use std::time::Duration;

use etcd_leader::ErrorKind;
use etcd_leader::machine::{LinkId, Op};

use crate::bench::{Bench, PREFIX, after, endpoint_address, own, streams, text};
use support::{Cluster, Port, Proxy, wait_for};

#[tokio::test]
async fn a_name_that_does_not_resolve_is_said_to_be_unknown() {
    let mut bench = Bench::on(&["http://no-such-host.invalid:2379".into()]);
    let failure = bench.open(0).await.expect_err("no such host");
    assert_eq!(failure.kind, ErrorKind::Unreachable);
    let expected = "http://no-such-host.invalid:2379: cannot look up the host no-such-host.invalid: ";
    assert!(failure.detail.starts_with(expected), "{}", failure.detail);
}

#[tokio::test]
async fn a_refused_connection_names_the_member_and_the_cause() {
    let nobody = Port::new();
    let mut bench = Bench::on(&[nobody.url(), format!("http://localhost:{}", nobody.address().port())]);
    let failure = bench.open(0).await.expect_err("refused");
    let expected = format!("{}: cannot connect: Connection refused (os error 111)", nobody.url());
    assert_eq!((failure.kind, failure.detail), (ErrorKind::Unreachable, expected));

    let link = LinkId(bench.fresh());
    let opening =
        bench.send(link, Op::Open { endpoint: 1, key: PREFIX.into(), patience: Duration::ZERO, is_proof: true });
    let early = bench.send(link, Op::Renew { lease: 1 });
    let failure = bench.reply(opening).await.expect_err("refused");
    assert!(failure.detail.contains("localhost") && failure.detail.contains("Connection refused"), "{failure:?}");
    assert_eq!(bench.reply(early).await.expect_err("no link"), failure, "what was asked meanwhile fails too");
    assert_eq!(bench.rest(Duration::from_millis(50)).await, []);
}

#[tokio::test]
async fn a_link_breaks_once_when_its_member_dies_and_is_not_mended() {
    let mut cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 5).await;
    let watch = bench.watch(link, &ours.key, &after(&ours.key), ours.revision + 1);
    bench.news(watch).await;
    bench.answer(link, Op::Renew { lease: 5 }).await;

    cluster.member(0).kill();
    let failure = bench.broken(link).await;
    assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    assert!(failure.detail.starts_with(&cluster.urls()[0]), "{failure:?}");
    cluster.start();
    for op in [Op::Renew { lease: 5 }, Op::Confirm { key: ours.key, keys: vec![] }] {
        let failure = bench.ask(link, op).await.expect_err("a link is never mended");
        assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    }
    assert_eq!(bench.rest(Duration::from_millis(100)).await, [], "broken is told once");
    assert!(bench.open(0).await.is_ok(), "another link serves");
}

#[tokio::test]
async fn an_idle_link_breaks_too() {
    let mut cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    cluster.member(0).kill();
    assert_eq!(bench.broken(link).await.kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_reset_fails_what_is_under_way() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(endpoint_address(&cluster));
    let mut bench = Bench::on(&[proxy.url()]);
    let link = bench.open(0).await.expect("a link").0;
    bench.granted(link, 1).await;
    bench.answer(link, Op::Renew { lease: 1 }).await;
    proxy.hold_all();
    let asked = [bench.send(link, Op::Renew { lease: 1 }), bench.send(link, Op::Confirm { key: own(1), keys: vec![] })];
    assert_eq!(bench.rest(Duration::from_millis(300)).await, [], "no answer, and no deadline of our own");
    proxy.reset();
    for asked in asked {
        let failure = bench.reply(asked).await.expect_err("reset");
        assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
        assert!(failure.detail.contains("reset"), "{failure:?}");
    }
    assert_eq!(bench.broken(link).await.kind, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_closed_link_is_silent() {
    let mut cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 6).await;
    let watch = bench.watch(link, &ours.key, &after(&ours.key), ours.revision + 1);
    bench.news(watch).await;
    bench.answer(link, Op::Renew { lease: 6 }).await;
    bench.send(link, Op::Renew { lease: 6 });
    bench.send(link, Op::Confirm { key: ours.key.clone(), keys: vec![] });
    bench.send(link, Op::Close);
    bench.send(link, Op::Confirm { key: ours.key.clone(), keys: vec![] });
    cluster.etcdctl(&["del", text(&ours.key)]);
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
    let no_stream = BTreeSet::from(["0".to_string()]);
    wait_for("etcd to see the connection gone", || (streams(&cluster) == no_stream).then_some(()));
    cluster.member(0).kill();
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
}

#[tokio::test]
async fn members_without_a_quorum_say_so() {
    let mut cluster = Cluster::three();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let watch = bench.watch(link, b"/a", b"/b", 2);
    bench.news(watch).await;
    cluster.member(1).kill();
    cluster.member(2).kill();
    let failure = bench.broken(link).await;
    assert_eq!(failure.kind, ErrorKind::NoQuorum, "{failure:?}");
    let failure = bench.ask(link, Op::Confirm { key: own(1), keys: vec![] }).await.expect_err("no quorum");
    assert!(matches!(failure.kind, ErrorKind::NoQuorum | ErrorKind::Timeout), "{failure:?}");
}
