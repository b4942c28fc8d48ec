//! What crews say of themselves, held against the books: their reports, and that they are over.

use etcd_leader_rules::config::OnStoreReset;
use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{CandidateId, Input, Report, Trouble, WatchNews, Watched, members_of};
use etcd_leader_rules::member::{Member, Revision, Standing};
use etcd_leader_rules::time::Time;

use crate::chores::Chore;
use crate::links::Route;
use crate::pauses::Pause;
use crate::referee::{Claim, accused};
use crate::rng::{MS, Ns};
use crate::trace::{note, text};
use crate::words::report_words;
use crate::world::{ELECTIONS, Ev, Mood, World};

/// Who leads by its watch must have looked by the end that this term had when it began (law 2).
pub(crate) struct Agreement {
    proc: usize,
    inc: u32,
    cand: usize,
    token: Revision,
    since: Ns,
    /// For how long its clock had stood still by then.
    stood: Ns,
}

/// What a report that claims to lead is worth.
pub(crate) struct Worth {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) wrong: Option<(u32, String)>,
    /// v2: how much before the end of the entry the claim ends.
    pub(crate) reserve: Ns,
    /// In which cluster the entry was made; a term that began in the old one may run out there.
    pub(crate) cluster: Option<u64>,
}

/// How late a timer may be.
const TIMER: Ns = 10 * MS;

impl World {
    /// When this process last had not the whole cluster at its service.
    fn hindered_at(&self, proc: usize) -> Ns {
        let cluster = &self.clusters[0];
        let is_unwell = cluster.denied
            || cluster.denied_prefix.is_some()
            || !cluster.serves()
            || cluster.nodes.iter().any(|node| !node.up || node.frozen || node.cut || node.lag > 0);
        let is_cut_off = self.routes[proc].iter().any(|route| *route != Route::Fine);
        let now = if is_unwell || is_cut_off { self.now } else { 0 };
        let this = &self.procs[proc];
        now.max(self.unwell_at).max(this.hindered_at).max(this.slow_until)
    }

    /// A crew says that nothing of it is left (law 8). That must be so, unless it could not reach the cluster and has
    /// waited for as long as the server keeps its leases: then what is left must go by itself, and nobody may renew it.
    pub(crate) fn judge_over(&mut self, proc: usize) {
        let (now, history) = (self.local(proc), self.clusters[0].history);
        let (inc, hindered_at) = (self.procs[proc].inc, self.hindered_at(proc));
        if self.is_v2() {
            return self.judge_over_v2(proc, hindered_at);
        }
        let (books, store) = (&self.procs[proc].books, &self.clusters[0].store);
        let (mut wrong, mut left) = (None, Vec::new());
        for lease in books.leases.iter().filter(|lease| history == 0 && !self.leases_back.contains(&lease.id)) {
            let suffix = format!("/{:x}", lease.id);
            let is_of_it = |member: &&Member| {
                let named = member.key.ends_with(suffix.as_bytes());
                let is_back = self.orphans.contains(&member.revision);
                !is_back && (named && books.hangs_on(&member.key) == Some(lease.id) || member.lease == lease.id)
            };
            let key = store.entries.values().find(is_of_it);
            let what = match key {
                Some(member) => format!("{}@{}", text(&member.key), member.revision),
                None if store.leases.contains_key(&lease.id) => format!("its lease {:x}", lease.id),
                None => continue,
            };
            // A lease whose grant was never answered is never used.
            let is_known = lease.certain > Time::ZERO;
            let kept = lease.granted * 2;
            if !is_known && key.is_none() {
                continue;
            }
            if now < lease.kept_at + kept {
                let after = now.since(lease.kept_at);
                wrong = Some(format!("p{proc} is over, but there is {what}, which it gave up after {after:?}"));
            } else if self.now > hindered_at + kept.as_nanos() as Ns {
                let since = hindered_at / MS;
                wrong = Some(format!("p{proc} is over, but there is {what}, though all was well since {since} ms"));
            } else {
                left.push(lease.id);
            }
        }
        self.stats.overs_unreached += u64::from(!left.is_empty());
        self.referee.crew_over(proc, inc, left, history);
        if let Some(what) = wrong {
            self.referee.accuse(8, what);
        }
        if self.calm {
            self.tidy_after(proc);
        }
    }

    /// Whether etcd denied the keys of this election in the last few ttl.
    fn was_denied(&self, election: usize) -> bool {
        let is_denied = self.clusters[0].denied_prefix.as_deref() == Some(members_of(ELECTIONS[election]).as_slice());
        let at = self.allowed_at[election];
        is_denied || at > 0 && self.now < at + 3 * self.ttl()
    }

