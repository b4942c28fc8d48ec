//! The test harness itself: what other tests rely on without looking.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use support::netns::{Network, Place};
use support::port::listen_on;
use support::proxy::Way;
use support::{Cluster, PATIENCE, Port, Proxy, wait_for};

#[test]
fn members_are_killed_frozen_wiped_and_gone_with_the_test() {
    let mut cluster = Cluster::three();
    let leader = cluster.raft_leader();
    cluster.etcdctl(&["put", "a", "1"]);
    cluster.member(leader).freeze();
    let next = wait_for("another raft leader", || Some(cluster.raft_leader()).filter(|now| *now != leader));
    assert!(!cluster.member(leader).is_healthy());
    cluster.member(leader).thaw();
    cluster.member(leader).wait_until_healthy();
    cluster.member(next).kill();
    cluster.member(next).start();
    assert_eq!(cluster.etcdctl(&["get", "a", "--print-value-only"]), "1\n", "the data was kept");
    cluster.wipe();
    assert_eq!(cluster.etcdctl(&["get", "a", "--print-value-only"]), "");

    let (pid, directory) = (cluster.member(0).pid().expect("it runs"), cluster.directory().to_owned());
    drop(cluster);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists() && !directory.exists());
}

/// Raft elects nobody before the election timeout (one second) has passed since the last heartbeat (each 100 ms).
#[test]
fn raft_is_watched_through_the_members_that_are_left() {
    let mut cluster = Cluster::three();
    let leader = cluster.raft_leader();
    let undisturbed = wait_for("raft to keep its leader for a while", || {
        let watch = cluster.watch_raft_without((leader + 1) % 3);
        std::thread::sleep(Duration::from_secs(1));
        Some(watch.ends()).filter(|story| story.without_leader < Duration::from_millis(500))
    });
    assert!(undisturbed.obliges(), "{undisturbed}");

    let watch = cluster.watch_raft_without(leader);
    cluster.member(leader).freeze();
    let next = wait_for("another raft leader", || Some(cluster.raft_leader()).filter(|now| *now != leader));
    let changed = watch.ends();
    assert!(changed.without_leader >= Duration::from_millis(800), "{changed}");

    let watch = cluster.watch_raft_without(leader);
    cluster.member(next).freeze();
    std::thread::sleep(Duration::from_secs(1));
    cluster.member(next).kill();
    let never = watch.ends();
    assert!(!never.obliges() && never.without_leader >= Duration::from_secs(1), "{never}");
}

#[test]
fn the_proxy_does_what_it_is_told() {
    let proxy = Proxy::before(echo());
    let connect = || TcpStream::connect_timeout(&proxy.address(), Duration::from_secs(1));
    let mut client = connect().expect("connected");
    assert_eq!(echoed(&mut client), Some(b'x'));

    proxy.hold(Way::ToClient);
    assert_eq!(echoed_within(&mut client, Duration::from_millis(500)), None);
    client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    proxy.pass();
    let mut held = [0];
    client.read_exact(&mut held).expect("what was held");

    proxy.delay(Duration::from_millis(100));
    let begun = Instant::now();
    assert_eq!(echoed(&mut client), Some(b'x'));
    assert!(begun.elapsed() >= Duration::from_millis(200), "once each way");

    proxy.refuse();
    wait_for("a refusal", || connect().is_err().then_some(()));
    proxy.pass();
    assert_eq!(echoed(&mut client), Some(b'x'), "the connection went on");
    let mut other = wait_for("a connection", || connect().ok());
    assert_eq!(echoed(&mut other), Some(b'x'));
    proxy.reset();
    let error = wait_for("a reset", || client.write_all(b"x").and_then(|()| client.read_exact(&mut held)).err());
    assert!(matches!(error.kind(), std::io::ErrorKind::ConnectionReset | std::io::ErrorKind::BrokenPipe), "{error}");
}

