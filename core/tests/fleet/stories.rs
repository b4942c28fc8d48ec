//! What happens to mixed fleets.

use std::time::Duration;

use super::fleet::{End, Fleet, Make, TTL_S};
use support::{v2, wait_for};

/// etcd keeps this many events, of all keys together.
const HISTORY: usize = 1000;

/// Another of the leader's kind joins behind all others, then the leader goes: they die and stop in turn, and each is
/// followed by the next in line. The last of the three that are left has two before it, which it must be told through.
fn leaders_die_and_stop(makes: [Make; 3]) {
    let mut fleet = Fleet::of(&makes);
    for round in 0..6 {
        fleet.joins(makes[round % 3]);
        fleet.leader_goes(if round % 2 == 0 { End::Killed } else { End::Stopped });
    }
    fleet.ends();
}

#[test]
fn theirs_between_ours() {
    leaders_die_and_stop([Make::Ours, Make::Theirs, Make::Ours]);
}

#[test]
fn ours_between_theirs() {
    leaders_die_and_stop([Make::Theirs, Make::Ours, Make::Theirs]);
}

/// If the originals alone did not pass, the two above would say little.
#[test]
fn theirs_alone() {
    leaders_die_and_stop([Make::Theirs; 3]);
}

/// More writes than etcd keeps events of end the originals, whose watches begin at the entry's last write (PEERS.md);
/// ours go on.
#[test]
fn more_unrelated_writes_than_etcd_remembers() {
    let mut fleet = Fleet::of(&[Make::Theirs, Make::Ours, Make::Theirs]);
    let etcd = fleet.cluster.client_address(0);
    let busy = || {
        for number in 0..HISTORY + 100 {
            v2::ask(etcd, "PUT", &format!("/elsewhere/{}", number % 10), "value=x").expect("written");
        }
    };
    busy();
    fleet.living[0].kill();
    let token = fleet.living[1].elected();
    busy();
    std::thread::sleep(Duration::from_secs(u64::from(TTL_S)));
    assert_eq!(fleet.living[1].claims(), format!("yes {token}"));
    assert!(!fleet.living[1].has_said("unelected"), "{:#?}", fleet.living[1].log());
    fleet.living[1].stop();
    wait_for("its entry to be gone", || {
        fleet.entries().iter().all(|entry| entry.name != fleet.living[1].name).then_some(())
    });
}