    pub(crate) fn has_looked(&mut self, proc: usize, election: usize) {
        let now = self.now;
        let ours = self.procs[proc].cands.iter_mut().filter(|cand| cand.election == election);
        ours.for_each(|cand| cand.looked_at = now);
    }

    /// After (b) a look follows at once; no renewal prolongs a term that no look has confirmed.
    pub(crate) fn agree(&mut self, check: Agreement) {
        let Agreement { proc, inc, cand, token, since, stood } = check;
        let this = &self.procs[proc];
        if this.inc != inc || this.crew.is_none() {
            return;
        }
        if this.frozen {
            return self.after(50 * MS, Ev::Agree(check));
        }
        let more = this.clock.stood - stood;
        if more > 0 {
            return self.after(more, Ev::Agree(Agreement { stood: stood + more, ..check }));
        }
        let one = &this.cands[cand];
        let leads = matches!(one.report.standing, Standing::Leading { token: ours, .. } if ours == token);
        if leads && one.looked_at < since {
            self.referee
                .accuse(2, format!("p{proc} leads with token {token} by its watch, and no look has confirmed it"));
        }
    }

    /// Judges a report that claims to lead with this token.
    fn weigh(&self, proc: usize, prefix: &[u8], token: Revision, until: Time) -> Worth {
        let books = &self.procs[proc].books;
        let key = books.places.iter().rev().find(|place| place.1 == token && place.0.starts_with(prefix));
        let Some(key) = key.map(|place| place.0.clone()) else {
            let wrong = Some((2, format!("claims token {token}, which no join gave it")));
            return Worth { key: None, wrong, reserve: 0, cluster: None };
        };
        let on = books.hangs_on(&key);
        let Some(lease) = books.leases.iter().rev().find(|lease| Some(lease.id) == on) else {
            return Worth { key: Some(key), wrong: None, reserve: 0, cluster: None };
        };
        let wrong = if lease.revoked {
            Some((8, "claims under a lease for which it sent a revoke".into()))
        } else if until + self.timings.margin > lease.certain {
            let certain = lease.certain;
            Some((1, format!("claims until {until:?}, but its lease is certain until {certain:?} less the margin")))
        } else {
            None
        };
        Worth { key: Some(key), wrong, reserve: 0, cluster: Some(lease.cluster) }
    }

    /// A crew's report has changed while it handled `cause`. The user may have seen the end of the term that it prolongs.
    pub(crate) fn reported(&mut self, proc: usize, id: CandidateId, report: Report, cause: &Input) -> Option<Input> {
        let cand = self.procs[proc].cands.iter().position(|cand| cand.id == id)?;
        let now = self.local(proc);
        let revived = self.procs[proc].cands[cand].user.set(report.clone(), now);
        let has_ended = report.ended;
        self.judge_report(proc, cand, report, cause);
        let one = &self.procs[proc].cands[cand];
        if has_ended && one.stopped && !one.user.holds() {
            self.ask(proc, cand);
        }
        self.expect_user(proc, cand);
        revived.map(|token| Input::Expired { candidate: id, token })
    }

    /// A crew tells of a trouble. Until it sees that its clock stood still, it cannot know that readings of others' are old.
    fn judge_trouble(&mut self, proc: usize, trouble: &Trouble) {
        let is_unseen = self.procs[proc].pause == Pause::Unseen;
        let skew = if is_unseen { Ok(()) } else { accused::a_skew_that_is_told_exists(trouble, self.plan.v2.spread) };
        if let Err(what) = skew.and_then(|()| accused::a_silence_that_is_told_was_one(trouble)) {
            self.referee.accuse(7, format!("p{proc} {what}"));
        } else if trouble.error.kind() == ErrorKind::ClockSkew {
            self.procs[proc].skewed_at = self.now;
        }
    }

