//! `lead` (examples/c/lead) runs a command only while it leads: on a real etcd, with real kills.
//!
//! The command is tests/lead/job.c, which leaves a sign of life in a file every millisecond. Who ran when is judged by
//! these, on the clock that leases are counted on.

// Figures, with --nocapture; and what a story has left in its files, if it fails.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../../core/tests/support/mod.rs"]
mod support;

mod library;

#[path = "lead/edges.rs"]
mod edges;
#[path = "lead/story.rs"]
mod story;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use library::{Way, root};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use story::{Story, child_of, now, programs};
use support::{Cluster, Proxy, v2, wait_for};

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
    let api = ["--api", api];
    let done = story.path("done");
    let until = format!("until={}", done.display());
    let mut one = story.runs(&url, "one", &api, &[&until]);
    story.sees("one", "lives");
    let mut two = story.runs(&url, "two", &api, &["exit=0"]);
    two.says("one leads");
    let mut three = story.runs(&url, "three", &api, &["exit=3"]);
    three.says("one leads");
    let on_v2 = v2::entries(cluster.client_address(0), "/jobs").expect("entries").len();
    assert_eq!(on_v2, if api[1] == "v2" { 3 } else { 0 });
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

/// `one` is cut off from etcd while `two` is not; the job of `one` is all of these at once.
fn cut_off(way: Way, api: &str) {
    const STUBBORN: [&str; 4] = ["ignore", "child", "session", "daemon"];
    let (mut cluster, story) = (with_v2(), Story::told(way));
    let api = ["--api", api];
    let proxy = Proxy::before(cluster.member(0).client_address());
    let mut one = story.runs(&proxy.url(), "one", &[&api[..], &["--stop-timeout", "0"]].concat(), &STUBBORN);
    story.sees("one", "ready");
    let mut two = story.runs(&url(&cluster), "two", &api, &["exit=0"]);
    two.says("one leads");
    proxy.hold_all();
    let cut = now();
    two.ends(0);
    one.ends(76);
    assert!(one.said().contains("(EL_DEADLINE); ending the command"), "{}", one.said());
    assert!(one.said().contains("did not end on SIGTERM in time, and had to be killed"), "{}", one.said());
    let between = story.ended_before("one", "two");
    println!("{way:?} {api:?}: killed {between:?} before the next began");
    // The last renewal was sent before the cut.
    assert!(story.last("one") < cut + TTL_NS, "alive for {} ns after the cut", story.last("one") - cut);
    for label in ["one.child", "one.session", "one.daemon"] {
        assert!(story.has_seen(label, "lives"), "{label} has not lived");
    }
    assert!(story.token("one") < story.token("two"));
    story.nothing_is_left();
}

#[test]
fn cut_off_from_etcd_what_ignores_sigterm_is_killed_before_another_begins() {
    cut_off(Way::Plain, "v3");
}

#[test]
fn cut_off_from_etcd_what_ignores_sigterm_is_killed_before_another_begins_on_v2() {
    cut_off(Way::Plain, "v2");
}

#[test]
fn cut_off_from_etcd_what_ignores_sigterm_is_killed_before_another_begins_sanitized() {
    cut_off(Way::Sanitized, "v3");
}

#[test]
fn a_command_that_ends_on_sigterm_has_its_grace() {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    // On a busy machine too.
    let options = ["--stop-timeout", "0", "--ttl", "6", "--grace", "1"];
    let mut one = story.runs(&url(&cluster), "one", &options, &["signals", "session"]);
    story.sees("one", "ready");
    cluster.member(0).freeze();
    one.ends(76);
    assert!(story.has_seen("one", "caught-15") && story.has_seen("one.session", "caught-15"));
    assert!(!one.said().contains("killed"), "{}", one.said());
    cluster.member(0).thaw();
    story.nothing_is_left();
}

#[test]
fn etcd_dies_and_the_command_ends_by_the_clock() {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &["--stop-timeout", "0"], &["ignore", "session"]);
    story.sees("one", "ready");
    cluster.member(0).kill();
    let dead = now();
    one.ends(76);
    assert!(story.last("one") < dead + TTL_NS, "alive for {} ns after that", story.last("one") - dead);
    story.nothing_is_left();
}

