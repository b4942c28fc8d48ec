//! The referee: watches who claims to lead and what the store says, and accuses whoever breaks a law.
//!
//! A claim is a report that says Leading, from the moment it is made until its `until` on the claimant's own clock, or
//! until it is taken back, its user asks to stop, or its process dies. A frozen process claims on until its `until`.

pub(crate) mod accused;
pub(crate) mod at_rest;
mod holds;
mod leftovers;
pub(crate) mod urgency;

use std::collections::BTreeSet;

use etcd_leader_rules::config::Timings;
use etcd_leader_rules::machine::{Change, members_of};
use etcd_leader_rules::member::{LeaseId, Member, Revision};

use crate::frugal::Frugal;
use crate::referee::holds::Hold;
use crate::referee::leftovers::Over;
use crate::rng::{MS, Ns};
use crate::store::Store;
use crate::store_v2::Wall;
use crate::trace::text;
use crate::world::{ELECTIONS, Mood};

/// Who changed the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Client(usize),
    Expiry,
    /// An admin deleted a key, revoked a lease, or put over a key: the claim on it is excused for a while.
    Tampering,
    /// A copy of a process has written its entry.
    Copied,
    /// Wiped or restored.
    Reset,
    Foreign,
    /// v2: an entry ended so much too early as two members' clocks differ.
    Clocks(Wall),
}

/// A broken law, and how.
pub(crate) struct Verdict {
    pub(crate) law: u32,
    pub(crate) what: String,
}

/// Somebody says that it leads.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) proc: usize,
    pub(crate) inc: u32,
    pub(crate) cand: usize,
    pub(crate) election: usize,
    pub(crate) token: Revision,
    pub(crate) until: Ns,
    /// The end and the length of the last pause of its process, during which its clock stood still.
    pub(crate) paused: (Ns, Ns),
    /// Since when an admin's deed has made it untrue.
    pub(crate) broken: Option<(Ns, Cause)>,
    /// Its crew has no way to know that the store went back.
    pub(crate) unaware: bool,
    /// v2: how much before the end of its entry it ends.
    pub(crate) reserve: Ns,
    /// Its process was paused: it claims nothing before it trusts its clock, and then the same term goes on.
    pub(crate) is_mute: bool,
    /// An accident brought its entry back, after it had ended while nobody of its process could notice.
    pub(crate) is_back: bool,
}

impl Claim {
    /// For how long the clock of its process has stood still since then, at most.
    fn stood_since(&self, since: Ns) -> Ns {
        let (end, length) = self.paused;
        if end > since { length } else { 0 }
    }
}

/// In calm weather a loss must be noticed soon.
#[derive(Clone, Debug)]
pub(crate) struct Recheck {
    proc: usize,
    inc: u32,
    cand: usize,
    token: Revision,
}

/// In calm weather, the time from an admin's deed to the end of the claim: news of the watch (2 ms), two ways (3 ms),
/// a late timer; a watch that was just being made passes through etcd's 100 ms loop.
const REACTION: Ns = 150 * MS;

pub(crate) struct Referee {
    pub(crate) verdict: Option<Verdict>,
    pub(crate) all_leases: BTreeSet<LeaseId>,
    pub(crate) frugal: Frugal,
    claims: Vec<Claim>,
    holds: Vec<Hold>,
    rechecks: Vec<(Ns, Recheck)>,
    /// The highest token claimed in each election in this history, and by whom.
    fences: Vec<(u32, Revision)>,
    over: Vec<Over>,
    prefixes: Vec<Vec<u8>>,
    /// What admins have undone: a claim may even begin after that, as long as it does not know.
    undone: Vec<(usize, Revision, Ns, Cause)>,
    /// v2: entries whose leave was carried out twice: the answer says that they were gone.
    left_twice: Vec<(usize, Revision)>,
    pub(crate) last_reset: Option<Ns>,
    /// How long a claim may outlive its truth after an admin's deed: the session was confirmed before the deed, so
    /// its `until` is at most ttl - margin after it, on a clock that is a little slow.
    excuse: Ns,
    margin: Ns,
    /// How wrong the clock of a process may be in one ttl.
    slack: Ns,
    mood: Mood,
}

impl Referee {
    pub(crate) fn new(timings: &Timings, elections: usize, mood: Mood) -> Referee {
        let ttl = timings.ttl().as_nanos() as Ns;
        Referee {
            verdict: None,
            all_leases: BTreeSet::new(),
            frugal: Frugal::new(timings, mood),
            claims: Vec::new(),
            holds: Vec::new(),
            rechecks: Vec::new(),
            fences: vec![(0, 0); elections],
            over: Vec::new(),
            prefixes: ELECTIONS.iter().map(|key| members_of(key)).collect(),
            undone: Vec::new(),
            left_twice: Vec::new(),
            last_reset: None,
            excuse: ttl - timings.margin.as_nanos() as Ns + ttl / 500,
            margin: timings.margin.as_nanos() as Ns,
            slack: ttl / 500,
            mood,
        }
    }

