//! What a request of etcd's API v2 does when it is carried out, and the members' wall clocks.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::{Answer, Failure, LINE, Op, Reply, Seen, Stamp, Written};
use etcd_leader_rules::member::{OWN_TTL, Revision};

use crate::cluster::{Cluster, Outcome};
use crate::rng::{Ns, SECOND};
use crate::store_v2::{Life, Refusal, Term, Wall};

/// What the members' clocks show when the world begins, in seconds since 1970.
const EPOCH_S: i64 = 1_795_000_000;

/// A verb may be several requests on the wire: which one this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    #[default]
    First,
    /// A refresh was refused: what is there?
    ReadBack,
    /// The entry to leave was not as the first request had it: what is there?
    ReadFirst,
    /// The entry to leave was read, and had been written last at this revision: delete it if that is still so.
    Delete(Revision),
}

impl Cluster {
    /// A cluster whose store keeps so many events.
    pub(crate) fn new_v2(id: u64, members: usize, kept: u64) -> Cluster {
        let mut cluster = Cluster::new(id, members);
        cluster.store = crate::store::Store::empty_v2(kept);
        cluster.past = vec![(0, cluster.store.revision)];
        cluster
    }

    /// What a member's clock shows.
    pub(crate) fn wall(&self, node: usize, now: Ns) -> Wall {
        now.cast_signed() + self.nodes[node].ahead
    }

    fn stamp_v2(&self, node: usize, now: Ns) -> Stamp {
        let clock_s = EPOCH_S + self.wall(node, now).div_euclid(SECOND.cast_signed());
        Stamp {
            cluster: self.id,
            revision: self.store.revision,
            term: self.nodes[node].term,
            clock_s: Some(clock_s.cast_unsigned()),
        }
    }

    /// Carries out a request at this member, at this moment, or says that it cannot. `taken`: what the member's clock
    /// showed, and how wrong it was, when it took the request.
    pub(crate) fn perform_v2(&mut self, at: usize, op: &Op, stage: Stage, taken: (Wall, Wall), now: Ns) -> Outcome {
        let node = &self.nodes[at];
        if !node.up {
            return Outcome::Done(Err(Failure::new(ErrorKind::Unreachable, "connection refused")));
        }
        if node.frozen {
            return Outcome::Stuck;
        }
        if self.checks_passwords && matches!(op, Op::Open { is_proof: false, .. }) {
            // It is this member's own, so that one without a majority answers, too.
            let stamp = Stamp { revision: 0, term: 0, ..self.stamp_v2(at, now) };
            return Outcome::Done(Ok(Reply { stamp, answer: Answer::Opened }));
        }
        if self.denied {
            return Outcome::Done(Err(Failure::new(ErrorKind::Denied, "Insufficient credentials (110)")));
        }
        if self.is_file {
            return Outcome::Done(Err(Failure::new(ErrorKind::NotADirectory, "Not a directory (104)")));
        }
        if let Op::Check { keys } = op {
            return Outcome::Done(Ok(self.own_view(at, keys, now)));
        }
        if node.cut || !self.serves() {
            return Outcome::Stuck;
        }
        let outcome = self.commit_v2(op, stage, taken);
        // A member that answered has applied what it answered.
        self.nodes[at].floor = self.store.revision;
        self.mark(now);
        match outcome {
            Ok(Ok(answer)) => Outcome::Done(Ok(Reply { stamp: self.stamp_v2(at, now), answer })),
            Ok(Err(failure)) => Outcome::Done(Err(failure)),
            Err(next) => Outcome::Next(next),
        }
    }

    /// The state of these keys as this member itself has it. A member that is cut off has no more than it has said before.
    fn own_view(&self, at: usize, keys: &[Vec<u8>], now: Ns) -> Reply {
        let node = &self.nodes[at];
        let revision = if node.cut { node.floor } else { self.applied(at, now) };
        let found = keys.iter().map(|key| self.store.entry_at(key, revision)).collect();
        Reply { stamp: Stamp { revision, ..self.stamp_v2(at, now) }, answer: Answer::Glimpsed { found } }
    }

    /// `Err` names the request that follows.
    fn commit_v2(&mut self, op: &Op, stage: Stage, taken: (Wall, Wall)) -> Result<Result<Answer, Failure>, Stage> {
        let store = &mut self.store;
        let term = |ttl_s: u32| {
            let ends = taken.0 + i64::from(ttl_s) * SECOND.cast_signed();
            Term { ends: Some(ends), ahead: taken.1 }
        };
        let answer = match (op, stage) {
            (Op::Open { .. }, _) => Answer::Opened,
            (Op::Post { prefix, name, ttl_s }, _) => Answer::Posted { own: store.post(prefix, name, term(*ttl_s)) },
            (Op::Look { prefix, own, up_to }, _) => {
                let seen = store.seen(prefix, own, *up_to, LINE);
                Answer::Looked(Seen { count: seen.count * self.each_counts, ..seen })
            }
            (Op::Refresh { key, name, written, ttl_s, visible }, Stage::First) => {
                let has_our_name = store.entries.get(key).is_none_or(|entry| entry.name == *name);
                let shown = visible.then_some(name.as_slice());
                let swapped = if has_our_name {
                    store.compare_and_swap(key, *written, shown, term(*ttl_s))
                } else {
                    Err(Refusal::CompareFailed)
                };
                match swapped {
                    Ok(()) => Answer::Refreshed { applied: true, found: self.written(key) },
                    Err(Refusal::NotFound) => Answer::Refreshed { applied: false, found: None },
                    Err(Refusal::CompareFailed) => return Err(Stage::ReadBack),
                }
            }
            (Op::Refresh { key, .. }, _) => Answer::Refreshed { applied: false, found: self.written(key) },
            (Op::Withdraw { key, .. }, Stage::Delete(written)) => match store.lives.get(key) {
                Some(life) if life.written != written => {
                    return Ok(Err(Failure::new(ErrorKind::Server, "Compare failed (101)")));
                }
                _ => Answer::Left { was_there: store.remove(key) },
            },
            (Op::Withdraw { key, name, written, .. }, Stage::First) => {
                match (store.entries.get(key), store.lives.get(key)) {
                    (Some(entry), Some(life)) if entry.name != *name || life.written != *written => {
                        return Err(Stage::ReadFirst);
                    }
                    _ => Answer::Left { was_there: store.remove(key) },
                }
            }
            (Op::Withdraw { key, name, revision, .. }, _) => match (store.entries.get(key), store.lives.get(key)) {
                (Some(entry), Some(life)) if entry.revision == *revision => {
                    if entry.name != *name && entry.lease == OWN_TTL {
                        return Ok(Ok(Answer::Spared));
                    }
                    return Err(Stage::Delete(life.written));
                }
                _ => Answer::Left { was_there: false },
            },
            (op, _) => unreachable!("not a verb of v2: {op:?}"),
        };
        Ok(Ok(answer))
    }

    fn written(&self, key: &[u8]) -> Option<Written> {
        let (member, life) = (self.store.entries.get(key)?, self.store.lives.get(key)?);
        Some(Written { member: member.clone(), at: life.written })
    }

    /// The raft leader tells all what time it is: the next entry whose time has come ends. Its life, and how much too
    /// short that was because two clocks differ.
    pub(crate) fn expire_next(&mut self, now: Ns) -> Option<(Life, Wall)> {
        let leader = self.leader.filter(|_| self.serves())?;
        let (key, life) = self.store.ends_by(self.wall(leader, now))?;
        self.store.remove(&key);
        let early = self.nodes[leader].ahead - life.ahead;
        Some((life, early))
    }
}
