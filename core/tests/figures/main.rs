//! `make figures`: what it costs, beside what etcd alone costs in the same run. Not a test: nothing is judged by time.

#![allow(clippy::print_stdout)]

#[path = "../backend_v3/bench.rs"]
#[allow(dead_code)]
mod bench;
mod chart;
mod counts;
mod crowd;
mod fresh;
mod many;
mod one_key;
mod peers;
mod restarts;
use std::fs;
use std::time::{Duration, Instant};

use bench::{Bench, PREFIX, own};
use etcd_leader::machine::Op;
use etcd_leader::{Config, Election, Event, Next};
use support::{Cluster, cpu_ms};

const ROUNDS: usize = 300;

fn start(cluster: &Cluster, key: &str, name: &str) -> Election {
    let config =
        Config { endpoints: cluster.urls(), key: key.into(), name: name.into(), ttl_s: 10, ..Config::default() };
    Election::start(&config).expect("a good config")
}

fn until(election: &Election, wanted: impl Fn(&Event) -> bool) {
    loop {
        match election.next(Some(Duration::from_secs(20))).expect("no fork") {
            Next::Event(event) if wanted(&event) => return,
            Next::Event(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn elected(election: &Election) {
    until(election, |event| matches!(event, Event::Elected { .. }));
}

/// The leader stops, so long after its successor has learned who leads: the new leader, and how long that took.
fn turn(cluster: &Cluster, leader: &Election, (key, name): (&str, &str), joined: Duration) -> (Election, Duration) {
    let next = start(cluster, key, name);
    until(&next, |event| matches!(event, Event::Leader(Some(_))));
    std::thread::sleep(joined);
    let begun = Instant::now();
    leader.stop();
    until(leader, |event| matches!(event, Event::Unelected { .. }));
    let _ = leader.try_next();
    elected(&next);
    (next, begun.elapsed())
}

/// In milliseconds; 0 if there is none.
fn percentile(times: &[Duration], part: usize) -> f64 {
    let mut times = times.to_vec();
    times.sort();
    times.get(times.len().saturating_sub(1) * part / 100).map_or(0.0, Duration::as_secs_f64) * 1000.0
}

fn percentiles(times: Vec<Duration>) -> String {
    let at = |part| percentile(&times, part);
    format!("median {:7.3} ms   90 % {:7.3} ms   most {:7.3} ms", at(50), at(90), at(100))
}

fn show(what: &str, times: Vec<Duration>) {
    println!("{what:<44} {}", percentiles(times));
}

/// What etcd alone takes for a commit, and from a delete to its watch event, after such pauses.
fn floors(urls: &[String], rounds: usize, pause: Duration) -> (Vec<Duration>, Vec<Duration>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut bench = Bench::on(urls);
        let (link, _) = bench.open(0).await.expect("a link");
        let (mut commits, mut events) = (Vec::new(), Vec::new());
        for lease in 1..=i64::try_from(rounds).expect("a small number") {
            let begun = Instant::now();
            bench.granted(link, lease).await;
            commits.push(begun.elapsed());
            let (reply, _, seen) = bench.join(link, lease).await;
            let start = reply.stamp.revision + 1;
            let watch = bench.watch(link, PREFIX, b"/jobs/nightly0", start);
            bench.news(watch).await;
            let revision = seen.own.expect("our entry").revision;
            tokio::time::sleep(pause).await;
            let begun = Instant::now();
            bench.send(link, Op::Leave { key: own(lease), revision });
            bench.changes(watch).await;
            events.push(begun.elapsed());
            bench.send(link, Op::Unwatch { watch });
        }
        (commits, events)
    })
}

fn count(folder: &str, wanted: impl Fn(&fs::DirEntry) -> bool) -> usize {
    fs::read_dir(folder).expect("/proc").flatten().filter(wanted).count()
}

fn sockets() -> usize {
    count("/proc/self/fd", |entry| {
        fs::read_link(entry.path()).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    })
}

fn rss_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number")
}

fn resources(what: &str, elections: &[Election], before: (u64, usize, usize)) {
    let begun = cpu_ms(std::process::id());
    std::thread::sleep(Duration::from_secs(60));
    println!(
        "{what:<44} {} threads, {} connections, {} KiB more, {} ms of CPU in an idle minute",
        count("/proc/self/task", |_| true) - before.1,
        sockets() - before.2,
        rss_kib() - before.0,
        cpu_ms(std::process::id()) - begun
    );
    assert!(elections.iter().all(Election::is_leader));
}

#[test]
#[ignore = "prints figures and takes minutes: make figures"]
fn figures() {
    let cluster = Cluster::single();
    let (commits, events) = floors(&cluster.urls(), ROUNDS, Duration::ZERO);
    show("floor: one raft commit (LeaseGrant)", commits);
    show("floor: delete -> watch event", events);

    let warm = start(&cluster, "/warm", "warm");
    elected(&warm);
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let one = start(&cluster, &format!("/start/{round}"), "one");
        elected(&one);
        times.push(begun.elapsed());
    }
    show("start -> elected, session open", times);

    let mut times = Vec::new();
    let mut leader = start(&cluster, "/turns", "first");
    elected(&leader);
    for round in 0..ROUNDS {
        // The watch is set up in the moment after the place is known.
        let name = format!("next {round}");
        let (next, took) = turn(&cluster, &leader, ("/turns", &name), Duration::from_millis(5));
        times.push(took);
        leader = next;
    }
    show("stop -> the successor's elected", times);
    drop((leader, warm));

    let before = (rss_kib(), count("/proc/self/task", |_| true), sockets());
    let mut elections = vec![start(&cluster, "/many/first", "one")];
    elected(&elections[0]);
    resources("1 election", &elections, before);
    let begun = Instant::now();
    elections.extend((1..1000).map(|at| start(&cluster, &format!("/many/{at}"), "one")));
    elections.iter().skip(1).for_each(elected);
    println!("{:<44} {:.0} ms", "999 more, start -> all elected", begun.elapsed().as_secs_f64() * 1000.0);
    resources("1,000 elections", &elections, before);

    let asked: u32 = 10_000_000;
    let begun = Instant::now();
    let yes = (0..asked).filter(|_| elections[0].is_leader()).count();
    println!(
        "{:<44} {:.0} ns ({yes} of {asked} said yes)",
        "is_leader",
        begun.elapsed().as_secs_f64() * 1e9 / f64::from(asked)
    );
}
