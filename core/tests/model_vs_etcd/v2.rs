//! API v2: the model and a real etcd that are asked the same.

use std::collections::BTreeMap;

use etcd_leader::machine::{Answer, Change, LinkId, Op, Reply, Seen, WatchId, WatchNews, Written};
use etcd_leader::member::{Member, Revision};

use crate::bench_v2::{Bench, V2_ON, curled, text};
use crate::cluster::{Cluster as Model, Outcome};
use crate::cluster_v2::Stage;
use crate::rng::{Rng, SECOND};
use crate::store_v2::Term;
use support::Cluster;

const SEQUENCES: u64 = 120;
/// In one of so many sequences the history forgets.
const FLOODED: u64 = 12;
const STEPS: u64 = 30;
/// etcd keeps so many events.
const KEPT: u64 = 1_000;
const TTL_S: u32 = 60;

struct Watch {
    id: WatchId,
    key: Vec<u8>,
    start: Revision,
}

struct Pair<'a> {
    real: &'a Cluster,
    model: Model,
    link: LinkId,
    prefix: Vec<u8>,
    /// The real store's revision when the model's was 0.
    offset: Revision,
    cluster: u64,
    watches: Vec<Watch>,
    /// When the directory was deleted.
    emptied: Vec<Revision>,
    told: Vec<String>,
    counts: &'a mut BTreeMap<&'static str, u64>,
}

