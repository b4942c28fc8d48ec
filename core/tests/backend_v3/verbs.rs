//! The verbs that are one call each, and the keepalive.

use std::io::Write;
use std::process::{Command, Stdio};

use etcd_leader::ErrorKind;
use etcd_leader::machine::{Answer, Op, Seen, Sign, Stamp, Written};
use etcd_leader::member::Member;

use crate::bench::{Bench, PREFIX, name, own, text};
use support::proxy::Way;
use support::{self, Cluster, Proxy};

#[tokio::test]
async fn a_join_sees_itself_and_its_neighbours() {
    let cluster = Cluster::single();
    let mut bench = Bench::on(&cluster.urls());
    let (link, opened) = bench.open(0).await.expect("a link");
    assert!(opened.cluster != 0 && opened.revision >= 1 && opened.term >= 1, "{opened:?}");

    bench.granted(link, 0x10).await;
    let (reply, created, seen) = bench.join(link, 0x10).await;
    let ours = Member { key: own(0x10), name: name(0x10), revision: reply.stamp.revision, lease: 0x10 };
    assert!(created);
    assert_eq!(reply.stamp, Stamp { revision: opened.revision + 1, ..opened });
    assert_eq!(seen, Seen { own: Some(ours.clone()), latest: vec![ours.clone()], first: vec![ours.clone()], count: 1 });

    let second = bench.member(link, 0x20).await;
    bench.granted(link, 0x05).await;
    let (_, _, seen) = bench.join(link, 0x05).await;
    let third = seen.own.clone().expect("our entry");
    assert_eq!(seen.latest, [third.clone(), second.clone()], "the highest rank first, whatever the keys");
    assert_eq!(seen.first, [ours.clone(), second.clone()]);

    let look = Op::Look { prefix: PREFIX.into(), own: own(0x20), up_to: second.revision };
    let expected =
        Seen { own: Some(second.clone()), latest: vec![second.clone(), ours.clone()], first: seen.first, count: 3 };
    assert_eq!(bench.answer(link, look).await, Answer::Looked(expected));
}

/// Its looks would be refused, too, when it is to lead.
#[tokio::test]
async fn a_server_that_takes_too_few_operations_for_a_look_refuses_the_join() {
    let cluster = Cluster::of(1, &["--max-txn-ops=2"]);
    let (mut bench, link) = Bench::linked(&cluster).await;
    bench.granted(link, 1).await;
    let join = Op::Join { prefix: PREFIX.into(), own: own(1), name: name(1), lease: 1 };
    let failure = bench.ask(link, join).await.expect_err("three operations");
    assert_eq!(failure.kind, ErrorKind::Invalid, "{failure:?}");
}

/// etcd carries a join out between the writes of others: it must not sort a thousand entries there.
#[tokio::test]
async fn a_join_shows_eight_and_of_more_none_but_its_own() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    for count in 1..=9 {
        bench.granted(link, count).await;
        let (_, created, seen) = bench.join(link, count).await;
        let count = usize::try_from(count).expect("a small number");
        assert!(created && seen.own.is_some());
        let shown = if count <= 8 { count.min(2) } else { 0 };
        assert_eq!((seen.count, seen.first.len(), seen.latest.len()), (count, shown, shown));
    }
}

#[tokio::test]
async fn joining_again_changes_nothing_and_shows_what_is_there() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 7).await;
    let before = cluster.revision();
    let (_, created, seen) = bench.join(link, 7).await;
    assert!(!created);
    assert_eq!(seen, Seen { own: Some(ours), ..Seen::default() });
    assert_eq!(cluster.revision(), before);
}

