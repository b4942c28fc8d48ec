//! What is under way on one link.

use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;

use super::auth::{Auth, Tokens, Tries};
use super::calls::Calls;
use super::channel::{self, Channel};
use super::renewals::Renewal;
use super::status;
use super::streams::{Said, Streams};
use super::watches::{News, Wanted};
use crate::backend::dial;
use crate::backend::links::{Requests, tell};
use crate::backend::resolve::Resolver;
use crate::backend::tasks::Tasks;
use crate::backend::{Inbox, tls};
use crate::config::{Endpoint, Login};
use crate::error::ErrorKind;
use crate::machine::{Answer, Failure, Input, LinkId, Op, Reply, RequestId, Step};

/// What a link has from its beginning to its end.
pub(super) struct Life {
    pub(super) link: LinkId,
    pub(super) endpoint: Endpoint,
    pub(super) tls: tls::Client,
    pub(super) login: Option<Login>,
    pub(super) tokens: Arc<Tokens>,
    /// For how long a login of the opening may wait.
    pub(super) patience: Duration,
    /// How long an attempt of the session takes.
    pub(super) attempt: Duration,
    pub(super) resolver: Resolver,
    pub(super) has_met: Arc<AtomicBool>,
    pub(super) inbox: Inbox,
    pub(super) tasks: Tasks,
}

/// A link that is connected.
struct Live {
    life: Life,
    calls: Calls,
    under_way: FuturesUnordered<BoxFuture<'static, (RequestId, Result<Reply, Failure>)>>,
    streams: Streams,
    /// Whether the opening was answered; before that a broken link is told by that answer.
    opened: bool,
    broken: Option<Failure>,
}

impl Life {
    /// Connects, performs `opening` and then every request, until the task is ended.
    pub(super) async fn run(self, opening: RequestId, key: Vec<u8>, mut requests: Requests) {
        match self.connect().await {
            Ok((channel, origin, over)) => {
                let (endpoint, way) = (self.endpoint.clone(), (channel.clone(), origin.clone()));
                let auth =
                    Auth::new(endpoint.clone(), self.login.clone(), self.tls.has_identity(), self.tokens.clone(), way)
                        .with_patience(self.patience, self.attempt);
                let calls =
                    Calls::new(endpoint.clone(), auth.clone(), channel.clone(), origin.clone(), self.has_met.clone());
                let mut live = Live {
                    life: self,
                    calls,
                    under_way: FuturesUnordered::new(),
                    streams: Streams::new(endpoint, auth, channel, origin),
                    opened: false,
                    broken: None,
                };
                live.life.at(Step::Reading);
                live.start(opening, Op::Open { endpoint: 0, key, patience: Duration::ZERO, is_proof: true });
                live.run(requests, over).await;
            }
            Err(failure) => {
                self.reply(opening, Err(failure.clone()));
                while let Some((request, op)) = requests.recv().await {
                    if has_answer(&op) {
                        self.reply(request, Err(failure.clone()));
                    }
                }
            }
        }
    }

    async fn connect(&self) -> Result<(Channel, http::Uri, oneshot::Receiver<Failure>), Failure> {
        let origin = self.endpoint.base_url().parse::<http::Uri>().map_err(|error| {
            Failure::new(ErrorKind::Invalid, format!("{} cannot be the name of a server: {error}", self.endpoint))
        })?;
        let (channel, connection) =
            channel::connect(&self.endpoint, &self.tls, &self.resolver, self.tasks.clone(), |step| self.at(step))
                .await?;
        let (end, over) = oneshot::channel();
        let (endpoint, login, broken) = (self.endpoint.clone(), self.login.clone(), channel.clone());
        self.tasks.spawn(async move {
            let failure = match connection.await {
                Ok(()) => status::closed(&endpoint),
                Err(error) => status::failed(&endpoint, login.as_ref(), &error),
            };
            let _ = end.send(broken.cause().unwrap_or(failure));
        });
        Ok((channel, origin, over))
    }

    /// How far the opening is.
    fn at(&self, step: Step) {
        tell(&self.inbox, Input::Opening { link: self.link, step });
    }

