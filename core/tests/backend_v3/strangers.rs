//! Servers that are not etcd.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use etcd_leader::ErrorKind;
use etcd_leader::machine::{Failure, LinkId, Op, WatchId, WatchNews};

use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::bench::{Bench, PREFIX, SOON};
use support::Cluster;

#[tokio::test]
async fn servers_that_are_not_etcd_are_said_to_be_none() {
    let html = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<html>no</html>".to_vec();
    let noise: Vec<u8> = (0..4096u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let settings = b"\0\0\0\x04\0\0\0\0\0".to_vec();
    // A connection that ends with bytes unread is reset, and the reset may overtake what was sent.
    let either = &[ErrorKind::Protocol, ErrorKind::Unreachable][..];
    for (what, sent, kinds) in [
        ("a web server", html, either),
        ("noise", noise, either),
        ("a server that closes at once", Vec::new(), &[ErrorKind::Unreachable]),
        ("an HTTP/2 server that closes at once", settings, &[ErrorKind::Unreachable]),
    ] {
        let url = server(move |mut client| {
            let _ = client.read(&mut [0; 1024]);
            let _ = client.write_all(&sent);
        });
        let mut bench = Bench::on(std::slice::from_ref(&url));
        let failure = bench.open(0).await.expect_err(what);
        assert!(kinds.contains(&failure.kind), "{what}: {failure:?}");
        assert!(failure.detail.starts_with(&url), "{what}: {failure:?}");
        assert_eq!(bench.rest(Duration::from_millis(50)).await, [], "{what}: one answer");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_can_be_left() {
    let url = server(|client| {
        thread::sleep(SOON);
        drop(client);
    });
    let mut bench = Bench::on(&[url]);
    let link = LinkId(bench.fresh());
    bench.send(link, Op::Open { endpoint: 0, key: PREFIX.into(), patience: Duration::ZERO, is_proof: true });
    assert_eq!(bench.rest(Duration::from_millis(300)).await, []);
    bench.send(link, Op::Close);
    assert_eq!(bench.rest(Duration::from_millis(100)).await, []);
}

#[tokio::test]
async fn grpc_answers_that_etcd_does_not_give_are_refused() {
    let empty = vec![0, 0, 0, 0, 0];
    let truncated = vec![0, 0, 0, 0, 2, 10, 50];
    let negative = vec![0, 0, 0, 0, 13, 10, 11, 24, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1];
    let (grpc, html) = ("application/grpc", "text/html");
    for (what, kind, body, trailers, expected) in [
        ("no header", grpc, empty.clone(), &[("grpc-status", "0")][..], ErrorKind::Protocol),
        ("a truncated message", grpc, truncated, &[("grpc-status", "0")], ErrorKind::Protocol),
        ("a negative revision", grpc, negative, &[("grpc-status", "0")], ErrorKind::Protocol),
        ("a page", html, b"<html>".to_vec(), &[], ErrorKind::Protocol),
        (
            "details that are not base64",
            grpc,
            vec![],
            &[("grpc-status", "13"), ("grpc-status-details-bin", "!")],
            ErrorKind::Server,
        ),
        (
            "another API",
            grpc,
            vec![],
            &[("grpc-status", "12"), ("grpc-message", "unknown service")],
            ErrorKind::Unsupported,
        ),
        ("no status", grpc, vec![], &[], ErrorKind::Unreachable),
    ] {
        let url = h2_server(kind, body, trailers).await;
        let mut bench = Bench::on(std::slice::from_ref(&url));
        let failure = bench.open(0).await.expect_err(what);
        assert_eq!(failure.kind, expected, "{what}: {failure:?}");
        assert!(failure.detail.starts_with(&url), "{what}: {failure:?}");
    }
}

/// kine gives a lease the number of its seconds as its id.
#[tokio::test]
async fn a_server_that_gives_leases_ids_of_its_own_is_named() {
    // A header with three numbers; then an id and a ttl of 60.
    let header = [10, 6, 8, 1, 16, 2, 24, 3];
    let message = |fields: &[u8]| {
        let length = u8::try_from(header.len() + fields.len()).expect("a short message");
        [&[0, 0, 0, 0, length][..], &header, fields].concat()
    };
    let (other, grant) = (message(&[]), message(&[16, 60, 24, 60]));
    let url = answering("application/grpc", &[("grpc-status", "0")], move |path| {
        if path.ends_with("/LeaseGrant") { grant.clone() } else { other.clone() }
    });
    let url = url.await;
    let mut bench = Bench::on(std::slice::from_ref(&url));
    let (link, _) = bench.open(0).await.expect("a link");
    let failure = bench.ask(link, Op::Grant { lease: 42, ttl_s: 60 }).await.expect_err("not our id");
    assert_eq!(failure.kind, ErrorKind::Unsupported);
    assert!(failure.detail.starts_with(&url) && failure.detail.contains("ids of its own"), "{failure:?}");
}

/// One that takes requests and answers none: as a member without a majority does with logins, or a proxy before a dead server.
#[tokio::test]
async fn a_server_that_answers_no_login_keeps_no_other_waiting() {
    let cluster = Cluster::of(1, &["--bcrypt-cost=4"]);
    for words in ["user add root:of-root", "user grant-role root root", "auth enable"] {
        cluster.etcdctl(&words.split(' ').collect::<Vec<_>>());
    }
    let (asked, mut logins) = unbounded_channel();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let mut connection = h2::server::handshake(client).await.expect("HTTP/2");
        let mut unanswered = Vec::new();
        while let Some(Ok(request)) = connection.accept().await {
            let _ = asked.send(request.0.uri().path().to_string());
            unanswered.push(request);
        }
    });
    let mut bench = Bench::as_user(&[silent, cluster.urls()[0].clone()], "root", "of-root");
    let first = LinkId(bench.fresh());
    bench.send(first, Op::Open { endpoint: 0, key: PREFIX.into(), patience: Duration::ZERO, is_proof: true });
    let path = timeout(SOON, logins.recv()).await.expect("soon").expect("a request");
    assert!(path.ends_with("/Authenticate"), "{path}");
    bench.open(1).await.expect("a link to the server that answers");
}

/// A header with three numbers, and a token.
const TOKEN: [u8; 25] =
    [0, 0, 0, 0, 20, 10, 6, 8, 1, 16, 2, 24, 3, 18, 10, b'p', b'l', b'a', b'n', b't', b'e', b'd', b'.', b'7', b'7'];

/// Its list of members, which has no header, is all that tells it from etcd.
#[tokio::test]
async fn a_grpc_proxy_is_known_however_long_a_login_takes() {
    let header = vec![0, 0, 0, 0, 8, 10, 6, 8, 1, 16, 2, 24, 3];
    let url = serving(move |path| match path {
        path if path.ends_with("/Authenticate") => Said::ok(&TOKEN).after(Duration::from_millis(2500)),
        path if path.ends_with("/MemberList") => Said::ok(&[0, 0, 0, 0, 0]),
        _ => Said::ok(&header),
    });
    let mut bench = Bench::as_user(&[url.await], "one", "of-one");
    let failure = bench.open(0).await.expect_err("a proxy");
    assert_eq!(failure.kind, ErrorKind::Unsupported, "{failure:?}");
}

#[tokio::test]
async fn a_token_that_a_server_repeats_is_not_told() {
    let url = serving(move |path| match path {
        path if path.ends_with("/Authenticate") => Said::ok(&TOKEN),
        _ => Said { trailers: &[("grpc-status", "7"), ("grpc-message", "no: planted.77")], ..Said::ok(&[]) },
    });
    let mut bench = Bench::as_user(&[url.await], "one", "of-one");
    let failure = bench.open(0).await.expect_err("refused");
    assert!(failure.detail.contains("its words repeat our auth token"), "{failure:?}");
    assert!(!failure.detail.contains("planted"), "{failure:?}");
}

/// A grant has a field for words.
#[tokio::test]
async fn a_token_that_a_grant_repeats_is_not_told() {
    let header = [10, 6, 8, 1, 16, 2, 24, 3];
    let words = b"no: planted.77";
    let fields = [&header[..], &[34, 14], words].concat();
    let opened = [&[0, 0, 0, 0, 8][..], &header].concat();
    let refused = [&[0, 0, 0, 0, 24][..], &fields].concat();
    let url = serving(move |path| match path {
        path if path.ends_with("/Authenticate") => Said::ok(&TOKEN),
        path if path.ends_with("/LeaseGrant") => Said::ok(&refused),
        _ => Said::ok(&opened),
    });
    let mut bench = Bench::as_user(&[url.await], "one", "of-one");
    let link = bench.open(0).await.expect("a link").0;
    let failure = bench.ask(link, Op::Grant { lease: 77, ttl_s: 60 }).await.expect_err("refused");
    assert!(failure.detail.contains("its words repeat our auth token"), "{failure:?}");
    assert!(!failure.detail.contains("planted"), "{failure:?}");
}

/// The number of the first watch of a bench, after its link and the request that opens it.
const NUMBER: u8 = 3;

/// etcd takes a user's tokens away whenever its password is set: so does this server for all that is asked at one path, as often
/// as it is told. It counts the logins.
async fn taking_away(refused: &'static str, tokens: u8) -> (String, Arc<AtomicU8>) {
    let logins = Arc::new(AtomicU8::new(0));
    let counted = logins.clone();
    let header = [10, 6, 8, 1, 16, 2, 24, 3];
    let message = |fields: &[u8]| {
        let length = u8::try_from(header.len() + fields.len()).expect("a short message");
        [&[0, 0, 0, 0, length][..], &header, fields].concat()
    };
    let (other, renewed, watched) = (message(&[]), message(&[16, 77, 24, 60]), message(&[16, NUMBER, 24, 1]));
    let url = serving(move |path| match path {
        path if path.ends_with("/Authenticate") => {
            logins.fetch_add(1, Ordering::Relaxed);
            Said::ok(&TOKEN)
        }
        path if path.ends_with(refused) && logins.load(Ordering::Relaxed) <= tokens => Said {
            trailers: &[("grpc-status", "16"), ("grpc-message", "etcdserver: invalid auth token")],
            ..Said::ok(&[])
        },
        path if path.ends_with("/LeaseKeepAlive") => Said::ok(&renewed),
        path if path.ends_with("/Watch") => Said::ok(&watched),
        _ => Said::ok(&other),
    });
    (url.await, counted)
}

#[tokio::test]
async fn tokens_that_are_taken_away_one_after_the_other_deny_nobody() {
    for refused in ["/Range", "/LeaseKeepAlive", "/Watch"] {
        let (url, logins) = taking_away(refused, 3).await;
        let mut bench = Bench::as_user(&[url], "one", "of-one");
        let (link, _) = bench.open(0).await.unwrap_or_else(|failure| panic!("{refused}: {failure:?}"));
        if refused == "/LeaseKeepAlive" {
            bench.answer(link, Op::Renew { lease: 77 }).await;
        }
        if refused == "/Watch" {
            let watch = bench.watch(link, b"/jobs/nightly/", b"/jobs/nightly0", 4);
            assert_eq!(watch, WatchId(NUMBER.into()));
            let news = bench.news(watch).await;
            assert!(matches!(news, WatchNews::Created { .. }), "{news:?}");
        }
        assert_eq!(logins.load(Ordering::Relaxed), 4, "{refused}");
    }
}

/// Checking a password costs a server much.
#[tokio::test]
async fn one_who_is_refused_whatever_the_token_does_not_log_in_for_ever() {
    for refused in ["/Range", "/LeaseKeepAlive", "/Watch"] {
        let (url, logins) = taking_away(refused, u8::MAX).await;
        let mut bench = Bench::as_user(&[url], "one", "of-one");
        let failure = match bench.open(0).await {
            Err(failure) => failure,
            Ok((link, _)) if refused == "/LeaseKeepAlive" => {
                bench.send(link, Op::Renew { lease: 77 });
                bench.broken(link).await
            }
            Ok((link, _)) => {
                let watch = bench.watch(link, b"/jobs/nightly/", b"/jobs/nightly0", 4);
                match bench.news(watch).await {
                    WatchNews::Canceled { reason } => Failure::new(ErrorKind::Denied, reason),
                    news => panic!("{news:?}"),
                }
            }
        };
        let said = "etcd does not let the user \"one\" in: etcdserver: invalid auth token";
        assert!(failure.kind == ErrorKind::Denied && failure.detail.contains(said), "{refused}: {failure:?}");
        assert_eq!(logins.load(Ordering::Relaxed), 4, "{refused}");
    }
}

/// An HTTP/2 server that answers everything with this.
async fn h2_server(kind: &'static str, body: Vec<u8>, trailers: Trailers) -> String {
    answering(kind, trailers, move |_| body.clone()).await
}

type Trailers = &'static [(&'static str, &'static str)];

/// The answer of a server to a request.
struct Said {
    kind: &'static str,
    after: Duration,
    body: Vec<u8>,
    trailers: Trailers,
}

impl Said {
    /// gRPC's answer with this message.
    fn ok(body: &[u8]) -> Said {
        let (kind, trailers) = ("application/grpc", &[("grpc-status", "0")]);
        Said { kind, after: Duration::ZERO, body: body.to_vec(), trailers }
    }

    fn after(self, after: Duration) -> Said {
        Said { after, ..self }
    }
}

/// An HTTP/2 server that answers what is asked at a path.
async fn answering(kind: &'static str, trailers: Trailers, body: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    serving(move |path| Said { kind, after: Duration::ZERO, body: body(path), trailers }).await
}

/// The same, in its own time.
async fn serving(say: impl Fn(&str) -> Said + Send + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let mut connection = h2::server::handshake(client).await.expect("HTTP/2");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let Said { kind, after, body, trailers } = say(request.uri().path());
            tokio::time::sleep(after).await;
            let head = http::Response::builder().header("content-type", kind).body(()).expect("a head");
            let trailers =
                trailers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
            // A request that nobody waits for any more may be reset at any moment.
            let _ = respond.send_response(head, false).and_then(|mut stream| {
                stream.send_data(body.into(), false)?;
                stream.send_trailers(trailers.collect())
            });
        }
    });
    format!("http://{address}")
}

/// A server that does this with each client.
fn server(serve: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            serve(client);
        }
    });
    format!("http://{address}")
}
