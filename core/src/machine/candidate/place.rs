//! What becomes of our place: what it hangs on, how it is lost, and what may be left of it (laws 3 and 8).

use super::{Candidate, Proof, Verb};
use crate::config::Api;
use crate::error::{Error, ErrorKind};
use crate::machine::in_flight::InFlight;
use crate::machine::{Facts, Finding, Place, Plea, member_key};
use crate::member::{Member, Membership, OWN_TTL, Revision};
use crate::time::Time;

impl Candidate {
    /// What the session keeps for us.
    pub(in crate::machine) fn place(&self) -> Option<Place> {
        Some(Place {
            membership: self.place.clone()?,
            name: self.name.clone(),
            asked_at: self.joined_at,
            leader: self.view.as_ref().map(|view| view.first.revision),
            is_marked: self.is_marked(),
            // Before the first look we may be the first.
            is_loud: self.proof.is_some() && self.view.as_ref().is_some_and(|view| self.pace.is_crowd(view.count)),
            is_near: self.proof.is_some() || self.view.as_ref().is_none_or(|view| view.next_in_line),
        })
    }

    /// The keys that may hold, or come to hold, an entry of ours: the session owns them once we have ended (law 8). In v2
    /// every entry runs out.
    pub(in crate::machine) fn doubts(&self) -> Vec<Vec<u8>> {
        if self.pace.api == Api::V2 {
            return Vec::new();
        }
        let may_exist = self.join_in_doubt || self.place.is_some() || self.burn.is_some();
        let own = (may_exist && self.lease.is_some()).then(|| self.own.clone());
        let behind = self.left_behind.iter().map(|old| old.key.clone());
        own.into_iter().chain(behind).chain(self.haunted.iter().cloned()).collect()
    }

    /// Whether this key is ours, or was.
    pub(in crate::machine) fn owns(&self, key: &[u8]) -> bool {
        self.own == key || self.left_behind.iter().any(|old| old.key == key)
    }

    /// What became of our entry, which we held at `revision`, as the session found out (law 3).
    pub(in crate::machine) fn checked(&mut self, revision: Revision, finding: &Finding, out: &mut InFlight) {
        if self.place.as_ref().is_none_or(|place| place.revision != revision) {
            return;
        }
        match finding {
            Finding::ToBeTouched => self.must_touch(),
            Finding::Unchecked => {
                self.unseen_until.get_or_insert(self.until);
                self.must_be_seen();
            }
            Finding::Entry(found) if self.is_ours(found.as_ref()) => self.unseen_until = None,
            Finding::Entry(found) | Finding::Lost(found) => self.lose(found.as_ref(), out),
        }
    }

    /// Nobody sees our key just now: a look must show it before what is certain ends.
    fn must_be_seen(&mut self) {
        if (self.pace.api, self.proof) == (Api::V3, Some(Proof::Looked)) {
            self.proof = Some(Proof::Unconfirmed { agree_by: self.until });
            self.must_look = true;
        }
    }

    /// A new lease or a new link: what hung on the old one is gone.
    pub(super) fn follow(&mut self, facts: &Facts, now: Time, out: &mut InFlight) {
        self.target = facts.lease.filter(|_| self.lease != facts.lease && self.may_move(facts, now));
        self.drop_unsent_writes(facts, out);
        if self.lease != facts.lease && !self.may_move(facts, now) {
            if self.place.is_some() && self.proof.is_some() {
                self.why.get_or_insert(Error::new(ErrorKind::LeaseLost, "our lease is gone"));
            }
            let is_joining = self.pending.is_some_and(|pending| pending.verb == Verb::Join);
            let own = std::mem::take(&mut self.own);
            if self.pace.api == Api::V2 {
                // All that we knew of the store is void. What may be left of us runs out.
                if is_joining {
                    self.haunt(now);
                }
            } else {
                // A move that comes late finds nothing, unless a restored backup has brought the entry back. A join that
                // comes late finds room once the entry that we know of is deleted.
                if self.moving_to.take().is_some() || self.join_in_doubt || is_joining {
                    self.haunted.push(own.clone());
                }
                if let Some(revision) = self.place.as_ref().map(|place| place.revision).or(self.burn) {
                    self.left_behind.push(Membership { key: own, revision });
                }
                self.own = facts.lease.map_or(Vec::new(), |lease| member_key(&self.prefix, lease));
            }
            self.forget_place(out);
            self.lease = facts.lease;
            if let Some(pending) = self.pending.take_if(|pending| pending.verb != Verb::Clear) {
                // A join under a lease that is given up must not be sent any more (law 8).
                out.forget(pending.id);
            }
            (self.burn, self.burnt, self.seen, self.join_in_doubt) = (None, 0, 0, false);
        }
        if self.link != facts.link {
            self.must_be_seen();
        }
        self.follow_writes(facts.written);
        (self.session_has_joined, self.until) = (facts.has_joined, self.as_of_our_entry(facts).until);
        if self.link != facts.link {
            match self.pending.take().map(|pending| pending.verb) {
                Some(Verb::Join) => {
                    self.join_in_doubt = true;
                    self.haunt(now);
                }
                Some(Verb::Move) => self.doubt_write(),
                Some(Verb::Look) => self.must_look = true,
                _ => {}
            }
            self.watches.clear();
            self.forget_touch();
            if self.lapsed {
                // What was seen on the old link is too old to lead on.
                self.proof = None;
            }
            (self.link, self.endpoint) = (facts.link, facts.endpoint);
            let is_far = self.proof.is_none() && self.view.as_ref().is_some_and(|view| !view.next_in_line);
            match self.pace.api {
                Api::V3 if is_far => self.hearing.must_check(),
                Api::V2 if is_far && self.link.is_some() => {
                    self.must_look = false;
                    self.look_in_turn(out);
                }
                _ => self.must_look = self.place.is_some(),
            }
        }
    }

