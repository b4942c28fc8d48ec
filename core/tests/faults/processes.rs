//! Candidates that are killed, stopped and restarted.

use nix::sys::signal::Signal;

use super::candidate::Judge;
use super::stage::Stage;

pub(crate) fn leader_killed(stage: &mut Stage) {
    stage.kill(0);
    stage.healed();
}

pub(crate) fn leader_stopped(stage: &mut Stage) {
    stage.signal(0, Signal::SIGSTOP);
    stage.last(2.0);
    stage.signal(0, Signal::SIGCONT);
    stage.healed();
}

/// The second in line is the one before the third.
pub(crate) fn predecessor_killed(stage: &mut Stage) {
    stage.kill(1);
    stage.last(1.5);
    stage.healed();
}

pub(crate) fn middle_then_leader_killed(stage: &mut Stage) {
    stage.kill(1);
    stage.kill(0);
    stage.healed();
}

pub(crate) fn candidates_restarted(stage: &mut Stage) {
    for who in stage.living() {
        stage.stop(who).expect("a good end");
        let (binding, judge) = (stage.candidates[who].spec.binding, stage.candidates[who].spec.judge);
        // The controls have been seen by then.
        let judge = if judge == Judge::Naive { Judge::Honest } else { judge };
        stage.start(binding, judge);
        // How long a process takes to start, the machine says.
        stage.await_all_agree(support::PATIENCE).expect("one leader");
    }
    stage.healed();
}

/// Two hundred more, and then none of them has etcd.
pub(crate) fn crowd_loses_etcd(stage: &mut Stage) {
    for _ in 0..200 {
        stage.start(super::candidate::Binding::C, Judge::Honest);
    }
    stage.await_all_agree(support::PATIENCE).expect("one leader");
    stage.cluster.member(0).kill();
    stage.mark("etcd is killed");
    stage.last(2.0);
    stage.cluster.member(0).start();
    stage.healed();
}
