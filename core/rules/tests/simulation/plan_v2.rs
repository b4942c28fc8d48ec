//! What a seed of v2 has in store beside the rest.

use std::time::Duration;

use etcd_leader_rules::config::{Api, Timings};

use crate::plan::{Fault, OnV2, Plan};
use crate::rng::{MS, Ns, Rng};
use crate::world::Mood;

/// etcd keeps so many events of all keys together.
const KEPT: u64 = 1_000;

impl Plan {
    pub(crate) fn draw_v2(rng: &mut Rng, mood: Mood, timings: &Timings) -> Plan {
        let ttl = timings.ttl();
        let mut plan = Plan::draw(rng, Api::V2, mood, ttl);
        match mood {
            Mood::Quiet => plan.kinds.push(Fault::ForeignJoin),
            Mood::Tampered => {
                plan.kinds.retain(|kind| *kind != Fault::AdminRevoke);
                plan.kinds.extend([Fault::DeleteAll, Fault::AdminRefresh, Fault::ForeignUpdate, Fault::WriteFlood]);
            }
            Mood::Storm => {
                plan.odds.repeated = if rng.permille(250) { rng.below(40) + 1 } else { 0 };
                plan.odds.put_over = if rng.permille(250) { rng.below(40) + 1 } else { 0 };
            }
        }
        plan.v2 = OnV2 {
            spread: spread(rng, mood, ttl, timings.margin),
            kept: if rng.permille(500) { KEPT } else { rng.range(5, 100) },
            poll: nanos(ttl) * rng.range(1, 20) / 2,
            one_name: rng.permille(300),
        };
        plan
    }
}

/// Clocks that agree, those that differ by almost the margin, and those that nobody could lead with.
fn spread(rng: &mut Rng, mood: Mood, ttl: Duration, margin: Duration) -> Ns {
    match rng.below(10) {
        0..4 => 10 * MS,
        // What the processes' own clocks may be slow goes off the margin.
        4..8 => nanos(margin) - nanos(ttl) / 200,
        _ if mood == Mood::Storm => nanos(ttl) * rng.range(300, 3_000) / 1_000,
        _ => nanos(margin) / 2,
    }
}

fn nanos(time: Duration) -> Ns {
    time.as_nanos() as Ns
}
