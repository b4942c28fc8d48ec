//! Cables that are cut, slow and lossy. What is cut is dropped: a black hole, not a closed port.

use std::time::Duration;

use super::air::{Air, Weather};
use super::stage::Stage;
use support::netns::Place;

const WEATHER: Weather = Weather { delay: Duration::from_millis(150), lost_percent: 20 };

pub(crate) fn leader_cut_off_for_two_ttls(stage: &mut Stage) {
    leader_cut_off(stage, 2.0);
}

pub(crate) fn leader_cut_off_for_five_ttls(stage: &mut Stage) {
    leader_cut_off(stage, 5.0);
}

fn leader_cut_off(stage: &mut Stage, ttls: f64) {
    stage.cut_off(0);
    stage.last(ttls);
    stage.mend();
    stage.healed();
}

pub(crate) fn all_cut_off(stage: &mut Stage) {
    for who in stage.living() {
        stage.cut_off(who);
    }
    stage.last(2.0);
    stage.mend();
    stage.healed();
}

/// 300 ms there and back, and one packet of five lost each way.
pub(crate) fn slow_and_lossy(stage: &mut Stage) {
    let clients: Vec<Place> = stage.living().into_iter().map(Place::Client).collect();
    let air = Air::between(&stage.network, &clients, &[Place::Member(0)], WEATHER);
    stage.mark("bad weather");
    stage.last(3.0);
    drop(air);
    stage.healed();
}
