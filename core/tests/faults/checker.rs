//! Judges a time line: what may never be seen in one.
//!
//! A claim is true at some instant between its two stamps, so a term reached at least from the second stamp of its first
//! claim to the first stamp of its last one. Only what follows from that accuses anybody: a machine that is slow makes
//! no accusation.

use std::collections::{BTreeMap, BTreeSet};

use super::reports::{Claim, Event, Nanos, Told, Write};
use super::timeline::{in_order, seconds};

/// The claims of one candidate with one token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Term {
    pub(crate) who: usize,
    pub(crate) token: u64,
    pub(crate) first: Claim,
    pub(crate) last: Claim,
    /// How often the store had begun anew before.
    history: usize,
}

/// What must not be.
#[derive(Debug)]
pub(crate) struct Accusation {
    pub(crate) what: String,
    pub(crate) whom: [usize; 2],
    /// The token that should not have been claimed any more.
    pub(crate) old: u64,
    /// For how long it was so.
    pub(crate) lasted: Nanos,
}

/// What a time line shows.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// For how long two claimed to lead, at most.
    pub(crate) overlap: Nanos,
    pub(crate) accusations: Vec<Accusation>,
    /// All terms, in their order.
    pub(crate) terms: Vec<Term>,
    /// Writes that came late, made by one who led when it asked. This is what tokens are for.
    pub(crate) late_writes: usize,
}

impl Findings {
    pub(crate) fn accuses(&self, who: usize) -> bool {
        self.accusations.iter().any(|one| one.whom.contains(&who))
    }
}

/// Judges those of the candidates that `counts` says.
pub(crate) fn check(claims: &[Claim], writes: &[Write], resets: &[Nanos], counts: impl Fn(usize) -> bool) -> Findings {
    let mut terms: BTreeMap<(usize, u64, usize), Term> = BTreeMap::new();
    let is_claim = |claim: &Claim| claim.token != 0 && counts(claim.who);
    let claims: Vec<Claim> = in_order(claims, writes).into_iter().filter(is_claim).collect();
    for claim in &claims {
        let history = resets.iter().filter(|reset| **reset < claim.before).count();
        let Claim { who, token, .. } = *claim;
        let term = Term { who, token, first: *claim, last: *claim, history };
        let term = terms.entry((who, token, history)).or_insert(term);
        term.last = *claim;
        // A second thread that asked a little later may have been answered a little earlier.
        if claim.after < term.first.after {
            term.first = *claim;
        }
    }
    let mut terms: Vec<Term> = terms.into_values().collect();
    terms.sort_by_key(|term| term.first.before);
    let mut findings = Findings::default();
    for (at, one) in terms.iter().enumerate() {
        for other in terms[at + 1..].iter().filter(|other| other.who != one.who) {
            findings.judge(one, other);
        }
    }
    findings.judge_writes(writes.iter().filter(|write| counts(write.claim.who)), resets);
    findings.terms = terms;
    findings
}

/// A candidate that was told twice, in one history, that it is elected with one token.
pub(crate) fn elected_twice(events: &[Event], resets: &[Nanos]) -> Option<String> {
    let mut seen = BTreeSet::new();
    events.iter().find_map(|event| {
        let Told::Elected(token) = event.told else { return None };
        let history = resets.iter().filter(|reset| **reset < event.at).count();
        let is_new = seen.insert((event.who, token, history));
        (!is_new).then(|| format!("c{} is elected twice with the token {token}", event.who))
    })
}

impl Findings {
    /// Of the same thing once.
    fn accuse(&mut self, what: String, whom: [usize; 2], old: u64, lasted: Nanos) {
        match self.accusations.iter_mut().find(|one| one.what == what) {
            Some(one) => one.lasted = one.lasted.max(lasted),
            None => self.accusations.push(Accusation { what, whom, old, lasted }),
        }
    }

    /// In the order in which they arrived.
    fn judge_writes<'a>(&mut self, writes: impl Iterator<Item = &'a Write>, resets: &[Nanos]) {
        // The first write with the largest token so far, and the history it belongs to.
        let mut newest: Option<(&Write, usize)> = None;
        for write in writes {
            let history = resets.iter().filter(|reset| **reset < write.at).count();
            match newest.filter(|(_, of)| *of == history) {
                Some((newer, _)) if write.claim.token < newer.claim.token => {
                    if newer.at >= write.claim.before {
                        self.late_writes += 1;
                        continue;
                    }
                    let (old, new) = (write.claim.token, newer.claim.token);
                    let words = format!("{new} had written when the leader of {old} was asked, said yes, and wrote");
                    self.accuse(words, [write.claim.who, newer.claim.who], old, write.claim.before - newer.at);
                }
                Some((newer, _)) if write.claim.token == newer.claim.token => {}
                _ => newest = Some((write, history)),
            }
        }
    }

    /// Two terms of two candidates.
    fn judge(&mut self, one: &Term, other: &Term) {
        let whom = [one.who, other.who];
        let both = one.last.before.min(other.last.before) - one.first.after.max(other.first.after);
        // A single claim has no length, and can be within another's term all the same.
        let is_within =
            |claim: &Claim, term: &Term| claim.before >= term.first.after && claim.after <= term.last.before;
        let is_within = is_within(&other.first, one)
            || is_within(&one.first, other)
            || is_within(&other.last, one)
            || is_within(&one.last, other);
        let both = if is_within { both.max(1) } else { both };
        if both > 0 {
            self.overlap = self.overlap.max(both);
            self.accuse(
                format!("both lead for {:.6} s, with the tokens {} and {}", seconds(both), one.token, other.token),
                whom,
                one.token.min(other.token),
                both,
            );
        }
        if one.history != other.history {
            return;
        }
        if one.token == other.token {
            self.accuse(format!("both have the token {}", one.token), whom, one.token, Nanos::MAX);
            return;
        }
        let (old, new) = if one.token < other.token { (one, other) } else { (other, one) };
        let late = old.last.before - new.first.after;
        if late > 0 {
            let words = format!("{} is claimed {:.6} s after {}", old.token, seconds(late), new.token);
            self.accuse(words, whom, old.token, late);
        }
    }
}
