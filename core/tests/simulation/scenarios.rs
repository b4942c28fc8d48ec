//! Days that are set up by hand, and end in one way only.

use etcd_leader::error::ErrorKind;

use crate::process::real;
use crate::world::{Mood, World};

/// The list of endpoints names two clusters from the start: nobody joins, and everybody says so (law 10).
#[test]
fn two_clusters_in_one_list_are_fatal_before_the_first_join() {
    let mut played = 0;
    for seed in 1..=300 {
        let mut world = World::new(seed, Some(Mood::Quiet), false, real);
        if world.routes[0].len() < 2 {
            continue;
        }
        world.strangers = true;
        world.run();
        let verdict = world.referee.verdict.take().map(|verdict| verdict.what);
        assert_eq!(verdict, None, "seed {seed} breaks law 10");
        assert_eq!(world.stats.joins, 0, "seed {seed} breaks law 10: somebody joined");
        for (at, proc) in world.procs.iter().enumerate() {
            for cand in proc.cands.iter().filter(|cand| !cand.stopped) {
                let kind = cand.report.fatal.as_ref().map(|fatal| fatal.kind());
                assert_eq!(
                    kind,
                    Some(ErrorKind::ClusterMismatch),
                    "seed {seed} breaks law 10: p{at}: {:?}",
                    cand.report
                );
            }
        }
        played += 1;
    }
    assert!(played > 100, "{played} seeds have more than one endpoint");
}
