//! `make servers`: one server of three is killed, frozen or cut off, about three hundred times. Not a test: nothing is
//! judged by time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_leader::Api;

use super::candidate::{Setup, check_terms, now_ms};
use super::failover::{move_raft_leader, serving, wait_until_moved};
use support::netns::{Network, Place};
use support::{has_v2, wait_for};

/// So many are tried side by side.
const SIDE_BY_SIDE: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    Killed,
    Frozen,
    CutOff,
}

/// The broken server serves the leader, is raft's leader, both, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Role {
    Serving,
    RaftLeader,
    Both,
    Neither,
}

/// An API, a ttl in seconds, a fault and the role of the server that it strikes.
type Kind = (Api, u32, Fault, Role);

struct Run {
    /// Raft had no leader for so long.
    raft: Duration,
    is_kept: bool,
    /// Another server served the leader so long after the fault.
    moved_ms: Option<u64>,
}

fn run((api, ttl_s, fault, role): Kind) -> Run {
    let mut network = Network::new(3);
    let flags: &[&str] = if has_v2() { &["--enable-v2=true", "--pre-vote=true"] } else { &["--pre-vote=true"] };
    let mut cluster = network.cluster(flags);
    let urls = cluster.urls();
    let mut line = Setup::new(&urls, "/one-of-three", ttl_s).on(api).line_up(&["one", "two"]);
    let serving = serving(&network, &line[0]);
    let another = (serving + 1) % 3;
    let (leads_raft, broken) = match role {
        Role::Serving => (another, serving),
        Role::RaftLeader => (another, another),
        Role::Both => (serving, serving),
        Role::Neither => (another, (serving + 2) % 3),
    };
    if cluster.raft_leader() != leads_raft {
        move_raft_leader(&cluster, leads_raft);
    }
    let raft = cluster.watch_raft_without(broken);
    let begun = now_ms();
    match fault {
        Fault::Killed => cluster.member(broken).kill(),
        Fault::Frozen => cluster.member(broken).freeze(),
        Fault::CutOff => network.isolate(Place::Member(broken)),
    }
    let moved_ms = (broken == serving).then(|| {
        wait_until_moved(&network, &line[0], serving);
        now_ms() - begun
    });
    // The lead that was there at the fault has been prolonged by then, or has ended.
    std::thread::sleep(Duration::from_millis((begun + u64::from(ttl_s) * 1000).saturating_sub(now_ms())));
    let is_kept = line[0].claims().starts_with("yes") && !line[0].has_said("unelected");
    let raft = raft.ends().without_leader;
    if !is_kept {
        wait_for("the leader to be told of its loss", || line[0].has_said("unelected").then_some(()));
    }
    check_terms(&line.iter().collect::<Vec<_>>());
    Run { raft, is_kept, moved_ms }
}

#[test]
#[ignore = "figures for people: make servers"]
fn figures() {
    let mut kinds: Vec<Kind> = Vec::new();
    for (api, ttl_s, times) in [(Api::V3, 10, 17), (Api::V3, 5, 5), (Api::V2, 10, 4)] {
        for fault in [Fault::Killed, Fault::Frozen, Fault::CutOff] {
            for role in [Role::Serving, Role::RaftLeader, Role::Both, Role::Neither] {
                let is_there = api == Api::V3 || has_v2();
                kinds.extend(std::iter::repeat_n((api, ttl_s, fault, role), if is_there { times } else { 0 }));
            }
        }
    }
    let (next, runs) = (AtomicUsize::new(0), Mutex::new(BTreeMap::<String, Vec<(Kind, Run)>>::new()));
    std::thread::scope(|scope| {
        for _ in 0..SIDE_BY_SIDE {
            scope.spawn(|| {
                while let Some(kind) = kinds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let run = run(*kind);
                    let name = format!("{:?} at ttl {}, {:?}, {:?}", kind.0, kind.1, kind.2, kind.3);
                    runs.lock().expect("the runs").entry(name).or_default().push((*kind, run));
                }
            });
        }
    });
    let (mut owed, mut broken) = (0, 0);
    for (name, runs) in runs.into_inner().expect("the runs") {
        let mut raft: Vec<Duration> = runs.iter().map(|(_, run)| run.raft).collect();
        let mut moved: Vec<u64> = runs.iter().filter_map(|(_, run)| run.moved_ms).collect();
        raft.sort();
        moved.sort();
        let kept = runs.iter().filter(|(_, run)| run.is_kept).count();
        let mut line = format!("{name}: kept {kept} of {}", runs.len());
        let _ =
            write!(line, "; raft without a leader {:.1?}, at most {:.1?}", raft[raft.len() / 2], raft[raft.len() - 1]);
        if let Some(last) = moved.last() {
            let _ = write!(line, "; served by another after {} ms, at most {last}", moved[moved.len() / 2]);
        }
        println!("{line}");
        for ((_, ttl_s, ..), run) in &runs {
            let is_owed = run.raft <= Duration::from_secs(if *ttl_s >= 10 { 5 } else { 2 });
            owed += usize::from(is_owed);
            if is_owed && !run.is_kept {
                broken += 1;
                println!("  LOST, although raft had a leader again after {:.2?}", run.raft);
            }
        }
    }
    println!("{owed} of {} runs in which raft had a leader in time; lost in {broken} of them", kinds.len());
}
