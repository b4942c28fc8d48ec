//! `lead` (examples/c/lead) runs a command only while it leads: on a real etcd, with real kills.
//!
//! The command is tests/lead/job.c, which leaves a sign of life in a file every millisecond. Who ran when is judged by
//! these, on the clock that leases are counted on.

// Figures, with --nocapture; and what a story has left in its files, if it fails.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod library;

#[path = "lead/losses.rs"]
mod losses;
#[path = "lead/manual.rs"]
mod manual;
#[path = "lead/secure.rs"]
mod secure;
#[path = "lead/standstill.rs"]
mod standstill;
#[path = "lead/story.rs"]
mod story;

use std::fs::{self, File};
use std::process::Command;

use library::Way;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use story::{Story, child_of, programs};
use support::{Cluster, Port, Proxy, v2, wait_for};

/// In seconds: of most of the leases here.
const TTL: &str = "3";
const TTL_NS: i64 = 3_000_000_000;

fn url(cluster: &Cluster) -> String {
    cluster.urls()[0].clone()
}

/// On one etcd, so that the stories are short.
fn with_v2() -> Cluster {
    Cluster::of(1, &["--enable-v2=true"])
}

fn one_at_a_time(way: Way, api: &str) {
    let (cluster, story) = (with_v2(), Story::told(way));
    let url = url(&cluster);
    // The ttl is not the point: no stall of the machine is to end a turn.
    let api = ["--api", api, "--ttl", "20"];
    let done = story.path("done");
    let until = format!("until={}", done.display());
    let mut one = story.runs(&url, "one", &api, &[&until]);
    story.sees("one", "lives");
    let mut two = story.runs(&url, "two", &api, &["exit=0"]);
    two.says("one leads");
    let mut three = story.runs(&url, "three", &api, &["exit=3"]);
    three.says("one leads");
    // A join whose answer came too late has left one more, which runs out.
    let on_v2 = if api[1] == "v2" { 3 } else { 0 };
    let entries = || v2::entries(cluster.client_address(0), "/jobs").expect("entries").len();
    wait_for(&format!("{on_v2} entries on v2"), || (entries() == on_v2).then_some(()));
    File::create(&done).expect("a file");
    one.ends(0);
    two.ends(0);
    three.ends(3);
    println!("{way:?} {api:?}: from end to beginning {:?}", story.ended_before("one", "two"));
    story.ended_before("two", "three");
    assert!(story.token("one") < story.token("two") && story.token("two") < story.token("three"));
    story.nothing_is_left();
    // Resigned, not run out.
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/jobs", "--keys-only"]), "");
}

#[test]
fn one_at_a_time_in_order_with_growing_tokens() {
    one_at_a_time(Way::Plain, "v3");
}

#[test]
fn one_at_a_time_in_order_with_growing_tokens_on_v2() {
    one_at_a_time(Way::Plain, "v2");
}

#[test]
fn one_at_a_time_in_order_with_growing_tokens_sanitized() {
    one_at_a_time(Way::Sanitized, "v3");
    one_at_a_time(Way::Sanitized, "v2");
}

#[test]
fn exit_statuses() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let url = url(&cluster);
    let usual = ["--endpoints", &url, "--key", "/statuses", "--name", "one"];
    let unnamed = story.path("unnamed");
    fs::write(&unnamed, "not a program").expect("written");
    for (command, status, said) in [
        (&["true"][..], 0, ""),
        (&["sh", "-c", "exit 7"], 7, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["sh", "-c", "kill -TERM $$"], 143, ""),
        (&["no such command"], 127, "lead: \"no such command\" cannot be run: No such file or directory\n"),
        (&["/"], 126, "lead: \"/\" cannot be run: Permission denied\n"),
        (&[&unnamed.to_string_lossy()], 126, "Permission denied\n"),
    ] {
        let mut lead = story.lead(&usual, command);
        lead.ends(status);
        let complains = lead.said_but_for_trouble();
        assert!(complains.ends_with(said) && complains.is_empty() == said.is_empty(), "{complains}");
    }
    story.nothing_is_left();
}

#[test]
fn the_turn_does_not_come_in_time() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "20"], &["signals"]);
    story.sees("one", "ready");
    for wait in ["0", "1.5"] {
        let mut two = story.runs(&url(&cluster), "two", &["--wait", wait], &[]);
        two.ends(75);
        assert!(two.said().contains("lead: one leads /jobs, and the turn did not come"), "{}", two.said());
    }
    let nobody = Port::new();
    let nowhere = nobody.url();
    for options in [&["--wait", "0", "--ttl", "2"][..], &["--wait", "2"]] {
        let options = [&["--endpoints", &nowhere, "--key", "/jobs", "--stop-timeout", "0"], options].concat();
        let mut two = story.lead(&options, &["true"]);
        two.ends(69);
        assert!(
            two.said().contains("the turn for /jobs did not come in the time that --wait gives: "),
            "{}",
            two.said()
        );
        assert!(two.said().contains("(EL_UNREACHABLE)"), "{}", two.said());
    }
    assert!(!story.has_seen("two", "ready"));
    one.signal(Signal::SIGTERM);
    one.ends(0);
    story.nothing_is_left();
}

