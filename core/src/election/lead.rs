//! One term, for as long as a future takes.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::watch;

use super::Election;
use crate::engine::Life;
use crate::error::{Error, ErrorKind};
use crate::mailbox::{Ended, Event};
use crate::member::Revision;
use crate::shared::Shared;

impl Election {
    /// Leads once: waits until we lead, or begins at once if we do; runs the work; stops the election, and gives the entry up
    /// when the work has ended. Gives what the work gave: nobody else has led before it ended. Another term takes another
    /// election.
    ///
    /// The work is told of the end of its term ([`Term::is_lost`], [`Term::lost`]), and should end then; it is not dropped.
    /// After [`Election::stop`] from elsewhere the entry is kept while it ends, for at most `stop_timeout_ms`.
    ///
    /// If the future is dropped, the work is dropped first; then the election is stopped, and the entry goes.
    ///
    /// It needs no runtime of its own: any executor may poll it. It takes the events of the election, so nothing else may take
    /// them meanwhile, nor lead.
    ///
    /// # Errors
    ///
    /// Why the entry was not held until the work had ended: [`ErrorKind::Deadline`], [`ErrorKind::KeyLost`],
    /// [`ErrorKind::LeaseLost`] or [`ErrorKind::StoreReset`]; or [`ErrorKind::Overrun`], if the work took longer than
    /// `stop_timeout_ms` after a stop. [`ErrorKind::Stopped`] if the election was stopped before we led; the reason if it
    /// cannot go on; [`ErrorKind::Forked`]. An error of the work's own is part of what it gives.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use etcd_leader::{Config, Election, Term};
    ///
    /// async fn nightly(term: Term) -> Result<u32, std::io::Error> {
    ///     // Only one of all hosts is in here at a time.
    ///     let mut steps = 0;
    ///     while steps < 3 && !term.is_lost() {
    ///         steps += 1;
    ///         println!("step {steps}: guard its writes with {}", term.token());
    ///     }
    ///     Ok(steps)
    /// }
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let election = Election::start(&Config {
    ///     endpoints: vec!["http://127.0.0.1:2379".into()],
    ///     key: "/jobs/nightly".into(),
    ///     name: "host-1".into(),
    ///     ..Config::default()
    /// })?;
    /// // The first `?` is for an entry that was not held, the second for the work's own errors.
    /// let steps = election.lead(nightly).await??;
    /// println!("{steps} steps, and nobody else led before they were done");
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lead<F, Fut, T>(&self, work: F) -> Result<T, Error>
    where
        F: FnOnce(Term) -> Fut,
        Fut: Future<Output = T>,
    {
        // Declared before the work, and so dropped after it.
        let leaving = Leaving(self);
        let token = poll_fn(|cx| self.poll_elected(cx)).await?;
        let (tell, lost) = watch::channel(None);
        let mut ended = None;
        let value = {
            let term = Term { token, shared: self.shared.clone(), life: self.life.clone(), lost };
            let mut work = pin!(work(term));
            poll_fn(|cx| {
                // The work hears of the end of its term before it goes on.
                while let Poll::Ready(Some(event)) = self.poll_event(cx)? {
                    match event {
                        Event::Unelected { why } => {
                            tell.send_replace(Some(why));
                            // One term is all there is.
                            self.stop();
                        }
                        Event::Ended(how) => ended = Some(how),
                        _ => {}
                    }
                }
                work.as_mut().poll(cx).map(Ok::<T, Error>)
            })
            .await?
        };
        drop(leaving);
        while ended.is_none() {
            match poll_fn(|cx| self.poll_event(cx)).await? {
                Some(Event::Ended(how)) => ended = Some(how),
                Some(_) => {}
                None => {
                    return Err(Error::new(
                        ErrorKind::Busy,
                        "the last event was taken elsewhere, and the verdict with it",
                    ));
                }
            }
        }
        match ended.and_then(|ended| ended.why) {
            None => Ok(value),
            Some(why) => Err(why),
        }
    }

    /// Waits for a term. [`Event::Elected`] may have been taken before.
    fn poll_elected(&self, cx: &Context<'_>) -> Poll<Result<Revision, Error>> {
        loop {
            let before = self.token();
            match self.poll_event(cx)? {
                Poll::Ready(Some(Event::Elected { token })) => return Poll::Ready(Ok(token)),
                // After a stop its reason may be that of a term before this call.
                Poll::Ready(Some(Event::Ended(_))) if self.shared.is_stopped() => return Poll::Ready(Err(stopped())),
                Poll::Ready(Some(Event::Ended(Ended { why, .. }))) => {
                    return Poll::Ready(Err(why.unwrap_or_else(stopped)));
                }
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return Poll::Ready(Err(stopped())),
                // A term with nothing to tell of it was told of before.
                Poll::Pending => match before.filter(|_| before == self.token()) {
                    Some(token) => return Poll::Ready(Ok(token)),
                    None => return Poll::Pending,
                },
            }
        }
    }
}

fn stopped() -> Error {
    Error::new(ErrorKind::Stopped, "the election was stopped before we led")
}

/// Ends an election when the work has ended, and also if it panics or is dropped.
struct Leaving<'a>(&'a Election);

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.stop();
        self.0.release();
    }
}

/// A term, as the work of [`Election::lead`] has it. Clones may go to tasks and threads of the work's own.
#[derive(Clone)]
pub struct Term {
    token: Revision,
    shared: Arc<Shared>,
    life: Arc<Life>,
    lost: watch::Receiver<Option<Error>>,
}

impl Term {
    /// The token: send it along with each write, and let the receiver refuse one that is smaller than the largest it has seen.
    pub fn token(&self) -> Revision {
        self.token
    }

    /// Whether we do not lead any more, because the lead was lost or the election was asked to stop. Reads the clock, as
    /// [`Election::is_leader`] does.
    pub fn is_lost(&self) -> bool {
        !self.life.is_ours() || self.shared.leads().is_none_or(|(token, _)| token != self.token)
    }

    /// Waits until the term is over; gives the reason, [`ErrorKind::Stopped`] after a stop. It may be dropped at any time. It
    /// is told while the future of [`Election::lead`] is polled; [`Term::is_lost`] may say so earlier.
    pub async fn lost(&self) -> Error {
        let mut lost = self.lost.clone();
        let why = lost.wait_for(Option::is_some).await.ok().and_then(|why| why.clone());
        why.unwrap_or_else(|| Error::new(ErrorKind::Stopped, "the work has ended"))
    }
}

impl std::fmt::Debug for Term {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Term").field("token", &self.token).finish_non_exhaustive()
    }
}
