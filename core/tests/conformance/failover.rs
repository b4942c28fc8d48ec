//! The member that serves the leader fails, in every way there is: the leader goes on leading through another, and who
//! follows takes over in time. At the default ttl, in namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use etcd_leader::Api;
use nix::unistd::Pid;

use super::candidate::{Candidate, Setup, check_terms, millis, now_ms};
use super::store::{BOTH, on_v2_and_v3};
use support::netns::{Network, OneWay, Place};
use support::raft::Story;
use support::{Cluster, wait_for, wait_with};

const TTL_S: u32 = 10;
const TTL_MS: u64 = TTL_S as u64 * 1000;
/// What a successor may need beside the ttl on a busy machine, once raft has a leader: a new one gives each lease its full
/// ttl and an election timeout.
const GRACE_MS: u64 = 5000;
/// How often raft may take longer for its vote than the library promises to bear.
const TRIES: usize = 5;
/// The default margin: leading ends so long before the entry can.
const MARGIN_MS: u64 = TTL_MS / 5;

/// Between two looks at the connections of a process: the kernel walks through all that it could have.
const LOOK: Duration = Duration::from_millis(100);

/// The members that a process has connections to, by the last byte of their addresses.
fn connected(network: &Network, process: Pid) -> BTreeSet<usize> {
    const ESTABLISHED: &str = "01";
    let sockets: BTreeSet<String> = fs::read_dir(format!("/proc/{process}/fd"))
        .expect("its files")
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok()?.to_str()?.strip_prefix("socket:[").map(str::to_string))
        .map(|inode| inode.trim_end_matches(']').to_string())
        .collect();
    let table = fs::read_to_string(format!("/proc/{process}/net/tcp")).expect("its connections");
    let remote = table.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words.len() > 9 && words[3] == ESTABLISHED && sockets.contains(words[9])).then(|| words[2].to_string())
    });
    let addresses: Vec<String> = (0..3).map(|at| network.address(Place::Member(at))).collect();
    remote
        .filter_map(|remote| {
            let bytes = u32::from_str_radix(remote.split(':').next()?, 16).ok()?.to_le_bytes();
            let address = std::net::Ipv4Addr::from(bytes).to_string();
            addresses.iter().position(|one| *one == address)
        })
        .collect()
}

/// The one member that serves a candidate.
pub(crate) fn serving(network: &Network, candidate: &Candidate) -> usize {
    wait_with(LOOK, "one member to serve it", || {
        let connected = connected(network, candidate.pid());
        connected.first().copied().filter(|_| connected.len() == 1)
    })
}

/// Waits until another member than this one serves a candidate.
pub(crate) fn wait_until_moved(network: &Network, candidate: &Candidate, from: usize) {
    wait_with(LOOK, "another member to serve it", || {
        let connected = connected(network, candidate.pid());
        (connected.len() == 1 && !connected.contains(&from)).then_some(())
    });
}

/// Makes this member raft's leader.
pub(crate) fn move_raft_leader(cluster: &Cluster, to: usize) {
    let said = cluster.etcdctl(&["endpoint", "status", "--write-out=json"]);
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    let is_it = |status: &&serde_json::Value| status["Endpoint"] == cluster.urls()[to];
    let status = said.as_array().and_then(|all| all.iter().find(is_it)).expect("its status");
    let id = status["Status"]["header"]["member_id"].as_u64().expect("an id");
    cluster.etcdctl(&["move-leader", &format!("{id:x}")]);
    wait_for("raft's leader to be another", || (cluster.raft_leader() == to).then_some(()));
}

/// Once when it is raft's leader, which the others must replace first, and once when it is not.
fn the_serving_member_fails(api: Api, what: &str, break_it: impl Fn(&mut Network, &mut Cluster, usize)) {
    for is_raft_leader in [true, false] {
        let slow: Vec<_> = (0..TRIES).map_while(|_| fails(api, what, is_raft_leader, &break_it).err()).collect();
        assert!(slow.len() < TRIES, "raft never had a leader in time: {slow:#?}");
    }
}

