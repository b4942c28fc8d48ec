//! A thousand candidates of one key, in four processes, of which each is stopped and started again within ten seconds.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use etcd_leader::{Config, Election, Ended, Event, Next, clock};

use super::counts::Counts;
use support::Cluster;
use support::children::Children;
use support::spawn::spawn;

const PROCESSES: usize = 4;
const EACH: usize = 250;
const WITHIN_MS: u64 = 10_000;

fn now_ms() -> u64 {
    clock::now().as_nanos() / 1_000_000
}

/// A line that a process says: when, which candidate, what.
fn next_line(from: &mut impl BufRead) -> Option<(u64, String)> {
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).expect("a line") == 0 {
            return None;
        }
        if let Some((at, words)) = line.split_once("@ ").and_then(|(_, line)| line.trim().split_once(' ')) {
            return Some((at.parse().expect("a time"), words.to_string()));
        }
    }
}

#[test]
#[ignore = "prints figures and takes a minute: make figures"]
fn a_thousand_restart() {
    let cluster = Cluster::single();
    let exe = std::env::current_exe().expect("this binary");
    let start = |number: usize| {
        let mut command = Command::new(&exe);
        command.args(["--exact", "restarts::process", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("EL_FIGURES_PART", format!("{}\n{number}", cluster.urls()[0]));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        spawn(command).expect("a process")
    };
    let begun = now_ms();
    let mut crowd = Children((0..PROCESSES).map(start).collect());
    let mut said: Vec<_> =
        crowd.0.iter_mut().map(|child| BufReader::new(child.stdout.take().expect("its output"))).collect();
    // All are in line.
    for from in &mut said {
        while next_line(from).expect("a process that lives").1 != "all" {}
    }
    println!("{:<44} {} ms", "1,000 candidates of a key: all in line", now_ms() - begun);
    std::thread::sleep(Duration::from_secs(5));
    let (before, begun) = (Counts::of(&cluster), now_ms());
    for child in &mut crowd.0 {
        child.stdin.as_mut().expect("its input").write_all(b"go\n").expect("it reads");
    }
    let mut terms: Vec<(u64, String)> = Vec::new();
    let (mut back, mut troubles, mut lost) = (0, 0, 0);
    for from in &mut said {
        loop {
            let (at, words) = next_line(from).expect("a process that lives");
            match words.as_str() {
                "all" => {
                    back = back.max(at);
                    break;
                }
                "retrying" => troubles += 1,
                "lost" => lost += 1,
                _ => terms.push((at, words)),
            }
        }
    }
    let each = Counts::of(&cluster).since(&before, (PROCESSES * EACH) as f64);
    terms.sort();
    let (mut gap, mut free_since) = (0, None);
    for (at, words) in &terms {
        if words == "elected" {
            gap = gap.max(free_since.take().map_or(0, |since| at - since));
        } else {
            free_since = Some(*at);
        }
    }
    println!(
        "{:<44} all back {} ms after the last; {:.1} requests and {:.1} messages of streams each; {} changes, at most {gap} ms without a leader; {lost} lost, {troubles} troubles",
        "1,000 restart within 10 s",
        (back - begun).saturating_sub(WITHIN_MS),
        each.requests,
        each.messages,
        terms.iter().filter(|(_, words)| words == "elected").count(),
    );
}

struct One {
    election: Election,
    /// It is stopped and started again at this time.
    restart_at: u64,
    is_served: bool,
    is_stopping: bool,
}

/// A part of the crowd.
#[test]
#[ignore = "a process of a_thousand_restart"]
fn process() {
    let Ok(words) = std::env::var("EL_FIGURES_PART") else { return };
    let (url, number) = words.split_once('\n').expect("two lines");
    let number: usize = number.parse().expect("a number");
    let start = |at: usize| {
        let name = format!("{number}-{at}");
        let config = Config { endpoints: vec![url.into()], key: "/crowd".into(), name, ..Config::default() };
        Election::start(&config).expect("a good config")
    };
    let one = |at| One { election: start(at), restart_at: u64::MAX, is_served: false, is_stopping: false };
    let mut all: Vec<One> = (0..EACH).map(one).collect();
    serve(&mut all, &start);
    println!("@ {} all", now_ms());
    std::io::stdin().read_line(&mut String::new()).expect("a word");
    let begun = now_ms();
    for (at, one) in all.iter_mut().enumerate() {
        // In another order than they stand in line.
        let slot = (at * 97 % EACH * PROCESSES + number) as u64;
        one.restart_at = begun + slot * WITHIN_MS / (EACH * PROCESSES) as u64;
        one.is_served = false;
    }
    serve(&mut all, &start);
    println!("@ {} all", now_ms());
    std::io::stdin().read_line(&mut String::new()).expect("a word");
}

/// Restarts each when its time has come, until all are served.
fn serve(all: &mut [One], start: &dyn Fn(usize) -> Election) {
    while all.iter().any(|one| !one.is_served) {
        for (at, one) in all.iter_mut().enumerate() {
            if now_ms() >= one.restart_at {
                one.restart_at = u64::MAX;
                one.election.stop();
                one.is_stopping = true;
            }
            loop {
                match one.election.try_next().expect("no fork") {
                    Next::Event(Event::Elected { .. }) => println!("@ {} elected", now_ms()),
                    Next::Event(Event::Unelected { .. }) => {
                        println!("@ {} {}", now_ms(), if one.is_stopping { "unelected" } else { "lost" })
                    }
                    Next::Event(Event::Leader(Some(_))) if !one.is_stopping && one.restart_at == u64::MAX => {
                        one.is_served = true;
                    }
                    Next::Event(Event::Retrying(Some(_))) => println!("@ {} retrying", now_ms()),
                    Next::Event(Event::Ended(Ended { why: Some(why), .. })) if !one.is_stopping => panic!("{why}"),
                    Next::Event(_) => {}
                    Next::Nothing => break,
                    Next::Ended => {
                        one.election = start(at);
                        one.is_stopping = false;
                        break;
                    }
                }
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
