//! Standstills of every part at once, as of a machine that is paused, and of etcd: `--restart` goes on, and nobody waits in vain.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::story::{Lead, Story, child_of, programs};
use super::url;
use support::{Cluster, wait_for};

/// Each standstill is tried twenty times: by so many that lead keys of their own, so many times one after the other.
const LEADS: usize = 4;
const ROUNDS: usize = 5;

/// The number of the last process of `one`'s job that was started, other than `before`.
fn next_job(story: &Story, before: i32) -> i32 {
    wait_for("another job", || {
        story.of("one").filter(|sign| sign.event == "ready").last().map(|sign| sign.pid).filter(|pid| *pid != before)
    })
}

/// How often `one`'s job was started.
fn terms(story: &Story) -> usize {
    story.of("one").filter(|sign| sign.event.starts_with("token-")).count()
}

fn signal_each(parts: &[Pid], signal: Signal) {
    for part in parts {
        // A part that has ended meanwhile needs none.
        let _ = kill(*part, signal);
    }
}

/// Twenty times: `disturbs` all parts of a `lead --restart`, which is then to go on, and to run its command.
fn goes_on_after(ttl: &str, disturbs: impl Fn(&Story, &dyn Fn(&str) -> Lead, &[Pid], usize) + Sync) {
    let cluster = Cluster::single();
    let one_lead = |number: usize| {
        let (story, key) = (Story::new(), format!("/jobs-{number}"));
        let runs = |name: &str| match name {
            "one" => story.runs(&url(&cluster), name, &["--key", &key, "--restart", "--ttl", ttl], &["signals"]),
            _ => story.runs(&url(&cluster), name, &["--key", &key, "--ttl", ttl], &["exit=0"]),
        };
        let mut one = runs("one");
        for round in 0..ROUNDS {
            let last = story.of("one").map(|sign| sign.at).max();
            let lives = || story.of("one").filter(|sign| Some(sign.at) > last).last();
            let job = wait_for("a job that lives", || {
                assert_eq!(one.child.try_wait().expect("wait"), None, "{}", one.said());
                lives()
            });
            disturbs(&story, &runs, &[one.pid(), one.keeper(), Pid::from_raw(job.pid)], round);
        }
        let last = super::story::now();
        wait_for("a job that lives", || story.of("one").any(|sign| sign.at > last).then_some(()));
        one.signal(Signal::SIGTERM);
        one.status();
        story.nothing_is_left();
    };
    std::thread::scope(|scope| {
        for number in 0..LEADS {
            scope.spawn(move || one_lead(number));
        }
    });
}

/// A machine wakes in no order: whichever part is first.
#[test]
fn lead_with_restart_goes_on_after_all_its_parts_were_frozen_past_the_ttl() {
    goes_on_after("2", |story, runs, parts, round| {
        let before = terms(story);
        signal_each(parts, Signal::SIGSTOP);
        // It leads in the meantime, so the lease of the frozen one has ended.
        runs("two").ends(0);
        for at in 0..parts.len() {
            signal_each(&parts[(at + round) % parts.len()..][..1], Signal::SIGCONT);
        }
        next_job(story, parts[2].as_raw());
        assert!(terms(story) > before);
    });
}

/// The end that the keeper was told of passes in it, and most of the lease.
#[test]
fn lead_with_restart_goes_on_after_all_its_parts_were_frozen_for_most_of_the_ttl() {
    goes_on_after("3", |_, _, parts, round| {
        signal_each(parts, Signal::SIGSTOP);
        std::thread::sleep(Duration::from_secs(2));
        for at in 0..parts.len() {
            signal_each(&parts[(at + round) % parts.len()..][..1], Signal::SIGCONT);
        }
    });
}

/// As on a machine that has no time for it: a millisecond of each second, for three times the ttl.
#[test]
fn lead_with_restart_goes_on_after_all_its_parts_were_starved() {
    goes_on_after("2", |story, _, parts, _| {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(6) {
            let all = story.left();
            signal_each(&all, Signal::SIGSTOP);
            std::thread::sleep(Duration::from_secs(1));
            signal_each(&all, Signal::SIGCONT);
            std::thread::sleep(Duration::from_millis(1));
        }
        signal_each(parts, Signal::SIGCONT);
    });
}

