//! etcd goes away and comes back: with its data, without it, compacted, or busy.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use etcd_leader::Api;

use super::candidate::{Setup, check_terms, millis, now_ms, waits};
use super::store::{Store, on_v2_and_v3, single};
use support::{Cluster, Proxy, wait_for};

on_v2_and_v3!(a_short_outage_costs_nobody_the_lead);
fn a_short_outage_costs_nobody_the_lead(api: Api) {
    let mut cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/short", 30).on(api).line_up(&["one", "two"]);
    cluster.member(0).kill();
    std::thread::sleep(Duration::from_secs(1));
    cluster.member(0).start();
    line[0].hears("fine");
    assert!(line[0].claims().starts_with("yes") && !line[0].has_said("unelected"));
    line[0].stop();
    line[1].elected();
    check_terms(&line.iter().collect::<Vec<_>>());
}

on_v2_and_v3!(after_an_outage_of_two_ttls_one_leads_again);
fn after_an_outage_of_two_ttls_one_leads_again(api: Api) {
    const TTL_S: u32 = 3;
    let mut cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/long", TTL_S).on(api).line_up(&["one", "two", "three"]);
    cluster.member(0).kill();
    assert_eq!(line[0].hears("unelected"), "Deadline");
    assert_eq!(line[1].hears("leader"), "-", "nobody is known to lead");
    std::thread::sleep(Duration::from_secs(u64::from(TTL_S)));
    assert_eq!(line[0].claims(), "no");
    // It may be heard by a candidate before it is by us.
    let started = now_ms();
    cluster.member(0).start();
    let back = now_ms();
    let elected = wait_for("a leader", || {
        let said = line.iter().flat_map(|one| one.log());
        let since = said.filter(|said| said.at_ms > started && said.words.starts_with("elected"));
        since.map(|said| said.at_ms).min()
    });
    assert!(elected < back + 5000, "took {} ms", elected.saturating_sub(back));
    check_terms(&line.iter().collect::<Vec<_>>());
    // Each still gets its turn.
    let mut left: Vec<_> = line.iter_mut().collect();
    while !left.is_empty() {
        let at = wait_for("the next leader", || left.iter_mut().position(|one| one.claims().starts_with("yes")));
        left.remove(at).stop();
    }
    check_terms(&line.iter().collect::<Vec<_>>());
}

on_v2_and_v3!(a_store_that_comes_back_empty_is_reported_and_stays_quiet_for_a_ttl_and_a_margin);
fn a_store_that_comes_back_empty_is_reported_and_stays_quiet_for_a_ttl_and_a_margin(api: Api) {
    const TTL_S: u32 = 3;
    let mut cluster = single();
    let urls = cluster.urls();
    Store { cluster: &cluster, api }.write_elsewhere(20);
    let line = Setup::new(&urls, "/empty", TTL_S).on(api).line_up(&["one", "two"]);
    let wiped = now_ms();
    cluster.wipe();
    for one in &line {
        let said = one.hears("retrying StoreReset");
        assert!(said.contains("went back"), "{said}");
    }
    let elected = wait_for("a leader", || {
        let said = line.iter().flat_map(|one| one.log());
        said.filter(|said| said.at_ms > wiped && said.words.starts_with("elected")).map(|said| said.at_ms).min()
    });
    let quiet = u64::from(TTL_S) * 1200;
    assert!(elected - wiped > quiet, "after {} ms", elected - wiped);
    assert!(elected - wiped < quiet + 8000, "after {} ms", elected - wiped);
}