#[test]
fn a_port_is_given_to_nobody_else_and_may_be_listened_on() {
    let ours = Port::new();
    let refused = TcpStream::connect(ours.address()).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    for _ in 0..2 {
        let listener = listen_on(ours.address());
        drop(TcpStream::connect(ours.address()).expect("connected"));
        drop(listener.accept().expect("accepted"));
    }
    // In a network of this thread's own, which has two ports.
    let in_a_small_network = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40001").expect("two ports");
        let any = Ipv4Addr::UNSPECIFIED;
        let (ours, other) = (Port::at(any.into()), TcpListener::bind((any, 0)).expect("the other port"));
        assert_ne!(other.local_addr().expect("its address"), ours.address());
        let full = TcpListener::bind((any, 0)).expect_err("both ports are taken");
        assert_eq!(full.kind(), std::io::ErrorKind::AddrInUse);
        drop(ours);
        // A process that a test beside this one is starting has our socket until it runs its program.
        wait_for("a port that is free again", || TcpListener::bind((any, 0)).ok());
    };
    std::thread::spawn(in_a_small_network).join().expect("no panic");
}

/// Who counts on it resets a hundred at once and waits for them to come back, as `a_thousand_resets_and_no_sigpipe` does.
#[test]
fn what_the_proxy_has_counted_it_resets() {
    for round in 0..50 {
        let proxy = Proxy::before(echo());
        let mut clients: Vec<_> = (0..100).map(|_| TcpStream::connect(proxy.address()).expect("connected")).collect();
        // No sleep: the moment at which the last has been counted is the one that matters.
        while proxy.connections() < clients.len() {
            std::thread::yield_now();
        }
        proxy.reset();
        for (at, client) in clients.iter_mut().enumerate() {
            client.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
            let error = client.read_exact(&mut [0]).expect_err("nothing was sent");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "round {round}, connection {at}: {error}");
        }
    }
}

/// Sends a byte, and gives what comes back.
fn echoed(client: &mut TcpStream) -> Option<u8> {
    echoed_within(client, PATIENCE)
}

fn echoed_within(client: &mut TcpStream, patience: Duration) -> Option<u8> {
    client.set_read_timeout(Some(patience)).expect("a timeout");
    client.write_all(b"x").expect("sent");
    let mut answer = [0];
    client.read_exact(&mut answer).ok().map(|()| answer[0])
}

fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut client.try_clone().expect("a clone"), &mut client));
        }
    });
    address
}

#[test]
fn networks_are_cut_and_healed_and_leave_nothing() {
    let mut network = Network::new(3);
    let mut cluster = network.cluster(&[]);
    let leader = cluster.raft_leader();
    let (one, other) = ((leader + 1) % 3, (leader + 2) % 3);
    network.cut(Place::Member(leader), Place::Member(one));
    network.cut(Place::Member(leader), Place::Member(other));
    wait_for("the others to elect one of them", || Some(cluster.raft_leader()).filter(|now| *now != leader));
    assert!(!cluster.member(leader).is_healthy(), "it is reached, and alone");
    network.heal_all();
    cluster.member(leader).wait_until_healthy();

    network.cut(Place::Here, Place::Member(0));
    assert!(!cluster.member(0).is_healthy());
    let health = |network: &Network| {
        let enter = network.enter(Place::Client(0));
        let url = format!("--endpoints=http://{}:2379", network.address(Place::Member(0)));
        let mut command = Command::new(&enter[0]);
        command.args(&enter[1..]).arg(support::etcdctl_binary()).env("ETCDCTL_API", "3");
        command
            .args([&url, "--dial-timeout=1s", "--command-timeout=1s", "get", "a"])
            .output()
            .expect("etcdctl")
            .status
            .success()
    };
    wait_for("clients to be served", || health(&network).then_some(()));
    network.isolate(Place::Member(0));
    assert!(!health(&network));
    network.heal_all();
    wait_for("all to be healed", || health(&network).then_some(()));

    drop(cluster);
    let name = format!("el-{}-", std::process::id());
    drop(network);
    let left = Command::new("ip").args(["netns", "list"]).output().expect("ip");
    assert!(!String::from_utf8_lossy(&left.stdout).contains(&name));
}
