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
#[derive(Clone, Debug, Default, Hash)]
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

    /// How many candidates there are.
    pub(super) fn count(&self) -> usize {
        self.prefixes.len()
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
        // One that has left is none of those that are to be tried.
        self.denied += usize::from(self.whose.is_some_and(|whose| self.prefixes.contains_key(&whose)));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(count: u64) -> Keys {
        let mut keys = Keys::default();
        (0..count).for_each(|id| keys.add(CandidateId(id), &[b'a' + id as u8]));
        keys
    }

    /// Denies so many keys; each that was asked for, and whether another is left that was not.
    fn denied(keys: &mut Keys, count: usize) -> Vec<(char, bool)> {
        (0..count).map(|_| (char::from(keys.current()[0]), keys.denied(false).is_untried)).collect()
    }

    #[test]
    fn each_key_has_its_turn_and_then_there_is_a_pause() {
        let mut keys = keys(3);
        let round = [('a', true), ('b', true), ('c', false)];
        assert_eq!(denied(&mut keys, 6), [round, round].concat());
        // One that is allowed stays, and those before it count again.
        denied(&mut keys, 1);
        keys.allowed();
        assert_eq!(denied(&mut keys, 3), [('b', true), ('c', true), ('a', false)]);
    }

    #[test]
    fn who_is_refused_is_named_once_and_not_asked_for_again() {
        let mut keys = keys(2);
        let first = keys.denied(true);
        assert_eq!((first.refused, first.is_untried), (Some(CandidateId(0)), true));
        assert_eq!(keys.current(), b"b");
        let last = keys.denied(true);
        assert_eq!((last.refused, last.is_untried), (Some(CandidateId(1)), false));
        // What is left to do in the session's own name asks for the same key, and waits in between.
        let nobody = keys.denied(true);
        assert_eq!((nobody.refused, nobody.is_untried), (None, false));
        assert_eq!(keys.current(), b"b");
    }

    #[test]
    fn who_has_left_is_not_asked_for_again() {
        let mut keys = keys(2);
        keys.remove(CandidateId(0));
        assert_eq!(keys.current(), b"a", "it was allowed so far");
        assert_eq!(denied(&mut keys, 2), [('a', true), ('b', false)]);
    }
}
