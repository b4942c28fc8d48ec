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

#[test]
fn many_generations_that_a_stopped_keeper_leaves_are_killed_before_the_lease_is_over() {
    let (mut cluster, story) = (Cluster::single(), Story::new());
    let proxy = Proxy::before(cluster.member(0).client_address());
    let mut one = story.runs(&proxy.url(), "one", &["--stop-timeout", "0"], &["ignore", "generations=30"]);
    story.sees(&format!("one{}", ".g".repeat(30)), "begins");
    let mut two = story.runs(&url(&cluster), "two", &[], &["exit=0"]);
    two.says("one leads");
    kill(one.keeper(), Signal::SIGSTOP).expect("a signal");
    proxy.hold_all();
    one.ends(76);
    two.ends(0);
    println!("30 generations: killed {:?} before the next began", story.ended_before("one", "two"));
    story.nothing_is_left();
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
fn without_proc_nothing_is_begun() {
    let story = Story::new();
    let mut process = Command::new("unshare");
    process.args(["--mount", "sh", "-c", "mount -t tmpfs none /proc && exec \"$0\" \"$@\""]).arg(&programs().plain);
    process.args(["--endpoints", "http://127.0.0.1:1", "--key", "/jobs", "--", "true"]);
    let mut lead = story.start(process, |_| {});
    lead.ends(125);
    assert!(lead.said().contains("/proc cannot be read"), "{}", lead.said());
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