impl<'a> Pair<'a> {
    async fn new(
        real: &'a Cluster,
        bench: &mut Bench,
        prefix: Vec<u8>,
        counts: &'a mut BTreeMap<&'static str, u64>,
    ) -> Pair<'a> {
        let model = Model::new_v2(0xc1, 1, KEPT);
        let (link, stamp) = bench.open_for(0, &prefix).await.expect("a link");
        let offset = stamp.revision - model.store.revision;
        let (watches, emptied, told) = (Vec::new(), Vec::new(), Vec::new());
        Pair { real, model, link, prefix, offset, cluster: stamp.cluster, watches, emptied, told, counts }
    }

    fn revision(&self) -> Revision {
        self.model.store.revision
    }

    fn members(&self) -> Vec<Member> {
        self.model.store.under(&self.prefix).cloned().collect()
    }

    /// Asks both, and compares.
    async fn ask(&mut self, bench: &mut Bench, op: Op) {
        let mut stage = Stage::First;
        let model = loop {
            match self.model.perform_v2(0, &op, stage, (0, 0), 0) {
                Outcome::Done(result) => break result.expect("an answer"),
                Outcome::Next(next) => stage = next,
                Outcome::Stuck => panic!("the model has no quorum"),
            }
        };
        let asked = self.shifted(op.clone());
        let real = bench.ask(self.link, asked).await.expect("an answer");
        let real = self.back(real);
        self.told.push(format!("{op:?}\n    {real:?}"));
        assert_eq!(
            (model.stamp.cluster, model.stamp.revision, model.answer),
            (real.stamp.cluster, real.stamp.revision, real.answer),
            "the model (left) and etcd (right) differ at the end of\n{}",
            self.told.join("\n")
        );
    }

    async fn watch(&mut self, bench: &mut Bench, key: Vec<u8>, start: Revision) {
        self.told.push(format!("watch {} from {start}", text(&key)));
        let id = bench.watch(self.link, &self.key(&key), start + self.offset);
        let news = bench.news(id).await;
        if start < self.model.store.oldest_event() {
            assert!(matches!(news, WatchNews::Canceled { .. }), "{news:?}; {}", self.told.join("\n"));
            *self.counts.entry("cleared").or_default() += 1;
            return;
        }
        let created = WatchNews::Created { revision: self.revision() + self.offset };
        assert_eq!(news, created, "{}", self.told.join("\n"));
        self.watches.push(Watch { id, key, start });
    }

    /// All that the watches tell, compared with the model's log.
    async fn hear(&mut self, bench: &mut Bench) {
        for watch in std::mem::take(&mut self.watches) {
            let is_told = |change: &&Change| change.key == watch.key && change.at >= watch.start;
            let expected: Vec<Change> = self.model.store.log.iter().filter(is_told).cloned().collect();
            for (at, expected) in expected.into_iter().enumerate() {
                let mut heard = self.change_back(bench.change(watch.id).await);
                // To a poll that begins, the end of a directory is that of all that might be in it.
                while heard.at < expected.at && heard.now.is_none() && self.emptied.contains(&heard.at) {
                    heard = self.change_back(bench.change(watch.id).await);
                }
                let told = self.told.join("\n");
                assert_eq!(expected, heard, "number {at} of {} from {} in\n{told}", text(&watch.key), watch.start);
                *self.counts.entry("changes").or_default() += 1;
            }
        }
    }

    /// Other people's writes, past the backend.
    fn tamper(&mut self, rng: &mut Rng, member: &Member) {
        let url = format!("/v2/keys{}", text(&self.key(&member.key)));
        let term = Term { ends: Some(i64::from(TTL_S) * SECOND as i64), ahead: 0 };
        let (what, line, form) = match rng.below(5) {
            0 => {
                self.model.store.remove(&member.key);
                ("deleted", format!("DELETE {url}"), String::new())
            }
            1 => {
                self.model.store.set(&member.key, b"somebody", Term::default());
                ("set", format!("PUT {url}"), "value=somebody".into())
            }
            2 => {
                self.model.store.update(&member.key, Some(b"somebody"), Term::default());
                ("updated", format!("PUT {url}"), "value=somebody&prevExist=true".into())
            }
            3 => {
                self.model.store.update(&member.key, None, term);
                ("refreshed", format!("PUT {url}"), format!("refresh=true&prevExist=true&ttl={TTL_S}"))
            }
            _ => {
                self.model.store.remove_all(&self.prefix);
                self.emptied.push(self.revision());
                let directory = text(&self.prefix).trim_end_matches('/').to_string();
                ("all deleted", format!("DELETE /v2/keys{directory}?recursive=true"), String::new())
            }
        };
        curled(self.real, &line, &form);
        self.told.push(format!("{line} {form}"));
        *self.counts.entry(what).or_default() += 1;
    }

    /// Writes of others until the history has forgotten what was before.
    fn flood(&mut self) {
        for _ in 0..KEPT {
            curled(self.real, "PUT /v2/keys/other", "value=x");
        }
        self.model.store.revision += KEPT;
        self.told.push(format!("{KEPT} other writes"));
    }

    /// The real store's name for an entry: its number is higher by the offset.
    fn key(&self, key: &[u8]) -> Vec<u8> {
        renumbered(key, |number| number + self.offset)
    }

    fn shifted(&self, op: Op) -> Op {
        match op {
            Op::Look { prefix, own, up_to } => Op::Look { prefix, own: self.key(&own), up_to: up_to + self.offset },
            Op::Withdraw { key, name, revision, written } => {
                let (revision, written) = (revision + self.offset, written + self.offset);
                Op::Withdraw { key: self.key(&key), name, revision, written }
            }
            Op::Check { keys } => Op::Check { keys: keys.iter().map(|key| self.key(key)).collect() },
            Op::Refresh { key, name, written, ttl_s, visible } => {
                let (key, written) = (self.key(&key), written + self.offset);
                Op::Refresh { key, name, written, ttl_s, visible }
            }
            other => other,
        }
    }

    /// A reply with the model's names, revisions and cluster.
    fn back(&self, mut reply: Reply) -> Reply {
        assert_eq!(reply.stamp.cluster, self.cluster);
        assert!(reply.stamp.clock_s.is_some());
        reply.stamp.cluster = self.model.id;
        reply.stamp.revision -= self.offset;
        let all = |members: Vec<Member>| members.into_iter().map(|member| self.member_back(member)).collect();
        reply.answer = match reply.answer {
            Answer::Posted { own } => Answer::Posted { own: self.member_back(own) },
            Answer::Refreshed { applied, found } => {
                let back = |Written { member, at }| Written { member: self.member_back(member), at: at - self.offset };
                Answer::Refreshed { applied, found: found.map(back) }
            }
            Answer::Looked(Seen { own, latest, first, count }) => {
                let own = own.map(|own| self.member_back(own));
                Answer::Looked(Seen { own, latest: all(latest), first: all(first), count })
            }
            Answer::Glimpsed { found } => {
                let back = |found: Option<Member>| found.map(|member| self.member_back(member));
                Answer::Glimpsed { found: found.into_iter().map(back).collect() }
            }
            other => other,
        };
        reply
    }

    fn member_back(&self, member: Member) -> Member {
        let key = renumbered(&member.key, |number| number - self.offset);
        Member { key, revision: member.revision - self.offset, ..member }
    }

    fn change_back(&self, change: Change) -> Change {
        let key = renumbered(&change.key, |number| number - self.offset);
        Change { at: change.at - self.offset, key, now: change.now.map(|member| self.member_back(member)), ..change }
    }
}

