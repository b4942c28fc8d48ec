//! Many candidates with passwords, which etcd checks at a cost: at the start, and when it was restarted.

use std::process::{Command, Stdio};
use std::time::Duration;

use etcd_leader::Api;
use etcd_leader::backend::v2::role_recipe;

use super::candidate::{Candidate, PATIENCE, Said, Setup, check_terms, millis, now_ms};
use support::{Cluster, children::Children, cpu_ms, etcdctl_binary, has_v2, spawn::spawn, v2};

pub(crate) const USER: [&str; 2] = ["worker", "of-the-worker"];
const ROOT_PASSWORD: &str = "of-root";
/// The cost that bcrypt has without a flag; each step doubles the time.
const USUAL: u32 = 10;
/// For so long the figures watch a crowd that is at rest.
const AT_REST: Duration = Duration::from_secs(20);

/// An etcd that asks for users, of which one may use what is under this key.
pub(crate) fn guarded(members: usize, cost: u32, key: &str) -> Cluster {
    let cluster = Cluster::of(members, &[&format!("--bcrypt-cost={cost}"), "--pre-vote=true"]);
    let root = format!("root:{ROOT_PASSWORD}");
    for words in [&["user", "add", &root][..], &["user", "grant-role", "root", "root"], &["role", "add", "worker"]] {
        cluster.etcdctl(words);
    }
    cluster.etcdctl(&["user", "add", &USER.join(":")]);
    cluster.etcdctl(&["user", "grant-role", USER[0], "worker"]);
    cluster.etcdctl(&["role", "grant-permission", "worker", "readwrite", "--prefix=true", &format!("{key}/")]);
    cluster.etcdctl(&["auth", "enable"]);
    cluster
}

/// The same on API v2.
fn guarded_in_v2(key: &str) -> Cluster {
    let cluster = Cluster::of(1, &["--enable-v2=true"]);
    let run = |command: &str| v2::manage(cluster.client_address(0), ROOT_PASSWORD, command);
    run(&format!("etcdctl user add root:{ROOT_PASSWORD}"));
    run(&format!("etcdctl user add {}", USER.join(":")));
    run("etcdctl auth enable");
    run("etcdctl role revoke guest --readwrite --path '/*'");
    for command in role_recipe(USER[0], key) {
        run(&command);
    }
    cluster
}

/// Starts so many at once, and waits until each is served: one leads, and the others know who.
pub(crate) fn crowd(setup: &Setup<'_>, count: usize) -> Vec<Candidate> {
    let crowd: Vec<Candidate> = (0..count).map(|at| setup.start(&format!("c{at}"))).collect();
    crowd.iter().for_each(|one| drop(one.hears("leader c")));
    crowd
}

/// Somebody leads, and no two at one time. The lead may be changing hands, and the others may know of a leader before it
/// does: all are asked until one says yes.
pub(crate) fn one_leads(crowd: &mut [Candidate]) {
    let until = now_ms() + millis(PATIENCE);
    while !crowd.iter_mut().any(|one| one.claims().starts_with("yes")) {
        assert!(now_ms() < until, "{:#?}", crowd.iter().map(|one| (&one.name, one.log())).collect::<Vec<_>>());
    }
    check_terms(&crowd.iter().collect::<Vec<_>>());
}

/// etcd's processors are busy with passwords: forty logins take it several seconds, and none is asked for twice.
#[test]
fn forty_with_passwords_are_served_and_again_after_a_restart() {
    let mut cluster = guarded(1, USUAL, "/crowd");
    let urls = cluster.urls();
    let mut crowd = crowd(&Setup { user: USER, ..Setup::new(&urls, "/crowd", 10) }, 40);
    one_leads(&mut crowd);
    cluster.member(0).kill();
    crowd.iter().for_each(|one| drop(one.hears("retrying")));
    cluster.member(0).start();
    crowd.iter().for_each(|one| drop(one.hears("fine")));
    one_leads(&mut crowd);
}

/// `make crowds`. Not a test: nothing is judged by time.
#[test]
#[ignore = "figures for people: make crowds"]
fn figures() {
    for (count, ttl_s) in [(40, 5), (40, 10), (100, 10)] {
        println!("v3, {count} with passwords, ttl {ttl_s}: `etcdctl elect` is in line after {}", in_line(count));
        restarted(Api::V3, count, ttl_s);
    }
    for count in [20, 40].into_iter().filter(|_| has_v2()) {
        println!("v2, {count} with passwords, ttl 10:");
        restarted(Api::V2, count, 10);
    }
    for (count, ttl_s) in [(20, 5), (30, 10)] {
        rolled(count, ttl_s);
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1000, ms % 1000 / 10)
}

