//! Of what a reader accused the machines, and was right.

use etcd_leader_rules::machine::{Answer, Input, Op, Reply, Seen, Stamp, Written};
use etcd_leader_rules::member::{Member, Standing};
use etcd_leader_rules::{Api, OnStoreReset};

use crate::Do::*;
use crate::{Stage, timings};

fn play(stage: &mut Stage, steps: &[crate::Do]) {
    steps.iter().for_each(|step| stage.play(step));
}

/// A virtual machine is paused after the request has left it; the pause is seen (the wall clock jumps) before the
/// answer is read. Our own clock stood still, so the time since the request is not what etcd has counted.
#[test]
fn a_lease_that_was_granted_before_the_wall_clock_jumped_is_not_certain_v3() {
    let mut stage = Stage::of(timings(1, Api::V3, OnStoreReset::Continue));
    play(&mut stage, &[Opened(0), At(100)]);
    let grant = stage.take(&Granted, |op| matches!(op, Op::Grant { .. })).id;
    play(&mut stage, &[Jump]);
    let answer = Reply { stamp: stage.stamp(), answer: Answer::Granted { ttl_s: 10 } };
    stage.handle(Input::Reply { id: grant, result: Ok(answer) });
    let joins = stage.open.iter().any(|request| matches!(request.op, Op::Join { .. }));
    assert!(stage.crew.is_suspect() || !joins, "it joins with that lease, and nobody doubts it");
}

#[test]
fn an_entry_that_was_posted_before_the_wall_clock_jumped_is_not_certain_v2() {
    let mut stage = Stage::of(timings(1, Api::V2, OnStoreReset::Continue));
    play(&mut stage, &[Opened(0), At(100), Jump, Posted, Looked(20, &[])]);
    assert!(stage.crew.is_suspect(), "is_leader says yes: {}", stage.stand());
}

/// We were cut off while the store was wiped and grew beyond what we knew. Our key's name and number are another's.
#[test]
fn an_entry_of_another_name_at_our_key_is_not_deleted_v2() {
    let mut stage = Stage::of(timings(1, Api::V2, OnStoreReset::Continue));
    play(&mut stage, &[Opened(0), Posted, Looked(20, &[]), Created, At(5000), LinkBreaks]);
    stage.revision = 60;
    play(&mut stage, &[Opened(0)]);
    let other = Member { name: b"another".to_vec(), ..stage.me() };
    let seen = Seen { own: Some(other.clone()), latest: vec![other.clone()], first: vec![other], count: 1 };
    stage.said.clear();
    stage.answer(&Left, |op| matches!(op, Op::Look { .. }), stage.stamp(), Answer::Looked(seen));
    assert!(!stage.said.contains(&"leave20".to_string()), "it deletes another's entry: {:?}", stage.said);
}

/// A member serves us whose clock is 2.9 s behind that of the raft leader: more than the margin. Seen at first contact,
/// that shortens the lead by enough; what was seen is given up by 1 ms a second, so the others are asked again.
#[test]
fn a_clock_that_stays_behind_shortens_the_lead_for_as_long_as_it_is_behind_v2() {
    let mut stage = Stage::of(timings(2, Api::V2, OnStoreReset::Continue));
    let first = if stage.said[0] == "open0" { 0 } else { 1 };
    // Ours shows 0.15 s, the one that serves 1000.15 s, the raft leader's 1003.05 s.
    play(&mut stage, &[At(150), OpenedAt(1 - first, 1_003), OpenedAt(first, 1_000), Posted, Looked(20, &[]), Created]);
    let mut late = Vec::new();
    for revision in 21..=1_500 {
        let next = stage.crew.poll_timeout().expect("a refresh").as_nanos() / 1_000_000 + 1;
        stage.play(&At(next));
        if stage.open.iter().any(|request| matches!(request.op, Op::Open { .. })) {
            stage.play(&OpenedAt(1 - first, (1_002_900 + next) / 1_000));
        }
        if !stage.open.iter().any(|request| matches!(request.op, Op::Refresh { .. })) {
            continue;
        }
        let stamp = Stamp { clock_s: Some((1_000_000 + next) / 1_000), revision, ..stage.stamp() };
        let found = Some(Written { member: stage.me(), at: revision });
        let is_refresh = |op: &Op| matches!(op, Op::Refresh { .. });
        stage.answer(&Left, is_refresh, stamp, Answer::Refreshed { applied: true, found });
        stage.revision = revision;
        let expires = next + 10_000 - 2_900;
        if let Standing::Leading { until, .. } = stage.report.standing {
            let until = until.as_nanos() / 1_000_000;
            if until > expires {
                late.push((next / 1_000, until - expires));
            }
        }
    }
    assert!(
        late.is_empty(),
        "since second {} we lead beyond our entry, at last by {} ms",
        late[0].0,
        late[late.len() - 1].1
    );
}

