//! Many candidates of one key, in four processes: one leader after another stops.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use etcd_leader::{Api, Config, Election, Event, Next, clock};

use super::counts::Counts;
use super::support::Cluster;
use super::support::children::Children;
use super::support::spawn::spawn;
use super::{cpu_ms, floors, percentiles};

const PROCESSES: usize = 4;
const CHANGES: usize = 40;
/// Between two changes: all is told by then.
const REST: Duration = Duration::from_millis(300);

fn now() -> u64 {
    clock::now().as_nanos()
}

/// The processes of a crowd, and what they say.
struct Crowd {
    children: Children,
    lines: Receiver<(usize, String)>,
}

impl Crowd {
    fn start(cluster: &Cluster, api: Api, count: usize) -> Crowd {
        let exe = std::env::current_exe().expect("this binary");
        let (said, lines) = channel();
        let processes = PROCESSES.min(count);
        let start = |number: usize| {
            let mut command = Command::new(&exe);
            command.args(["--exact", "one_key::process", "--ignored", "--nocapture", "--test-threads=1"]);
            let each = count / processes + usize::from(number < count % processes);
            command.env("EL_FIGURES_PART", format!("{}\n{api:?}\n{number}\n{each}", cluster.urls()[0]));
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = spawn(command).expect("a process");
            let output: ChildStdout = child.stdout.take().expect("its output");
            let said = said.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    if let Some((_, words)) = line.split_once("@ ") {
                        let _ = said.send((number, words.to_string()));
                    }
                }
            });
            child
        };
        let children = Children((0..processes).map(start).collect());
        let crowd = Crowd { children, lines };
        for _ in 0..processes {
            crowd.wait("all");
        }
        crowd
    }

    fn tell(&mut self, number: usize, words: &str) {
        let input = self.children.0[number].stdin.as_mut().expect("its input");
        writeln!(input, "{words}").expect("it reads");
    }

    /// The next line that begins with this word: whose, and the numbers that follow.
    fn wait(&self, word: &str) -> (usize, Vec<u64>) {
        loop {
            let (number, line) = self.lines.recv_timeout(Duration::from_secs(60)).expect("a process that lives");
            if let Some(rest) = line.strip_prefix(word) {
                return (number, rest.split_whitespace().filter_map(|word| word.parse().ok()).collect());
            }
        }
    }
}

/// Times of one size.
#[derive(Default)]
struct Times {
    next: Vec<Duration>,
    /// When 95 % of the others knew it.
    told: Vec<Duration>,
    untold: usize,
}

/// The leader stops, in whichever process it is; the others are asked when they knew the next one; and it joins again.
fn changes(crowd: &mut Crowd, count: usize) -> Times {
    let mut times = Times::default();
    let processes = crowd.children.0.len();
    for _ in 0..CHANGES {
        (0..processes).for_each(|number| crowd.tell(number, "stop"));
        let (leader, stopped) = crowd.wait("stopped ");
        let (_, elected) = crowd.wait("elected ");
        times.next.push(Duration::from_nanos(elected[0] - stopped[0]));
        thread::sleep(REST);
        let mut told = Vec::new();
        for number in 0..processes {
            crowd.tell(number, &format!("told {}", elected[1]));
            told.extend(crowd.wait("told").1.into_iter().map(|at| Duration::from_nanos(at.saturating_sub(stopped[0]))));
        }
        told.sort();
        times.untold += (count - 1).saturating_sub(told.len());
        times.told.extend(told.get(told.len().saturating_sub(1) * 95 / 100));
        crowd.tell(leader, "again");
        thread::sleep(REST);
    }
    times
}

/// The processor time of etcd.
fn etcd_ms(cluster: &Cluster) -> u64 {
    cluster.pids().into_iter().map(|pid| cpu_ms(&pid.to_string())).sum()
}

fn one_key(api: Api, count: usize) {
    let cluster = Cluster::of(1, if api == Api::V2 { &["--enable-v2=true"] } else { &[] });
    let (_, floor) = floors(&cluster, CHANGES, REST);
    let mut crowd = Crowd::start(&cluster, api, count);
    thread::sleep(Duration::from_secs(2));
    let (before, busy) = (Counts::of(&cluster), etcd_ms(&cluster));
    let times = changes(&mut crowd, count);
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

/// A candidate of a process.
struct One {
    election: Election,
    /// Who leads, by its word, and since when.
    leader: Option<(u64, u64)>,
}

/// A part of the crowd.
#[test]
#[ignore = "a process of one_key"]
fn process() {
    let Ok(words) = std::env::var("EL_FIGURES_PART") else { return };
    let mut words = words.split('\n');
    let (url, api) = (words.next().expect("a url"), words.next().expect("an API"));
    let (number, each) = (words.next().expect("a number"), words.next());
    let api = if api == "V2" { Api::V2 } else { Api::V3 };
    let each: usize = each.and_then(|each| each.parse().ok()).expect("a number");
    let (due, rung) = channel();
    let start = |at: usize| {
        let name = format!("{number}-{at}");
        let config = Config { endpoints: vec![url.into()], key: "/crowd".into(), name, api, ..Config::default() };
        let election = Election::start(&config).expect("a good config");
        let hook = due.clone();
        election.on_due(move || _ = hook.send(Some(at)));
        // Something may have been due before.
        due.send(Some(at)).expect("it is read");
        One { election, leader: None }
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
                        Event::Elected { token } => {
                            one.leader = Some((token, now()));
                            println!("@ elected {} {token}", now());
                        }
                        Event::Leader(Some(leader)) => one.leader = Some((leader.token, now())),
                        Event::Failed(error) => panic!("{error}"),
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
                        let token: u64 = rest.parse().expect("a token");
                        let known = all.values().filter_map(|one| one.leader.filter(|leader| leader.0 == token));
                        let times: Vec<String> = known.map(|(_, at)| at.to_string()).collect();
                        println!("@ told {}", times.join(" "));
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
