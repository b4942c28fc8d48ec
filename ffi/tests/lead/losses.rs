//! When the lead is lost, and when a command ends: who is ended, how, and in time.

use std::fs::File;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::library::Way;
use super::story::{Story, now, programs};
use super::{TTL_NS, url, with_v2};
use support::{Cluster, Proxy, wait_for};

/// `one` is cut off from etcd while `two` is not; the job of `one` is all of these at once.
fn cut_off(way: Way, api: &str) {
    const STUBBORN: [&str; 5] = ["ignore", "child", "session", "thread", "daemon"];
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
    for label in ["one.child", "one.session", "one.thread", "one.daemon"] {
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
    let options = ["--stop-timeout", "0", "--ttl", "9", "--grace", "2"];
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
    // So long that only the delete ends it in time.
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "30"], &["signals", "session", "daemon"]);
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
    // Not only when the lease would have run out.
    assert!(story.last("one") < deleted + 15_000_000_000, "{} ns", story.last("one") - deleted);
    two.signal(Signal::SIGTERM);
    two.ends(0);
    story.nothing_is_left();
}

#[test]
fn a_command_runs_for_many_leases_undisturbed() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let done = story.path("done");
    let until = format!("until={}", done.display());
    // Renewed often, so that a busy machine does not lose it.
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "4", "--renew-ms", "300"], &[&until]);
    let begun = story.sees("one", "ready").at;
    wait_for("three leases to pass", || (story.last("one") > begun + 12_000_000_000).then_some(()));
    File::create(&done).expect("a file");
    one.ends(0);
    story.nothing_is_left();
}

#[test]
fn lead_is_killed_and_the_keeper_ends_all() {
    for (what, is_asked) in
        [(&["signals", "child"][..], true), (&["ignore", "child", "session", "thread", "daemon"][..], false)]
    {
        let (cluster, story) = (Cluster::single(), Story::new());
        let mut one = story.runs(&url(&cluster), "one", &["--ttl", "8"], what);
        story.sees("one", "ready");
        let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
        two.says("one leads");
        one.signal(Signal::SIGKILL);
        let killed = now();
        one.status();
        two.ends(0);
        assert_eq!(story.has_seen("one", "caught-15"), is_asked);
        // Not only when its time is over.
        assert!(!is_asked || story.last("one") < killed + 4_000_000_000, "alive for {} ns", story.last("one") - killed);
        println!("lead killed: the command lived for {} ms", (story.last("one") - killed) / 1_000_000);
        println!("lead killed: {:?} before the next began", story.ended_before("one", "two"));
        story.nothing_is_left();
    }
}

fn stopped_past_its_ttl(way: Way) {
    let (cluster, story) = (Cluster::single(), Story::told(way));
    let mut one = story.runs(&url(&cluster), "one", &[], &["ignore", "child", "session", "thread", "daemon"]);
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
    let mut one = story.runs(&url(&cluster), "one", &[], &["ignore", "child", "session", "thread", "daemon"]);
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
    let mut one =
        story.runs(&proxy.url(), "one", &["--stop-timeout", "0"], &["ignore", "child", "session", "thread", "daemon"]);
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
    let what = ["signals", "child", "session", "thread", "daemon", "exit=5"];
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "30", "--grace", "8"], &what);
    one.ends(5);
    for label in ["one.child", "one.session", "one.thread", "one.daemon"] {
        assert!(story.has_seen(label, "caught-15"), "{label} was not asked");
    }
    assert!(one.said().contains("the command left processes behind, which were ended"), "{}", one.said());
    let mut two = story.runs(&url(&cluster), "two", &[], &["ignore", "child", "session", "thread", "daemon", "exit=6"]);
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
fn a_stop_and_a_kill_at_once_are_the_end_of_the_command() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let url = url(&cluster);
    let mark = story.path("slow");
    let job = story.job("one", &[]);
    let job: Vec<&str> = job.iter().map(String::as_str).collect();
    let mut one = story.lead_with(&["--endpoints", &url, "--key", "/jobs"], &job, |process| {
        process.env("LD_PRELOAD", &programs().slow).env("SLOW", &mark);
    });
    let command = Pid::from_raw(story.sees("one", "ready").pid);
    kill(command, Signal::SIGSTOP).expect("a signal");
    wait_for("the keeper to hear of the stop", || mark.exists().then_some(()));
    kill(command, Signal::SIGKILL).expect("a signal");
    one.ends(128 + 9);
    story.nothing_is_left();
}

