//! The streams of a link, and what waits until they have a new token.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::auth::{Auth, Token};
use super::channel::Channel;
use super::renewals::{End, Renewal, Renewals};
use super::watches::{News, Wanted, Watches};
use crate::config::Endpoint;
use crate::machine::{Failure, Reply, RequestId, WatchId, WatchNews};

/// A stream that was opened with a former token goes on while something is watched on it. With tokens that live
/// shorter than watches there would be ever more of them: beyond this number the oldest is given up.
const MAX_WATCH_STREAMS: usize = 4;

/// See the module.
pub(super) struct Streams {
    endpoint: Endpoint,
    auth: Auth,
    channel: Channel,
    origin: http::Uri,
    renewals: Option<Renewals>,
    /// New watches go to the last.
    watches: Vec<Watches>,
    /// A new token is on its way, and these wait for it.
    pass: Option<BoxFuture<'static, Result<bool, Failure>>>,
    held_renewals: VecDeque<Renewal>,
    held_watches: VecDeque<Wanted>,
}

/// What was heard on a stream.
pub(super) enum Said {
    Renewed(RequestId, Reply),
    /// These keepalives are denied.
    Denied(Vec<RequestId>, Failure),
    News(News),
}

impl Streams {
    pub(super) fn new(endpoint: Endpoint, auth: Auth, channel: Channel, origin: http::Uri) -> Streams {
        Streams {
            endpoint,
            auth,
            channel,
            origin,
            renewals: None,
            watches: Vec::new(),
            pass: None,
            held_renewals: VecDeque::new(),
            held_watches: VecDeque::new(),
        }
    }

    /// Asks to renew a lease. On failure the streams are of no more use; so with the next two.
    pub(super) fn renew(&mut self, renewal: Renewal) -> Result<(), Failure> {
        if self.pass.is_some() {
            self.held_renewals.push_back(renewal);
            return Ok(());
        }
        let (endpoint, auth, channel, origin) = (&self.endpoint, &self.auth, &self.channel, &self.origin);
        let open = || Renewals::open(endpoint.clone(), auth.clone(), channel.clone(), origin.clone());
        self.renewals.get_or_insert_with(open).renew(renewal)
    }

    /// Asks for a watch. Gives what is to be told of others that had to end for it.
    pub(super) fn watch(&mut self, wanted: Wanted) -> Result<News, Failure> {
        let mut news = News::new();
        if self.pass.is_some() {
            self.held_watches.push_back(wanted);
            return Ok(news);
        }
        let token = self.auth.token();
        if self.watches.last().is_none_or(|last| !Token::is_same(last.token(), token.as_ref())) {
            self.tidy();
            if self.watches.len() >= MAX_WATCH_STREAMS {
                let (unanswered, ended) = self.watches.remove(0).abandon("its token is too old");
                news.extend(ended);
                self.held_watches.extend(unanswered);
            }
            let (endpoint, auth) = (self.endpoint.clone(), self.auth.clone());
            self.watches.push(Watches::open(endpoint, auth, self.channel.clone(), self.origin.clone()));
        }
        if let Some(last) = self.watches.last_mut() {
            for wanted in self.held_watches.drain(..).chain([wanted]) {
                last.watch(wanted)?;
            }
        }
        Ok(news)
    }

    /// Ends a watch: nothing more is told of it.
    pub(super) fn unwatch(&mut self, watch: WatchId) -> Result<(), Failure> {
        self.held_watches.retain(|held| held.watch != watch);
        self.watches.iter_mut().try_for_each(|stream| stream.unwatch(watch))?;
        self.tidy();
        Ok(())
    }

