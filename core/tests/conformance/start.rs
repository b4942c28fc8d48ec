//! What an election says before it ever leads.

use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use etcd_leader::{Api, Config, Election, Event, Next};

use super::candidate::{Setup, check_terms};
use super::store::{BOTH, Store, on_v2_and_v3, single};
use support::etcd::Host;
use support::spawn::spawn;
use support::{Cluster, Port, Proxy, etcd_binary, wait_for};

on_v2_and_v3!(a_refused_connection_is_told_at_once_and_names_the_endpoint);
fn a_refused_connection_is_told_at_once_and_names_the_endpoint(api: Api) {
    let nobody = Port::new();
    let urls = [nobody.url()];
    let one = Setup::new(&urls, "/refused", 10).on(api).start("one");
    let said = one.hears("retrying Unreachable");
    assert!(said.starts_with(&urls[0]) && said.contains("refused"), "{said}");
}

on_v2_and_v3!(a_name_that_does_not_resolve_is_told_at_once);
fn a_name_that_does_not_resolve_is_told_at_once(api: Api) {
    let urls = ["http://no-such-host.invalid:2379".to_string()];
    let one = Setup::new(&urls, "/unknown", 10).on(api).start("one");
    let said = one.hears("retrying Unreachable");
    assert!(said.starts_with(&urls[0]), "{said}");
}

on_v2_and_v3!(two_clusters_in_one_list_are_fatal);
fn two_clusters_in_one_list_are_fatal(api: Api) {
    let (one, other) = (single(), Cluster::of(1, &["--enable-v2=true", "--initial-cluster-token=other"]));
    let urls = [one.urls(), other.urls()].concat();
    let candidate = Setup::new(&urls, "/two", 5).on(api).start("one");
    let said = candidate.hears("failed ClusterMismatch");
    assert!(said.contains("endpoints[0]") && said.contains("endpoints[1]"), "{said}");
    candidate.hears("ended");
}

on_v2_and_v3!(a_dead_member_in_the_list_does_not_keep_from_starting);
fn a_dead_member_in_the_list_does_not_keep_from_starting(api: Api) {
    let mut cluster = Cluster::of(3, BOTH);
    let urls = cluster.urls();
    cluster.member(0).kill();
    let one = Setup::new(&urls, "/dead", 5).on(api).start("one");
    one.elected();
}

on_v2_and_v3!(endpoints_in_any_order_of_which_one_is_dead);
fn endpoints_in_any_order_of_which_one_is_dead(api: Api) {
    let mut cluster = Cluster::of(3, BOTH);
    let urls = cluster.urls();
    cluster.member(1).kill();
    let orders = [[0, 1, 2], [2, 0, 1], [1, 2, 0]];
    let lists = orders.map(|order| order.map(|at| urls[at].clone()));
    let mut line: Vec<_> = lists.iter().map(|urls| Setup::new(urls, "/orders", 5).on(api).start(&urls[0])).collect();
    let mut led = Vec::new();
    while !line.is_empty() {
        let at = wait_for("the next leader", || line.iter_mut().position(|one| one.claims().starts_with("yes")));
        let mut one = line.remove(at);
        one.stop();
        led.push(one);
    }
    check_terms(&led.iter().collect::<Vec<_>>());
}

/// Time enough to open two links through a proxy that delays all by a tenth of a second, also on a busy machine.
const ASIDE_TTL_S: u32 = 10;

on_v2_and_v3!(a_foreign_cluster_that_turns_up_later_is_put_aside);
fn a_foreign_cluster_that_turns_up_later_is_put_aside(api: Api) {
    let (cluster, other) = (single(), Cluster::of(1, &["--enable-v2=true", "--initial-cluster-token=other"]));
    let (ours, theirs) = (Proxy::before(cluster.client_address(0)), Proxy::before(other.client_address(0)));
    theirs.refuse();
    let urls = [theirs.url(), ours.url()];
    let mut one = Setup::new(&urls, "/aside", ASIDE_TTL_S).on(api).start("one");
    let token = one.elected();
    // The other cluster answers first, and is not taken.
    theirs.pass();
    ours.delay(Duration::from_millis(100));
    ours.reset();
    wait_for("it to ask the other", || (theirs.connections() > 0).then_some(()));
    // Longer than what was renewed before could last.
    std::thread::sleep(Duration::from_secs(ASIDE_TTL_S.into()));
    assert_eq!(one.claims(), format!("yes {token}"));
    assert!(!one.has_said("unelected"), "{:#?}", one.log());
    // Nor is it when ours is away.
    ours.refuse();
    ours.reset();
    let said = one.hears("retrying ClusterMismatch");
    assert!(said.starts_with(&urls[0]), "{said}");
    assert!(!one.has_said("failed"), "{:#?}", one.log());
    ours.pass();
    wait_for("it to lead again", || one.claims().starts_with("yes").then_some(()));
    assert!(Store { cluster: &other, api }.members("/aside").is_empty());
}