#[test]
fn restarted_it_runs_again_after_an_end_and_after_a_loss() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let again = story.job("one", &["exit=1"]);
    let again: Vec<&str> = again.iter().map(String::as_str).collect();
    let url = url(&cluster);
    let usual = ["--endpoints", &url, "--key", "/jobs", "--ttl", TTL, "--restart", "--pause", "0.01", "--verbose"];
    let mut one = story.lead(&usual, &again);
    let tokens = wait_for("four runs", || {
        let found: Vec<u64> = story
            .of("one")
            .filter_map(|sign| sign.event.strip_prefix("token-").map(|token| token.parse().expect("one")))
            .collect();
        (found.len() >= 4).then_some(found)
    });
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    one.signal(Signal::SIGINT);
    assert!([Some(1), Some(130)].contains(&one.status().code()), "{}", one.said());

    let job = story.job("two", &["signals"]);
    let job: Vec<&str> = job.iter().map(String::as_str).collect();
    let mut two = story.lead(&usual, &job);
    story.sees("two", "ready");
    let first = story.token("two");
    cluster.etcdctl(&["del", "--prefix", "/jobs"]);
    let second = wait_for("another run", || {
        let begun = story.of("two").filter(|sign| sign.event == "ready").nth(1)?;
        story.of("two").find(|sign| sign.pid == begun.pid && sign.event.starts_with("token-"))
    });
    assert!(second.event["token-".len()..].parse::<u64>().expect("a token") > first);
    // The signal is the command's first of all, and means that there is no next run.
    two.signal(Signal::SIGTERM);
    two.ends(0);
    assert!(story.has_seen("two", "caught-15"));
    // A command that cannot be run will not be run.
    story.lead(&usual, &["no such command"]).ends(127);
    story.nothing_is_left();
}

#[test]
fn signals_go_on_to_the_command_and_end_who_waits() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "20"], &["signals", "child"]);
    story.sees("one", "ready");
    let passed = [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM];
    for signal in passed {
        let mut two = story.runs(&url(&cluster), "two", &[], &["signals"]);
        two.says("one leads");
        two.signal(signal);
        two.ends(128 + signal as i32);
    }
    for signal in passed {
        one.signal(signal);
        for label in ["one", "one.child"] {
            story.sees(label, &format!("caught-{}", signal as i32));
        }
    }
    one.ends(0);
    // While nobody answers, too.
    let nobody = Port::new();
    let mut three = story.runs(&nobody.url(), "three", &["--stop-timeout", "0"], &[]);
    three.says("retrying: ");
    three.signal(Signal::SIGTERM);
    three.ends(143);
    story.nothing_is_left();
}

#[test]
fn the_command_finds_its_descriptors_signals_and_environment_as_they_were() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let url = url(&cluster);
    let usual = ["--endpoints", &url, "--key", "/clean", "--name", "one"];
    let script = "ls /proc/self/fd; grep -E '^(SigBlk|SigIgn)' /proc/self/status";
    let mut lead = story.lead(&usual, &["sh", "-c", &format!("{script}; env | grep ^ETCD_LEADER | sort")]);
    lead.ends(0);
    let mut bare = Command::new("sh");
    bare.args(["-c", script]);
    let mut bare = story.start(bare, |_| {});
    bare.ends(0);
    let shown = lead.shown();
    let (same, own) = shown.split_at(shown.find("ETCD_LEADER").expect("variables"));
    assert_eq!(same, bare.shown());
    assert!(own.starts_with("ETCD_LEADER_KEY=/clean\nETCD_LEADER_NAME=one\nETCD_LEADER_TOKEN="), "{own}");
    assert_eq!(own.lines().count(), 3, "{own}");
    // What was ignored by whoever started us is not taken, and not passed on.
    let job = story.job("one", &["signals"]);
    let mut nohup = Command::new("sh");
    nohup.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(&programs().plain).args(usual).arg("--").args(job);
    let mut lead = story.start(nohup, |_| {});
    let ready = story.sees("one", "ready");
    lead.signal(Signal::SIGHUP);
    lead.signal(Signal::SIGUSR1);
    story.sees("one", "caught-10");
    assert!(!story.has_seen("one", "caught-1"));
    kill(Pid::from_raw(ready.pid), Signal::SIGTERM).expect("a signal");
    lead.ends(0);
    story.nothing_is_left();
}