    /// Waits for the next that is said; a failure is the end of the streams. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<Said, Failure> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Gives the streams up; what is left of the keepalives will not be answered.
    pub(super) fn abandon(&mut self) -> Vec<RequestId> {
        (self.pass, self.watches) = (None, Vec::new());
        self.held_watches.clear();
        let waiting = self.renewals.take().into_iter().flat_map(Renewals::abandon);
        waiting.chain(self.held_renewals.drain(..)).map(|renewal| renewal.request).collect()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Said, Failure>> {
        if let Some(Poll::Ready(result)) = self.pass.as_mut().map(|pass| pass.poll_unpin(cx)) {
            self.pass = None;
            let news = result.and_then(|is_own| self.go_on(is_own))?;
            if !news.is_empty() {
                return Poll::Ready(Ok(Said::News(news)));
            }
        }
        if let Some(Poll::Ready(heard)) = self.renewals.as_mut().map(|renewals| renewals.poll_next(cx)) {
            match heard {
                Ok((request, reply)) => return Poll::Ready(Ok(Said::Renewed(request, reply))),
                Err(End::Broken(failure)) => return Poll::Ready(Err(failure)),
                Err(End::Denied(failure)) => {
                    // The next keepalive opens another stream.
                    let denied = self.renewals.take().into_iter().flat_map(Renewals::abandon);
                    return Poll::Ready(Ok(Said::Denied(denied.map(|renewal| renewal.request).collect(), failure)));
                }
                Err(End::Token(failure)) => {
                    self.hold_renewals(failure)?;
                    // The new token is asked for when this task runs next.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
        for at in 0..self.watches.len() {
            let Poll::Ready(heard) = self.watches[at].poll_next(cx) else { continue };
            return Poll::Ready(match heard {
                Ok(heard) => {
                    if let Some(wanted) = heard.refused {
                        let refused = self.watches[at].token().cloned();
                        self.held_watches.push_back(wanted);
                        self.ask_for_token(refused);
                    }
                    Ok(Said::News(heard.news))
                }
                Err(End::Broken(failure) | End::Denied(failure)) => Err(failure),
                Err(End::Token(failure)) => Ok(Said::News(self.hold_watches(at, &failure))),
            });
        }
        Poll::Pending
    }

    fn hold_renewals(&mut self, failure: Failure) -> Result<(), Failure> {
        let Some(renewals) = self.renewals.take() else { return Ok(()) };
        let refused = renewals.token().cloned();
        let waiting: Vec<Renewal> = renewals.abandon().collect();
        let is_hopeless = !waiting.iter().all(|renewal| self.auth.may_try(renewal.tries));
        self.held_renewals.extend(waiting);
        if is_hopeless {
            return Err(failure);
        }
        self.ask_for_token(refused);
        Ok(())
    }

    fn hold_watches(&mut self, at: usize, failure: &Failure) -> News {
        let stream = self.watches.remove(at);
        let refused = stream.token().cloned();
        let (unanswered, mut news) = stream.abandon(&failure.detail);
        for wanted in unanswered {
            if self.auth.may_try(wanted.tries) {
                self.held_watches.push_back(wanted);
            } else {
                news.push((wanted.watch, WatchNews::Canceled { reason: failure.detail.clone() }));
            }
        }
        self.ask_for_token(refused);
        news
    }

    fn ask_for_token(&mut self, refused: Option<Token>) {
        let auth = self.auth.clone();
        self.pass.get_or_insert_with(|| Box::pin(async move { auth.renew(refused).await.map(|(_, is_own)| is_own) }));
    }

    /// There is a new token: what waited for it is asked for again.
    fn go_on(&mut self, is_own: bool) -> Result<News, Failure> {
        self.held_renewals.iter_mut().for_each(|renewal| renewal.tries = renewal.tries.with(is_own));
        self.held_watches.iter_mut().for_each(|wanted| wanted.tries = wanted.tries.with(is_own));
        while let Some(renewal) = self.held_renewals.pop_front() {
            self.renew(renewal)?;
        }
        match self.held_watches.pop_front() {
            Some(wanted) => self.watch(wanted),
            None => Ok(News::new()),
        }
    }

    /// Streams of former tokens end with the last that is watched on them.
    fn tidy(&mut self) {
        let last = self.watches.len().saturating_sub(1);
        let mut at = 0;
        self.watches.retain(|stream| {
            at += 1;
            at > last || !stream.is_idle()
        });
    }
}