on_v2_and_v3!(a_name_with_several_addresses_of_which_the_first_is_dead);
fn a_name_with_several_addresses_of_which_the_first_is_dead(api: Api) {
    // Of loopback's addresses the system's resolver gives this machine's own first, 127.0.0.1.
    let begin = || Cluster::on(&[Host { ip: "127.0.0.2".into(), ..Host::local() }], BOTH);
    let free = |cluster: &Cluster| Port::held((Ipv4Addr::LOCALHOST, cluster.client_address(0).port()).into());
    let (cluster, dead) = std::iter::repeat_with(begin)
        .find_map(|cluster| free(&cluster).map(|port| (cluster, port)))
        .expect("a port that is free at both");
    let port = dead.address().port();
    let hosts = cluster.directory().join("hosts");
    std::fs::write(&hosts, "127.0.0.1 several.test\n127.0.0.2 several.test\n").expect("written");
    // A mount of its own shows the process these hosts.
    let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", hosts.display());
    let enter = ["unshare", "--mount", "sh", "-c", &script, "sh"].map(String::from);
    let urls = [format!("http://several.test:{port}")];
    let setup = Setup { enter: &enter, ..Setup::new(&urls, "/several", 5).on(api) };
    let mut one = setup.start("one");
    one.elected();
    assert!(!one.has_had_trouble(), "{:#?}", one.log());
    one.stop();
    // Dead in another way: it takes connections, and is silent.
    let _silent = TcpListener::bind(dead.address()).expect("we hold the port");
    setup.start("two").elected();
}

/// Renewals through it cannot be confirmed: it answers them in the name of many clients.
#[test]
fn a_grpc_proxy_is_refused_before_the_first_join_and_named() {
    let cluster = Cluster::single();
    let port = Port::new();
    let listen = format!("--listen-addr={}", port.address());
    let endpoints = format!("--endpoints={}", cluster.client_address(0));
    let mut proxy = Command::new(etcd_binary());
    proxy.args(["grpc-proxy", "start", &listen, &endpoints]).stdout(Stdio::null()).stderr(Stdio::null());
    let mut proxy = spawn(proxy).expect("the proxy");
    let candidate = Setup::new(&[port.url()], "/proxied", 5).start("one");
    let said = candidate.hears("failed Unsupported");
    assert!(said.contains("grpc-proxy") && said.contains("endpoints of etcd's own servers"), "{said}");
    candidate.hears("ended");
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/proxied"]), "");
    proxy.kill().expect("killed");
    proxy.wait().expect("reaped");
}

/// A port of `--listen-client-http-urls`, which some versions know.
#[test]
fn a_port_for_http_alone_is_named() {
    let http = Port::new();
    let _cluster = Cluster::with_http_at(&http);
    let urls = [http.url()];
    let said = Setup::new(&urls, "/http", 5).start("one").hears("retrying");
    assert!(said.contains(&urls[0]) && said.contains("--listen-client-http-urls"), "{said}");
    assert!(!said.contains("TLS") && !said.contains("https://"), "{said}");
}

/// A server may take fewer operations in one transaction than etcd does by default.
#[test]
fn a_small_max_txn_ops_costs_nobody_the_lead() {
    const ELECTIONS: usize = 20;
    let cluster = Cluster::of(1, &["--max-txn-ops=4"]);
    let elections: Vec<Election> = (0..ELECTIONS)
        .map(|at| {
            let key = format!("/few/{at}");
            let config = Config { endpoints: cluster.urls(), key, name: "one".into(), ..Config::default() };
            Election::start(&config).expect("a good config")
        })
        .collect();
    wait_for("all to lead", || elections.iter().all(|one| one.is_leader()).then_some(()));
    let tokens: Vec<_> = elections.iter().map(Election::token).collect();
    let began = Instant::now();
    // Longer than the first grant lasts.
    wait_for("a ttl to pass", || {
        assert_eq!(elections.iter().map(Election::token).collect::<Vec<_>>(), tokens);
        (began.elapsed() > Duration::from_secs(11)).then_some(())
    });
}

/// etcd raises a lease to one and a half times its election timeout.
#[test]
fn what_etcd_has_granted_is_told_and_can_be_read() {
    let cluster = Cluster::of(1, &["--election-timeout=10000", "--heartbeat-interval=1000"]);
    let start = |ttl_s| {
        let key = format!("/granted-{ttl_s}");
        let config = Config { endpoints: cluster.urls(), key, name: "one".into(), ttl_s, ..Config::default() };
        Election::start(&config).expect("a good config")
    };
    let short = start(2);
    assert_eq!(short.settings().ttl, Duration::from_secs(2));
    let (mut elected, mut told) = (false, None);
    while !elected || told.is_none() {
        match short.next(Some(Duration::from_secs(40))).expect("no fork") {
            Next::Event(Event::Elected { .. }) => elected = true,
            Next::Event(Event::Retrying(Some(trouble))) if trouble.error.detail().contains("grants") => {
                told = Some(trouble)
            }
            Next::Event(_) => {}
            other => panic!("{other:?}: {elected} {told:?}"),
        }
    }
    let told = told.expect("told").error.detail().to_string();
    assert!(told.contains("leases of 15 s where 2 s were asked for") && told.contains("--election-timeout"), "{told}");
    assert_eq!(short.settings().granted_ttl, Some(Duration::from_secs(15)));
    let long = start(20);
    loop {
        match long.next(Some(Duration::from_secs(40))).expect("no fork") {
            Next::Event(Event::Elected { .. }) => break,
            Next::Event(Event::Leader(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(long.settings().granted_ttl, Some(Duration::from_secs(20)));
}
