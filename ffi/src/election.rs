//! The handle of an election: started, stopped, released, freed.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, OnceLock};

use etcd_leader::{Election, Error, ErrorKind};

use crate::border::{guard_blocking, refuse, remember, silence_panics};
use crate::config::{copy, el_config};
use crate::doorbell::Doorbell;
use crate::event::{Told, el_on_event};
use crate::handle::el_election;
use crate::queue::Slot;
use crate::status::EL_OK;
use crate::thread::{Entered, Entrance};

/// The election behind an [`el_election`].
pub(crate) struct Handle {
    pub(crate) election: Arc<Election>,
    pub(crate) on_event: el_on_event,
    pub(crate) user_data: *mut c_void,
    entrance: Entrance,
    doorbell: OnceLock<Arc<Doorbell>>,
    /// What `el_next` gave last: its texts live until it gives more.
    pub(crate) given: Mutex<Told>,
    /// Where its events go instead, if it has a queue.
    slot: Option<Arc<Slot>>,
}

/// What C does with one handle on several threads is sound only if this holds.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<(Election, Entrance, OnceLock<Arc<Doorbell>>, Mutex<Told>, Slot)>();
};

// SAFETY: `user_data` is the caller's, who gets it back on the thread that polls; all else is shared, see above.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

impl Handle {
    /// The pointer by which C names it.
    pub(crate) fn as_c(&self) -> *mut el_election {
        (&raw const *self).cast_mut().cast()
    }

    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        if self.election.has_forked() {
            let detail = "this election runs in the parent process; start a new one in the child";
            return Err(Error::new(ErrorKind::Forked, detail));
        }
        Ok(())
    }

    pub(crate) fn enter(&self) -> Result<Entered<'_>, Error> {
        self.entrance.enter().ok_or_else(|| {
            let detail = "the election is being polled: by another thread, or this is its own callback; return first";
            Error::new(ErrorKind::Busy, detail)
        })
    }

    /// Its events do not go to a queue.
    pub(crate) fn check_no_queue(&self) -> Result<(), Error> {
        match self.slot {
            None => Ok(()),
            Some(_) => refuse("election has a queue; take its events with el_queue_next".into()),
        }
    }

    /// The doorbell, made when it is first asked for.
    pub(crate) fn doorbell(&self) -> Result<&Doorbell, Error> {
        if self.doorbell.get().is_none() {
            let doorbell = Arc::new(Doorbell::new()?);
            if self.doorbell.set(doorbell.clone()).is_ok() {
                self.election.on_due(move || doorbell.ring());
            }
        }
        let doorbell = self.doorbell.get().ok_or_else(|| Error::new(ErrorKind::Internal, "the doorbell is gone"))?;
        // What became due before the hook was there rang nothing.
        self.set_doorbell();
        Ok(doorbell)
    }

    /// Makes the doorbell say what is so.
    pub(crate) fn set_doorbell(&self) {
        if let Some(doorbell) = self.doorbell.get() {
            self.election.when_due(|is_due| if is_due { doorbell.ring() } else { doorbell.silence() });
        }
    }
}

/// The handle behind a pointer from C; `None` behind NULL.
///
/// # Safety
///
/// `election` is NULL or came from `el_start` and is not freed before the end of `'a`.
pub(crate) unsafe fn handle_of<'a>(election: *const el_election) -> Option<&'a Handle> {
    // SAFETY: see above.
    unsafe { election.cast::<Handle>().as_ref() }
}

/// The same, where there must be one.
///
/// # Safety
///
/// As [`handle_of`].
pub(crate) unsafe fn known<'a>(election: *const el_election) -> Result<&'a Handle, Error> {
    // SAFETY: see above.
    match unsafe { handle_of(election) } {
        Some(handle) => Ok(handle),
        None => refuse("election is NULL; give what el_start has put there".into()),
    }
}

/// Starts to campaign. Returns at once, before any network is touched; everything else is told as events by `el_poll`.
///
/// `config_size` is `sizeof(el_config)`: by it the library knows which version of the structure the caller was compiled
/// with. `*election` becomes the new election, to be freed with `el_free`; NULL if it was not started.
///
/// Returns `EL_OK`; `EL_INVALID` if something in the configuration cannot be used, or the key and that of another
/// election of this process, not freed yet, lie one inside the other; `EL_INTERNAL` if the system gives no thread or
/// descriptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_start(
    config: *const el_config,
    config_size: usize,
    election: *mut *mut el_election,
) -> i32 {
    guard_blocking(remember, || {
        silence_panics();
        if election.is_null() {
            return refuse("election is NULL; give a place for the new election".into());
        }
        // SAFETY: the caller gave a place for a pointer.
        unsafe { election.write(std::ptr::null_mut()) };
        // SAFETY: the caller gave a configuration and its size.
        let config = unsafe { copy(config, config_size) }?;
        // SAFETY: its pointers are as the header demands.
        let (slot, given) = unsafe { (Slot::new(config.queue, config.on_event.is_some())?, config.to_core()?) };
        let started = Arc::new(Election::start(&given)?);
        let handle = Box::new(Handle {
            election: started.clone(),
            on_event: config.on_event,
            user_data: config.user_data,
            entrance: Entrance::default(),
            doorbell: OnceLock::new(),
            given: Mutex::default(),
            slot: slot.clone(),
        });
        let handle = Box::into_raw(handle).cast::<el_election>();
        // SAFETY: as above.
        let publish = || unsafe { election.write(handle) };
        match slot {
            Some(slot) => slot.serve(started, handle, publish),
            None => {
                drop(started);
                publish();
            }
        }
        Ok(EL_OK)
    })
}

