//! The tasks of one link, which end together.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::{AbortHandle, JoinSet};

/// A set of tasks; clones share it. It is an executor too, so that what hyper spawns for a connection ends with it.
#[derive(Clone, Default)]
pub(super) struct Tasks {
    /// `None` once ended.
    running: Arc<Mutex<State>>,
}

enum State {
    Running(JoinSet<()>),
    Ended,
}

impl Default for State {
    fn default() -> State {
        State::Running(JoinSet::new())
    }
}

impl Tasks {
    /// Starts a task, unless the set has ended; gives what ends it before the others.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let mut state = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let State::Running(set) = &mut *state else { return None };
        // Tasks that are done would stay in the set until they are asked for.
        while set.try_join_next().is_some() {}
        Some(set.spawn(task))
    }

    /// Ends all tasks: on a current-thread runtime none of them runs again.
    pub(super) fn end(&self) {
        let ended = std::mem::replace(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner), State::Ended);
        drop(ended);
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Tasks {
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}
