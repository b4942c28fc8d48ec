//! What the referee knows of one crew of v2: the entries its posts have made and how certain they are, what its looks
//! have shown it, what it has shown others, and how the members' clocks stand as far as it was told.

use std::collections::BTreeMap;
use std::time::Duration;

use etcd_leader_rules::machine::{LinkId, RequestId, Seen, Written};
use etcd_leader_rules::member::{Member, OWN_TTL, Revision};
use etcd_leader_rules::time::Time;

/// The most that the clocks of the processes are wrong: so much more uncertain is what was seen some time ago.
const DRIFT_PPM: i64 = 1_000;
const SECOND: i64 = 1_000_000_000;

pub(crate) struct Entry {
    pub(crate) key: Vec<u8>,
    pub(crate) revision: Revision,
    pub(crate) name: Vec<u8>,
    /// Until when it is proven to live (law 1), if all clocks agree.
    pub(crate) certain: Time,
    /// Whose clock its end was written down by.
    pub(crate) endpoint: usize,
    /// The most that this clock was known to be behind since; setting it right does not change what was written down.
    behind: Duration,
    /// On which link it was written last.
    link: LinkId,
    /// It was told that this is not its entry any more.
    pub(crate) is_lost: bool,
    /// The store went back since.
    pub(crate) is_void: bool,
    pub(crate) cluster: u64,
}

/// Where a member's clock stands beside that of the process, in nanoseconds.
#[derive(Clone, Copy)]
struct Offset {
    least: i64,
    most: i64,
    at: Time,
}

/// A refresh that was not answered.
struct Open {
    id: RequestId,
    key: Vec<u8>,
    sent: Time,
    endpoint: usize,
    behind: Duration,
}

#[derive(Default)]
pub(crate) struct Ledger {
    entries: Vec<Entry>,
    ttl: Duration,
    clocks: BTreeMap<usize, Offset>,
    is_blind: bool,
    /// For how long the clock of the process stood still without its knowing.
    unseen: Duration,
    /// The cluster that it heard of first.
    pub(crate) cluster: Option<u64>,
    /// Refreshes that may have been carried out: when and by whom they were asked for.
    open: Vec<Open>,
    /// Who was first, and whether its own entry was there, when it last looked.
    pub(crate) first: Option<(Vec<u8>, Revision)>,
    /// Who leads, as it last saw or said.
    pub(crate) leader: Option<Revision>,
    /// The leader's successors ahead of its own entry, as its last look showed them.
    line: Vec<Vec<u8>>,
    /// At which revision it last looked, and when it asked for that.
    pub(crate) looked_at: Revision,
    look_sent: Time,
    /// At which revisions it has read single keys since.
    pub(crate) checked_at: Vec<Revision>,
    /// When another led than before.
    pub(crate) changed_at: Option<Time>,
    /// Whom its visible writes have shown to lead, and when the last was asked for.
    pub(crate) shown: Option<Revision>,
    pub(crate) shown_at: Option<Time>,
}

impl Ledger {
    pub(crate) fn posted(
        &mut self,
        own: &Member,
        sent: Time,
        ttl: Duration,
        (endpoint, link): (usize, LinkId),
        cluster: u64,
        now: Time,
    ) {
        let Member { key, revision, name, .. } = own.clone();
        self.ttl = ttl;
        let behind = self.proven_skew(endpoint, now);
        self.open.retain(|open| open.key != own.key);
        self.entries.push(Entry {
            key,
            revision,
            name,
            certain: sent + ttl,
            endpoint,
            behind,
            link,
            is_lost: false,
            is_void: false,
            cluster,
        });
        (self.first, self.leader, self.shown, self.shown_at) = (None, None, None, None);
    }

    /// The clock of the process stood still: what happened before is put back to when that was.
    pub(crate) fn stood_still(&mut self, pause: Duration, back: impl Fn(Time) -> Time) {
        self.unseen += pause;
        self.entries.iter_mut().for_each(|entry| entry.certain = back(entry.certain));
        self.open.iter_mut().for_each(|open| open.sent = back(open.sent));
        self.look_sent = back(self.look_sent);
        self.clocks.clear();
    }

    /// The process sees that its clock may have stood still: its readings of others' clocks from before do not compare with those
    /// from now on.
    pub(crate) fn sees_jump(&mut self) {
        self.unseen = Duration::ZERO;
        self.clocks.clear();
    }

