//! The news of the leader that a candidate has heard, and whether others have heard of the candidate.

use crate::machine::Op;
use crate::member::Revision;
use crate::time::Time;

/// The state of how a candidate learns who leads, and of whether others have learned that it leads itself.
#[derive(Clone, Debug, Hash)]
pub(super) struct Hearing {
    pub(super) must_check: bool,
    pub(super) check_at: Time,
    /// The keys that we last asked about. What is watched may be another's by the time of the answer.
    pub(super) asked: Vec<Vec<u8>>,
    /// No entry ahead of us has this key or a later one, if the clocks agree.
    pub(super) horizon: Vec<u8>,
    /// Until then those who join together with us are left alone: we do not watch for who leads.
    pub(super) follow_at: Time,
    /// When somebody last said that it leads.
    pub(super) heard_at: Option<Time>,
    /// The leader is gone. If no successor has announced itself by then, we check.
    pub(super) announced_by: Time,
    /// The leader that was last found to be gone before its successor was known.
    pub(super) missed: Revision,
    /// Others behind us have been told that we lead.
    pub(super) has_announced: bool,
    /// When our entry is written a second time, if it is: those behind us may have missed that we lead, or the write failed.
    pub(super) write_at: Time,
}

impl Default for Hearing {
    fn default() -> Hearing {
        Hearing {
            must_check: false,
            check_at: Time::NEVER,
            asked: Vec::new(),
            horizon: Vec::new(),
            follow_at: Time::NEVER,
            heard_at: None,
            announced_by: Time::NEVER,
            missed: 0,
            has_announced: false,
            write_at: Time::NEVER,
        }
    }
}

impl Hearing {
    /// A look has shown that we are the first, and others behind us: they are told when that is first so. Returns
    /// whether it is.
    pub(super) fn must_announce(&mut self, has_followers: bool) -> bool {
        let is_first_time = has_followers && !self.has_announced;
        self.has_announced |= has_followers;
        is_first_time
    }

    /// Whether our entry is to be written a second time now.
    pub(super) fn must_write_again(&mut self, now: Time) -> bool {
        let is_due = now >= self.write_at;
        if is_due {
            self.write_at = Time::NEVER;
        }
        is_due
    }

    /// Asks for a check at once.
    pub(super) fn must_check(&mut self) {
        self.must_check = true;
    }

    /// Whether a check is asked for.
    pub(super) fn is_to_check(&self) -> bool {
        self.must_check
    }

    /// Asks for a check at that time at the latest.
    pub(super) fn check_by(&mut self, at: Time) {
        self.check_at = self.check_at.min(at);
    }

    /// Reads these keys.
    pub(super) fn ask(&mut self, keys: Vec<Vec<u8>>) -> Op {
        self.asked.clone_from(&keys);
        Op::Check { keys }
    }

    /// True if the last read was of this key, too.
    pub(super) fn has_asked(&self, key: &[u8]) -> bool {
        self.asked.iter().any(|asked| asked == key)
    }

    /// A look has shown all.
    pub(super) fn looked(&mut self) {
        (self.must_check, self.check_at, self.announced_by) = (false, Time::NEVER, Time::NEVER);
    }

    /// When time makes a difference to it.
    pub(super) fn next_time(&self) -> Time {
        let check = if self.must_check { Time::NEVER } else { self.check_at.min(self.announced_by) };
        check.min(self.follow_at).min(self.write_at)
    }
}
