//! What was counted over the seeds, so that the simulation cannot become toothless unnoticed.

use crate::plan::Fault;

macro_rules! stats {
    ($($name:ident $least:literal),* $(,)?) => {
        /// Counts of one seed, or of all.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Stats {
            $(pub(crate) $name: u64,)*
            pub(crate) faults: [u64; Fault::COUNT],
        }

        impl Stats {
            pub(crate) fn add(&mut self, other: &Stats) {
                $(self.$name += other.$name;)*
                for (sum, more) in self.faults.iter_mut().zip(other.faults) {
                    *sum += more;
                }
            }

            /// All counts that have a name, and the least that 10,000 seeds must bring.
            pub(crate) fn named(&self) -> Vec<(&'static str, u64, u64)> {
                vec![$((stringify!($name), self.$name, $least)),*]
            }
        }
    };
}

// About half of what 10,000 seeds bring.
stats! {
    seeds 10_000, events 0, virtual_ns 0, candidate_ns 0, leader_changes 20_000, requests 0,
    looks 0, joins 0, renewals 0, leaves 0, revokes 0,
    // How leaders come and go.
    takeovers_by_watch 10_000, takeovers_by_look 10_000, losses 20_000, lost_by_deadline 10_000, resumed 5_000,
    rejoins 10_000, stops_held 10_000, stops_acknowledged 10_000, stops_timed_out 200, again 1_000,
    // Looks that were overtaken by the news of a watch.
    stale_looks 100,
    // Renewals by members that were replaced as leader, and those that the term gave away.
    stale_renewals 500, refused_by_term 100,
    // What is in doubt, or left over.
    else_joins 1_000, burnt_refused 10, ghosts_deleted 1_000, left_behind_cleared 10_000, overs 20_000,
    overs_unreached 10,
    // The store went back; strangers.
    history_changes 10_000, quarantines 10_000, stopped_by_reset 2_000, put_aside 10_000, foreign_replies 10_000,
    fatal 3_000,
    // The unkindness of single requests and watches.
    late_requests 10_000, errors_applied 10_000, short_grants 2_000, lost_deletes 500, replies_overtaken 10_000, watch_cancels 200,
    jumps 2_000,
}

/// Every kind of fault happens at least so often in 10,000 seeds.
const LEAST_FAULTS: u64 = 500;

impl Stats {
    /// What did not happen often enough.
    pub(crate) fn thin(&self) -> Vec<String> {
        let share = |least: u64| least * self.seeds / 10_000;
        let named = self.named().into_iter().filter(|(_, count, least)| *count < share(*least));
        let named = named.map(|(name, count, least)| format!("{name}: {count} of {}", share(least)));
        let faults = Fault::ALL.iter().zip(self.faults).filter(|(_, count)| *count < share(LEAST_FAULTS));
        named.chain(faults.map(|(kind, count)| format!("{kind:?}: {count} of {}", share(LEAST_FAULTS)))).collect()
    }
}
