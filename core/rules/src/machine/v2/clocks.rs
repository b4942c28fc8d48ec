//! The wall clocks of etcd's members, as far as their answers show them (law 1).
//!
//! An entry of v2 ends when the clock of the raft leader passes a time that the member which took our request wrote
//! down by its own clock. How far another member's clock is ahead of that of the one which serves us is what an entry
//! may lack of its time to live. Answers tell whole seconds only, so each clock is known to lie within an interval,
//! which every further answer narrows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::time::Time;

const SECOND: i64 = 1_000_000_000;
/// A clock may go this much wrong, in parts of a million, while we do not look: twice what NTP corrects at most.
const DRIFT_PPM: i64 = 1_000;

/// Where a clock stands beside ours, in nanoseconds, when we last looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Offset {
    least: i64,
    most: i64,
    at: Time,
}

impl Offset {
    /// As it may be by now.
    fn aged(self, now: Time) -> Offset {
        let drift = nanos(now.since(self.at)) / 1_000_000 * DRIFT_PPM;
        Offset { least: self.least - drift, most: self.most + drift, at: now }
    }
}

/// What is known of each endpoint's clock, and what our places may lack because of that.
#[derive(Clone, Debug, Hash)]
pub(super) struct Clocks {
    offsets: BTreeMap<usize, Offset>,
    /// What was seen longer ago than this counts no more.
    memory: Duration,
    /// Whose clock may have written down when our places end: of the last write that is known to have been carried out,
    /// and of those after it.
    writers: BTreeSet<usize>,
    skew: Duration,
}

impl Clocks {
    pub(super) fn new(memory: Duration) -> Clocks {
        Clocks { offsets: BTreeMap::new(), memory, writers: BTreeSet::new(), skew: Duration::ZERO }
    }

    /// What our places may lack of their time, because the clock that wrote down their end is behind another.
    pub(super) fn skew(&self) -> Duration {
        self.skew
    }

    /// This endpoint's clock wrote down when our places end.
    pub(super) fn wrote(&mut self, endpoint: usize, now: Time) {
        self.writers.clear();
        self.skew = Duration::ZERO;
        self.may_write(endpoint, now);
    }

    /// This endpoint's clock may do so from now on.
    pub(super) fn may_write(&mut self, endpoint: usize, now: Time) {
        self.writers.insert(endpoint);
        self.reckon(now);
    }

    fn reckon(&mut self, now: Time) {
        let behind = |endpoint: &usize| self.behind(*endpoint, now);
        let skew = self.writers.iter().filter_map(behind).map(|(_, skew)| skew).max().unwrap_or_default();
        // A clock that is set right afterwards does not lengthen what it wrote down.
        self.skew = self.skew.max(skew);
    }

    /// An answer to a request that was sent at `sent_at` says that the endpoint's clock shows this second.
    pub(super) fn note(&mut self, endpoint: usize, clock_s: u64, sent_at: Time, now: Time) {
        let shown = i64::try_from(clock_s).unwrap_or(0).saturating_mul(SECOND).min(i64::MAX / 4);
        let seen = Offset { least: shown - at(now), most: shown + SECOND - at(sent_at), at: now };
        let offset = self.offsets.entry(endpoint).or_insert(seen);
        let known = offset.aged(now);
        let (least, most) = (known.least.max(seen.least), known.most.min(seen.most));
        // Nothing in common: the clock was set.
        *offset = if least <= most { Offset { least, most, at: now } } else { seen };
        self.reckon(now);
    }

    /// Our clock may have stood still: readings from before do not compare with readings from now on.
    pub(super) fn forget(&mut self) {
        self.offsets.clear();
    }

    /// By how much another endpoint's clock is ahead of this one's, at least, and which.
    pub(super) fn behind(&self, endpoint: usize, now: Time) -> Option<(usize, Duration)> {
        let most = self.offsets.get(&endpoint)?.aged(now).most;
        let is_told = |offset: &Offset| now.since(offset.at) <= self.memory;
        let others = self.offsets.iter().filter(|(other, offset)| **other != endpoint && is_told(offset));
        let (ahead, least) = others.map(|(other, offset)| (*other, offset.aged(now).least)).max_by_key(|(_, l)| *l)?;
        let proven = u64::try_from(least - most).ok().filter(|proven| *proven > 0)?;
        Some((ahead, Duration::from_nanos(proven)))
    }
}

fn nanos(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

fn at(time: Time) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(ms: u64) -> Time {
        Time::ZERO + Duration::from_millis(ms)
    }

    /// Notes what a clock `ahead_ms` ahead of 1,000 s shows, in an answer that took 2 ms.
    fn ask(clocks: &mut Clocks, endpoint: usize, ahead_ms: u64, now_ms: u64) {
        let clock_s = (1_000_000 + ahead_ms + now_ms) / 1_000;
        clocks.note(endpoint, clock_s, millis(now_ms - 2), millis(now_ms));
    }

    #[test]
    fn clocks_within_a_second_are_not_accused() {
        let mut clocks = Clocks::new(Duration::from_secs(60));
        for now in (10..60_000).step_by(730) {
            ask(&mut clocks, 0, 0, now);
            ask(&mut clocks, 1, 3, now);
            assert!(clocks.behind(0, millis(now)).is_none_or(|(_, skew)| skew <= Duration::from_millis(3)));
            assert_eq!(clocks.behind(1, millis(now)), None);
        }
    }

    #[test]
    fn a_clock_behind_is_proven_ever_closer() {
        let mut clocks = Clocks::new(Duration::from_secs(60));
        ask(&mut clocks, 0, 0, 10);
        ask(&mut clocks, 1, 5_000, 10);
        let (ahead, first) = clocks.behind(0, millis(10)).expect("behind");
        assert!(ahead == 1 && first >= Duration::from_millis(3_900) && first <= Duration::from_secs(5), "{first:?}");
        for now in (500..20_000).step_by(370) {
            ask(&mut clocks, 0, 0, now);
            ask(&mut clocks, 1, 5_000, now);
        }
        let (_, later) = clocks.behind(0, millis(20_000)).expect("behind");
        assert!(later > Duration::from_millis(4_800) && later <= Duration::from_secs(5), "{later:?}");
    }

    /// The members' clocks went on for 3 s while ours stood still, and only one of them was seen since.
    #[test]
    fn a_pause_of_our_clock_accuses_nobody() {
        let mut clocks = Clocks::new(Duration::from_secs(60));
        ask(&mut clocks, 0, 0, 10);
        ask(&mut clocks, 1, 0, 10);
        clocks.forget();
        ask(&mut clocks, 1, 3_000, 20);
        assert_eq!(clocks.behind(0, millis(20)), None);
        ask(&mut clocks, 0, 3_000, 30);
        assert_eq!((clocks.behind(0, millis(30)), clocks.behind(1, millis(30))), (None, None));
    }

    #[test]
    fn a_clock_that_is_set_is_believed_at_once() {
        let mut clocks = Clocks::new(Duration::from_secs(60));
        ask(&mut clocks, 0, 10_000, 10);
        ask(&mut clocks, 1, 10_000, 10);
        assert_eq!(clocks.behind(0, millis(10)), None);
        ask(&mut clocks, 0, 0, 1_000);
        assert!(clocks.behind(0, millis(1_000)).expect("behind").1 > Duration::from_secs(8));
    }
}