    /// The first accusation counts; what follows may be its consequence.
    pub(crate) fn accuse(&mut self, law: u32, what: String) {
        self.verdict.get_or_insert(Verdict { law, what });
    }

    /// Who claims to lead an election now, and with which token.
    pub(crate) fn leaders(&self, election: usize, now: Ns) -> Vec<(usize, Revision)> {
        let live = self.claims.iter().filter(|claim| claim.election == election && now < claim.until);
        live.map(|claim| (claim.proc, claim.token)).collect()
    }

    /// A claim is made or prolonged. `truth`: its key is first in the store.
    pub(crate) fn claims(&mut self, mut claim: Claim, truth: bool, history: u32, now: Ns) {
        let who = format!("p{} claims {} with token {}", claim.proc, ELECTIONS[claim.election], claim.token);
        let same = |other: &Claim| (other.proc, other.inc, other.cand) == (claim.proc, claim.inc, claim.cand);
        let (mut grows, mut begins) = (true, true);
        if let Some(at) = self.claims.iter().position(same) {
            let old = self.claims.swap_remove(at);
            if old.token == claim.token {
                claim.broken = old.broken;
                grows = claim.until > old.until;
                begins = now >= old.until && !old.is_mute;
            }
        }
        if now >= claim.until {
            return;
        }
        if truth {
            // A restored backup may bring one back that is ahead, and that ends before anybody looks.
            claim.broken.take_if(|(_, cause)| *cause == Cause::Tampering);
            let (known, highest) = self.fences[claim.election];
            let is_older = known == history && claim.token < highest;
            if is_older && !claim.is_back {
                self.accuse(4, format!("{who}, but {highest} came before"));
            }
            // A term that has ended does not begin again.
            if known == history && claim.token == highest && begins {
                self.accuse(4, format!("{who}, which a term before it had"));
            }
            self.fences[claim.election] = (history, if is_older { highest } else { claim.token });
        } else {
            if claim.broken.is_none() {
                let same = |deed: &&(usize, Revision, Ns, Cause)| (deed.0, deed.1) == (claim.election, claim.token);
                claim.broken = self.undone.iter().rev().find(same).map(|deed| (deed.2, deed.3));
            }
            // Revisions begin anew after a reset: what came before it says nothing.
            let reset = self.last_reset.map(|at| (at, Cause::Reset));
            claim.broken = claim.broken.filter(|deed| reset.is_none_or(|reset| deed.0 > reset.0)).or(reset);
            match claim.broken {
                None => self.accuse(2, format!("{who}, but its key is not the first")),
                // It lives in another world, in which it is the first, until its next look.
                Some((_, Cause::Reset)) if claim.unaware => {}
                Some((since, cause)) if grows && claim.until > since + self.excuse + claim.stood_since(since) => {
                    let late = (claim.until - since) / MS;
                    self.accuse(3, format!("{who} until {late} ms after {cause:?} made that untrue"));
                }
                Some(_) => {}
            }
        }
        for other in self.claims.iter().filter(|other| other.election == claim.election && now < other.until) {
            let excused = match (other.broken, claim.broken) {
                (Some((_, Cause::Reset)), _) | (_, Some((_, Cause::Reset))) => {
                    claim.unaware || other.unaware || (claim.broken.is_some() && other.broken.is_some())
                }
                (Some(_), _) | (_, Some(_)) => true,
                (None, None) => false,
            };
            if !excused {
                let what =
                    format!("{who}, while p{} claims it with token {} ({:?})", other.proc, other.token, other.broken);
                self.verdict.get_or_insert(Verdict { law: 2, what });
            }
        }
        self.claims.push(claim);
    }

    pub(crate) fn renounced(&mut self, proc: usize, inc: u32, cand: usize) {
        self.claims.retain(|claim| (claim.proc, claim.inc, claim.cand) != (proc, inc, cand));
    }

    /// A process was paused.
    pub(crate) fn paused(&mut self, proc: usize) {
        for claim in self.claims.iter_mut().filter(|claim| claim.proc == proc) {
            (claim.until, claim.is_mute) = (0, true);
        }
        self.holds.retain(|hold| hold.proc != proc);
    }

    /// The process died, or let go of its crew.
    pub(crate) fn gone(&mut self, proc: usize) {
        self.claims.retain(|claim| claim.proc != proc);
        self.holds.retain(|hold| hold.proc != proc);
    }

