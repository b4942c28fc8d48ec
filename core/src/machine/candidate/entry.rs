//! Our entry, what we know from its place in the line, and how it is lost (laws 3 and 4).

use super::Candidate;
use super::copies::Writes;
use super::leader::Hearing;
use super::rules::Remainder;
use super::watching::Watching;
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Finding, Place, Plea};
use crate::member::{Leader, LeaseId, Member, Membership, Revision, View};
use crate::time::Time;

/// Whether we have an entry.
#[derive(Debug, Default)]
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
#[derive(Debug)]
pub(super) struct Stale {
    pub(super) revision: Revision,
    /// The last write of it that we know of; 0 if none.
    pub(super) written: Revision,
    /// If we led from it until we gave it up: until then nothing ends it but a deed of somebody's.
    pub(super) certain_until: Time,
    /// How often its end was asked for: from the second time on, we may have done that ourselves.
    pub(super) asked: u32,
}

/// How we know that we are first (law 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// A look showed it.
    Looked,
    /// The delete of the only one ahead of us, or a look on a link that is gone, and with it the watch of our key. A look must
    /// agree before the end that was certain at that time: renewals do not prolong a term that no look has confirmed.
    Unconfirmed { agree_by: Time },
}

/// What our entry is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// Others are ahead of it, as far as we know.
    Waits,
    /// It is the first.
    Leads(Proof),
    /// A term has ended that was led from it: another one needs another entry (law 4).
    Spent,
}

/// Our entry, and what we know from its place in the line.
#[derive(Debug)]
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

    fn take_entry(&mut self) -> Option<Box<Entry>> {
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

impl Candidate {
    /// What the session keeps for us.
    pub(in crate::machine) fn place(&self) -> Option<Place> {
        let entry = self.position.entry()?;
        let view = entry.view.as_ref();
        Some(Place {
            membership: Membership { key: self.own.clone(), revision: entry.revision },
            name: self.name.clone(),
            asked_at: entry.asked_at,
            leader: view.map(|view| view.first.revision),
            is_marked: self.link.is_some_and(|link| entry.writes.was_written_on(link)),
            is_loud: entry.leads() && view.is_some_and(|view| self.pace.is_crowd(view.count)),
            // Before the first look we may be the first.
            is_near: entry.leads() || view.is_none_or(|view| view.next_in_line),
        })
    }

    /// What became of our entry, which we held at `revision`, as the session found out (law 3).
    pub(in crate::machine) fn checked(&mut self, revision: Revision, finding: &Finding, out: &mut InFlight) {
        let until = self.until;
        let Some(entry) = self.position.entry_mut().filter(|entry| entry.revision == revision) else { return };
        match finding {
            Finding::ToBeTouched => entry.writes.must_write(),
            Finding::Unchecked => {
                entry.unseen_until.get_or_insert(until);
                self.must_be_seen();
            }
            Finding::Entry(found) if self.is_ours(found.as_ref()) => {
                if let Some(entry) = self.position.entry_mut() {
                    entry.unseen_until = None;
                }
            }
            Finding::Entry(found) | Finding::Lost(found) => self.lose(found.as_ref(), out),
        }
    }

    /// Nobody sees our key just now: a look must show it before what is certain ends.
    pub(super) fn must_be_seen(&mut self) {
        let agree_by = self.until;
        let is_shown = self.pace.rules.renewals_show_the_entry();
        let is_sure = |entry: &&mut Entry| !is_shown && entry.claim == Claim::Leads(Proof::Looked);
        if let Some(entry) = self.position.entry_mut().filter(is_sure) {
            entry.claim = Claim::Leads(Proof::Unconfirmed { agree_by });
            entry.must_look = true;
        }
    }

    /// Our entry is not ours any more. What is left under our key, and would stay, is deleted before we join again.
    pub(super) fn lose(&mut self, left: Option<&Member>, out: &mut InFlight) {
        let Some(entry) = self.forget_entry(out) else { return };
        if entry.leads() {
            self.why
                .get_or_insert(Error::new(ErrorKind::KeyLost, "our key was deleted or overwritten by somebody else"));
        }
        match self.pace.rules.remainder(entry.revision, left) {
            Remainder::Nothing => {}
            Remainder::EndedEarly => self.pleas.push(Plea::ClocksDoubted),
            Remainder::Expires => self.leave_to_expire(out.now),
            Remainder::Stale(revision) => {
                self.position = Position::Stale(Stale::new(revision, entry.writes.last()));
            }
        }
    }

    /// Our entry is to be deleted: we leave, or have led from it and lost the lead, and the next one has another token (law 4).
    pub(super) fn retire_entry(&mut self, out: &mut InFlight) {
        if let Some(entry) = self.forget_entry(out) {
            let certain_until = match entry.claim {
                Claim::Leads(Proof::Looked) => self.until,
                Claim::Leads(Proof::Unconfirmed { agree_by }) => self.until.min(agree_by),
                Claim::Waits | Claim::Spent => Time::ZERO,
            };
            self.position = Position::Stale(Stale { certain_until, ..Stale::new(entry.revision, entry.writes.last()) });
        }
    }

    /// The entry that we gave up was gone when etcd was asked to delete it. If nothing of ours can have ended it, the lead was
    /// lost before.
    pub(super) fn was_gone(&mut self, now: Time) {
        if self.position.stale().is_some_and(|stale| stale.asked == 1 && now < stale.certain_until) {
            let words = "our key was gone when the leading work had ended: somebody has deleted it";
            self.report.lost = Some(Error::new(ErrorKind::KeyLost, words));
        }
    }

    /// It is not ours from now on, whatever becomes of it, and what we knew from its place is void.
    pub(super) fn forget_entry(&mut self, out: &mut InFlight) -> Option<Box<Entry>> {
        let mut entry = self.position.take_entry()?;
        self.traces.give_up(entry.revision);
        // A move that comes late finds nothing, unless a restored backup has brought the entry back.
        self.traces.join_in_doubt |= entry.moving_to.is_some();
        entry.writes.drop_unsent(out);
        entry.watches.drain(..).for_each(|watch| out.unwatch(watch.id()));
        Some(entry)
    }

    pub(super) fn is_ours(&self, found: Option<&Member>) -> bool {
        matches!((found, self.position.entry()), (Some(found), Some(entry))
            if found.revision == entry.revision && self.is_kept(found))
    }

    /// Whether an entry hangs on what our session keeps alive. Without that it would stay for ever.
    pub(super) fn is_kept(&self, member: &Member) -> bool {
        let moving_to = self.position.entry().and_then(|entry| entry.moving_to);
        self.pace.rules.is_kept(member, &self.name, [self.lease, moving_to])
    }
}
