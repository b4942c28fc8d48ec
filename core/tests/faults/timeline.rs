//! All that was said, by whom and when, in one place; and waiting for what is said next.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::reports::{Claim, Event, Nanos, Report, Told, Write, now};

/// What was said so far.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) claims: Vec<Claim>,
    pub(crate) events: Vec<Event>,
    pub(crate) writes: Vec<Write>,
    /// What the suite did.
    pub(crate) marks: Vec<(Nanos, String)>,
    /// The deletions of entries that members have told of.
    pub(crate) gone: Vec<Gone>,
    /// When the store began anew: tokens before and after cannot be compared.
    pub(crate) resets: Vec<Nanos>,
    /// The largest token that the register has seen.
    pub(crate) fence: u64,
    /// Where each stands.
    pub(crate) standings: BTreeMap<usize, Standing>,
}

/// A member has told that an entry is gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone {
    pub(crate) at: Nanos,
    pub(crate) member: usize,
    pub(crate) token: u64,
}

/// The last that was heard of one candidate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    /// It was told that it leads, and not yet that it does not.
    pub(crate) is_elected: bool,
    pub(crate) leader: Option<String>,
    pub(crate) claim: Option<Claim>,
    pub(crate) is_dead: bool,
}

/// Filled by many threads.
#[derive(Default)]
pub(crate) struct Timeline {
    records: Mutex<Records>,
    news: Condvar,
}

impl Timeline {
    /// What was said so far; nothing is added meanwhile.
    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn report(&self, report: Report) {
        let mut records = self.records();
        match report {
            Report::Claim(claim) => {
                records.standings.entry(claim.who).or_default().claim = Some(claim);
                records.claims.push(claim);
            }
            Report::Event(event) => {
                let standing = records.standings.entry(event.who).or_default();
                match &event.told {
                    Told::Elected(_) => standing.is_elected = true,
                    Told::Unelected(_) => standing.is_elected = false,
                    Told::Leader(name) => standing.leader = Some(name.clone()).filter(|name| !name.is_empty()),
                    Told::Retrying(_) | Told::Error(_) | Told::Ended => {}
                }
                records.events.push(event);
            }
        }
        self.news.notify_all();
    }

    /// Takes a write, or refuses it: with tokens, a register takes none that is older than what it has.
    pub(crate) fn write(&self, claim: Claim) -> bool {
        let mut records = self.records();
        let is_taken = claim.token >= records.fence;
        records.fence = records.fence.max(claim.token);
        records.writes.push(Write { claim, at: now(), is_taken });
        is_taken
    }

    pub(crate) fn mark(&self, what: impl Into<String>) -> Nanos {
        let at = now();
        self.records().marks.push((at, what.into()));
        at
    }

    /// A member tells that an entry is gone.
    pub(crate) fn gone(&self, member: usize, token: u64) {
        self.records().gone.push(Gone { at: now(), member, token });
    }

    /// The store has begun anew.
    pub(crate) fn reset(&self) {
        self.records().resets.push(now());
    }

    pub(crate) fn is_dead(&self, who: usize) {
        let mut records = self.records();
        let standing = records.standings.entry(who).or_default();
        (standing.is_dead, standing.is_elected) = (true, false);
        drop(records);
        self.news.notify_all();
    }

    /// Waits until the records show it, for so long at most.
    pub(crate) fn wait<T>(
        &self,
        what: &str,
        patience: Duration,
        mut probe: impl FnMut(&Records) -> Option<T>,
    ) -> Result<T, String> {
        let give_up = now() + nanos(patience);
        let mut records = self.records();
        loop {
            if let Some(found) = probe(&records) {
                return Ok(found);
            }
            let left = give_up - now();
            if left <= 0 {
                return Err(format!("waited {patience:?} in vain for {what}"));
            }
            let left = Duration::from_nanos(left.unsigned_abs());
            records = self.news.wait_timeout(records, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Records {
    /// The time from the first member that told of this entry's deletion to the last.
    pub(crate) fn members_disagreed(&self, token: u64) -> Nanos {
        let told = self.gone.iter().filter(|gone| gone.token == token).map(|gone| gone.at);
        told.clone().max().unwrap_or(0) - told.min().unwrap_or(0)
    }

    /// All of it in its order, for people: who began and ended to claim, what was told, what was done.
    pub(crate) fn story(&self, names: &[String]) -> String {
        let mut lines: Vec<(Nanos, String)> =
            self.marks.iter().map(|(at, what)| (*at, format!("             == {what}"))).collect();
        let gone = |one: &Gone| (one.at, format!("             -- member {} tells: {} is gone", one.member, one.token));
        lines.extend(self.gone.iter().map(gone));
        let name = |who: usize| names.get(who).map_or("?", String::as_str);
        lines.extend(self.events.iter().map(|event| (event.at, format!("{:<13}{:?}", name(event.who), event.told))));
        let mut last: BTreeMap<usize, Claim> = BTreeMap::new();
        for claim in in_order(&self.claims, &self.writes) {
            let before = last.insert(claim.who, claim);
            let token = before.map_or(0, |before| before.token);
            if token != claim.token {
                if let Some(before) = before.filter(|before| before.token != 0) {
                    lines.push((before.after, format!("{:<13}claims {token} for the last time", name(claim.who))));
                }
                if claim.token != 0 {
                    lines.push((claim.before, format!("{:<13}claims {}", name(claim.who), claim.token)));
                }
            }
        }
        lines.sort_by_key(|(at, _)| *at);
        let begun = lines.first().map_or(0, |(at, _)| *at);
        lines.iter().fold(String::new(), |mut story, (at, what)| {
            let _ = writeln!(story, "{:>9.3} s  {what}", seconds(*at - begun));
            story
        })
    }
}

/// All claims, also those that were written, in the order of their first stamps.
pub(crate) fn in_order(claims: &[Claim], writes: &[Write]) -> Vec<Claim> {
    let mut all: Vec<Claim> = claims.iter().copied().chain(writes.iter().map(|write| write.claim)).collect();
    all.sort_by_key(|claim| claim.before);
    all
}

pub(crate) fn nanos(duration: Duration) -> Nanos {
    Nanos::try_from(duration.as_nanos()).expect("not for centuries")
}

#[allow(clippy::cast_precision_loss)]
pub(crate) fn seconds(nanos: Nanos) -> f64 {
    nanos as f64 / 1e9
}