#[test]
fn lead_with_restart_goes_on_with_another_keeper() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &["--restart", "--pause", "0.1"], &["signals", "child", "session"]);
    let mut job = next_job(&story, 0);
    for _ in 0..3 {
        kill(one.keeper(), Signal::SIGKILL).expect("it runs");
        let killed = super::story::now();
        let before = job;
        job = next_job(&story, before);
        let last = story.signs().iter().filter(|sign| sign.pid == before).map(|sign| sign.at).max();
        let first = story.signs().iter().filter(|sign| sign.pid == job).map(|sign| sign.at).min();
        assert!(last < first && first > Some(killed), "the one before had not ended");
    }
    assert!(one.said().contains("the keeper process is dead: killing the command"), "{}", one.said());
    one.signal(Signal::SIGTERM);
    one.status();
    story.nothing_is_left();
}

/// The place runs out with its lease in any case; nobody is to wait ten seconds for a dead etcd.
#[test]
fn with_etcd_dead_sigterm_ends_lead_soon() {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "60"], &["signals"]);
    story.sees("one", "ready");
    cluster.member(0).kill();
    one.says("retrying: ");
    one.signal(Signal::SIGTERM);
    let asked = Instant::now();
    one.status();
    assert!(asked.elapsed() < Duration::from_secs(20), "it took {:?} of a ttl of 60 s", asked.elapsed());
    println!("with etcd dead: ended after {:?}", asked.elapsed());
    story.nothing_is_left();
}

/// As while a new version of it is being copied.
#[test]
fn lead_with_restart_waits_for_a_command_that_is_being_written() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let command = story.path("command");
    fs::copy(&programs().job, &command).expect("a copy");
    let writer = OpenOptions::new().append(true).open(&command).expect("the copy");
    let signs = story.path("signs").display().to_string();
    let usual = ["--endpoints", &url(&cluster), "--key", "/jobs", "--restart"];
    let mut one = story.lead(&usual, &[&command.display().to_string(), &signs, "one", "signals"]);
    one.says("Text file busy");
    drop(writer);
    story.sees("one", "ready");
    one.signal(Signal::SIGTERM);
    one.ends(0);
    story.nothing_is_left();
}

/// A child from before begins one that gets the number of a command that has ended.
#[test]
fn a_number_that_is_given_again_holds_nothing_up() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let job = story.job("one", &["exit=0"]);
    let (wanted, given) = (story.path("wanted"), story.path("given"));
    // The number after next is that of the last process: the one in between is the shell that begins it.
    let child = "while read number; do echo $((number - 2)) > /proc/sys/kernel/ns_last_pid; \
                 (sh -c 'echo $$ > \"$0.new\"; mv \"$0.new\" \"$0\"' \"$2\" &); done < \"$1\"";
    let script = "sh -c \"$1\" sh \"$2\" \"$3\" & shift 3; exec \"$@\"";
    nix::unistd::mkfifo(&wanted, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    let mut container = Command::new("unshare");
    container.args(["--pid", "--fork", "--mount-proc", "sh", "-c", script, "sh", child]).args([&wanted, &given]);
    container.arg(&programs().plain).args(["--endpoints", &url(&cluster), "--key", "/jobs", "--verbose"]);
    container.args(["--restart", "--pause", "600", "--"]).args(job);
    let mut one = story.start(container, |_| {});
    let mut wanted = OpenOptions::new().write(true).open(&wanted).expect("a reader");
    one.says("the command has ended");
    let number = story.sees("one", "token-").pid;
    wait_for("its number to be given again", || {
        let _ = fs::remove_file(&given);
        writeln!(wanted, "{number}").expect("written");
        let given = wait_for("a process", || fs::read_to_string(&given).ok());
        (given.trim() == number.to_string()).then_some(())
    });
    kill(child_of(one.pid(), "lead"), Signal::SIGTERM).expect("a signal");
    one.ends(128 + Signal::SIGTERM as i32);
    story.nothing_is_left();
}
