//! The committed state as etcd's API v2 has it: each entry has a time to live of its own, names are the numbers of
//! writes, and the newest events are kept for watches, whatever they concern.

use etcd_leader_rules::machine::{Change, Sign};
use etcd_leader_rules::member::{Member, OWN_TTL, Revision};

use crate::store::Store;

/// A moment on a member's wall clock: nanoseconds since the world began, as that clock has it.
pub(crate) type Wall = i64;

/// What v2 keeps beside an entry.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    /// Its `modifiedIndex`.
    pub(crate) written: Revision,
    /// When it ends, as the member that took the last write had it; never if `None`.
    pub(crate) ends: Option<Wall>,
    /// How far that member's clock was ahead of true time.
    pub(crate) ahead: Wall,
    /// An admin wrote it last.
    pub(crate) is_tampered: bool,
    /// A proxy had it written twice.
    pub(crate) is_doubled: bool,
    /// Who made it: a process, and which start of it.
    pub(crate) by: Option<(usize, u32)>,
    /// When the last write of it by a candidate was sent.
    pub(crate) sent: u64,
}

/// When an entry is to end: by the clock of the member that takes the request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Term {
    pub(crate) ends: Option<Wall>,
    pub(crate) ahead: Wall,
}

/// Why an entry was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotFound,
    CompareFailed,
}

impl Store {
    /// An empty store that keeps so many events.
    pub(crate) fn empty_v2(kept: u64) -> Store {
        // A new cluster has written down its members.
        Store { kept, revision: 4, ..Store::empty() }
    }

    /// The first index that can still be waited for.
    pub(crate) fn oldest_event(&self) -> Revision {
        (self.revision + 1).saturating_sub(self.kept).max(1)
    }

    /// Creates an entry in order.
    pub(crate) fn post(&mut self, prefix: &[u8], name: &[u8], term: Term) -> Member {
        let at = self.advance();
        let key = [prefix, format!("{at:020}").as_bytes()].concat();
        let member = Member { key, name: name.to_vec(), revision: at, lease: OWN_TTL };
        let life = Life {
            written: at,
            ends: term.ends,
            ahead: term.ahead,
            is_tampered: false,
            is_doubled: false,
            by: None,
            sent: 0,
        };
        self.write(member.clone(), life, true);
        member
    }

    /// Writes an entry again if `written` was its last write: `PUT prevExist=true prevIndex=`.
    pub(crate) fn compare_and_swap(
        &mut self,
        key: &[u8],
        written: Revision,
        name: Option<&[u8]>,
        term: Term,
    ) -> Result<(), Refusal> {
        let (Some(old), Some(life)) = (self.entries.get(key), self.lives.get(key)) else {
            return Err(Refusal::NotFound);
        };
        if life.written != written {
            return Err(Refusal::CompareFailed);
        }
        let (old, life) = (old.clone(), life.clone());
        let written = self.advance();
        let member = Member {
            name: name.map_or(old.name, <[u8]>::to_vec),
            lease: if term.ends.is_some() { OWN_TTL } else { 0 },
            ..old
        };
        let life = Life { written, ends: term.ends, ahead: term.ahead, is_tampered: false, is_doubled: false, ..life };
        self.write(member, life, name.is_some());
        Ok(())
    }

    /// `PUT` without a condition: the entry is another one from now on.
    pub(crate) fn set(&mut self, key: &[u8], name: &[u8], term: Term) {
        let at = self.advance();
        let lease = if term.ends.is_some() { OWN_TTL } else { 0 };
        let life = Life {
            written: at,
            ends: term.ends,
            ahead: term.ahead,
            is_tampered: true,
            is_doubled: false,
            by: None,
            sent: 0,
        };
        self.write(Member { key: key.to_vec(), name: name.to_vec(), revision: at, lease }, life, true);
    }

    /// `PUT prevExist=true`, with a value or, quietly, without: the entry stays the same one.
    pub(crate) fn update(&mut self, key: &[u8], name: Option<&[u8]>, term: Term) {
        let Some(written) = self.lives.get(key).map(|life| life.written) else { return };
        let swapped = self.compare_and_swap(key, written, name, term);
        if let (Ok(()), Some(life)) = (swapped, self.lives.get_mut(key)) {
            life.is_tampered = true;
        }
    }

    /// Deletes an entry: a write of its own. Says whether there was one.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let was_there = self.entries.contains_key(key);
        if was_there {
            self.advance();
            self.delete(key);
            self.lives.remove(key);
        }
        was_there
    }

    /// Deletes a directory with all that is in it: one write.
    pub(crate) fn remove_all(&mut self, prefix: &[u8]) {
        let keys: Vec<Vec<u8>> = self.under(prefix).map(|member| member.key.clone()).collect();
        self.advance();
        for key in keys {
            self.delete(&key);
            self.lives.remove(&key);
        }
    }

    /// The entry that ends first, if it does so by this time.
    pub(crate) fn ends_by(&self, clock: Wall) -> Option<(Vec<u8>, Life)> {
        let ended = self.lives.iter().filter(|(_, life)| life.ends.is_some_and(|ends| ends <= clock));
        ended.min_by_key(|(_, life)| life.ends).map(|(key, life)| (key.clone(), life.clone()))
    }

    fn write(&mut self, member: Member, life: Life, visible: bool) {
        if visible {
            self.log.push(Change {
                at: self.revision,
                key: member.key.clone(),
                now: Some(member.clone()),
                sign: Sign::Nothing,
            });
        }
        self.lives.insert(member.key.clone(), life);
        self.entries.insert(member.key.clone(), member);
    }
}
