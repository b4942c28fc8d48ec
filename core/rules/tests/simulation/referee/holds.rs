//! The work first, the key afterwards (law 6).

use etcd_leader_rules::machine::Op;
use etcd_leader_rules::member::{Member, Revision};

use super::{Claim, Referee};
use crate::rng::{MS, Ns};
use crate::store::Store;
use crate::world::Mood;

/// A stop whose user believes to lead: the key stays until its work has ended (law 6).
pub(super) struct Hold {
    pub(super) proc: usize,
    inc: u32,
    cand: usize,
    election: usize,
    token: Revision,
    deadline: Ns,
    taken: bool,
    released: bool,
}

impl Hold {
    /// The stop's time is not over, even on a clock that is a little fast.
    fn may_wait(&self, now: Ns) -> bool {
        now + (self.deadline / 500).min(20 * MS) < self.deadline
    }
}

impl Referee {
    /// A user asks to stop. Who does not believe to lead claims nothing from this very call on; the others claim to lead until
    /// their work has ended.
    pub(crate) fn stopping(&mut self, proc: usize, inc: u32, cand: usize, led: bool, now: Ns, timeout: Ns) {
        let same = |claim: &Claim| (claim.proc, claim.inc, claim.cand) == (proc, inc, cand);
        if let Some(at) = self.claims.iter().position(same) {
            if !led {
                self.claims.swap_remove(at);
                return;
            }
            let claim = &self.claims[at];
            if now < claim.until && claim.broken.is_none() {
                let (election, token) = (claim.election, claim.token);
                let deadline = now + timeout;
                self.holds.push(Hold { proc, inc, cand, election, token, deadline, taken: false, released: false });
            }
        }
    }

    /// A store that went back takes the place with it.
    pub(crate) fn lost_history(&mut self, proc: usize) {
        self.holds.retain(|hold| hold.proc != proc);
    }

    fn hold(&mut self, proc: usize, inc: u32, cand: usize) -> Option<&mut Hold> {
        self.holds.iter_mut().find(|hold| (hold.proc, hold.inc, hold.cand) == (proc, inc, cand))
    }

    pub(crate) fn taken(&mut self, proc: usize, inc: u32, cand: usize, now: Ns) {
        if let Some(hold) = self.hold(proc, inc, cand)
            && hold.may_wait(now)
        {
            hold.taken = true;
        }
    }

    /// A leave is carried out twice.
    pub(crate) fn repeated(&mut self, key: &[u8], revision: Revision) {
        self.left_twice.push((self.election_of(key), revision));
    }

    /// Whether somebody has ended the entry that led with this token, or taken the store back, or etcd says so.
    pub(crate) fn is_undone(&self, election: usize, token: Revision) -> bool {
        self.last_reset.is_some()
            || self.undone.iter().any(|deed| (deed.0, deed.1) == (election, token))
            || self.left_twice.contains(&(election, token))
    }

    /// The work of a user has ended, and with it the claim. Whether there was one of this term at this moment.
    pub(crate) fn released(&mut self, proc: usize, inc: u32, cand: usize, term: Option<Revision>, now: Ns) -> bool {
        if let Some(hold) = self.hold(proc, inc, cand) {
            hold.released = true;
        }
        let same = |claim: &&Claim| (claim.proc, claim.inc, claim.cand) == (proc, inc, cand);
        let held = self.claims.iter().find(same).is_some_and(|claim| now < claim.until && Some(claim.token) == term);
        self.renounced(proc, inc, cand);
        held
    }

    /// A crew sends a leave or a revoke: not while a user still works (law 6).
    pub(crate) fn leaving(&mut self, proc: usize, op: &Op, is_certain: bool, store: &Store, now: Ns) {
        let (Op::Leave { .. } | Op::Withdraw { .. } | Op::Revoke { .. }) = op else { return };
        let mut accused = None;
        let mood = self.mood;
        let prefixes = &self.prefixes;
        self.holds.retain(|hold| {
            if hold.proc != proc {
                return true;
            }
            let is_it = |member: &&Member| {
                // After a wipe another entry may have the same revision.
                let is_hit = match op {
                    Op::Leave { key, .. } | Op::Withdraw { key, .. } => member.key == *key,
                    Op::Revoke { lease } => member.lease == *lease,
                    _ => false,
                };
                member.revision == hold.token && is_hit
            };
            let entry = store.under(&prefixes[hold.election]).find(is_it);
            let hits = match op {
                Op::Leave { key, revision } | Op::Withdraw { key, revision, .. } => {
                    *revision == hold.token && key.starts_with(&prefixes[hold.election])
                }
                Op::Revoke { lease } => entry.is_some_and(|entry| entry.lease == *lease),
                _ => false,
            };
            let may_wait = !hold.released && (hold.taken || hold.may_wait(now));
            // A lease that has run out, though its entry is still there, cannot be held.
            let lives = |entry: &&Member| match store.lives.get(&entry.key) {
                Some(life) if life.is_tampered || life.is_doubled => false,
                Some(life) => life.ends.is_some_and(|ends| now.cast_signed() < ends),
                None => store.leases.get(&entry.lease).is_some_and(|lease| now < lease.expires),
            };
            if hits && may_wait && is_certain && entry.filter(lives).is_some() {
                accused
                    .get_or_insert(format!("p{proc} gives up token {} before its user's work has ended", hold.token));
            }
            if hits && entry.is_none() && mood == Mood::Quiet {
                accused.get_or_insert(format!("p{proc} let token {} run out while its user still worked", hold.token));
            }
            !hits
        });
        if let Some(what) = accused {
            self.accuse(6, what);
        }
    }
}
