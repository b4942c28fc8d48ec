//! The wall clock beside ours: it shows that the machine slept, or was set (law 1).

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::clock;
use crate::time::Time;

/// Notices that the wall clock has jumped; one per session.
#[derive(Debug)]
pub(crate) struct WallWatch {
    /// How far the wall clock was ahead at the least since it jumped last: several short pauses add up (law 1).
    offset: AtomicI64,
    /// A jump was seen, and no renewal was confirmed since.
    is_suspect: AtomicBool,
    /// A jump ahead by less than this, in nanoseconds, is covered by the margin.
    tolerance: i64,
}

impl WallWatch {
    pub(crate) fn new(margin: Duration) -> WallWatch {
        WallWatch {
            offset: AtomicI64::new(clock::wall_offset(clock::now())),
            is_suspect: AtomicBool::new(false),
            tolerance: i64::try_from(margin.as_nanos() / 2).unwrap_or(i64::MAX),
        }
    }

    /// Whether the wall clock is where it should be.
    pub(crate) fn is_calm(&self, now: Time) -> bool {
        !self.is_suspect.load(Ordering::SeqCst)
            && clock::wall_offset(now).saturating_sub(self.offset.load(Ordering::SeqCst)) <= self.tolerance
    }

    /// Whether it has jumped ahead since its last jump. Where the system steers it apart from our clock, the drift adds up to a jump
    /// now and then, which costs one more renewal.
    pub(crate) fn has_jumped(&self) -> bool {
        self.see(clock::wall_offset(clock::now()))
    }

    /// The wall clock is ahead of ours by so much.
    fn see(&self, offset: i64) -> bool {
        let least = self.offset.load(Ordering::SeqCst);
        let jumped = offset.saturating_sub(least) > self.tolerance;
        if jumped {
            // Before the offset, so that there is no moment in which all seems well.
            self.is_suspect.store(true, Ordering::SeqCst);
        }
        self.offset.store(if jumped { offset } else { offset.min(least) }, Ordering::SeqCst);
        jumped
    }

    /// Gives whether it was suspect before.
    pub(crate) fn set_suspect(&self, is_suspect: bool) -> bool {
        self.is_suspect.swap(is_suspect, Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    /// Takes a watch with a margin of 1,000 ms through these steps of the wall clock, and gives its verdict after each.
    fn jumps(steps_ms: &[i64]) -> Vec<bool> {
        let wall = WallWatch::new(Duration::from_secs(1));
        let mut offset = wall.offset.load(Ordering::SeqCst);
        let step = |step: &i64| {
            offset += step * MS;
            wall.see(offset)
        };
        steps_ms.iter().map(step).collect()
    }

    #[test]
    fn a_step_within_the_tolerance_is_none() {
        assert_eq!(jumps(&[400, -400, 400, 0, -900, 400]), [false; 6]);
    }

    #[test]
    fn a_long_pause_is_seen_once() {
        assert_eq!(jumps(&[600, 0, 100, -3_000, 600]), [true, false, false, false, true]);
    }

    #[test]
    fn short_pauses_add_up() {
        assert_eq!(jumps(&[200, 200, 200, 0, 300, 300]), [false, false, true, false, false, true]);
    }
}
