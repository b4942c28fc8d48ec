//! Links that cannot be made, break, are closed, or are sent elsewhere.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etcd_leader::ErrorKind;
use etcd_leader::config::{Login, Secret};
use etcd_leader::machine::{LinkId, Op};
use tokio::sync::mpsc::unbounded_channel;

use crate::bench::{Bench, PREFIX, SOON, Server, V2_ON, curled, etcd_answer, look, post, text, until_watchers};
use support::{Cluster, Port, Proxy, session};

fn etcd() -> Cluster {
    Cluster::of(1, V2_ON)
}

/// etcd's answer to a look at an election that nobody has joined.
fn nothing_there() -> String {
    etcd_answer("404 Not Found", r#"{"errorCode":100,"message":"Key not found","cause":"/jobs","index":40}"#)
}

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
    let early = bench.send(link, post("one", 60));
    bench.watch(link, b"/jobs/nightly/1", 2);
    let failure = bench.reply(opening).await.expect_err("refused");
    assert!(failure.detail.contains("localhost") && failure.detail.contains("Connection refused"), "{failure:?}");
    assert_eq!(bench.reply(early).await.expect_err("no link"), failure, "what was asked meanwhile fails too");
    assert_eq!(bench.rest(Duration::from_millis(50)).await, []);
}

#[tokio::test]
async fn an_address_that_swallows_everything_is_asked_again_after_a_while() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // SAFETY: the descriptor is open; all that changes is how many connections it lets wait.
    #[allow(unsafe_code)]
    let shortened = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(shortened, 0);
    let address = listener.local_addr().expect("its address");
    let _waiting = TcpStream::connect(address).expect("the one that may wait");
    let settings = session(&[format!("http://{address}")]);
    let mut bench = Bench::with(&settings);
    let failure = bench.open(0).await.expect_err("nobody accepts");
    let late = format!("http://{address}: no connection in time");
    assert_eq!(failure.kind, ErrorKind::Timeout);
    assert!(failure.detail.starts_with(&late), "{}", failure.detail);
}

/// As etcd drops it while raft has no leader: another read, later, is answered.
#[tokio::test]
async fn a_first_read_that_etcd_dropped_is_asked_for_again() {
    let first = Arc::new(AtomicBool::new(true));
    let mut server = Server::new(move |_, client| {
        if first.swap(false, Ordering::Relaxed) {
            let _ = client.read(&mut [0]);
        } else {
            let _ = client.write_all(nothing_there().as_bytes());
        }
    });
    let settings = session(&[server.url()]);
    let mut bench = Bench::with(&settings);
    let begun = Instant::now();
    bench.open(0).await.expect("the second read is answered");
    assert!(begun.elapsed() < settings.timings.attempt, "{:?}", begun.elapsed());
    assert_eq!(server.request().await, server.request().await);
}

/// The name with two addresses exists where the machine's own table of hosts cannot be seen. A network of its
/// own keeps other programs from the port, which must be free on both addresses.
#[tokio::test]
async fn the_addresses_of_a_host_are_tried_and_the_one_that_answers_is_kept() {
    let hosts = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(hosts.path(), "127.0.0.1 many\n127.0.0.2 many\n").expect("written");
    let script = r#"ip link set lo up && mount --bind "$1" /etc/hosts && exec "$2" --ignored --exact links::a_host_with_two_addresses"#;
    let mut child = Command::new("unshare");
    child.args(["--mount", "--net", "sh", "-c", script, "sh"]).arg(hosts.path());
    let output = child.arg(std::env::current_exe().expect("this program")).output().expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "needs root: {said}{output:?}");
}

