//! Somebody tampers with our entries: whoever loses one is told so, and joins again by itself.

use super::candidate::{Setup, check_terms};
use super::support::Cluster;

const TTL_S: u32 = 5;

/// The key of the member with this name.
fn key_of(cluster: &Cluster, prefix: &str, name: &str) -> String {
    let all = cluster.etcdctl(&["get", "--prefix", prefix]);
    let lines: Vec<&str> = all.lines().collect();
    let pair = lines.chunks(2).find(|pair| pair[1] == name);
    pair.unwrap_or_else(|| panic!("{name} is not in {all:?}"))[0].to_string()
}

#[test]
fn the_leaders_key_is_deleted() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/deleted", TTL_S).line_up(&["one", "two"]);
    cluster.etcdctl(&["del", &key_of(&cluster, "/deleted/", "one")]);
    assert_eq!(line[0].hears("unelected"), "KeyLost");
    line[1].elected();
    assert_eq!(line[0].hears("leader two"), "");
    line[1].stop();
    line[0].elected();
}

#[test]
fn a_waiters_key_is_deleted_and_it_joins_again_at_the_end() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/waiter", TTL_S).line_up(&["one", "two", "three"]);
    let old = key_of(&cluster, "/waiter/", "two");
    let revision = cluster.revision();
    cluster.etcdctl(&["del", &old]);
    super::support::wait_for("the second to join again", || (cluster.revision() >= revision + 2).then_some(()));
    line[0].stop();
    line[2].elected();
    line[2].stop();
    line[1].elected();
    assert!(!line[1].has_said("unelected"));
    check_terms(&line.iter().collect::<Vec<_>>());
}

#[test]
fn the_leaders_lease_is_revoked() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/revoked", TTL_S).line_up(&["one", "two"]);
    let key = key_of(&cluster, "/revoked/", "one");
    let lease = key.rsplit('/').next().expect("a suffix");
    cluster.etcdctl(&["lease", "revoke", lease]);
    line[0].hears("unelected");
    line[1].elected();
    line[1].stop();
    line[0].elected();
}

#[test]
fn a_waiter_whose_lease_is_revoked_never_leads_without_a_key() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/phantom", TTL_S).line_up(&["one", "two", "three"]);
    let key = key_of(&cluster, "/phantom/", "two");
    cluster.etcdctl(&["lease", "revoke", key.rsplit('/').next().expect("a suffix")]);
    line[0].stop();
    line[2].elected();
    assert_eq!(line[1].claims(), "no");
    line[2].stop();
    let token = line[1].elected();
    let held = cluster.etcdctl(&["get", &key_of(&cluster, "/phantom/", "two"), "-w", "fields"]);
    assert!(held.contains(&format!("\"CreateRevision\" : {token}")), "the leader has the key it says: {held}");
    check_terms(&line.iter().collect::<Vec<_>>());
}

#[test]
fn a_foreign_put_on_the_leaders_key_ends_its_term_and_leaves_nothing() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/put", TTL_S).line_up(&["one", "two"]);
    let key = key_of(&cluster, "/put/", "one");
    cluster.etcdctl(&["put", &key, "stranger"]);
    assert_eq!(line[0].hears("unelected"), "KeyLost");
    line[1].elected();
    cluster.wait_for_members("/put/", 2);
    assert!(!cluster.etcdctl(&["get", "--prefix", "/put/"]).contains("stranger"), "a key without a lease would stay");
    line[1].stop();
    line[0].elected();
}

#[test]
fn a_key_nested_in_the_election_is_reported() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    cluster.etcdctl(&["put", "/nest/inner/1", "stranger"]);
    let one = Setup::new(&urls, "/nest", TTL_S).start("one");
    let said = one.hears("retrying Nested");
    assert!(said.contains("/nest/inner/1"), "{said}");
    cluster.etcdctl(&["del", "/nest/inner/1"]);
    one.elected();
}
