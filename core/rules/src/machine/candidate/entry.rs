//! Our entry, and what we know from its place in the line.

use super::hearing::Hearing;
use super::watch::Watching;
use super::writes::Writes;
use crate::member::{Leader, LeaseId, Revision, View};
use crate::time::Time;

/// Whether we have an entry.
#[derive(Clone, Debug, Default, Hash)]
pub(super) enum Position {
    /// We have none, and join.
    #[default]
    Out,
    /// What stands under our key is not ours any more, or not to be led from again: it is deleted before we join.
    Stale(Stale),
    /// It stands, as far as we know.
    In(Box<Entry>),
}

/// An entry that must be deleted.
#[derive(Clone, Debug, Hash)]
pub(super) struct Stale {
    pub(super) revision: Revision,
    /// The last write of it that we know of; 0 if none.
    pub(super) written: Revision,
    /// If we led from it until we gave it up: until then nothing ends it but a deed of somebody's.
    pub(super) certain_until: Time,
    /// How often its end was asked for: from the second time on, we may have done that ourselves.
    pub(super) asked: u32,
}

/// The reason why we know that we are first (law 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Proof {
    /// A look showed it.
    Looked,
    /// The delete of the only one ahead of us, or a look on a link that is gone, and with it the watch of our key. A look must
    /// agree before the end that was certain at that time: renewals do not prolong a term that no look has confirmed.
    Unconfirmed { agree_by: Time },
}

/// The use of our entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Claim {
    /// Others are ahead of it, as far as we know.
    Waits,
    /// It is the first.
    Leads(Proof),
    /// A term has ended that was led from it: another one needs another entry (law 4).
    Spent,
}

/// Our entry, and what we know from its place in the line.
#[derive(Clone, Debug, Hash)]
pub(super) struct Entry {
    /// The revision that created it: our rank and, while we lead, our token.
    pub(super) revision: Revision,
    /// When the join that made it, or the last move, was sent, and when it was answered.
    pub(super) asked_at: Time,
    pub(super) answered_at: Time,
    /// The lease that the session holds instead: our entry is to be moved there.
    pub(super) target: Option<LeaseId>,
    /// A move to this lease was sent; it may have been applied.
    pub(super) moving_to: Option<LeaseId>,
    pub(super) writes: Writes,
    pub(super) claim: Claim,
    /// While we may not read our key: until when it was certain to stand when we last saw it.
    pub(super) unseen_until: Option<Time>,
    pub(super) view: Option<View>,
    /// What the view needs. In v3 the first covers our key, and while we wait the one just before it too: the one range
    /// watch of law 2b.
    pub(super) watches: Vec<Watching>,
    pub(super) must_look: bool,
    pub(super) look_at: Time,
    /// v2: the next in line has written its entry, and may lead.
    pub(super) must_glance: bool,
    /// v3: what we are told of who leads.
    pub(super) hearing: Hearing,
}

impl Position {
    pub(super) fn entry(&self) -> Option<&Entry> {
        match self {
            Position::In(entry) => Some(entry),
            Position::Out | Position::Stale(_) => None,
        }
    }

    pub(super) fn entry_mut(&mut self) -> Option<&mut Entry> {
        match self {
            Position::In(entry) => Some(entry),
            Position::Out | Position::Stale(_) => None,
        }
    }

    pub(super) fn take(&mut self, entry: Entry) -> &mut Entry {
        *self = Position::In(Box::new(entry));
        match self {
            Position::In(entry) => entry,
            _ => unreachable!("it was put there"),
        }
    }

    pub(super) fn take_entry(&mut self) -> Option<Box<Entry>> {
        match std::mem::take(self) {
            Position::In(entry) => Some(entry),
            other => {
                *self = other;
                None
            }
        }
    }

    pub(super) fn stale(&self) -> Option<&Stale> {
        match self {
            Position::Stale(stale) => Some(stale),
            Position::Out | Position::In(_) => None,
        }
    }

    pub(super) fn stale_mut(&mut self) -> Option<&mut Stale> {
        match self {
            Position::Stale(stale) => Some(stale),
            Position::Out | Position::In(_) => None,
        }
    }

    /// Our entry, and the view that we have from it.
    pub(super) fn seen(&self) -> Option<(&Entry, &View)> {
        self.entry().and_then(|entry| Some((entry, entry.view.as_ref()?)))
    }
}

impl Stale {
    pub(super) fn new(revision: Revision, written: Revision) -> Stale {
        Stale { revision, written, certain_until: Time::ZERO, asked: 0 }
    }
}

impl Entry {
    pub(super) fn new(revision: Revision, asked_at: Time, answered_at: Time) -> Entry {
        Entry {
            revision,
            asked_at,
            answered_at,
            target: None,
            moving_to: None,
            writes: Writes::of_a_join(revision),
            claim: Claim::Waits,
            unseen_until: None,
            view: None,
            watches: Vec::new(),
            must_look: false,
            look_at: Time::NEVER,
            must_glance: false,
            hearing: Hearing::default(),
        }
    }

    pub(super) fn leads(&self) -> bool {
        matches!(self.claim, Claim::Leads(_))
    }

    /// It leads no more, as far as we know. Returns whether it did.
    pub(super) fn drop_proof(&mut self) -> bool {
        let led = self.leads();
        if led {
            self.claim = Claim::Waits;
        }
        led
    }

    /// It is shown to be first. That changes nothing for one that has led before.
    pub(super) fn prove(&mut self, proof: Proof) {
        if self.claim != Claim::Spent {
            self.claim = Claim::Leads(proof);
        }
    }

    /// Whether what was certain when we last saw our key is over. Nothing can prove from then on that we lead.
    pub(super) fn is_out_of_sight(&self, now: Time) -> bool {
        self.unseen_until.is_some_and(|until| now >= until)
    }

    /// When it wants the time.
    pub(super) fn next_time(&self) -> Time {
        let agree_by = match self.claim {
            Claim::Leads(Proof::Unconfirmed { agree_by }) => agree_by,
            Claim::Leads(Proof::Looked) | Claim::Waits | Claim::Spent => Time::NEVER,
        };
        let look = if self.must_look { Time::NEVER } else { self.look_at };
        agree_by.min(look).min(self.hearing.next_time())
    }

    /// The leader, if it is another.
    pub(super) fn leader(&self, own: &[u8]) -> Option<Leader> {
        let first = &self.view.as_ref()?.first;
        (first.key != own).then(|| Leader { name: first.name_text(), token: first.revision })
    }

    pub(super) fn look_by(&mut self, at: Time) {
        self.look_at = self.look_at.min(at);
    }
}
