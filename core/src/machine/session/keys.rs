//! Which key a session asks for where any would do: etcd's permissions are by key, and one election may be denied what
//! another may read. Each has its turn.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::machine::CandidateId;

/// What follows from a key that no endpoint lets us read.
pub(super) struct Next {
    /// Whom etcd does not let in, for good.
    pub(super) refused: Option<CandidateId>,
    /// Whether there is a key that was not tried since the last that was allowed.
    pub(super) is_untried: bool,
}

/// The keys that the candidates must be allowed to read, and the one that is asked for.
#[derive(Debug, Default)]
pub(super) struct Keys {
    prefixes: BTreeMap<CandidateId, Vec<u8>>,
    current: Vec<u8>,
    /// Whose that is, or was.
    whose: Option<CandidateId>,
    /// How many were denied in a row.
    denied: usize,
}

impl Keys {
    pub(super) fn add(&mut self, candidate: CandidateId, prefix: &[u8]) {
        self.prefixes.insert(candidate, prefix.to_vec());
        if self.whose.is_none() {
            self.pass_on();
        }
    }

    pub(super) fn remove(&mut self, candidate: CandidateId) {
        self.prefixes.remove(&candidate);
    }

    /// One that we may most likely read.
    pub(super) fn current(&self) -> &[u8] {
        &self.current
    }

    /// The current one was allowed.
    pub(super) fn allowed(&mut self) {
        self.denied = 0;
    }

    /// The current one was denied. `is_final`: who it belongs to need not ask again.
    pub(super) fn denied(&mut self, is_final: bool) -> Next {
        let refused = self.whose.filter(|whose| is_final && self.prefixes.remove(whose).is_some());
        self.denied += usize::from(refused.is_none());
        let is_untried = self.denied < self.prefixes.len();
        if !is_untried {
            self.denied = 0;
        }
        self.pass_on();
        Next { refused, is_untried }
    }

    fn pass_on(&mut self) {
        let behind = self.whose.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.prefixes.range((behind, Bound::Unbounded)).next().or(self.prefixes.iter().next());
        if let Some((candidate, prefix)) = next {
            (self.whose, self.current) = (Some(*candidate), prefix.clone());
        }
    }
}
