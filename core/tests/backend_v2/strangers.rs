//! Servers that are not etcd, or not well.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use etcd_leader::ErrorKind;
use etcd_leader::machine::{Op, WatchNews};
use etcd_leader::member::Member;

use crate::bench::{Bench, SOON, Server, etcd_answer, look, post};

/// Ends the connection as a server does that has read all it was sent.
fn say(client: &mut TcpStream, bytes: &[u8]) {
    let _ = client.write_all(bytes);
}

fn us() -> Member {
    Member { key: b"/jobs/nightly/7".into(), name: vec![], revision: 7, lease: 0 }
}

fn listing(nodes: &str) -> String {
    format!(
        r#"{{"action":"get","node":{{"key":"/jobs/nightly","dir":true,"createdIndex":3,"modifiedIndex":3,"nodes":[{nodes}]}}}}"#
    )
}

fn entry(key: &str, created: &str) -> String {
    format!(r#"{{"key":"{key}","value":"x","createdIndex":{created},"modifiedIndex":{created}}}"#)
}

/// What the link says of a server that answers everything with these bytes, or nothing but one failure.
async fn failure_of(what: &str, sent: Vec<u8>, kinds: &[ErrorKind]) -> String {
    let server = Server::new(move |_, client| say(client, &sent));
    let mut bench = Bench::on(&[server.url()]);
    let failure = tokio::time::timeout(SOON, bench.open(0)).await.expect(what).expect_err(what);
    assert!(kinds.contains(&failure.kind), "{what}: {failure:?}");
    assert!(failure.detail.starts_with(&server.url()), "{what}: {failure:?}");
    assert_eq!(bench.rest(Duration::from_millis(20)).await, [], "{what}: one answer");
    failure.detail
}

#[tokio::test]
async fn servers_that_are_not_etcd_are_said_to_be_none() {
    let http = |status: &str, head: &str, body: &str| {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\n{head}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    };
    let noise: Vec<u8> = (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let html = "<html><head>no</head>\r\n</html>";
    let good = listing("");
    let etcd = "X-Etcd-Cluster-Id: 1\r\nX-Etcd-Index: 9\r\n";
    let many: String = (0..5000).map(|at| format!("X-{at}: y\r\n")).collect();
    let huge = format!("X-Huge: {}\r\n", "y".repeat(1 << 20));
    let protocol = &[ErrorKind::Protocol][..];
    let unreachable = &[ErrorKind::Unreachable][..];
    for (what, sent, kinds) in [
        ("a web server", http("200 OK", "", html), protocol),
        ("JSON of somebody else", http("200 OK", "", &good), protocol),
        ("no index", http("200 OK", "X-Etcd-Cluster-Id: 1\r\n", &good), protocol),
        ("a cluster without a number", http("200 OK", "X-Etcd-Cluster-Id: x\r\nX-Etcd-Index: 9\r\n", &good), protocol),
        ("a negative index", http("200 OK", "X-Etcd-Cluster-Id: 1\r\nX-Etcd-Index: -9\r\n", &good), protocol),
        (
            "an absurd index",
            http("200 OK", "X-Etcd-Cluster-Id: 1\r\nX-Etcd-Index: 18446744073709551615\r\n", &good),
            protocol,
        ),
        ("a garbled term", http("200 OK", &format!("{etcd}X-Raft-Term: ?\r\n"), &good), protocol),
        ("no content", http("204 No Content", etcd, ""), protocol),
        ("an empty body", http("200 OK", etcd, ""), protocol),
        ("half a body", http("200 OK", etcd, &good[..20]), protocol),
        ("two bodies", http("200 OK", etcd, &(good.clone() + &good)), protocol),
        ("a deep body", http("200 OK", etcd, &"[".repeat(100_000)), protocol),
        ("not found by a web server", http("404 Not Found", "", html), protocol),
        ("an error of a web server", http("500 Internal Server Error", "", html), &[ErrorKind::Server]),
        ("a proxy without a server", http("502 Bad Gateway", "", html), unreachable),
        ("a proxy that is late", http("504 Gateway Timeout", "", html), &[ErrorKind::Timeout]),
        ("a proxy that wants a password", http("407 Proxy Authentication Required", "", html), protocol),
        ("a web server that wants one", http("401 Unauthorized", "", html), &[ErrorKind::Denied]),
        (
            "an upgrade",
            http("101 Switching Protocols", "Upgrade: h2c\r\n", ""),
            &[ErrorKind::Protocol, ErrorKind::Unreachable],
        ),
        ("too short a length", http("200 OK", &format!("{etcd}Content-Length: 9\r\n"), &good), protocol),
        (
            "too long a length",
            format!("HTTP/1.1 200 OK\r\n{etcd}Content-Length: 999\r\n\r\n{good}").into_bytes(),
            unreachable,
        ),
        (
            "a length that is none",
            format!("HTTP/1.1 200 OK\r\n{etcd}Content-Length: x\r\n\r\n{good}").into_bytes(),
            protocol,
        ),
        (
            "a chunk without its size",
            format!("HTTP/1.1 200 OK\r\n{etcd}Transfer-Encoding: chunked\r\n\r\nx\r\n").into_bytes(),
            &[ErrorKind::Protocol, ErrorKind::Unreachable],
        ),
        (
            "chunks that end early",
            format!("HTTP/1.1 200 OK\r\n{etcd}Transfer-Encoding: chunked\r\n\r\n5\r\n{{\"ac").into_bytes(),
            unreachable,
        ),
        ("huge headers", http("200 OK", &huge, &good), protocol),
        ("many headers", http("200 OK", &many, &good), protocol),
        ("HTTP/2", b"\0\0\0\x04\0\0\0\0\0".to_vec(), &[ErrorKind::Protocol, ErrorKind::Unreachable]),
        ("noise", noise, protocol),
        ("a server that closes at once", Vec::new(), unreachable),
    ] {
        failure_of(what, sent, kinds).await;
    }
    let said = failure_of("html", http("500 Oh", "", html), &[ErrorKind::Server]).await;
    assert!(
        said.ends_with("HTTP 500 Internal Server Error without an answer of etcd's: <html><head>no</head> </html>"),
        "{said}"
    );
    let said = failure_of("TLS", Vec::new(), unreachable).await;
    assert!(said.ends_with("if this port speaks TLS, write https://"), "{said}");
}

#[tokio::test]
async fn lists_that_etcd_does_not_give_are_refused() {
    for (what, body) in [
        ("no node", r#"{"action":"get"}"#.to_string()),
        ("a node that is null", r#"{"action":"get","node":null}"#.into()),
        ("a list", "[]".into()),
        ("another directory", listing("").replace("nightly", "daily")),
        ("nodes that are none", listing("7")),
        ("an entry without a key", listing(r#"{"value":"x","createdIndex":4,"modifiedIndex":4}"#)),
        ("an entry without a value", listing(r#"{"key":"/jobs/nightly/4","createdIndex":4,"modifiedIndex":4}"#)),
        ("an entry of elsewhere", listing(&entry("/other/4", "4"))),
        ("an entry beside", listing(&entry("/jobs/nightly2/4", "4"))),
        ("an entry too deep", listing(&entry("/jobs/nightly/4/4", "4"))),
        ("an index of 0", listing(&entry("/jobs/nightly/4", "0"))),
        ("a negative index", listing(&entry("/jobs/nightly/4", "-4"))),
        ("an absurd index", listing(&entry("/jobs/nightly/4", "9223372036854775808"))),
        ("an index too long", listing(&entry("/jobs/nightly/4", "99999999999999999999999"))),
        ("half an index", listing(&entry("/jobs/nightly/4", "4.5"))),
        ("an index in words", listing(&entry("/jobs/nightly/4", "\"4\""))),
        ("an entry from the future", listing(&entry("/jobs/nightly/41", "41"))),
        ("one entry twice", listing(&[entry("/jobs/nightly/4", "4"), entry("/jobs/nightly/4", "4")].join(","))),
        ("a value that is none", listing(&entry("/jobs/nightly/4", "4").replace("\"x\"", "7"))),
    ] {
        let server = Server::new(move |_, client| say(client, etcd_answer("200 OK", &body).as_bytes()));
        let mut bench = Bench::on(&[server.url()]);
        let failure = match bench.open(0).await {
            // The opening does not look at the entries.
            Ok((link, _)) => bench.ask(link, look(&us())).await.expect_err(what),
            Err(failure) => failure,
        };
        assert_eq!(failure.kind, ErrorKind::Protocol, "{what}: {failure:?}");
        assert_eq!(bench.rest(Duration::from_millis(10)).await, [], "{what}");
    }
}

#[tokio::test]
async fn answers_about_another_entry_are_refused() {
    let create = |key: &str, value: &str| {
        format!(
            r#"{{"action":"create","node":{{"key":"{key}","value":"{value}","createdIndex":39,"modifiedIndex":39}}}}"#
        )
    };
    for (what, body) in [
        ("elsewhere", create("/other/39", "one")),
        ("another value", create("/jobs/nightly/39", "two")),
        ("the directory", create("/jobs/nightly", "one")),
        ("an old write", create("/jobs/nightly/7", "one").replace("39", "5")),
    ] {
        let server = Server::new(move |head, client| {
            let answer = if head.starts_with("GET") { listing("") } else { body.clone() };
            say(client, etcd_answer("200 OK", &answer).as_bytes());
        });
        let mut bench = Bench::on(&[server.url()]);
        let link = bench.open(0).await.expect("a link").0;
        let op = if what == "an old write" {
            Op::Refresh { key: us().key, name: b"one".into(), written: 7, ttl_s: 9, visible: true }
        } else {
            post("one", 9)
        };
        let failure = bench.ask(link, op).await.expect_err(what);
        assert_eq!(failure.kind, ErrorKind::Protocol, "{what}: {failure:?}");
        assert!(!failure.kind.is_definite_refusal(), "it may well have been done");
    }
}

#[tokio::test]
async fn a_body_without_an_end_is_cut_off() {
    for (endless, limit) in [("GET", 16 << 20), ("POST", 1 << 20)] {
        let server = Server::new(move |head, client| {
            if !head.starts_with(endless) {
                return say(client, etcd_answer("200 OK", &listing("")).as_bytes());
            }
            say(client, b"HTTP/1.1 201 Created\r\nX-Etcd-Cluster-Id: 1\r\nX-Etcd-Index: 9\r\n\r\n");
            while client.write_all(&[b' '; 1 << 16]).is_ok() {}
        });
        let mut bench = Bench::on(&[server.url()]);
        let failure = match bench.open(0).await {
            Ok((link, _)) => bench.ask(link, post("one", 9)).await.expect_err("endless"),
            Err(failure) => failure,
        };
        assert_eq!(failure.kind, ErrorKind::Protocol, "{failure:?}");
        assert!(failure.detail.contains(&format!("more than {limit} bytes")), "{failure:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_can_be_left() {
    for sent in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nX-Etcd-Cluster-Id: 1\r\nX-Etcd-Index: 9\r\nContent-Length: 99\r\n\r\n{\"ac",
    ] {
        let server = Server::new(move |_, client| {
            say(client, sent.as_bytes());
            let _ = client.read(&mut [0]);
        });
        let mut bench = Bench::on(&[server.url()]);
        let link = etcd_leader::machine::LinkId(bench.fresh());
        bench.send(
            link,
            Op::Open { endpoint: 0, key: crate::bench::PREFIX.into(), patience: Duration::ZERO, is_proof: true },
        );
        assert_eq!(bench.rest(Duration::from_millis(150)).await, [], "no answer, and no deadline of our own");
        bench.send(link, Op::Close);
        assert_eq!(bench.rest(Duration::from_millis(50)).await, []);
    }
}

#[tokio::test]
async fn refusals_end_a_watch_and_failures_break_its_link() {
    for (what, answer, breaks) in [
        (
            "cleared",
            etcd_answer(
                "400 Bad Request",
                r#"{"errorCode":401,"message":"The event in requested index is outdated and cleared","cause":"[1/2]","index":40}"#,
            ),
            None,
        ),
        (
            "recovery",
            etcd_answer(
                "400 Bad Request",
                r#"{"errorCode":400,"message":"watcher is cleared due to etcd recovery","index":40}"#,
            ),
            None,
        ),
        (
            "no leader",
            etcd_answer(
                "500 Internal Server Error",
                r#"{"errorCode":300,"message":"Raft Internal Error","cause":"etcdserver: no leader","index":0}"#,
            ),
            Some(ErrorKind::NoQuorum),
        ),
        ("a proxy", "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n".into(), Some(ErrorKind::Unreachable)),
        (
            "v2 off",
            "HTTP/1.1 404 Not Found\r\nContent-Length: 19\r\n\r\n404 page not found\n".into(),
            Some(ErrorKind::Unsupported),
        ),
    ] {
        let server = Server::new(move |head, client| {
            let answer = if head.contains("wait=true") { answer.clone() } else { etcd_answer("200 OK", &listing("")) };
            say(client, answer.as_bytes());
        });
        let mut bench = Bench::on(&[server.url()]);
        let link = bench.open(0).await.expect("a link").0;
        let watch = bench.watch(link, b"/jobs/nightly/1", 2);
        match breaks {
            None => assert!(matches!(bench.news(watch).await, WatchNews::Canceled { .. }), "{what}"),
            Some(kind) => assert_eq!(bench.broken(link).await.kind, kind, "{what}"),
        }
        assert_eq!(bench.rest(Duration::from_millis(20)).await, [], "{what}");
    }
}
