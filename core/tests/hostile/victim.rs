//! Elections in a process of its own, this very test binary started again: what they do to its memory is measured, and
//! a panic anywhere in it, which the engine would hide, is its end.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use etcd_leader::config::Secret;
use etcd_leader::{Api, Config, Election, Ended, Event, Next};

use super::spawn::spawn;

/// How long a stop may take by its configuration, and how much longer it may on a busy machine: the engine may be
/// reading an answer of 64 MiB, which a build for tests does without optimisation.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);
const SLACK: Duration = Duration::from_secs(10);
/// How long the election on a good server may take to lead beside all others.
const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const KEY: &str = "/jobs/nightly";
pub(crate) const NAME: &str = "one";
pub(crate) const USER: &str = "host-1";
/// In no message, whoever says it.
pub(crate) const PASSWORD: &str = "Planted-Swordfish-5";
/// Of any message: the key or the user may be in it several times, but not what a server likes to say.
const MAX_MESSAGE_BYTES: usize = 4096;

/// The process; another one after it has died.
#[derive(Default)]
pub(crate) struct Victim(RefCell<Option<Process>>);

struct Process {
    child: Child,
    orders: ChildStdin,
    said: BufReader<ChildStdout>,
}

/// What became of the elections.
#[derive(Debug)]
pub(crate) struct Report {
    /// The most memory that the process ever had, in KiB.
    pub(crate) peak_kib: u64,
    /// One of them led at some time, beside the one on the good server.
    pub(crate) led: bool,
    /// What they were told.
    pub(crate) messages: String,
}

impl Victim {
    /// Runs an election on each of these for a while, beside one on the good server, which must lead meanwhile; all
    /// must end in time.
    pub(crate) fn run(&self, api: Api, with_login: bool, a_while: Duration, urls: &[String], good: &str) -> Report {
        self.run_until_told(api, with_login, a_while, a_while, urls, good)
    }

    /// The same, until each was told of some trouble: no shorter than `least` and no longer than `most`.
    pub(crate) fn run_until_told(
        &self,
        api: Api,
        with_login: bool,
        least: Duration,
        most: Duration,
        urls: &[String],
        good: &str,
    ) -> Report {
        let (least, most, urls) = (least.as_millis(), most.as_millis(), urls.join(","));
        let order = format!("{api:?} {with_login} {least} {most} {urls} {good}");
        // Gone if it fails.
        let mut process = self.0.take().unwrap_or_else(Process::start);
        let report = process.run(&order);
        self.0.replace(Some(process));
        report
    }
}

