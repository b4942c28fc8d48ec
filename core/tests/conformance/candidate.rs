//! A candidate in a process of its own: this very test binary, started again.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd_leader::config::Secret;
use etcd_leader::{Api, Config, Election, Ended, ErrorKind, Event, Next, clock};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use support::{Cluster, Waits, freeze, spawn::spawn, wait_for};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Something a candidate said, and when (milliseconds on the clock that all processes share).
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) at_ms: u64,
    pub(crate) words: String,
}

pub(crate) struct Candidate {
    pub(crate) name: String,
    child: Child,
    stdin: ChildStdin,
    said: Receiver<Said>,
    log: Arc<Mutex<Vec<Said>>>,
}

/// What a candidate is started with.
#[derive(Clone)]
pub(crate) struct Setup<'a> {
    pub(crate) urls: &'a [String],
    pub(crate) key: &'a str,
    pub(crate) ttl_s: u32,
    pub(crate) api: Api,
    /// What stands before the command, for a namespace.
    pub(crate) enter: &'a [String],
    /// A user of etcd's, and the password; none if they are empty.
    pub(crate) user: [&'a str; 2],
}

impl<'a> Setup<'a> {
    pub(crate) fn new(urls: &'a [String], key: &'a str, ttl_s: u32) -> Setup<'a> {
        Setup { urls, key, ttl_s, api: Api::V3, enter: &[], user: [""; 2] }
    }

    /// The same on this API.
    pub(crate) fn on(self, api: Api) -> Setup<'a> {
        Setup { api, ..self }
    }

    pub(crate) fn start(&self, name: &str) -> Candidate {
        let exe = std::env::current_exe().expect("this binary").into_os_string();
        let mut command = match self.enter {
            [] => Command::new(&exe),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(&exe);
                command
            }
        };
        command.args(["--exact", "candidate::process", "--ignored", "--nocapture", "--test-threads=1"]).env(
            "EL_TEST_CANDIDATE",
            format!(
                "{}\n{}\n{name}\n{}\n{:?}\n{}",
                self.urls.join(","),
                self.key,
                self.ttl_s,
                self.api,
                self.user.join("\n")
            ),
        );
        Candidate::run(name, command)
    }

    /// Starts candidates one after the other, each once the one before has its place. The first leads.
    pub(crate) fn line_up(&self, names: &[&str]) -> Vec<Candidate> {
        let mut line: Vec<Candidate> = Vec::new();
        for name in names {
            let one = self.start(name);
            one.hears(if line.is_empty() { "elected" } else { "leader" });
            line.push(one);
        }
        line
    }
}

