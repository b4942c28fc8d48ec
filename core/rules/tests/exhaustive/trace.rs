//! A path in words, for people.

use etcd_leader_rules::machine::{Input, Op, WatchNews};

use crate::action::Action;
use crate::state::{LONGEST_REST, State};
use crate::words::{input_words, outcome, report_words, words};

/// A key, for people.
pub(crate) fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Walks the path once more, and tells what happens.
pub(crate) fn retell(mut state: State, path: &[Action]) -> Vec<String> {
    let mut lines = Vec::new();
    for action in path {
        let over = state.now + LONGEST_REST;
        if matches!(action, Action::Rest) {
            while let Some(calm) = state.calm_action().filter(|_| state.now < over) {
                let Some(next) = tell(&state, &calm, &mut lines) else { return lines };
                state = next;
            }
        } else {
            let Some(next) = tell(&state, action, &mut lines) else { return lines };
            state = next;
        }
    }
    lines
}

/// Tells of one step. Gives the state after it, unless that breaks a law.
fn tell(state: &State, action: &Action, lines: &mut Vec<String>) -> Option<State> {
    lines.push(format!("{:>9.3} s  {}", state.now as f64 / 1e9, describe(state, action)));
    let next = state.step(action).ok()?;
    for at in [0, 1] {
        if next.processes[at].report != state.processes[at].report {
            lines.push(format!("{:>13}p{at} reports {}", "", report_words(&next.processes[at].report)));
        }
    }
    Some(next)
}

fn describe(state: &State, action: &Action) -> String {
    let mut scratch = state.clone();
    match *action {
        Action::Perform { at, id } => {
            let op = scratch.wires[at].change().call(id).op.clone();
            let result = scratch.store.change().perform(&op, state.now);
            format!("etcd carries out p{at} {}: {} -> {}", id.0, words(&op), outcome(&result))
        }
        Action::Arrive { at, ghost } => {
            format!("etcd carries out what p{at} sent before: {}", words(&state.wires[at].ghosts[ghost]))
        }
        Action::Begin { at, watch } => {
            let range = scratch.wires[at].change().watch(watch).1.range.clone();
            format!("etcd makes for p{at}: {}", words(&Op::Watch { watch, range }))
        }
        Action::Answer { at, id } => {
            let result = scratch.wires[at].change().take(id);
            format!("p{at} <- {}", input_words(&Input::Reply { id, result }))
        }
        Action::Tell { at, watch, is_all } => {
            let (link, on) = scratch.wires[at].change().watch(watch);
            let news: WatchNews = on.take(&state.store, is_all);
            format!("p{at} <- {}", input_words(&Input::Watch { link, watch, news }))
        }
        Action::Rest => "nothing goes wrong until a lease or a term runs out".into(),
        Action::End { lease } => format!("etcd ends the lease {lease:x}"),
        Action::Pass { .. } => "time passes".into(),
        Action::PassLate { late, .. } => format!("FAULT time passes, and {late} on the way are late"),
        Action::Wake { at } => format!("p{at}: a timer goes off"),
        Action::Notice { at } => format!("p{at} notices that the wall clock has jumped"),
        Action::Release { at } if state.processes[at].is_in_turn() => {
            format!("p{at}: the user comes for the next event")
        }
        Action::Release { at } => format!("p{at}: the user says that its work has ended"),
        Action::GoOn { at, is_counted: true } => format!("p{at} goes on"),
        Action::GoOn { at, is_counted: false } => format!("p{at} goes on, and its clock stood still meanwhile"),
        Action::Slow { at } => format!("FAULT p{at}: the network is slow from now on"),
        Action::Lose { at, link } => format!("FAULT p{at}: the connection {} breaks", link.0),
        Action::Crash { at } => format!("FAULT p{at} is killed, and started again"),
        Action::Pause { at } => format!("FAULT p{at} is paused"),
        Action::Delete { ref key } => format!("FAULT somebody deletes {}", text(key)),
        Action::Stop { at } => format!("FAULT p{at}: the user asks to stop"),
    }
}