    fn judge_report(&mut self, proc: usize, cand: usize, report: Report, cause: &Input) {
        note!(self, "p{proc} report {cand}: {}", report_words(&report));
        let one = &mut self.procs[proc].cands[cand];
        let old = std::mem::replace(&mut one.report, report.clone());
        let (election, stopped, has_joined) = (one.election, one.stopped, one.has_joined);
        one.has_joined |= report.standing != Standing::Out;
        let inc = self.procs[proc].inc;
        if let (None, Some(fatal)) = (&old.fatal, &report.fatal) {
            self.stats.fatal += 1;
            let may_be = if fatal.kind() == ErrorKind::StoreReset {
                self.stats.stopped_by_reset += 1;
                self.timings.on_store_reset == OnStoreReset::Stop && self.clusters[0].history > 0
            } else {
                let may_happen = self.strangers || self.clusters[0].is_file || self.plan.may_be_fatal();
                // That etcd denies a key ends the one election that never had it; all else is judged of the session.
                let is_alone = fatal.kind() == ErrorKind::Denied && !has_joined;
                (is_alone || !self.procs[proc].books.has_joined) && fatal.kind().is_fatal_before_join() && may_happen
            };
            if !may_be {
                self.referee.accuse(7, format!("p{proc} gave up: {fatal:?}"));
            }
            // An operator looks at it and starts it again.
            if (fatal.kind() == ErrorKind::StoreReset || self.procs[proc].books.has_joined) && !stopped {
                self.last_trouble = self.now;
                let wait = self.rng.below(2 * self.ttl());
                self.after(wait, Ev::Chore { proc, inc, chore: Chore::Again { election } });
            }
        }
        if let Some(trouble) = report.trouble.as_ref().filter(|_| old.trouble != report.trouble) {
            self.judge_trouble(proc, trouble);
        }
        let is_mismatch =
            |report: &Report| report.trouble.as_ref().is_some_and(|t| t.error.kind() == ErrorKind::ClusterMismatch);
        self.stats.put_aside += u64::from(is_mismatch(&report) && !is_mismatch(&old));
        let led = matches!(old.standing, Standing::Leading { .. });
        let Standing::Leading { .. } = report.standing else {
            if led {
                self.procs[proc].cands[cand].lost_at = self.now;
                self.stats.losses += 1;
                let why = report.lost.as_ref().map(|lost| lost.kind());
                self.stats.lost_by_deadline += u64::from(why == Some(ErrorKind::Deadline));
                if why.is_none() {
                    self.referee.accuse(5, format!("p{proc} lost the lead without a reason"));
                }
                let is_by_clock = matches!(why, Some(ErrorKind::Deadline | ErrorKind::Denied));
                if is_by_clock && self.mood == Mood::Tampered && !self.was_denied(election) {
                    let what = format!("p{proc} lost {} for the sake of another key: {why:?}", ELECTIONS[election]);
                    self.referee.accuse(12, what);
                }
                // By a look, not by the clock.
                if let (Standing::Following(Some(leader)), Some(ErrorKind::KeyLost)) = (&report.standing, why) {
                    let prefix = members_of(ELECTIONS[election]);
                    let store = &self.clusters[0].store;
                    let lives = store.under(&prefix).any(|member| member.revision == leader.token);
                    if !lives && self.clusters[0].history == 0 {
                        let what = format!("p{proc} leads no more for the sake of {}, which has ended", leader.token);
                        self.referee.accuse(2, what);
                    }
                }
            }
            self.referee.renounced(proc, inc, cand);
            if report.released && !old.released && self.is_v2() {
                self.judge_released_v2(proc);
            } else if report.released && !old.released {
                let prefix = members_of(ELECTIONS[election]);
                let store = &self.clusters[0].store;
                let left = store.under(&prefix).find(|member| {
                    self.procs[proc].books.owns(&member.key)
                        && member.name == self.procs[proc].cands[cand].name.as_bytes()
                });
                let is_back = |left: &&Member| self.orphans.contains(&left.revision);
                if let Some(left) = left.filter(|left| self.clusters[0].history == 0 && !is_back(left)) {
                    let what = format!(
                        "p{proc} says that its key is gone, but there is {}@{}",
                        text(&left.key),
                        left.revision
                    );
                    self.referee.accuse(8, what);
                }
            }
            return;
        };
        if self.procs[proc].pause != Pause::Over {
            return;
        }
        self.judge_claim(proc, cand, &old, cause);
    }

