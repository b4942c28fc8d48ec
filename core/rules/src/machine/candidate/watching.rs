//! What a candidate watches, and what it makes of the news (laws 2b and 3).

use super::entry::{Entry, Proof};
use super::hearing::Hearing;
use super::watch::Watching;
use super::{Candidate, Verb};
use crate::machine::in_flight::InFlight;
use crate::machine::{Change, WatchId, WatchNews, Watched};
use crate::member::{Member, View};
use crate::time::Time;

impl Entry {
    /// A watch that begins with the next change is live once our view is as new as it is: if other keys were written in between,
    /// a check shows that ours were not. One that begins in the past goes through a loop of etcd's that turns each 100 ms.
    fn close_gaps(&mut self) {
        let Some(view) = &self.view else { return };
        for ours in self.watches.iter_mut().filter(|ours| !ours.is_live && !ours.range.puts_only) {
            let Some(created) = ours.created else { continue };
            ours.is_live = ours.range.start.is_some() || created <= view.at;
            if !ours.is_live {
                self.hearing.must_check();
            }
        }
    }

    /// The leader may change its value (Go's `Proclaim`).
    fn rename_leader(&mut self, member: &Member) {
        if let Some(view) = self.view.as_mut().filter(|view| view.first.key == member.key) {
            view.first.name.clone_from(&member.name);
        }
    }

    /// The one that was ahead has ended. What its key does from now on proves nothing before a look.
    fn before_is_gone(&mut self) {
        if let Some(view) = &mut self.view {
            view.next_in_line = false;
            view.line.pop_if(|last| view.before.as_ref().is_some_and(|before| before.rank() == last.rank()));
        }
    }
}

impl Candidate {
    /// Makes the watches fit the view; one that fits already goes on.
    pub(super) fn watch_view(&mut self, out: &mut InFlight) {
        let (Some(link), Some((entry, view))) = (self.link, self.position.seen()) else { return };
        let (wanted, seen_at) = (self.ranges(view, &entry.hearing), view.at);
        let Some(entry) = self.position.entry_mut() else { return };
        entry.watches.retain(|ours| {
            let fits = wanted.iter().any(|range| ours.serves_as(range));
            if !fits {
                out.unwatch(ours.id);
            }
            fits
        });
        for range in wanted {
            if !entry.watches.iter().any(|ours| ours.serves_as(&range)) {
                let id = out.watch(link, range.clone());
                let known = range.start.map_or(seen_at, |start| start - 1);
                entry.watches.push(Watching { id, range, known, created: None, is_live: false });
            }
        }
        entry.close_gaps();
    }

    /// Makes the watches fit, unless a look follows: then what that shows is watched.
    pub(super) fn watch_what_stays(&mut self, out: &mut InFlight) {
        if self.position.entry().is_some_and(|entry| !entry.must_look) {
            self.watch_view(out);
        }
    }

    /// What the view needs to be watched: our key, the one just before it, and how the leader changes.
    fn ranges(&self, view: &View, hearing: &Hearing) -> Vec<Watched> {
        let own = &self.own;
        let before = view.before.as_ref().map_or(own, |before| &before.key);
        let leader = &view.first.key;
        let mut ranges = self.pace.rules.neighbours(own, before, view.at, self.pace.checks_passwords);
        if leader == own || leader == before || self.pace.is_frugal(view.count) {
            return ranges;
        }
        match self.pace.next_leader(view) {
            Some(next) if next.key != *before => ranges.push(Watched::key(Some(view.next_at + 1), &next.key)),
            Some(_) => {}
            None if !self.pace.rules.leaders_announce() || view.count <= self.pace.few => {
                ranges.push(Watched::key(Some(view.first_at + 1), leader));
            }
            None => {}
        }
        ranges.extend(self.ahead_of_us(hearing));
        ranges
    }

    pub(in crate::machine) fn watch_news(&mut self, watch: WatchId, news: WatchNews, now: Time, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        let Some(ours) = entry.watches.iter_mut().find(|ours| ours.id == watch) else { return };
        match news {
            // A start that the server has not reached would be silent, perhaps for ever: look where we are.
            WatchNews::Created { revision } if ours.range.start.is_some_and(|start| revision + 1 < start) => {
                self.drop_watch(watch, now, out);
            }
            WatchNews::Created { revision } => {
                ours.created = Some(revision);
                self.asking.cancels = 0;
                // A leader may have announced itself between our view and the watch.
                if let (true, Some(view)) = (ours.range.puts_only, &entry.view)
                    && view.at < revision
                {
                    entry.hearing.check_by(now + out.entropy.spread(self.pace.checks_of(view.count)));
                }
                entry.close_gaps();
            }
            WatchNews::Canceled { .. } => self.drop_watch(watch, now, out),
            WatchNews::Changes { changes } => {
                let known = ours.known;
                // Between two watches there is no order: only one that covers our key too proves anything (law 2b).
                let is_proof = ours.is_live && !ours.range.puts_only && ours.covers(&self.own);
                let changes: Vec<Change> = changes.into_iter().filter(|change| change.at > known).collect();
                self.changed(&changes, is_proof, out);
            }
        }
    }

