//! The writes of our entry after the one that made it.

use crate::machine::in_flight::InFlight;
use crate::machine::{LinkId, RequestId, Sign};
use crate::member::Revision;

/// The known writes of our entry.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Writes {
    /// The last that was ours.
    pub(super) last: Revision,
    /// The sign of that write; [`Sign::Nothing`] if we do not know it.
    pub(super) shows: Sign,
    /// The entry is to be written once.
    pub(super) is_due: bool,
    /// The write that has no answer yet, and the sign that it is to have.
    pub(super) asked: Option<(RequestId, Sign)>,
    /// On which link we last asked for one.
    pub(super) link: Option<LinkId>,
    /// A write of ours was never answered: it may have been applied.
    pub(super) in_doubt: bool,
    /// The last that we were told of and do not know for ours, while one of ours is not answered.
    pub(super) unexplained: Revision,
}

impl Writes {
    /// An entry that this revision created.
    pub(super) fn of_a_join(revision: Revision) -> Writes {
        Writes { last: revision, shows: Sign::Waits, ..Writes::default() }
    }

    /// The last write of our entry that we know of.
    pub(super) fn last(&self) -> Revision {
        self.last
    }

    pub(super) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    pub(super) fn doubt(&mut self) {
        (self.in_doubt, self.shows) = (true, Sign::Nothing);
    }

    pub(super) fn must_write(&mut self) {
        self.is_due = true;
    }

    /// Whether our entry is written on this link.
    pub(super) fn was_written_on(&self, link: LinkId) -> bool {
        self.link == Some(link)
    }

    /// What was asked on the link before is not answered any more.
    pub(super) fn forget_sent(&mut self) {
        if self.asked.take().is_some() {
            self.doubt();
            // Those behind us may not have been told that we lead; or the first of two writes stands.
            self.is_due = true;
        }
    }

    /// Nothing is written any more under a lease that is given up, if it was not sent yet (law 8). Returns whether there was
    /// such a write.
    pub(super) fn drop_unsent(&mut self, out: &mut InFlight) -> bool {
        let was_unsent = self.asked.take_if(|(asked, _)| out.forget(*asked)).is_some();
        self.is_due |= was_unsent;
        was_unsent
    }

    /// Our entry was written or moved by this write, which has this sign. A late answer says nothing of those after it.
    pub(super) fn wrote(&mut self, at: Revision, shows: Sign) {
        if at > self.last {
            let Writes { is_due, link, unexplained, .. } = *self;
            *self = Writes { last: at, shows, is_due, link, unexplained, ..Writes::default() };
        }
    }
}
