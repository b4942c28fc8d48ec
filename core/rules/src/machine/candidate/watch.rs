//! One watch of a candidate's.

use crate::machine::{WatchId, Watched};
use crate::member::Revision;

/// A watch of ours.
#[derive(Clone, Debug, Hash)]
pub(super) struct Watching {
    pub(super) id: WatchId,
    pub(super) range: Watched,
    /// We know all changes up to this revision. A server that lags may tell them once more.
    pub(super) known: Revision,
    /// Where the store was when the server confirmed it.
    pub(super) created: Option<Revision>,
    /// It has told all that happened since our view.
    pub(super) is_live: bool,
}

impl Watching {
    pub(super) fn covers(&self, key: &[u8]) -> bool {
        self.range.from.as_slice() <= key && key < self.range.to.as_slice()
    }

    /// Whether it watches the same, from whenever on.
    pub(super) fn serves_as(&self, wanted: &Watched) -> bool {
        let of = |range: &Watched| Watched { start: None, ..range.clone() };
        of(&self.range) == of(wanted)
    }
}
