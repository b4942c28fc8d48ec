//! The handle of an election: started, polled, stopped, freed.

use std::ffi::c_void;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use etcd_leader::{Election, Error, ErrorKind, Event, Next};

use crate::border::{guard, guard_blocking, remember, silence_panics};
use crate::config::{copy, el_config, refuse};
use crate::doorbell::Doorbell;
use crate::event::{Told, el_event, el_on_event};
use crate::status::EL_OK;
use crate::thread::{self, Uncancelled};

/// One candidate in one election.
pub struct el_election {
    pub(crate) election: Election,
    on_event: el_on_event,
    user_data: *mut c_void,
    /// The thread that is inside `el_poll`, or has begun to free this; 0: none.
    entered_by: AtomicI32,
    doorbell: OnceLock<Arc<Doorbell>>,
}

/// What C does with one handle on several threads is sound only if this holds.
const _: () = {
    const fn is_shared<T: Send + Sync>() {}
    is_shared::<(Election, AtomicI32, OnceLock<Arc<Doorbell>>)>();
};

/// Inside `el_poll`.
struct Entered<'a>(&'a AtomicI32);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl el_election {
    pub(crate) fn check_fork(&self) -> Result<(), Error> {
        if self.election.has_forked() {
            let detail = "this election runs in the parent process; start a new one in the child";
            return Err(Error::new(ErrorKind::Forked, detail));
        }
        Ok(())
    }

    fn enter(&self) -> Result<Entered<'_>, Error> {
        let me = thread::id();
        let take = |from| self.entered_by.compare_exchange(from, me, Ordering::Acquire, Ordering::Relaxed);
        match take(0) {
            Ok(_) => Ok(Entered(&self.entered_by)),
            // A callback that has ended its thread all the same, by pthread_exit: nobody comes back from there.
            Err(owner) if !thread::is_alive(owner) && take(owner).is_ok() => Ok(Entered(&self.entered_by)),
            Err(_) => {
                let detail =
                    "the election is being polled: by another thread, or this is its own callback; return first";
                Err(Error::new(ErrorKind::Busy, detail))
            }
        }
    }

    /// The doorbell, made when it is first asked for.
    fn doorbell(&self) -> Result<&Doorbell, Error> {
        if self.doorbell.get().is_none() {
            let doorbell = Doorbell::new().map_err(|error| {
                Error::new(ErrorKind::Internal, format!("no descriptor for the election: {}", error.desc()))
            })?;
            let doorbell = Arc::new(doorbell);
            if self.doorbell.set(doorbell.clone()).is_ok() {
                self.election.on_due(move || doorbell.ring());
            }
        }
        let doorbell = self.doorbell.get().ok_or_else(|| Error::new(ErrorKind::Internal, "the doorbell is gone"))?;
        // What became due before the hook was there rang nothing.
        self.election.when_due(|is_due| {
            if is_due {
                doorbell.ring();
            }
        });
        Ok(doorbell)
    }

    /// Looks for what is due, and waits for it until then. Between two turns the callback is called.
    fn turn<'a>(&'a self, poll: &mut Poll<'a>) -> Result<Turn<'a>, Error> {
        loop {
            let found = self.find(poll);
            if let Ok(Some(news)) = found {
                poll.told += 1;
                return Ok(Turn::Tell(news));
            }
            if let Some(doorbell) = self.doorbell.get() {
                self.election.when_due(|is_due| if is_due { doorbell.ring() } else { doorbell.silence() });
            }
            found?;
            if poll.told > 0 || poll.until.is_some_and(|until| until <= Instant::now()) {
                return Ok(Turn::Over(poll.told));
            }
            let has_rung = self
                .doorbell()?
                .wait(poll.until)
                .map_err(|error| Error::new(ErrorKind::Internal, format!("poll(2) failed: {}", error.desc())))?;
            if !has_rung {
                return Ok(Turn::Over(0));
            }
            poll.awaits_work = false;
        }
    }

    /// The next thing to tell, if there is one.
    fn find<'a>(&'a self, poll: &mut Poll<'a>) -> Result<Option<News<'a>>, Error> {
        // The next look is the acknowledgement: it waits for the caller's next el_poll.
        while !poll.awaits_work {
            let event = match self.election.try_next()? {
                Next::Event(event) => event,
                Next::Ended if poll.told == 0 => return Err(Error::new(ErrorKind::Stopped, "the election has ended")),
                Next::Ended | Next::Nothing => return Ok(None),
            };
            poll.awaits_work = matches!(&event, Event::Unelected { why } if why.kind() == ErrorKind::Stopped);
            if let (Some(told), Some(on_event)) = (Told::new(&event, &self.election), self.on_event) {
                return Ok(Some(News { told, on_event, election: self }));
            }
        }
        Ok(None)
    }
}