/// Nobody may wait for the grace if the place is gone: the next in line begins at once.
#[test]
fn the_key_is_deleted_and_the_command_is_killed_at_once() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &[], &["signals", "session", "daemon"]);
    story.sees("one", "ready");
    let mut two = story.runs(&url(&cluster), "two", &[], &["signals"]);
    two.says("one leads");
    let key = cluster.etcdctl(&["get", "--prefix", "/jobs", "--keys-only", "--sort-by=CREATE", "--limit=1"]);
    cluster.etcdctl(&["del", key.trim()]);
    let deleted = now();
    one.ends(76);
    assert!(one.said().contains("(EL_KEY_LOST); killing the command"), "{}", one.said());
    assert!(!story.has_seen("one", "caught-15"), "it had SIGTERM");
    story.sees("two", "ready");
    println!("after the key was deleted: alive for {} ms", (story.last("one") - deleted) / 1_000_000);
    assert!(story.last("one") < deleted + 500_000_000, "{} ns", story.last("one") - deleted);
    two.signal(Signal::SIGTERM);
    two.ends(0);
    story.nothing_is_left();
}

#[test]
fn a_command_runs_for_many_leases_undisturbed() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let done = story.path("done");
    let until = format!("until={}", done.display());
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "2"], &[&until]);
    let begun = story.sees("one", "ready").at;
    wait_for("three leases to pass", || (story.last("one") > begun + 6_000_000_000).then_some(()));
    File::create(&done).expect("a file");
    one.ends(0);
    story.nothing_is_left();
}

#[test]
fn lead_is_killed_and_the_keeper_ends_all() {
    for (what, is_asked) in [(&["signals", "child"][..], true), (&["ignore", "child", "session", "daemon"][..], false)]
    {
        let (cluster, story) = (Cluster::single(), Story::new());
        let mut one = story.runs(&url(&cluster), "one", &[], what);
        story.sees("one", "ready");
        let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
        two.says("one leads");
        one.signal(Signal::SIGKILL);
        let killed = now();
        one.status();
        two.ends(0);
        assert_eq!(story.has_seen("one", "caught-15"), is_asked);
        // Not only when its time is over.
        assert!(!is_asked || story.last("one") < killed + 500_000_000, "alive for {} ns", story.last("one") - killed);
        println!("lead killed: the command lived for {} ms", (story.last("one") - killed) / 1_000_000);
        println!("lead killed: {:?} before the next began", story.ended_before("one", "two"));
        story.nothing_is_left();
    }
}

fn stopped_past_its_ttl(way: Way) {
    let (cluster, story) = (Cluster::single(), Story::told(way));
    let mut one = story.runs(&url(&cluster), "one", &[], &["ignore", "child", "session", "daemon"]);
    story.sees("one", "ready");
    let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
    two.says("one leads");
    one.signal(Signal::SIGSTOP);
    two.ends(0);
    println!("{way:?}: lead stopped: killed {:?} before the next began", story.ended_before("one", "two"));
    one.signal(Signal::SIGCONT);
    one.ends(76);
    story.nothing_is_left();
}

#[test]
fn lead_is_stopped_past_its_ttl_and_the_keeper_ends_all_in_time() {
    stopped_past_its_ttl(Way::Plain);
    stopped_past_its_ttl(Way::Sanitized);
}

#[test]
fn the_keeper_is_killed_and_lead_kills_all() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &[], &["ignore", "child", "session", "daemon"]);
    story.sees("one", "ready");
    let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
    two.says("one leads");
    kill(one.keeper(), Signal::SIGKILL).expect("a signal");
    one.ends(125);
    assert!(one.said().contains("the keeper process is dead: killing the command"), "{}", one.said());
    two.ends(0);
    story.ended_before("one", "two");
    story.nothing_is_left();
}

/// A shell that starts something and then becomes `lead` makes it a child of `lead`, and yet no part of the command.
#[test]
fn children_from_before_are_nobodys_business() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let script = "\"$1\" \"$2\" before signals & shift 2; exec \"$@\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(&programs().job).arg(story.path("signs"));
    shell.arg(&programs().plain).args(["--endpoints", &url(&cluster), "--key", "/jobs", "--"]);
    shell.args(story.job("one", &["ignore", "session"]));
    let mut one = story.start(shell, |_| {});
    let before = story.sees("before", "lives").pid;
    story.sees("one", "ready");
    kill(one.keeper(), Signal::SIGKILL).expect("a signal");
    one.ends(125);
    let over = now();
    wait_for("a sign of life", || (story.last("before") > over).then_some(()));
    assert!(story.last("one") < over);
    kill(Pid::from_raw(before), Signal::SIGTERM).expect("a signal");
    story.nothing_is_left();
}

