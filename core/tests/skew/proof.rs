//! That a clock is moved which should be, and nothing else; and what that does to entries.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

use super::clock::shift;
use support::spawn::spawn;
use support::{Cluster, v2, wait_for};

const CLOCKS: [ClockId; 3] = [ClockId::CLOCK_REALTIME, ClockId::CLOCK_MONOTONIC, ClockId::CLOCK_BOOTTIME];

fn seconds(clock: ClockId) -> f64 {
    Duration::from(clock_gettime(clock).expect("a clock")).as_secs_f64()
}

/// Not a test: says what it reads on each clock whenever it is asked.
#[test]
#[ignore = "runs only in the process that another test starts"]
fn process() {
    for _ in std::io::stdin().lines() {
        println!("@ {:?}", CLOCKS.map(seconds));
    }
}

#[test]
fn only_the_wall_clock_of_the_process_is_moved() {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["--exact", "proof::process", "--ignored", "--nocapture"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = spawn(command).expect("a process");
    let mut said = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut stdin = child.stdin.take().expect("its input");
    let mut apart = || {
        writeln!(stdin, "clocks?").expect("it listens");
        let line = said.find_map(|line| Some(line.expect("a line").split_once("@ ")?.1.to_string())).expect("clocks");
        let theirs: Vec<f64> = serde_json::from_str(&line).expect("three numbers");
        let apart = |at: usize| (theirs[at] - seconds(CLOCKS[at])).round() as i64;
        [apart(0), apart(1), apart(2)]
    };
    assert_eq!(apart(), [0, 0, 0]);
    for moved in [-30, 7, 0] {
        shift(child.id(), moved);
        assert_eq!(apart(), [moved, 0, 0]);
    }
    child.kill().expect("kill");
    child.wait().expect("its end");
}

/// How many seconds a member's clock is ahead, by the Date that it sends.
fn ahead(member: SocketAddr) -> i64 {
    let answer = v2::ask(member, "GET", "/", "").expect("an answer");
    let date = answer.header("Date").expect("a date");
    // As in Tue, 15 Nov 1994 08:12:31 GMT.
    let clock: Vec<i64> = date[17..25].split(':').map(|part| part.parse().expect("a number")).collect();
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs().cast_signed();
    let day = 86_400;
    let apart = (clock[0] * 3600 + clock[1] * 60 + clock[2] - now).rem_euclid(day);
    if apart > day / 2 { apart - day } else { apart }
}

fn about(measured: i64, expected: i64) -> bool {
    (measured - expected).abs() <= 1
}

fn term(member: SocketAddr) -> String {
    let answer = v2::ask(member, "GET", "/?quorum=true", "").expect("an answer");
    answer.header("X-Raft-Term").expect("a term").to_string()
}

/// How long an entry lives that is made through this member.
fn lifetime(member: SocketAddr, key: &str, ttl_s: u32) -> Duration {
    let begun = Instant::now();
    v2::ask(member, "PUT", key, &format!("value=x&ttl={ttl_s}")).expect("written");
    wait_for("the entry to expire", || {
        let answer = v2::ask(member, "GET", &format!("{key}?quorum=true"), "").expect("an answer");
        (answer.body["errorCode"] == 100).then(|| begun.elapsed())
    })
}

const TTL_S: u32 = 8;
const APART_S: i64 = 4;

/// How often raft may elect another leader meanwhile, as it does when the machine stalls for a second.
const TRIES: usize = 5;

/// `moves` says which member's clock is moved, and how far, if this one leads raft. What each entry lived, and should.
fn lifetimes(moves: impl Fn(usize) -> (usize, i64)) -> [(i64, i64); 3] {
    let found = (0..TRIES).find_map(|_| lifetimes_under_one_leader(&moves));
    found.expect("raft elects another leader each time")
}

/// None: raft has elected another leader meanwhile, so that nothing is shown.
fn lifetimes_under_one_leader(moves: impl Fn(usize) -> (usize, i64)) -> Option<[(i64, i64); 3]> {
    let mut cluster = Cluster::of(3, &["--enable-v2=true"]);
    let members: Vec<SocketAddr> = (0..3).map(|at| cluster.client_address(at)).collect();
    let leader = cluster.raft_leader();
    let before = term(members[leader]);
    let (moved, by) = moves(leader);
    shift(cluster.member(moved).pid().expect("it runs"), by);
    for (at, member) in members.iter().enumerate() {
        let expected = if at == moved { by } else { 0 };
        assert!(about(ahead(*member), expected), "member {at} is {} s ahead, not {expected}", ahead(*member));
    }
    let took = std::thread::scope(|scope| {
        let live = |at: usize| {
            let member = members[at];
            scope.spawn(move || lifetime(member, &format!("/lifetime/{at}"), TTL_S).as_secs_f64())
        };
        [0, 1, 2].map(live).map(|thread| thread.join().expect("a lifetime"))
    });
    if (cluster.raft_leader(), term(members[leader])) != (leader, before) {
        println!("raft has elected another leader: once more");
        return None;
    }
    println!("leader {leader}, member {moved} moved by {by} s: entries of {TTL_S} s lived {took:.1?} s");
    let whole = |at: usize| {
        let expected = i64::from(TTL_S) + (if at == moved { by } else { 0 }) - (if leader == moved { by } else { 0 });
        (took[at].round() as i64, expected)
    };
    Some([whole(0), whole(1), whole(2)])
}

fn check(lifetimes: [(i64, i64); 3]) {
    for (took, expected) in lifetimes {
        // Expiry is looked for twice a second, and the machine may be busy.
        assert!((expected..=expected + 2).contains(&took), "lived {took} s, not {expected}: {lifetimes:?}");
    }
}

#[test]
fn entries_made_through_a_member_that_is_behind_expire_that_much_too_early() {
    check(lifetimes(|leader| ((leader + 1) % 3, -APART_S)));
}

#[test]
fn entries_made_through_a_member_that_is_ahead_expire_that_much_too_late() {
    check(lifetimes(|leader| ((leader + 1) % 3, APART_S)));
}

#[test]
fn if_the_raft_leader_is_ahead_the_others_entries_expire_too_early() {
    check(lifetimes(|leader| (leader, APART_S)));
}
