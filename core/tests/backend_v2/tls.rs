//! The same over TLS: a real etcd behind something that ends TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use etcd_leader::config::{Secret, SessionSettings};
use etcd_leader::{Config, ErrorKind};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::bench::{Bench, V2_ON};
use support::Cluster;

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new(vec![]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// A certificate for this name, and its key.
fn certificate(ca: &Ca, name: &str) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    (CertificateParams::new(vec![name.to_string()]).expect("a name").signed_by(&key, ca).expect("signed"), key)
}

/// A port that speaks TLS, with a certificate for `name`, before this server; it asks for certificates of `clients`.
async fn tls_before(server: SocketAddr, ca: &Ca, name: &str, clients: Option<&Ca>) -> String {
    busy_tls_before(server, ca, name, clients, Duration::ZERO).await
}

/// The same, but it comes to each handshake after this time only.
async fn busy_tls_before(server: SocketAddr, ca: &Ca, name: &str, clients: Option<&Ca>, after: Duration) -> String {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let builder = match clients {
        None => builder.expect("versions").with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build();
            builder.expect("versions").with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let (cert, key) = certificate(ca, name);
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = builder.with_single_cert(vec![cert.der().clone()], key).expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(server).await.expect("etcd");
                let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    format!("https://{address}")
}

fn secret(text: String) -> Option<Secret> {
    Some(Secret::new(text))
}

fn settings(url: &str, config: Config) -> SessionSettings {
    // Reading the system's certificates takes long where nothing is optimised: a long ttl leaves the time.
    let config = Config { endpoints: vec![url.into()], key: "k".into(), name: "n".into(), ttl_s: 60, ..config };
    config.validate().expect("a good config").session
}

async fn check_untrusted(settings: &SessionSettings, part: &str) {
    let failure = Bench::with(settings).open(0).await.expect_err(part);
    assert_eq!(failure.kind, ErrorKind::Untrusted, "{failure:?}");
    assert!(failure.detail.contains(part), "{failure:?} should say {part}");
    assert!(failure.detail.starts_with(&settings.endpoints[0].to_string()), "{failure:?}");
}

#[tokio::test]
async fn every_connection_of_a_link_is_encrypted() {
    let cluster = Cluster::of(1, V2_ON);
    let (servers, clients) = (ca(), ca());
    let url = tls_before(cluster.client_address(0), &servers, "127.0.0.1", Some(&clients)).await;
    let (cert, key) = certificate(&clients, "us");
    let identity = Config {
        ca_pem: secret(servers.pem()),
        cert_pem: secret(cert.pem()),
        key_pem: secret(key.serialize_pem()),
        ..Config::default()
    };
    let mut bench = Bench::with(&settings(&url, identity));
    let link = bench.open(0).await.expect("a link").0;
    let ours = bench.member(link, "one").await;
    let watch = bench.watching(link, &ours.key, ours.revision + 1).await;
    let (_, written) = bench.refresh(link, &ours, ours.revision, true).await;
    assert_eq!(bench.change(watch).await.at, written.expect("written").at);
    assert!(rustls::crypto::CryptoProvider::get_default().is_none(), "nothing is set for the whole process");

    let nobody = Config { ca_pem: secret(servers.pem()), ..Config::default() };
    check_untrusted(&settings(&url, nobody), "certificate").await;
}

/// Longer than a connection that nobody takes is waited for: slow is not dead.
#[tokio::test]
async fn a_slow_handshake_is_waited_for() {
    let cluster = Cluster::of(1, V2_ON);
    let ca = ca();
    let url = busy_tls_before(cluster.client_address(0), &ca, "127.0.0.1", None, Duration::from_secs(6)).await;
    let trusting = Config { ca_pem: secret(ca.pem()), ..Config::default() };
    Bench::with(&settings(&url, trusting)).open(0).await.expect("a link");
}

#[tokio::test]
async fn certificates_are_checked_and_the_cause_is_told() {
    let cluster = Cluster::of(1, V2_ON);
    let (right, wrong) = (ca(), ca());
    let trusting = |ca: &Ca| Config { ca_pem: secret(ca.pem()), ..Config::default() };
    let url = tls_before(cluster.client_address(0), &right, "etcd.example", None).await;
    check_untrusted(&settings(&url, trusting(&wrong)), "CA").await;
    check_untrusted(&settings(&url, Config::default()), "CA").await;
    check_untrusted(&settings(&url, trusting(&right)), "is not for 127.0.0.1").await;
    let named = Config { tls_server_name: Some("etcd.example".into()), ..trusting(&right) };
    assert!(Bench::with(&settings(&url, named)).open(0).await.is_ok());

    let plain = cluster.urls()[0].replace("http:", "https:");
    let failure = Bench::with(&settings(&plain, trusting(&right))).open(0).await.expect_err("no TLS");
    assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    assert!(failure.detail.ends_with("if this port does not speak TLS, write http://"), "{failure:?}");
    let encrypted = url.replace("https:", "http:");
    let failure = Bench::with(&settings(&encrypted, Config::default())).open(0).await.expect_err("TLS");
    assert!(matches!(failure.kind, ErrorKind::Unreachable | ErrorKind::Protocol), "{failure:?}");
    assert!(failure.detail.ends_with("if this port speaks TLS, write https://"), "{failure:?}");
}

/// A server that closes a connection on which something is still unread resets it: whether it is seen as that or as the
/// end is a matter of luck.
#[tokio::test]
async fn a_server_without_tls_that_resets_the_connection_is_told_as_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("https://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.readable().await.expect("a handshake that begins");
            stream.set_zero_linger().expect("what is unread is not waited for");
            drop(stream);
        }
    });
    let settings = settings(&url, Config { ca_pem: secret(ca().pem()), ..Config::default() });
    let failure = Bench::with(&settings).open(0).await.expect_err("no TLS");
    assert_eq!(failure.kind, ErrorKind::Unreachable, "{failure:?}");
    assert!(failure.detail.ends_with("if this port does not speak TLS, write http://"), "{failure:?}");
}