/// How long it takes so many `etcdctl elect` until each has its key, or has given up.
fn in_line(count: usize) -> String {
    let cluster = guarded(1, USUAL, "/crowd");
    let begun = now_ms();
    let start = |at: usize| {
        let mut command = Command::new(etcdctl_binary());
        command.env("ETCDCTL_API", "3").arg(format!("--endpoints={}", cluster.urls()[0]));
        command.args([&format!("--user={}", USER.join(":")), "elect", "/crowd", &format!("c{at}")]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        spawn(command).expect("etcdctl")
    };
    let mut crowd = Children((0..count).map(start).collect());
    let root = format!("--user=root:{ROOT_PASSWORD}");
    loop {
        let keys = cluster.etcdctl(&["get", "--prefix", "/crowd/", "--keys-only", &root]).split_whitespace().count();
        let in_vain = crowd.0.iter_mut().filter_map(|child| child.try_wait().expect("a child of ours")).count();
        if keys + in_vain >= count {
            let given_up = if in_vain == 0 { String::new() } else { format!(", {in_vain} of them have given up") };
            return format!("{}{given_up}", seconds(now_ms() - begun));
        }
    }
}

/// Starts a crowd on one server, which is killed, and started again a second later.
fn restarted(api: Api, count: usize, ttl_s: u32) {
    let mut cluster = if api == Api::V2 { guarded_in_v2("/crowd") } else { guarded(1, USUAL, "/crowd") };
    let urls = cluster.urls();
    let begun = now_ms();
    let crowd = crowd(&Setup { user: USER, ..Setup::new(&urls, "/crowd", ttl_s) }.on(api), count);
    let all_said = |words: &str| crowd.iter().map(|one| first_after(one, words, 0).expect("it has said so")).max();
    let served = all_said("leader c").expect("somebody") - begun;
    // A trouble of the start keeps later ones back for a ttl.
    std::thread::sleep(Duration::from_secs(ttl_s.into()));
    let used = || cluster.pids().into_iter().map(cpu_ms).sum::<u64>();
    let before = used();
    std::thread::sleep(AT_REST);
    let a_second = u128::from(used() - before) * 1000 / AT_REST.as_millis();
    println!("  served after {}; at rest etcd needs {a_second} ms of processor a second", seconds(served));
    let died = now_ms();
    cluster.member(0).kill();
    std::thread::sleep(Duration::from_secs(1));
    cluster.member(0).start();
    println!("  a server is killed, and serves again {} later", seconds(now_ms() - died));
    crowd.iter().for_each(|one| drop(one.hears("retrying")));
    tell_end(&crowd, died);
}

/// Starts a crowd on three servers, which are restarted one after the other.
fn rolled(count: usize, ttl_s: u32) {
    let mut cluster = guarded(3, USUAL, "/crowd");
    let urls = cluster.urls();
    let crowd = crowd(&Setup { user: USER, ..Setup::new(&urls, "/crowd", ttl_s) }, count);
    println!("v3, {count} with passwords, ttl {ttl_s}: three servers are away for 2 s, one after the other");
    let begun = now_ms();
    for at in 0..3 {
        cluster.member(at).kill();
        std::thread::sleep(Duration::from_secs(2));
        cluster.member(at).start();
    }
    tell_end(&crowd, begun);
}

/// Prints whether the lead was kept since then, and when all were fine.
fn tell_end(crowd: &[Candidate], since: u64) {
    // "fine" may have been heard while it was waited for.
    let fine = |one: &Candidate| loop {
        match (last(one, "retrying"), last(one, "fine")) {
            (Some(trouble), fine) if fine.is_none_or(|fine| fine < trouble) => {
                one.hears("fine");
            }
            (_, fine) => return fine,
        }
    };
    let last_fine = crowd.iter().filter_map(fine).max().unwrap_or(since);
    let lost = crowd.iter().filter_map(|one| first_after(one, "unelected", since)).min();
    let elected = |from| crowd.iter().filter_map(|one| first_after(one, "elected", from)).min();
    let after = |at: Option<u64>| at.map_or("never".into(), |at| format!("after {}", seconds(at - since)));
    let lead = match (elected(since), lost) {
        (None, None) => "kept".to_string(),
        // Terms do not overlap, so the loss is one of a later term.
        (Some(next), lost) if lost.is_none_or(|lost| next < lost) => {
            format!("nobody's at the first end, the next leads {}", after(Some(next)))
        }
        (_, lost) => format!("lost {}, the next leads {}", after(lost), after(lost.and_then(elected))),
    };
    let troubles = crowd.iter().map(|one| one.log().iter().filter(|said| said.words.starts_with("retrying")).count());
    println!(
        "  the lead: {lead}; all fine {} after the first end; RETRYING at most {} times",
        seconds(last_fine - since),
        troubles.max().unwrap_or(0)
    );
    check_terms(&crowd.iter().collect::<Vec<_>>());
}

fn first_after(one: &Candidate, words: &str, since: u64) -> Option<u64> {
    let is_it = |said: &&Said| said.at_ms >= since && said.words.starts_with(words);
    one.log().iter().find(is_it).map(|said| said.at_ms)
}

fn last(one: &Candidate, words: &str) -> Option<u64> {
    one.log().iter().rev().find(|said| said.words.starts_with(words)).map(|said| said.at_ms)
}
