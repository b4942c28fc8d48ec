//! Time on our own clock: plain arithmetic, no clock is read here.
//!
//! A [`Time`] counts nanoseconds since an origin that only the clock of the crate `etcd-leader` (or a simulation) knows. It never goes
//! backwards and goes on while the machine sleeps.

use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment on our own clock, in nanoseconds since that clock's origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(u64);

impl Time {
    /// The origin; earlier than, or the same as, every other time.
    pub const ZERO: Time = Time(0);
    /// Later than every other time.
    pub const NEVER: Time = Time(u64::MAX);

    /// The moment `nanos` nanoseconds after the origin.
    pub const fn from_nanos(nanos: u64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since the origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;
    fn add(self, after: Duration) -> Time {
        Time(self.0.saturating_add(u64::try_from(after.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;
    fn sub(self, before: Duration) -> Time {
        Time(self.0.saturating_sub(u64::try_from(before.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl std::fmt::Debug for Time {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:.6}s", self.0 as f64 / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Time::ZERO - second, Time::ZERO);
        assert_eq!(Time::NEVER + second, Time::NEVER);
        assert_eq!((Time::ZERO + second).since(Time::ZERO), second);
        assert_eq!(Time::ZERO.since(Time::ZERO + second), Duration::ZERO);
    }
}
