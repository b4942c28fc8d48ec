//! `make demo`: candidates in C, Node.js and Python, and a shell command under `lead`, in one election on a real etcd. One
//! leaves, one is killed, one is frozen; the time line says who leads and how long each take-over took. Ends with 0 only
//! if each was as it should be.
//!
//! `demo v2` has them use etcd's API v2; otherwise it is v3.

#![allow(missing_docs, clippy::print_stdout, clippy::print_stderr)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use support::etcd::Host;
use support::spawn::spawn;
use support::{Cluster, v2};

const TTL: Duration = Duration::from_secs(4);
/// A polite leader's successor waits for nothing but etcd.
const POLITE: Duration = Duration::from_secs(1);
/// A dead leader's lease runs out within its ttl; etcd looks for such leases, and for entries of v2, twice a second.
const CRASH: Duration = Duration::from_millis(4000 + 1500);
const KEY: &str = "/demo/election";
/// The candidates: written in C, in JavaScript, in Python; and a shell command that `lead` runs.
const ANNA: &str = "anna";
const BERT: &str = "bert";
const CLEO: &str = "cleo";
const DORA: &str = "dora";
/// What is run for each of them.
const PROGRAMS: [&str; 4] =
    ["target/release/campaign", "examples/node/campaign.js", "examples/python/campaign.py", "target/release/lead"];
/// The command.
const JOB: &str = "for step in 1 2 3; do echo \"the job's step $step with token $ETCD_LEADER_TOKEN\"; sleep 0.3; done";

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Something a candidate said.
struct Said {
    name: String,
    words: String,
    at: Instant,
}

struct Stage {
    begun: Instant,
    url: String,
    is_v2: bool,
    programs: [PathBuf; 4],
    heard: Receiver<Said>,
    voice: Sender<Said>,
    candidates: Vec<(String, Child)>,
    /// What was heard while waiting for something else.
    passed_over: Vec<Said>,
    last_token: u64,
}

/// What went wrong, in words; empty after Ctrl-C.
type Outcome<T> = Result<T, String>;

impl Stage {
    fn note(&self, who: &str, what: &str, at: Instant) {
        println!("{:8.3} s  {who:<6} {what}", at.duration_since(self.begun).as_secs_f64());
    }

    fn narrate(&self, what: &str) {
        println!("\n{:8.3} s  == {what}", self.begun.elapsed().as_secs_f64());
    }

