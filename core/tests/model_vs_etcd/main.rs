//! The model etcd of the simulation beside a real one: the same requests, the same answers.
//!
//! Each sequence is drawn from a seed and played on both, in a place of its own; revisions are counted from where the
//! sequence began, and cluster and raft term have the model's names. `SEED=x` plays one sequence. [`v2`] does the same in
//! API v2.
#![allow(clippy::print_stdout, missing_docs)]

#[allow(dead_code)]
#[path = "../backend_v3/bench.rs"]
mod bench;
#[allow(dead_code)]
#[path = "../backend_v2/bench.rs"]
mod bench_v2;
#[allow(dead_code)]
#[path = "../../rules/tests/simulation/cluster.rs"]
mod cluster;
#[allow(dead_code)]
#[path = "../../rules/tests/simulation/cluster_v2.rs"]
mod cluster_v2;
mod pair;
#[allow(dead_code)]
#[path = "../../rules/tests/simulation/rng.rs"]
mod rng;
#[path = "../../rules/tests/simulation/signs.rs"]
mod signs;
#[allow(dead_code)]
#[path = "../../rules/tests/simulation/store.rs"]
mod store;
#[allow(dead_code)]
#[path = "../../rules/tests/simulation/store_v2.rs"]
mod store_v2;
mod v2;

use std::collections::BTreeMap;

use etcd_leader::machine::{Op, Sign, Watched, member_key};

use crate::bench::{Bench, after};
use crate::pair::Pair;
use crate::rng::Rng;
use support::Cluster;

const SEQUENCES: u64 = 210;
/// One in so many sequences has a compaction in it: that takes its time.
const COMPACTED: u64 = 6;
const STEPS: u64 = 24;
/// Members of each sequence.
const MEMBERS: u64 = 4;

