//! A crowd: many candidates of one key, in a few processes of one library. `peers/README.md` has the lines that they are told and say.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use etcd_leader::Api;

use support::children::Children;
use support::spawn::spawn;

const PROCESSES: usize = 4;
/// The pause after each step of a change on this machine: all is told by then.
pub(super) const REST: Duration = Duration::from_millis(300);
/// The pause after the last of a crowd has joined: where many join together, our watch for announcements begins two seconds later.
pub(super) const SETTLED: Duration = Duration::from_secs(3);

/// The time on the clock of all processes, in nanoseconds.
pub(super) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    Duration::from(time).as_nanos().try_into().expect("a machine that was just started")
}

/// The library that the candidates of a crowd are made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rust(Api),
    C,
    Node,
    Python,
    Go,
    /// The crate etcd-client, which campaigns through etcd's Election service.
    Service,
    /// `etcdctl elect`, a process for each candidate.
    Etcdctl,
    Etcd3,
    Original,
}

fn checkout() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Rust(Api::V2) => "etcd-leader, Rust, API v2",
            Kind::Rust(_) => "etcd-leader, Rust",
            Kind::C => "etcd-leader, C",
            Kind::Node => "etcd-leader, Node.js",
            Kind::Python => "etcd-leader, Python",
            Kind::Go => "Go concurrency.Election",
            Kind::Service => "crate etcd-client, Election service",
            Kind::Etcdctl => "etcdctl elect",
            Kind::Etcd3 => "npm etcd3 1.1.2",
            Kind::Original => "npm etcd-leader 0.0.1, API v2",
        }
    }

    pub(super) fn is_ours(self) -> bool {
        matches!(self, Kind::Rust(_) | Kind::C | Kind::Node | Kind::Python)
    }

    /// The most candidates whose changes it is asked to carry. Among a hundred the circuit breaker of etcd3 opens when the leader
    /// leaves, and its process ends; the crowd of etcd-client stands still after the first change, for a reason that was not
    /// found; and a hundred processes of etcdctl would measure the machine. On API v2 a hundred show how the cost grows.
    pub(super) fn most(self) -> usize {
        match self {
            Kind::Etcd3 | Kind::Service | Kind::Etcdctl => 10,
            Kind::Original | Kind::Rust(Api::V2) => 100,
            Kind::Rust(_) | Kind::C | Kind::Node | Kind::Python | Kind::Go => usize::MAX,
        }
    }

    /// True if it is built for a whole run alone: it has dependencies of its own, and needs protoc.
    pub(super) fn is_for_whole_runs(self) -> bool {
        self == Kind::Service
    }

    /// True if the server must have API v2.
    pub(super) fn needs_v2(self) -> bool {
        matches!(self, Kind::Rust(Api::V2) | Kind::Original)
    }

    fn command(self, url: &str, key: &str, number: usize, count: usize) -> Command {
        let peers = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/figures/peers"));
        let built = checkout().join("target/bench");
        let run = |program: &str, script: PathBuf| {
            let mut command = Command::new(program);
            command.arg(script);
            command
        };
        let mut command = match self {
            Kind::Rust(api) => {
                let mut command = Command::new(std::env::current_exe().expect("this binary"));
                command.args(["--exact", "one_key::process", "--ignored", "--nocapture", "--test-threads=1"]);
                let words = format!("{url}\n{api:?}\n{key}\n{number}\n{count}");
                command.env("EL_FIGURES_PART", words);
                return command;
            }
            Kind::C => Command::new(built.join("ours-c")),
            Kind::Go => Command::new(built.join("go")),
            Kind::Service => Command::new(built.join("etcd-client")),
            Kind::Node => run("node", peers.join("ours.js")),
            Kind::Etcd3 => run("node", peers.join("etcd3.js")),
            Kind::Original => run("node", peers.join("original.js")),
            Kind::Python => run("python3", peers.join("ours.py")),
            Kind::Etcdctl => run("python3", peers.join("etcdctl.py")),
        };
        command.env("PYTHONPATH", checkout().join("examples/python"));
        command.env("ETCD_LEADER_LIBRARY", checkout().join("target/release/libetcd_leader.so"));
        command.args([url, key, &number.to_string(), &count.to_string()]);
        command
    }
}

/// The processes of a crowd, and what they say.
pub(super) struct Crowd {
    kind: Kind,
    children: Children,
    lines: Receiver<(usize, String)>,
    /// Lines that came while another one was waited for: two processes may be heard in another order than they spoke in.
    early: Vec<(usize, String)>,
    /// The process that the leader is in.
    leader: usize,
}