#[tokio::test]
async fn members_of_one_revision_are_ranked_by_key() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let mut transaction = Command::new(support::etcdctl_binary());
    transaction.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", cluster.urls()[0])).arg("txn");
    let mut child = transaction.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("etcdctl");
    let puts = "\nput /jobs/nightly/b two\nput /jobs/nightly/a one\n\n\n";
    child.stdin.take().expect("its input").write_all(puts.as_bytes()).expect("written");
    assert!(child.wait().expect("its end").success());

    let up_to = cluster.revision();
    let look = |key: &str| Op::Look { prefix: PREFIX.into(), own: [PREFIX, key.as_bytes()].concat(), up_to };
    for (key, latest) in [("b", vec!["b", "a"]), ("a", vec!["a"])] {
        let Answer::Looked(seen) = bench.answer(link, look(key)).await else { panic!("not a look") };
        let last =
            |members: &[Member]| members.iter().map(|m| text(&m.key[PREFIX.len()..]).into()).collect::<Vec<String>>();
        assert_eq!(
            (last(&seen.latest), last(&seen.first)),
            (latest.iter().map(|k| k.to_string()).collect(), vec!["a".into(), "b".into()])
        );
    }
}

#[tokio::test]
async fn a_leave_takes_only_what_its_revision_created() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 9).await;
    let leave = |revision| Op::Leave { key: own(9), revision };
    assert_eq!(bench.answer(link, leave(ours.revision - 1)).await, Answer::Left { was_there: false });
    assert_eq!(bench.join(link, 9).await.2.own, Some(ours.clone()), "another's revision takes nothing");
    assert_eq!(bench.answer(link, leave(ours.revision)).await, Answer::Left { was_there: true });
    assert_eq!(bench.answer(link, leave(ours.revision)).await, Answer::Left { was_there: false }, "also if it is gone");
    assert!(bench.join(link, 9).await.1, "it was gone");
}

#[tokio::test]
async fn leases_are_granted_renewed_and_revoked() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    bench.granted(link, 77).await;
    let again = bench.ask(link, Op::Grant { lease: 77, ttl_s: 60 }).await.expect_err("it exists");
    assert_eq!(again.kind, ErrorKind::Server);
    assert!(again.detail.contains("lease already exists"), "{again:?}");

    let renewed = bench.ask(link, Op::Renew { lease: 77 }).await.expect("renewed");
    assert_eq!(renewed.answer, Answer::Renewed { ttl_s: 60 });
    assert!(renewed.stamp.term >= 1 && renewed.stamp.cluster != 0);
    let (known, unknown) = (bench.send(link, Op::Renew { lease: 77 }), bench.send(link, Op::Renew { lease: 78 }));
    assert_eq!(bench.reply(known).await.expect("renewed").answer, Answer::Renewed { ttl_s: 60 });
    let Answer::Renewed { ttl_s } = bench.reply(unknown).await.expect("an answer").answer else {
        panic!("not a renewal")
    };
    assert!(ttl_s <= 0, "a lease that does not exist has {ttl_s} s");

    let ours = bench.join(link, 77).await.2.own.expect("our entry");
    let confirmed = bench.answer(link, Op::Confirm { key: own(77), keys: vec![own(78), own(77)] }).await;
    assert_eq!(confirmed, Answer::Confirmed { found: vec![None, Some(ours)] });
    let confirmed = bench.answer(link, Op::Confirm { key: own(77), keys: vec![] }).await;
    assert_eq!(confirmed, Answer::Confirmed { found: vec![] });

    assert_eq!(bench.answer(link, Op::ListKeys { lease: 77 }).await, Answer::Listed { keys: vec![own(77)] });
    assert_eq!(bench.answer(link, Op::ListKeys { lease: 78 }).await, Answer::Listed { keys: vec![] });
    assert_eq!(bench.answer(link, Op::Revoke { lease: 77 }).await, Answer::Revoked);
    let gone = bench.ask(link, Op::Revoke { lease: 77 }).await.expect("also if there is none");
    assert_eq!((gone.answer, gone.stamp.cluster), (Answer::Revoked, renewed.stamp.cluster));
    assert!(gone.stamp.revision >= renewed.stamp.revision);
    let confirmed = bench.answer(link, Op::Confirm { key: own(77), keys: vec![own(77)] }).await;
    assert_eq!(confirmed, Answer::Confirmed { found: vec![None] });

    let op = Op::Join { prefix: PREFIX.into(), own: own(77), name: name(77), lease: 77 };
    let refused = bench.ask(link, op).await.expect_err("without its lease");
    assert_eq!(refused.kind, ErrorKind::LeaseLost, "{refused:?}");
}

