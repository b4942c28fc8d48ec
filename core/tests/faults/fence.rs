//! Why a leader sends its token along with each write: the story of a register, under leaders that are stopped and cut off.
//!
//! Between asking whether it leads and writing, a leader works for a while, as real ones do, and may be stopped for longer
//! than its lease in just that while. On waking it writes, first of all, over what its successors have written. A
//! register that compares tokens refuses that; one that does not has lost data.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_leader::Api;
use libtest_mimic::{Failed, Trial};
use nix::sys::signal::Signal;

use super::candidate::{Binding, Judge};
use super::catalogue::SIMPLE;
use super::checker::check;
use super::reports::now;
use super::stage::Stage;
use super::timeline::Records;
use support::PATIENCE;
use support::netns::Place;

const WORK: Duration = Duration::from_millis(30);
/// In `make test`, and in `make faults`.
const SHORT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(240);

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Story {
    pub(crate) lasted: Duration,
    pub(crate) stopped: usize,
    pub(crate) cut_off: usize,
    pub(crate) writes: usize,
    /// Writes with a token below one that had been written before. A register without tokens takes them.
    pub(crate) stale: usize,
    /// Of those, the ones that a register with tokens has taken.
    pub(crate) stale_taken: usize,
}

pub(crate) static STORIES: Mutex<BTreeMap<&str, Story>> = Mutex::new(BTreeMap::new());

pub(crate) fn trials() -> Vec<Trial> {
    let trial = |name: &'static str, api: Api, lasts: Duration, is_short: bool| {
        let work = move || tell(name, api, lasts);
        Trial::test(format!("fence::{name}"), work).with_ignored_flag(!is_short)
    };
    vec![trial("v3", Api::V3, LONG, false), trial("v2", Api::V2, LONG, false), trial("v3_short", Api::V3, SHORT, true)]
}

fn tell(name: &'static str, api: Api, lasts: Duration) -> Result<(), Failed> {
    let mut stage = Stage::set(api, SIMPLE);
    stage.work = WORK;
    for binding in Binding::ALL {
        stage.start(binding, Judge::Honest);
        stage.await_all_agree(PATIENCE)?;
    }
    let begun = Instant::now();
    let (mut stopped, mut cut_off) = (0, 0);
    while begun.elapsed() < lasts {
        let leader = stage.await_leader(PATIENCE)?;
        let written = stage.timeline.records().writes.len();
        stage
            .timeline
            .wait("the leader to write", PATIENCE, |records| (records.writes.len() > written + 5).then_some(()))?;
        // In the middle of its work. Twice stopped, once cut off, and so on.
        std::thread::sleep(WORK / 2);
        if (stopped + cut_off) % 3 < 2 {
            stage.signal(leader, Signal::SIGSTOP);
            stage.last(1.7);
            let woken = now();
            stage.signal(leader, Signal::SIGCONT);
            // Until then the last that was heard of it is from before.
            let is_heard = |records: &Records| (records.standings.get(&leader)?.claim?.before > woken).then_some(());
            stage.timeline.wait("it to be heard again", PATIENCE, is_heard)?;
            stopped += 1;
        } else {
            stage.network.cut(Place::Client(leader), Place::Member(0));
            stage.last(1.7);
            stage.mend();
            cut_off += 1;
        }
    }
    let lasted = begun.elapsed();
    stage.stop_all()?;
    let records = stage.timeline.records();
    let findings = check(&records.claims, &records.writes, &[], |_| true);
    if !findings.accusations.is_empty() {
        return Err(format!("two leaders: {:#?}", findings.accusations).into());
    }
    let mut newest = 0;
    let (mut stale, mut stale_taken) = (0, 0);
    for write in &records.writes {
        let is_stale = write.claim.token < newest;
        newest = newest.max(write.claim.token);
        stale += usize::from(is_stale);
        stale_taken += usize::from(is_stale && write.is_taken);
    }
    let story = Story { lasted, stopped, cut_off, writes: records.writes.len(), stale, stale_taken };
    STORIES.lock().unwrap_or_else(PoisonError::into_inner).insert(name, story);
    match (story.stale_taken, story.stale) {
        (0, 1..) => Ok(()),
        _ => Err(format!("stale writes must come, and none may be taken: {story:?}").into()),
    }
}
