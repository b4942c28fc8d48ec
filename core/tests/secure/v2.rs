//! The same in API v2: no tokens, but the same certificates, and users of its own.

use std::fs;

use etcd_leader::backend::v2::role_recipe;
use etcd_leader::{Api, Config};

use super::candidate::{Candidate, PLANTED, config, with_user};
use super::guarded::password;
use super::house::{House, good, with_identity};
use super::pki::{Ca, For, replace};
use support::{Cluster, v2};

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
    one.recovers();
}

#[test]
fn a_server_of_v2_under_another_name_is_trusted_by_that_name() {
    let mut house = House::new(|ca| ca.issue(&["etcd-1.example"], For::Server), false);
    let one = Candidate::start(&in_v2(house.config("one")));
    one.retries(&["Untrusted", "not for 127.0.0.1", "it holds etcd-1.example"]);
    let named = Config { tls_server_name: Some("etcd-1.example".into()), ..house.config("named") };
    let named = Candidate::start(&in_v2(named));
    named.hears("elected");
    named.stop();
    good(&house.ca).replace(&house.server);
    house.restart();
    one.hears("elected");
}

#[test]
fn a_client_certificate_of_v2_is_rotated_on_disk_while_its_user_leads() {
    let mut house = House::new(good, true);
    let files = Ca::new("a stranger").issue(&[], For::Client).write(house.directory.path(), "client");
    let one = Candidate::start(&in_v2(with_identity(house.config("one"), &files)));
    one.retries(&["Untrusted", "client certificate"]);
    house.ca.issue(&[], For::Client).replace(&files);
    one.hears("elected");

    let next = house.ca.issue(&[], For::Client);
    fs::write(&files.cert, &next.cert[..next.cert.len() / 2]).expect("half of it");
    house.restart();
    one.retries(&["Untrusted", "cert_file", "damaged"]);
    replace(&files.cert, &next.cert);
    one.retries(&["Untrusted", "do not belong together"]);
    next.replace(&files);
    one.hears("fine");
    assert!(!one.has_said("failed"), "{:?}", one.log());
}

/// Runs a command as the manager of the cluster does.
fn run(cluster: &Cluster, command: &str) {
    v2::manage(cluster.client_address(0), &password(), command);
}

/// A cluster with the users `root` and `worker`, which may do nothing; and an election of `worker`'s. Nobody is asked for a
/// user yet.
fn open(key: &str) -> (Cluster, Config) {
    let cluster = Cluster::of(1, &["--enable-v2=true"]);
    let password = password();
    run(&cluster, &format!("etcdctl user add root:{password}"));
    run(&cluster, &format!("etcdctl user add worker:{password}"));
    let config = in_v2(with_user(config(&cluster.urls(), key, "one"), "worker", &password));
    // Each request checks the password, at a cost that no flag lowers in v2: five seconds for one, and still a loss is
    // told after twelve.
    (cluster, Config { ttl_s: 20, renew_ms: 2_000, step_down_ms: 8_000, ..config })
}

/// From now on users are asked for, and who gives none may do nothing.
fn switch_on(cluster: &Cluster) {
    run(cluster, "etcdctl auth enable");
    run(cluster, "etcdctl role revoke guest --readwrite --path '/*'");
}

/// Users are asked for, and `worker` may use this key.
fn guarded(key: &str) -> (Cluster, Config) {
    let (cluster, config) = open(key);
    switch_on(&cluster);
    for command in role_recipe("worker", key) {
        run(&cluster, &command);
    }
    (cluster, config)
}

/// `root:Planted-Swordfish-1`
const AS_ROOT: &str = "Basic cm9vdDpQbGFudGVkLVN3b3JkZmlzaC0x";

/// Gives `worker` this password.
fn set_password(cluster: &Cluster, password: &str) {
    v2::set_password(cluster.client_address(0), AS_ROOT, "worker", password);
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

#[test]
fn the_role_in_the_message_of_v2_is_enough_and_less_is_not() {
    let (cluster, config) = open("/jobs/nightly");
    switch_on(&cluster);
    let said = Candidate::start(&config).hears("failed Denied");
    let (_, recipe) = said.split_once("and /jobs/nightly/*: ").expect("a remedy");
    let commands: Vec<&str> = recipe.split(" && ").collect();
    assert_eq!(commands, role_recipe("worker", "/jobs/nightly"));

    // It may look, and that is what one does first; then it may not join.
    run(&cluster, "etcdctl role add reader");
    run(&cluster, "etcdctl role grant reader --read --path '/jobs/nightly*'");
    run(&cluster, "etcdctl user grant worker --roles reader");
    Candidate::start(&config).hears("failed Denied");
    run(&cluster, "etcdctl user revoke worker --roles reader");
    for command in commands {
        run(&cluster, command);
    }
    let one = Candidate::start(&config);
    one.hears("elected");
    let two = Candidate::start(&Config { name: "two".into(), ..config });
    two.hears("leader one");
    one.stop();
    two.hears("elected");
}

#[test]
fn a_password_of_v2_that_is_changed_ends_leading_and_changed_back_gives_it_again() {
    let (cluster, config) = guarded("/changed");
    let one = Candidate::start(&config);
    one.hears("elected");
    set_password(&cluster, &format!("{PLANTED}-2"));
    one.retries(&["Denied", "\"worker\"", "check the password"]);
    one.hears("unelected Deadline");
    assert!(!one.is_leader() && !one.has_said("failed"), "{:?}", one.log());
    set_password(&cluster, &password());
    one.hears("elected");
}

#[test]
fn users_of_v2_that_are_switched_on_meanwhile_are_asked_for_and_who_has_one_goes_on() {
    let (cluster, config) = open("/on");
    for command in role_recipe("worker", "/on") {
        run(&cluster, &command);
    }
    let prepared = Candidate::start(&config);
    prepared.hears("elected");
    let nobody = Config { key: "/unprepared".into(), username: None, password: None, ..config.clone() };
    let unprepared = Candidate::start(&nobody);
    unprepared.hears("elected");
    switch_on(&cluster);
    unprepared.retries(&["Denied", "give the username and password"]);
    unprepared.hears("unelected");
    let waiting = Candidate::start(&Config { name: "waiting".into(), ..config });
    waiting.hears("leader one");
    run(&cluster, "etcdctl auth disable");
    unprepared.hears("elected");
    assert!(prepared.is_leader() && !prepared.has_said("unelected"), "{:?}", prepared.log());
}