impl Process {
    fn start() -> Process {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args(["--exact", "victim::process", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env("EL_TEST_VICTIM", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = spawn(command).expect("a victim");
        let orders = child.stdin.take().expect("its input");
        let said = BufReader::new(child.stdout.take().expect("its output"));
        Process { child, orders, said }
    }

    fn run(&mut self, order: &str) -> Report {
        writeln!(self.orders, "{order}").expect("it listens");
        let mut messages = String::new();
        loop {
            let mut line = String::new();
            let read = self.said.read_line(&mut line).expect("its words");
            assert!(read > 0, "the process died: {:?}, {messages}", self.child.wait());
            let Some((_, said)) = line.trim_end().split_once("@ ") else { continue };
            match said.split_once(' ').expect("two words") {
                ("panic", what) => panic!("the library panicked: {what}; {messages}"),
                ("wrong", what) => panic!("{what}; {messages}"),
                ("message", what) => messages += &format!("\n  {what}"),
                ("done", rest) => {
                    let (led, peak) = rest.split_once(' ').expect("two words");
                    return Report { peak_kib: peak.parse().expect("a number"), led: led == "true", messages };
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn say(words: &str) {
    println!("@ {}", words.replace('\n', "\\n"));
}

/// Not a test: what a [`Victim`]'s process runs.
#[test]
#[ignore = "runs only in the processes that other tests start"]
fn process() {
    std::env::var("EL_TEST_VICTIM").expect("started by another test");
    std::panic::set_hook(Box::new(|what| {
        say(&format!("panic {what}"));
        std::process::abort();
    }));
    for order in std::io::stdin().lines().map_while(Result::ok) {
        let [api, with_login, least, most, urls, good] = order.split(' ').collect::<Vec<_>>()[..] else {
            panic!("six words: {order:?}")
        };
        let api = if api == "V2" { Api::V2 } else { Api::V3 };
        let [least, most] = [least, most].map(|ms| Duration::from_millis(ms.parse().expect("milliseconds")));
        let elections: Vec<_> = urls.split(',').map(|url| Heard::start(api, with_login == "true", url)).collect();
        suffer(elections, Heard::start(api, false, good), least, most);
    }
}

/// An election and what it told.
struct Heard {
    election: Election,
    /// Its servers know the password.
    has_login: bool,
    has_led: bool,
    messages: Vec<String>,
}

impl Heard {
    fn start(api: Api, with_login: bool, url: &str) -> Heard {
        let login = with_login.then(|| (USER.to_string(), Secret::new(PASSWORD)));
        let (username, password) = login.unzip();
        let config = Config {
            endpoints: vec![url.into()],
            key: KEY.into(),
            name: NAME.into(),
            api,
            stop_timeout_ms: u32::try_from(STOP_TIMEOUT.as_millis()).expect("short"),
            username,
            password,
            ..Config::default()
        };
        let election = Election::start(&config).expect("a good config");
        Heard { election, has_login: with_login, has_led: false, messages: Vec::new() }
    }

    /// Takes what there is to hear; false at the end.
    fn listen(&mut self) -> bool {
        self.has_led |= self.election.is_leader();
        loop {
            let error = match self.election.try_next().expect("no fork") {
                Next::Nothing => return true,
                Next::Ended => return false,
                Next::Event(Event::Elected { .. }) => {
                    self.has_led = true;
                    continue;
                }
                Next::Event(Event::Unelected { why }) => why,
                Next::Event(Event::Retrying(Some(trouble))) => trouble.error.clone(),
                Next::Event(Event::Ended(Ended { why: Some(why), .. })) => why,
                Next::Event(_) => continue,
            };
            self.messages.push(format!("{error}"));
        }
    }
}

fn suffer(mut elections: Vec<Heard>, mut good: Heard, least: Duration, most: Duration) {
    let begun = Instant::now();
    let is_long_enough = |elections: &[Heard]| {
        let all_told = elections.iter().all(|one| !one.messages.is_empty());
        begun.elapsed() >= if all_told { least } else { most }
    };
    while !is_long_enough(&elections) || !good.election.is_leader() {
        if begun.elapsed() > PATIENCE {
            return say(&format!("wrong the election on a good server does not lead: {:?}", good.messages));
        }
        elections.iter_mut().for_each(|one| _ = one.listen());
        good.listen();
        std::thread::sleep(Duration::from_millis(2));
    }
    elections.iter().for_each(|one| one.election.stop());
    good.election.stop();
    let stopped = Instant::now();
    let mut running: Vec<_> = elections.iter_mut().chain([&mut good]).collect();
    while !running.is_empty() {
        running.retain_mut(|one| one.listen());
        if stopped.elapsed() > STOP_TIMEOUT + SLACK {
            return say(&format!("wrong {} elections do not end", running.len()));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let messages = elections.iter().flat_map(|one| one.messages.iter().map(|message| (one.has_login, message)));
    for (has_login, message) in messages {
        let is_fit = message.len() <= MAX_MESSAGE_BYTES && !message.contains(char::is_control);
        if !is_fit || (has_login && message.contains(PASSWORD)) {
            let start: String = message.chars().take(400).collect();
            return say(&format!("wrong a message of {} bytes: {start:?}", message.len()));
        }
        say(&format!("message {message}"));
    }
    let has_led = elections.iter().any(|one| one.has_led);
    let dropped = Instant::now();
    drop((elections, good));
    if dropped.elapsed() > STOP_TIMEOUT + SLACK {
        return say("wrong the handles are not given up in time");
    }
    say(&format!("done {has_led} {}", peak_kib()));
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status of this process");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|rest| rest.trim().split(' ').next()).and_then(|kib| kib.parse().ok()).expect("a peak")
}
