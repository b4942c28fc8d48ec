//! What a candidate watches, and what it makes of the news (laws 2b and 3).

use super::{Candidate, Proof};
use crate::machine::outbox::Outbox;
use crate::machine::{Change, LinkId, WatchId, WatchNews};
use crate::member::{Member, Revision};
use crate::time::Time;

/// A watch of ours.
#[derive(Clone, Debug)]
pub(super) struct Watching {
    id: WatchId,
    from: Vec<u8>,
    to: Vec<u8>,
    start: Revision,
    /// `None` once the server has confirmed the watch: from then on it is live.
    created_by: Option<Time>,
}

impl Watching {
    pub(super) fn id(&self) -> WatchId {
        self.id
    }

    pub(super) fn created_by(&self) -> Time {
        self.created_by.unwrap_or(Time::NEVER)
    }

    pub(super) fn is_overdue(&self, now: Time) -> bool {
        now >= self.created_by()
    }

    fn is_live(&self) -> bool {
        self.created_by.is_none()
    }
}

impl Candidate {
    pub(super) fn watches(&self) -> impl Iterator<Item = &Watching> {
        self.watch.iter().chain(&self.leader_watch)
    }

    /// Makes the watches fit the view; one that fits already goes on.
    pub(super) fn watch_view(&mut self, now: Time, out: &mut Outbox) {
        let (Some(link), Some(view)) = (self.link, &self.view) else { return };
        let start = view.at + 1;
        let own = self.own.clone();
        let before = view.before.as_ref().map_or(&own, |before| &before.key);
        let range = (own.as_slice().min(before).to_vec(), after(own.as_slice().max(before)));
        let leader = &view.first.key;
        let leader_range = (*leader != own && leader != before).then(|| (leader.clone(), after(leader)));
        let created_by = now + self.pace.attempt;
        rewatch(&mut self.watch, Some(range), start, created_by, link, out);
        rewatch(&mut self.leader_watch, leader_range, start, created_by, link, out);
    }

    pub(in crate::machine) fn watch_news(&mut self, watch: WatchId, news: WatchNews, now: Time, out: &mut Outbox) {
        let is_ours = self.watch.as_ref().is_some_and(|ours| ours.id == watch);
        let slot = if is_ours { &mut self.watch } else { &mut self.leader_watch };
        let Some(ours) = slot.as_mut().filter(|ours| ours.id == watch) else { return };
        match news {
            // A start that the server has not reached would be silent, perhaps for ever: look where we are.
            WatchNews::Created { revision } if revision + 1 < ours.start => self.drop_watch(watch, now, out),
            WatchNews::Created { .. } => {
                ours.created_by = None;
                self.cancels = 0;
            }
            WatchNews::Canceled { .. } => self.drop_watch(watch, now, out),
            WatchNews::Changes { changes } => {
                let (start, is_live) = (ours.start, ours.is_live());
                let changes: Vec<Change> = changes.into_iter().filter(|change| change.at >= start).collect();
                self.changed(&changes, is_ours && is_live, now, out);
            }
        }
    }

    /// Takes in the changes of one response. `is_proof` says that it came on the live range watch.
    fn changed(&mut self, changes: &[Change], is_proof: bool, now: Time, out: &mut Outbox) {
        let (Some(place), Some(view)) = (self.place.clone(), self.view.clone()) else { return };
        let mut before_is_gone = false;
        for change in changes {
            if change.key == place.key && !self.is_ours(change.now.as_ref()) {
                self.lose(change.now.is_some(), out);
                return;
            }
            let before = view.before.as_ref().filter(|before| before.key == change.key);
            let leader = Some(&view.first).filter(|first| first.key == change.key);
            for member in before.into_iter().chain(leader) {
                self.seen = self.seen.max(change.at);
                match &change.now {
                    Some(now_is) if now_is.revision == member.revision => self.rename_leader(now_is),
                    _ => {
                        before_is_gone |= before.is_some() && change.at > view.at;
                        self.must_look = true;
                    }
                }
            }
        }
        if before_is_gone && is_proof && view.next_in_line && self.proof.is_none() && !self.lapsed {
            self.proof = Some(Proof::Watched { agree_by: now + self.pace.attempt });
        }
    }

    /// The leader may change its value (Go's `Proclaim`).
    fn rename_leader(&mut self, member: &Member) {
        if let Some(view) = self.view.as_mut().filter(|view| view.first.key == member.key) {
            view.first.name.clone_from(&member.name);
        }
    }

    fn drop_watch(&mut self, watch: WatchId, now: Time, out: &mut Outbox) {
        out.unwatch(watch);
        for slot in [&mut self.watch, &mut self.leader_watch] {
            slot.take_if(|ours| ours.id == watch);
        }
        self.must_look = true;
        // The first time at once; a server that ends every watch is not asked in a tight loop.
        self.cancels = self.cancels.saturating_add(1);
        if self.cancels > 1 {
            self.retry_at = now + out.entropy.backoff(self.cancels, self.pace.backoff_cap);
        }
    }
}

/// Keeps the watch in `slot` if it covers `range`, else replaces it.
fn rewatch(
    slot: &mut Option<Watching>,
    range: Option<(Vec<u8>, Vec<u8>)>,
    start: Revision,
    created_by: Time,
    link: LinkId,
    out: &mut Outbox,
) {
    if let (Some(ours), Some((from, to))) = (&slot, &range)
        && ours.from == *from
        && ours.to == *to
    {
        return;
    }
    if let Some(old) = slot.take() {
        out.unwatch(old.id);
    }
    *slot = range.map(|(from, to)| {
        let id = out.watch(link, from.clone(), to.clone(), start);
        Watching { id, from, to, start, created_by: Some(created_by) }
    });
}

/// The key that follows this one: the end of a range that holds just this key.
fn after(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}
