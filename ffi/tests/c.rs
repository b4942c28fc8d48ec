//! The C tests (tests/c): built against the library and run against a real etcd; plain, with sanitizers, and under
//! Valgrind.

mod library;

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use library::{Way, Workshop};
use support::{Cluster, Port, Proxy, wait_for};

const WATCHED: [Way; 3] = [Way::Plain, Way::Sanitized, Way::Valgrind];

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(name)
}

/// Runs the test in these ways, each on an etcd of its own.
fn passes(name: &str, ways: &[Way]) {
    let workshop = Workshop::new();
    for way in ways {
        workshop.run(&source(name), *way, &[&Cluster::single().urls()[0]]);
    }
}

#[test]
fn lifecycle() {
    passes("lifecycle.c", &[Way::Plain, Way::Static, Way::Sanitized, Way::Valgrind]);
}

#[test]
fn every_way_to_stop() {
    passes("stopping.c", &WATCHED);
}

#[test]
fn one_thread_at_a_time() {
    passes("busy.c", &WATCHED);
}

#[test]
fn a_thousand_elections_on_one_thread_and_one_connection() {
    passes("many.c", &[Way::Plain, Way::Sanitized]);
    // Under Valgrind so many would miss their renewals.
    Workshop::new().run(&source("many.c"), Way::Valgrind, &[&Cluster::single().urls()[0], "200"]);
}

#[test]
fn events_that_are_pulled() {
    passes("pull.c", &[Way::Plain, Way::Sanitized]);
    // Under Valgrind so many would miss their renewals.
    Workshop::new().run(&source("pull.c"), Way::Valgrind, &[&Cluster::single().urls()[0], "50"]);
}

#[test]
fn frozen_past_its_ttl() {
    passes("frozen.c", &WATCHED);
}

#[test]
fn a_thread_that_is_cancelled() {
    passes("cancelled.c", &[Way::Plain]);
}

#[test]
fn an_end_with_etcd_frozen() {
    let cluster = Cluster::single();
    let workshop = Workshop::new();
    workshop.run(&source("ending.c"), Way::Plain, &[&cluster.urls()[0], &cluster.pids()[0].to_string()]);
}

#[test]
fn a_system_without_a_timer_and_without_further_threads() {
    passes("missing.c", &[Way::Plain]);
}

#[test]
fn forked() {
    // The address sanitizer of GCC holds its allocator's locks over no fork: a child may wait for ever for one that a thread of
    // its parent held.
    passes("fork.c", &[Way::Plain, Way::Valgrind]);
}

#[test]
fn from_cpp() {
    passes("plain.cc", &[Way::Plain, Way::Static, Way::Sanitized]);
}

#[test]
fn bad_arguments_touch_no_network() {
    let workshop = Workshop::new();
    let watched = TcpListener::bind("127.0.0.1:0").expect("a free port");
    watched.set_nonblocking(true).expect("not blocking");
    let url = format!("http://{}", watched.local_addr().expect("its address"));
    for way in WATCHED {
        workshop.run(&source("arguments.c"), way, &[&url]);
        assert!(watched.accept().is_err(), "somebody has connected");
        workshop.run(
            &source("arguments.c"),
            way,
            &[&Cluster::single().urls()[0], "also those of an election that runs"],
        );
    }
}

#[test]
fn what_cannot_be_reached_is_told_and_named() {
    let workshop = Workshop::new();
    let nobody = Port::new();
    for way in WATCHED {
        workshop.run(&source("trouble.c"), way, &[&nobody.url()]);
    }
}

#[test]
fn a_thousand_resets_and_no_sigpipe() {
    const CONNECTIONS: usize = 100;
    const RESETS: usize = 1000;
    let workshop = Workshop::new();
    let mut cluster = Cluster::single();
    let proxy = Proxy::before(cluster.member(0).client_address());
    let program = workshop.compile(&source("resets.c"), Way::Plain);
    let mut running = workshop.start(&program, Way::Plain, &[&proxy.url()]);
    let input = running.input();
    wait_for("all to connect", || (proxy.connections() >= CONNECTIONS).then_some(()));
    while proxy.connections() < CONNECTIONS + RESETS {
        let before = proxy.connections();
        proxy.reset();
        wait_for("most to connect again", || (proxy.connections() > before + CONNECTIONS / 2).then_some(()));
    }
    drop(input);
    running.succeeds();
}
