//! A queue that serves many elections: one descriptor, one call, one thread.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use etcd_leader::{Election, Error, ErrorKind, Event, Next, Process};

use crate::border::{guard, guard_blocking, refuse, remember};
use crate::doorbell::{Doorbell, until};
use crate::event::{Told, el_event};
use crate::handle::el_election;
use crate::place::Place;
use crate::status::EL_OK;
use crate::thread::{Entered, Entrance};

/// A queue of events of many elections.
pub struct el_queue {
    queue: Arc<Queue>,
    entrance: Entrance,
    /// What `el_queue_next` gave last: its texts live until it gives more.
    given: Mutex<Told>,
}

/// What the queue and its elections share.
struct Queue {
    made_in: Process,
    /// Held by those who take an event, and by those who free an election: so neither meets the other's.
    taking: Mutex<()>,
    /// The elections that may have something. The lock is held for moments only, and nothing is locked under it.
    ready: Mutex<VecDeque<Arc<Slot>>>,
    doorbell: Doorbell,
    elections: AtomicUsize,
}

/// An election's place in its queue.
pub(crate) struct Slot {
    queue: Arc<Queue>,
    /// The election, and how C names it.
    election: OnceLock<(Weak<Election>, AtomicPtr<el_election>)>,
    /// It is among those that are ready, or has left; under their lock.
    is_ready: AtomicBool,
}

impl Queue {
    fn ready(&self) -> MutexGuard<'_, VecDeque<Arc<Slot>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taking(&self) -> MutexGuard<'_, ()> {
        self.taking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_fork(&self) -> Result<(), Error> {
        if self.made_in == Process::this() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Forked, "this queue was made in the parent process; make a new one in the child"))
    }

    /// The first of those that may have something.
    fn pop(&self) -> Option<Arc<Slot>> {
        let mut ready = self.ready();
        let slot = ready.pop_front();
        if ready.is_empty() {
            self.doorbell.silence();
        }
        slot.inspect(|slot| slot.is_ready.store(false, Ordering::Relaxed))
    }

    /// The next event, and the election that it happened to.
    fn take(&self) -> Result<Option<(Told, *mut el_election)>, Error> {
        let _taking = self.taking();
        while let Some(slot) = self.pop() {
            let Some((election, handle)) = slot.election.get() else { continue };
            let Some(election) = election.upgrade() else { continue };
            let Next::Event(event) = election.take()? else { continue };
            if !matches!(event, Event::Ended(_)) {
                // Behind those that wait already.
                slot.look(&election);
            }
            if let Some(told) = Told::new(&event, &election) {
                return Ok(Some((told, handle.load(Ordering::Relaxed))));
            }
        }
        Ok(None)
    }

    fn next(&self, until: Option<Instant>) -> Result<Option<(Told, *mut el_election)>, Error> {
        loop {
            let taken = self.take()?;
            if taken.is_some() || until.is_some_and(|until| until <= Instant::now()) {
                return Ok(taken);
            }
            if !self.doorbell.wait(until)? {
                return Ok(None);
            }
        }
    }
}

impl Slot {
    /// For an election with this queue; `None` if it has none.
    ///
    /// # Safety
    ///
    /// `queue` is NULL or a queue that is not freed.
    pub(crate) unsafe fn new(queue: *const el_queue, has_on_event: bool) -> Result<Option<Arc<Slot>>, Error> {
        // SAFETY: see above.
        let Some(queue) = (unsafe { queue.as_ref() }) else { return Ok(None) };
        queue.queue.check_fork()?;
        if has_on_event {
            return refuse("on_event is set, and so is queue, which calls nothing; leave one of them NULL".into());
        }
        let (queue, election) = (queue.queue.clone(), OnceLock::new());
        queue.elections.fetch_add(1, Ordering::Relaxed);
        Ok(Some(Arc::new(Slot { queue, election, is_ready: AtomicBool::new(false) })))
    }

    /// From here on what becomes due in this election is in the queue. Nobody takes of it before `publish` has given the handle
    /// to the caller: another thread may free it at once.
    pub(crate) fn serve(self: &Arc<Slot>, election: Arc<Election>, handle: *mut el_election, publish: impl FnOnce()) {
        let _taking = self.queue.taking();
        let _ = self.election.set((Arc::downgrade(&election), AtomicPtr::new(handle)));
        let slot = self.clone();
        election.on_due(move || slot.announce());
        self.look(&election);
        // Before another thread may free it: the last one that holds an election waits for its end.
        drop(election);
        publish();
    }

    fn look(self: &Arc<Slot>, election: &Election) {
        election.when_due(|is_due| {
            if is_due {
                self.announce();
            }
        });
    }

    fn announce(self: &Arc<Slot>) {
        let mut ready = self.queue.ready();
        if !self.is_ready.swap(true, Ordering::Relaxed) {
            ready.push_back(self.clone());
            self.queue.doorbell.ring();
        }
    }

