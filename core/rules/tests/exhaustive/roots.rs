//! The states in which the search begins.

use crate::action::Action;
use crate::state::{Ns, SECOND, State};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Root {
    /// Both have just been started.
    Start,
    /// The first has just been started, and the other does not run yet.
    Alone,
    /// One leads, the other waits, and all is quiet.
    Line,
    /// The leader's network is slow, and its term has run out by now.
    Late,
    /// The leader's user has just asked to stop.
    Stop,
    /// The leader was just killed, and started again.
    Crash,
    /// The same, and its lease has run out by now.
    End,
    /// The leader was paused, and its lease has run out by now.
    Jump,
}

/// By then each has written its entry where it has to, and all that the start began has ended.
const SETTLED: Ns = 6 * SECOND;

impl Root {
    pub(crate) const ALL: [Root; 8] =
        [Root::Start, Root::Alone, Root::Line, Root::Late, Root::Stop, Root::Crash, Root::End, Root::Jump];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Root::Start => "start",
            Root::Alone => "alone",
            Root::Line => "line",
            Root::Late => "late",
            Root::Stop => "stop",
            Root::Crash => "crash",
            Root::End => "end",
            Root::Jump => "jump",
        }
    }

    /// The state, from which so many faults may follow.
    pub(crate) fn state(self, faults: u8) -> State {
        match self {
            Root::Start => State::new(faults),
            Root::Alone => after(State::new(faults + 1), &[Action::Pause { at: 1 }]),
            Root::Line => line(faults),
            Root::Late => after(line(faults + 1), &[Action::Slow { at: 0 }, Action::Rest]),
            Root::Stop => after(line(faults + 1), &[Action::Stop { at: 0 }]),
            Root::Crash => after(line(faults + 1), &[Action::Crash { at: 0 }]),
            Root::End => after(line(faults + 1), &[Action::Crash { at: 0 }, Action::Rest]),
            Root::Jump => after(line(faults + 1), &[Action::Pause { at: 0 }, Action::Rest]),
        }
    }
}

/// The first of the two leads: all that happens, happens to it first.
fn line(faults: u8) -> State {
    let mut state = State::new(faults);
    loop {
        let action = state.actions().into_iter().find(|action| action.faults() == 0).expect("time at least passes");
        if matches!(action, Action::Pass { .. }) && state.now >= SETTLED {
            break;
        }
        state = state.step(&action).expect("no law is broken on the way");
    }
    let leads = [0, 1].map(|at| state.processes[at].claim(state.local(at)).is_some());
    assert_eq!(leads, [true, false], "the first leads");
    state
}

fn after(state: State, path: &[Action]) -> State {
    path.iter().fold(state, |state, action| state.step(action).expect("no law is broken by that alone"))
}
