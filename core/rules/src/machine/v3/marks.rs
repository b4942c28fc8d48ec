//! When an entry of ours is written once, so that a copy of this process notices us (law 13).

use std::time::Duration;

use crate::time::Time;

/// A new leader has announced itself by then: etcd is not busy with a write of the next in line meanwhile.
const LATER: Duration = Duration::from_secs(1);

/// Whether the link that serves has seen a write of ours.
#[derive(Clone, Debug, Hash)]
pub(super) struct Marks {
    is_due: bool,
    at: Time,
    /// Somebody led or was next in line when we last asked.
    had_near: bool,
}

impl Marks {
    pub(super) fn new() -> Marks {
        Marks { is_due: false, at: Time::ZERO, had_near: false }
    }

    /// Another link serves, and a lease is older than it.
    pub(super) fn relinked(&mut self, is_due: bool, now: Time) {
        (self.is_due, self.at) = (is_due, now);
    }

    /// An entry was written.
    pub(super) fn marked(&mut self) {
        self.is_due = false;
    }

    /// Whether one of those who lead or are next in line, if there are any, writes its entry now: once on each link.
    pub(super) fn take_due(&mut self, has_near: bool, now: Time) -> bool {
        if has_near && !std::mem::replace(&mut self.had_near, has_near) {
            self.at = self.at.max(now + LATER);
        }
        self.had_near = has_near;
        let is_due = self.is_due && has_near && now >= self.at;
        self.is_due &= !is_due;
        is_due
    }

    /// When to ask again.
    pub(super) fn timeout(&self) -> Time {
        if self.is_due && self.had_near { self.at } else { Time::NEVER }
    }
}