#[test]
fn the_keeper_is_stopped_and_lead_kills_all_before_the_lease_is_over() {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    let proxy = Proxy::before(cluster.member(0).client_address());
    let mut one = story.runs(&proxy.url(), "one", &["--stop-timeout", "0"], &["ignore", "child", "session", "daemon"]);
    story.sees("one", "ready");
    let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
    two.says("one leads");
    kill(one.keeper(), Signal::SIGSTOP).expect("a signal");
    proxy.hold_all();
    one.ends(76);
    assert!(one.said().contains("the keeper process does not answer"), "{}", one.said());
    two.ends(0);
    println!("keeper stopped: killed {:?} before the next began", story.ended_before("one", "two"));
    story.nothing_is_left();
}

#[test]
fn both_are_killed_at_once_and_the_command_dies_with_them() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &[], &["ignore"]);
    story.sees("one", "ready");
    let keeper = one.keeper();
    // So that neither hears of the other's death.
    one.signal(Signal::SIGSTOP);
    kill(keeper, Signal::SIGKILL).expect("a signal");
    one.signal(Signal::SIGKILL);
    one.status();
    story.nothing_is_left();
}

#[test]
fn what_a_command_leaves_behind_ends_before_the_place_is_given_up() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let what = ["signals", "child", "session", "daemon", "exit=5"];
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "30", "--grace", "8"], &what);
    one.ends(5);
    for label in ["one.child", "one.session", "one.daemon"] {
        assert!(story.has_seen(label, "caught-15"), "{label} was not asked");
    }
    assert!(one.said().contains("the command left processes behind, which were ended"), "{}", one.said());
    let mut two = story.runs(&url(&cluster), "two", &[], &["ignore", "child", "session", "daemon", "exit=6"]);
    story.sees("two", "token-");
    story.ended_before("one", "two");
    let mut three = story.runs(&url(&cluster), "three", &[], &["exit=0"]);
    two.ends(6);
    assert!(two.said().contains("what the command left behind did not end on SIGTERM in time"), "{}", two.said());
    three.ends(0);
    story.ended_before("two", "three");
    story.nothing_is_left();
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
        assert!(lead.said().ends_with(said) && lead.said().is_empty() == said.is_empty(), "{}", lead.said());
    }
    story.nothing_is_left();
}

#[test]
fn the_turn_does_not_come_in_time() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one = story.runs(&url(&cluster), "one", &[], &["signals"]);
    story.sees("one", "ready");
    for wait in ["0", "0.3"] {
        let mut two = story.runs(&url(&cluster), "two", &["--wait", wait], &[]);
        two.ends(75);
        assert!(two.said().contains("lead: one leads /jobs, and the turn did not come"), "{}", two.said());
    }
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    for options in [&["--wait", "0", "--ttl", "2"][..], &["--wait", "2"]] {
        let nowhere = format!("http://{free}");
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
    let mut one = story.runs(&url(&cluster), "one", &[], &["signals", "child"]);
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
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("its address");
    let mut three = story.runs(&format!("http://{free}"), "three", &["--stop-timeout", "0"], &[]);
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
    container.args(["--key", "/jobs", "--name", "one", "--ttl", TTL, "--verbose", "--"]).args(job);
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
    // With --restart Ctrl-C is meant for good, though only the command hears it.
    for (stopped, often, ttl) in [("briefly", "--restart", "30"), ("for-long", "--once", "1")] {
        let mut shell = Command::new(&programs().shell);
        shell.arg(stopped).arg(&programs().plain).args(["--endpoints", &url(&cluster), "--key", "/terminal"]);
        shell.args([often, "--ttl", ttl, "--verbose", "--", "cat"]);
        let mut shell = story.start(shell, |_| {});
        shell.ends(0);
        assert_eq!(shell.shown(), "all is well\n");
    }
    story.nothing_is_left();
}

