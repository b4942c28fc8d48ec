//! Other clients in the same election: Debian's `etcdctl elect`, which is Go's `concurrency.Election`.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::candidate::{Candidate, Setup};
use support::spawn::spawn;
use support::{Cluster, etcdctl_binary};

/// `etcdctl elect`, which says its key and its value once it leads.
struct Etcdctl {
    child: Child,
    lines: Receiver<String>,
}

impl Etcdctl {
    fn elect(url: &str, arguments: &[&str]) -> Etcdctl {
        let mut command = Command::new(etcdctl_binary());
        command.env("ETCDCTL_API", "3").args(["--endpoints", url, "elect"]).args(arguments).stdout(Stdio::piped());
        let mut child = spawn(command).expect("etcdctl");
        let stdout = BufReader::new(child.stdout.take().expect("its output"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Etcdctl { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(30)).expect("etcdctl says something")
    }

    /// Interrupted it resigns, as Go programs do.
    fn resign(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), Signal::SIGINT).expect("it runs");
        self.child.wait().expect("its end");
    }
}

impl Drop for Etcdctl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn etcdctl_elect_takes_its_turn_among_ours() {
    let cluster = Cluster::single();
    let (urls, key) = (cluster.urls(), "/mixed");
    let ours = Setup::new(&urls, key, 5);

    // ours - theirs - ours
    let mut one = ours.start("one");
    one.elected();
    let mut theirs = Etcdctl::elect(&urls[0], &[key, "theirs"]);
    cluster.wait_for_members("/mixed/", 2);
    let mut two = ours.start("two");
    assert_eq!(two.hears("leader"), "one");
    assert_eq!((one.claims().starts_with("yes"), two.claims().as_str()), (true, "no"));
    one.stop();
    assert!(theirs.line().starts_with("/mixed/"));
    assert_eq!(theirs.line(), "theirs");
    assert_eq!(two.hears("leader"), "theirs");
    assert_eq!(two.claims(), "no");

    // theirs - ours - theirs
    let last = Etcdctl::elect(&urls[0], &[key, "last"]);
    cluster.wait_for_members("/mixed/", 3);
    theirs.resign();
    two.elected();
    assert!(last.lines.try_recv().is_err(), "it waits for its turn");
    two.stop();
    assert!(last.line().starts_with("/mixed/"));
}

#[test]
fn etcdctl_sees_our_leader_and_a_killed_one_is_succeeded() {
    let cluster = Cluster::single();
    let (urls, key) = (cluster.urls(), "/seen");
    let mut one: Candidate = Setup::new(&urls, key, 3).start("one");
    let token = one.elected();
    let observer = Etcdctl::elect(&urls[0], &["--listen", key]);
    assert!(observer.line().starts_with("/seen/"));
    assert_eq!(observer.line(), "one");
    let theirs = Etcdctl::elect(&urls[0], &[key, "theirs"]);
    cluster.wait_for_members("/seen/", 2);
    one.kill();
    let member = theirs.line();
    assert_eq!(theirs.line(), "theirs");
    let held = cluster.etcdctl(&["get", &member, "-w", "fields"]);
    let revision = held.lines().find_map(|line| line.strip_prefix("\"CreateRevision\" : "));
    assert!(revision.expect("a revision").parse::<u64>().expect("a number") > token, "tokens grow across clients");
}

/// It announces nothing: those behind it who are not next in line find out themselves, and far sooner than in a ttl.
#[test]
fn a_leader_of_another_client_is_known_to_those_who_wait() {
    let cluster = Cluster::single();
    let (urls, key) = (cluster.urls(), "/silent");
    let setup = Setup::new(&urls, key, 60);
    let mut one = setup.start("one");
    one.elected();
    let _theirs = Etcdctl::elect(&urls[0], &[key, "theirs"]);
    cluster.wait_for_members("/silent/", 2);
    let [next, last] = ["next", "last"].map(|name| {
        let candidate = setup.start(name);
        candidate.hears("leader one");
        candidate
    });
    one.stop();
    for candidate in [next, last] {
        candidate.hears("leader theirs");
    }
}
