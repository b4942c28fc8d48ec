//! Very many elections of one process, each of a key of its own.

use std::process::Command;
use std::time::{Duration, Instant};

use etcd_leader::machine::Op;
use etcd_leader::{Config, Election, Event, Next};

use super::bench::Bench;
use super::rss_kib;
use support::Cluster;
use support::children::Children;
use support::spawn::spawn;

/// Joins of this many keys, a window of them under way at a time: what the store and our own backend need for it.
fn floor(cluster: &Cluster, count: usize) -> Duration {
    const WINDOW: usize = 128;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (mut bench, link) = Bench::linked(cluster).await;
        bench.granted(link, 1).await;
        let begun = Instant::now();
        let mut asked = Vec::new();
        for at in 0..count {
            let prefix = format!("/floor/{at}/").into_bytes();
            let own = [&prefix[..], b"1"].concat();
            asked.push(bench.send(link, Op::Join { prefix, own, name: b"one".to_vec(), lease: 1 }));
            if at >= WINDOW {
                bench.reply(asked[at - WINDOW]).await.expect("a join");
            }
        }
        for id in asked.split_off(count - WINDOW) {
            bench.reply(id).await.expect("a join");
        }
        begun.elapsed()
    })
}

/// The bytes that the process has allocated and not yet freed.
fn heap() -> usize {
    // SAFETY: the call only reads the allocator's own figures.
    #[allow(unsafe_code)]
    let all = unsafe { libc::mallinfo2() };
    all.uordblks + all.hblkhd
}

/// Starts so many at once, lets them lead for three ttls, and stops them.
fn many(count: usize, ttl_s: u32) {
    let cluster = Cluster::single();
    let floor = floor(&cluster, count);
    println!("{:<44} {:.0} ms", format!("floor: {count} joins, 128 at a time"), floor.as_secs_f64() * 1000.0);
    let before = (rss_kib(), heap());
    let begun = Instant::now();
    let elections: Vec<Election> = (0..count)
        .map(|at| {
            let key = format!("/crowd/{at}");
            let config = Config { endpoints: cluster.urls(), key, name: "one".into(), ttl_s, ..Config::default() };
            Election::start(&config).expect("a good config")
        })
        .collect();
    let (mut lost, mut troubles) = (0, 0);
    let mut hear = |election: &Election, wait: Duration| {
        let mut is_elected = false;
        loop {
            match election.next(Some(wait)).expect("no fork") {
                Next::Event(Event::Elected { .. }) => is_elected = true,
                Next::Event(Event::Unelected { why }) => {
                    lost += 1;
                    println!("lost after {:?}: {why}", begun.elapsed());
                }
                Next::Event(Event::Retrying(Some(_))) => troubles += 1,
                Next::Event(_) => {}
                _ => return is_elected,
            }
            if is_elected && !wait.is_zero() {
                return true;
            }
        }
    };
    let all = elections.iter().filter(|election| hear(election, Duration::from_secs(60))).count();
    let took = begun.elapsed();
    std::thread::sleep(Duration::from_secs(3 * u64::from(ttl_s)));
    for election in &elections {
        hear(election, Duration::ZERO);
    }
    let lead = elections.iter().filter(|election| election.is_leader()).count();
    println!(
        "{:<44} {:.0} ms, {:.2} times the floor; {all} elected, {lead} lead three ttls later, {lost} lost, {troubles} troubles",
        format!("{count} elections at ttl {ttl_s}, start -> all elected"),
        took.as_secs_f64() * 1000.0,
        took.as_secs_f64() / floor.as_secs_f64(),
    );
    println!(
        "{:<44} {} KiB resident, {:.1} KiB of live heap",
        "each of them",
        (rss_kib() - before.0) / count as u64,
        (heap() - before.1) as f64 / 1024.0 / count as f64,
    );
    let begun = Instant::now();
    elections.iter().for_each(Election::close);
    drop(elections);
    println!("{:<44} {:.0} ms", "all stopped", begun.elapsed().as_secs_f64() * 1000.0);
}

#[test]
#[ignore = "prints figures and takes a minute: make figures"]
fn ten_thousand_elections() {
    many(10_000, 5);
}

/// So many processes that compute, until they are dropped.
fn busy(count: usize) -> Children {
    let one = |_| {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done"]);
        spawn(command).expect("a shell")
    };
    Children((0..count).map(one).collect())
}

#[test]
#[ignore = "prints figures and takes a minute: make figures"]
fn ten_thousand_elections_beside_eight_busy_processes() {
    let _busy = busy(8);
    many(10_000, 10);
}

#[test]
#[ignore = "prints figures and takes minutes: make figures"]
fn a_hundred_thousand_elections() {
    many(100_000, 30);
}