    /// Our entry is not ours any more. What is left under our key, and would stay, is deleted before we join again.
    pub(super) fn lose(&mut self, left: Option<&Member>, out: &mut InFlight) {
        let Some(place) = self.place.clone() else { return };
        if self.proof.is_some() {
            self.why
                .get_or_insert(Error::new(ErrorKind::KeyLost, "our key was deleted or overwritten by somebody else"));
        }
        self.burnt = self.burnt.max(place.revision);
        let litter = match self.pace.api {
            // What has a time to live runs out. It may be another member's: a wipe gives key and number out again.
            Api::V2 => left.filter(|left| left.lease != OWN_TTL).map(|left| left.revision),
            Api::V3 => left.map(|_| place.revision),
        };
        match (self.pace.api, left) {
            (Api::V2, None) => self.pleas.push(Plea::ClocksDoubted),
            // Or it is ours, and somebody has refreshed it.
            (Api::V2, Some(left)) if left.lease == OWN_TTL => self.haunt(out.now),
            _ => {}
        }
        self.burn = litter;
        self.forget_place(out);
    }

    /// An entry that has led and lost the lead is never led from again: it is deleted, and the next one has another token
    /// (law 4).
    pub(super) fn retire_entry(&mut self, out: &mut InFlight) {
        if let Some(revision) = self.place.as_ref().map(|place| place.revision) {
            self.burn = Some(revision);
            self.burnt = self.burnt.max(revision);
            self.forget_place(out);
        }
    }

    pub(super) fn forget_place(&mut self, out: &mut InFlight) {
        (self.place, self.view, self.proof, self.is_spent) = (None, None, None, false);
        self.unseen_until = None;
        self.watches.drain(..).for_each(|watch| out.unwatch(watch.id()));
        (self.must_look, self.must_glance) = (false, false);
        self.look_at = Time::NEVER;
        self.hearing.forget();
    }

    pub(super) fn is_ours(&self, found: Option<&Member>) -> bool {
        matches!((found, &self.place), (Some(found), Some(place))
            if found.revision == place.revision && self.is_kept(found))
    }

    /// Whether an entry hangs on what our session keeps alive. Without that it would stay for ever.
    pub(super) fn is_kept(&self, member: &Member) -> bool {
        match self.pace.api {
            Api::V2 => member.lease == OWN_TTL && member.name == self.name,
            Api::V3 => [self.lease, self.moving_to].contains(&Some(member.lease)),
        }
    }

    /// v2: an entry of ours may be left, or may yet come, which only its time to live ends. As with a lease, etcd may
    /// grant that anew once, when raft's leader changes.
    pub(super) fn haunt(&mut self, now: Time) {
        if self.pace.api == Api::V2 {
            self.ghost_until = now + self.pace.ttl() * 2;
        }
    }

    /// Nothing of ours is in etcd, as far as is known. A join under way is waited for.
    pub(super) fn is_gone(&self) -> bool {
        let has_entry = self.lease.is_some() && (self.place.is_some() || self.burn.is_some());
        !has_entry && self.left_behind.is_empty() && self.pending.is_none_or(|pending| pending.verb.is_read())
    }
}
