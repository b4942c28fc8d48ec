//! Slow is not dead: servers that answer late serve, and nothing that makes progress is thrown away and begun again.

use std::thread;
use std::time::{Duration, Instant};

use etcd_leader::Api;

use super::candidate::{Setup, check_terms};
use super::crowds::{USER, crowd, guarded, one_leads};
use super::store::BOTH;
use support::{Cluster, Proxy};

/// A login takes longer than what is one attempt at this ttl.
#[test]
fn a_password_that_is_long_to_check_keeps_nobody_out() {
    let cluster = guarded(1, 14, "/slow");
    let urls = cluster.urls();
    let mut crowd = crowd(&Setup { user: USER, ..Setup::new(&urls, "/slow", 5) }, 3);
    one_leads(&mut crowd);
}

/// A round trip takes a large part of what is one attempt: connecting and the first read are more than one. At half the ttl and
/// half the delay a busy machine adds as much as the link does.
#[test]
fn a_far_server_serves_and_the_lead_is_kept() {
    const TTL_S: u32 = 10;
    let cluster = Cluster::single();
    let proxy = Proxy::before(cluster.client_address(0));
    proxy.delay(Duration::from_millis(500));
    let urls = [proxy.url()];
    let mut line = Setup::new(&urls, "/far", TTL_S).line_up(&["one", "two"]);
    // Three renewals and more.
    thread::sleep(Duration::from_secs(u64::from(TTL_S)));
    assert!(line[0].claims().starts_with("yes") && !line[0].has_said("unelected"), "{:#?}", line[0].log());
    check_terms(&line.iter().collect::<Vec<_>>());
}

/// A commit takes a large part of the ttl: it is waited for, and nothing is asked for again in its place.
fn on_a_slow_disk(api: Api, ttl_s: u32, commit: Duration, database: Duration) {
    let (cluster, disk) = Cluster::with_slow_disk(BOTH);
    disk.takes(commit);
    disk.takes_for_the_database(database);
    let begun = Instant::now();
    cluster.etcdctl(&["put", "a commit", ""]);
    assert!(begun.elapsed() >= commit, "the disk is not slow: a commit took {:?}", begun.elapsed());
    // The next one waits until the database has taken the first to its files.
    let begun = Instant::now();
    cluster.etcdctl(&["put", "another", ""]);
    let least = commit + database / 2;
    assert!(begun.elapsed() >= least, "the database is not slow: a commit took {:?}", begun.elapsed());
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/slow-disk", ttl_s).on(api).line_up(&["one", "two"]);
    // Three renewals and more.
    thread::sleep(Duration::from_secs(u64::from(ttl_s)));
    assert!(line[0].claims().starts_with("yes") && !line[0].has_said("unelected"), "{:#?}", line[0].log());
    line[0].stop();
    line[1].elected();
    check_terms(&line.iter().collect::<Vec<_>>());
}

mod a_slow_disk_keeps_nobody_out {
    use super::{Api, Duration, on_a_slow_disk};

    #[test]
    fn a_fifth_of_the_ttl() {
        on_a_slow_disk(Api::V3, 5, Duration::from_millis(1_100), Duration::ZERO);
        on_a_slow_disk(Api::V3, 10, Duration::from_millis(2_100), Duration::ZERO);
    }

    /// Each renewal is a commit there, and so is each confirmation.
    #[test]
    fn on_v2() {
        on_a_slow_disk(Api::V2, 10, Duration::from_millis(1_100), Duration::ZERO);
    }

    /// While another joins, the keepalive waits for one commit of the database and the read that confirms it for the next: two
    /// fdatasyncs each. With a ttl of 5 s, that takes longer than the lead lasts.
    #[test]
    fn the_database_too() {
        on_a_slow_disk(Api::V3, 10, Duration::from_millis(1_100), Duration::from_millis(1_100));
    }
}