/// One call of `el_poll`.
struct Poll<'a> {
    until: Option<Instant>,
    /// How many events were told in it.
    told: i32,
    /// The caller was told to end the leading work, and says by its next call that it has.
    awaits_work: bool,
    _entered: Entered<'a>,
}

/// The next step of `el_poll`.
enum Turn<'a> {
    Tell(News<'a>),
    Over(i32),
}

struct News<'a> {
    told: Told,
    on_event: unsafe extern "C-unwind" fn(*const el_event, *mut c_void),
    election: &'a el_election,
}

impl News<'_> {
    fn tell(&self) {
        let event = self.told.as_c((&raw const *self.election).cast_mut());
        // SAFETY: the function and its data are the caller's, who vouches for them; the event outlives the call.
        unsafe { (self.on_event)(&raw const event, self.election.user_data) }
    }
}

/// The handle behind a pointer from C.
///
/// # Safety
///
/// `election` is NULL or came from `el_start` and is not freed before the end of `'a`.
pub(crate) unsafe fn known<'a>(election: *const el_election) -> Result<&'a el_election, Error> {
    // SAFETY: see above.
    match unsafe { election.as_ref() } {
        Some(election) => Ok(election),
        None => refuse("election is NULL; give what el_start has put there".into()),
    }
}

/// Starts to campaign. Returns at once, before any network is touched; everything else is told as events by `el_poll`.
///
/// `config_size` is `sizeof(el_config)`: by it the library knows which version of the structure the caller was compiled
/// with. `*election` becomes the new election, to be freed with `el_free`; NULL if it was not started.
///
/// Returns `EL_OK`; `EL_INVALID` if something in the configuration cannot be used, or the key and that of a running
/// election of this process lie one inside the other; `EL_INTERNAL` if the system gives no thread or descriptor.
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
        let started = Election::start(&unsafe { config.to_core() }?)?;
        let started = el_election {
            election: started,
            on_event: config.on_event,
            user_data: config.user_data,
            entered_by: AtomicI32::new(0),
            doorbell: OnceLock::new(),
        };
        // SAFETY: as above.
        unsafe { election.write(Box::into_raw(Box::new(started))) };
        Ok(EL_OK)
    })
}

/// Delivers the events that are due by calling `on_event` on this thread, and waits for at most `timeout_ms`
/// milliseconds if there is none: 0 does not wait, -1 waits for ever.
///
/// Returns how many events were delivered. 0: none in time, or a signal was caught. `EL_STOPPED` once the election has
/// ended and all was told, and from then on for ever. `EL_BUSY` inside this election's callback, or while another
/// thread polls it; `EL_FORKED`; `EL_INVALID`; `EL_INTERNAL`.
///
/// After `el_stop` a leader is told `EL_EVENT_UNELECTED` and the call returns right then; calling it AGAIN says "I have
/// ended the leading work" and gives the place up. So loop until `EL_STOPPED`. Polling late costs freshness, never
/// safety: nobody is told `EL_EVENT_ELECTED` who does not lead at that moment.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn el_poll(election: *mut el_election, timeout_ms: i32) -> i32 {
    let _uncancelled = Uncancelled::new();
    let begun = guard(
        |error| Err(remember(error)),
        || {
            // SAFETY: the caller's promise.
            let election = unsafe { known(election) }?;
            election.check_fork()?;
            let timeout = match timeout_ms {
                -1 => None,
                _ => Some(Duration::from_millis(u64::try_from(timeout_ms).or_else(|_| {
                    refuse(format!("timeout_ms is {timeout_ms}; give milliseconds from 0, or -1 to wait for ever"))
                })?)),
            };
            let entered = election.enter()?;
            let until = timeout.map(|timeout| Instant::now() + timeout);
            Ok(Ok((election, Poll { until, told: 0, awaits_work: false, _entered: entered })))
        },
    );
    let (election, mut poll) = match begun {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    loop {
        match guard(|error| Turn::Over(remember(error)), || election.turn(&mut poll)) {
            // Not inside `guard`: a callback that ends its thread (pthread_exit) unwinds through here, and is not to be caught.
            Turn::Tell(news) => news.tell(),
            Turn::Over(told) => return told,
        }
    }
}

