//! The events of an election, as a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

use super::Election;
use crate::error::Error;
use crate::mailbox::{Event, Next};

/// The events of one election, to the last: see [`Election::events`].
#[derive(Debug)]
pub struct Events<'a>(&'a Election);

impl Election {
    /// The events as a stream, which ends after [`Event::Ended`]. An error is [`crate::ErrorKind::Forked`], as in
    /// [`Election::try_next`].
    ///
    /// A task that is polled may be at other work, so the stream says nothing of yours, as [`Election::take`] does not: after a
    /// stop call [`Election::release`] when your work has ended. If you do not, the entry is kept for `stop_timeout_ms`, and
    /// [`Event::Ended`] tells of [`crate::ErrorKind::Overrun`].
    ///
    /// Any executor may poll it. A stream that is dropped loses no event: the next one goes on. Only one task may take the
    /// events of an election at a time.
    ///
    /// # Example
    ///
    /// ```no_run
    /// use etcd_leader::{Election, Event};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn run(election: &Election) -> Result<(), etcd_leader::Error> {
    /// let mut events = election.events();
    /// while let Some(event) = events.try_next().await? {
    ///     match event {
    ///         Event::Elected { token } => println!("leading; guard writes with {token}"),
    ///         Event::Unelected { why } => {
    ///             println!("not leading any more: {why}");
    ///             // The leading work has ended: the next one may lead.
    ///             election.release();
    ///         }
    ///         _ => {}
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn events(&self) -> Events<'_> {
        Events(self)
    }

    /// The next event, once there is one; `None`: nothing any more. It says nothing of the work.
    pub(super) fn poll_event(&self, cx: &Context<'_>) -> Poll<Result<Option<Event>, Error>> {
        // Before the look: what becomes due after it wakes.
        self.shared.wakes(cx.waker());
        match self.take()? {
            Next::Event(event) => Poll::Ready(Ok(Some(event))),
            Next::Ended => Poll::Ready(Ok(None)),
            Next::Nothing => Poll::Pending,
        }
    }
}

impl Stream for Events<'_> {
    type Item = Result<Event, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_event(cx).map(Result::transpose)
    }
}