fn renumbered(key: &[u8], to: impl Fn(u64) -> u64) -> Vec<u8> {
    let at = key.len() - 20;
    let number: u64 = text(&key[at..]).parse().expect("20 digits");
    [&key[..at], format!("{:020}", to(number)).as_bytes()].concat()
}

/// One sequence to its end.
async fn play(seed: u64, real: &Cluster, bench: &mut Bench, counts: &mut BTreeMap<&'static str, u64>) {
    let mut rng = Rng::new(seed);
    let prefix = format!("/model/{seed}/").into_bytes();
    let mut pair = Pair::new(real, bench, prefix.clone(), counts).await;
    // Entries that are gone are asked about as well.
    let mut known: Vec<Member> = Vec::new();
    for step in 0..STEPS {
        if step == STEPS / 2 && seed.is_multiple_of(FLOODED) {
            pair.hear(bench).await;
            pair.flood();
            let oldest = pair.model.store.oldest_event();
            for (start, member) in [oldest - 1, oldest, oldest + 1].into_iter().zip(known.iter().cycle()) {
                pair.watch(bench, member.key.clone(), start).await;
            }
        }
        let members = pair.members();
        known.extend(members.iter().filter(|member| !known.contains(member)).cloned().collect::<Vec<_>>());
        let name = format!("member {}", rng.below(3)).into_bytes();
        if members.is_empty() || rng.below(100) < 20 {
            *pair.counts.entry("post").or_default() += 1;
            pair.ask(bench, Op::Post { prefix: prefix.clone(), name, ttl_s: TTL_S }).await;
            continue;
        }
        let member = if rng.permille(750) { rng.pick(&members).clone() } else { rng.pick(&known).clone() };
        let written = pair.model.store.lives.get(&member.key).map(|life| life.written);
        let some_revision = rng.range(5, pair.revision() + 1);
        let (what, op) = match rng.below(80) {
            0..30 => {
                let written = written.filter(|_| rng.permille(700)).unwrap_or(some_revision);
                let (key, visible) = (member.key, rng.permille(400));
                let name = if rng.permille(800) { member.name } else { b"another".to_vec() };
                ("refresh", Op::Refresh { key, name, written, ttl_s: TTL_S, visible })
            }
            30..42 => {
                let up_to = if rng.permille(700) { member.revision } else { some_revision };
                ("look", Op::Look { prefix: prefix.clone(), own: member.key, up_to })
            }
            42..50 => {
                let revision = if rng.permille(700) { member.revision } else { some_revision };
                let name = if rng.permille(800) { member.name } else { b"another".to_vec() };
                let written = written.filter(|_| rng.permille(500)).unwrap_or(some_revision);
                ("withdraw", Op::Withdraw { key: member.key, name, revision, written })
            }
            50..55 => ("check", Op::Check { keys: vec![member.key, rng.pick(&known).key.clone()] }),
            55..68 => {
                *pair.counts.entry("watch").or_default() += 1;
                let start = if rng.permille(500) { pair.revision() + 1 } else { some_revision };
                pair.watch(bench, member.key, start).await;
                continue;
            }
            _ => {
                if members.contains(&member) {
                    pair.tamper(&mut rng, &member);
                }
                continue;
            }
        };
        *pair.counts.entry(what).or_default() += 1;
        pair.ask(bench, op).await;
    }
    pair.hear(bench).await;
    bench.send(pair.link, Op::Close);
}

#[tokio::test]
async fn the_model_answers_as_etcd_does_on_v2() {
    let cluster = Cluster::of(1, V2_ON);
    // The model's first number is not 1.
    for _ in 0..5 {
        curled(&cluster, "PUT /v2/keys/other", "value=x");
    }
    let mut bench = Bench::on(&cluster.urls());
    let mut counts = BTreeMap::new();
    let one = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().expect("SEED must be a number"));
    for seed in one.map_or(1..=SEQUENCES, |seed| seed..=seed) {
        play(seed, &cluster, &mut bench, &mut counts).await;
    }
    println!("{counts:?}");
    if one.is_none() {
        let least = [
            ("post", 300),
            ("refresh", 300),
            ("look", 100),
            ("withdraw", 100),
            ("check", 60),
            ("watch", 200),
            ("changes", 300),
        ];
        let others = ["deleted", "set", "updated", "refreshed", "all deleted"].map(|what| (what, 20));
        for (what, least) in least.into_iter().chain(others).chain([("cleared", 5)]) {
            assert!(counts.get(what).is_some_and(|count| *count >= least), "too few of {what}: {counts:?}");
        }
    }
}
