//! Keys that a lost join may still create (law 8): watched until the lease has ended, and deleted if they appear. Entries
//! on our lease that no candidate owns are deleted, too.
//!
//! The end of the lease takes them along, unless somebody has put over one and so taken it off its lease. Therefore
//! each is read once more after that, for as long as the server could have kept the lease.

use std::time::Duration;

use crate::error::ErrorKind;
use crate::machine::in_flight::InFlight;
use crate::machine::session::KeeperNews;
use crate::machine::{Answer, Failure, LinkId, Op, Reply, RequestId, WatchId, WatchNews, Watched};
use crate::member::Revision;
use crate::time::Time;

#[derive(Clone, Debug, Hash)]
enum Step {
    /// Read the key, not before this time.
    Read(Time),
    /// Read. `is_last`: sent when no lease was left under which anything could still appear.
    Reading { request: RequestId, is_last: bool },
    /// Delete the entry with this revision.
    Delete(Revision),
    /// Deleting.
    Deleting(RequestId),
    /// Nothing there at this revision: watch from the next one on.
    Watch(Revision),
    /// Watched.
    Watching(WatchId, Revision),
}

#[derive(Clone, Debug, Hash)]
struct Doubt {
    key: Vec<u8>,
    step: Step,
    /// It was found on our lease and belongs to nobody: a read that finds nothing settles it.
    is_orphan: bool,
    /// The lease is not used any more: once it has ended nothing can appear, and a read that finds nothing settles it.
    /// While no link serves, not owned after this.
    over_at: Option<Time>,
}

/// The keys in doubt.
#[derive(Clone, Debug, Hash)]
pub(super) struct Doubts {
    attempt: Duration,
    doubts: Vec<Doubt>,
    /// No link serves, and none is given up before one does.
    waits_for_link: bool,
}

impl Doubts {
    pub(super) fn new(attempt: Duration) -> Doubts {
        Doubts { attempt, doubts: Vec::new(), waits_for_link: false }
    }

    pub(super) fn add(&mut self, key: Vec<u8>) {
        self.doubts.push(Doubt { key, step: Step::Read(Time::ZERO), is_orphan: false, over_at: None });
    }

    /// Takes over an entry on our lease that no candidate owns.
    pub(super) fn add_orphan(&mut self, key: Vec<u8>) {
        if !self.doubts.iter().any(|doubt| doubt.key == key) {
            self.doubts.push(Doubt { key, step: Step::Read(Time::ZERO), is_orphan: true, over_at: None });
        }
    }

    /// Whether a key under this prefix may still appear.
    pub(super) fn has_one_under(&self, prefix: &[u8]) -> bool {
        self.doubts.iter().any(|doubt| doubt.over_at.is_none() && doubt.key.starts_with(prefix))
    }

    /// Whether a key under this prefix is in doubt at all.
    pub(super) fn has_any_under(&self, prefix: &[u8]) -> bool {
        self.doubts.iter().any(|doubt| doubt.key.starts_with(prefix))
    }

    pub(super) fn is_over(&self) -> bool {
        self.doubts.is_empty()
    }

    /// The lease has ended: each doubt is looked at once more, until `over_at` at the latest.
    pub(super) fn lease_ended(&mut self, over_at: Time, out: &mut InFlight) {
        for doubt in self.doubts.iter_mut().filter(|doubt| doubt.over_at.is_none()) {
            doubt.over_at = Some(over_at);
            if let Step::Watching(watch, _) = doubt.step {
                out.unwatch(watch);
            }
            if matches!(doubt.step, Step::Watch(_) | Step::Watching(..)) {
                doubt.step = Step::Read(Time::ZERO);
            }
        }
    }

    /// While no link serves: one that nobody needs any longer forgets what the server has forgotten by now. A foreign put
    /// may have taken an entry off its lease: whoever stays reads it on the next link. On a link each doubt is read until it
    /// is settled, or until we are still denied it when its lease has ended for certain.
    pub(super) fn unlinked(&mut self, has_users: bool, now: Time) {
        self.waits_for_link = has_users;
        self.doubts.retain(|doubt| has_users || doubt.over_at.is_none_or(|over_at| now < over_at));
    }

    /// A new link serves: start over on it.
    pub(super) fn relinked(&mut self) {
        self.doubts.iter_mut().for_each(|doubt| doubt.step = Step::Read(Time::ZERO));
    }

    pub(super) fn is_waiting_for(&self, id: RequestId) -> bool {
        self.doubts.iter().any(|doubt| doubt.waits_for(id))
    }