/// Asks for the end of the election. From its return on `el_is_leader` says 0 on every thread. It never blocks and
/// never calls back; it may be repeated, and may be called from any thread, from the callback and from a signal
/// handler. NULL is fine. What is left to do is told by `el_poll`: see there.
///
/// The place is given up when `el_poll` is next entered after the call that delivered `EL_EVENT_UNELECTED`, or by
/// `el_free`, or `stop_timeout_ms` after `el_stop` if the callback was not even entered by then; whichever is first.
/// Until then it is renewed, so that nobody else leads while you end the leading work. If etcd is out of reach
/// meanwhile, or somebody deletes the key, it is lost as ever, and nothing more is told: end quickly, and send the token
/// along to the last write. If we did not lead, it goes at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_stop(election: *mut el_election) {
    guard_blocking(drop, || {
        // SAFETY: the caller's promise.
        unsafe { election.as_ref() }.inspect(|election| election.election.stop());
        Ok(())
    });
}

/// Ends the election and frees it; `el_stop` before is not needed. Delivers nothing and is itself the word that the
/// leading work has ended: the place is given up. Blocks until etcd has confirmed that, at most `stop_timeout_ms`;
/// without a confirmation the place runs out with the lease, or is cleared away by the library as soon as it can.
/// When the last election of the process is freed, the library's thread, connections and descriptors are gone too.
///
/// Returns `EL_OK`, also for NULL; then the pointer is dead. Nothing is freed if it returns `EL_BUSY` (inside this
/// election's callback, or while another thread polls it) or `EL_FORKED` (the child leaks what it has inherited).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_free(election: *mut el_election) -> i32 {
    guard_blocking(remember, || {
        // SAFETY: the caller's promise.
        let Some(handle) = (unsafe { election.as_ref() }) else { return Ok(EL_OK) };
        handle.check_fork()?;
        // Never left again: the handle goes.
        std::mem::forget(handle.enter()?);
        // SAFETY: it came from `Box::into_raw`, and nobody is inside.
        let handle = unsafe { Box::from_raw(election) };
        // The engine may need the election a while longer than the descriptor may stay.
        handle.election.on_due(|| {});
        drop(handle);
        Ok(EL_OK)
    })
}

/// A descriptor that is readable while `el_poll` has an event to deliver, and for ever once the election has ended. Put it
/// into your own poll, epoll or event loop, and call `el_poll(election, 0)` when it is readable. After a stop, once
/// `EL_EVENT_UNELECTED` is delivered, it is readable again only when the election has ended: call `el_poll(election, 0)`
/// once more by yourself when your leading work has ended. It stays the library's: never read from it, never close it; take
/// it out of your loop before `el_free`. Always the same one for an election; made on the first call.
///
/// Returns the descriptor, or `EL_INVALID`, `EL_FORKED`, `EL_INTERNAL` (the process has no descriptor left).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_fd(election: *mut el_election) -> i32 {
    guard_blocking(remember, || {
        // SAFETY: the caller's promise.
        let election = unsafe { known(election) }?;
        election.check_fork()?;
        Ok(election.doorbell()?.number())
    })
}