#[test]
fn usage_errors_name_option_value_and_remedy_and_touch_no_network() {
    let watched = TcpListener::bind("127.0.0.1:0").expect("a free port");
    watched.set_nonblocking(true).expect("not blocking");
    let url = format!("http://{}", watched.local_addr().expect("its address"));
    let story = Story::new();
    let long = "x".repeat(1025);
    let many = vec![url.as_str(); 65].join(",");
    let missing = story.path("missing").display().to_string();
    let good = |more: &[&'static str]| -> Vec<String> {
        let usual = ["--endpoints", &url, "--key", "/k"];
        usual.iter().chain(more).map(|word| word.to_string()).collect()
    };
    let own = |words: &[&str]| -> Vec<String> { words.iter().map(|word| word.to_string()).collect() };
    #[rustfmt::skip]
    let table: Vec<(Vec<String>, &[&str])> = vec![
        (own(&["--key", "/k"]), &["--endpoints is missing", "http://127.0.0.1:2379"]),
        (own(&["--endpoints", &url]), &["--key is missing", "such as /jobs/nightly"]),
        (own(&["--endpoints", "ftp://h", "--key", "/k"]), &["--endpoints[0]", "ftp", "http://"]),
        (own(&["--endpoints", "h:2379", "--key", "/k"]), &["--endpoints[0]", "h:2379", "http://"]),
        (own(&["--endpoints", "", "--key", "/k"]), &["--endpoints[0]", "http://"]),
        (own(&["--endpoints", &many, "--key", "/k"]), &["--endpoints is 65", "at most 64"]),
        (own(&["--endpoints", &url, "--key", "/k", "--endpoints", "http://me:Planted-Swordfish@h"]), &["--endpoints is given twice", "commas"]),
        (own(&["--endpoints", "http://me:Planted-Swordfish@h", "--key", "/k"]), &["--endpoints[0]", "leave them out"]),
        (own(&["--endpoints", &url, "--key", "/k/"]), &["--key \"/k/\"", "leave the slash out"]),
        (own(&["--endpoints", &url, "--key", ""]), &["--key is empty", "1 to 1024"]),
        (own(&["--endpoints", &url, "--key", &long]), &["--key \"xxx", "1025 bytes", "at most 1024"]),
        (good(&["--key", "/client.key"]), &["--key is given twice", "\"/k\"", "\"/client.key\"", "--key-file"]),
        (good(&["--name", ""]), &["--name is empty", "1 to 1024"]),
        (good(&["--name", "a", "--name", "b"]), &["--name is given twice", "\"a\"", "\"b\"", "once"]),
        (good(&["--api", "v4"]), &["--api is \"v4\"", "v2 or v3"]),
        (good(&["--wait", "soon"]), &["--wait is \"soon\"", "30 or 0.5"]),
        (good(&["--wait", "-1"]), &["--wait is \"-1\"", "30 or 0.5"]),
        (good(&["--wait"]), &["--wait has no value", "give SECONDS"]),
        (good(&["--wait=1.2345"]), &["--wait is \"1.2345\"", "0.5"]),
        (good(&["--once", "--restart"]), &["--once and --restart", "give one"]),
        (good(&["--once=1"]), &["--once is given \"1\"", "no value"]),
        (good(&["--pause", "2"]), &["--pause is \"2\" without --restart", "both, or neither"]),
        (good(&["--ttl", "301"]), &["--ttl is \"301\"", "1 to 300"]),
        (good(&["--ttl", "0"]), &["--ttl is \"0\"", "1 to 300"]),
        (good(&["--ttl", "1.5"]), &["--ttl is \"1.5\"", "whole seconds"]),
        (good(&["--grace", "3.5"]), &["--grace is 3.5", "lease of 10 s", "--ttl 12 or more"]),
        (good(&["--grace", "100"]), &["--grace is 100", "--ttl 250 or more"]),
        (good(&["--grace", "200"]), &["--grace is 200", "at most 140"]),
        (good(&["--grace", "301"]), &["--grace is \"301\"", "up to 300"]),
        (good(&["--grace", "1.5", "--step-down-ms", "2000"]), &["--grace is 1.5", "--step-down-ms 2000", "room for 1,", "give less"]),
        (good(&["--step-down-ms", "9000"]), &["--step-down-ms 9000", "--renew-ms 5000", "raise --ttl"]),
        (good(&["--renew-ms", "0"]), &["--renew-ms is \"0\"", "from 1 to"]),
        (good(&["--renew-ms", "9000"]), &["--renew-ms 9000", "lower one of them"]),
        (good(&["--request-timeout-ms", "9000"]), &["--request-timeout-ms is 9000", "give at most 1500"]),
        (good(&["--stop-timeout", "3601"]), &["--stop-timeout is \"3601\"", "up to 3600"]),
        (good(&["--cacert", "/none"]), &["--cacert is given", "write https://", "leave --cacert out"]),
        (own(&["--endpoints", "https://h", "--key", "/k", "--cacert", "/none"]), &["--cacert \"/none\"", "No such file"]),
        (good(&["--cert", "/c"]), &["--cert is \"/c\" without --key-file", "private key"]),
        (good(&["--key-file", "/c"]), &["--key-file is \"/c\" without --cert", "certificate"]),
        (own(&["--endpoints", "https://h", "--key", "/k", "--server-name", "a b"]), &["--server-name \"a b\"", "DNS name"]),
        (good(&["--user", "me"]), &["--user is \"me\"", "--password-file", "ETCD_LEADER_PASSWORD"]),
        (good(&["--user", "me:Planted-Swordfish"]), &["--user holds a colon", "--password-file"]),
        (good(&["--password", "Planted-Swordfish"]), &["--password is not taken", "--password-file"]),
        (good(&["--password=Planted-Swordfish"]), &["--password is not taken", "--password-file"]),
        (good(&["--password-file", "/f"]), &["--password-file is \"/f\" without --user", "both"]),
        ([good(&["--user", "me", "--password-file"]), own(&[&missing])].concat(), &["--password-file \"", "No such file", "may read"]),
        (good(&["--quiet", "--verbose"]), &["--quiet and --verbose", "one of them"]),
        (good(&["--nonsense=Planted-Swordfish"]), &["--nonsense is no option", "--help"]),
        (good(&["./job"]), &["\"./job\" is no option", "then --"]),
        (good(&["-x"]), &["\"-x\" is no option", "then --"]),
        (own(&["-h"]), &["\"-h\" is no option", "`lead --help` is the manual"]),
    ];
    let refused = |arguments: &[String], command: &[&str], parts: &[&str]| {
        let mut process = Command::new(&programs().plain);
        process.args(arguments).args(command);
        let mut lead = story.start(process, |_| {});
        lead.ends(2);
        let said = lead.said();
        for part in parts {
            assert!(said.contains(part), "{arguments:?} should say {part:?}:\n{said}");
        }
        assert!(said.starts_with("lead: ") && said.lines().count() == 1, "{said}");
        assert!(!said.contains("Swordfish"), "{said}");
        assert_eq!(lead.shown(), "");
    };
    for (arguments, parts) in &table {
        refused(arguments, &["--", "true"], parts);
    }
    refused(&own(&[]), &[], &["--endpoints is missing", "`lead --help` is the manual"]);
    refused(&good(&[]), &[], &["the command is missing", "after --"]);
    refused(&good(&[]), &["--"], &["the command is missing", "after --"]);
    assert!(watched.accept().is_err(), "somebody has connected");
    story.nothing_is_left();
}

