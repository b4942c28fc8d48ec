//! What crews of v2 do and say, held against their ledger.

use std::time::Duration;

use etcd_leader_rules::machine::{Answer, Failure, LinkId, Op, Reply, Report, Request, members_of};
use etcd_leader_rules::member::{OWN_TTL, Revision, Standing};
use etcd_leader_rules::time::Time;

use crate::claims::Worth;
use crate::cluster_v2::Stage;
use crate::links::Call;
use crate::pauses::Pause;
use crate::rng::{MS, Ns};
use crate::trace::text;
use crate::world::{ELECTIONS, Ev, Mood, World};

/// A crew's view of the leader has changed: by then its entry must have been written visibly, for those of 2015 behind
/// it.
pub(crate) struct Showing {
    proc: usize,
    inc: u32,
    place: Revision,
    leader: Revision,
}

impl World {
    /// A crew asks to refresh an entry; an error is a broken law.
    pub(crate) fn asks_to_refresh(
        &mut self,
        proc: usize,
        Request { id, link, op }: &Request,
    ) -> Result<Option<Revision>, (u32, String)> {
        let Op::Refresh { key, visible, .. } = op else { return Ok(None) };
        self.stats.renewals += 1;
        self.referee.frugal.renewals += 1;
        let now = self.local(proc);
        let endpoint = self.procs[proc].link(*link).map(|link| link.endpoint);
        let ledger = &mut self.procs[proc].books.ledger;
        if let Some(endpoint) = endpoint {
            ledger.asked(*id, key, now, endpoint);
        }
        let Some(revision) = ledger.under(key).map(|entry| entry.revision) else {
            return Err((8, format!("refreshes {}, which no post gave it", text(key))));
        };
        if ledger.under(key).is_some_and(|entry| entry.is_lost) {
            return Err((8, format!("refreshes {}, which it was told is not its own any more", text(key))));
        }
        if !visible {
            return Ok(None);
        }
        self.stats.visible_refreshes += 1;
        self.referee.frugal.shows += 1;
        let leader = ledger.leader;
        let before = ledger.shown_at.replace(now);
        // A candidate that has stopped does not report any more who leads.
        let is_judged = self.mood == Mood::Quiet && self.procs[proc].cands.iter().all(|cand| !cand.stopped);
        let ledger = &self.procs[proc].books.ledger;
        if is_judged {
            let next = before.map(|before| before + self.timings.renew_every);
            // A leader makes itself known at once.
            let leads = leader == Some(revision);
            if next.is_some_and(|next| now.as_nanos() + MS < next.as_nanos()) && !leads {
                return Err((11, "writes visibly twice within one renewal".into()));
            }
            // One that was due in the very moment in which it saw the change may have been meant for the one before.
            let is_meant = before.is_none() || before != ledger.changed_at;
            if ledger.shown.is_some() && ledger.shown == leader && is_meant {
                return Err((11, "writes visibly though the leader is the one it has shown".into()));
            }
        }
        Ok(leader)
    }

    /// Whether a crew of v2 that gives up an entry knew for certain that it had it.
    pub(crate) fn is_certain(&self, proc: usize, op: &Op) -> bool {
        let Op::Withdraw { key, .. } = op else { return true };
        let now = self.local(proc);
        self.procs[proc].books.ledger.under(key).is_none_or(|entry| now < entry.certain)
    }

    /// v3: a lease that nobody may renew any more has ended by itself a full life after it was certain, unless a new raft
    /// leader has granted it anew. Whoever has still to hear then has lost its place.
    pub(crate) fn is_spent(&self, proc: usize, op: &Op) -> bool {
        let Op::Revoke { lease } = op else { return false };
        let book = self.procs[proc].books.leases.iter().find(|book| book.id == *lease);
        book.is_some_and(|book| self.local(proc) >= book.certain + book.granted)
    }

    /// A crew hears the answer to a post, a refresh or a look.
    pub(crate) fn hears_v2(
        &mut self,
        proc: usize,
        on: Option<(usize, LinkId)>,
        (sent, is_void): (Time, bool),
        shows: &Asked,
        reply: &Reply,
    ) {
        let now = self.local(proc);
        let Some((endpoint, link)) = on else { return };
        let ttl = self.timings.ttl();
        let books = &mut self.procs[proc].books;
        let ledger = &mut books.ledger;
        let heard = books.heard.iter().copied().max().unwrap_or(0);
        // Which answers of a cluster that was built anew count, the crew alone knows: its clocks are not judged any more.
        let is_known = *ledger.cluster.get_or_insert(reply.stamp.cluster) == reply.stamp.cluster;
        match reply.stamp.clock_s {
            Some(_) if is_void => {}
            Some(clock_s) if is_known => ledger.saw_clock(endpoint, clock_s, sent, now),
            _ => ledger.forget_clocks(),
        }
        match &reply.answer {
            Answer::Posted { own } => {
                books.has_joined |= now < sent + self.timings.attempt;
                books.burnt.retain(|burnt| burnt.0 != own.key || burnt.1 != own.revision);
                ledger.posted(own, sent, ttl, (endpoint, link), reply.stamp.cluster, now);
            }
            Answer::Refreshed { applied, found } => {
                let Some((key, leader)) = shows else { return };
                self.stats.refused_refreshes += u64::from(!applied);
                let until = if is_void { Time::ZERO } else { sent + ttl };
                ledger.refreshed(key, *applied, found.as_ref(), (until, endpoint, link), now);
                let is_found = !applied && ledger.under(key).is_some_and(|entry| !entry.is_lost);
                self.stats.found_refreshes += u64::from(is_found);
                if *applied && leader.is_some() {
                    ledger.shown = *leader;
                }
            }
            Answer::Glimpsed { .. } => ledger.checked_at.push(reply.stamp.revision),
            Answer::Looked(seen) => {
                if let Some(leader) = ledger.looked(seen, (reply.stamp.revision, heard), sent, now) {
                    self.is_to_show(proc, leader);
                }
            }
            _ => {}
        }
    }