/// One sequence to its end. False if it took so long that not all of it was compared.
async fn play(
    seed: u64,
    turn: u64,
    cluster: &Cluster,
    bench: &mut Bench,
    counts: &mut BTreeMap<&'static str, u64>,
) -> bool {
    let mut rng = Rng::new(seed);
    let (link, _) = bench.open(0).await.expect("a link");
    // Each turn has keys of its own: a watch from the first revision would see the last change of the turn before.
    let prefix = format!("/model/{seed}/{turn}/").into_bytes();
    let mut pair = Pair::new(bench, link, &prefix).await;
    let leases: Vec<i64> = (0..MEMBERS).map(|at| (seed << 8 | at << 4 | rng.below(16)) as i64 + 1).collect();
    let keys: Vec<Vec<u8>> = leases.iter().map(|lease| member_key(&prefix, *lease)).collect();
    for step in 0..STEPS {
        if step == STEPS / 2 && seed.is_multiple_of(COMPACTED) {
            *counts.entry("compact").or_default() += 1;
            let to = rng.range(pair.revision() / 2, pair.revision()) + 1;
            pair.compact(cluster, to).await;
            for start in [to.saturating_sub(1).max(1), to, to + 1] {
                let to = after(&[prefix.as_slice(), b"~"].concat());
                let range = Watched { from: prefix.clone(), to, start: Some(start), puts_only: false };
                pair.watch(bench, range).await;
            }
        }
        let at = rng.below(MEMBERS) as usize;
        let (lease, own) = (leases[at], keys[at].clone());
        let some_revision = |rng: &mut Rng, pair: &Pair| rng.range(1, pair.revision() + 1);
        let (what, op) = match rng.below(100) {
            0..18 => ("grant", Op::Grant { lease, ttl_s: *rng.pick(&[1, 2, 60]) }),
            18..42 => {
                let name = format!("member {at}").into_bytes();
                ("join", Op::Join { prefix: prefix.clone(), own, name, lease })
            }
            42..54 => {
                let up_to = some_revision(&mut rng, &pair);
                ("look", Op::Look { prefix: prefix.clone(), own, up_to })
            }
            54..58 => {
                let keys = keys.iter().filter(|_| rng.permille(600)).cloned().collect();
                ("confirm", Op::Confirm { key: prefix.clone(), keys })
            }
            58..61 => {
                let some = keys.iter().filter(|_| rng.permille(600)).cloned();
                ("check", Op::Check { keys: [own].into_iter().chain(some).collect() })
            }
            61..70 => {
                let revision = pair.created(&own).unwrap_or_else(|| some_revision(&mut rng, &pair));
                let last = pair.written(&own).filter(|_| rng.permille(800));
                let written = last.unwrap_or_else(|| some_revision(&mut rng, &pair));
                let lease = if rng.permille(800) { lease } else { *rng.pick(&leases) };
                let [shows, sign] = [(); 2].map(|()| *rng.pick(&[Sign::Nothing, Sign::Waits, Sign::Leads]));
                let name = format!("member {at}").into_bytes();
                ("touch", Op::Touch { key: own, name, revision, written, lease, shows, sign })
            }
            70..76 => {
                let found = pair.created(&own).filter(|_| rng.permille(700));
                let revision = found.unwrap_or_else(|| some_revision(&mut rng, &pair));
                ("leave", Op::Leave { key: own, revision })
            }
            76..80 => ("renew", Op::Renew { lease }),
            80..84 => ("revoke", Op::Revoke { lease }),
            84..86 => ("list", Op::ListKeys { lease }),
            86..97 => {
                let other = rng.pick(&keys).clone();
                let range = match rng.below(3) {
                    0 => (own.clone(), after(&own)),
                    1 => (own.clone().min(other.clone()), after(&own.max(other))),
                    _ => (prefix.clone(), after(&[prefix.as_slice(), b"~"].concat())),
                };
                let start = match rng.below(3) {
                    0 => Some(pair.revision() + 1),
                    1 => None,
                    _ => Some(some_revision(&mut rng, &pair)),
                };
                *counts.entry("watch").or_default() += 1;
                let puts_only = rng.permille(300);
                pair.watch(bench, Watched { from: range.0, to: range.1, start, puts_only }).await;
                continue;
            }
            _ => {
                // Two keys under one lease go in one revision.
                let key = [own.as_slice(), b".twin"].concat();
                let name = b"twin".to_vec();
                ("twin", Op::Join { prefix: prefix.clone(), own: key, name, lease })
            }
        };
        *counts.entry(what).or_default() += 1;
        pair.ask(bench, op).await;
    }
    for lease in &leases {
        pair.ask(bench, Op::Revoke { lease: *lease }).await;
    }
    // Whatever a watch tells without need would come before this.
    let last = (seed << 8 | 0xff) as i64;
    pair.ask(bench, Op::Grant { lease: last, ttl_s: 60 }).await;
    for key in &keys {
        pair.ask(bench, Op::Join { prefix: prefix.clone(), own: key.clone(), name: b"end".into(), lease: last }).await;
    }
    pair.hear(bench).await;
    pair.ask(bench, Op::Revoke { lease: last }).await;
    bench.send(link, Op::Close);
    *counts.entry("changes").or_default() += pair.heard;
    *counts.entry("watches canceled").or_default() += pair.canceled;
    !pair.is_late()
}

#[tokio::test]
async fn the_model_answers_as_etcd_does() {
    let cluster = Cluster::single();
    let mut bench = Bench::on(&cluster.urls());
    let mut counts = BTreeMap::new();
    let one = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().expect("SEED must be a number"));
    let seeds = one.map_or(1..=SEQUENCES, |seed| seed..=seed);
    let mut late = 0;
    for seed in seeds {
        while !play(seed, late, &cluster, &mut bench, &mut counts).await {
            late += 1;
            assert!(late < SEQUENCES, "a sequence takes longer on this machine than etcd's shortest lease");
        }
    }
    println!("{counts:?}");
    if one.is_none() {
        let least = [("grant", 500), ("join", 500), ("look", 200), ("leave", 200), ("revoke", 100), ("watch", 200)];
        for (what, least) in least.into_iter().chain([("compact", 10), ("watches canceled", 3), ("changes", 1000)]) {
            assert!(counts.get(what).is_some_and(|count| *count >= least), "too few of {what}: {counts:?}");
        }
    }
}
