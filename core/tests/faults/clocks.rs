//! Wall clocks that are set by an hour, there and back.

use super::shift::shift;
use super::stage::Stage;

const HOUR_S: i64 = 3_600;

pub(crate) fn candidates_clock_set(stage: &mut Stage) {
    let process = stage.candidates[0].pid();
    set(stage, process);
}

pub(crate) fn members_clock_set(stage: &mut Stage) {
    let at = stage.cluster.raft_leader();
    let process = stage.cluster.member(at).pid().expect("it runs");
    set(stage, process);
}

fn set(stage: &mut Stage, process: u32) {
    for seconds in [HOUR_S, -HOUR_S, 0] {
        shift(process, seconds);
        stage.mark(format!("the wall clock is {seconds} s ahead"));
        stage.last(0.7);
    }
    stage.healed();
}