    /// A crew reports who leads.
    pub(crate) fn says_v2(&mut self, proc: usize, report: &Report) {
        let now = self.local(proc);
        if let Standing::Following(Some(leader)) = &report.standing
            && let Some(leader) = self.procs[proc].books.ledger.believes(leader.token, now)
        {
            self.is_to_show(proc, leader);
        }
    }

    fn is_to_show(&mut self, proc: usize, leader: Revision) {
        let (now, inc) = (self.local(proc), self.procs[proc].inc);
        let place = self.procs[proc].books.ledger.all().last().map(|entry| entry.revision);
        if let Some(place) = place.filter(|_| self.mood != Mood::Storm) {
            let by = now + self.timings.renew_every + self.timings.attempt * 2;
            let by = self.procs[proc].clock.truly(by);
            self.at(by, Ev::Shown(Showing { proc, inc, place, leader }));
        }
    }

    pub(crate) fn shown(&mut self, showing: Showing) {
        let Showing { proc, inc, place, leader } = showing;
        let this = &self.procs[proc];
        let ledger = &this.books.ledger;
        let is_there = this.inc == inc && this.crew.is_some() && this.cands.iter().all(|cand| !cand.stopped);
        let is_current = ledger.all().last().is_some_and(|entry| entry.revision == place && !entry.is_lost);
        let is_view = ledger.leader == Some(leader);
        if is_there && is_current && is_view && ledger.shown != Some(leader) {
            let what = format!("p{proc} has not shown those behind it that {leader} leads: {:?}", ledger.shown);
            self.referee.accuse(11, what);
        }
    }

    /// Who made the entry that a request is about to delete, if there is one.
    pub(crate) fn owner_of(&self, call: &Call) -> Option<Option<(usize, u32)>> {
        match (&call.op, call.stage) {
            (Op::Withdraw { key, .. }, Stage::First | Stage::Delete(_)) => {
                self.clusters[0].store.lives.get(key).map(|life| life.by)
            }
            _ => None,
        }
    }

    /// What follows from a request of v2 that was carried out in our cluster. `before`: who had made the entry that it
    /// deletes. True if it has hit another's, as one may who does not know that the store was wiped: names and numbers
    /// are given out again.
    pub(crate) fn performed_v2(
        &mut self,
        call: &Call,
        result: &Result<Reply, Failure>,
        before: Option<Option<(usize, u32)>>,
    ) -> bool {
        let Ok(reply) = result else { return false };
        match (&call.op, &reply.answer) {
            (Op::Post { .. }, Answer::Posted { own }) => {
                if let Some(life) = self.clusters[0].store.lives.get_mut(&own.key) {
                    (life.by, life.sent) = (Some((call.proc, call.inc)), call.sent);
                }
                self.stats.ghosts += u64::from(!call.replies || call.error.is_some());
            }
            (Op::Refresh { key, .. }, Answer::Refreshed { applied: true, .. }) => {
                let life = self.clusters[0].store.lives.get_mut(key);
                let mut is_late = false;
                let by = life.map(|life| {
                    life.is_doubled = call.is_second;
                    is_late = call.sent < std::mem::replace(&mut life.sent, call.sent);
                    // After a wipe two who share a name may take one entry for theirs: see core/docs/api-v2.md. And a refresh
                    // that was on its way may name a write of before the wipe, whose number has come again (seed 1025242).
                    life.is_tampered |= is_late || life.by != Some((call.proc, call.inc));
                    life.by
                });
                if is_late && self.clusters[0].history == 0 {
                    self.referee.accuse(8, format!("p{} refreshes {}, and has done so since", call.proc, text(key)));
                }
                if by != Some(Some((call.proc, call.inc))) {
                    self.stats.refreshed_others += 1;
                    if self.clusters[0].history == 0 {
                        let what = format!("p{} refreshes {}, which is another's", call.proc, text(key));
                        self.referee.accuse(8, what);
                    }
                }
            }
            // What an admin has put over its key has no owner who would miss it.
            (Op::Withdraw { key, .. }, Answer::Left { .. })
                if before.flatten().is_some_and(|by| by != (call.proc, call.inc)) =>
            {
                self.stats.left_others += 1;
                if self.clusters[0].history == 0 {
                    self.referee.accuse(8, format!("p{} deletes {}, which is another's", call.proc, text(key)));
                }
                return true;
            }
            _ => {}
        }
        false
    }

