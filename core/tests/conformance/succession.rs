//! Who leads after whom.

use std::time::Duration;

use etcd_leader::Api;

use super::candidate::{Setup, check_terms, millis, now_ms, waits};
use super::store::{Store, on_v2_and_v3, single};
use support::{Cluster, Proxy, wait_for};

const TTL_S: u32 = 3;
const TTL_MS: u64 = TTL_S as u64 * 1000;
/// Where nobody is to lose the lead on a busy machine.
const LONG_S: u32 = 10;

on_v2_and_v3!(succession_is_in_order_of_joining);
fn succession_is_in_order_of_joining(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let names = ["one", "two", "three", "four", "five"];
    let mut line = Setup::new(&urls, "/order", LONG_S).on(api).line_up(&names);
    for at in 0..names.len() - 1 {
        let busy = waits(&cluster, &line);
        let (before, behind) = line.split_at_mut(at + 1);
        let stopped = now_ms();
        before[at].stop();
        let (elected, _) = behind[0].hears_at("elected");
        let bound = stopped + TTL_MS / 2 + millis(busy.so_far());
        assert!(elected < bound, "a polite leader's successor does not wait for the ttl");
        for follower in &behind[1..] {
            assert_eq!(follower.hears("leader"), names[at + 1], "{} hears of the new leader", follower.name);
        }
    }
    let store = Store { cluster: &cluster, api };
    assert_eq!(store.names("/order"), ["five"]);
    line[4].stop();
    check_terms(&line.iter().collect::<Vec<_>>());
    assert!(store.is_left_clean("/order"), "{:?}", store.members("/order"));
}

on_v2_and_v3!(the_middle_one_dies_and_the_leader_stays);
fn the_middle_one_dies_and_the_leader_stays(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/middle", LONG_S).on(api).line_up(&["one", "two", "three"]);
    line[1].kill();
    Store { cluster: &cluster, api }.wait_for_members("/middle", 2);
    assert!(line[0].claims().starts_with("yes"));
    assert_eq!(line[2].claims(), "no");
    line[0].stop();
    line[2].elected();
    check_terms(&line.iter().collect::<Vec<_>>());
}

on_v2_and_v3!(the_leader_dies_and_the_next_takes_over_within_the_ttl);
fn the_leader_dies_and_the_next_takes_over_within_the_ttl(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/dies", TTL_S).on(api).line_up(&["one", "two", "three"]);
    let busy = waits(&cluster, &line);
    line[0].kill();
    let died = now_ms();
    let (elected, _) = line[1].hears_at("elected");
    assert!(elected < died + TTL_MS + 1500 + millis(busy.so_far()), "took {} ms", elected - died);
    assert_eq!(line[2].hears("leader"), "two");
    check_terms(&line.iter().collect::<Vec<_>>());
}

on_v2_and_v3!(frozen_past_the_ttl_the_first_word_on_waking_is_no);
fn frozen_past_the_ttl_the_first_word_on_waking_is_no(api: Api) {
    let cluster = single();
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/frozen", TTL_S).on(api).line_up(&["one", "two"]);
    line[0].freeze();
    line[0].ask();
    line[1].elected();
    line[0].thaw();
    assert_eq!(line[0].hears("claims"), "no");
    let log = line[0].log();
    assert!(!log.iter().any(|said| said.words.starts_with("claims yes")), "{log:#?}");
    line[0].hears("leader two");
    line[1].stop();
    line[0].elected();
}

/// On a new connection the leader and the next in line write their entry twice. Nobody takes the first write for news.
#[test]
fn the_leader_stays_named_while_entries_are_written_on_new_connections() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(cluster.client_address(0));
    let (direct, behind_proxy) = (cluster.urls(), [proxy.url()]);
    let setup = Setup::new(&direct, "/written", 10);
    let mut line = setup.line_up(&["one"]);
    let mut two = Setup::new(&behind_proxy, "/written", 10).start("two");
    two.hears("leader one");
    let three = setup.start("three");
    three.hears("leader one");
    let is_written = |times: u64| {
        let said = cluster.etcdctl(&["get", "/written/", "--prefix", "--write-out=json"]);
        let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        // The value is "two", as etcd's JSON has bytes: the name alone is left.
        let entry = said["kvs"].as_array().into_iter().flatten().find(|entry| entry["value"] == "dHdv");
        entry.filter(|entry| entry["version"] == times).map(drop)
    };
    // The two writes are this far apart.
    proxy.delay(Duration::from_millis(200));
    proxy.reset();
    wait_for("two writes of the next in line", || is_written(3));
    line[0].stop();
    three.hears("leader two");
    wait_for("the write of a new leader", || is_written(4));
    proxy.reset();
    wait_for("two writes of the leader", || is_written(6));
    two.stop();
    three.elected();
    let said: Vec<String> = three.log().into_iter().map(|said| said.words).collect();
    let leaders: Vec<&str> = said.iter().map(String::as_str).filter(|words| words.starts_with("leader")).collect();
    assert!(leaders.starts_with(&["leader one", "leader two"]), "{said:#?}");
    assert!(!leaders[2..].iter().any(|words| ["leader one", "leader two"].contains(words)), "{said:#?}");
}
