//! Standstills of every part at once, as of a machine that is paused, and of etcd: `--restart` goes on, and nobody waits in vain.

use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::story::Story;
use super::support::{Cluster, wait_for};
use super::url;

/// How often everything is frozen.
const ROUNDS: usize = 6;

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

/// A machine wakes in no order: whichever part is first.
#[test]
fn lead_with_restart_goes_on_after_all_its_parts_were_frozen() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &["--restart", "--ttl", "2"], &["signals"]);
    let mut job = next_job(&story, 0);
    for round in 0..ROUNDS {
        let parts = [one.pid(), one.keeper(), Pid::from_raw(job)];
        let before = terms(&story);
        for part in parts {
            kill(part, Signal::SIGSTOP).expect("it runs");
        }
        // It leads in the meantime, so the lease of the frozen one has ended.
        story.runs(&url(&cluster), "two", &["--ttl", "2"], &["exit=0"]).ends(0);
        for at in 0..parts.len() {
            let _ = kill(parts[(at + round) % parts.len()], Signal::SIGCONT);
        }
        job = next_job(&story, job);
        assert!(terms(&story) > before);
    }
    one.signal(Signal::SIGTERM);
    one.status();
    story.nothing_is_left();
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
