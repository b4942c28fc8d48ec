//! The elections of this thread, which runs one JavaScript: what it did not stop is given up when it ends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use etcd_leader::Election;
use napi::Env;
use napi_derive::napi;

/// How long the end of a process or a worker waits for etcd to confirm that a place is given up, counted from the one before;
/// and for all together.
const PATIENCE: Duration = Duration::from_millis(500);
const AT_MOST: Duration = Duration::from_secs(5);

/// How long those wait that end soon after one which was not confirmed: the threads of a process end one by one.
const NO_PATIENCE: Duration = Duration::from_millis(10);
const SOON: Duration = Duration::from_secs(5);

/// When a wait was last in vain, on any thread.
static IN_VAIN: Mutex<Option<Instant>> = Mutex::new(None);

#[derive(Default)]
struct Living {
    /// By address.
    elections: BTreeMap<usize, Arc<Election>>,
    /// The end of this thread's JavaScript will call us.
    is_registered: bool,
}

thread_local! {
    static LIVING: RefCell<Living> = RefCell::default();
}

/// One more.
pub(crate) fn add(env: &Env, election: &Arc<Election>) -> napi::Result<()> {
    LIVING.with_borrow_mut(|living| {
        if !living.is_registered {
            env.add_env_cleanup_hook((), |()| {
                leave_all();
                let _ = LIVING.try_with(|living| living.borrow_mut().is_registered = false);
            })?;
            living.is_registered = true;
        }
        living.elections.insert(address(election), election.clone());
        Ok(())
    })
}

/// One less.
pub(crate) fn remove(election: &Arc<Election>) {
    // At the thread's very end the list may be gone.
    let _ = LIVING.try_with(|living| living.borrow_mut().elections.remove(&address(election)));
}

fn address(election: &Arc<Election>) -> usize {
    Arc::as_ptr(election).addr()
}

/// Gives up all places of this thread, and waits a moment for etcd to say so. Nothing is told any more.
#[napi(catch_unwind)]
pub fn leave_all() {
    let Ok(elections) = LIVING.try_with(|living| living.borrow().elections.clone()) else { return };
    elections.values().for_each(|election| election.close());
    let in_vain = || IN_VAIN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_hopeless = in_vain().is_some_and(|at| at.elapsed() < SOON);
    let begun = Instant::now();
    let mut give_up = begun + if is_hopeless { NO_PATIENCE } else { PATIENCE };
    for election in elections.values() {
        if election.wait_closed(give_up.saturating_duration_since(Instant::now())) {
            // Many take longer than one, as long as etcd goes on with them.
            give_up = give_up.max((Instant::now() + PATIENCE).min(begun + AT_MOST));
        } else {
            *in_vain() = Some(Instant::now());
        }
    }
}