    /// Does what is due. `has_settled`: no lease of ours is left whose end is not known.
    pub(super) fn advance(&mut self, link: LinkId, key: &[u8], has_settled: bool, now: Time, out: &mut InFlight) {
        for doubt in &mut self.doubts {
            doubt.step = match doubt.step {
                Step::Read(at) if now >= at => {
                    let op = Op::Confirm { key: key.to_vec(), keys: vec![doubt.key.clone()] };
                    let is_last = doubt.over_at.is_some() && has_settled;
                    Step::Reading { request: out.send_at_leisure(link, op), is_last }
                }
                Step::Delete(revision) => {
                    Step::Deleting(out.send(link, Op::Leave { key: doubt.key.clone(), revision }))
                }
                Step::Watch(at) => {
                    let to = [doubt.key.as_slice(), b"\0"].concat();
                    let range = Watched { from: doubt.key.clone(), to, start: Some(at + 1), puts_only: false };
                    Step::Watching(out.watch(link, range), at + 1)
                }
                _ => continue,
            };
        }
    }

    pub(super) fn timeout(&self, is_served: bool, now: Time) -> Time {
        let due = |doubt: &Doubt| match doubt.step {
            Step::Read(at) => at.max(now),
            Step::Delete(_) | Step::Watch(_) => now,
            Step::Reading { .. } | Step::Deleting(_) | Step::Watching(..) => Time::NEVER,
        };
        let due = |doubt: &Doubt| match (is_served, doubt.over_at) {
            (true, _) => due(doubt),
            (false, Some(over_at)) if !self.waits_for_link => over_at,
            (false, _) => Time::NEVER,
        };
        self.doubts.iter().map(due).min().unwrap_or(Time::NEVER)
    }

    /// Takes a reply. The lack of one is told if the link is to blame.
    pub(super) fn reply(
        &mut self,
        id: RequestId,
        result: Result<Reply, Failure>,
        now: Time,
        out: &mut InFlight,
    ) -> KeeperNews {
        let Some(at) = self.doubts.iter().position(|doubt| doubt.waits_for(id)) else { return KeeperNews::Nothing };
        let doubt = &mut self.doubts[at];
        match result {
            Ok(Reply { answer: Answer::Confirmed { found }, stamp }) => match found.into_iter().next().flatten() {
                Some(entry) => doubt.step = Step::Delete(entry.revision),
                None if doubt.is_orphan || matches!(doubt.step, Step::Reading { is_last: true, .. }) => {
                    self.doubts.swap_remove(at);
                }
                None if doubt.over_at.is_some() => {
                    doubt.step = Step::Read(now + out.entropy.jitter(self.attempt / 8));
                }
                None => doubt.step = Step::Watch(stamp.revision),
            },
            Ok(_) => doubt.step = Step::Read(now),
            // The lease has ended, so nothing hangs on it. We may not read what somebody else may have put there since.
            Err(failure)
                if failure.kind == ErrorKind::Denied && doubt.over_at.is_some_and(|over_at| now >= over_at) =>
            {
                self.doubts.swap_remove(at);
            }
            Err(failure) => {
                // A right may come back, but seldom at once.
                let wait = if failure.kind == ErrorKind::Denied { self.attempt * 4 } else { self.attempt / 2 };
                doubt.step = Step::Read(now + out.entropy.jitter(wait));
                if failure.blames_link() {
                    return KeeperNews::Failed(failure);
                }
            }
        }
        KeeperNews::Nothing
    }

    pub(super) fn watch_news(&mut self, watch: WatchId, news: WatchNews, now: Time, out: &mut InFlight) {
        for doubt in &mut self.doubts {
            let Step::Watching(ours, start) = doubt.step else { continue };
            if ours != watch {
                continue;
            }
            let appeared = match &news {
                WatchNews::Created { revision } if revision + 1 >= start => continue,
                WatchNews::Changes { changes } => changes.iter().any(|change| change.now.is_some()),
                WatchNews::Created { .. } | WatchNews::Canceled { .. } => false,
            };
            out.unwatch(watch);
            let wait = if appeared { Duration::ZERO } else { out.entropy.jitter(self.attempt / 2) };
            doubt.step = Step::Read(now + wait);
        }
    }
}

impl Doubt {
    fn waits_for(&self, id: RequestId) -> bool {
        matches!(self.step, Step::Reading { request: ours, .. } | Step::Deleting(ours) if ours == id)
    }
}
