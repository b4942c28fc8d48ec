//! One fault from beginning to end: candidates line up, the fault strikes and heals, somebody leads again, and each in
//! turn; then the time line is judged.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use etcd_leader::Api;

use super::candidate::{Binding, Candidate, Holdings, Judge, outputs};
use super::catalogue::Fault;
use super::checker::{Accusation, Findings, check, elected_twice};
use super::reports::{Nanos, Told};
use super::stage::Stage;
use super::timeline::{Records, nanos};
use support::PATIENCE;

/// Who leads when the fault comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    Bound(Binding),
    /// A control: without a deadline.
    Naive,
}

/// What a run has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    /// For how long two led.
    pub(crate) overlap: Nanos,
    /// Between the last claim of a term and the first of the next, at the least; none if the lead was kept.
    pub(crate) gap: Option<Nanos>,
    /// From the healing to the first claim.
    pub(crate) recovery: Nanos,
    /// Writes that tokens had to keep out.
    pub(crate) late_writes: usize,
}

/// Beside the ttl, what somebody may take to lead after a fault.
const GRACE: Duration = Duration::from_secs(2);
/// More than these, after a fault that has healed, would be leaks.
const MORE_DESCRIPTORS: usize = 8;
const MORE_MEMORY_KIB: u64 = 24 << 10;
/// The place of the control that always claims to lead.
const SHAMELESS: usize = 3;

pub(crate) fn run(fault: &Fault, api: Api, victim: Victim) -> Result<Outcome, String> {
    let mut stage = Stage::set(api, fault.scene);
    let told = catch_unwind(AssertUnwindSafe(|| play(&mut stage, fault, victim)));
    let outcome = told.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
        Err(text.unwrap_or_default())
    });
    let names: Vec<String> = stage.candidates.iter().map(Candidate::title).collect();
    let story = stage.timeline.records().story(&names);
    keep(&story, fault, api, victim);
    outcome.map_err(|why| format!("{why}\n{}\n{story}", fault.says))
}

/// The time lines of the last runs, for who wants to read what a fault is like.
fn keep(story: &str, fault: &Fault, api: Api, victim: Victim) {
    let directory = outputs().join("faults/timelines");
    fs::create_dir_all(&directory).expect("a folder");
    let file = directory.join(format!("{}-{api:?}-{victim:?}.txt", fault.name).replace(['(', ')'], ""));
    fs::write(file, format!("{}\n{story}", fault.says)).expect("written");
}

fn play(stage: &mut Stage, fault: &Fault, victim: Victim) -> Result<Outcome, String> {
    line_up(stage, victim)?;
    let held = holdings(stage);
    let struck = stage.mark(fault.says);
    (fault.strike)(stage);
    let healed = stage.healed_at();

    let patience = stage.ttl + GRACE;
    let leads_again =
        |records: &Records| Stage::leader(records).filter(|who| first_claim(records, *who, healed).is_some());
    let who = stage.timeline.wait("somebody to lead again", patience, leads_again)?;
    let recovery = first_claim(&stage.timeline.records(), who, healed).expect("just seen") - healed;
    stage.await_all_agree(patience)?;
    compare(stage, &held)?;

    let called = stage.mark("roll call");
    for _ in 0..fault.turns {
        if stage.living().is_empty() {
            break;
        }
        let leader = stage.await_all_agree(patience)?;
        stage.stop(leader)?;
    }
    stage.stop_all()?;
    nothing_is_left(stage)?;
    judge(stage, fault, victim, (struck, called)).map(|outcome| Outcome { recovery, ..outcome })
}

/// The victim leads, two others and a control stand in line, and the victim writes.
fn line_up(stage: &mut Stage, victim: Victim) -> Result<(), String> {
    let (first, judge) = match victim {
        Victim::Bound(binding) => (binding, Judge::Honest),
        Victim::Naive => (Binding::C, Judge::Naive),
    };
    stage.start(first, judge);
    stage.await_leader(PATIENCE)?;
    for step in 1..Binding::ALL.len() {
        let next = Binding::ALL[(first as usize + step) % Binding::ALL.len()];
        let who = stage.start(next, Judge::Honest);
        knows_leader(stage, who)?;
    }
    assert_eq!(stage.start(Binding::C, Judge::Shameless), SHAMELESS);
    stage.await_agreement(0, PATIENCE)?;
    let writes =
        |records: &Records| (records.writes.iter().filter(|write| write.claim.who == 0).count() >= 20).then_some(());
    stage.timeline.wait("c0 to write", PATIENCE, writes)
}

