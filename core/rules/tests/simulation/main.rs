//! The simulation: elections on a model etcd that is at least as unkind as the real one, in virtual time.
//!
//! Every run derives from one seed; those from a million on are of etcd's API v2. `SEEDS=n` runs that many of each API
//! (default 10,000), `SEED=x` replays one and prints all that happened, `FIRST=x` is where to begin. `UNKIND=1` fills the
//! storms with people who deny, delete and put.
//!
//! [`cluster`], [`store`] and [`signs`] are the model etcd, [`net`], [`links`] and [`watchers`] what lies between it and the
//! processes, [`process`] runs the machines, [`chores`] and [`user`] are those who use them; [`plan`], [`faults`], [`outages`],
//! [`restores`], [`pauses`] and [`proxies`] are the bad days, [`heals`] their end; [`rest`] says what must be so once all is well;
//! [`referee`], [`books`], [`claims`] and [`frugal`] hold the laws, and [`fakes`] keep them awake.
//! What is different in v2 is in files of its own: [`cluster_v2`], [`store_v2`], [`polls`], [`plan_v2`], [`faults_v2`],
//! [`ledger`], [`claims_v2`].
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod books;
mod chores;
mod claims;
mod claims_v2;
mod cluster;
mod cluster_v2;
mod crowd;
mod fakes;
mod faults;
mod faults_v2;
mod frugal;
mod heals;
mod ledger;
mod links;
mod net;
mod outages;
mod pauses;
mod plan;
mod plan_v2;
mod polls;
mod process;
mod proxies;
mod referee;
mod rest;
mod restores;
mod rng;
mod scenarios;
mod signs;
mod stats;
mod store;
mod store_v2;
mod trace;
mod user;
mod watchers;
mod words;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use etcd_leader_rules::config::Api;

use crate::plan::Fault;
use crate::process::real;
use crate::stats::Stats;
use crate::world::{FIRST_V2, World};

/// From so many seeds on, everything of interest must have happened often enough.
const FULL: u64 = 10_000;

struct Broken {
    seed: u64,
    law: u32,
    what: String,
}

/// One seed to its end; a panic of the machines counts as a broken law.
fn play(seed: u64, tracing: bool) -> (Stats, u64, Option<Broken>, Vec<String>) {
    let mut world = World::new(seed, None, tracing, real);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
    let broken = match (outcome, world.referee.verdict.take()) {
        (Err(panic), _) => {
            let what = panic.downcast_ref::<String>().cloned();
            let what = what.or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default();
            Some(Broken { seed, law: 0, what: format!("panic: {what}") })
        }
        (Ok(()), Some(verdict)) => Some(Broken { seed, law: verdict.law, what: verdict.what }),
        (Ok(()), None) => None,
    };
    (world.stats, world.digest, broken, world.trace.lines)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

/// Replays a seed, for people.
fn replay(seed: u64, last: usize) -> Option<Broken> {
    let (_, _, broken, lines) = play(seed, true);
    for line in &lines[lines.len().saturating_sub(last)..] {
        println!("{line}");
    }
    if let Some(broken) = &broken {
        println!("seed {seed} breaks law {}: {}", broken.law, broken.what);
    }
    broken
}

#[test]
fn the_laws_hold() {
    run(Api::V3, 0);
}

#[test]
fn the_laws_hold_on_v2() {
    run(Api::V2, FIRST_V2);
}

/// Plays seeds of one API, which begin behind `base`.
fn run(api: Api, base: u64) {
    if let Some(seed) = number("SEED") {
        if (seed < FIRST_V2) == (api == Api::V3) {
            assert!(replay(seed, usize::MAX).is_none(), "seed {seed} breaks a law");
        }
        return;
    }
    let seeds = number("SEEDS").unwrap_or(FULL);
    let first = base + number("FIRST").unwrap_or(1);
    let most = number("MOST").unwrap_or(1) as usize;
    let next = AtomicU64::new(first);
    let all = Mutex::new((Stats::default(), Vec::<Broken>::new()));
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut sum = Stats::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + seeds || all.lock().expect("no panic holds it").1.len() >= most {
                        break;
                    }
                    let (stats, digest, broken, _) = play(seed, false);
                    sum.add(&stats);
                    if let Some(broken) = broken {
                        all.lock().expect("no panic holds it").1.push(broken);
                    } else if seed.is_multiple_of(64) {
                        let again = play(seed, false).1;
                        assert_eq!(digest, again, "seed {seed} does not replay: something is not deterministic");
                    }
                }
                all.lock().expect("no panic holds it").0.add(&sum);
            });
        }
    });
    let (stats, mut broken) = all.into_inner().expect("no panic holds it");
    print_stats(api, &stats, begun.elapsed().as_secs_f64());
    broken.sort_by_key(|broken| broken.seed);
    for one in &broken {
        println!("seed {} breaks law {}: {}", one.seed, one.law, one.what);
    }
    if let Some(one) = broken.first() {
        println!("--- the last lines of seed {} ---", one.seed);
        replay(one.seed, 60);
        println!("replay: SEED={} cargo simulation -- --nocapture", one.seed);
    }
    assert!(broken.is_empty(), "{} seeds break a law", broken.len());
    if stats.seeds >= FULL && std::env::var_os("UNKIND").is_none() {
        assert!(stats.thin(api).is_empty(), "happened too seldom to prove anything: {:?}", stats.thin(api));
    }
}

fn print_stats(api: Api, stats: &Stats, seconds: f64) {
    let hours = stats.candidate_ns as f64 / 3.6e12;
    println!(
        "{} seeds of {api:?} in {seconds:.1} s, {:.0} candidate-hours ({:.0} a core-minute)",
        stats.seeds,
        hours,
        hours / (2.0 * seconds / 60.0)
    );
    let named: Vec<String> = stats.named(api).iter().map(|(name, count, _)| format!("{name} {count}")).collect();
    println!("{}", named.join(", "));
    let faults: Vec<String> =
        Fault::of(api).map(|kind| format!("{kind:?} {}", stats.faults.0[kind as usize])).collect();
    println!("faults: {}", faults.join(", "));
}
