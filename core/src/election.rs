//! The handle of one election.

mod events;
mod lead;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::{Config, Effective, Endpoint};
use crate::engine::{self, Life};
use crate::error::{Error, ErrorKind};
use crate::mailbox::Next;
use crate::member::{Leader, Revision};
use crate::shared::Shared;

pub use events::Events;
pub use lead::Term;

/// One candidate in one election.
///
/// The election runs on the engine's thread; what happens waits in the handle until [`Election::next`] or
/// [`Election::try_next`] takes it. Taking late costs freshness, never safety: nobody is told [`crate::Event::Elected`] who
/// does not lead at that moment, and [`Election::is_leader`] reads the clock.
///
/// After [`Election::stop`] the entry of a leader is kept while your work ends. It goes when you call
/// [`Election::release`], or call `next` or `try_next` again after the one that gave [`crate::Event::Unelected`], or drop the
/// handle, or when `stop_timeout_ms` has passed before Unelected was taken. If the entry is lost meanwhile, since etcd is
/// out of reach or somebody has deleted the key, [`crate::Event::Ended`] says so: the token guards writes to the last.
///
/// [`Election::lead`] does all of that for one term and one future; [`Election::events`] is a stream of the events.
///
/// # Example
///
/// ```no_run
/// use etcd_leader::{Config, Election, Event, Next};
///
/// # fn main() -> Result<(), etcd_leader::Error> {
/// let election = Election::start(&Config {
///     endpoints: vec!["http://127.0.0.1:2379".into()],
///     key: "/jobs/nightly".into(),
///     name: "host-1".into(),
///     ..Config::default()
/// })?;
/// loop {
///     match election.next(None)? {
///         Next::Event(Event::Elected { token }) => println!("leading; guard writes with {token}"),
///         Next::Event(Event::Unelected { why }) => println!("not leading any more: {why}"),
///         Next::Event(Event::Ended(ended)) if ended.why.is_none() => println!("nobody else led before we had finished"),
///         Next::Event(_) | Next::Nothing => {}
///         Next::Ended => return Ok(()),
///     }
/// }
/// # }
/// ```
pub struct Election {
    shared: Arc<Shared>,
    life: Arc<Life>,
}

impl Election {
    /// Starts to campaign. Returns at once, before any network is touched; the rest is told as events.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if the configuration cannot be used, or its key and that of another election of this
    /// process, not dropped yet, lie one inside the other; [`ErrorKind::Internal`] if the engine's thread cannot be started.
    pub fn start(config: &Config) -> Result<Election, Error> {
        let (shared, life) = engine::start(config)?;
        Ok(Election { shared, life })
    }

    /// Says what [`Election::start`] would refuse in this configuration itself, and gives the settings that would take effect.
    /// Reads the files that it names; starts nothing and touches no network.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`], with the field, the value and the remedy.
    pub fn check(config: &Config) -> Result<Effective, Error> {
        engine::check(config).map(|settings| settings.effective())
    }

    /// The next event if there is one now. Any thread may call it, one at a time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Forked`] in a child of the process that started the election.
    pub fn try_next(&self) -> Result<Next, Error> {
        self.check_fork()?;
        Ok(self.shared.take())
    }

    /// As [`Election::try_next`], but says nothing of your work. After a stop the entry is kept until [`Election::release`], for at
    /// most `stop_timeout_ms`. For those whose work ends elsewhere, and for those who serve many elections on one thread.
    ///
    /// # Errors
    ///
    /// As [`Election::try_next`].
    pub fn take(&self) -> Result<Next, Error> {
        self.check_fork()?;
        Ok(self.shared.take_on())
    }

    /// After a stop: keeps the entry until [`Election::release`], however long your work takes. Before a stop, and where
    /// `stop_timeout_ms` is over, it does nothing.
    pub fn hold(&self) {
        if self.life.is_ours() {
            self.shared.hold();
        }
    }

    /// Says that your leading work has ended: after a stop the entry goes. Before a stop it does nothing. Any thread may call it.
    pub fn release(&self) {
        if self.life.is_ours() {
            self.shared.release();
        }
    }

