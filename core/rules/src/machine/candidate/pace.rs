//! How often a candidate asks, and how requests are spread when there are many candidates.

use std::time::Duration;

use super::rules::Rules;
use crate::member::{Revision, View};

/// So many candidates need not spread what they ask for.
const FEW: usize = 8;
/// The time that etcd has for each of the others: two processors check some 25 passwords in a second, of which refreshes need
/// the half when there are forty.
const CHECKS: Duration = Duration::from_millis(300);

/// v3: each that looks costs etcd the sorting of all, so that the looks of all grow with the square: about 2 µs for each entry.
/// With this time for each, a crowd that looks leaves etcd half a processor.
const SORTING: Duration = Duration::from_micros(5);
/// Each that reads single keys costs etcd 0.15 ms.
const CHECKING: Duration = Duration::from_millis(1);
/// Those who stand far behind check this seldom, in ttls.
const FAR_CHECKS: u32 = 4;

/// The rules of the API that a candidate uses, and the times it keeps.
#[derive(Clone, Copy, Debug, Hash)]
pub(in crate::machine) struct Pace {
    pub(in crate::machine) rules: &'static dyn Rules,
    /// How long an entry lives without us; without news for this long a waiter looks again.
    pub(in crate::machine) ttl_s: u32,
    /// How long leading is certain after a renewal was sent: the ttl less the margin.
    pub(in crate::machine) certain: Duration,
    /// The longest wait between retries.
    pub(in crate::machine) backoff_cap: Duration,
    /// The same for one that leads: its term depends on the answer.
    pub(in crate::machine) urgent_backoff_cap: Duration,
    /// v2: each request costs etcd the check of our password, some 70 ms of a processor.
    pub(in crate::machine) checks_passwords: bool,
    /// Among so many candidates each watches the leader's end.
    pub(in crate::machine) few: usize,
}

impl Pace {
    pub(super) fn ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.ttl_s))
    }

    /// Whether requests are so dear, and so many candidates there, that a follower watches the one before it alone, as the
    /// members of 2015 do, and learns of a new leader by its next look.
    pub(super) fn is_frugal(&self, count: usize) -> bool {
        self.checks_passwords && count > FEW
    }

    /// A follower that has heard nothing looks again after this time.
    pub(super) fn look_again(&self, count: usize, next_in_line: bool) -> Duration {
        let is_rare = self.checks_passwords && !self.is_frugal(count) && !next_in_line;
        self.ttl() * if is_rare { FAR_CHECKS } else { 1 }
    }

    /// v2: so many candidates spread their looks over this time, and the watches that follow them.
    pub(super) fn spread(&self, count: usize) -> Duration {
        let others = u32::try_from(count.saturating_sub(FEW)).unwrap_or(u32::MAX);
        let each = if self.is_frugal(count) { CHECKS } else { CHECKING };
        each.saturating_mul(others).min(self.ttl())
    }

    /// v2: whether there are so many candidates that not all watch the leader, and that a look, which lists all entries, costs more
    /// than the reads of single keys.
    pub(super) fn is_crowd(&self, count: usize) -> bool {
        !self.rules.leaders_announce() && count > self.few && !self.checks_passwords
    }

    /// Whether a follower reads single keys in the place of a look to see that what it knows still holds.
    pub(super) fn checks_keys(&self, count: usize) -> bool {
        self.rules.checks_are_linearizable() || self.is_crowd(count)
    }

    /// A follower that has heard nothing checks after this time what it knows.
    pub(super) fn check_again(&self, view: &View, own: Revision, are_some_silent: bool) -> Duration {
        let is_near = view.next_in_line || view.ahead(own) <= FEW as u64;
        self.ttl() * if is_near || are_some_silent { 1 } else { FAR_CHECKS }
    }

    /// v3: so many candidates spread one check of each over this time.
    pub(super) fn checks_of(&self, count: usize) -> Duration {
        CHECKING.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX)).min(self.ttl() / 2)
    }

    /// v3: when the entry made at `own` looks, if many look for one cause: the nearer to the leader, the sooner.
    pub(super) fn turn(&self, view: &View, own: Revision) -> Duration {
        if view.count <= self.few {
            return Duration::ZERO;
        }
        let entries = u32::try_from(view.count).unwrap_or(u32::MAX);
        let ahead = u32::try_from(view.ahead(own)).unwrap_or(u32::MAX);
        SORTING.saturating_mul(entries).saturating_mul(ahead).min(self.ttl() * 2)
    }
}