#[tokio::test]
async fn a_hundred_keys_are_confirmed_at_once() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, 1).await;
    let mut keys: Vec<_> = (1..=100).map(own).collect();
    keys.reverse();
    let Answer::Confirmed { found } = bench.answer(link, Op::Confirm { key: own(1), keys }).await else { panic!() };
    assert_eq!(found.len(), 100);
    assert_eq!(found[99], Some(ours));
    assert!(found[..99].iter().all(Option::is_none));
}

/// Of all writes of an entry that were sent after one that is known, etcd applies one.
#[tokio::test]
async fn an_entry_is_written_again_only_after_the_write_that_is_known() {
    let cluster = Cluster::single();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let entry = bench.member(link, 11).await;
    bench.granted(link, 12).await;
    let again = |lease, written| {
        let (key, revision) = (entry.key.clone(), entry.revision);
        Op::Touch { key, name: entry.name.clone(), revision, written, lease, shows: Sign::Nothing, sign: Sign::Nothing }
    };
    let reply = bench.ask(link, again(12, entry.revision)).await.expect("an answer");
    assert_eq!(reply.answer, Answer::Touched { touched: true, found: None });
    let at = reply.stamp.revision;
    for late in [again(11, entry.revision), again(11, at - 1), again(12, at + 1)] {
        let moved = Member { lease: 12, ..entry.clone() };
        let found = Some(Written { member: moved, at });
        assert_eq!(bench.answer(link, late).await, Answer::Touched { touched: false, found });
    }
    assert_eq!(bench.answer(link, Op::Revoke { lease: 11 }).await, Answer::Revoked);
    assert_eq!(bench.answer(link, again(12, at)).await, Answer::Touched { touched: true, found: None });
}

/// A touch is two writes where one shows the wrong sign. If the first was applied, a refusal of the second is not one of both.
#[tokio::test]
async fn a_touch_that_is_refused_in_part_is_in_doubt() {
    let cluster = guarded();
    let proxy = Proxy::before(cluster.client_address(0));
    let mut bench = Bench::as_user(&[proxy.url()], "one", "of-one");
    let (link, _) = bench.open(0).await.expect("a link");
    let ours = bench.member(link, 0x10).await;
    proxy.hold(Way::ToClient);
    let (key, revision) = (own(0x10), ours.revision);
    let (shows, sign) = (Sign::Waits, Sign::Waits);
    let touch = Op::Touch { key, name: name(0x10), revision, written: revision, lease: 0x10, shows, sign };
    let asked = bench.send(link, touch);
    while !is_written(&cluster, 2) {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    cluster.etcdctl(&["--user=root:of-root", "role", "revoke-permission", "one", "--prefix=true", text(PREFIX)]);
    proxy.pass();
    let failure = bench.reply(asked).await.expect_err("no right to write again");
    assert!(failure.detail.contains("permission denied"), "{failure:?}");
    assert!(!failure.kind.is_definite_refusal() && !failure.blames_link(), "{failure:?}");
    assert!(is_written(&cluster, 2));
}

/// An etcd on which the user `one` may use the keys of our elections.
fn guarded() -> Cluster {
    let cluster = Cluster::of(1, &["--bcrypt-cost=4"]);
    for words in ["user add root:of-root", "user grant-role root root", "role add one", "user add one:of-one"] {
        cluster.etcdctl(&words.split(' ').collect::<Vec<_>>());
    }
    cluster.etcdctl(&["user", "grant-role", "one", "one"]);
    cluster.etcdctl(&["role", "grant-permission", "one", "readwrite", "--prefix=true", text(PREFIX)]);
    cluster.etcdctl(&["auth", "enable"]);
    cluster
}

/// Whether the one entry was written so often.
fn is_written(cluster: &Cluster, times: u64) -> bool {
    let said = cluster.etcdctl(&["--user=root:of-root", "get", text(PREFIX), "--prefix", "--write-out=json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    said["kvs"][0]["version"] == times
}
