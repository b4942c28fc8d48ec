//! What was counted over the seeds, so that the simulation cannot become toothless unnoticed.

use crate::faults::Fault;

macro_rules! stats {
    ($($name:ident),* $(,)?) => {
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

            /// All counts that have a name.
            pub(crate) fn named(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

stats! {
    seeds, events, virtual_ns, candidate_ns, leader_changes, requests, looks, joins, renewals, leaves, revokes,
    // Paths of interest.
    takeovers_by_watch, takeovers_by_look, losses, lost_by_deadline, refused_by_term, stale_renewals, quarantines,
    ghosts_deleted, put_aside, foreign_replies, fatal, stops_held, stops_acknowledged, stops_timed_out, else_joins,
    late_requests, errors_applied, lost_deletes, replies_overtaken, watch_cancels, history_changes, overs, again, jumps,
}
