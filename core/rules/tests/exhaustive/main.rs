//! A bounded exhaustive search: two candidates of one election on one etcd, in every order of what may happen to them.
//!
//! The simulation draws long lives by lot. This walks all short ones: from each of a few [`roots`], every order in which
//! requests are carried out, answers and news of watches arrive, timers go off and leases end, with every choice of a few
//! faults: a message that is late, a network that is slow, a connection that breaks, a crash, a pause that outlives the lease,
//! an entry that somebody else deletes, a user who stops. Time passes only when nothing is under way, unless that is late.
//! Where a lease may end, one step goes to its end, through all that happens until then if nothing more goes wrong. So a path
//! is short, though it may last for minutes.
//!
//! `make exhaustive` walks for ten minutes. `MINUTES=n` is another time, `FAULTS=n` (default 2) the most faults of a path;
//! `ROOT=name` walks from that one alone, and `DEPTH=n` ends there.
//!
//! [`store`] is etcd, [`wires`] what is on the way, [`process`] runs the machines; [`state`] is all of that at one moment,
//! [`action`] what may happen next; [`judge`] holds the laws, [`walk`] searches.
#![allow(clippy::print_stdout, missing_docs)]

mod action;
mod judge;
mod part;
mod process;
mod proof;
mod roots;
#[path = "../simulation/signs.rs"]
mod signs;
mod state;
mod store;
mod trace;
// Here it may ask at any moment.
#[allow(dead_code)]
#[path = "../simulation/user.rs"]
mod user;
mod walk;
mod wires;
#[path = "../simulation/words.rs"]
mod words;

use std::str::FromStr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::roots::Root;
use crate::walk::{Bounds, Outcome};

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let parsed = std::env::var(name).ok().map(|value| value.parse().ok());
    parsed.map_or(default, |value| value.unwrap_or_else(|| panic!("{name} must be a number")))
}

/// Walks from all roots, side by side.
fn walk_all(faults: u8, most: u8, patience: Duration) {
    let only = std::env::var("ROOT").ok();
    let roots = Root::ALL.into_iter().filter(|root| only.as_ref().is_none_or(|only| *only == root.name()));
    let is_broken = AtomicBool::new(false);
    let bounds = Bounds { most, until: Instant::now() + patience, is_broken: &is_broken };
    let told: Vec<(Root, Outcome)> = std::thread::scope(|scope| {
        // A state is shared within a thread, so each makes its own root.
        let walks = roots.map(|root| (root, scope.spawn(move || walk::search(&root.state(faults), bounds))));
        let walks: Vec<_> = walks.collect();
        walks.into_iter().map(|(root, walk)| (root, walk.join().expect("a search"))).collect()
    });
    println!("with up to {faults} faults:");
    for (root, outcome) in &told {
        let Outcome { depth, states, steps, seconds, .. } = outcome;
        let rate = *steps as f64 / seconds;
        let name = root.name();
        println!("{name:<8} depth {depth:>3}  {states:>9} states  {steps:>10} steps  {rate:>7.0} a second");
    }
    let broken = told.iter().filter_map(|(root, outcome)| Some((root, outcome.broken.as_ref()?)));
    let broken: Vec<_> = broken.collect();
    for (root, (law, path)) in &broken {
        println!("--- from {}, {} steps:", root.name(), path.len());
        trace::retell(root.state(faults), path).iter().for_each(|line| println!("{line}"));
        println!("breaks law {}: {}", law.law, law.what);
    }
    assert!(broken.is_empty(), "a law is broken");
}

/// So that the walk cannot rot.
#[test]
fn a_short_walk_breaks_no_law() {
    walk_all(1, 5, Duration::from_secs(3600));
}

#[test]
#[ignore = "ten minutes: make exhaustive"]
fn the_longest_walk_breaks_no_law() {
    let minutes: f64 = setting("MINUTES", 10.0);
    walk_all(setting("FAULTS", 2), setting("DEPTH", u8::MAX), Duration::from_secs_f64(minutes * 60.0));
}