#[test]
fn the_manual_has_every_option_and_nothing_else() {
    let story = Story::new();
    let mut help = Command::new(&programs().plain);
    help.arg("--help");
    let mut help = story.start(help, |_| {});
    help.ends(0);
    let manual = help.shown();
    assert_eq!(help.said(), "");
    assert!(manual.lines().all(|line| line.chars().count() <= 80), "{manual}");
    let listed: BTreeSet<&str> =
        manual.lines().filter_map(|line| line.strip_prefix("  --")?.split(' ').next()).collect();
    let source = fs::read_to_string(root().join("examples/c/lead/options.c")).expect("the source");
    let parsed = source.matches("\n    case ").count();
    // One for the number of options.
    assert_eq!(listed.len(), parsed - 1, "{listed:?}");
    for option in &listed {
        // It is parsed: given last, each asks for its value or for what is missing, and says not that it is none.
        let mut lead = Command::new(&programs().plain);
        lead.arg(format!("--{option}"));
        let mut lead = story.start(lead, |_| {});
        let status = lead.status();
        assert!(status.code() == Some(if ["help", "version"].contains(option) { 0 } else { 2 }), "{option}: {status}");
        assert!(!lead.said().contains("is no option"), "{}", lead.said());
    }
    let named: BTreeSet<&str> = manual
        .split(|one: char| !one.is_ascii_alphanumeric() && one != '-')
        .filter_map(|word| word.strip_prefix("--"))
        .collect();
    let unknown: Vec<_> = named.iter().filter(|word| !word.is_empty() && !listed.contains(*word)).collect();
    // The command's own in the first example.
    assert_eq!(unknown, [&"all"]);
    for status in ["2 ", "69 ", "75 ", "76 ", "125 ", "126 ", "127 "] {
        assert!(manual.lines().any(|line| line.trim_start().starts_with(status)), "{status}");
    }
}

