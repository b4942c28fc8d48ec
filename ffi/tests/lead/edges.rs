//! What a reviewer has found, and what the README shows.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::library::root;
use super::story::{Story, programs};
use super::support::{Cluster, Proxy, wait_for};
use super::url;

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
    let mut one = story.runs(&url(&cluster), "one", &["--ttl", "60"], &["ignore", "child", "session", "daemon"]);
    story.sees("one", "ready");
    kill(one.keeper(), Signal::SIGSTOP).expect("a signal");
    one.signal(Signal::SIGTERM);
    one.ends(125);
    assert!(one.said().contains("the keeper process does not answer"), "{}", one.said());
    story.nothing_is_left();
    assert_eq!(cluster.etcdctl(&["get", "--prefix", "/jobs", "--keys-only"]), "");
}

#[test]
fn a_command_may_take_its_time_to_end_on_sigterm() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let done = story.path("done");
    let until = format!("until={}", done.display());
    let mut one = story.runs(&url(&cluster), "one", &[], &["count", &until]);
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
    let mut one = story.runs(&url(&cluster), "one", &[], &["signals"]);
    story.sees("one", "ready");
    let mut two = story.runs(&proxy.url(), "two", &["--ttl", "2", "--wait", "5", "--stop-timeout", "0"], &[]);
    two.says("one leads");
    proxy.hold_all();
    two.ends(69);
    one.signal(Signal::SIGTERM);
    one.ends(0);
    story.nothing_is_left();
}

/// There is none, or it is another namespace's.
#[test]
fn without_proc_nothing_is_begun() {
    let story = Story::new();
    for without in
        [&["--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"][..], &["--pid", "--fork"]]
    {
        let mut process = Command::new("unshare");
        process.args(without).arg(&programs().plain);
        process.args(["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--wait", "3", "--", "true"]);
        let mut lead = story.start(process, |_| {});
        lead.ends(125);
        assert!(lead.said().contains("/proc is not mounted, or is another namespace's"), "{}", lead.said());
    }
}

/// What the probe of the example for Kubernetes says of the mark that its sidecar makes.
#[test]
fn the_mark_of_the_sidecar_goes_with_the_lead() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let example = fs::read_to_string(root().join("examples/kubernetes/sidecar.yaml")).expect("the example");
    let place = story.path("leader");
    fs::create_dir(&place).expect("a directory");
    let here = |text: &str| text.replace("/leader/", &format!("{}/", place.display()));
    let (_, probe) = example.split_once("command: [sh, -c, '").expect("the probe");
    let probe = here(probe.split('\'').next().expect("its end"));
    let is_ready = || Command::new("sh").args(["-c", &probe]).output().expect("sh").status.success();
    let (_, script) = example.split_once("- |\n").expect("the sidecar");
    let script: Vec<&str> = script.lines().take_while(|line| line.starts_with("              ")).collect();
    let script = here(&script.join("\n")).replace("/usr/local/bin/lead", &programs().plain.display().to_string());
    let mut sidecar = Command::new("sh");
    sidecar.args(["-c", &script.replace("http://etcd:2379", &url(&cluster))]).env("POD_NAME", "one");
    assert!(!is_ready(), "without a mark");
    let mut lead = story.start(sidecar, |_| {});
    wait_for("the mark", || is_ready().then_some(()));
    lead.signal(Signal::SIGTERM);
    lead.ends(0);
    assert!(!is_ready(), "the mark was left");
    let old = Command::new("touch").args(["-d", "5 seconds ago"]).arg(place.join("token")).status();
    assert!(old.expect("touch").success());
    assert!(!is_ready(), "with an old mark");
    story.nothing_is_left();
}

#[test]
fn a_password_that_stands_twice_in_the_environment_is_wiped_twice() {
    let story = Story::new();
    let mut process = Command::new(&programs().twice);
    process.arg(&programs().plain).args(["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--user", "worker"]);
    process.args(["--", "true"]);
    let mut lead = story.start(process, |_| {});
    lead.says("retrying");
    for pid in [lead.pid(), lead.keeper()] {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("its environment");
        assert!(!environment.windows(9).any(|part| part == b"Swordfish"), "process {pid} shows the password");
    }
    lead.signal(Signal::SIGTERM);
    lead.status();
}

#[test]
fn a_password_that_can_be_read_once_is_none_for_restart() {
    let story = Story::new();
    let usual = ["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--user", "worker", "--password-file"];
    let mut lead = story.lead(&[&usual[..], &["/dev/null", "--restart"]].concat(), &["true"]);
    lead.ends(2);
    assert!(lead.said().contains("--password-file \"/dev/null\" can be read only once"), "{}", lead.said());
}

/// On an etcd of the test's, and in a directory with a `job`.
#[test]
fn the_line_in_the_readme_runs_its_job() {
    let (cluster, story) = (Cluster::single(), Story::new());
    let readme = fs::read_to_string(root().join("README.md")).expect("the README");
    let line = readme.lines().find(|line| line.starts_with("lead --endpoints ")).expect("the line");
    let words: Vec<&str> = line.split(' ').skip(1).collect();
    let at = words.iter().position(|word| *word == "--").expect("a command");
    let (mut options, command) = (words[..at].to_vec(), &words[at + 1..]);
    let url = url(&cluster);
    options[1] = &url;
    let directory = tempfile::tempdir().expect("a directory");
    let job = directory.path().join("job");
    fs::write(&job, "#!/bin/sh\necho \"$@\" \"$ETCD_LEADER_TOKEN\"\n").expect("written");
    fs::set_permissions(&job, fs::Permissions::from_mode(0o755)).expect("a program");
    let mut lead = story.lead_with(&options, command, |process| {
        process.current_dir(directory.path());
    });
    lead.ends(0);
    let shown = lead.shown();
    let token = shown.strip_prefix("--all ").expect("its argument").trim_end();
    assert!(token.parse::<u64>().is_ok_and(|token| token > 0), "{shown}");
}