/// While the wall clock is suspect `is_leader` says no, so nobody may be told Elected either.
#[test]
fn nobody_is_elected_between_a_jump_of_the_wall_clock_and_a_confirmed_renewal_v3() {
    let mut stage = Stage::of(timings(1, Api::V3, OnStoreReset::Continue));
    play(&mut stage, &[Opened(0), Granted, Joined(&[7]), Created, At(3000), Jump, Gone(&[(21, "7")])]);
    let is_told = matches!(stage.report.standing, Standing::Leading { until, .. } if stage.now < until);
    assert!(!(stage.crew.is_suspect() && is_told), "Elected is due while is_leader says no: {}", stage.stand());
}

/// Any member, or whoever answers for one, can send this: a date in the year 9999.
#[test]
fn a_date_far_in_the_future_is_no_overflow_v2() {
    let mut stage = Stage::of(timings(1, Api::V2, OnStoreReset::Continue));
    play(&mut stage, &[OpenedAt(0, 253_402_300_799), Posted, Looked(20, &[])]);
    assert_eq!(stage.stand(), "leading 20 until 8000");
}

/// The one whose clock was 10 s ahead is dead, and the other is all that is left of what was configured.
#[test]
fn a_dead_member_whose_clock_was_ahead_holds_nobody_up_v2() {
    let mut stage = Stage::of(timings(2, Api::V2, OnStoreReset::Continue));
    let clock = |stage: &Stage| 1_000 + stage.now.as_nanos() / 1_000_000_000;
    play(&mut stage, &[OpenedAt(1, 1_010), OpenedAt(0, 1_000)]);
    let mut rounds = 0;
    while stage.now < etcd_leader_rules::time::Time::ZERO + std::time::Duration::from_secs(7_200) {
        let asked = |stage: &Stage, endpoint| {
            stage.open.iter().any(|request| matches!(request.op, Op::Open { endpoint: at, .. } if at == endpoint))
        };
        if stage.open.iter().any(|request| matches!(request.op, Op::Post { .. })) && rounds > 0 {
            break;
        }
        if asked(&stage, 1) {
            stage.play(&OpenFails(1, etcd_leader_rules::ErrorKind::Unreachable));
        } else if asked(&stage, 0) {
            rounds += 1;
            stage.play(&OpenedAt(0, clock(&stage)));
        } else {
            // On the link to the one ahead, if that was the first: it breaks.
            if stage.open.iter().any(|request| matches!(request.op, Op::Post { .. })) {
                stage.play(&LinkBreaks);
                rounds += 1;
                continue;
            }
            let next = stage.crew.poll_timeout().expect("a retry").as_nanos() / 1_000_000 + 1;
            stage.play(&At(next));
        }
    }
    let waited = stage.now.as_nanos() / 1_000_000_000;
    assert!(waited < 60, "nobody joined for {waited} s, in {rounds} rounds: {:?}", stage.report.trouble);
}
