//! The wall clock beside ours: it shows that the machine slept, or was set (law 1).

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::clock;
use crate::time::Time;

/// Notices that the wall clock has jumped; one per session.
#[derive(Debug)]
pub(crate) struct WallWatch {
    /// How far the wall clock was ahead when all was well.
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

    /// Follows the wall clock's slow drift; true if it has jumped ahead since the last time.
    pub(crate) fn has_jumped(&self) -> bool {
        let offset = clock::wall_offset(clock::now());
        let jumped = offset.saturating_sub(self.offset.load(Ordering::SeqCst)) > self.tolerance;
        if jumped {
            // Before the offset, so that there is no moment in which all seems well.
            self.is_suspect.store(true, Ordering::SeqCst);
        }
        self.offset.store(offset, Ordering::SeqCst);
        jumped
    }

    pub(crate) fn set_suspect(&self, is_suspect: bool) {
        self.is_suspect.store(is_suspect, Ordering::SeqCst);
    }
}
