//! What is under way on one link.

use std::future::{Future, pending};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};

use super::calls::Calls;
use super::channel::{self, Channel};
use super::renewals::Renewals;
use super::status;
use super::watches::{News, Watches};
use crate::backend::Inbox;
use crate::backend::tasks::Tasks;
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::{Answer, Failure, Input, LinkId, Op, Reply, RequestId};

pub(super) type Wishes = mpsc::UnboundedReceiver<(RequestId, Op)>;

/// What a link has from its beginning to its end.
pub(super) struct Life {
    pub(super) link: LinkId,
    pub(super) endpoint: Endpoint,
    pub(super) inbox: Inbox,
    pub(super) tasks: Tasks,
}

/// A link that is connected.
struct Live {
    life: Life,
    channel: Channel,
    origin: http::Uri,
    calls: Calls,
    under_way: FuturesUnordered<BoxFuture<'static, (RequestId, Result<Reply, Failure>)>>,
    renewals: Option<Renewals>,
    watches: Option<Watches>,
    /// Whether the opening was answered; before that a broken link is told by that answer.
    opened: bool,
    broken: Option<Failure>,
}

/// Puts an input where the machines find it.
pub(super) fn tell(inbox: &Inbox, input: Input) {
    // Nobody reads any more only when the engine has ended.
    let _ = inbox.send(input);
}

impl Life {
    /// Connects, performs `opening` and then every wish, until the task is ended.
    pub(super) async fn run(self, opening: RequestId, key: Vec<u8>, limit: Duration, mut wishes: Wishes) {
        match self.connect(limit).await {
            Ok((channel, origin, over)) => {
                let calls = Calls::new(self.endpoint.clone(), channel.clone(), origin.clone());
                let mut live = Live {
                    life: self,
                    channel,
                    origin,
                    calls,
                    under_way: FuturesUnordered::new(),
                    renewals: None,
                    watches: None,
                    opened: false,
                    broken: None,
                };
                live.start(opening, Op::Open { endpoint: 0, key });
                live.run(wishes, over).await;
            }
            Err(failure) => {
                self.reply(opening, Err(failure.clone()));
                while let Some((request, op)) = wishes.recv().await {
                    if has_answer(&op) {
                        self.reply(request, Err(failure.clone()));
                    }
                }
            }
        }
    }

    async fn connect(&self, limit: Duration) -> Result<(Channel, http::Uri, oneshot::Receiver<Failure>), Failure> {
        let origin = self.endpoint.to_string().parse::<http::Uri>().map_err(|error| {
            Failure::new(ErrorKind::Invalid, format!("{} cannot be the name of a server: {error}", self.endpoint))
        })?;
        let (channel, connection) = channel::connect(&self.endpoint, limit, self.tasks.clone()).await?;
        let (end, over) = oneshot::channel();
        let endpoint = self.endpoint.clone();
        self.tasks.spawn(async move {
            let failure = match connection.await {
                Ok(()) => status::closed(&endpoint),
                Err(error) => status::failed(&endpoint, &error),
            };
            let _ = end.send(failure);
        });
        Ok((channel, origin, over))
    }

    fn reply(&self, id: RequestId, result: Result<Reply, Failure>) {
        tell(&self.inbox, Input::Reply { id, result });
    }
}

impl Live {
    async fn run(mut self, mut wishes: Wishes, over: oneshot::Receiver<Failure>) {
        let mut over = Some(over);
        loop {
            // The end of the connection comes last: calls and streams know better why it ended.
            tokio::select! {
                biased;
                wish = wishes.recv() => match wish {
                    Some((request, op)) => self.start(request, op),
                    None => return,
                },
                Some((request, result)) = self.under_way.next() => self.finish(request, result),
                heard = or_never(self.renewals.as_mut().map(Renewals::next)) => match heard {
                    Ok((request, reply)) => self.life.reply(request, Ok(reply)),
                    Err(failure) => self.end(failure),
                },
                heard = or_never(self.watches.as_mut().map(Watches::next)) => {
                    match heard {
                        Ok(news) => self.pass_on(news),
                        Err(failure) => self.end(failure),
                    }
                    // Whoever reads the inbox gets a turn for each response: it cannot fill faster than it is read.
                    tokio::task::yield_now().await;
                }
                ended = or_never(over.as_mut()) => {
                    over = None;
                    self.end(ended.unwrap_or_else(|_| status::closed(&self.life.endpoint)));
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
                let (endpoint, channel, origin) = (&self.life.endpoint, &self.channel, &self.origin);
                let open = || Renewals::open(endpoint.clone(), channel.clone(), origin.clone());
                if let Err(failure) = self.renewals.get_or_insert_with(open).renew(request, lease) {
                    self.end(failure);
                }
            }
            Op::Watch { watch, from, to, start } if self.broken.is_none() => {
                let (endpoint, channel, origin) = (&self.life.endpoint, &self.channel, &self.origin);
                let open = || Watches::open(endpoint.clone(), channel.clone(), origin.clone());
                if let Err(failure) = self.watches.get_or_insert_with(open).watch(watch, from, to, start) {
                    self.end(failure);
                }
            }
            Op::Unwatch { watch } => {
                if let Some(Err(failure)) = self.watches.as_mut().map(|watches| watches.unwatch(watch)) {
                    self.end(failure);
                }
            }
            // Close never comes here, and a watch on a broken link was answered by Broken.
            Op::Close | Op::Watch { .. } => {}
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
        for request in self.renewals.take().into_iter().flat_map(Renewals::abandon) {
            self.life.reply(request, Err(failure.clone()));
        }
        self.watches = None;
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
