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

/// Whether an answer that takes so long is worth telling, and acting on.
pub(in crate::machine) fn is_long(silence: Duration) -> bool {
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

/// The circumstances that decide how long a silence is borne.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// There are other servers to ask.
    pub(super) has_others: bool,
    /// Somebody leads, or is next in line.
    pub(super) is_urgent: bool,
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

impl Usual {
    /// An answer that takes longer is unusual.
    fn bound(self) -> Duration {
        self.smoothed + self.variance * 4
    }
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
    pub(super) fn late_at(&self, waiting: &Waiting, heard_at: Time, here: Circumstances) -> Time {
        let limit = self.limit(here);
        let renewal = waiting.renewal.map_or(Time::NEVER, |sent_at| {
            // Where there is no other server to ask, a second connection to the same one is worth less.
            let late = if here.has_others { self.late(limit) } else { limit };
            (sent_at.max(heard_at) + late).min(sent_at + limit)
        });
        // All else may wait for a slow disk, and is not answered sooner by another server. But one that says nothing at all
        // may be frozen.
        let any = waiting.any.map_or(Time::NEVER, |sent_at| sent_at.max(heard_at) + self.patience() * SILENT);
        renewal.min(any)
    }

    /// When that is worth telling.
    pub(super) fn told_at(&self, waiting: &Waiting, heard_at: Time, here: Circumstances) -> Time {
        waiting.renewal.map_or(Time::NEVER, |sent_at| sent_at.max(heard_at) + self.limit(here))
    }

    /// How long an answer may take at most. A follower gives a server that is slow twice as much time: where all servers are slow,
    /// a second request makes them slower.
    fn limit(&self, here: Circumstances) -> Duration {
        let patience = self.patience();
        match self.usual {
            Some(usual) if !here.is_urgent => usual.bound().clamp(patience, patience * 2),
            _ => patience,
        }
    }

    /// Later than usual, if nothing at all has been heard for so long.
    fn late(&self, most: Duration) -> Duration {
        let least = FLOOR.max(self.most / 6).min(most);
        self.usual.map_or(most, |usual| usual.bound().clamp(least, most))
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
        assert_eq!(silence.late(silence.patience()), 1500 * MS, "nothing is known yet");
        (0..50).for_each(|_| silence.answered(2 * MS));
        assert_eq!(silence.late(silence.patience()), 250 * MS, "the floor");
        silence.answered(400 * MS);
        assert!(silence.late(silence.patience()) > 400 * MS, "{:?}", silence.late(silence.patience()));
        (0..50).for_each(|_| silence.answered(600 * MS));
        assert!(
            silence.late(silence.patience()) > 600 * MS && silence.late(silence.patience()) < 700 * MS,
            "{:?}",
            silence.late(silence.patience())
        );
        silence.answered(3000 * MS);
        assert_eq!(silence.late(silence.patience()), 1500 * MS);
    }

    #[test]
    fn servers_that_are_all_slow_get_more_time_each() {
        let mut silence = Silence::new(1500 * MS);
        silence.changed();
        silence.changed();
        assert_eq!((silence.late(silence.patience()), silence.patience()), (6000 * MS, 6000 * MS));
        silence.served();
        assert_eq!(silence.patience(), 1500 * MS);
    }

    #[test]
    fn a_follower_gives_a_slow_server_more_time() {
        let mut silence = Silence::new(1500 * MS);
        let lone = Circumstances { has_others: false, is_urgent: false };
        assert_eq!(silence.limit(lone), 1500 * MS, "nothing is known yet");
        (0..50).for_each(|_| silence.answered(2 * MS));
        assert_eq!(silence.limit(lone), 1500 * MS, "it is not slow");
        (0..50).for_each(|_| silence.answered(2000 * MS));
        assert!(silence.limit(lone) > 2000 * MS && silence.limit(lone) < 2100 * MS, "{:?}", silence.limit(lone));
        silence.answered(20_000 * MS);
        assert_eq!(silence.limit(lone), 3000 * MS);
        assert_eq!(silence.limit(Circumstances { has_others: true, ..lone }), 3000 * MS);
        assert_eq!(silence.limit(Circumstances { is_urgent: true, ..lone }), 1500 * MS);
    }
}