    /// The store went back: nothing of before counts.
    pub(crate) fn void(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.is_void = true);
    }

    /// The entry that holds this key, if a post gave it; the newest, since a wiped store gives names out again.
    pub(crate) fn under(&self, key: &[u8]) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    /// The entry with this token.
    pub(crate) fn with_token(&self, prefix: &[u8], token: Revision) -> Option<&Entry> {
        self.entries.iter().rev().find(|entry| entry.revision == token && entry.key.starts_with(prefix))
    }

    /// Whether this is the entry that its last post gave it, and nothing is known to have taken that away.
    pub(crate) fn holds(&self, key: &[u8], revision: Revision) -> bool {
        let is_it = |entry: &Entry| entry.key == key && entry.revision == revision;
        self.entries.last().is_some_and(|entry| is_it(entry) && !entry.is_lost && !entry.is_void)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// What a refresh was answered.
    pub(crate) fn refreshed(
        &mut self,
        key: &[u8],
        applied: bool,
        found: Option<&Written>,
        (until, endpoint, link): (Time, usize, LinkId),
        now: Time,
    ) {
        let behind = self.proven_skew(endpoint, now);
        let Some(entry) = self.entries.iter_mut().rev().find(|entry| entry.key == key) else { return };
        let is_ours = found.is_some_and(|found| {
            let Member { revision, name, lease, .. } = &found.member;
            *revision == entry.revision && *name == entry.name && *lease == OWN_TTL
        });
        // Written by whom, if by none of its own that was not answered, or once the entry may have been another's? A link
        // that broke may have taken one with it that was just being sent.
        let is_open = self.open.iter().any(|open| open.key == key) || entry.link != link;
        entry.is_lost |= !is_ours || (!applied && (!is_open || now >= entry.certain + self.unseen));
        if applied {
            entry.link = link;
        }
        if applied && is_ours && until > entry.certain {
            (entry.certain, entry.endpoint, entry.behind) = (until, endpoint, behind);
            // Those before it name an older write.
            let ttl = self.ttl;
            self.open.retain(|open| open.key != key || open.sent + ttl > until);
        }
    }

    pub(crate) fn asked(&mut self, id: RequestId, key: &[u8], now: Time, endpoint: usize) {
        let behind = self.proven_skew(endpoint, now);
        self.open.push(Open { id, key: key.to_vec(), sent: now, endpoint, behind });
    }

    /// A refresh was answered, or definitely refused.
    pub(crate) fn settled(&mut self, id: RequestId) {
        self.open.retain(|open| open.id != id);
    }

    /// Until when an entry lives for certain, whatever became of the refreshes that were not answered: one by a member
    /// whose clock is behind makes its life shorter.
    pub(crate) fn lives_until(&self, entry: &Entry) -> Time {
        let open = self.open.iter().filter(|open| open.key == entry.key);
        open.map(|open| open.sent + self.ttl - open.behind).fold(entry.certain - entry.behind, Time::min)
    }

    /// Takes in what a look showed, and gives the leader, if another led before.
    pub(crate) fn looked(
        &mut self,
        seen: &Seen,
        (at, heard): (Revision, Revision),
        sent: Time,
        now: Time,
    ) -> Option<Revision> {
        // One that was asked for before, and came later, is not waited for any more.
        if sent < self.look_sent {
            return None;
        }
        self.look_sent = sent;
        if at < heard {
            // This look need not count.
            self.checked_at.push(at);
        } else {
            self.looked_at = at;
            self.checked_at.clear();
        }
        let first = seen.first.iter().min_by_key(|member| member.rank());
        self.first = first.map(|first| (first.key.clone(), first.revision));
        let own = seen.own.as_ref().map(Member::rank);
        let line = seen.first.iter().skip(1).take_while(|member| Some(member.rank()) < own);
        self.line = line.map(|member| member.key.clone()).collect();
        self.believes(self.first.as_ref()?.1, now)
    }

    /// The crew hears that an entry has ended. Gives whether it may have to look: it knows who leads then, unless the entry was
    /// the one just before its own.
    pub(crate) fn heard_end(&mut self, key: &[u8]) -> bool {
        let is_known = !self.line.is_empty() && self.line.last().is_none_or(|last| last != key);
        if is_known {
            self.line.remove(0);
        }
        !is_known
    }

    /// The crew knows who leads. Gives the leader, if another led before.
    pub(crate) fn believes(&mut self, leader: Revision, now: Time) -> Option<Revision> {
        self.leader.replace(leader).filter(|before| *before != leader)?;
        self.changed_at = Some(now);
        Some(leader)
    }

    /// An answer showed a member's clock.
    pub(crate) fn saw_clock(&mut self, endpoint: usize, clock_s: u64, sent: Time, now: Time) {
        if self.is_blind {
            return;
        }
        let shown = clock_s.cast_signed() * SECOND;
        let seen = Offset { least: shown - nanos(now), most: shown + SECOND - nanos(sent), at: now };
        let known = self.clocks.get(&endpoint).map_or(seen, |known| known.aged(now));
        let (least, most) = (known.least.max(seen.least), known.most.min(seen.most));
        let offset = if least <= most { Offset { least, most, at: now } } else { seen };
        self.clocks.insert(endpoint, offset);
        let (clocks, memory) = (&self.clocks, memory(self.ttl));
        for entry in &mut self.entries {
            entry.behind = entry.behind.max(proven_skew(clocks, memory, entry.endpoint, now));
        }
        for open in &mut self.open {
            open.behind = open.behind.max(proven_skew(clocks, memory, open.endpoint, now));
        }
    }

    pub(crate) fn forget_clocks(&mut self) {
        self.clocks.clear();
        self.is_blind = true;
        self.entries.iter_mut().for_each(|entry| entry.behind = Duration::ZERO);
        self.open.iter_mut().for_each(|open| open.behind = Duration::ZERO);
    }

    fn proven_skew(&self, endpoint: usize, now: Time) -> Duration {
        proven_skew(&self.clocks, memory(self.ttl), endpoint, now)
    }
}

/// All members are asked what time it is in half of this; who does not answer is not believed for ever.
fn memory(ttl: Duration) -> Duration {
    2 * (2 * ttl).max(Duration::from_secs(10))
}

/// By how much some member's clock is known to be ahead of this one's.
fn proven_skew(clocks: &BTreeMap<usize, Offset>, memory: Duration, endpoint: usize, now: Time) -> Duration {
    let Some(most) = clocks.get(&endpoint).map(|clock| clock.aged(now).most) else { return Duration::ZERO };
    let told = clocks.values().filter(|clock| now.since(clock.at) <= memory);
    let least = told.map(|clock| clock.aged(now).least).max().unwrap_or(most);
    Duration::from_nanos(u64::try_from(least - most).unwrap_or(0))
}

impl Offset {
    fn aged(self, now: Time) -> Offset {
        let drift = nanos(now).saturating_sub(nanos(self.at)) / 1_000_000 * DRIFT_PPM;
        Offset { least: self.least - drift, most: self.most + drift, at: now }
    }
}

fn nanos(time: Time) -> i64 {
    time.as_nanos().cast_signed()
}
