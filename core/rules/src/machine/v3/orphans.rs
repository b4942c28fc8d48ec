//! Entries on our lease that no candidate owns (law 8). A restored backup brings such an entry back, and our renewals would
//! keep it for ever. So each new link asks once for the keys of the lease, and again if it could not be told.

use crate::error::ErrorKind;
use crate::machine::in_flight::InFlight;
use crate::machine::{Answer, Failure, LinkId, Op, Reply, RequestId, member_key};
use crate::member::LeaseId;
use crate::time::Time;

/// What was found on the lease, and when to look for it.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Orphans {
    /// Whose keys the link is to be asked for, and from when on.
    due: Option<(LeaseId, Time)>,
    asked: Option<(RequestId, LeaseId)>,
}

impl Orphans {
    /// Another link serves, and we hold this lease.
    pub(super) fn relinked(&mut self, lease: Option<LeaseId>) {
        *self = Orphans { due: lease.map(|lease| (lease, Time::ZERO)), asked: None };
    }

    pub(super) fn is_waiting_for(&self, id: RequestId) -> bool {
        self.asked.is_some_and(|(asked, _)| asked == id)
    }

    /// Asks, if that is due and the lease is still held.
    pub(super) fn advance(&mut self, link: LinkId, lease: Option<LeaseId>, now: Time, out: &mut InFlight) {
        if let Some((due, _)) = self.due.take_if(|(_, at)| now >= *at).filter(|(due, _)| Some(*due) == lease) {
            self.asked = Some((out.send_at_leisure(link, Op::ListKeys { lease: due }), due));
        }
    }

    /// The keys that hang on the lease. A server that could not answer is asked again at `again_at`, or at the next renewal
    /// after that; one that will not, on the next link.
    pub(super) fn reply(&mut self, result: Result<Reply, Failure>, again_at: Time) -> Vec<Vec<u8>> {
        let asked = self.asked.take();
        match result {
            Ok(Reply { answer: Answer::Listed { keys }, .. }) => return keys,
            Err(failure) if failure.kind.is_definite_refusal() || failure.kind == ErrorKind::Unsupported => {}
            _ => self.due = asked.map(|(_, lease)| (lease, again_at)),
        }
        Vec::new()
    }
}

/// The lease that this key is named after, if it is named as our entries are. An admin may hang other keys on our lease.
pub(super) fn namesake(key: &[u8]) -> Option<LeaseId> {
    let slash = key.iter().rposition(|byte| *byte == b'/')?;
    let (prefix, suffix) = key.split_at(slash + 1);
    let lease = LeaseId::from_str_radix(std::str::from_utf8(suffix).ok()?, 16).ok()?;
    (member_key(prefix, lease) == key).then_some(lease)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_as_our_entries_are_is_one() {
        assert_eq!(namesake(b"/jobs/2a"), Some(0x2a));
        for other in ["/jobs/2A", "/jobs/02a", "/jobs/+2a", "/jobs/2a/note", "2a"] {
            assert_eq!(namesake(other.as_bytes()), None, "{other}");
        }
    }
}
