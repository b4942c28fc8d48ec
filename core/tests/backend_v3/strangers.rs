//! Servers that are not etcd.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use etcd_leader::ErrorKind;
use etcd_leader::machine::{LinkId, Op};

use crate::bench::{Bench, PREFIX, SOON};

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

/// An HTTP/2 server that answers everything with this.
async fn h2_server(kind: &'static str, body: Vec<u8>, trailers: Trailers) -> String {
    answering(kind, trailers, move |_| body.clone()).await
}

type Trailers = &'static [(&'static str, &'static str)];

/// An HTTP/2 server that answers what is asked at a path.
async fn answering(kind: &'static str, trailers: Trailers, body: impl Fn(&str) -> Vec<u8> + Send + 'static) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.expect("a client");
        let mut connection = h2::server::handshake(client).await.expect("HTTP/2");
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let head = http::Response::builder().header("content-type", kind).body(()).expect("a head");
            let mut stream = respond.send_response(head, false).expect("sent");
            stream.send_data(body(request.uri().path()).into(), false).expect("sent");
            let trailers =
                trailers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value")));
            stream.send_trailers(trailers.collect()).expect("sent");
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