#[tokio::test]
#[ignore = "run by the test above"]
async fn a_host_with_two_addresses() {
    for (first, second) in [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")] {
        let listener = TcpListener::bind((first, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let _server = Server::on(listener, |_, client| drop(client.write_all(nothing_there().as_bytes())));
        let mut bench = Bench::on(&[format!("http://many:{port}")]);
        let link = bench.open(0).await.expect("one of its addresses answers").0;
        let listener = TcpListener::bind((second, port)).expect("the same port");
        let mut other = Server::on(listener, |_, client| drop(client.write_all(b"HTTP/1.1 500 Other\r\n\r\n")));
        for _ in 0..3 {
            let asked = bench
                .ask(
                    link,
                    Op::Withdraw { key: b"/jobs/nightly/1".into(), name: b"one".into(), revision: 1, written: 1 },
                )
                .await;
            assert!(asked.is_ok(), "{asked:?}");
        }
        assert!(other.requests.try_recv().is_err(), "the link left its member");
    }
}

#[tokio::test]
async fn a_link_breaks_once_when_its_member_dies_and_is_not_mended() {
    let mut cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    bench.watching(link, &ours.key, ours.revision + 1).await;
    cluster.member(0).kill();
    let failure = bench.broken(link).await;
    assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    assert!(failure.detail.starts_with(&cluster.urls()[0]), "{failure:?}");
    cluster.start();
    for op in [post("two", 60), look(&ours)] {
        assert_eq!(bench.ask(link, op).await.expect_err("a link is never mended"), failure);
    }
    assert_eq!(bench.rest(Duration::from_millis(100)).await, [], "broken is told once");
    assert!(bench.open(0).await.is_ok(), "another link serves");
}

#[tokio::test]
async fn a_call_that_breaks_takes_the_link_with_it() {
    let mut cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    cluster.member(0).kill();
    let failure = bench.ask(link, post("one", 60)).await.expect_err("dead");
    assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    assert_eq!(bench.broken(link).await, failure);
    cluster.start();
    assert_eq!(bench.ask(link, post("one", 60)).await.expect_err("never mended"), failure);
}

#[tokio::test]
async fn a_reset_fails_what_is_under_way() {
    let cluster = etcd();
    let proxy = Proxy::before(cluster.client_address(0));
    let mut bench = Bench::on(&[proxy.url()]);
    let link = bench.open(0).await.expect("a link").0;
    let ours = bench.member(link, "one").await;
    proxy.hold_all();
    let before = proxy.connections();
    let asked = [bench.send(link, post("two", 60)), bench.send(link, look(&ours))];
    // Each has a connection of its own.
    while proxy.connections() == before {
        assert_eq!(bench.rest(Duration::from_millis(10)).await, []);
    }
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
async fn a_closed_link_is_silent_and_leaves_no_connection() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    bench.watching(link, &ours.key, ours.revision + 1).await;
    let path = format!("PUT /v2/keys{}", text(&ours.key));
    bench.send(link, post("two", 60));
    bench.send(link, look(&ours));
    bench.send(link, Op::Close);
    bench.send(link, look(&ours));
    curled(&cluster, &path, "value=x");
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
    until_watchers(&cluster, 0).await;
}

#[tokio::test]
async fn closing_ends_every_connection_at_once() {
    let (ended, mut ends) = unbounded_channel();
    let server = Server::new(move |_, client| {
        let answer = nothing_there().replace("Connection: close", "Connection: keep-alive");
        // The opening is answered; what comes on that connection next, and on others, is not.
        let _ = client.write_all(answer.as_bytes());
        let mut rest = Vec::new();
        let _ = client.read_to_end(&mut rest);
        let _ = ended.send(());
    });
    let mut bench = Bench::on(&[server.url()]);
    let link = bench.open(0).await.expect("a link").0;
    bench.send(
        link,
        look(&etcd_leader::member::Member { key: b"/jobs/nightly/1".into(), name: vec![], revision: 1, lease: 0 }),
    );
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
    bench.send(link, Op::Close);
    tokio::time::timeout(SOON, ends.recv()).await.expect("ended soon").expect("the server");
    drop(bench);
}

#[tokio::test]
async fn dropping_the_backend_ends_its_links() {
    let cluster = etcd();
    let (mut bench, link) = Bench::linked(&cluster).await;
    let ours = bench.member(link, "one").await;
    bench.watching(link, &ours.key, ours.revision + 1).await;
    drop(bench);
    until_watchers(&cluster, 0).await;
}

fn bench_with_password(urls: &[String]) -> Bench {
    let mut settings = session(urls);
    settings.access.login = Some(Login { username: "u".into(), password: Secret::new("planted".to_string()) });
    Bench::with(&settings)
}

#[tokio::test]
async fn a_page_that_repeats_what_we_sent_is_not_shown() {
    let server = Server::new(|head, client| {
        let length = head.len();
        let page = format!("HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{head}");
        let _ = client.write_all(page.as_bytes());
    });
    let failure = bench_with_password(&[server.url()]).open(0).await.expect_err("no etcd");
    assert!(failure.detail.contains("HTTP 500") && !failure.detail.contains("Basic"), "{failure:?}");
    let failure = Bench::on(&[server.url()]).open(0).await.expect_err("no etcd");
    assert!(failure.detail.contains("/v2/keys/"), "without a password the text helps: {failure:?}");
}

/// Serves looks, and redirects posts to there.
fn redirecting(status: &'static str, location: String) -> Server {
    Server::new(move |head, client| {
        let answer = match head.starts_with("POST") {
            true => {
                format!("HTTP/1.1 {status}\r\nLocation: {location}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
            }
            false => nothing_there(),
        };
        let _ = client.write_all(answer.as_bytes());
    })
}

#[tokio::test]
async fn etcds_own_redirect_to_a_configured_endpoint_is_followed() {
    let cluster = etcd();
    let there = cluster.urls()[0].clone();
    let server = redirecting("307 Temporary Redirect", format!("{there}/v2/keys/jobs/nightly"));
    let mut bench = bench_with_password(&[server.url(), there]);
    let link = bench.open(0).await.expect("a link").0;
    let reply = bench.ask(link, post("one + two", 60)).await.expect("posted there");
    assert_eq!(reply.stamp.clock_s, None, "it is not the clock of the link's own member");
    assert!(curled(&cluster, "GET /v2/keys/jobs/nightly", "").contains("one + two"));
}

#[tokio::test]
async fn other_redirects_are_refused_and_nobody_else_sees_the_password() {
    let mut other = Server::new(|_, client| drop(client.write_all(nothing_there().as_bytes())));
    let there = other.url();
    let path = "/v2/keys/jobs/nightly";
    for (status, location, is_configured) in [
        ("307 Temporary Redirect", format!("{there}{path}"), false),
        ("302 Found", format!("{there}{path}"), true),
        ("301 Moved Permanently", format!("{there}{path}"), true),
        ("308 Permanent Redirect", format!("{there}{path}"), true),
        ("307 Temporary Redirect", format!("{there}/v2/keys/jobs"), true),
        ("307 Temporary Redirect", format!("https{}{path}", &there[4..]), true),
        ("307 Temporary Redirect", "nowhere at all".into(), true),
        ("307 Temporary Redirect", "http://[".into(), true),
    ] {
        let server = redirecting(status, location.clone());
        let endpoints = if is_configured { vec![server.url(), there.clone()] } else { vec![server.url()] };
        let mut bench = bench_with_password(&endpoints);
        let link = bench.open(0).await.expect("a link").0;
        let failure = bench.ask(link, post("one", 60)).await.expect_err(&location);
        assert_eq!(failure.kind, ErrorKind::Protocol, "{status} {location}: {failure:?}");
        assert!(failure.detail.contains(&format!("redirects to {location}")), "{failure:?}");
    }
    assert!(other.requests.try_recv().is_err(), "somebody else was asked");
}

#[tokio::test]
async fn a_circle_of_redirects_is_left() {
    let path = "/v2/keys/jobs/nightly";
    let listeners = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let addresses = listeners.each_ref().map(|listener| listener.local_addr().expect("its address"));
    let urls = addresses.map(|address| format!("http://{address}"));
    for (listener, other) in listeners.into_iter().zip(urls.iter().rev().cloned()) {
        let answer =
            format!("HTTP/1.1 307 Back\r\nLocation: {other}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        Server::on(listener, move |head, client| {
            let answer = if head.starts_with("POST") { answer.clone() } else { nothing_there() };
            let _ = client.write_all(answer.as_bytes());
        });
    }
    let mut bench = Bench::on(&urls);
    let link = bench.open(0).await.expect("a link").0;
    let failure = bench.ask(link, post("one", 60)).await.expect_err("a circle");
    assert_eq!(failure.kind, ErrorKind::Protocol, "{failure:?}");
    assert!(failure.detail.starts_with(&urls[1]), "{failure:?}");
}

#[tokio::test]
async fn requests_say_who_asks_and_carry_nothing_else() {
    let mut server = Server::new(|_, client| drop(client.write_all(nothing_there().as_bytes())));
    let mut bench = bench_with_password(&[server.url()]);
    bench.open(0).await.expect("a link");
    let head = server.request().await;
    let mut lines: Vec<_> = head.trim_end().lines().map(str::to_ascii_lowercase).collect();
    assert_eq!(lines.remove(0), "get /v2/keys/jobs/nightly?quorum=true http/1.1");
    lines.sort();
    let agent = format!("user-agent: etcd-leader/{}", env!("CARGO_PKG_VERSION"));
    let host = format!("host: {}", server.address);
    // u:planted
    assert_eq!(lines, ["accept: */*", "authorization: basic dtpwbgfudgvk", &host, &agent]);
}

/// The environment is read by the process: another one is started, which runs the one test that is named.
#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used() {
    let mut proxy = Server::new(|_, client| drop(client.write_all(b"HTTP/1.1 502 Proxy\r\n\r\n")));
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--exact", "verbs::a_post_makes_an_entry_and_says_where_it_is"]);
    for name in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        child.env(name, proxy.url());
    }
    child.env_remove("NO_PROXY").env_remove("no_proxy");
    let output = child.output().expect("a child");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(proxy.requests.try_recv().is_err(), "the proxy was asked");
}
