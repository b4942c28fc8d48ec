//! Many candidates of one key, in four processes: one leader after another stops.

use std::collections::BTreeMap;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use etcd_leader::{Api, Config, Election, Ended, ErrorKind, Event, Next};

use super::counts::Counts;
use super::crowd::{Crowd, Kind, REST, SETTLED, Times, now};
use super::{floors, percentiles};
use support::{Cluster, cpu_ms};

const CHANGES: usize = 40;

/// The processor time of etcd.
pub(super) fn etcd_ms(cluster: &Cluster) -> u64 {
    cluster.pids().into_iter().map(cpu_ms).sum()
}

fn one_key(api: Api, count: usize) {
    let cluster = Cluster::of(1, if api == Api::V2 { &["--enable-v2=true"] } else { &[] });
    let (_, floor) = floors(&cluster.urls(), CHANGES, REST);
    let mut crowd = Crowd::start(&cluster.urls()[0], "/crowd", Kind::Rust(api), count);
    thread::sleep(Duration::from_secs(2));
    let (before, busy) = (Counts::of(&cluster), etcd_ms(&cluster));
    let mut times = Times::default();
    (0..CHANGES).for_each(|_| crowd.change(count, REST, &mut times));
    let (each, busy) = (Counts::of(&cluster).since(&before, CHANGES as f64), etcd_ms(&cluster) - busy);
    let name = format!("{count} of one key{}", if api == Api::V2 { ", v2" } else { "" });
    println!("{:<44} {}", format!("{name}: floor, a delete -> its watch event"), percentiles(floor));
    println!("{:<44} {}", format!("{name}: stop -> the successor's elected"), percentiles(times.next));
    println!("{:<44} {}", format!("{name}: 95 % of the others know it"), percentiles(times.told));
    println!(
        "{:<44} {:.1} requests, {:.1} messages of streams, {:.1} commits, {:.0} KiB of loopback, {:.1} ms of etcd's processor, {} not told",
        format!("{name}: one cycle"),
        each.requests,
        each.messages,
        each.commits,
        each.loopback_kib,
        busy as f64 / CHANGES as f64,
        times.untold,
    );
}

#[test]
#[ignore = "prints figures and takes a minute: make figures"]
fn two_to_a_hundred() {
    [2, 10, 100].into_iter().for_each(|count| one_key(Api::V3, count));
}

#[test]
#[ignore = "prints figures and takes a minute: make figures"]
fn two_to_a_hundred_on_v2() {
    [2, 100].into_iter().for_each(|count| one_key(Api::V2, count));
}

#[test]
#[ignore = "prints figures and takes half a minute: make figures"]
fn a_thousand() {
    one_key(Api::V3, 1000);
}

/// With the default ttl of 10 s, all that the process held runs out at about the same time.
#[test]
#[ignore = "prints figures and takes half a minute: make figures"]
fn a_process_of_250_is_killed() {
    const COUNT: usize = 1000;
    let cluster = Cluster::single();
    let mut crowd = Crowd::start(&cluster.urls()[0], "/crowd", Kind::Rust(Api::V3), COUNT);
    thread::sleep(SETTLED);
    let (gap, told, elections) = crowd.kill_leader(Duration::from_secs(12));
    println!("{:<44} {:.1} s, {elections} elections", "250 of 1,000 are killed: without a leader", gap.as_secs_f64());
    let untold = COUNT * 3 / 4 - told.len();
    println!("{:<44} {}, {untold} not told", "elected -> the others know it", percentiles(told));
}

/// A candidate of a process.
struct One {
    election: Election,
    name: String,
    /// Who leads, by its word, and since when.
    leader: Option<(String, u64)>,
}

fn campaign(url: &str, key: &str, name: &str, api: Api) -> Election {
    let config = Config { endpoints: vec![url.into()], key: key.into(), name: name.into(), api, ..Config::default() };
    Election::start(&config).expect("a good config")
}

/// A part of the crowd.
#[test]
#[ignore = "a process of one_key"]
fn process() {
    let Ok(words) = std::env::var("EL_FIGURES_PART") else { return };
    let mut words = words.split('\n');
    let (url, api) = (words.next().expect("a url"), words.next().expect("an API"));
    let (key, number, each) = (words.next().expect("a key"), words.next().expect("a number"), words.next());
    let api = if api == "V2" { Api::V2 } else { Api::V3 };
    let each: usize = each.and_then(|each| each.parse().ok()).expect("a number");
    println!("@ begun {}", now());
    let (due, rung) = channel();
    let start = |at: usize| {
        let name = format!("{number}-{at}");
        let election = campaign(url, key, &name, api);
        let hook = due.clone();
        election.on_due(move || _ = hook.send(Some(at)));
        // Something may have been due before.
        due.send(Some(at)).expect("it is read");
        One { election, name, leader: None }
    };
    let mut all: BTreeMap<usize, One> = (0..each).map(|at| (at, start(at))).collect();
    let typed = due.clone();
    let (orders, read) = channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = orders.send(line);
            let _ = typed.send(None);
        }
    });
    let (mut fresh, mut is_told) = (each, false);
    loop {
        match rung.recv().expect("a word") {
            Some(at) => {
                let Some(one) = all.get_mut(&at) else { continue };
                while let Next::Event(event) = one.election.try_next().expect("no fork") {
                    match event {
                        Event::Elected { .. } => {
                            one.leader = Some((one.name.clone(), now()));
                            println!("@ elected {} {}", now(), one.name);
                        }
                        Event::Leader(Some(leader)) => one.leader = Some((leader.name, now())),
                        Event::Ended(Ended { why: Some(why), .. }) if why.kind() != ErrorKind::Stopped => {
                            panic!("{why}")
                        }
                        _ => {}
                    }
                }
            }
            None => {
                let order = read.recv().expect("an order");
                let (word, rest) = order.split_once(' ').unwrap_or((&order, ""));
                match word {
                    "stop" => {
                        let leads = all.iter().find(|(_, one)| one.election.is_leader()).map(|(at, _)| *at);
                        let Some(one) = leads.and_then(|at| all.remove(&at)) else { continue };
                        let begun = now();
                        one.election.stop();
                        while let Next::Event(_) = one.election.try_next().expect("no fork") {}
                        let _ = one.election.try_next();
                        println!("@ stopped {begun}");
                        thread::spawn(move || one.election.close());
                    }
                    "told" => {
                        let known = all.values().filter_map(|one| one.leader.as_ref().filter(|known| known.0 == rest));
                        let times: Vec<String> = known.map(|(_, at)| at.to_string()).collect();
                        println!("@ told {}", times.join(" "));
                    }
                    "start" => {
                        let begun = now();
                        let one = campaign(url, rest, "one", api);
                        super::elected(&one);
                        println!("@ started {}", now() - begun);
                    }
                    "again" => {
                        all.insert(fresh, start(fresh));
                        fresh += 1;
                    }
                    other => panic!("{other:?} is no order"),
                }
            }
        }
        if !is_told && all.values().all(|one| one.leader.is_some()) {
            is_told = true;
            println!("@ all");
        }
    }
}
