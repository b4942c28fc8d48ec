//! Several elections of one process: shared sessions, two on one key, nested keys, and what a lost join leaves behind.

use std::time::Duration;

use etcd_leader::{Api, Config, Election, ErrorKind, Event, Next};

use super::store::{Store, on_v2_and_v3, single};
use support::proxy::Way;
use support::{Cluster, Proxy, wait_for};

const SOON: Option<Duration> = Some(Duration::from_secs(60));

fn config(cluster: &Cluster, key: &str, name: &str) -> Config {
    Config { endpoints: cluster.urls(), key: key.into(), name: name.into(), ttl_s: 5, ..Config::default() }
}

fn start(cluster: &Cluster, key: &str, name: &str) -> Election {
    start_on(Api::V3, cluster, key, name)
}

fn start_on(api: Api, cluster: &Cluster, key: &str, name: &str) -> Election {
    Election::start(&Config { api, ..config(cluster, key, name) }).expect("a good config")
}

/// Takes events until one is wanted.
fn until<T>(election: &Election, wanted: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        match election.next(SOON).expect("no fork") {
            Next::Event(event) => {
                if let Some(found) = wanted(&event) {
                    return found;
                }
            }
            other => panic!("{election:?}: {other:?}"),
        }
    }
}

fn elected(election: &Election) -> u64 {
    until(election, |event| if let Event::Elected { token } = event { Some(*token) } else { None })
}

fn hears_of(election: &Election, name: &str) {
    until(election, |event| matches!(event, Event::Leader(Some(leader)) if leader.name == name).then_some(()));
}

fn keys(cluster: &Cluster, prefix: &str) -> usize {
    let keys = cluster.etcdctl(&["get", "--prefix", prefix, "--keys-only"]);
    keys.lines().filter(|line| !line.is_empty()).count()
}

fn leases(cluster: &Cluster) -> usize {
    cluster.etcdctl(&["lease", "list"]).lines().count() - 1
}

#[test]
fn elections_of_one_process_share_a_lease_and_two_on_one_key_do_not() {
    let cluster = Cluster::single();
    let one = start(&cluster, "/share/a", "one");
    elected(&one);
    let other = start(&cluster, "/share/b", "other");
    elected(&other);
    assert_eq!(leases(&cluster), 1);
    let second = start(&cluster, "/share/a", "second");
    hears_of(&second, "one");
    assert_eq!((leases(&cluster), keys(&cluster, "/share/a/")), (2, 2), "one campaign for each lease and key");
    assert!(one.is_leader() && !second.is_leader());
    drop(one);
    elected(&second);
    assert!(other.is_leader());
}

on_v2_and_v3!(a_key_inside_that_of_a_running_election_is_refused);
fn a_key_inside_that_of_a_running_election_is_refused(api: Api) {
    let cluster = single();
    let outer = start_on(api, &cluster, "/outer", "one");
    for key in ["/outer/inner", "/outer/inner/most"] {
        let error = Election::start(&Config { api, ..config(&cluster, key, "two") }).expect_err("nested");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.detail().contains(key) && error.detail().contains("rename"), "{error}");
    }
    let beside = start_on(api, &cluster, "/outerworld", "three");
    elected(&beside);
    drop(outer);
    let inner = start_on(api, &cluster, "/outer/inner", "two");
    elected(&inner);
    assert!(Election::start(&Config { api, ..config(&cluster, "/outer", "one") }).is_err(), "the other way round too");
}

on_v2_and_v3!(sixty_followers_all_hear_of_a_new_leader);
fn sixty_followers_all_hear_of_a_new_leader(api: Api) {
    let cluster = single();
    let mut line: Vec<Election> = Vec::new();
    for at in 0..62 {
        // A stall of the machine costs nobody the lead: whoever is told of the one after it would wait for its name in vain.
        let patient = Config { api, ttl_s: 20, ..config(&cluster, "/sixty", &format!("member {at}")) };
        let one = Election::start(&patient).expect("a good config");
        if at == 0 {
            elected(&one);
        } else {
            hears_of(&one, "member 0");
        }
        line.push(one);
    }
    let mut last = line[0].token().expect("it leads");
    for at in 1..3 {
        drop(line.remove(0));
        let token = elected(&line[0]);
        assert!(token > last);
        last = token;
        for follower in &line[1..] {
            hears_of(follower, &format!("member {at}"));
            assert!(!follower.is_leader());
        }
    }
}