    /// The store has changed: every claim must still be true, unless an admin is to blame.
    pub(crate) fn committed(&mut self, store: &Store, from: usize, cause: Cause, now: Ns) {
        let mut accused = None;
        if cause == Cause::Reset {
            self.last_reset = Some(now);
        }
        // Clocks that differ by more than the margin are as good as an admin.
        let is_undone = |reserve: Ns| match cause {
            Cause::Clocks(early) => u64::try_from(early).is_ok_and(|early| early + self.slack >= reserve),
            cause => cause == Cause::Tampering,
        };
        if is_undone(self.margin) {
            let ends = |change: &&Change| change.now.as_ref().is_none_or(|now| now.revision == change.at);
            for change in store.log.get(from..).unwrap_or(&[]).iter().filter(ends) {
                let created = store.log[..from].iter().rev().find(|old| old.key == change.key);
                let Some(created) = created.and_then(|old| old.now.as_ref()) else { continue };
                let election = self.election_of(&change.key);
                self.undone.push((election, created.revision, now, Cause::Tampering));
            }
        }
        for claim in &mut self.claims {
            let prefix = &self.prefixes[claim.election];
            let log = store.log.get(from..).unwrap_or(&[]);
            let touched: Vec<_> = log.iter().filter(|change| change.key.starts_with(prefix)).collect();
            if now >= claim.until || (touched.is_empty() && cause != Cause::Reset) {
                continue;
            }
            let truth = store.leads(prefix, claim.token, (claim.proc, claim.inc));
            if self.mood == Mood::Tampered && matches!(cause, Cause::Tampering | Cause::Copied) {
                let is_copied = cause == Cause::Copied;
                let is_detached = |member: &Member| member.revision == claim.token && (member.lease == 0 || is_copied);
                let is_hit = touched.iter().any(|change| change.now.as_ref().is_some_and(is_detached));
                if !truth || is_hit {
                    let Claim { proc, inc, cand, token, .. } = *claim;
                    self.rechecks.push((now + REACTION, Recheck { proc, inc, cand, token }));
                }
            }
            if truth {
                continue;
            }
            let cause = if is_undone(claim.reserve) { Cause::Tampering } else { cause };
            match cause {
                Cause::Tampering | Cause::Reset => {
                    claim.broken.get_or_insert((now, cause));
                    if let (Some((since, _)), false) = (claim.broken, claim.unaware)
                        && claim.until > since + self.excuse
                    {
                        accused.get_or_insert(format!("p{} claims for too long after {cause:?}", claim.proc));
                    }
                }
                _ if claim.broken.is_some() => {}
                _ => {
                    let left = (claim.until - now) / MS;
                    let key = touched.first().map(|change| text(&change.key).into_owned());
                    accused.get_or_insert(format!(
                        "p{} claims {} with token {} for {left} ms more, but {cause:?} has just changed {key:?} and its key is not the first",
                        claim.proc, ELECTIONS[claim.election], claim.token
                    ));
                }
            }
        }
        if let Some(what) = accused {
            self.accuse(1, what);
        }
        self.frugal.committed(store, from, cause, now);
    }

    /// An older store has taken the place of this one, and no revision tells. As if an admin had deleted what is missing.
    pub(crate) fn restored(&mut self, before: &Store, store: &Store, now: Ns) {
        // It may be gone, or stand behind one that is back.
        for entry in before.entries.values() {
            let election = self.prefixes.iter().position(|prefix| entry.key.starts_with(prefix)).unwrap_or(0);
            self.undone.push((election, entry.revision, now, Cause::Tampering));
        }
        let prefixes = &self.prefixes;
        let is_live = |claim: &&mut Claim| now < claim.until;
        for claim in self.claims.iter_mut().filter(is_live) {
            if !store.leads(&prefixes[claim.election], claim.token, (claim.proc, claim.inc)) {
                claim.broken.get_or_insert((now, Cause::Tampering));
            }
        }
    }

    pub(crate) fn take_rechecks(&mut self) -> Vec<(Ns, Recheck)> {
        std::mem::take(&mut self.rechecks)
    }

    /// Some time after an admin's deed in calm weather.
    pub(crate) fn recheck(&mut self, check: Recheck, now: Ns) {
        let same = |claim: &&Claim| {
            (claim.proc, claim.inc, claim.cand, claim.token) == (check.proc, check.inc, check.cand, check.token)
        };
        if self.claims.iter().find(same).is_some_and(|claim| now < claim.until) {
            let what = format!(
                "p{} still claims token {} {} ms after an admin undid it",
                check.proc,
                check.token,
                REACTION / MS
            );
            self.accuse(3, what);
        }
    }

    fn election_of(&self, key: &[u8]) -> usize {
        self.prefixes.iter().position(|prefix| key.starts_with(prefix)).unwrap_or(0)
    }
}
