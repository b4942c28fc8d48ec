//! Slow is not dead: servers that answer late serve, and nothing that makes progress is thrown away and begun again.

use std::time::Duration;

use super::candidate::{Setup, check_terms};
use super::crowds::{USER, crowd, guarded, one_leads};
use super::support::{Cluster, Proxy};

/// A login takes longer than what is one attempt at this ttl.
#[test]
fn a_password_that_is_long_to_check_keeps_nobody_out() {
    let cluster = guarded(1, 14, "/slow");
    let urls = cluster.urls();
    let mut crowd = crowd(&Setup { user: USER, ..Setup::new(&urls, "/slow", 5) }, 3);
    one_leads(&mut crowd);
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