/// What is shown as an example has options that there are; and systemd takes the unit, if it is here to say so.
#[test]
fn the_examples_for_systemd_and_kubernetes_are_good() {
    let known = fs::read_to_string(root().join("examples/c/lead/manual.c")).expect("the manual");
    for name in [
        "systemd/nightly-job.service",
        "systemd/nightly-job.timer",
        "systemd/worker.service",
        "kubernetes/sidecar.yaml",
    ] {
        let text = fs::read_to_string(root().join("examples").join(name)).expect("an example");
        assert!(text.starts_with("# "), "{name} says what it is first");
        let code = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let ours = code.filter_map(|line| line.split(" -- ").next());
        let words = ours.flat_map(|line| line.split(|one: char| one.is_whitespace() || "\"'[],=".contains(one)));
        for option in words.filter_map(|word| word.strip_prefix("--")).filter(|word| !["", "-"].contains(word)) {
            assert!(known.contains(&format!("= {{\"{option}\",")), "{name} has --{option}, which is no option");
        }
        if !name.starts_with("systemd") {
            continue;
        }
        // As it would stand on a machine with all of it installed.
        let directory = tempfile::tempdir().expect("a directory");
        for one in ["nightly-job.service", "nightly-job.timer", "worker.service"] {
            let unit = fs::read_to_string(root().join("examples/systemd").join(one)).expect("a unit");
            let unit = unit.replace("/usr/local/bin/lead", &programs().plain.display().to_string());
            fs::write(directory.path().join(one), unit).expect("written");
        }
        let file = directory.path().join(name.trim_start_matches("systemd/"));
        match Command::new("systemd-analyze").arg("verify").arg("--man=no").arg(&file).output() {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let about: Vec<&str> =
                    said.lines().filter(|line| line.contains("nightly-job") || line.contains("worker")).collect();
                assert!(about.is_empty(), "{about:#?}");
            }
            Err(_) => println!("no systemd-analyze here"),
        }
    }
}

/// The password that must be nowhere.
const PLANTED: &str = "Planted-Swordfish-1";

/// Whether a process can be seen to know the password: in its environment or command line.
fn shows_password(pid: impl std::fmt::Display) -> bool {
    ["environ", "cmdline"].iter().any(|file| {
        let found = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        found.windows(9).any(|part| part == b"Swordfish")
    })
}

#[test]
fn a_user_with_a_password_that_nobody_sees() {
    let cluster = Cluster::of(1, &["--bcrypt-cost=4"]);
    for command in [
        &["user", "add", &format!("root:{PLANTED}")][..],
        &["user", "grant-role", "root", "root"],
        &["user", "add", &format!("worker:{PLANTED}")],
        &["role", "add", "jobs"],
        &["role", "grant-permission", "jobs", "--prefix=true", "readwrite", "/jobs/"],
        &["user", "grant-role", "worker", "jobs"],
        &["auth", "enable"],
    ] {
        cluster.etcdctl(command);
    }
    let story = Story::new();
    let url = url(&cluster);
    let file = story.path("secret");
    fs::write(&file, format!("{PLANTED}\n")).expect("written");
    let from_file = ["--password-file", &file.display().to_string()].map(str::to_string);
    let job = story.job("one", &["signals", "child"]);
    let job: Vec<&str> = job.iter().map(String::as_str).collect();
    for (name, more) in [("variable", &[][..]), ("file", &from_file[..])] {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let usual = ["--endpoints", &url, "--key", "/jobs", "--ttl", "3", "--user", "worker", "--verbose"];
        let options = [&usual[..], &more].concat();
        let mut lead = story.lead_with(&options, &job, |process| {
            // With --password-file the variable is not needed, and wiped all the same.
            process.env("ETCD_LEADER_PASSWORD", if name == "file" { "another Swordfish" } else { PLANTED });
        });
        lead.says("the command runs");
        let pids: BTreeSet<i32> = wait_for("the job", || {
            let pids: BTreeSet<i32> =
                story.signs().iter().filter(|sign| sign.event == "lives").map(|sign| sign.pid).collect();
            (pids.len() >= 2).then_some(pids)
        });
        for pid in pids.into_iter().chain([lead.pid().as_raw(), lead.keeper().as_raw()]) {
            assert!(!shows_password(pid), "process {pid} shows the password");
        }
        lead.signal(Signal::SIGTERM);
        lead.ends(0);
        assert!(!lead.said().contains("Swordfish"), "{}", lead.said());
        fs::remove_file(story.path("signs")).expect("removed");
    }
    // A wrong password, and a key that the user may not use, are told; the password is not.
    for (key, password, said) in
        [("/jobs", "wrong Swordfish", "password"), ("/other", PLANTED, "etcdctl role grant-permission")]
    {
        let options = ["--endpoints", &url, "--key", key, "--ttl", "3", "--user", "worker"];
        let mut lead = story.lead_with(&options, &["true"], |process| {
            process.env("ETCD_LEADER_PASSWORD", password);
        });
        lead.ends(125);
        assert!(
            lead.said().contains("the election cannot go on: ") && lead.said().contains("(EL_DENIED)"),
            "{}",
            lead.said()
        );
        assert!(lead.said().contains(said) && !lead.said().contains("Swordfish"), "{}", lead.said());
    }
    story.nothing_is_left();
}

