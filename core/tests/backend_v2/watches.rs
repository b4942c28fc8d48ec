//! Watches: long polls, one after the other.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use etcd_leader::ErrorKind;
use etcd_leader::machine::{Answer, Change, Op, Sign, WatchNews};
use etcd_leader::member::Member;

use crate::bench::{Bench, PREFIX, Server, V2_ON, curl, curled, etcd_answer, post, text, until_watchers};
use support::{Cluster, Proxy};

fn etcd() -> Cluster {
    Cluster::of(1, V2_ON)
}

#[tokio::test]
async fn a_watch_sees_every_visible_change_of_its_key_and_no_other() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    let path = format!("/v2/keys{}", text(&ours.key));
    let watch = bench.watch(link, &ours.key, ours.revision + 1);
    assert_eq!(bench.news(watch).await, WatchNews::Created { revision: ours.revision });

    bench.member(link, "two").await;
    let (_, quiet) = bench.refresh(link, &ours, ours.revision, false).await;
    let (_, visible) = bench.refresh(link, &ours, quiet.expect("written").at, true).await;
    let visible = visible.expect("written");
    let expected = Change { at: visible.at, key: ours.key.clone(), now: Some(ours.clone()), sign: Sign::Nothing };
    assert_eq!(bench.change(watch).await, expected, "the quiet refresh woke nobody");

    curled(&cluster, &format!("PUT {path}"), "value=theirs");
    let change = bench.change(watch).await;
    let now = change.now.expect("a value");
    assert_eq!((now.name.as_slice(), now.lease, now.revision), (&b"theirs"[..], 0, change.at));
    curled(&cluster, &format!("PUT {path}"), "value=again&prevValue=theirs");
    let change = bench.change(watch).await;
    assert!(change.now.is_some_and(|now| now.name == b"again" && now.revision < change.at));
    curled(&cluster, &format!("DELETE {path}?prevValue=again"), "");
    let Change { key, now, .. } = bench.change(watch).await;
    assert_eq!((key, now), (ours.key.clone(), None));
    curled(&cluster, &format!("PUT {path}/below"), "value=x");
    // etcd 3.5.16 refuses to write a directory that exists.
    let answer = curl(&cluster, &format!("PUT {path}"), "dir=true&prevExist=true");
    if !answer.contains("Not a file") {
        assert_eq!(bench.change(watch).await.now, None, "a directory is no entry");
    }
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
}

#[tokio::test]
async fn a_watch_from_the_past_is_told_what_it_missed() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    let mut written = vec![ours.revision];
    for _ in 0..3 {
        let (_, found) = bench.refresh(link, &ours, written[written.len() - 1], true).await;
        written.push(found.expect("written").at);
    }
    let watch = bench.watching(link, &ours.key, written[1]).await;
    for at in &written[1..] {
        assert_eq!(bench.change(watch).await.at, *at);
    }
}

#[tokio::test]
async fn an_entry_that_expires_is_seen_to_end() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let Answer::Posted { own } = bench.answer(link, post("one", 1)).await else { panic!("not posted") };
    let watch = bench.watching(link, &own.key, own.revision + 1).await;
    assert_eq!(bench.change(watch).await.now, None);
}

#[tokio::test]
async fn the_end_of_a_directory_above_is_the_end_of_the_key() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    for above in ["/jobs/nightly", "/jobs"] {
        let ours = bench.member(link, "one").await;
        let live = bench.watching(link, &ours.key, ours.revision + 1).await;
        curled(&cluster, &format!("DELETE /v2/keys{above}?recursive=true"), "");
        let change = bench.change(live).await;
        assert_eq!((&change.key, &change.now), (&ours.key, &None), "{above}");
        let late = bench.watching(link, &ours.key, ours.revision + 1).await;
        assert_eq!(bench.change(late).await, change, "{above}: from the history, too");
    }
}

#[tokio::test]
async fn the_end_of_a_directory_beside_is_nothing() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    // etcd compares text when it searches its history.
    curled(&cluster, "PUT /v2/keys/jobs/night/x", "value=x");
    curled(&cluster, "DELETE /v2/keys/jobs/night?recursive=true", "");
    let watch = bench.watching(link, &ours.key, ours.revision + 1).await;
    let (_, written) = bench.refresh(link, &ours, ours.revision, true).await;
    assert_eq!(bench.change(watch).await.at, written.expect("written").at);
}

#[tokio::test]
async fn a_start_that_etcd_has_forgotten_cancels_the_watch() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    let live = bench.watching(link, &ours.key, ours.revision + 1).await;
    let mut stream = TcpStream::connect(cluster.client_address(0)).expect("connected");
    for at in 0..1100 {
        let head = "HTTP/1.1\r\nHost: etcd\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 7";
        write!(stream, "PUT /v2/keys/other/{} {head}\r\n\r\nvalue=x", at % 10).expect("asked");
    }
    let written = bench.member(link, "two").await;
    // The writes were pipelined: they are all done once the store is that far.
    let mut last = written.revision;
    while last < ours.revision + 1100 {
        let opened = bench.open(0).await.expect("a link");
        bench.send(opened.0, Op::Close);
        last = opened.1.revision;
    }
    let watch = bench.watch(link, &ours.key, ours.revision + 1);
    let WatchNews::Canceled { reason } = bench.news(watch).await else { panic!("not canceled") };
    assert!(reason.contains("outdated and cleared"), "{reason}");

    // One that waits is told of its change, whatever was written meanwhile; then it goes on from there.
    let (_, visible) = bench.refresh(link, &ours, ours.revision, true).await;
    assert_eq!(bench.change(live).await.at, visible.expect("written").at);
    assert_eq!(bench.rest(Duration::from_millis(50)).await, []);
}