    fn reply(&self, id: RequestId, result: Result<Reply, Failure>) {
        tell(&self.inbox, Input::Reply { id, result });
    }
}

impl Live {
    async fn run(mut self, mut requests: Requests, over: oneshot::Receiver<Failure>) {
        let mut over = Some(over);
        loop {
            // The end of the connection comes last: calls and streams know better why it ended.
            tokio::select! {
                biased;
                request = requests.recv() => match request {
                    Some((request, op)) => self.start(request, op),
                    None => return,
                },
                Some((request, result)) = self.under_way.next() => self.finish(request, result),
                said = self.streams.next() => match said {
                    Ok(Said::Renewed(request, reply)) => self.life.reply(request, Ok(reply)),
                    Ok(Said::Denied(requests, failure)) => {
                        requests.into_iter().for_each(|request| self.life.reply(request, Err(failure.clone())));
                    }
                    Ok(Said::News(news)) => {
                        self.pass_on(news);
                        // Whoever reads the inbox gets a turn for each response: it cannot fill faster than it is read.
                        tokio::task::yield_now().await;
                    }
                    Err(failure) => self.end(failure),
                },
                ended = or_never(over.as_mut()) => {
                    over = None;
                    let failure = ended.unwrap_or_else(|_| status::closed(&self.life.endpoint));
                    // A server may say why it closes a connection.
                    self.end(self.calls.auth().without_token(failure));
                }
            }
        }
    }

    fn start(&mut self, request: RequestId, op: Op) {
        match op {
            Op::Renew { lease } => {
                if let Some(broken) = &self.broken {
                    return self.life.reply(request, Err(broken.clone()));
                }
                if let Err(failure) = self.streams.renew(Renewal { request, lease, tries: Tries::default() }) {
                    self.end(failure);
                }
            }
            Op::Watch { watch, range } if self.broken.is_none() => {
                match self.streams.watch(Wanted { watch, range, tries: Tries::default() }) {
                    Ok(news) => self.pass_on(news),
                    Err(failure) => self.end(failure),
                }
            }
            Op::Unwatch { watch } => {
                if let Err(failure) = self.streams.unwatch(watch) {
                    self.end(failure);
                }
            }
            // Close never comes here, and a watch on a broken link was answered by Broken.
            Op::Close | Op::Watch { .. } => {}
            opening @ Op::Open { .. } => {
                let (calls, endpoint, resolver) =
                    (self.calls.clone(), self.life.endpoint.clone(), self.life.resolver.clone());
                self.under_way.push(Box::pin(async move {
                    match calls.perform(opening).await {
                        Err(failure) => (request, Err(dial::explained(failure, &endpoint, &resolver).await)),
                        opened => (request, opened),
                    }
                }));
            }
            call => {
                let calls = self.calls.clone();
                self.under_way.push(Box::pin(async move { (request, calls.perform(call).await) }));
            }
        }
    }

    fn finish(&mut self, request: RequestId, result: Result<Reply, Failure>) {
        let opened = matches!(&result, Ok(Reply { answer: Answer::Opened, .. }));
        self.life.reply(request, result);
        if opened {
            self.opened = true;
            if let Some(failure) = self.broken.clone() {
                self.tell_broken(failure);
            }
        }
    }

    fn pass_on(&self, news: News) {
        for (watch, news) in news {
            tell(&self.life.inbox, Input::Watch { link: self.life.link, watch, news });
        }
    }

    /// Gives up the streams, for good. Calls still have their answers to come.
    fn end(&mut self, failure: Failure) {
        for request in self.streams.abandon() {
            self.life.reply(request, Err(failure.clone()));
        }
        if self.broken.is_none() {
            self.broken = Some(failure.clone());
            if self.opened {
                self.tell_broken(failure);
            }
        }
    }

    fn tell_broken(&self, failure: Failure) {
        tell(&self.life.inbox, Input::Broken { link: self.life.link, failure });
    }
}

async fn or_never<F: Future>(next: Option<F>) -> F::Output {
    match next {
        Some(next) => next.await,
        None => pending().await,
    }
}

fn has_answer(op: &Op) -> bool {
    !matches!(op, Op::Close | Op::Watch { .. } | Op::Unwatch { .. })
}