fn knows_leader(stage: &Stage, who: usize) -> Result<(), String> {
    let knows = |records: &Records| records.standings.get(&who)?.leader.as_ref().map(drop);
    stage.timeline.wait("it to know who leads", PATIENCE, knows)
}

/// When it first claimed to lead, of the claims after this.
fn first_claim(records: &Records, who: usize, after: Nanos) -> Option<Nanos> {
    let is_one = |claim: &&super::reports::Claim| claim.who == who && claim.token != 0 && claim.before >= after;
    let said = records.claims.iter().rev().take_while(|claim| claim.before >= after - 1_000_000_000).filter(is_one);
    let wrote = records
        .writes
        .iter()
        .rev()
        .map(|write| &write.claim)
        .take_while(|claim| claim.before >= after - 1_000_000_000)
        .filter(is_one);
    said.chain(wrote).map(|claim| claim.before).min()
}

fn holdings(stage: &Stage) -> BTreeMap<usize, Holdings> {
    stage.living().into_iter().map(|who| (who, stage.candidates[who].holdings())).collect()
}

/// Nobody holds much more than before the fault; what is being closed has a while for it.
fn compare(stage: &Stage, before: &BTreeMap<usize, Holdings>) -> Result<(), String> {
    let holds_more = |who: &usize| -> Option<String> {
        let (now, then) = (stage.candidates[*who].holdings(), before.get(who)?);
        let is_more = now.descriptors > then.descriptors + MORE_DESCRIPTORS
            || now.threads > then.threads + 1
            || now.memory_kib > then.memory_kib + MORE_MEMORY_KIB;
        is_more.then(|| format!("c{who} holds {now:?}, and held {then:?} before the fault"))
    };
    let more = |_: &Records| stage.living().iter().find_map(holds_more);
    let nobody = |records: &Records| more(records).is_none().then_some(());
    let seen = stage.timeline.wait("leaks to go away", Duration::from_secs(5), nobody);
    seen.map_err(|why| more(&stage.timeline.records()).unwrap_or(why))
}

/// Those who were killed leave places that run out.
fn nothing_is_left(stage: &Stage) -> Result<(), String> {
    let give_up = std::time::Instant::now() + stage.ttl + GRACE;
    loop {
        let left = super::access::left_behind(stage);
        if left.is_empty() {
            return Ok(());
        }
        if std::time::Instant::now() > give_up {
            return Err(format!("left behind in etcd: {left}"));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn judge(stage: &Stage, fault: &Fault, victim: Victim, (struck, called): (Nanos, Nanos)) -> Result<Outcome, String> {
    let records = stage.timeline.records();
    let is_judge =
        |who: usize, judge: Judge| stage.candidates.get(who).map(|one: &Candidate| one.spec.judge) == Some(judge);
    let is_honest = |who: usize| is_judge(who, Judge::Honest);
    let judged = |counts: &dyn Fn(usize) -> bool| check(&records.claims, &records.writes, &records.resets, counts);

    let findings = judged(&is_honest);
    let is_tolerated = |one: &Accusation| {
        let unknown = if fault.waits_for_members { records.members_disagreed(one.old) } else { 0 };
        fault.tolerance.is_some_and(|tolerance| one.lasted <= nanos(tolerance) + unknown)
    };
    if !findings.accusations.iter().all(is_tolerated) {
        return Err(format!("two leaders: {:#?}", findings.accusations));
    }
    let failed = records.events.iter().find(|event| matches!(event.told, Told::Error(_)));
    if let Some(event) = failed {
        return Err(format!("c{} gave up: {:?}", event.who, event.told));
    }
    if let Some(what) = elected_twice(&records.events, &records.resets) {
        return Err(what);
    }
    if !judged(&|who| is_honest(who) || who == SHAMELESS).accuses(SHAMELESS) {
        return Err("the control that always claims to lead was not accused".into());
    }
    let with_naive = judged(&|who| is_honest(who) || who == 0);
    if victim == Victim::Naive && !with_naive.accuses(0) {
        return Err("the control without a deadline was not accused".into());
    }
    let gap = takeover(&with_naive, struck, called);
    Ok(Outcome { overlap: findings.overlap, gap, recovery: 0, late_writes: findings.late_writes })
}

/// The smallest gap between two terms while the fault lasted.
fn takeover(findings: &Findings, struck: Nanos, called: Nanos) -> Option<Nanos> {
    let during = |at: Nanos| at > struck && at < called;
    let pairs = findings.terms.windows(2).filter(|pair| during(pair[1].first.before));
    pairs.map(|pair| pair[1].first.before - pair[0].last.after).min()
}
