//! A model and a real etcd that are asked the same.

use std::time::{Duration, Instant};

use etcd_leader::machine::{Answer, Change, Failure, LinkId, Op, Reply, Seen, WatchId, WatchNews, Watched, Written};
use etcd_leader::member::{Member, Revision};

use crate::bench::{Bench, text};
use crate::cluster::{Cluster as Model, Outcome};
use support::Cluster;

/// etcd grants no lease for less. The model's clock stands still, so that no lease of its ends.
const LEAST_TTL: Duration = Duration::from_secs(2);

/// A watch, and what both said first.
struct Watch {
    id: WatchId,
    range: Watched,
    start: Revision,
}

pub(crate) struct Pair {
    begun: Instant,
    model: Model,
    link: LinkId,
    /// The real store's revision when the model's was 0.
    offset: Revision,
    cluster: u64,
    watches: Vec<Watch>,
    told: Vec<String>,
    /// Changes compared, and watches that both ended.
    pub(crate) heard: u64,
    pub(crate) canceled: u64,
}

impl Pair {
    pub(crate) async fn new(bench: &mut Bench, link: LinkId, key: &[u8]) -> Pair {
        let (begun, model) = (Instant::now(), Model::new(0xc1, 1));
        let reply = bench.ask(link, Op::Confirm { key: key.into(), keys: vec![] }).await.expect("a stamp");
        let offset = reply.stamp.revision - model.store.revision;
        let (cluster, watches, told) = (reply.stamp.cluster, Vec::new(), Vec::new());
        Pair { begun, model, link, offset, cluster, watches, told, heard: 0, canceled: 0 }
    }

    /// True once a lease may have run out in etcd: what both say is compared no more.
    pub(crate) fn is_late(&self) -> bool {
        self.begun.elapsed() >= LEAST_TTL
    }

    /// The model's revision.
    pub(crate) fn revision(&self) -> Revision {
        self.model.store.revision
    }

    pub(crate) fn created(&self, key: &[u8]) -> Option<Revision> {
        self.model.store.entries.get(key).map(|member| member.revision)
    }

    pub(crate) fn written(&self, key: &[u8]) -> Option<Revision> {
        self.model.store.written(key).map(|written| written.at)
    }

    /// Asks both, and compares.
    pub(crate) async fn ask(&mut self, bench: &mut Bench, op: Op) {
        let model = match self.model.perform(0, &op, 0) {
            Outcome::Done(result) => result.map(only_what_counts),
            Outcome::Stuck | Outcome::Next(_) => panic!("the model has no quorum"),
        };
        let real = bench.ask(self.link, self.shifted(op.clone())).await;
        let real = real.map(|reply| only_what_counts(self.back(reply)));
        self.told.push(format!("{op:?}\n    {real:?}"));
        if self.is_late() {
            return;
        }
        let (model, real) = (model.map_err(|failure| failure.kind), real.map_err(|failure: Failure| failure.kind));
        assert_eq!(model, real, "the model (left) and etcd (right) differ at the end of\n{}", self.told.join("\n"));
    }

    /// Watches in both. A watch that cannot be is ended by both.
    pub(crate) async fn watch(&mut self, bench: &mut Bench, range: Watched) {
        self.told.push(format!("watch {}", words(&range)));
        let start = range.start.unwrap_or(self.revision() + 1);
        let shifted = Watched { start: range.start.map(|start| start + self.offset), ..range.clone() };
        let id = bench.watch_range(self.link, shifted);
        let created = match bench.news(id).await {
            WatchNews::Created { revision } => revision - self.offset,
            news => panic!("{news:?} in place of created"),
        };
        if self.is_late() {
            bench.send(self.link, Op::Unwatch { watch: id });
            return;
        }
        assert_eq!(created, self.revision(), "created at another revision: {}", self.told.join("\n"));
        let is_lost = |change: &Change| change.at == self.model.store.compacted && change.now.is_none();
        if start == self.model.store.compacted && self.model.store.log.iter().any(is_lost) {
            // Releases differ in whether they tell a delete in the very revision that was compacted.
            bench.send(self.link, Op::Unwatch { watch: id });
        } else if start < self.model.store.compacted {
            let news = bench.news(id).await;
            assert!(
                matches!(news, WatchNews::Canceled { .. }),
                "{news:?} in place of canceled; {}",
                self.told.join("\n")
            );
            self.canceled += 1;
        } else {
            self.watches.push(Watch { id, range, start });
        }
    }

    /// Compacts both up to this revision.
    pub(crate) async fn compact(&mut self, cluster: &Cluster, to: Revision) {
        // A watch that the server has not caught up with would be ended too, or not, as chance has it.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.told.push(format!("compact {to}"));
        let revision = (to + self.offset).to_string();
        cluster.etcdctl(&["compaction", "--physical", &revision]);
        self.model.store.compacted = self.model.store.compacted.max(to);
    }