#[test]
fn a_join_that_arrives_after_its_election_was_freed_is_cleared_away() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(cluster.client_address(0));
    let config = |key: &str, name: &str| {
        let endpoints = vec![proxy.url()];
        Config { endpoints, ttl_s: 30, stop_timeout_ms: 200, ..config(&cluster, key, name) }
    };
    let one = Election::start(&config("/ghost/one", "one")).expect("started");
    elected(&one);
    let before = cluster.revision();
    // The join is on its way when the user gives up. One that was not sent would be taken back.
    proxy.hold(Way::ToServer);
    let two = Election::start(&config("/ghost/two", "two")).expect("started");
    wait_for("a join", || proxy.has_held().then_some(()));
    drop(two);
    proxy.pass();
    // It was applied (the history shows it), and taken away again.
    wait_for("the ghost to come and go", || {
        (cluster.revision() >= before + 2 && keys(&cluster, "/ghost/two/") == 0).then_some(())
    });
    assert!(one.is_leader());
    assert_eq!(leases(&cluster), 1, "the lease that both shared lives on");
    let again = Election::start(&config("/ghost/two", "again")).expect("started");
    elected(&again);
}

on_v2_and_v3!(freeing_the_last_election_does_not_wait_for_one_that_starts_meanwhile);
fn freeing_the_last_election_does_not_wait_for_one_that_starts_meanwhile(api: Api) {
    let cluster = single();
    let mut last = start_on(api, &cluster, "/last/0", "one");
    elected(&last);
    for round in 1..40 {
        let begun = std::time::Instant::now();
        let freed = std::thread::spawn(move || drop(last));
        // Each time a little later: before, while and after the engine winds up.
        std::thread::sleep(Duration::from_micros(100 * round));
        last = start_on(api, &cluster, &format!("/last/{round}"), "one");
        freed.join().expect("freed");
        assert!(begun.elapsed() < Duration::from_secs(4), "round {round} took {:?}", begun.elapsed());
        elected(&last);
    }
}

on_v2_and_v3!(closing_gives_the_place_up_and_waits_for_nothing);
fn closing_gives_the_place_up_and_waits_for_nothing(api: Api) {
    let mut cluster = single();
    let [polite, cut_off] = ["/closed/1", "/closed/2"].map(|key| start_on(api, &cluster, key, "one"));
    elected(&polite);
    elected(&cut_off);
    polite.close();
    assert!(!polite.is_leader());
    assert!(polite.wait_closed(Duration::from_secs(10)) && polite.has_released());
    assert_eq!(Store { cluster: &cluster, api }.names("/closed/1"), Vec::<String>::new());

    cluster.member(0).freeze();
    let begun = std::time::Instant::now();
    cut_off.close();
    assert!(!cut_off.wait_closed(Duration::from_millis(100)) && !cut_off.has_released());
    drop(cut_off);
    drop(polite);
    assert!(begun.elapsed() < Duration::from_secs(4), "waited {:?} for an etcd that is frozen", begun.elapsed());
    cluster.member(0).thaw();
    let store = Store { cluster: &cluster, api };
    store.wait_for_members("/closed/2", 0);
}

/// As a restore with `--bump-revision` does: an entry of an election that has left is back on the lease that its process
/// still keeps.
#[test]
fn an_entry_that_comes_back_on_our_lease_is_cleared_away() {
    let cluster = Cluster::single();
    let proxy = Proxy::before(cluster.client_address(0));
    let behind = |key: &str| Config { endpoints: vec![proxy.url()], ..config(&cluster, key, "one") };
    let stays = Election::start(&behind("/back/stays")).expect("started");
    let leaves = Election::start(&behind("/back/leaves")).expect("started");
    let (token, _) = (elected(&stays), elected(&leaves));
    drop(leaves);
    wait_for("it to leave", || (keys(&cluster, "/back/leaves/") == 0).then_some(()));
    let lease = cluster.etcdctl(&["get", "--prefix", "/back/stays/", "--keys-only"]);
    let lease = lease.trim().rsplit('/').next().expect("named after its lease").to_owned();
    let entry = format!("/back/leaves/{lease}");
    for key in [&entry, "/back/note"] {
        cluster.etcdctl(&["put", key, "one", &format!("--lease={lease}")]);
    }
    proxy.reset();
    wait_for("the entry to go", || (keys(&cluster, &entry) == 0).then_some(()));
    assert_eq!(keys(&cluster, "/back/note"), 1, "what is no entry is an admin's");
    assert_eq!(stays.token(), Some(token));
    // Another election of the process takes its place, and not the lead that somebody has put there.
    cluster.etcdctl(&["put", &entry, "one", &format!("--lease={lease}")]);
    let put = cluster.revision();
    let again = Election::start(&behind("/back/leaves")).expect("started");
    assert!(elected(&again) > put, "what no join of ours has made is not ours");
}