on_v2_and_v3!(endpoints_that_all_lead_to_another_cluster_are_a_store_that_went_back);
fn endpoints_that_all_lead_to_another_cluster_are_a_store_that_went_back(api: Api) {
    // It cannot be told apart from a cluster that was built anew.
    const TTL_S: u32 = 3;
    let (cluster, other) = (single(), Cluster::of(1, &["--enable-v2=true", "--initial-cluster-token=other"]));
    let proxy = Proxy::before(cluster.client_address(0));
    let urls = [proxy.url()];
    let one = Setup::new(&urls, "/astray", TTL_S).on(api).start("one");
    one.elected();
    let gone = now_ms();
    proxy.redirect(other.client_address(0));
    proxy.reset();
    one.hears("unelected");
    let said = one.hears("retrying StoreReset");
    assert!(said.contains("all endpoints belong to a new etcd cluster"), "{said}");
    let (elected, _) = one.hears_at("elected");
    assert!(elected - gone > u64::from(TTL_S) * 1200, "after {} ms", elected - gone);
}

#[test]
fn compaction_while_waiting_and_while_disconnected() {
    let cluster = Cluster::single();
    let urls = cluster.urls();
    let proxy = Proxy::before(cluster.client_address(0));
    let mut line = Setup::new(&urls, "/compact", 5).line_up(&["one"]);
    let behind_proxy = [proxy.url()];
    let two = Setup::new(&behind_proxy, "/compact", 5).start("two");
    two.hears("leader");
    let churn = || {
        for _ in 0..5 {
            cluster.etcdctl(&["put", "/unrelated", "x"]);
        }
        cluster.etcdctl(&["compact", &cluster.revision().to_string()]);
    };
    churn();
    // While disconnected the leader goes, and the news of it is compacted away.
    proxy.refuse();
    proxy.reset();
    two.hears("retrying");
    line[0].stop();
    churn();
    proxy.pass();
    two.elected();
    check_terms(&[&line[0], &two]);
}

on_v2_and_v3!(a_busy_store_delays_nobody);
fn a_busy_store_delays_nobody(api: Api) {
    const TTL_S: u32 = 5;
    let cluster = single();
    let urls = cluster.urls();
    let store = Store { cluster: &cluster, api };
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Writes all the time, also right beside the election's keys.
        for key in ["/busy0", "/busz", "/unrelated"] {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    store.put(key, "x");
                }
            });
        }
        let mut line = Setup::new(&urls, "/busy", TTL_S).on(api).line_up(&["one", "two", "three"]);
        for at in 0..2 {
            let busy = waits(&cluster, &line);
            line[at].stop();
            let stopped = now_ms();
            let (elected, _) = line[at + 1].hears_at("elected");
            assert!(elected < stopped + 1000 + millis(busy.so_far()), "took {} ms", elected - stopped);
        }
        is_over.store(true, Ordering::Relaxed);
        check_terms(&line.iter().collect::<Vec<_>>());
    });
}

/// A checkpoint that is restored, or a clone of the machine, has our lease and our key, and renews them as we do. It is played
/// by what it would send.
#[test]
fn a_copy_of_this_process_ends_the_session_that_it_shares() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(cluster.client_address(0));
    let urls = [proxy.url()];
    let mut one = Setup::new(&urls, "/copied", 5).start("one");
    let first = one.elected();
    let entry = cluster.etcdctl(&["get", "--prefix", "/copied/", "--keys-only"]).trim().to_owned();
    let lease = entry.rsplit('/').next().expect("named after its lease").to_owned();
    let written = || {
        let fields = cluster.etcdctl(&["get", &entry, "--write-out=fields"]);
        let line = fields.lines().find(|line| line.starts_with("\"ModRevision\"")).map(str::to_owned);
        line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
    };
    assert_eq!(written(), Some(first));
    // On a new connection the leader writes its entry once, which a copy of it would notice; and it leads on.
    proxy.reset();
    wait_for("it to write its entry", || written().filter(|at| *at > first));
    assert_eq!(one.claims(), format!("yes {first}"));
    // The copy does the same.
    cluster.etcdctl(&["put", &entry, "one", &format!("--lease={lease}")]);
    one.hears("unelected KeyLost");
    // It leads again on a lease of its own, and the one that the two had in common has gone.
    assert!(one.elected() > first);
    wait_for("the lease to go", || (!cluster.etcdctl(&["lease", "list"]).contains(&lease)).then_some(()));
}
