//! Days that are set up by hand, and end in one way only.

use etcd_leader_rules::error::ErrorKind;

use crate::process::real;
use crate::world::{FIRST_V2, Mood, World};

/// Plays seeds of both APIs in which nobody can ever join: everybody says why.
fn nobody_joins(law: u32, why: ErrorKind, bases: &[u64], spoil: fn(&mut World)) {
    let mut played = 0;
    for seed in bases.iter().flat_map(|base| base + 1..=base + 300) {
        let mut world = World::new(seed, Some(Mood::Quiet), false, real);
        if world.routes[0].len() < 2 {
            continue;
        }
        spoil(&mut world);
        world.run();
        let verdict = world.referee.verdict.take().map(|verdict| verdict.what);
        assert_eq!(verdict, None, "seed {seed} breaks law {law}");
        assert_eq!(world.clusters[0].store.entries.len(), 0, "seed {seed} breaks law {law}: somebody joined");
        for (at, proc) in world.procs.iter().enumerate() {
            for cand in proc.cands.iter().filter(|cand| !cand.stopped) {
                let kind = cand.report.fatal.as_ref().map(|fatal| fatal.kind());
                assert_eq!(kind, Some(why), "seed {seed} breaks law {law}: p{at}: {:?}", cand.report);
            }
        }
        played += 1;
    }
    assert!(played > 100 * bases.len(), "{played} seeds have more than one endpoint");
}

/// The list of endpoints names two clusters from the start (law 10).
#[test]
fn two_clusters_in_one_list_are_fatal_before_the_first_join() {
    nobody_joins(10, ErrorKind::ClusterMismatch, &[0, FIRST_V2], |world| world.strangers = true);
}

/// In v2 no members can live under a key that holds a value (law 7).
#[test]
fn a_key_that_holds_a_value_is_fatal_before_the_first_join() {
    nobody_joins(7, ErrorKind::NotADirectory, &[FIRST_V2], |world| world.clusters[0].is_file = true);
}