/// In a lease of two seconds there is a tenth of one for all of them.
fn many_generations(is_keeper_stopped: bool, what: &str) {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    let proxy = Proxy::before(cluster.member(0).client_address());
    let options = ["--ttl", "2", "--stop-timeout", "0"];
    let mut one = story.runs(&proxy.url(), "one", &options, &["ignore", &format!("{what}=60")]);
    story.sees(&format!("one{}", ".g".repeat(60)), "lives");
    let mut two = story.runs(&url(&cluster), "two", &["--ttl", "2"], &["exit=0"]);
    two.says("one leads");
    if is_keeper_stopped {
        kill(one.keeper(), Signal::SIGSTOP).expect("a signal");
    }
    proxy.hold_all();
    one.ends(76);
    two.ends(0);
    let between = story.ended_before("one", "two");
    println!("60 {what}, keeper stopped: {is_keeper_stopped}: killed {between:?} before the next began");
    story.nothing_is_left();
}

#[test]
fn many_generations_are_killed_before_the_lease_is_over() {
    many_generations(false, "generations");
}

#[test]
fn many_generations_that_a_stopped_keeper_leaves_are_killed_before_the_lease_is_over() {
    many_generations(true, "generations");
    many_generations(true, "relatives");
}

#[test]
fn what_the_command_leaves_behind_is_asked_to_end_once() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let counting = story.job("one", &["count"]).join(" ");
    let script = format!("trap 'exit 0' TERM; {counting} & wait");
    let options = ["--endpoints", &url(&cluster), "--key", "/jobs"];
    let mut lead = story.lead(&options, &["sh", "-c", &script]);
    story.sees("one", "ready");
    lead.signal(Signal::SIGTERM);
    lead.ends(0);
    let asked = story.signs().iter().filter(|sign| sign.event == "caught-15").count();
    assert_eq!(asked, 1, "{}", lead.said());
    story.nothing_is_left();
}

#[test]
fn what_the_command_starts_on_sigterm_and_leaves_behind_is_asked_too() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let (begun, signs) = (story.path("begun"), story.path("signs"));
    let counting = story.job("one", &["count"]).join(" ");
    let on_term = format!("{counting} & until grep -q ready {}; do sleep 0.05; done; exit 0", signs.display());
    let script = format!("trap '{on_term}' TERM; : > {}; while :; do sleep 0.05; done", begun.display());
    let options = ["--endpoints", &url(&cluster), "--key", "/jobs"];
    let mut lead = story.lead(&options, &["sh", "-c", &script]);
    wait_for("the command", || begun.exists().then_some(()));
    lead.signal(Signal::SIGTERM);
    lead.ends(0);
    let asked = story.signs().iter().filter(|sign| sign.event == "caught-15").count();
    assert_eq!(asked, 1, "{}", lead.said());
    story.nothing_is_left();
}

#[test]
fn sigterm_while_the_keeper_is_stopped_is_the_end_all_the_same() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let mut one =
        story.runs(&url(&cluster), "one", &["--ttl", "60"], &["ignore", "child", "session", "thread", "daemon"]);
    story.sees("one", "ready");
    kill(one.keeper(), Signal::SIGSTOP).expect("a signal");
    one.signal(Signal::SIGTERM);
    one.ends(125);
    assert!(one.said().contains("the keeper process does not answer"), "{}", one.said());
    story.nothing_is_left();
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/jobs", "--keys-only"]), "");
}

#[test]
fn a_keeper_that_is_stopped_before_the_turn_comes_holds_nobody_up() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let done = story.path("done");
    let until = format!("until={}", done.display());
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "20"], &[&until]);
    story.sees("one", "ready");
    let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
    two.says("one leads");
    kill(two.keeper(), Signal::SIGSTOP).expect("a signal");
    File::create(&done).expect("a file");
    one.ends(0);
    two.ends(125);
    assert!(two.said().contains("the keeper process does not answer"), "{}", two.said());
    story.nothing_is_left();
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/jobs", "--keys-only"]), "");
}