#[tokio::test]
async fn an_unwatched_key_is_silent_and_its_poll_is_ended() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    let ended = bench.watching(link, &ours.key, ours.revision + 1).await;
    let other = bench.watching(link, &ours.key, ours.revision + 1).await;
    bench.send(link, Op::Unwatch { watch: ended });
    bench.send(link, Op::Unwatch { watch: ended });
    bench.refresh(link, &ours, ours.revision, true).await;
    bench.change(other).await;
    assert_eq!(bench.rest(Duration::from_millis(50)).await, []);
    until_watchers(&cluster, 1).await;
}

#[tokio::test]
async fn an_empty_long_poll_is_asked_again_and_not_in_a_loop() {
    let mut server = Server::new(|head, client| {
        let answer = match head {
            _ if head.contains("waitIndex=41 ") => etcd_answer("200 OK", ""),
            _ if head.contains("wait=true") => panic!("another index: {head}"),
            _ => etcd_answer(
                "200 OK",
                r#"{"action":"get","node":{"key":"/jobs/nightly","dir":true,"createdIndex":3,"modifiedIndex":3}}"#,
            ),
        };
        let _ = client.write_all(answer.as_bytes());
    });
    let mut bench = Bench::on(&[server.url()]);
    let link = bench.open(0).await.expect("a link").0;
    server.request().await;
    let begun = Instant::now();
    let watch = bench.watching(link, b"/jobs/nightly/1", 41).await;
    for _ in 0..3 {
        server.request().await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(1900), "three polls in {:?}", begun.elapsed());
    bench.send(link, Op::Unwatch { watch });
    assert_eq!(bench.rest(Duration::from_millis(50)).await, [], "created is told once");
}

#[tokio::test]
async fn a_watch_that_is_cut_breaks_the_link_once() {
    let cluster = etcd();
    let proxy = Proxy::before(cluster.client_address(0));
    let mut bench = Bench::on(&[proxy.url()]);
    let link = bench.open(0).await.expect("a link").0;
    let ours = bench.member(link, "one").await;
    bench.watching(link, &ours.key, ours.revision + 1).await;
    bench.watching(link, &ours.key, ours.revision + 1).await;
    proxy.reset();
    let failure = bench.broken(link).await;
    assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    assert!(failure.detail.starts_with(&proxy.url()), "{failure:?}");
    let again = bench.ask(link, post("two", 60)).await.expect_err("a link is never mended");
    assert_eq!(again, failure);
    bench.watch(link, &ours.key, ours.revision + 1);
    assert_eq!(bench.rest(Duration::from_millis(100)).await, [], "broken is told once");
    assert!(bench.open(0).await.is_ok(), "another link serves");
}

#[tokio::test]
async fn a_store_that_changed_behind_a_watch_breaks_the_link() {
    let server = Server::new(|head, client| {
        let event =
            r#"{"action":"set","node":{"key":"/jobs/nightly/1","value":"x","createdIndex":41,"modifiedIndex":41}}"#;
        let answer = match head {
            _ if head.contains("waitIndex=41 ") => etcd_answer("200 OK", event),
            _ if head.contains("waitIndex=42 ") => etcd_answer("200 OK", "").replace("Index: 40", "Index: 7"),
            _ => etcd_answer(
                "404 Not Found",
                r#"{"errorCode":100,"message":"Key not found","cause":"/jobs","index":40}"#,
            ),
        };
        let _ = client.write_all(answer.as_bytes());
    });
    let mut bench = Bench::on(&[server.url()]);
    let link = bench.open(0).await.expect("a link").0;
    let watch = bench.watching(link, b"/jobs/nightly/1", 41).await;
    let now = Member { key: [PREFIX, b"1"].concat(), name: b"x".into(), revision: 41, lease: 0 };
    assert_eq!(bench.change(watch).await.now, Some(now));
    let failure = bench.broken(link).await;
    assert!(failure.detail.contains("not the one it was"), "{failure:?}");
}

#[tokio::test]
async fn what_no_etcd_tells_a_watch_breaks_the_link() {
    for (what, body) in [
        (
            "another key",
            r#"{"action":"set","node":{"key":"/jobs/nightly/2","value":"x","createdIndex":41,"modifiedIndex":41}}"#,
        ),
        (
            "an old event",
            r#"{"action":"set","node":{"key":"/jobs/nightly/1","value":"x","createdIndex":4,"modifiedIndex":4}}"#,
        ),
        (
            "another action",
            r#"{"action":"eat","node":{"key":"/jobs/nightly/1","value":"x","createdIndex":41,"modifiedIndex":41}}"#,
        ),
        ("no node", r#"{"action":"set"}"#),
        (
            "a negative index",
            r#"{"action":"set","node":{"key":"/jobs/nightly/1","value":"x","createdIndex":-1,"modifiedIndex":41}}"#,
        ),
        ("half a body", r#"{"action":"set","no"#),
    ] {
        let server = Server::new(move |head, client| {
            let none = r#"{"errorCode":100,"message":"Key not found","cause":"/jobs","index":40}"#;
            let answer = if head.contains("wait=true") {
                etcd_answer("200 OK", body)
            } else {
                etcd_answer("404 Not Found", none)
            };
            let _ = client.write_all(answer.as_bytes());
        });
        let mut bench = Bench::on(&[server.url()]);
        let link = bench.open(0).await.expect("a link").0;
        bench.watching(link, b"/jobs/nightly/1", 41).await;
        let failure = bench.broken(link).await;
        assert_eq!(failure.kind, ErrorKind::Protocol, "{what}: {failure:?}");
        assert_eq!(bench.rest(Duration::from_millis(20)).await, [], "{what}");
    }
}
