//! The forms of an endpoint beside host and port: unix sockets, zones, lists as etcdctl takes them.

use std::net::Ipv6Addr;
use std::path::Path;

use etcd_leader::{Api, Config};

use super::candidate::{Candidate, config};
use super::pki::{Ca, For};
use support::etcd::Host;
use support::port::Port;
use support::{Cluster, has_v2};

fn apis() -> &'static [(Api, &'static str)] {
    if has_v2() { &[(Api::V3, "/v3"), (Api::V2, "/v2")] } else { &[(Api::V3, "/v3")] }
}

/// Hands the lead over from one to another, on each API.
fn hands_over(config: &Config) {
    for (api, key) in apis() {
        let with = |name: &str| Config { api: *api, key: key.to_string(), name: name.into(), ..config.clone() };
        let one = Candidate::start(&with("one"));
        one.hears("elected");
        let two = Candidate::start(&with("two"));
        two.hears("leader one");
        one.stop();
        two.hears("elected");
    }
}

/// The name of etcd's socket: it must look like host and port, and it lies where etcd runs.
const SOCKET: &str = "localhost:2379";

/// An etcd that runs in this folder and listens at a socket there; and where that is.
fn etcd_in(folder: &Path, scheme: &str, flags: &[&str]) -> (Cluster, String) {
    let enter = ["env", "-C", &folder.display().to_string()].map(str::to_string).to_vec();
    let host = Host { enter, ..Host::local() };
    let url = format!("{scheme}://{}", folder.join(SOCKET).display());
    (Cluster::also_at(&host, &format!("{scheme}://{SOCKET}"), flags), url)
}

#[test]
fn a_unix_socket_is_spoken_to() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut cluster, url) = etcd_in(folder.path(), "unix", &["--enable-v2=true"]);
    hands_over(&config(std::slice::from_ref(&url), "/unix", "one"));
    // A server that is away is told as on any other endpoint, and healed.
    let one = Candidate::start(&config(std::slice::from_ref(&url), "/away", "one"));
    one.hears("elected");
    cluster.member(0).kill();
    let said = one.hears("retrying Unreachable");
    assert!(said.contains(&url), "{said}");
    // etcd does not take the place of a socket that it has left.
    std::fs::remove_file(folder.path().join(SOCKET)).expect("what etcd has left");
    cluster.start();
    one.recovers();
}

#[test]
fn a_unix_socket_is_spoken_to_over_tls() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ca, ca_file) = (Ca::new("the CA of a socket"), folder.path().join("ca.crt"));
    ca.write(&ca_file);
    let server = ca.issue(&["localhost"], For::Server).write(folder.path(), "server");
    let flags = [
        "--enable-v2=true".to_string(),
        format!("--cert-file={}", server.cert.display()),
        format!("--key-file={}", server.key.display()),
    ];
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (_cluster, url) = etcd_in(folder.path(), "unixs", &flags);
    hands_over(&Config { ca_file: Some(ca_file.clone()), ..config(std::slice::from_ref(&url), "/unixs", "one") });
    let named =
        Config { tls_server_name: Some("etcd".into()), ca_file: Some(ca_file), ..config(&[url], "/name", "one") };
    Candidate::start(&named).retries(&["Untrusted", "not for etcd", "localhost"]);
}

/// An address of loopback's with the number of its interface: the form is that of a link-local address.
#[test]
fn an_address_with_a_zone_is_spoken_to() {
    let held = Port::at(Ipv6Addr::LOCALHOST.into());
    let port = held.address().port();
    let _cluster = Cluster::also_at(&Host::local(), &format!("http://[::1]:{port}"), &["--enable-v2=true"]);
    hands_over(&config(&[format!("http://[::1%251]:{port}")], "/zone", "one"));
}

#[test]
fn a_list_is_taken_as_etcdctl_takes_it() {
    let cluster = Cluster::of(3, &["--enable-v2=true"]);
    let urls = cluster.urls();
    let list = format!("{}, {},{},", urls[0], urls[1], urls[2].trim_start_matches("http://"));
    hands_over(&config(&[list], "/list", "one"));
}
