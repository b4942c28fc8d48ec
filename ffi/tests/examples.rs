//! The examples in C do what they say, on a real etcd.

#[path = "../../core/tests/support/mod.rs"]
mod support;

mod library;

use std::io::Write;

use library::{Running, Way, Workshop, root};
use nix::sys::signal::Signal;
use support::Cluster;

fn compile(workshop: &Workshop, name: &str) -> std::path::PathBuf {
    workshop.compile(&root().join("examples/c").join(name), Way::Plain)
}

/// The token in "elected, token 7".
fn token(running: &Running) -> u64 {
    let said = running.said();
    let after = said.split("elected, token ").nth(1).expect("it was elected");
    after.lines().next().expect("a line").parse().expect("a number")
}

#[test]
fn campaign() {
    let workshop = Workshop::new();
    let cluster = Cluster::single();
    let program = compile(&workshop, "campaign.c");
    let start = |name| workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "/campaign", name, "2"]);
    let mut one = start("one");
    one.says("one: the leader is one");
    let mut two = start("two");
    two.says("two: the leader is one");
    let mut three = start("three");
    three.says("three: the leader is one");

    one.signal(Signal::SIGINT);
    assert!(one.ends().success(), "{}", one.said());
    assert!(one.said().ends_with("one: unelected (EL_STOPPED): the election was asked to stop\n"), "{}", one.said());
    two.says("two: the leader is two");
    three.says("three: the leader is two");
    two.signal(Signal::SIGKILL);
    three.says("three: the leader is three");
    assert!(token(&one) < token(&two) && token(&two) < token(&three));
    three.signal(Signal::SIGTERM);
    assert!(three.ends().success());
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/campaign", "--keys-only"]), "");
}

#[test]
fn campaign_says_what_is_wrong() {
    let workshop = Workshop::new();
    let program = compile(&workshop, "campaign.c");
    for (arguments, said) in [
        (&[][..], "usage: "),
        (&["https://h", "/k", "n"], "https"),
        (&["http://h", "/k/", "n"], "leave the slash out"),
        (&["http://h", "/k", "n", "1000"], "ttl_s is 1000"),
    ] {
        let mut running = workshop.start(&program, Way::Plain, arguments);
        assert_eq!(running.ends().code(), Some(2));
        assert!(running.said().contains(said), "{}", running.said());
    }
}

#[test]
fn epoll() {
    let workshop = Workshop::new();
    let cluster = Cluster::single();
    let program = compile(&workshop, "epoll.c");
    let mut running = workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "/epoll", "one"]);
    let mut input = running.input();
    running.says("elected, token ");
    running.says("working, ");
    input.write_all(b"who\n").expect("written");
    running.says("one leads");
    input.write_all(b"stop\n").expect("written");
    assert!(running.ends().success(), "{}", running.said());
    assert!(running.said().ends_with("unelected: the election was asked to stop\n"), "{}", running.said());

    // The end of the input is the end of the election too.
    let mut running = workshop.start(&program, Way::Plain, &[&cluster.urls()[0], "/epoll", "two"]);
    drop(running.input());
    assert!(running.ends().success(), "{}", running.said());
}
