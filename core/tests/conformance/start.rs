//! What an election says before it ever leads.

use std::net::TcpListener;

use etcd_leader::Api;

use super::candidate::Setup;
use super::store::{BOTH, on_v2_and_v3, single};
use super::support::Cluster;

on_v2_and_v3!(a_refused_connection_is_told_at_once_and_names_the_endpoint);
fn a_refused_connection_is_told_at_once_and_names_the_endpoint(api: Api) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let urls = [format!("http://127.0.0.1:{port}")];
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