/// A CA and what it signs, made with openssl.
struct Ca<'a> {
    directory: &'a Path,
    name: &'static str,
}

impl Ca<'_> {
    fn new<'a>(directory: &'a Path, name: &'static str) -> Ca<'a> {
        let ca = Ca { directory, name };
        ca.openssl(&format!("req -x509 -days 3650 -subj /CN={name} -out {name}.crt"), name);
        ca
    }

    fn openssl(&self, words: &str, key: &str) {
        let mut command = Command::new("openssl");
        command.args(words.split(' ')).current_dir(self.directory).stdin(Stdio::null());
        if words.starts_with("req") {
            command.args([
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                &format!("{key}.key"),
            ]);
        }
        let output = command.output().unwrap_or_else(|error| panic!("openssl: {error}"));
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn issue(&self, name: &str, usage: &str) {
        fs::write(self.directory.join("ext"), format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n"))
            .expect("written");
        self.openssl(&format!("req -subj /CN={name} -out {name}.csr"), name);
        let ca = self.name;
        let sign = format!(
            "x509 -req -in {name}.csr -CA {ca}.crt -CAkey {ca}.key -CAcreateserial -days 3650 -extfile ext -out {name}.crt"
        );
        self.openssl(&sign, name);
    }
}

#[test]
fn tls_with_a_certificate_of_our_own_and_a_wrong_ca() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    let ca = Ca::new(directory.path(), "ca");
    Ca::new(directory.path(), "stranger");
    ca.issue("server", "serverAuth");
    ca.issue("client", "clientAuth");
    let flags = [
        format!("--cert-file={}", path("server.crt")),
        format!("--key-file={}", path("server.key")),
        "--client-cert-auth".to_string(),
        format!("--trusted-ca-file={}", path("ca.crt")),
    ];
    let cluster = Cluster::secure(&flags.each_ref().map(String::as_str));
    let story = Story::new();
    let url = cluster.https_url("127.0.0.1");
    let (cert, key) = (path("client.crt"), path("client.key"));
    let usual = ["--endpoints", &url, "--key", "/tls", "--cert", &cert, "--key-file", &key, "--cacert"];
    let mut lead = story.lead(&[&usual[..], &[&path("ca.crt")]].concat(), &["echo", "secure"]);
    lead.ends(0);
    assert_eq!((lead.shown().as_str(), lead.said().as_str()), ("secure\n", ""));
    let mut lead =
        story.lead(&[&usual[..], &[&path("stranger.crt"), "--wait", "1", "--stop-timeout", "0"]].concat(), &["true"]);
    lead.ends(69);
    assert!(lead.said().contains("retrying: ") && lead.said().contains("(EL_UNTRUSTED)"), "{}", lead.said());
    // The key where the certificate belongs is refused at once.
    let swapped =
        ["--endpoints", &url, "--key", "/tls", "--cert", &key, "--key-file", &cert, "--cacert", &path("ca.crt")];
    let mut lead = story.lead(&swapped, &["true"]);
    lead.ends(2);
    assert!(lead.said().starts_with("lead: --cert \""), "{}", lead.said());
    story.nothing_is_left();
}