    /// Waits for the next event, for at most `timeout` if one is given. [`Next::Nothing`]: there was none in time.
    ///
    /// # Errors
    ///
    /// As [`Election::try_next`].
    pub fn next(&self, timeout: Option<Duration>) -> Result<Next, Error> {
        let give_up = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let next = self.try_next()?;
            let left = give_up.map(|at| at.saturating_duration_since(Instant::now()));
            if next != Next::Nothing || left == Some(Duration::ZERO) {
                return Ok(next);
            }
            let mailbox = self.shared.mailbox();
            if !mailbox.is_due(crate::clock::now()) {
                drop(self.shared.wait(mailbox, left.unwrap_or(Duration::from_secs(3600))));
            }
        }
    }

    /// Whether [`Election::try_next`] has something to tell: an event, or the end. After a stop it is not true while the
    /// leading work ends; the next call then says that it has.
    pub fn is_due(&self) -> bool {
        self.life.is_ours() && self.shared.mailbox().is_due(crate::clock::now())
    }

    /// Calls `then` with [`Election::is_due`], while nothing can become due.
    pub fn when_due(&self, then: impl FnOnce(bool)) {
        if self.life.is_ours() {
            let mailbox = self.shared.mailbox();
            then(mailbox.is_due(crate::clock::now()));
        }
    }

    /// Calls `hook` whenever [`Election::is_due`] may have become true. It runs on the engine's thread: it must be
    /// short, and must not call back into the election.
    pub fn on_due(&self, hook: impl Fn() + Send + Sync + 'static) {
        if self.life.is_ours() {
            self.shared.set_hook(Arc::new(hook));
        }
    }

    /// Asks for the end of the election. From its return on [`Election::is_leader`] is false on every thread. It never
    /// blocks, may be repeated, and may be called from any thread and from a signal handler.
    pub fn stop(&self) {
        if self.life.is_ours() {
            self.shared.stop();
        }
    }

    /// Ends the election and waits for nothing, not even when the handle is dropped. It is itself the word that the
    /// leading work has ended: nothing is told any more, and the place is given up.
    pub fn close(&self) {
        if self.life.is_ours() {
            self.shared.close();
        }
    }

    /// After [`Election::close`]: waits until etcd has confirmed the end, for at most `timeout`; whether it has.
    pub fn wait_closed(&self, timeout: Duration) -> bool {
        if !self.life.is_ours() {
            return false;
        }
        let begun = Instant::now();
        let mut mailbox = self.shared.mailbox();
        while !mailbox.is_ended() {
            let left = timeout.saturating_sub(begun.elapsed());
            if left.is_zero() {
                break;
            }
            mailbox = self.shared.wait(mailbox, left);
        }
        mailbox.has_released()
    }

    /// After the end: whether our key is known to be gone.
    pub fn has_released(&self) -> bool {
        self.life.is_ours() && self.shared.mailbox().has_released()
    }

    /// Whether we lead at this moment. Takes no lock and no system call; reads the clock, so that a process which was
    /// stopped or asleep hears the truth from its first call on. Once a term is over it is false until the call after the
    /// one that gave [`crate::Event::Unelected`], even if we lead again by then.
    pub fn is_leader(&self) -> bool {
        self.token().is_some()
    }

    /// The token of our term, if we lead at this moment. Compare it with the one of [`crate::Event::Elected`] to ask "still in
    /// that term?".
    pub fn token(&self) -> Option<Revision> {
        self.term().map(|(token, _)| token)
    }

    /// For how long leading is certain from now on; zero if we do not lead.
    pub fn time_left(&self) -> Duration {
        self.term().map_or(Duration::ZERO, |(_, left)| left)
    }

    fn term(&self) -> Option<(Revision, Duration)> {
        if self.life.is_ours() { self.shared.leads() } else { None }
    }

    /// Who leads, as far as is known: ourselves while we do.
    pub fn leader(&self) -> Option<Leader> {
        if self.life.is_ours() { self.shared.mailbox().leader(crate::clock::now()) } else { None }
    }

    /// The settings that took effect, and the ttl that etcd has granted.
    pub fn settings(&self) -> Effective {
        let mut settings = self.shared.settings.effective();
        settings.granted_ttl = self.shared.granted();
        settings
    }

    /// The configured endpoint that a [`crate::machine::Trouble`] names.
    pub fn endpoint(&self, at: usize) -> Option<&Endpoint> {
        self.shared.settings.session.endpoints.get(at)
    }

    /// Whether this is a fork's child, in which the election does not run.
    pub fn has_forked(&self) -> bool {
        !self.life.is_ours()
    }

    fn check_fork(&self) -> Result<(), Error> {
        if self.life.is_ours() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Forked, "this election runs in the parent process; start a new one in the child"))
    }
}

impl Drop for Election {
    /// Gives the place up and waits until etcd has confirmed that, for at most `stop_timeout_ms`, counted from the end of your
    /// own work if a stop came before; after [`Election::close`] it does not wait. The last election waits also for the end of
    /// the engine, at most a second longer.
    fn drop(&mut self) {
        if !self.life.is_ours() {
            // What was inherited belongs to the parent: its memory stays, its descriptors are not touched.
            std::mem::forget((self.shared.clone(), self.life.clone()));
            return;
        }
        let stop_timeout = self.shared.settings.stop_timeout;
        let released_at = self.shared.mailbox().released_at();
        let waits_for_nothing = self.shared.is_closed();
        let patience = match released_at {
            _ if waits_for_nothing => Duration::ZERO,
            Some(at) => (at + stop_timeout).since(crate::clock::now()),
            None => stop_timeout,
        };
        let give_up = Instant::now() + patience;
        self.close();
        let has_released = self.wait_closed(patience);
        let left = give_up.saturating_duration_since(Instant::now());
        // The engine retires only now, and nothing of ours keeps it: wait for its thread even if the time is over.
        let left = if has_released && !waits_for_nothing { left.max(engine::RETIREMENT) } else { left };
        engine::leave(&self.life, &self.shared.settings, left);
    }
}

impl std::fmt::Debug for Election {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let settings = &self.shared.settings;
        out.debug_struct("Election").field("key", &settings.key).field("name", &settings.name).finish_non_exhaustive()
    }
}
