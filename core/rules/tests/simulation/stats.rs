//! What was counted over the seeds, so that the simulation cannot become toothless unnoticed.

use etcd_leader_rules::config::Api;

use crate::plan::Fault;

/// How often each kind of fault happened.
#[derive(Clone, Debug)]
pub(crate) struct Counts(pub(crate) [u64; Fault::COUNT]);

impl Default for Counts {
    fn default() -> Counts {
        Counts([0; Fault::COUNT])
    }
}

macro_rules! stats {
    ($($name:ident $least:literal $least_v2:literal),* $(,)?) => {
        /// Counts of one seed, or of all.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: u64,)*
            pub(crate) faults: Counts,
        }

        impl Stats {
            pub(crate) fn add(&mut self, other: &Stats) {
                $(self.$name += other.$name;)*
                for (sum, more) in self.faults.0.iter_mut().zip(other.faults.0) {
                    *sum += more;
                }
            }

            /// All counts that have a name, and the least that 10,000 seeds of this API must bring.
            pub(crate) fn named(&self, api: Api) -> Vec<(&'static str, u64, u64)> {
                vec![$((stringify!($name), self.$name, if api == Api::V2 { $least_v2 } else { $least })),*]
            }
        }
    };
}

// About half of what 10,000 seeds bring, of v3 and of v2.
stats! {
    seeds 10_000 10_000, events 0 0, virtual_ns 0 0, candidate_ns 0 0, leader_changes 20_000 25_000, requests 0 0,
    looks 0 0, checks 5_000 0, joins 0 0, renewals 0 0, leaves 0 0, revokes 0 0,
    // How leaders come and go.
    takeovers_by_watch 10_000 0, takeovers_by_look 10_000 30_000, losses 20_000 25_000, lost_by_deadline 10_000 10_000,
    led_again 4_000 5_000, rejoins 10_000 35_000, stops_held 10_000 10_000, stops_released 10_000 9_000,
    stops_timed_out 200 300, again 1_000 0,
    // Looks that were overtaken by the news of a watch.
    stale_looks 100 8_000,
    // Renewals by members that were replaced as leader, and those that the term gave away.
    stale_renewals 500 0, refused_by_term 100 0,
    // What is in doubt, or left over.
    else_joins 1_000 0, burnt_refused 10 0, ghosts_deleted 1_000 0, left_behind_cleared 10_000 0, overs 20_000 30_000,
    overs_unreached 10 600,
    // Entries that were moved away from a denied lease.
    moved 2_500 0,
    // Entries that were written once on a new link.
    touches 1_000 0,
    // The store went back; strangers.
    history_changes 10_000 10_000, quarantines 10_000 20_000, stopped_by_reset 2_000 1_400, put_aside 10_000 10_000,
    foreign_replies 10_000 20_000, fatal 3_000 2_000,
    // The unkindness of single requests and watches.
    late_requests 10_000 15_000, errors_applied 10_000 16_000, short_grants 2_000 0, lost_deletes 500 0,
    replies_overtaken 10_000 50_000, watch_cancels 200 35_000, jumps 2_000 3_500, pauses 1_800 1_000, hung_links 6_000 0, restores_ahead 2_500 0,
    // v2.
    ghosts 0 1_800, repeated 0 7_000, visible_refreshes 0 80_000, refused_refreshes 0 19_000, refreshed_others 0 150,
    found_refreshes 0 5_000, early_ends 0 1_200, put_over 0 1_000, left_others 0 15, cleared 0 33_000, caught_up 0 6_500, empty_polls 0 180_000,
}

/// Every kind of fault happens at least so often in 10,000 seeds.
const LEAST_FAULTS: u64 = 300;

impl Stats {
    /// What did not happen often enough.
    pub(crate) fn thin(&self, api: Api) -> Vec<String> {
        let share = |least: u64| least * self.seeds / 10_000;
        let named = self.named(api).into_iter().filter(|(_, count, least)| *count < share(*least));
        let named = named.map(|(name, count, least)| format!("{name}: {count} of {}", share(least)));
        let faults = Fault::of(api).map(|kind| (kind, self.faults.0[kind as usize]));
        let faults = faults.filter(|(_, count)| *count < share(LEAST_FAULTS));
        named.chain(faults.map(|(kind, count)| format!("{kind:?}: {count} of {}", share(LEAST_FAULTS)))).collect()
    }
}