    /// A candidate claims to lead.
    pub(crate) fn judge_claim(&mut self, proc: usize, cand: usize, old: &Report, cause: &Input) {
        let (now, inc) = (self.local(proc), self.procs[proc].inc);
        let one = &self.procs[proc].cands[cand];
        let (election, stopped) = (one.election, one.stopped);
        let Standing::Leading { token, until } = one.report.standing else { return };
        let holds = !stopped || self.procs[proc].cands[cand].user.holds();
        if !holds {
            self.referee.accuse(5, format!("p{proc} claims {} after its stop", ELECTIONS[election]));
        }
        let prefix = members_of(ELECTIONS[election]);
        let is_new = !matches!(old.standing, Standing::Leading { token: before, .. } if before == token);
        // What is left of a term may run out meanwhile; it must not grow.
        let grows = !matches!(old.standing, Standing::Leading { token: t, until: u } if t == token && until <= u);
        let worth = if self.is_v2() {
            self.weigh_v2(proc, election, (token, until), is_new, grows)
        } else {
            self.weigh(proc, &prefix, token, until)
        };
        let Worth { key, mut wrong, reserve, cluster } = worth;
        let mut agree = false;
        let books = &self.procs[proc].books;
        let store = &self.clusters[0].store;
        if books.burnt.iter().any(|(burnt, revision)| *revision == token && Some(burnt) == key.as_ref()) {
            wrong = Some((8, format!("claims token {token}, for which it sent a leave")));
        }
        // Also from one entry under a key to its next, whatever an accident has brought back.
        let is_newer = |place: &&(Vec<u8>, Revision)| Some(&place.0) == key.as_ref() && place.1 > token;
        if let Some(newer) = books.places.iter().find(is_newer).filter(|_| self.clusters[0].history == 0) {
            wrong = Some((4, format!("claims token {token}, and had {} under that key", newer.1)));
        }
        let is_here = cluster.is_none_or(|cluster| cluster == self.clusters[0].id);
        if grows && is_here && books.quiet_until.is_some_and(|quiet| now < quiet) {
            wrong = Some((4, format!("claims before {:?}, when the store had gone back", books.quiet_until)));
        }
        let range = self.procs[proc].range.as_ref();
        // A watch that was ended is not heard, and a put of our own key proves nothing: who begins to lead at that moment does so
        // because a time has passed.
        let by_watch = range.is_some()
            && matches!(cause, Input::Watch { news: WatchNews::Changes { changes }, .. }
            if changes.iter().any(|change| change.key.starts_with(&prefix)
                && (change.now.is_none() || Some(&change.key) != key.as_ref())));
        if let (true, Input::Watch { watch, news: WatchNews::Changes { changes }, .. }, Some(key)) =
            (is_new && by_watch && !self.is_v2(), cause, &key)
        {
            self.stats.takeovers_by_watch += 1;
            agree = true;
            // A key that was created anew has been deleted before.
            let ends = |change: &etcd_leader_rules::machine::Change| {
                change.now.as_ref().is_none_or(|m| m.revision == change.at)
            };
            let deletes_other = changes.iter().any(|change| ends(change) && change.key != *key);
            // What became of an entry that it had under this key before says nothing.
            let is_end = |change: &etcd_leader_rules::machine::Change| change.now.is_none() && change.at > token;
            let deletes_own = changes.iter().any(|change| is_end(change) && change.key == *key);
            let is_range = range.is_some_and(|Watched { from, to, puts_only, .. }| {
                !puts_only && from <= key && key < to && changes.iter().all(|c| *from <= c.key && c.key < *to)
            });
            if !deletes_other || deletes_own || !is_range {
                wrong = Some((2, format!("leads by watch {} that does not prove it", watch.0)));
            }
        } else if is_new {
            self.stats.takeovers_by_look += 1;
            let one = &self.procs[proc].cands[cand];
            if one.looked_at < one.lost_at {
                wrong = Some((2, format!("leads again with token {token}, and has not looked since it did not")));
            }
        }
        let until_truly = self.procs[proc].clock.truly(until);
        let unaware = self.referee.last_reset.is_some_and(|reset| books.went_back.is_none_or(|known| known < reset));
        let is_back = self.orphans.contains(&token);
        let (broken, is_mute, until) = (None, false, until_truly);
        let paused = self.procs[proc].paused;
        let claim =
            Claim { proc, inc, cand, election, token, until, paused, broken, unaware, reserve, is_mute, is_back };
        if let Some((law, what)) = wrong {
            self.referee.accuse(law, format!("p{proc} {what}"));
        }
        if is_new {
            let before = self.procs[proc].cands[cand].last_token.replace(token);
            self.stats.led_again += u64::from(before.is_some_and(|before| before < token));
            self.stats.leader_changes += 1;
        }
        let truth = key.is_some_and(|key| store.first(&prefix).is_some_and(|first| first.key == key))
            && store.leads(&prefix, token, (proc, inc));
        let history = self.clusters[0].history;
        if holds {
            self.referee.claims(claim, truth, history, self.now);
        }
        if agree {
            let by = until_truly + TIMER;
            let since = self.now;
            let stood = self.procs[proc].clock.stood;
            self.at(by, Ev::Agree(Agreement { proc, inc, cand, token, since, stood }));
        }
        if is_new
            && self.mood == Mood::Quiet
            && let Err(what) = self.referee.frugal.elected(proc, election, by_watch, self.now)
        {
            self.referee.accuse(11, what);
        }
    }
}
