//! How long a server may be silent before another one is asked too. What is usual is learned from its answers, as TCP
//! learns its retransmission timer (RFC 6298): smoothed time and variance.

use std::time::Duration;

use crate::time::Time;

/// The shortest time that counts as late: below it a busy machine is late now and then.
const FLOOR: Duration = Duration::from_millis(100);
/// A server that answers nothing at all for so many times the usual patience may be frozen.
const SILENT: u32 = 4;
/// How often the patience doubles at most.
const MAX_DOUBLINGS: u32 = 6;

/// Whether an answer that takes so long is worth telling.
pub(super) fn is_long(silence: Duration) -> bool {
    silence >= FLOOR
}

/// Since when the serving link owes us answers.
#[derive(Debug)]
pub(super) struct Waiting {
    /// To a request that prolongs our certainty.
    pub(super) renewal: Option<Time>,
    /// To any.
    pub(super) any: Option<Time>,
}

/// What is known of the answers of the server that serves us.
#[derive(Clone, Debug, Hash)]
pub(super) struct Silence {
    /// As long as nothing is known, and at most: what the settings call an attempt.
    most: Duration,
    usual: Option<Usual>,
    /// Another server was asked and took over so often since a renewal was last confirmed.
    doublings: u32,
}

#[derive(Clone, Copy, Debug, Hash)]
struct Usual {
    smoothed: Duration,
    variance: Duration,
}

impl Silence {
    pub(super) fn new(most: Duration) -> Silence {
        Silence { most, usual: None, doublings: 0 }
    }

    /// An answer took so long.
    pub(super) fn answered(&mut self, took: Duration) {
        self.usual = Some(match self.usual {
            None => Usual { smoothed: took, variance: took / 2 },
            Some(Usual { smoothed, variance }) => {
                Usual { smoothed: (smoothed * 7 + took) / 8, variance: (variance * 3 + smoothed.abs_diff(took)) / 4 }
            }
        });
    }

    /// Another server serves us, of which nothing is known; if that happens again and again, the servers are slow and not
    /// dead, and each gets more time.
    pub(super) fn changed(&mut self) {
        self.usual = None;
        self.doublings = (self.doublings + 1).min(MAX_DOUBLINGS);
    }

    /// A renewal was confirmed.
    pub(super) fn served(&mut self) {
        self.doublings = 0;
    }

    /// When a server that was last heard of at `heard_at` is silent for too long, if it answers nothing of this by then.
    pub(super) fn late_at(&self, waiting: &Waiting, heard_at: Time, has_others: bool) -> Time {
        let patience = self.patience();
        let renewal = waiting.renewal.map_or(Time::NEVER, |sent_at| {
            // Where there is no other server to ask, a second connection to the same one is worth less.
            let late = if has_others { self.late() } else { patience };
            (sent_at.max(heard_at) + late).min(sent_at + patience)
        });
        // All else may wait for a slow disk, and is not answered sooner by another server. But one that says nothing at all
        // may be frozen.
        let any = waiting.any.map_or(Time::NEVER, |sent_at| sent_at.max(heard_at) + patience * SILENT);
        renewal.min(any)
    }

    /// When that is worth telling.
    pub(super) fn told_at(&self, waiting: &Waiting, heard_at: Time) -> Time {
        waiting.renewal.map_or(Time::NEVER, |sent_at| sent_at.max(heard_at) + self.patience())
    }

    /// Later than usual, if nothing at all has been heard for so long.
    fn late(&self) -> Duration {
        let most = self.patience();
        let least = FLOOR.max(self.most / 6).min(most);
        let usual = self.usual.map_or(most, |usual| usual.smoothed + usual.variance * 4);
        usual.clamp(least, most)
    }

    /// Later than may be, whatever else has been heard.
    fn patience(&self) -> Duration {
        self.most * (1 << self.doublings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn late_is_later_than_usual_and_never_more_than_an_attempt() {
        let mut silence = Silence::new(1500 * MS);
        assert_eq!(silence.late(), 1500 * MS, "nothing is known yet");
        (0..50).for_each(|_| silence.answered(2 * MS));
        assert_eq!(silence.late(), 250 * MS, "the floor");
        silence.answered(400 * MS);
        assert!(silence.late() > 400 * MS, "{:?}", silence.late());
        (0..50).for_each(|_| silence.answered(600 * MS));
        assert!(silence.late() > 600 * MS && silence.late() < 700 * MS, "{:?}", silence.late());
        silence.answered(3000 * MS);
        assert_eq!(silence.late(), 1500 * MS);
    }

    #[test]
    fn servers_that_are_all_slow_get_more_time_each() {
        let mut silence = Silence::new(1500 * MS);
        silence.changed();
        silence.changed();
        assert_eq!((silence.late(), silence.patience()), (6000 * MS, 6000 * MS));
        silence.served();
        assert_eq!(silence.patience(), 1500 * MS);
    }
}
