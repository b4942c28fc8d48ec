//! Numbers nobody else draws: jitter for waits, and lease ids.

use std::time::Duration;

use crate::member::LeaseId;
use crate::time::Time;

/// A small generator with a given seed, so that a simulation replays to the bit. Not for secrets.
#[derive(Clone, Debug, Hash)]
pub struct Entropy {
    state: u64,
    /// The wall clock, in milliseconds since 1970, at the origin of our own clock.
    epoch_ms: u64,
}

/// The random part of a lease id.
const RANDOM: u64 = (1 << 11) - 1;

impl Entropy {
    /// A generator; `epoch_ms` is the wall clock (milliseconds since 1970) at [`Time::ZERO`].
    pub fn new(seed: u64, epoch_ms: u64) -> Entropy {
        Entropy { state: seed, epoch_ms }
    }

    /// The next number (splitmix64).
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between half of `wait` and all of it.
    pub fn jitter(&mut self, wait: Duration) -> Duration {
        let nanos = u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(nanos / 2 + self.draw() % (nanos / 2 + 1))
    }

    /// Any part of this time.
    pub fn spread(&mut self, over: Duration) -> Duration {
        over.mul_f64(self.draw() as f64 / u64::MAX as f64)
    }

    /// How long to wait after this many failures in a row: from 50 ms doubling up to `cap`, jittered.
    pub fn backoff(&mut self, failures: u32, cap: Duration) -> Duration {
        let wait = Duration::from_millis(50) * (1 << failures.saturating_sub(1).min(12));
        self.jitter(wait.min(cap))
    }

    /// A lease id of 16 hex digits: a microsecond clock above 11 random bits, so that those who join one after the
    /// other are neighbours in the key space. The watch that covers both (law 2b) then covers few others, and that of the
    /// leader's announcements all who are ahead. An id that is taken is refused by etcd, and another one drawn.
    pub fn lease_id(&mut self, now: Time) -> LeaseId {
        let random = self.draw() & RANDOM;
        (self.first_lease_id(now).cast_unsigned() | random).cast_signed()
    }

    /// No lease id that is drawn at this time or later is lower, if the clocks agree.
    pub fn first_lease_id(&self, now: Time) -> LeaseId {
        const MICROS: u64 = (1 << 51) - 1;
        let micros = self.epoch_ms.wrapping_mul(1000).wrapping_add(now.as_nanos() / 1000) & MICROS;
        ((1 << 62) | (micros << RANDOM.count_ones())).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lease_ids_have_sixteen_digits_and_follow_the_clock() {
        let mut entropy = Entropy::new(7, 1_795_000_000_000);
        let early = entropy.lease_id(Time::ZERO);
        let late = entropy.lease_id(Time::ZERO + Duration::from_micros(1));
        assert!(early > 0 && early < late);
        assert_eq!(format!("{early:x}").len(), 16);
    }

    #[test]
    fn jitter_stays_between_half_and_all() {
        let mut entropy = Entropy::new(1, 0);
        let wait = Duration::from_millis(100);
        for _ in 0..1000 {
            let jittered = entropy.jitter(wait);
            assert!(jittered >= wait / 2 && jittered <= wait);
        }
    }
}
