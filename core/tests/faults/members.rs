//! Members of etcd that are killed, frozen, cut off, added and removed.

use std::fs;
use std::net::Ipv4Addr;
use std::time::Duration;

use super::stage::Stage;
use support::netns::{OneWay, Place};
use support::wait_for;

pub(crate) fn etcd_killed_for_a_second(stage: &mut Stage) {
    etcd_killed(stage, Duration::from_secs(1));
}

pub(crate) fn etcd_killed_for_two_ttls(stage: &mut Stage) {
    etcd_killed(stage, 2 * stage.ttl);
}

fn etcd_killed(stage: &mut Stage, duration: Duration) {
    stage.cluster.member(0).kill();
    stage.mark("etcd is killed");
    std::thread::sleep(duration);
    stage.cluster.member(0).start();
    stage.healed();
}

pub(crate) fn etcd_back_without_its_data(stage: &mut Stage) {
    stage.cluster.wipe();
    stage.mark("etcd is back, and empty");
    // Who led by the old data has ended now, and who will lead by the new waits for a ttl and the margin: so it is a part
    // of the fault, and tokens begin anew.
    stage.last(1.0);
    stage.timeline.reset();
    stage.healed();
}

pub(crate) fn raft_leader_killed(stage: &mut Stage) {
    let at = stage.cluster.raft_leader();
    member_killed(stage, at);
}

pub(crate) fn raft_leader_frozen(stage: &mut Stage) {
    let at = stage.cluster.raft_leader();
    member_frozen(stage, at);
}

pub(crate) fn raft_leader_cut_off(stage: &mut Stage) {
    let at = stage.cluster.raft_leader();
    stage.network.isolate(Place::Member(at));
    stage.mark(format!("member {at}, which leads raft, is cut off"));
    stage.last(2.0);
    stage.mend();
    stage.cluster.member(at).wait_until_healthy();
    stage.healed();
}

/// It wakes, believes to lead raft still, and on API v3 answers each renewal. The first candidate knows no other member.
pub(crate) fn raft_leader_frozen_and_cut_off(stage: &mut Stage) {
    let liar = stage.cluster.raft_leader();
    stage.cluster.member(liar).freeze();
    stage.mark(format!("member {liar}, which leads raft, is frozen"));
    for at in (0..stage.scene.members).filter(|at| *at != liar) {
        stage.network.cut(Place::Member(liar), Place::Member(at));
    }
    wait_for("another raft leader", || Some(stage.cluster.raft_leader()).filter(|leader| *leader != liar));
    stage.cluster.member(liar).thaw();
    stage.mark("it wakes, and is cut off from the others");
    stage.last(2.0);
    stage.mend();
    stage.cluster.member(liar).wait_until_healthy();
    stage.healed();
}

pub(crate) fn leaders_member_killed(stage: &mut Stage) {
    let at = member_of(stage, 0);
    member_killed(stage, at);
}

pub(crate) fn leaders_member_frozen(stage: &mut Stage) {
    let at = member_of(stage, 0);
    member_frozen(stage, at);
}

fn member_killed(stage: &mut Stage, at: usize) {
    stage.cluster.member(at).kill();
    stage.mark(format!("member {at} is killed"));
    stage.last(2.0);
    stage.cluster.member(at).start();
    stage.healed();
}

fn member_frozen(stage: &mut Stage, at: usize) {
    stage.cluster.member(at).freeze();
    stage.mark(format!("member {at} is frozen"));
    stage.last(2.0);
    stage.cluster.member(at).thaw();
    stage.cluster.member(at).wait_until_healthy();
    stage.healed();
}

pub(crate) fn leaders_member_black_holed(stage: &mut Stage) {
    let at = member_of(stage, 0);
    stage.network.cut(Place::Client(0), Place::Member(at));
    stage.mark(format!("what c0 and member {at} send each other is dropped"));
    stage.last(2.0);
    stage.mend();
    stage.healed();
}

pub(crate) fn leaders_member_hears_nothing(stage: &mut Stage) {
    one_way(stage, OneWay::Speaking);
}

pub(crate) fn leaders_member_is_not_heard(stage: &mut Stage) {
    one_way(stage, OneWay::Hearing);
}

fn one_way(stage: &mut Stage, left: OneWay) {
    let at = member_of(stage, 0);
    stage.network.cut_one_way(at, Place::Client(0), left);
    stage.mark(format!("{left:?} is all that is left between c0 and member {at}"));
    stage.last(2.0);
    stage.mend();
    stage.healed();
}

/// Which member a candidate has its connections to.
fn member_of(stage: &Stage, who: usize) -> usize {
    let table = format!("/proc/{}/net/tcp", stage.candidates[who].pid());
    let lines = fs::read_to_string(table).expect("its connections");
    let remote = lines.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(2);
        let (address, port) = words.next()?.split_once(':')?;
        const ESTABLISHED: &str = "01";
        let is_etcd = words.next()? == ESTABLISHED && u16::from_str_radix(port, 16).ok()? == 2379;
        let address = u32::from_str_radix(address, 16).ok().filter(|_| is_etcd)?;
        Some(Ipv4Addr::from(address.to_ne_bytes()).to_string())
    });
    let remote: Vec<String> = remote.collect();
    let all = 0..stage.scene.members;
    let count = |at: &usize| remote.iter().filter(|one| **one == stage.network.address(Place::Member(*at))).count();
    all.max_by_key(count).filter(|at| count(at) > 0).expect("it is connected")
}

pub(crate) fn etcd_restarted_in_turn(stage: &mut Stage) {
    for at in 0..stage.scene.members {
        stage.mark(format!("member {at} is restarted"));
        stage.cluster.member(at).kill();
        stage.cluster.member(at).start();
    }
    stage.healed();
}

pub(crate) fn members_added_and_removed(stage: &mut Stage) {
    let served = member_of(stage, 0);
    stage.cluster.add(&stage.network.host_of(stage.scene.members));
    stage.mark("a member is added");
    stage.cluster.remove(served);
    stage.mark(format!("member {served} is removed"));
    stage.last(1.0);
    stage.healed();
}
