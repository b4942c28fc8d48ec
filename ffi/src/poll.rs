//! Taking the events of one election: pulled by `el_next`, or pushed by `el_poll`, which is a loop over it.

use std::ffi::c_void;
use std::sync::PoisonError;
use std::time::Instant;

use etcd_leader::{Error, ErrorKind, Next};

use crate::border::{guard, guard_blocking, refuse, remember};
use crate::doorbell::until;
use crate::election::{Handle, known};
use crate::event::{Told, el_event};
use crate::handle::el_election;
use crate::place::Place;
use crate::thread::{Entered, Uncancelled};

impl Handle {
    /// The next event that this header has a name for. To come here says that the work after the one before has ended.
    fn take(&self) -> Result<Option<Told>, Error> {
        let taken = loop {
            match self.election.try_next() {
                Ok(Next::Event(event)) => match Told::new(&event, &self.election) {
                    // An event of a later core: not for this header.
                    None => {}
                    told => break Ok(told),
                },
                Ok(Next::Nothing) => break Ok(None),
                Ok(Next::Ended) => break Err(Error::new(ErrorKind::Stopped, "the election has ended")),
                Err(error) => break Err(error),
            }
        };
        self.set_doorbell();
        taken
    }

    /// The same, and waits for it. `None`: none in time, or a signal was caught.
    fn next(&self, until: Option<Instant>) -> Result<Option<Told>, Error> {
        loop {
            let told = self.take()?;
            if told.is_some() || until.is_some_and(|until| until <= Instant::now()) {
                return Ok(told);
            }
            if !self.doorbell()?.wait(until)? {
                return Ok(None);
            }
        }
    }
}

/// Takes the next event into `*event`, and waits for at most `timeout_ms` milliseconds if there is none: 0 does not wait, -1
/// waits for ever. `event_size` is `sizeof(el_event)`: by it the library knows how many fields the caller was compiled
/// with. The texts live until the next call with this election, or `el_free`.
///
/// Returns 1: there is an event. 0: none in time, or a signal was caught. `EL_STOPPED` after `EL_EVENT_ENDED`, and from then
/// on for ever. `EL_BUSY` inside this election's callback, or while another thread takes its events; `EL_FORKED`;
/// `EL_INVALID`, also for an election with a queue; `EL_INTERNAL`.
///
/// Calling it AGAIN after `EL_EVENT_UNELECTED` says "I have ended the leading work": after `el_stop` our entry goes then.
/// Taking late costs freshness, never safety: nobody gets `EL_EVENT_ELECTED` who does not lead at that moment.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_next(
    election: *mut el_election,
    timeout_ms: i32,
    event: *mut el_event,
    event_size: usize,
) -> i32 {
    guard_blocking(remember, || {
        // SAFETY: the caller's promise.
        let handle = unsafe { known(election) }?;
        handle.check_fork()?;
        // SAFETY: the place is as large as the caller says.
        let place = unsafe { Place::new("event", "el_event", event, event_size) }?;
        let until = until(timeout_ms)?;
        handle.check_no_queue()?;
        let _entered = handle.enter()?;
        let Some(told) = handle.next(until)? else { return Ok(0) };
        place.fill(told.as_c(election));
        *handle.given.lock().unwrap_or_else(PoisonError::into_inner) = told;
        Ok(1)
    })
}

/// One call of `el_poll`.
struct Poll<'a> {
    election: &'a Handle,
    on_event: unsafe extern "C-unwind" fn(*const el_event, *mut c_void),
    until: Option<Instant>,
    /// How many events were told in it.
    told: i32,
    /// The caller was told to end the leading work, and says by its next call that it has.
    awaits_work: bool,
    _entered: Entered<'a>,
}

impl Poll<'_> {
    /// The first event is waited for; after it comes what is due.
    fn next(&mut self) -> Result<Option<Told>, Error> {
        let told = match self.told {
            0 => self.election.next(self.until)?,
            _ if self.awaits_work => None,
            // The next call says that it has ended.
            _ => self
                .election
                .take()
                .or_else(|error| if error.kind() == ErrorKind::Stopped { Ok(None) } else { Err(error) })?,
        };
        self.told += i32::from(told.is_some());
        self.awaits_work = told.as_ref().is_some_and(Told::is_end_by_stop);
        Ok(told)
    }

    fn tell(&self, told: &Told) {
        let event = told.as_c(self.election.as_c());
        // SAFETY: the function and its data are the caller's, who vouches for them; the event outlives the call.
        unsafe { (self.on_event)(&raw const event, self.election.user_data) }
    }
}

/// Delivers the events that are due by calling `on_event` on this thread, and waits for at most `timeout_ms`
/// milliseconds if there is none: 0 does not wait, -1 waits for ever. It is a loop over `el_next`.
///
/// Returns how many events were delivered. 0: none in time, or a signal was caught. `EL_STOPPED` after `EL_EVENT_ENDED`
/// was delivered, and from then on for ever. `EL_BUSY` inside this election's callback, or while another thread takes its
/// events; `EL_FORKED`; `EL_INVALID`, also for an election without `on_event`; `EL_INTERNAL`.
///
/// After `el_stop` a leader is told `EL_EVENT_UNELECTED` and the call returns right then; calling it AGAIN says "I have
/// ended the leading work", and our entry goes. So loop until `EL_STOPPED`. Polling late costs freshness, never
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
            let until = until(timeout_ms)?;
            election.check_no_queue()?;
            let Some(on_event) = election.on_event else {
                return refuse("on_event is NULL, so el_poll has nothing to call; take events with el_next".into());
            };
            let _entered = election.enter()?;
            Ok(Ok(Poll { election, on_event, until, told: 0, awaits_work: false, _entered }))
        },
    );
    let mut poll = match begun {
        Ok(poll) => poll,
        Err(status) => return status,
    };
    loop {
        match guard(|error| Err(remember(error)), || poll.next().map(Ok)) {
            // Not inside `guard`: a callback that ends its thread (pthread_exit) unwinds through here, and is not to be caught.
            Ok(Some(told)) => poll.tell(&told),
            Ok(None) => return poll.told,
            Err(status) => return status,
        }
    }
}