    /// The election is being freed: from now on nothing of it is taken from the queue.
    pub(crate) fn leave(&self) {
        let _taking = self.queue.taking();
        let mut ready = self.queue.ready();
        ready.retain(|slot| !std::ptr::eq(&raw const **slot, self));
        if ready.is_empty() {
            self.queue.doorbell.silence();
        }
        self.is_ready.store(true, Ordering::Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.queue.elections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The queue behind a pointer from C.
///
/// # Safety
///
/// `queue` is NULL or came from `el_queue_new` and is not freed before the end of `'a`.
unsafe fn known<'a>(queue: *const el_queue) -> Result<&'a el_queue, Error> {
    // SAFETY: see above.
    match unsafe { queue.as_ref() } {
        Some(queue) => queue.queue.check_fork().map(|()| queue),
        None => refuse("queue is NULL; give what el_queue_new has put there".into()),
    }
}

fn enter(queue: &el_queue) -> Result<Entered<'_>, Error> {
    let detail = "another thread takes events from the queue; one at a time may";
    queue.entrance.enter().ok_or_else(|| Error::new(ErrorKind::Busy, detail))
}

/// Makes a queue, which serves any number of elections with one descriptor and one thread: give it to `el_start` as
/// `el_config.queue`, and take the events of all with `el_queue_next`. `*queue` becomes the new queue, to be freed with
/// `el_queue_free` after its elections; NULL if there is none.
///
/// Returns `EL_OK`, `EL_INVALID`, or `EL_INTERNAL` if the process has no descriptor left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_queue_new(queue: *mut *mut el_queue) -> i32 {
    guard_blocking(remember, || {
        if queue.is_null() {
            return refuse("queue is NULL; give a place for the new queue".into());
        }
        // SAFETY: the caller gave a place for a pointer.
        unsafe { queue.write(std::ptr::null_mut()) };
        let shared = Queue {
            made_in: Process::this(),
            taking: Mutex::default(),
            ready: Mutex::default(),
            doorbell: Doorbell::new()?,
            elections: AtomicUsize::new(0),
        };
        let made = el_queue { queue: Arc::new(shared), entrance: Entrance::default(), given: Mutex::default() };
        // SAFETY: as above.
        unsafe { queue.write(Box::into_raw(Box::new(made))) };
        Ok(EL_OK)
    })
}

/// Takes the next event of any of the queue's elections into `*event`, of which `election` says whose it is; otherwise as
/// `el_next`. The elections come in turn: one that has much to tell keeps no other waiting. The texts live until the next
/// call with this queue.
///
/// It says nothing of your work: after `el_stop` of an election that leads, `EL_EVENT_UNELECTED` comes, and our entry is kept
/// until `el_release`, for at most `stop_timeout_ms`, or longer after `el_hold`. `EL_EVENT_ENDED` is the last event of an election.
///
/// Where one thread takes events and another starts or frees elections, an event may come before `el_start` has returned, and
/// one that was taken already may be returned after `el_free`: free an election on the thread that takes, or after its
/// `EL_EVENT_ENDED`.
///
/// Returns 1: there is an event. 0: none in time, or a signal was caught. `EL_BUSY` while another thread is in here;
/// `EL_FORKED`; `EL_INVALID`; `EL_INTERNAL`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_queue_next(
    queue: *mut el_queue,
    timeout_ms: i32,
    event: *mut el_event,
    event_size: usize,
) -> i32 {
    guard_blocking(remember, || {
        // SAFETY: the caller's promise.
        let queue = unsafe { known(queue) }?;
        // SAFETY: the place is as large as the caller says.
        let place = unsafe { Place::new("event", "el_event", event, event_size) }?;
        let until = until(timeout_ms)?;
        let _entered = enter(queue)?;
        let Some((told, election)) = queue.queue.next(until)? else { return Ok(0) };
        place.fill(told.as_c(election));
        *queue.given.lock().unwrap_or_else(PoisonError::into_inner) = told;
        Ok(1)
    })
}

/// A descriptor that is readable while `el_queue_next` may have an event: for your own poll, epoll or event loop, which then
/// calls `el_queue_next` with a timeout of 0 until it gives 0. It stays the library's: never read from it, never close it; take
/// it out of your loop before `el_queue_free`. Always the same one for a queue.
///
/// Returns the descriptor, or `EL_INVALID`, or `EL_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_queue_fd(queue: *mut el_queue) -> i32 {
    // SAFETY: the caller's promise.
    guard(remember, || Ok(unsafe { known(queue) }?.queue.doorbell.number()))
}

/// Frees the queue, after all of its elections.
///
/// Returns `EL_OK`, also for NULL; then the pointer is dead. Nothing is freed if it returns `EL_BUSY` (elections that use it
/// are not freed, or another thread takes events) or `EL_FORKED` (the child leaks what it has inherited).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_queue_free(queue: *mut el_queue) -> i32 {
    guard_blocking(remember, || {
        if queue.is_null() {
            return Ok(EL_OK);
        }
        // SAFETY: the caller's promise.
        let handle = unsafe { known(queue) }?;
        let left = handle.queue.elections.load(Ordering::Relaxed);
        if left > 0 {
            let detail = format!("{left} elections use the queue; free them first");
            return Err(Error::new(ErrorKind::Busy, detail));
        }
        // Never left again: the queue goes.
        std::mem::forget(enter(handle)?);
        // SAFETY: it came from `Box::into_raw`, and nobody is inside.
        drop(unsafe { Box::from_raw(queue) });
        Ok(EL_OK)
    })
}
