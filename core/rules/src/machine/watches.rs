//! The watches of the machines, and their news.

use crate::member::{Member, Revision};

/// The watched keys: from `from` up to, not including, `to`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Watched {
    /// The first key of the range.
    pub from: Vec<u8>,
    /// The key after the last of the range.
    pub to: Vec<u8>,
    /// The first revision wanted. v3: `None` stands for the next one that the server applies, whichever that is: etcd tells
    /// that without the detour of up to 100 ms that a revision of the past takes.
    pub start: Option<Revision>,
    /// v3: deletes are not wanted.
    pub puts_only: bool,
}

impl Watched {
    /// The keys from `first` to `last`, both of them.
    pub(super) fn range(start: Option<Revision>, first: &[u8], last: &[u8]) -> Watched {
        // The key that follows the last.
        let to = [last, &[0]].concat();
        Watched { from: first.to_vec(), to, start, puts_only: false }
    }

    /// One key.
    pub(super) fn key(start: Option<Revision>, key: &[u8]) -> Watched {
        Watched::range(start, key, key)
    }
}

/// The news of a watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatchNews {
    /// The watch exists now; the store was at this revision.
    Created {
        /// The revision.
        revision: Revision,
    },
    /// One response: all changes of its range up to this revision that were not told before.
    Changes {
        /// The changes, oldest first.
        changes: Vec<Change>,
    },
    /// The watch has ended, for instance because its start was compacted.
    Canceled {
        /// In the server's words.
        reason: String,
    },
}

/// The sign of a write of an entry: it tells the candidates that watch the entry whether its author leads (v3). A leader makes the
/// entry's version even. A candidate that waits makes it odd, as the first put of an entry is. If that takes two writes, the first
/// says nothing: its value ends with a zero byte, which no name has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Sign {
    /// Nothing: it is the first of two writes, or the entry is on another lease than the one that it is named after.
    #[default]
    Nothing,
    /// Its author waits.
    Waits,
    /// Its author leads.
    Leads,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Change {
    /// The revision of the change.
    pub at: Revision,
    /// Which key.
    pub key: Vec<u8>,
    /// What it holds now; `None` if it was deleted.
    pub now: Option<Member>,
    /// v3: the sign of the write.
    pub sign: Sign,
}