    /// Judges a report that claims to lead with this token.
    pub(crate) fn weigh_v2(
        &self,
        proc: usize,
        election: usize,
        (token, until): (Revision, Time),
        is_new: bool,
        grows: bool,
    ) -> Worth {
        let prefix = members_of(ELECTIONS[election]);
        let ledger = &self.procs[proc].books.ledger;
        let Some(entry) = ledger.with_token(&prefix, token) else {
            let wrong = Some((2, format!("claims token {token}, which no post gave it")));
            return Worth { key: None, wrong, reserve: 0, cluster: None };
        };
        let mut wrong = self.too_long(proc, election, token, until);
        // A term that began in a cluster that was built anew since may run out there.
        let is_here = entry.cluster == self.clusters[0].id;
        if entry.is_lost || (entry.is_void && grows && is_here) {
            wrong = Some((3, format!("claims token {token}, and was told that it lost that entry")));
        }
        if is_new && ledger.first.as_ref() != Some(&(entry.key.clone(), token)) {
            wrong = Some((2, format!("claims token {token}, but its last look showed {:?} first", ledger.first)));
        }
        let reserve = entry.certain.since(until).as_nanos() as Ns;
        Worth { key: Some(entry.key.clone()), wrong, reserve, cluster: Some(entry.cluster) }
    }

    /// A claim must end the margin, and the skew that is proven, before its entry may end (law 1).
    fn too_long(&self, proc: usize, election: usize, token: Revision, until: Time) -> Option<(u32, String)> {
        let ledger = &self.procs[proc].books.ledger;
        let entry = ledger.with_token(&members_of(ELECTIONS[election]), token)?;
        let lives = ledger.lives_until(entry);
        // Both age what they know of clocks bit by bit, and round.
        (until + self.timings.margin > lives + Duration::from_micros(10)).then(|| {
            let certain = entry.certain;
            (
                1,
                format!(
                    "claims until {until:?}, but its entry is certain until {lives:?} ({certain:?} if clocks agree)"
                ),
            )
        })
    }

    /// News of clocks count at once.
    pub(crate) fn judge_clocks(&mut self, proc: usize) {
        let now = self.local(proc);
        let is_sure = self.procs[proc].pause == Pause::Over;
        let leads = |cand: &crate::process::Cand| match cand.report.standing {
            Standing::Leading { token, until } if now < until && !cand.stopped && is_sure => {
                Some((cand.election, token, until))
            }
            _ => None,
        };
        let claims: Vec<_> = self.procs[proc].cands.iter().filter_map(leads).collect();
        for (election, token, until) in claims {
            if let Some((law, what)) = self.too_long(proc, election, token, until) {
                self.referee.accuse(law, format!("p{proc} {what}"));
            }
        }
    }

    /// The entry of a crew that is still in the store, how to name it, and whether it has the crew's name, or would stay
    /// for ever. If neither, it looks like another's after a wipe, and is let be.
    fn left_of(&self, proc: usize) -> Option<(String, bool)> {
        // One of before is a ghost: the answer to that post came too late, or made the crew leave the member.
        let entry = self.procs[proc].books.ledger.all().last().filter(|entry| !entry.is_lost && !entry.is_void)?;
        let found = self.clusters[0].store.entries.get(&entry.key).filter(|found| found.revision == entry.revision)?;
        let is_to_go = found.name == entry.name || found.lease != OWN_TTL;
        Some((format!("{}@{}", text(&found.key), found.revision), is_to_go))
    }

    /// A crew says that nothing of it is left (law 8): so it is, but for ghosts, unless it could not reach the cluster.
    pub(crate) fn judge_over_v2(&mut self, proc: usize, hindered_at: Ns) {
        let kept = 2 * self.ttl();
        if let Some((left, is_to_go)) = self.left_of(proc).filter(|_| self.clusters[0].history == 0) {
            self.stats.overs_unreached += 1;
            if is_to_go && self.now > hindered_at + kept {
                let since = hindered_at / MS;
                let what = format!("p{proc} is over, but there is {left}, though all was well since {since} ms");
                self.referee.accuse(8, what);
            }
        }
        if self.calm {
            self.tidy_after(proc);
        }
    }

    /// A candidate says that its entry is gone.
    pub(crate) fn judge_released_v2(&mut self, proc: usize) {
        if let Some((left, _)) = self.left_of(proc).filter(|_| self.clusters[0].history == 0) {
            self.referee.accuse(8, format!("p{proc} says that its entry is gone, but there is {left}"));
        }
    }
}

/// The key that a refresh is for, and the leader that it shows if it is visible.
pub(crate) type Asked = Option<(Vec<u8>, Option<Revision>)>;
