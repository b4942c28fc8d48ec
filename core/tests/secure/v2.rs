//! The same in API v2: no tokens, but the same certificates, and users of its own.

use std::path::Path;
use std::process::Command;

use etcd_leader::backend::v2::role_recipe;
use etcd_leader::{Api, Config};

use super::candidate::{Candidate, PLANTED, config, with_user};
use super::guarded::password;
use super::house::{House, good, with_identity};
use super::pki::{Ca, For};
use super::support::{Cluster, etcdctl_binary};

fn in_v2(config: Config) -> Config {
    Config { api: Api::V2, ..config }
}

#[test]
fn an_election_of_v2_runs_over_tls_with_certificates_on_both_sides() {
    let house = House::new(good, true);
    let files = house.client("client");
    let one = Candidate::start(&in_v2(with_identity(house.config("one"), &files)));
    one.hears("elected");
    let two = Candidate::start(&in_v2(with_identity(house.config("two"), &files)));
    two.hears("leader one");
    one.stop();
    two.hears("elected");
    Candidate::start(&in_v2(house.config("none"))).retries(&["Untrusted", "wants a client certificate"]);
}

#[test]
fn a_wrong_ca_is_reported_and_healed_in_v2() {
    let mut house = House::new(good, false);
    Ca::new("the wrong CA").write(&house.ca_file);
    let one = Candidate::start(&in_v2(house.config("one")));
    one.retries(&["Untrusted", "not signed by a CA in ca_file"]);
    house.ca.write(&house.ca_file);
    one.hears("elected");
    house.ca.issue_between(&["127.0.0.1"], For::Server, (2020, 2021)).replace(&house.server);
    house.restart();
    one.retries(&["Untrusted", "expired on 2021-01-01"]);
    good(&house.ca).replace(&house.server);
    one.hears("elected");
}

#[test]
fn a_server_of_v2_under_another_name_is_trusted_by_that_name() {
    let house = House::new(|ca| ca.issue(&["etcd-1.example"], For::Server), false);
    let one = Candidate::start(&in_v2(house.config("one")));
    one.retries(&["Untrusted", "not for 127.0.0.1", "it holds etcd-1.example"]);
    let named = Config { tls_server_name: Some("etcd-1.example".into()), ..house.config("named") };
    Candidate::start(&in_v2(named)).hears("elected");
}

/// Runs a command as the manager of the cluster does.
fn run(cluster: &Cluster, command: &str) {
    let etcdctl = etcdctl_binary();
    let path = format!("{}:/usr/bin:/bin", etcdctl.parent().unwrap_or(Path::new("/")).display());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear().env("PATH", path);
    shell.env("ETCDCTL_API", "2").env("ETCDCTL_ENDPOINTS", &cluster.urls()[0]);
    shell.env("ETCDCTL_USERNAME", format!("root:{}", password()));
    let output = shell.output().expect("a shell");
    assert!(output.status.success(), "{command}: {output:?}");
}

/// Users are asked for, and `worker` may use this key.
fn guarded(key: &str) -> (Cluster, Config) {
    let cluster = Cluster::of(1, &["--enable-v2=true"]);
    let password = password();
    run(&cluster, &format!("etcdctl user add root:{password}"));
    run(&cluster, &format!("etcdctl user add worker:{password}"));
    run(&cluster, "etcdctl auth enable");
    run(&cluster, "etcdctl role revoke guest --readwrite --path '/*'");
    for command in role_recipe("worker", key) {
        run(&cluster, &command);
    }
    let config = in_v2(with_user(config(&cluster.urls(), key, "one"), "worker", &password));
    (cluster, config)
}

#[test]
fn a_wrong_password_ends_an_election_of_v2_that_never_joined() {
    let (_cluster, config) = guarded("/wrong");
    let wrong = with_user(config.clone(), "worker", &format!("{PLANTED}-wrong"));
    assert!(Candidate::start(&wrong).hears("failed Denied").contains("\"worker\""));
    Candidate::start(&config).hears("elected");
}

#[test]
fn a_role_of_v2_that_is_revoked_ends_leading_and_given_back_gives_it_again() {
    let (cluster, config) = guarded("/role");
    let one = Candidate::start(&config);
    one.hears("elected");
    run(&cluster, "etcdctl user revoke worker --roles worker-election");
    one.retries(&["Denied", "\"worker\"", "/role and /role/*"]);
    one.hears("unelected");
    run(&cluster, "etcdctl user grant worker --roles worker-election");
    one.hears("elected");
    assert!(!one.has_said("failed"));
}
