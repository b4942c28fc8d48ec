//! As [`super::caps`], for API v2.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use etcd_leader::Api;

use super::server::{Server, wait_for_end};
use super::truth_v2::{self, Body, Manner, Request};
use super::victim::{KEY, Report, Victim};

/// A process with a few elections, in a debug build.
const BASE_KIB: u64 = 32 << 10;
const MIB: u64 = 1 << 10;
/// As often as a link asks at the same time for its first read.
const READS: u64 = 4;
const LEAST: Duration = Duration::from_millis(300);
const MOST: Duration = Duration::from_millis(1800);
const ETCD: &str = "X-Etcd-Cluster-Id: 1\r\nX-Etcd-Index: 40\r\n";

fn suffered(what: &str, url: String) -> Report {
    let good = truth_v2::server(false, |_| Manner::default());
    let report = Victim::default().run_until_told(Api::V2, false, LEAST, MOST, &[url], &good.url());
    println!("{what}: {} KiB, {}", report.peak_kib, report.messages);
    assert!(!report.led, "{what}: {report:?}");
    report
}

/// Says this to each request, and then the rest again and again as long as anybody listens.
fn endless(head: String, rest: Vec<u8>) -> Server {
    Server::new(move |mut client| {
        let Some(_) = Request::read(&mut client) else { return };
        let _ = client.write_all(head.as_bytes());
        flood(&mut client, &rest);
    })
}

fn flood(client: &mut TcpStream, bytes: &[u8]) {
    if bytes.is_empty() {
        return wait_for_end(client);
    }
    let bytes = bytes.repeat(1 + (1 << 16) / bytes.len());
    while client.write_all(&bytes).is_ok() {}
}

#[test]
fn an_answer_of_api_v2_without_an_end_is_cut_off() {
    let ok = format!("HTTP/1.1 200 OK\r\n{ETCD}");
    let chunked = format!("{ok}Transfer-Encoding: chunked\r\n\r\n");
    // A header may have what hyper reads at once, about 400 KiB, and so may what stands between chunks.
    for (what, head, rest, mib) in [
        ("a body", format!("{ok}\r\n"), b" ".to_vec(), 2 * 16 * READS),
        ("chunks", chunked.clone(), b"1\r\n \r\n".to_vec(), 2 * 16 * READS),
        ("an error", format!("HTTP/1.1 500 No\r\n{ETCD}\r\n"), b" ".to_vec(), 2 * READS),
        ("a length", format!("{ok}Content-Length: 99999999999\r\n\r\n"), b"[".to_vec(), 2 * 16 * READS),
        ("headers", ok.clone(), b"X-Foo: bar\r\n".to_vec(), 4 * READS),
        ("one header", ok.clone() + "X-Foo: ", b"y".to_vec(), 4 * READS),
        ("a status line", "HTTP/1.1 200 ".into(), b"y".to_vec(), 4 * READS),
        ("an extension of a chunk", chunked.clone() + "5;", b"y".to_vec(), 4 * READS),
        ("trailers", chunked + "0\r\n", b"X-Foo: bar\r\n".to_vec(), 4 * READS),
        // Not without end: hyper reads on and on while they come, and nothing else of the engine gets its turn.
        ("interim answers", "HTTP/1.1 100 Continue\r\n\r\n".repeat(50_000), Vec::new(), 4 * READS),
    ] {
        let report = suffered(what, endless(head, rest).url());
        assert!(report.peak_kib < BASE_KIB + mib * MIB, "{what}: {report:?}");
    }
}

/// The shortest nodes that there can be, as many as fit, in a tree and side by side.
#[test]
fn a_list_of_api_v2_may_be_as_long_as_the_cap() {
    let node = r#"{"key":"","createdIndex":1,"modifiedIndex":1}"#;
    let list = |nodes: String| {
        format!(
            r#"{{"action":"","node":{{"key":"{KEY}","dir":true,"createdIndex":1,"modifiedIndex":1,"nodes":[{nodes}]}}}}"#
        )
    };
    let count = (16 << 20) / (node.len() + 1) - 8;
    let wide = list(vec![node; count].join(","));
    let deep = list(format!("{}{}", node.replace('}', r#","nodes":["#).repeat(100_000), "]}".repeat(100_000)));
    for (what, body) in [("wide", wide), ("deep", deep)] {
        let server = truth_v2::server(true, move |request| match request.method.as_str() {
            "GET" => Manner { body: Body::Instead(body.clone().into_bytes()), ..Manner::default() },
            _ => Manner::default(),
        });
        let report = suffered(what, server.url());
        assert!(report.peak_kib < BASE_KIB + READS * 6 * 16 * MIB, "{what}: {report:?}");
    }
}

/// Each event in its time would be told as one change; a watch holds none of them.
#[test]
fn events_of_api_v2_without_an_end_are_not_kept() {
    let next = std::sync::atomic::AtomicU64::new(41);
    let server = truth_v2::server(true, move |request| {
        if !request.is_watch() {
            return Manner::default();
        }
        let at = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let key = &request.path;
        let node =
            format!(r#"{{"key":"{key}","value":"{}","createdIndex":5,"modifiedIndex":{at}}}"#, "x".repeat(10_000));
        let event = format!(r#"{{"action":"set","node":{node}}}"#);
        Manner { body: Body::Instead(event.into_bytes()), ..Manner::default() }
    });
    let report = suffered("events", server.url());
    assert!(report.peak_kib < BASE_KIB, "{report:?}");
}

/// Redirects are followed once, and to configured endpoints only: this one leads to itself.
#[test]
fn redirects_without_an_end_are_not_followed() {
    let server = Server::new(|mut client| {
        while let Some(request) = Request::read(&mut client) {
            let answer = format!("HTTP/1.1 307 So\r\nLocation: /v2/keys{}\r\nContent-Length: 0\r\n\r\n", request.path);
            if client.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
        wait_for_end(&mut client);
    });
    let report = suffered("redirects", server.url());
    assert!(report.messages.contains("redirects to") && report.peak_kib < BASE_KIB, "{report:?}");
}
