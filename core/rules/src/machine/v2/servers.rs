//! The servers as far as their clocks go (law 1): which one serves us, what their answers show of their clocks, and the links on
//! which those are asked that do not serve.

use std::time::Duration;

use super::clocks::Clocks;
use super::probes::{Probes, probe_every};
use crate::config::Timings;
use crate::machine::in_flight::InFlight;
use crate::machine::{LinkId, RequestId};
use crate::time::Time;

#[derive(Clone, Debug, Hash)]
pub(super) struct Servers {
    /// The endpoint that serves us.
    serving: Option<usize>,
    clocks: Clocks,
    probes: Probes,
}

impl Servers {
    pub(super) fn new(timings: &Timings) -> Servers {
        Servers { serving: None, clocks: Clocks::new(probe_every(timings) * 2), probes: Probes::new(timings) }
    }

    /// This one serves us now: at its opening all were asked.
    pub(super) fn relinked(&mut self, endpoint: usize, now: Time) {
        self.serving = Some(endpoint);
        self.probes.relinked(now);
    }

    pub(super) fn unlinked(&mut self, out: &mut InFlight) {
        self.serving = None;
        self.probes.close(out);
    }

    /// The wall clock jumped: readings from before do not compare with those from now on.
    pub(super) fn forget_clocks(&mut self, now: Time, out: &mut InFlight) {
        self.clocks.forget();
        self.probes.ask_anew(now, out);
    }

    pub(super) fn note_clock(&mut self, endpoint: usize, clock_s: u64, sent_at: Time, now: Time) {
        self.clocks.note(endpoint, clock_s, sent_at, now);
    }

    /// The one that serves us has written down when our entry ends.
    pub(super) fn wrote(&mut self, now: Time) {
        if let Some(serving) = self.serving {
            self.clocks.wrote(serving, now);
        }
    }

    /// By how much another one's clock is ahead, at least, and which.
    pub(super) fn behind(&mut self, now: Time) -> Option<(usize, Duration)> {
        let serving = self.serving?;
        self.clocks.may_write(serving, now);
        self.clocks.behind(serving, now)
    }

    /// By how much our entry may end early because of that.
    pub(super) fn skew(&self) -> Duration {
        self.clocks.skew()
    }

    /// Asks the others now.
    pub(super) fn ask(&mut self, now: Time) {
        self.probes.hurry(now);
    }

    pub(super) fn advance(&mut self, key: &[u8], now: Time, out: &mut InFlight) {
        self.probes.advance(self.serving, key, now, out);
    }

    pub(super) fn endpoint_of(&self, link: LinkId) -> Option<usize> {
        self.probes.endpoint_of(link)
    }

    /// Whether this was the answer of one that was asked.
    pub(super) fn settle(&mut self, id: RequestId, out: &mut InFlight) -> bool {
        self.probes.settle(id, out)
    }

    pub(super) fn timeout(&self, is_served: bool) -> Time {
        self.probes.timeout(is_served)
    }

    pub(super) fn close(&mut self, out: &mut InFlight) {
        self.probes.close(out);
    }
}
