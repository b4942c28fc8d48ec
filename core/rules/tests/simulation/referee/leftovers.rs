//! Nothing of a crew is left that nobody owns (law 8).

use etcd_leader_rules::member::LeaseId;

use super::Referee;
use crate::trace::text;

/// A crew that said it was over, in which history, and the leases it could not revoke.
pub(super) struct Over {
    proc: usize,
    inc: u32,
    history: u32,
    left: Vec<LeaseId>,
}

impl Referee {
    /// A crew is over; `left` are leases of its own under which a key may still be, for good reasons.
    pub(crate) fn crew_over(&mut self, proc: usize, inc: u32, left: Vec<LeaseId>, history: u32) {
        self.over.push(Over { proc, inc, history, left });
    }

    /// A join of this crew has created a key.
    pub(crate) fn joined(&mut self, proc: usize, inc: u32, own: &[u8], lease: LeaseId, history: u32) {
        let same = |over: &&Over| (over.proc, over.inc, over.history) == (proc, inc, history);
        if let Some(over) = self.over.iter().find(same)
            && history == 0
            && !over.left.contains(&lease)
        {
            self.accuse(8, format!("{} appears although p{proc} was over", text(own)));
        }
    }
}
