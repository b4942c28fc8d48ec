//! The search: depth first, to one depth after the other. A state that was walked to this depth before is not walked again.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::action::Action;
use crate::judge::Broken;
use crate::state::State;

/// The next depth is so much greater.
const STEP: u8 = 2;

/// The result of a search.
#[derive(Default)]
pub(crate) struct Outcome {
    /// All paths of this length were walked.
    pub(crate) depth: u8,
    /// The number of states that these paths lead through.
    pub(crate) states: usize,
    /// The number of steps that were taken, to all depths.
    pub(crate) steps: u64,
    pub(crate) seconds: f64,
    /// The law that is broken, and the path to that.
    pub(crate) broken: Option<(Broken, Vec<Action>)>,
}

enum Stop {
    Ended,
    Broken(Broken),
}

/// The end of a search.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// No path is longer.
    pub(crate) most: u8,
    pub(crate) until: Instant,
    /// One of the searches has found a broken law.
    pub(crate) is_broken: &'a AtomicBool,
}

struct Walk<'a> {
    /// Each state that was seen, by its number, and how deep it was walked from there.
    seen: HashMap<u64, u8>,
    path: Vec<Action>,
    steps: u64,
    bounds: Bounds<'a>,
}

/// Walks all paths from this state, as deep as the bounds allow.
pub(crate) fn search(root: &State, bounds: Bounds<'_>) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome::default();
    let mut walk = Walk { seen: HashMap::new(), path: Vec::new(), steps: 0, bounds };
    while outcome.depth < bounds.most {
        let depth = (outcome.depth + STEP).min(bounds.most);
        walk.seen.clear();
        match walk.dive(root, depth) {
            Ok(()) => (outcome.depth, outcome.states) = (depth, walk.seen.len()),
            Err(Stop::Ended) => break,
            Err(Stop::Broken(broken)) => {
                bounds.is_broken.store(true, Ordering::Relaxed);
                outcome.broken = Some((broken, walk.path));
                break;
            }
        }
    }
    (outcome.steps, outcome.seconds) = (walk.steps, begun.elapsed().as_secs_f64());
    outcome
}

impl Walk<'_> {
    fn dive(&mut self, state: &State, left: u8) -> Result<(), Stop> {
        for action in state.actions() {
            self.steps += 1;
            let is_over = || self.bounds.is_broken.load(Ordering::Relaxed) || Instant::now() >= self.bounds.until;
            if self.steps.is_multiple_of(256) && is_over() {
                return Err(Stop::Ended);
            }
            self.path.push(action.clone());
            let next = step(state, &action).map_err(Stop::Broken)?;
            if left > 1 {
                let walked = self.seen.entry(next.digest()).or_default();
                if *walked < left - 1 {
                    *walked = left - 1;
                    self.dive(&next, left - 1)?;
                }
            }
            self.path.pop();
        }
        Ok(())
    }
}

/// A panic of the machines is a broken law, too.
fn step(state: &State, action: &Action) -> Result<State, Broken> {
    catch_unwind(AssertUnwindSafe(|| state.step(action))).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        Err(Broken::new(0, format!("panic: {}", words.unwrap_or_default())))
    })
}