    fn start(&mut self, name: &str) -> Outcome<()> {
        let [in_c, in_node, in_python, lead] = &self.programs;
        let ttl = TTL.as_secs().to_string();
        let mut command = match name {
            BERT => Command::new("node"),
            CLEO => Command::new("python3"),
            // Its own words go to standard error.
            DORA => Command::new("sh"),
            _ => Command::new(in_c),
        };
        if name == DORA {
            command.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(lead);
            command.args(["--endpoints", &self.url, "--key", KEY, "--name", name, "--ttl", &ttl, "--verbose"]);
            command.args(["--api", if self.is_v2 { "v2" } else { "v3" }, "--", "sh", "-c", JOB]);
        } else {
            command.args((name == BERT).then_some(in_node)).args((name == CLEO).then_some(in_python));
            command.args(self.is_v2.then_some("--v2")).args([&self.url, KEY, name, &ttl]);
        }
        command.stdout(Stdio::piped());
        let mut child = spawn(command).map_err(|error| format!("{name} cannot be started: {error}"))?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let (voice, name) = (self.voice.clone(), name.to_string());
        self.candidates.push((name.clone(), child));
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let words = line.split_once(": ").map_or(line.as_str(), |(_, words)| words).to_string();
                let _ = voice.send(Said { name: name.clone(), words, at: Instant::now() });
            }
        });
        Ok(())
    }

    /// Shows all that is said until this one says something that starts so.
    fn wait(&mut self, name: &str, start: &str, patience: Duration) -> Outcome<Said> {
        let give_up = Instant::now() + patience;
        loop {
            if INTERRUPTED.load(Ordering::Relaxed) {
                return Err(String::new());
            }
            match self.heard.recv_timeout(Duration::from_millis(100)) {
                Ok(said) => {
                    self.note(&said.name, &said.words, said.at);
                    if said.words.starts_with("elected") && said.name != name {
                        return Err(format!("{} was elected, and should not have been", said.name));
                    }
                    if said.name == name && said.words.starts_with(start) {
                        return Ok(said);
                    }
                    self.passed_over.push(said);
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() < give_up => {}
                Err(_) => return Err(format!("{name} did not say {start:?} within {patience:?}")),
            }
        }
    }

    /// Waits until this one leads, with a higher token than all before, and says how long that took.
    fn takes_over(&mut self, name: &str, since: Instant, within: Duration) -> Outcome<()> {
        let said = self.wait(name, "elected", within + Duration::from_secs(5))?;
        let token = said.words.rsplit(' ').next().and_then(|word| word.parse().ok()).ok_or("no token")?;
        let took = said.at.duration_since(since);
        println!("{:>12} {name} leads with token {token}, after {:.3} s", "=>", took.as_secs_f64());
        if token <= self.last_token {
            return Err(format!("the token {token} is not above {}", self.last_token));
        }
        if took > within {
            return Err(format!("that should take at most {within:?}"));
        }
        self.last_token = token;
        Ok(())
    }

    /// Waits until this one knows that that one leads; it may have said so before the leader did.
    fn knows(&mut self, name: &str, leader: &str, since: Instant) -> Outcome<()> {
        let words = format!("the leader is {leader}");
        let is_it = |said: &Said| said.name == name && said.words == words && said.at >= since;
        if self.passed_over.iter().any(is_it) {
            return Ok(());
        }
        self.wait(name, &words, Duration::from_secs(5)).map(drop)
    }

    /// A signal to a candidate, and when.
    fn signal(&self, name: &str, signal: Signal) -> Outcome<Instant> {
        let child = self.candidates.iter().rev().find(|(one, _)| one == name).map(|(_, child)| child.id());
        let pid = child.and_then(|pid| i32::try_from(pid).ok()).ok_or("no such candidate")?;
        kill(Pid::from_raw(pid), signal).map_err(|error| format!("{signal} to {name}: {error}"))?;
        Ok(Instant::now())
    }

    /// Joins again, behind the others.
    fn joins_again(&mut self, name: &str, leader: &str) -> Outcome<()> {
        self.start(name)?;
        self.wait(name, &format!("the leader is {leader}"), Duration::from_secs(5)).map(drop)
    }

    fn play(&mut self) -> Outcome<()> {
        self.narrate(
            "three candidates start, one after the other; the first leads (anna is in C, bert in Node.js, cleo in Python)",
        );
        let begun = Instant::now();
        self.start(ANNA)?;
        self.takes_over(ANNA, begun, POLITE)?;
        self.joins_again(BERT, ANNA)?;
        self.joins_again(CLEO, ANNA)?;

        self.pause(3)?;
        self.narrate("anna leaves politely (Ctrl-C): the next one need not wait for anything");
        let left = self.signal(ANNA, Signal::SIGINT)?;
        self.takes_over(BERT, left, POLITE)?;
        self.joins_again(ANNA, BERT)?;

        self.pause(3)?;
        self.narrate(&format!("bert is killed (-9): his lease of {} s must run out first", TTL.as_secs()));
        let killed = self.signal(BERT, Signal::SIGKILL)?;
        self.takes_over(CLEO, killed, CRASH)?;
        self.joins_again(BERT, CLEO)?;

        self.pause(3)?;
        self.narrate("cleo is frozen (SIGSTOP) past her lease, as a paused machine or a long page-in does");
        let frozen = self.signal(CLEO, Signal::SIGSTOP)?;
        self.takes_over(ANNA, frozen, CRASH)?;
        self.pause(2)?;
        self.narrate("cleo wakes up: the first thing she hears is that she does not lead");
        self.signal(CLEO, Signal::SIGCONT)?;
        self.wait(CLEO, "unelected", Duration::from_secs(2))?;
        self.wait(CLEO, "the leader is anna", Duration::from_secs(5))?;

        self.pause(3)?;
        self.narrate("anna leaves; bert, who waits longer than cleo, is next");
        let left = self.signal(ANNA, Signal::SIGINT)?;
        self.takes_over(BERT, left, POLITE)?;
        self.knows(CLEO, BERT, left)?;

        self.narrate("dora gets in line: a shell command, run by the tool `lead`");
        self.start(DORA)?;
        self.wait(DORA, "bert leads", Duration::from_secs(5))?;

        self.narrate("bert and cleo leave, and it is the command's turn; when it has ended, so has dora's");
        self.signal(CLEO, Signal::SIGINT)?;
        let left = self.signal(BERT, Signal::SIGINT)?;
        self.takes_over(DORA, left, POLITE)?;
        self.wait(DORA, "the command has ended, status 0", Duration::from_secs(10))?;
        for (name, child) in &mut self.candidates {
            let status = child.wait().map_err(|error| error.to_string())?;
            let was_killed = status.code().is_none();
            if !status.success() && !was_killed {
                return Err(format!("{name} ended with {status}"));
            }
        }
        Ok(())
    }

    /// Time for a person to read; whoever says something meanwhile is shown.
    fn pause(&mut self, seconds: u64) -> Outcome<()> {
        match self.wait("", "\0", Duration::from_secs(seconds)) {
            Err(why) if !why.starts_with(" did not say") => Err(why),
            _ => Ok(()),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for (_, child) in &mut self.candidates {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What is left of the election in etcd.
fn left_behind(cluster: &Cluster, is_v2: bool) -> Outcome<String> {
    if !is_v2 {
        return Ok(cluster.etcdctl(&["get", "--prefix", KEY]));
    }
    let left = v2::entries(cluster.client_address(0), KEY).map_err(|error| error.to_string())?;
    Ok(left.into_iter().map(|entry| format!("{} {}\n", entry.key, entry.name)).collect())
}

fn main() -> ExitCode {
    let is_v2 = match std::env::args().nth(1).as_deref() {
        None | Some("v3") => false,
        Some("v2") => true,
        Some(other) => {
            eprintln!("{other:?} is none of etcd's APIs: say v2 or v3");
            return ExitCode::from(2);
        }
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let programs = PROGRAMS.map(|program| root.join(program));
    if let Some(missing) = programs.iter().find(|program| !program.is_file()) {
        eprintln!("there is no {}: run `make demo`, which builds it", missing.display());
        return ExitCode::from(2);
    }
    // Blocked everywhere and waited for by one thread, so that everything is cleaned up on the way out.
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    if let Err(error) = signals.thread_block() {
        eprintln!("signals: {error}");
        return ExitCode::from(2);
    }
    std::thread::spawn(move || {
        let _ = signals.wait();
        INTERRUPTED.store(true, Ordering::Relaxed);
    });

    // Ctrl-C goes to all processes of the terminal's foreground. In a session of its own, etcd serves until the candidates have left.
    let host = Host { enter: vec!["setsid".into()], ..Host::local() };
    let cluster = Cluster::on(&[host], if is_v2 { &["--enable-v2=true"] } else { &[] });
    let url = cluster.urls().remove(0);
    let api = if is_v2 { "v2" } else { "v3" };
    println!(
        "etcd: {} on {url}, API {api}, ttl {} s; this takes half a minute",
        support::etcd_binary().display(),
        TTL.as_secs()
    );
    let (voice, heard) = channel();
    let begun = Instant::now();
    let mut stage = Stage {
        begun,
        url,
        is_v2,
        programs,
        heard,
        voice,
        candidates: Vec::new(),
        passed_over: Vec::new(),
        last_token: 0,
    };
    let outcome = stage.play().and_then(|()| {
        let left = left_behind(&cluster, is_v2)?;
        if left.is_empty() { Ok(()) } else { Err(format!("left behind in etcd: {left}")) }
    });
    match outcome {
        Ok(()) => {
            println!(
                "\nEvery take-over was as it should be, and nothing is left in etcd ({:.0} s).",
                begun.elapsed().as_secs_f64()
            );
            ExitCode::SUCCESS
        }
        Err(why) if why.is_empty() => {
            println!("\ninterrupted; everything is cleaned up");
            ExitCode::from(130)
        }
        Err(why) => {
            println!("\nNOT as it should be: {why}");
            ExitCode::FAILURE
        }
    }
}
