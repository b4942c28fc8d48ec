//! Slow is not dead: servers that answer late serve, and nothing that makes progress is thrown away and begun again.

use std::time::Duration;

use super::candidate::{Candidate, Setup, check_terms};
use super::support::{Cluster, Proxy};

const USER: [&str; 2] = ["worker", "of-the-worker"];

/// An etcd that asks for users. `cost` is what bcrypt takes for a password: each step doubles it.
fn guarded(cost: u32, key: &str) -> Cluster {
    let cluster = Cluster::of(1, &[&format!("--bcrypt-cost={cost}")]);
    for words in ["user add root:of-root", "user grant-role root root", "role add worker"] {
        cluster.etcdctl(&words.split(' ').collect::<Vec<_>>());
    }
    cluster.etcdctl(&["user", "add", &USER.join(":")]);
    cluster.etcdctl(&["user", "grant-role", USER[0], "worker"]);
    cluster.etcdctl(&["role", "grant-permission", "worker", "readwrite", "--prefix=true", &format!("{key}/")]);
    cluster.etcdctl(&["auth", "enable"]);
    cluster
}

/// Starts so many at once, and waits until each is served: one leads, and the others know who.
fn crowd(setup: &Setup<'_>, count: usize) -> Vec<Candidate> {
    let crowd: Vec<Candidate> = (0..count).map(|at| setup.start(&format!("c{at}"))).collect();
    crowd.iter().for_each(|one| drop(one.hears("leader c")));
    crowd
}

fn leaders(crowd: &mut [Candidate]) -> usize {
    crowd.iter_mut().filter_map(|one| one.claims().starts_with("yes").then_some(())).count()
}

/// A login takes longer than what is one attempt at this ttl.
#[test]
fn a_password_that_is_long_to_check_keeps_nobody_out() {
    let cluster = guarded(14, "/slow");
    let urls = cluster.urls();
    let mut crowd = crowd(&Setup { user: USER, ..Setup::new(&urls, "/slow", 5) }, 3);
    assert_eq!(leaders(&mut crowd), 1);
    check_terms(&crowd.iter().collect::<Vec<_>>());
}

/// etcd's processors are busy with passwords: forty logins take it several seconds, and none is asked for twice.
#[test]
fn forty_with_passwords_are_served_and_again_after_a_restart() {
    let mut cluster = guarded(10, "/crowd");
    let urls = cluster.urls();
    let mut crowd = crowd(&Setup { user: USER, ..Setup::new(&urls, "/crowd", 10) }, 40);
    assert_eq!(leaders(&mut crowd), 1);
    cluster.member(0).kill();
    crowd.iter().for_each(|one| drop(one.hears("retrying")));
    cluster.member(0).start();
    crowd.iter().for_each(|one| drop(one.hears("fine")));
    assert_eq!(leaders(&mut crowd), 1);
    check_terms(&crowd.iter().collect::<Vec<_>>());
}

/// A round trip takes a large part of what is one attempt: connecting and the first read are more than one.
#[test]
fn a_far_server_serves_and_the_lead_is_kept() {
    const TTL_S: u32 = 5;
    let cluster = Cluster::single();
    let proxy = Proxy::before(cluster.client_address(0));
    proxy.delay(Duration::from_millis(250));
    let urls = [proxy.url()];
    let mut line = Setup::new(&urls, "/far", TTL_S).line_up(&["one", "two"]);
    // Three renewals and more.
    std::thread::sleep(Duration::from_secs(u64::from(TTL_S)));
    assert!(line[0].claims().starts_with("yes") && !line[0].has_said("unelected"), "{:#?}", line[0].log());
    check_terms(&line.iter().collect::<Vec<_>>());
}
