//! Somebody tampers with our entries: whoever loses one is told so, and joins again by itself.

use etcd_leader::Api;

use super::candidate::{Setup, check_terms};
use super::store::{Store, on_v2_and_v3, single};
use support::{Cluster, wait_for};

const TTL_S: u32 = 5;

fn v3(cluster: &Cluster) -> Store<'_> {
    Store { cluster, api: Api::V3 }
}

on_v2_and_v3!(the_leaders_key_is_deleted);
fn the_leaders_key_is_deleted(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/deleted", TTL_S).on(api).line_up(&["one", "two"]);
    let store = Store { cluster: &cluster, api };
    store.delete(&store.key_of("/deleted", "one"));
    assert_eq!(line[0].hears("unelected"), "KeyLost");
    line[1].elected();
    assert_eq!(line[0].hears("leader two"), "");
    line[1].stop();
    line[0].elected();
}

on_v2_and_v3!(a_waiters_key_is_deleted_and_it_joins_again_at_the_end);
fn a_waiters_key_is_deleted_and_it_joins_again_at_the_end(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/waiter", TTL_S).on(api).line_up(&["one", "two", "three"]);
    let store = Store { cluster: &cluster, api };
    store.delete(&store.key_of("/waiter", "two"));
    let names = ["one", "three", "two"];
    wait_for("the second to join again", || (store.names("/waiter") == names).then_some(()));
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
    let key = v3(&cluster).key_of("/revoked", "one");
    let lease = key.rsplit('/').next().expect("a suffix");
    cluster.etcdctl(&["lease", "revoke", lease]);
    line[0].hears("unelected");
    line[1].elected();
    line[1].stop();
    line[0].elected();
}

/// The refusal to revoke it once more says nothing of where the store is.
#[test]
fn a_revoked_lease_is_not_taken_for_a_store_that_went_back() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    // Three joins after the session's first read, so that the newest revision is not the one of that.
    let mut line = Setup::new(&urls, "/forward", TTL_S).line_up(&["one", "two", "three"]);
    let key = v3(&cluster).key_of("/forward", "one");
    cluster.etcdctl(&["lease", "revoke", key.rsplit('/').next().expect("a suffix")]);
    line[0].hears("unelected");
    // It is back in line, behind the others.
    v3(&cluster).wait_for_members("/forward", 3);
    line[1].stop();
    line[2].elected();
    line[2].stop();
    line[0].elected();
    assert!(!line[0].has_said("retrying StoreReset"), "{:#?}", line[0].log());
}

#[test]
fn a_waiter_whose_lease_is_revoked_never_leads_without_a_key() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/phantom", TTL_S).line_up(&["one", "two", "three"]);
    let key = v3(&cluster).key_of("/phantom", "two");
    cluster.etcdctl(&["lease", "revoke", key.rsplit('/').next().expect("a suffix")]);
    line[0].stop();
    line[2].elected();
    assert_eq!(line[1].claims(), "no");
    line[2].stop();
    let token = line[1].elected();
    let held = cluster.etcdctl(&["get", &v3(&cluster).key_of("/phantom", "two"), "-w", "fields"]);
    assert!(held.contains(&format!("\"CreateRevision\" : {token}")), "the leader has the key it says: {held}");
    check_terms(&line.iter().collect::<Vec<_>>());
}

on_v2_and_v3!(a_foreign_put_on_the_leaders_key_ends_its_term_and_leaves_nothing);
fn a_foreign_put_on_the_leaders_key_ends_its_term_and_leaves_nothing(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/put", TTL_S).on(api).line_up(&["one", "two"]);
    let store = Store { cluster: &cluster, api };
    store.overwrite(&store.key_of("/put", "one"), "stranger");
    assert_eq!(line[0].hears("unelected"), "KeyLost");
    line[1].elected();
    let names = ["two", "one"];
    wait_for("the stranger's value to go, which nothing else would end", || {
        (store.names("/put") == names).then_some(())
    });
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