impl Crowd {
    /// A crowd whose candidates all know who leads.
    pub(super) fn start(url: &str, key: &str, kind: Kind, count: usize) -> Crowd {
        let (said, lines) = channel();
        let processes = PROCESSES.min(count);
        let start = |number: usize| {
            let each = count / processes + usize::from(number < count % processes);
            let mut command = kind.command(url, key, number, each);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = spawn(command).unwrap_or_else(|error| panic!("{kind:?}: {error}; see .ci/peers"));
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
        let mut crowd = Crowd { kind, children, lines, early: Vec::new(), leader: 0 };
        for _ in 0..processes {
            crowd.wait("all");
        }
        crowd
    }

    pub(super) fn tell(&mut self, number: usize, words: &str) {
        let input = self.children.0[number].stdin.as_mut().expect("its input");
        writeln!(input, "{words}").expect("it reads");
    }

    /// The next line that begins with this word: whose, and the words that follow.
    pub(super) fn wait(&mut self, word: &str) -> (usize, Vec<String>) {
        let begins = |(_, line): &(usize, String)| line.split_whitespace().next() == Some(word);
        loop {
            if let Some(at) = self.early.iter().position(begins) {
                let (number, line) = self.early.remove(at);
                return (number, line.split_whitespace().skip(1).map(str::to_string).collect());
            }
            match self.lines.recv_timeout(Duration::from_secs(60)) {
                Ok(line) => self.early.push(line),
                Err(error) => panic!("{:?} has not said {word:?}: {error}; it said {:?}", self.kind, self.early),
            }
        }
    }

    /// Forgets the lines about the change before. They may tell of another leader.
    fn settle(&mut self) {
        for (number, line) in self.early.drain(..).chain(self.lines.try_iter()) {
            if line.starts_with("elected ") {
                self.leader = number;
            }
        }
    }

    /// The leader stops; the others are asked when they knew the next one; and it joins again. Its process alone is told to stop:
    /// another might have the next leader by the time that it reads the line.
    /// `rest` is the pause after each step.
    pub(super) fn change(&mut self, count: usize, rest: Duration, times: &mut Times) {
        self.settle();
        let leader = self.leader;
        self.tell(leader, "stop");
        let (_, stopped) = self.wait("stopped");
        let (next, elected) = self.wait("elected");
        self.leader = next;
        let stopped = number(&stopped[0]);
        times.next.push(Duration::from_nanos(number(&elected[0]).saturating_sub(stopped)));
        thread::sleep(rest);
        let told = self.told(&elected[1], stopped, |_| true);
        times.untold += (count - 1).saturating_sub(told.len());
        times.told.extend(told.get(told.len().saturating_sub(1) * 95 / 100));
        self.tell(leader, "again");
        thread::sleep(rest);
    }

    /// The times from `since` until each candidate of these processes knew that this one leads, in order.
    fn told(&mut self, name: &str, since: u64, is_asked: impl Fn(usize) -> bool) -> Vec<Duration> {
        let mut told = Vec::new();
        for process in (0..self.children.0.len()).filter(|process| is_asked(*process)) {
            self.tell(process, &format!("told {name}"));
            told.extend(self.wait("told").1.iter().map(|at| Duration::from_nanos(number(at).saturating_sub(since))));
        }
        told.sort();
        told
    }

    /// Kills the leader's process. Gives the time without a leader, the times from the election until each of the others knew it,
    /// and the number of elections until `rest` was over.
    pub(super) fn kill_leader(&mut self, rest: Duration) -> (Duration, Vec<Duration>, usize) {
        self.settle();
        let killed = self.leader;
        let begun = now();
        self.children.0[killed].kill().expect("it runs");
        let (next, elected) = self.wait("elected");
        self.leader = next;
        thread::sleep(rest);
        let at = number(&elected[0]);
        let told = self.told(&elected[1], at, |process| process != killed);
        let more = self.early.iter().filter(|(_, line)| line.starts_with("elected ")).count();
        (Duration::from_nanos(at - begun), told, 1 + more)
    }
}

fn number(word: &String) -> u64 {
    word.parse().unwrap_or_else(|_| panic!("{word} is no number"))
}

/// Times of one size.
#[derive(Default)]
pub(super) struct Times {
    pub(super) next: Vec<Duration>,
    /// When 95 % of the others knew it.
    pub(super) told: Vec<Duration>,
    pub(super) untold: usize,
}
