//! Servers that the DNS lists for a domain.

use std::time::{Duration, Instant};

use etcd_leader::Api;

use super::candidate::Setup;
use super::store::{BOTH, Store, on_v2_and_v3};
use support::name_server::{HOST, NameServer};
use support::{Cluster, Port, wait_for};

const DOMAIN: &str = "srv://example.test";
const RECORDS: &str = "_etcd-client._tcp.example.test";

// As with a dead first line of resolv.conf: each look-up takes five seconds, which is half the ttl.
on_v2_and_v3!(a_look_up_that_takes_long_keeps_nobody_out);
fn a_look_up_that_takes_long_keeps_nobody_out(api: Api) {
    let mut cluster = Cluster::of(1, BOTH);
    let names = NameServer::of(RECORDS);
    let urls = [format!("http://{HOST}:{}", cluster.client_address(0).port())];
    let enter = names.enter_behind_a_dead_one(cluster.directory());
    let mut one = Setup { enter: &enter, ..Setup::new(&urls, "/slow", 10).on(api) }.start("one");
    let said = one.hears("retrying Timeout");
    assert!(said.starts_with(&urls[0]) && said.contains("look-up"), "{said}");
    let token = one.elected();
    // The known address serves.
    cluster.member(0).kill();
    cluster.member(0).start();
    let begun = Instant::now();
    wait_for("what was certain before to have ended", || {
        assert_eq!(one.claims(), format!("yes {token}"), "{:#?}", one.log());
        (begun.elapsed() > Duration::from_secs(10)).then_some(())
    });
}

/// The ports of a cluster's members, on this machine.
fn servers(cluster: &Cluster) -> Vec<(&'static str, u16)> {
    (0..cluster.size()).map(|at| ("localhost", cluster.client_address(at).port())).collect()
}

on_v2_and_v3!(a_domain_with_three_servers_of_which_each_is_killed);
fn a_domain_with_three_servers_of_which_each_is_killed(api: Api) {
    let mut cluster = Cluster::of(3, BOTH);
    let names = NameServer::of(RECORDS);
    names.lists(&servers(&cluster));
    let (urls, enter) = ([DOMAIN.to_string()], names.enter(cluster.directory()));
    let setup = Setup { enter: &enter, ..Setup::new(&urls, "/domain", 5).on(api) };
    let mut one = setup.start("one");
    one.elected();
    assert!(!one.has_had_trouble(), "{:#?}", one.log());
    for at in 0..3 {
        cluster.member(at).kill();
        // A ttl later nothing is left of what was known before.
        let begun = Instant::now();
        wait_for("it to lead without that server", || {
            (begun.elapsed().as_secs() >= 5 && one.claims().starts_with("yes")).then_some(())
        });
        cluster.member(at).start();
    }
    assert_eq!(Store { cluster: &cluster, api }.members("/domain").len(), 1);
}

on_v2_and_v3!(what_the_dns_lists_is_looked_up_again_while_nothing_answers);
fn what_the_dns_lists_is_looked_up_again_while_nothing_answers(api: Api) {
    let cluster = Cluster::of(1, BOTH);
    let names = NameServer::of(RECORDS);
    let (urls, enter) = ([DOMAIN.to_string()], names.enter(cluster.directory()));
    let setup = Setup { enter: &enter, ..Setup::new(&urls, "/moved", 5).on(api) };
    let one = setup.start("one");
    let said = one.hears("retrying Unreachable");
    assert!(said.starts_with(DOMAIN) && said.contains(RECORDS), "{said}");
    let nobody = Port::new();
    names.lists(&[("localhost", nobody.address().port())]);
    let two = setup.start("two");
    let said = two.hears("retrying Unreachable");
    assert!(said.starts_with(DOMAIN) && said.contains("cannot connect"), "{said}");
    names.lists(&servers(&cluster));
    for each in [&one, &two] {
        each.hears("leader");
    }
    assert_eq!(Store { cluster: &cluster, api }.members("/moved").len(), 2);
}
