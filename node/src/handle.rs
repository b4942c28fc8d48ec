//! One election in the hands of JavaScript.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_leader::{Election, Next};
use napi::Env;
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode, UnknownReturnValue};
use napi_derive::napi;

use crate::config::{Effective, Given};
use crate::told::{Told, number};
use crate::{Result, failed, living, thrown};

/// Calls a function on the thread of its JavaScript. Does not keep the process alive.
type Call = ThreadsafeFunction<(), UnknownReturnValue, (), napi::Status, false, true>;

/// Tells JavaScript that something is due; once is enough until it has looked.
struct Bell {
    call: Call,
    has_rung: Arc<AtomicBool>,
}

impl Bell {
    fn new(on_due: &Function<'_, (), UnknownReturnValue>) -> napi::Result<Bell> {
        let has_rung = Arc::new(AtomicBool::new(false));
        let heard = has_rung.clone();
        let call = on_due.build_threadsafe_function::<()>().weak::<true>().build_callback(move |_| {
            heard.store(false, Ordering::SeqCst);
            Ok(())
        })?;
        Ok(Bell { call, has_rung })
    }

    fn ring(&self) {
        if !self.has_rung.swap(true, Ordering::SeqCst) {
            self.call.call((), ThreadsafeFunctionCallMode::NonBlocking);
        }
    }
}

/// A running election.
#[napi]
pub struct Handle {
    running: Option<Running>,
}

struct Running {
    election: Arc<Election>,
    bell: Arc<Bell>,
}

/// Starts an election. `on_due` is called on this thread, in a turn of its own, when [`Handle::next`] has something.
#[napi(catch_unwind)]
pub fn start(env: Env, config: Given, on_due: Function<'_, (), UnknownReturnValue>) -> Result<Handle> {
    let bell = Arc::new(Bell::new(&on_due).map_err(failed)?);
    let election = Arc::new(Election::start(&config.into_core()).map_err(thrown)?);
    living::add(&env, &election).map_err(failed)?;
    let running = Running { election, bell };
    let ringing = running.bell.clone();
    running.election.on_due(move || ringing.ring());
    // What became due before the hook was there rang nothing.
    if running.election.is_due() {
        running.bell.ring();
    }
    Ok(Handle { running: Some(running) })
}

#[napi]
impl Handle {
    fn election(&self) -> Option<&Election> {
        self.running.as_ref().map(|running| &*running.election)
    }

    /// Takes what is due; nothing if nothing is. `in_turn`: the leading work has ended when the listeners of that have returned,
    /// which the next call says. Otherwise [`Handle::release`] says when it has.
    #[napi(catch_unwind)]
    pub fn next(&self, in_turn: bool) -> Result<Option<Told>> {
        let Some(election) = self.election() else { return Ok(None) };
        loop {
            let next = if in_turn { election.try_next() } else { election.take() }.map_err(thrown)?;
            let is_nothing = matches!(next, Next::Nothing | Next::Ended);
            let told = Told::new(next, election);
            if told.is_some() || is_nothing {
                return Ok(told);
            }
        }
    }

    /// The leading work has ended: after a stop the entry goes.
    #[napi(catch_unwind)]
    pub fn release(&self) {
        self.election().inspect(|election| election.release());
    }

    /// Asks for the end.
    #[napi(catch_unwind)]
    pub fn stop(&self) {
        self.election().inspect(|election| election.stop());
    }

    /// Has `on_due` called.
    #[napi(catch_unwind)]
    pub fn ring(&self) {
        self.running.as_ref().inspect(|running| running.bell.ring());
    }

    /// Gives the election up, and waits for nothing.
    #[napi(catch_unwind)]
    pub fn free(&mut self) {
        self.running = None;
    }

    #[napi(catch_unwind)]
    pub fn is_leader(&self) -> bool {
        self.election().is_some_and(Election::is_leader)
    }

    #[napi(catch_unwind)]
    pub fn token(&self) -> Option<i64> {
        self.election().and_then(Election::token).and_then(number)
    }

    /// In whole milliseconds, rounded down.
    #[napi(catch_unwind)]
    pub fn time_left(&self) -> i64 {
        self.election().map_or(0, |election| i64::try_from(election.time_left().as_millis()).unwrap_or(i64::MAX))
    }

    /// The settings that took effect, in milliseconds.
    #[napi(catch_unwind)]
    pub fn settings(&self) -> Option<Effective> {
        self.election().map(|election| Effective::new(&election.settings()))
    }

    /// The leader's name.
    #[napi(catch_unwind)]
    pub fn leader(&self) -> Option<String> {
        self.election().and_then(Election::leader).map(|leader| leader.name)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // The engine may need the election a while longer than JavaScript's function may stay.
        self.election.on_due(|| {});
        self.election.close();
        living::remove(&self.election);
    }
}