impl Candidate {
    /// A process that says lines as [`say`] does, and listens to those of [`Candidate::tell`].
    pub(crate) fn run(name: &str, mut command: Command) -> Candidate {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command).expect("a candidate");
        let stdin = child.stdin.take().expect("its input");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, said) = channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        std::thread::spawn({
            let log = log.clone();
            move || {
                for line in stdout.lines().map_while(Result::ok) {
                    let Some((at, words)) = line.split_once("@ ").and_then(|(_, line)| line.split_once(' ')) else {
                        continue;
                    };
                    let said = Said { at_ms: at.parse().expect("a time"), words: words.to_string() };
                    log.lock().expect("the log").push(said.clone());
                    let _ = sender.send(said);
                }
            }
        });
        Candidate { name: name.to_string(), child, stdin, said, log }
    }

    /// Waits until it says something that starts with these words; gives what follows them, and when it was said.
    /// What it says before that is skipped.
    pub(crate) fn hears_at(&self, words: &str) -> (u64, String) {
        loop {
            match self.said.recv_timeout(PATIENCE) {
                Ok(said) => {
                    if let Some(rest) = said.words.strip_prefix(words) {
                        return (said.at_ms, rest.trim().to_string());
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("{} never says {words:?}: {:#?}", self.name, self.log()),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("{} ended without saying {words:?}: {:#?}", self.name, self.log())
                }
            }
        }
    }

    pub(crate) fn hears(&self, words: &str) -> String {
        self.hears_at(words).1
    }

    pub(crate) fn elected(&self) -> u64 {
        self.hears("elected").parse().expect("a token")
    }

    /// Whether it has ever said this so far.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        self.log().iter().any(|said| said.words.starts_with(words))
    }

    /// Whether it has ever told of a trouble so far. A busy machine alone makes answers late, which is told, too, and not meant.
    pub(crate) fn has_had_trouble(&self) -> bool {
        let is_trouble = |words: &str| words.starts_with("retrying") && !words.starts_with("retrying Timeout");
        self.log().iter().any(|said| is_trouble(&said.words))
    }

    pub(crate) fn log(&self) -> Vec<Said> {
        self.log.lock().expect("the log").clone()
    }

    fn tell(&mut self, words: &str) {
        writeln!(self.stdin, "{words}").expect("it listens");
    }

    /// Asks whether it leads; "yes" and the token, or "no".
    pub(crate) fn claims(&mut self) -> String {
        self.tell("claim");
        self.hears("claims")
    }

    /// Waits until its last renewal is a quarter of the ttl old at most. What is promised of one broken member assumes it, and a
    /// machine that is busy with another fault may have made a renewal late.
    pub(crate) fn wait_until_renewed(&mut self, ttl: Duration) {
        let margin = ttl / 5;
        let wanted = ttl - margin - ttl / 4;
        wait_for("a renewal", || {
            self.tell("left");
            let left = self.hears("left").parse().expect("milliseconds");
            (Duration::from_millis(left) >= wanted).then_some(())
        });
    }

    /// Asks, and does not wait for the answer.
    pub(crate) fn ask(&mut self) {
        self.tell("claim");
    }

    /// Asks it to stop, and waits until it has ended by itself.
    pub(crate) fn stop(&mut self) {
        self.tell("stop");
        self.hears("ended");
        self.child.wait().expect("its end");
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    /// kill -9; its last word is when.
    pub(crate) fn kill(&mut self) {
        kill(self.pid(), Signal::SIGKILL).expect("it runs");
        self.child.wait().expect("its end");
        let words = "killed".to_string();
        self.log.lock().expect("the log").push(Said { at_ms: now_ms(), words });
    }

    /// SIGSTOP, and the certainty that each of its threads stands still.
    pub(crate) fn freeze(&self) {
        freeze(self.pid());
    }

    pub(crate) fn thaw(&self) {
        kill(self.pid(), Signal::SIGCONT).expect("it runs");
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn now_ms() -> u64 {
    clock::now().as_nanos() / 1_000_000
}

/// Counts how long etcd and these candidates wait for a processor from now on.
pub(crate) fn waits(cluster: &Cluster, line: &[Candidate]) -> Waits {
    Waits::of(cluster.pids().into_iter().chain(line.iter().map(|one| one.pid().as_raw().unsigned_abs())))
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("not for centuries")
}

/// No two terms overlap, and tokens grow. A term begins when its leader says "elected" and ends with "unelected" or
/// death. (A candidate says so a moment after it is so: `frozen` ones, which could not speak, are judged by claims.)
pub(crate) fn check_terms(candidates: &[&Candidate]) {
    let mut terms: Vec<(u64, u64, u64, String)> = Vec::new();
    for candidate in candidates {
        let mut begun: Option<(u64, u64)> = None;
        for said in candidate.log() {
            let mut words = said.words.split(' ');
            match words.next() {
                Some("elected") => {
                    begun = Some((said.at_ms, words.next().expect("a token").parse().expect("a number")));
                }
                Some("unelected" | "killed") => {
                    if let Some((from, token)) = begun.take() {
                        terms.push((from, said.at_ms, token, candidate.name.clone()));
                    }
                }
                _ => {}
            }
        }
        terms.extend(begun.map(|(from, token)| (from, u64::MAX, token, candidate.name.clone())));
    }
    terms.sort();
    for pair in terms.windows(2) {
        assert!(pair[0].1 <= pair[1].0, "two lead at one time: {pair:?}");
        assert!(pair[0].2 < pair[1].2, "the token of a later term is not larger: {pair:?}");
    }
}

fn say(words: &str) {
    println!("@ {} {words}", now_ms());
}

/// Not a test: what a [`Candidate`]'s process runs.
#[test]
#[ignore = "runs only in the processes that other tests start"]
fn process() {
    let setup = std::env::var("EL_TEST_CANDIDATE").expect("started by another test");
    let [urls, key, name, ttl_s, api, username, password] = setup.split('\n').collect::<Vec<_>>()[..] else {
        panic!("seven lines: {setup:?}")
    };
    let given = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
    let config = Config {
        endpoints: urls.split(',').map(str::to_string).collect(),
        key: key.into(),
        name: name.into(),
        ttl_s: ttl_s.parse().expect("a ttl"),
        api: if api == "V2" { Api::V2 } else { Api::V3 },
        username: given(username),
        password: given(password).map(Secret::new),
        ..Config::default()
    };
    let election = Arc::new(Election::start(&config).expect("a good config"));
    std::thread::spawn({
        let election = Arc::downgrade(&election);
        move || {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                let Some(election) = election.upgrade() else { return };
                match (line.as_str(), election.token()) {
                    ("stop", _) => election.stop(),
                    ("claim", Some(token)) => say(&format!("claims yes {token}")),
                    ("claim", None) => say("claims no"),
                    ("left", _) => say(&format!("left {}", election.time_left().as_millis())),
                    _ => panic!("{line:?} is no command"),
                }
            }
        }
    });
    loop {
        match election.next(None).expect("no fork") {
            Next::Nothing => {}
            Next::Ended => break,
            Next::Event(Event::Elected { token }) => say(&format!("elected {token}")),
            Next::Event(Event::Unelected { why }) => say(&format!("unelected {:?}", why.kind())),
            Next::Event(Event::Leader(Some(leader))) => say(&format!("leader {}", leader.name)),
            Next::Event(Event::Leader(None)) => say("leader -"),
            Next::Event(Event::Retrying(Some(trouble))) => {
                let endpoint = trouble.endpoint.and_then(|at| election.endpoint(at));
                let endpoint = endpoint.map_or("-".to_string(), ToString::to_string);
                say(&format!("retrying {:?} {endpoint} {}", trouble.error.kind(), trouble.error));
            }
            Next::Event(Event::Retrying(None)) => say("fine"),
            Next::Event(Event::Ended(Ended { why, released })) => match why {
                None => say(&format!("ended Held {released}")),
                Some(why) if is_of_a_term(why.kind()) => say(&format!("ended {:?} {released}", why.kind())),
                Some(why) => say(&format!("failed {:?} {why}", why.kind())),
            },
            Next::Event(other) => panic!("{other:?}"),
        }
    }
    // The thread that listens may hold it a moment longer; its end must come before this process's.
    let mut election = election;
    while let Err(held) = Arc::try_unwrap(election) {
        election = held;
        std::thread::yield_now();
    }
    say("ended");
}

/// Whether it says how a term ended, and not why the election cannot go on.
fn is_of_a_term(kind: ErrorKind) -> bool {
    use ErrorKind::*;
    matches!(kind, Stopped | Overrun | Deadline | KeyLost | LeaseLost)
}
