//! Now and then the members that do not serve us are asked for their clocks (law 1, v2). One that is set while nobody
//! looks ends entries early; and what was seen of one that has been silent for long counts no more.

use std::time::Duration;

use crate::config::Timings;
use crate::machine::in_flight::InFlight;
use crate::machine::{LinkId, Op, RequestId};
use crate::time::Time;

const MIN_EVERY: Duration = Duration::from_secs(10);

/// How often they are asked.
pub(super) fn probe_every(timings: &Timings) -> Duration {
    (timings.ttl() * 2).max(MIN_EVERY)
}

/// A link that is opened for nothing but its answer.
#[derive(Clone, Debug, Hash)]
struct Probe {
    link: LinkId,
    request: RequestId,
    endpoint: usize,
}

#[derive(Clone, Debug, Hash)]
pub(super) struct Probes {
    /// How many endpoints there are to ask.
    endpoints: usize,
    every: Duration,
    ask_at: Time,
    end_at: Time,
    under_way: Vec<Probe>,
}

impl Probes {
    pub(super) fn new(timings: &Timings) -> Probes {
        Probes {
            endpoints: timings.endpoints,
            every: probe_every(timings),
            ask_at: Time::NEVER,
            end_at: Time::NEVER,
            under_way: Vec::new(),
        }
    }

    /// Another link serves: at its opening all were asked.
    pub(super) fn relinked(&mut self, now: Time) {
        if self.endpoints > 1 {
            self.ask_at = now + self.every;
        }
    }

    /// Asks them now.
    pub(super) fn hurry(&mut self, now: Time) {
        if self.endpoints > 1 && self.under_way.is_empty() {
            self.ask_at = now;
        }
    }

    /// The answers to earlier questions are of no use any more: asks all members again.
    pub(super) fn ask_anew(&mut self, now: Time, out: &mut InFlight) {
        self.close(out);
        self.hurry(now);
    }

    /// `serving` is the endpoint that serves us, if one does.
    pub(super) fn advance(&mut self, serving: Option<usize>, key: &[u8], now: Time, out: &mut InFlight) {
        if now >= self.end_at || serving.is_none() {
            self.close(out);
        }
        let Some(serving) = serving else { return };
        if now < self.ask_at {
            return;
        }
        (self.ask_at, self.end_at) = (now + out.entropy.jitter(self.every), now + self.every / 2);
        for endpoint in (0..self.endpoints).filter(|endpoint| *endpoint != serving) {
            let link = LinkId(out.fresh());
            let op = Op::Open { endpoint, key: key.to_vec(), patience: Duration::ZERO, is_proof: false };
            let request = out.send(link, op);
            self.under_way.push(Probe { link, request, endpoint });
        }
    }

    pub(super) fn endpoint_of(&self, link: LinkId) -> Option<usize> {
        self.under_way.iter().find(|probe| probe.link == link).map(|probe| probe.endpoint)
    }

    /// Whether this was the answer to one of them; its link has served its purpose.
    pub(super) fn settle(&mut self, id: RequestId, out: &mut InFlight) -> bool {
        let Some(at) = self.under_way.iter().position(|probe| probe.request == id) else { return false };
        out.close(self.under_way.swap_remove(at).link);
        true
    }

    pub(super) fn timeout(&self, is_served: bool) -> Time {
        let end_at = if self.under_way.is_empty() { Time::NEVER } else { self.end_at };
        if is_served { self.ask_at.min(end_at) } else { end_at }
    }

    pub(super) fn close(&mut self, out: &mut InFlight) {
        self.under_way.drain(..).for_each(|probe| out.close(probe.link));
        self.end_at = Time::NEVER;
    }
}