    /// Takes in the changes of one response. `is_proof` says that it came on a live watch that covers our key.
    fn changed(&mut self, changes: &[Change], is_proof: bool, out: &mut InFlight) {
        let Some(view) = self.position.seen().map(|(_, view)| view.clone()) else { return };
        let mut before_is_gone = false;
        for change in changes {
            if change.key == self.own && !self.is_ours(change.now.as_ref()) {
                if self.is_older_than_ours(change) {
                    continue;
                }
                self.lose(change.now.as_ref(), out);
                return;
            }
            if change.key == self.own {
                self.saw_write(change.at);
            }
            let before = view.before.as_ref().filter(|before| before.key == change.key);
            let leader = Some(&view.first).filter(|first| first.key == change.key);
            for member in before.into_iter().chain(leader) {
                self.seen = self.seen.max(change.at);
                match &change.now {
                    Some(now_is) if now_is.revision == member.revision => {
                        self.position.entry_mut().into_iter().for_each(|entry| entry.rename_leader(now_is));
                    }
                    _ if before.is_none() => self.leader_is_gone(out),
                    _ => {
                        before_is_gone |= change.at > view.at;
                        // A look that is under way shows that, or is found to be older.
                        if !self.asking.is_pending(Verb::Look) {
                            self.look_by_rank(out);
                        }
                    }
                }
            }
            if self.pace.next_leader(&view).is_some_and(|next| next.key == change.key) {
                self.hear_of_next(change.now.as_ref(), change.at, out);
            }
            self.hear_of_leader(change, out);
        }
        // A copy of this process that has written our key may be told the same.
        let Some(entry) = self.position.entry_mut().filter(|entry| before_is_gone && entry.view.is_some()) else {
            return;
        };
        if is_proof && view.next_in_line && !entry.leads() && !self.lapsed {
            // The renewals since we last saw our key do not show that it stands.
            entry.prove(Proof::Unconfirmed { agree_by: entry.unseen_until.unwrap_or(self.until) });
        }
        entry.before_is_gone();
    }

    /// Whether a write of our entry comes before our last one, which has shown that the entry is ours. It may be ours too: news of a
    /// write that was made before a move to another lease can come after the answer to the move.
    fn is_older_than_ours(&self, change: &Change) -> bool {
        let Some(entry) = self.position.entry() else { return false };
        change.at < entry.writes.last() && change.now.as_ref().is_some_and(|now| now.revision == entry.revision)
    }

    /// Looks when it is our turn to, if many would look at once.
    pub(super) fn look_in_turn(&mut self, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        let over = self.pace.spread(entry.view.as_ref().map_or(0, |view| view.count));
        if over.is_zero() {
            entry.must_look = true;
        } else {
            entry.look_by(out.now + out.entropy.spread(over));
        }
    }

    fn drop_watch(&mut self, watch: WatchId, now: Time, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        out.unwatch(watch);
        entry.watches.retain(|ours| ours.id != watch);
        match &entry.view {
            // The look that is under way shows how things stand when the new watch begins.
            _ if self.asking.is_pending(Verb::Look) => {}
            Some(view) if !entry.leads() && self.pace.is_crowd(view.count) => entry.hearing.must_check(),
            _ => entry.must_look = true,
        }
        self.ask_again(now, out);
    }

    /// The first time at once; a server that ends every watch, or says that one began in the future, is not asked in a tight loop.
    fn ask_again(&mut self, now: Time, out: &mut InFlight) {
        self.asking.cancels = self.asking.cancels.saturating_add(1);
        if self.asking.cancels > 1 {
            self.asking.retry_at = now + out.entropy.backoff(self.asking.cancels, self.pace.backoff_cap);
        }
    }

    /// A check was answered: our view is as new as that.
    pub(super) fn checked_gaps(&mut self, out: &mut InFlight) {
        let Some(entry) = self.position.entry_mut() else { return };
        entry.close_gaps();
        if entry.hearing.is_to_check() {
            self.ask_again(out.now, out);
        }
    }
}