/// Asks for the end of the election. From its return on `el_is_leader` says 0 on every thread. It never blocks and
/// never calls back; it may be repeated, and may be called from any thread, from the callback and from a signal
/// handler. NULL is fine. `EL_EVENT_UNELECTED` and `EL_EVENT_ENDED` are all that is told from then on, after
/// one event at most that was under way already.
///
/// If we lead, our entry is kept and renewed while your leading work ends, so that nobody else leads meanwhile. It goes when
/// you call `el_release`, from any thread; or when you enter `el_poll` or `el_next` again after the call that gave you
/// `EL_EVENT_UNELECTED` (a queue waits for `el_release`, and so do all after `el_hold`); or by `el_free`; or `stop_timeout_ms` after `el_stop`, unless
/// `el_poll` or `el_next` has given you `EL_EVENT_UNELECTED` by then, which is waited for, or you have called `el_hold`. If the entry is lost meanwhile,
/// since etcd is out of reach or somebody deletes the key, `EL_EVENT_ENDED` says so: end quickly, and send the token along to
/// the last write. If we do not lead, it goes at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_stop(election: *mut el_election) {
    guard_blocking(drop, || {
        // SAFETY: the caller's promise.
        unsafe { handle_of(election) }.inspect(|handle| handle.election.stop());
        Ok(())
    });
}

/// After a stop: keeps our entry until `el_release`, however long your leading work takes, also if `el_poll` or `el_next` is
/// entered meanwhile. Before a stop it does nothing,
/// nor if that time is over. May be called from any thread and from the callback, and may be repeated. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_hold(election: *mut el_election) {
    guard_blocking(drop, || {
        // SAFETY: the caller's promise.
        unsafe { handle_of(election) }.inspect(|handle| handle.election.hold());
        Ok(())
    });
}

/// Says that your leading work has ended: after a stop our entry goes, see `el_stop`. Before a stop it does nothing. May be
/// called from any thread and from the callback, and may be repeated. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_release(election: *mut el_election) {
    guard_blocking(drop, || {
        // SAFETY: the caller's promise.
        unsafe { handle_of(election) }.inspect(|handle| handle.election.release());
        Ok(())
    });
}

/// Ends the election and frees it; `el_stop` before is not needed. Delivers nothing and is itself the word that the
/// leading work has ended: the place is given up. Blocks until etcd has confirmed that, at most `stop_timeout_ms`;
/// without a confirmation the place runs out with the lease, or is cleared away by the library as soon as it can.
/// When the last election of the process is freed, the library's thread, connections and descriptors are gone too, for
/// which it waits another second at most. Only what etcd has not confirmed in that time keeps them a while longer.
///
/// Returns `EL_OK`, also for NULL; then the pointer is dead. Nothing is freed if it returns `EL_BUSY` (inside this
/// election's callback, or while another thread polls it) or `EL_FORKED` (the child leaks what it has inherited). Do not
/// rely on `EL_BUSY`: a call that another thread has only just begun may use what is freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_free(election: *mut el_election) -> i32 {
    guard_blocking(remember, || {
        // SAFETY: the caller's promise.
        let Some(handle) = (unsafe { handle_of(election) }) else { return Ok(EL_OK) };
        handle.check_fork()?;
        // Never left again: the handle goes.
        std::mem::forget(handle.enter()?);
        // SAFETY: it came from `Box::into_raw`, and nobody is inside.
        let handle = unsafe { Box::from_raw(election.cast::<Handle>()) };
        // The engine may need the election a while longer than the descriptor may stay.
        handle.election.on_due(|| {});
        handle.slot.as_ref().inspect(|slot| slot.leave());
        drop(handle);
        Ok(EL_OK)
    })
}

/// A descriptor that is readable while `el_poll` or `el_next` has an event, and for ever once the election has ended. Put it
/// into your own poll, epoll or event loop, and call one of them with a timeout of 0 when it is readable. After a stop, once
/// `EL_EVENT_UNELECTED` is delivered, it is readable again only when the election has ended: call `el_release` when your
/// leading work has ended. It stays the library's: never read from it, never close it; take
/// it out of your loop before `el_free`. Always the same one for an election; made on the first call.
///
/// Returns the descriptor, or `EL_INVALID`, `EL_FORKED`, `EL_INTERNAL` (the process has no descriptor left).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_fd(election: *mut el_election) -> i32 {
    guard_blocking(remember, || {
        // SAFETY: the caller's promise.
        let election = unsafe { known(election) }?;
        election.check_fork()?;
        election.check_no_queue()?;
        Ok(election.doorbell()?.number())
    })
}