/// As in a container, where the kernel protects the first process from signals that it does not take.
#[test]
fn as_the_first_process_of_a_container() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let job = story.job("one", &["signals", "child", "session", "daemon"]);
    let mut container = Command::new("unshare");
    container.args(["--pid", "--fork", "--mount-proc"]).arg(&programs().plain).args(["--endpoints", &url(&cluster)]);
    // What the command leaves behind gets a part of the ttl to end in, and a busy machine may keep it waiting.
    container.args(["--key", "/jobs", "--name", "one", "--ttl", "15", "--verbose", "--"]).args(job);
    let mut one = story.start(container, |_| {});
    story.sees("one", "ready");
    let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
    two.says("one leads");
    let lead = child_of(one.pid(), "lead");
    kill(lead, Signal::SIGUSR1).expect("a signal");
    story.sees("one", "caught-10");
    kill(lead, Signal::SIGTERM).expect("a signal");
    one.ends(0);
    two.ends(0);
    assert!(story.has_seen("one.session", "caught-15") && story.has_seen("one.daemon", "caught-15"));
    story.ended_before("one", "two");
    story.nothing_is_left();
}

#[test]
fn a_reader_that_does_not_read_holds_nothing_up() {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe");
    // Full: whoever writes now would wait for ever.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("not blocking");
    while nix::unistd::write(&writer, &[0; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).expect("blocking");
    let job = story.job("one", &["ignore"]);
    let job: Vec<&str> = job.iter().map(String::as_str).collect();
    let url = url(&cluster);
    let options = ["--endpoints", &url, "--key", "/jobs", "--ttl", TTL, "--verbose", "--stop-timeout", "0"];
    let mut one = story.lead_with(&options, &job, |process| {
        process.stderr(writer);
    });
    story.sees("one", "ready");
    cluster.member(0).kill();
    one.ends(76);
    drop(reader);
    story.nothing_is_left();
}

/// The command reads the terminal; Ctrl-Z stops it and `lead`, and gives the terminal back; Ctrl-C ends both.
#[test]
fn a_good_job_on_a_terminal() {
    let (cluster, story) = (Cluster::single(), Story::new());
    // With --restart Ctrl-C is meant for good, though only the command hears it and ends with a status of its own.
    let handles = ["sh", "-c", "trap 'exit 130' INT; \"$0\" echo"];
    for (stopped, often, ttl, by) in [("briefly", "--restart", "30", &handles[..]), ("for-long", "--once", "3", &[])] {
        let mut shell = Command::new(&programs().shell);
        shell.arg(stopped).arg(&programs().plain).args(["--endpoints", &url(&cluster), "--key", "/terminal"]);
        shell.args([often, "--ttl", ttl, "--verbose", "--"]).args(by).arg(&programs().shell).arg("echo");
        let mut shell = story.start(shell, |_| {});
        shell.ends(0);
        assert_eq!(shell.shown(), "all is well\n");
    }
    story.nothing_is_left();
}

/// Ctrl-Z stops the script too, or the shell would wait for it; after Ctrl-C it has no next line.
#[test]
fn a_line_of_a_script_on_a_terminal() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut shell = Command::new(&programs().shell);
    shell.args(["in-a-script", "sh", "-c", "\"$@\"; echo \"n\"\"ext\"", "sh"]).arg(&programs().plain);
    shell.args(["--endpoints", &url(&cluster), "--key", "/terminal", "--ttl", "30", "--verbose", "--"]);
    shell.arg(&programs().shell).arg("echo");
    let mut shell = story.start(shell, |_| {});
    shell.ends(0);
    assert_eq!(shell.shown(), "all is well\n");
    story.nothing_is_left();
}

#[test]
fn a_command_may_take_its_time_to_end_on_sigterm() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let done = story.path("done");
    let until = format!("until={}", done.display());
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "20"], &["count", &until]);
    story.sees("one", "ready");
    one.signal(Signal::SIGTERM);
    let asked = story.sees("one", "caught-15").at;
    // Longer than a keeper has to answer.
    wait_for("six seconds", || (story.last("one") > asked + 6_000_000_000).then_some(()));
    fs::write(&done, "").expect("written");
    one.ends(0);
    story.nothing_is_left();
}

#[test]
fn who_led_when_etcd_was_last_heard_of_does_not_lead_for_ever() {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    let proxy = Proxy::before(cluster.member(0).client_address());
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "20"], &["signals"]);
    story.sees("one", "ready");
    let mut two = story.runs(&proxy.url(), "two", &["--ttl", "2", "--wait", "5", "--stop-timeout", "0"], &[]);
    two.says("one leads");
    proxy.hold_all();
    two.ends(69);
    one.signal(Signal::SIGTERM);
    one.ends(0);
    story.nothing_is_left();
}