    /// All that the watches tell, compared with the model's log.
    pub(crate) async fn hear(&mut self, bench: &mut Bench) {
        for watch in std::mem::take(&mut self.watches) {
            if self.is_late() {
                bench.send(self.link, Op::Unwatch { watch: watch.id });
                continue;
            }
            let Watched { from, to, puts_only, .. } = &watch.range;
            let covers = |change: &&Change| {
                *from <= change.key
                    && change.key < *to
                    && change.at >= watch.start
                    && (change.now.is_some() || !puts_only)
            };
            let expected: Vec<Change> = self.model.store.log.iter().filter(covers).cloned().collect();
            let mut heard: Vec<Change> = Vec::new();
            while heard.len() < expected.len() {
                let changes = bench.changes(watch.id).await;
                let changes: Vec<Change> = changes.into_iter().map(|change| self.change_back(change)).collect();
                // What happened in one revision is told in one response.
                let is_apart = |last: &Change| changes.first().is_none_or(|first| last.at < first.at);
                assert!(heard.last().is_none_or(is_apart), "a revision was torn: {heard:?} and {changes:?}");
                heard.extend(changes);
            }
            // Keys of one revision come in any order.
            let sorted = |mut changes: Vec<Change>| {
                changes.sort_by(|a, b| (a.at, &a.key).cmp(&(b.at, &b.key)));
                changes
            };
            let (expected, heard) = (sorted(expected), sorted(heard));
            let range = words(&watch.range);
            let is_alike = expected == heard || self.is_late();
            assert!(
                is_alike,
                "the model {expected:?} and etcd {heard:?}, watching {range} in\n{}",
                self.told.join("\n")
            );
            self.heard += heard.len() as u64;
        }
    }

    /// A request with the real store's revisions.
    fn shifted(&self, op: Op) -> Op {
        match op {
            Op::Look { prefix, own, up_to } => Op::Look { prefix, own, up_to: up_to + self.offset },
            Op::Leave { key, revision } => Op::Leave { key, revision: revision + self.offset },
            Op::Touch { key, name, revision, written, lease, shows, sign } => {
                let (revision, written) = (revision + self.offset, written + self.offset);
                Op::Touch { key, name, revision, written, lease, shows, sign }
            }
            other => other,
        }
    }

    /// A reply with the model's revisions, cluster and term.
    fn back(&self, mut reply: Reply) -> Reply {
        assert_eq!(reply.stamp.cluster, self.cluster);
        (reply.stamp.cluster, reply.stamp.term) = (self.model.id, self.model.term);
        reply.stamp.revision -= self.offset;
        let back = |member: Option<Member>| member.map(|member| self.member_back(member));
        let all = |members: Vec<Member>| members.into_iter().map(|member| self.member_back(member)).collect();
        let seen = |seen: Seen| Seen {
            own: back(seen.own),
            latest: all(seen.latest),
            first: all(seen.first),
            count: seen.count,
        };
        reply.answer = match reply.answer {
            Answer::Confirmed { found } => Answer::Confirmed { found: found.into_iter().map(back).collect() },
            Answer::Joined { created, seen: s } => Answer::Joined { created, seen: seen(s) },
            Answer::Looked(s) => Answer::Looked(seen(s)),
            Answer::Touched { touched, found } => {
                let back =
                    |found: Written| Written { at: found.at - self.offset, member: self.member_back(found.member) };
                Answer::Touched { touched, found: found.map(back) }
            }
            other => other,
        };
        reply
    }

    fn member_back(&self, member: Member) -> Member {
        Member { revision: member.revision - self.offset, ..member }
    }

    fn change_back(&self, change: Change) -> Change {
        let now = change.now.map(|member| self.member_back(member));
        Change { at: change.at - self.offset, now, ..change }
    }
}

/// Of a join that created nothing only our own entry counts, and of a lease that is gone only that it is.
fn only_what_counts(mut reply: Reply) -> Reply {
    match &mut reply.answer {
        Answer::Joined { created: false, seen } => *seen = Seen { own: seen.own.take(), ..Seen::default() },
        Answer::Renewed { ttl_s } => *ttl_s = (*ttl_s).max(0),
        // etcd gives them in any order.
        Answer::Listed { keys } => keys.sort(),
        _ => {}
    }
    reply
}

fn words(range: &Watched) -> String {
    let what = if range.puts_only { "puts in " } else { "" };
    format!("{what}[{}, {}) from {:?}", text(&range.from), text(&range.to), range.start)
}