/// Breaks the member that serves the leader. An error says that raft needed longer for its vote than the library promises
/// to bear, and the lead was lost meanwhile, so that nothing is shown.
fn fails(
    api: Api,
    what: &str,
    is_raft_leader: bool,
    break_it: impl Fn(&mut Network, &mut Cluster, usize),
) -> Result<(), Story> {
    let mut network = Network::new(3);
    let mut cluster = network.cluster(BOTH);
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/failover", TTL_S).on(api).line_up(&["one", "two"]);
    let serving = serving(&network, &line[0]);
    let raft_leader = if is_raft_leader { serving } else { (serving + 1) % 3 };
    if cluster.raft_leader() != raft_leader {
        move_raft_leader(&cluster, raft_leader);
    }

    line[0].wait_until_renewed(Duration::from_millis(TTL_MS));
    let raft = cluster.watch_raft_without(serving);
    break_it(&mut network, &mut cluster, serving);
    let broken = now_ms();
    // What is over so soon need not be told: the connections show it.
    wait_until_moved(&network, &line[0], serving);
    let moved = now_ms();
    // As long again as the renewal lasts that moved, so that it was no accident.
    std::thread::sleep(Duration::from_millis(TTL_MS - MARGIN_MS));
    let leads = line[0].claims().starts_with("yes") && !line[0].has_said("unelected");
    let raft = raft.ends();
    if !leads {
        assert!(!raft.obliges(), "{raft}\n{:#?}", line[0].log());
        wait_for("the leader to be told of its loss", || line[0].has_said("unelected").then_some(()));
        check_terms(&line.iter().collect::<Vec<_>>());
        println!("{raft}: once more");
        return Err(raft);
    }

    let died = now_ms();
    line[0].kill();
    let (elected, _) = line[1].hears_at("elected");
    assert!(elected < died + TTL_MS + GRACE_MS, "took {} ms", elected - died);
    check_terms(&line.iter().collect::<Vec<_>>());
    println!(
        "figures: {api:?}, {what}{}: another member served after {} ms; a follower led {} ms after the leader's death",
        if is_raft_leader { " (raft's leader)" } else { "" },
        moved - broken,
        elected - died
    );
    Ok(())
}

on_v2_and_v3!(killed);
fn killed(api: Api) {
    the_serving_member_fails(api, "killed", |_, cluster, at| cluster.member(at).kill());
}

on_v2_and_v3!(frozen);
fn frozen(api: Api) {
    the_serving_member_fails(api, "frozen", |_, cluster, at| cluster.member(at).freeze());
}

on_v2_and_v3!(it_does_not_hear_us);
fn it_does_not_hear_us(api: Api) {
    let cut = |network: &mut Network, _: &mut Cluster, at| network.cut_one_way(at, Place::Here, OneWay::Speaking);
    the_serving_member_fails(api, "does not hear us", cut);
}

on_v2_and_v3!(we_do_not_hear_it);
fn we_do_not_hear_it(api: Api) {
    let cut = |network: &mut Network, _: &mut Cluster, at| network.cut_one_way(at, Place::Here, OneWay::Hearing);
    the_serving_member_fails(api, "is not heard by us", cut);
}

on_v2_and_v3!(on_the_side_without_a_majority);
fn on_the_side_without_a_majority(api: Api) {
    the_serving_member_fails(api, "on the side without a majority", |network, _, at| {
        for other in (0..3).filter(|other| *other != at) {
            network.cut(Place::Member(at), Place::Member(other));
        }
    });
}

on_v2_and_v3!(the_followers_member_fails_as_the_leader_dies);
/// As when both were on one machine: nobody tells the follower of the leader's end before it has found another member.
fn the_followers_member_fails_as_the_leader_dies(api: Api) {
    for is_frozen in [true, false] {
        let mut network = Network::new(3);
        let mut cluster = network.cluster(BOTH);
        let urls = cluster.urls();
        let mut line = Setup::new(&urls, "/together", TTL_S).on(api).line_up(&["one", "two"]);
        let at = serving(&network, &line[1]);
        let raft = cluster.watch_raft_without(at);
        let broken = now_ms();
        if is_frozen {
            cluster.member(at).freeze();
        } else {
            network.isolate(Place::Member(at));
        }
        let died = now_ms();
        line[0].kill();
        let (elected, _) = line[1].hears_at("elected");
        let since = died.max(broken + millis(raft.ends().without_leader));
        assert!(elected < since + TTL_MS + GRACE_MS, "took {} ms: {:#?}", elected - since, line[1].log());
        check_terms(&line.iter().collect::<Vec<_>>());
        println!(
            "figures: {api:?}, the follower's member is {}: it led {} ms after the leader's death",
            if is_frozen { "frozen" } else { "cut off" },
            elected - died
        );
    }
}
