//! The one watch stream of a link, shared by all its watches.
//!
//! The ids are ours: etcd takes them since 3.4. A watch that could not be made is answered with the id -1; as etcd
//! answers creations in their order, it is the oldest that waits.

use std::collections::{HashSet, VecDeque};
use std::task::{Context, Poll, ready};

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tonic::Status;

use super::auth::{Auth, Token, Tries};
use super::channel::Channel;
use super::proto::watch_client::WatchClient;
use super::proto::watch_create_request::FilterType;
use super::proto::watch_request::RequestUnion;
use super::proto::{WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use super::renewals::{End, led};
use super::{status, words};
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::{Failure, WatchId, WatchNews, Watched};

/// Requests that wait to be sent. Enough for every election of a process to watch anew at once.
const MAX_QUEUED: usize = 1 << 16;
/// Far above what the narrow ranges of an election give; a response holds at most a thousand revisions.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// What etcd calls a watch that could not be made.
const NO_WATCH: i64 = -1;

pub(super) struct Watches {
    endpoint: Endpoint,
    auth: Auth,
    /// What the stream was opened with.
    token: Option<Token>,
    requests: mpsc::Sender<WatchRequest>,
    responses: BoxStream<'static, Result<WatchResponse, Status>>,
    /// Those that were asked for and are not over.
    wanted: HashSet<WatchId>,
    /// Those that etcd has not said anything of, in the order in which they were asked for.
    unanswered: VecDeque<Wanted>,
}

/// A watch that was asked for.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) watch: WatchId,
    pub(super) range: Watched,
    pub(super) tries: Tries,
}

/// News in the order in which they are to be told.
pub(super) type News = Vec<(WatchId, WatchNews)>;

/// What a response says.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) news: News,
    /// A watch that was refused for the stream's token and never began. Nothing was told of it, so made anew from the
    /// same start it misses nothing.
    pub(super) refused: Option<Wanted>,
}

impl Watches {
    pub(super) fn open(endpoint: Endpoint, auth: Auth, channel: Channel, origin: http::Uri) -> Watches {
        let (requests, mut outgoing) = mpsc::channel(MAX_QUEUED);
        let mut client = WatchClient::with_origin(channel, origin).max_decoding_message_size(MAX_RESPONSE_BYTES);
        let token = auth.token();
        let request = led(stream::poll_fn(move |cx| outgoing.poll_recv(cx)), token.as_ref());
        // etcd sends the head of its answer with the first response, so opening is a part of reading.
        let opening = async move { client.watch(request).await.map(tonic::Response::into_inner) };
        let responses = stream::once(opening).try_flatten().boxed();
        let (wanted, unanswered) = (HashSet::new(), VecDeque::new());
        Watches { endpoint, auth, token, requests, responses, wanted, unanswered }
    }

    /// Asks for a watch. On failure the stream is of no more use.
    pub(super) fn watch(&mut self, wanted: Wanted) -> Result<(), Failure> {
        let Some(watch_id) = i64::try_from(wanted.watch.0).ok().filter(|id| *id > 0) else {
            return Err(Failure::new(ErrorKind::Internal, format!("{} cannot be the id of a watch", wanted.watch.0)));
        };
        let Watched { from, to, start, puts_only } = wanted.range.clone();
        let request = WatchCreateRequest {
            key: from,
            range_end: to,
            // 0 stands for the next revision that the server applies.
            start_revision: words::number(start.unwrap_or(0)),
            filters: puts_only.then(|| FilterType::Nodelete.into()).into_iter().collect(),
            watch_id,
        };
        self.wanted.insert(wanted.watch);
        self.unanswered.push_back(wanted);
        self.send(RequestUnion::CreateRequest(request))
    }

    /// The token that the stream was opened with.
    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Whether nothing is watched on it any more.
    pub(super) fn is_idle(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Gives the stream up: those watches that were never answered, and what is to be told of the others. What these
    /// missed nobody knows.
    pub(super) fn abandon(self, reason: &str) -> (impl Iterator<Item = Wanted>, News) {
        let Watches { unanswered, wanted, .. } = self;
        let is_live = |watch: &WatchId| !unanswered.iter().any(|other| other.watch == *watch);
        let canceled = |watch: &WatchId| (*watch, WatchNews::Canceled { reason: reason.to_string() });
        let news = wanted.iter().filter(|watch| is_live(watch)).map(canceled).collect();
        (unanswered.into_iter().filter(move |unanswered| wanted.contains(&unanswered.watch)), news)
    }

    /// Ends a watch: nothing more is told of it.
    pub(super) fn unwatch(&mut self, watch: WatchId) -> Result<(), Failure> {
        if !self.wanted.remove(&watch) {
            return Ok(());
        }
        self.send(RequestUnion::CancelRequest(WatchCancelRequest { watch_id: watch.0.cast_signed() }))
    }

    fn send(&self, request: RequestUnion) -> Result<(), Failure> {
        let request = WatchRequest { request_union: Some(request) };
        self.requests.try_send(request).map_err(|_| status::stuck(&self.endpoint))
    }

    /// Waits for the next response; a failure is the end of the stream.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, End>> {
        Poll::Ready(match ready!(self.responses.poll_next_unpin(cx)) {
            Some(Ok(response)) => self.read(response).map_err(End::Broken),
            Some(Err(refusal)) => Err(End::of(&self.auth, &refusal)),
            None => Err(End::Broken(status::ended(&self.endpoint, "watch"))),
        })
    }

    fn read(&mut self, response: WatchResponse) -> Result<Heard, Failure> {
        let garbled = |what| status::garbled(&self.endpoint, what);
        let revision = words::stamp(response.header).map_err(garbled)?.revision;
        let changes = response.events.into_iter().map(words::change).collect::<Result<Vec<_>, _>>().map_err(garbled)?;
        let canceled = response.canceled || response.compact_revision != 0;
        let (watch, answered) = self.identify(response.watch_id, response.created, canceled)?;

        let mut news = Vec::new();
        if !self.wanted.contains(&watch) {
            return Ok(Heard::default());
        }
        let refused = answered.filter(|wanted| canceled && self.may_be_repeated(wanted, &response.cancel_reason));
        if refused.is_some() {
            self.wanted.remove(&watch);
            return Ok(Heard { news, refused });
        }
        if response.created && !canceled {
            news.push((watch, WatchNews::Created { revision }));
        }
        if !changes.is_empty() {
            news.push((watch, WatchNews::Changes { changes }));
        }
        if canceled {
            self.wanted.remove(&watch);
            news.push((
                watch,
                WatchNews::Canceled { reason: self.reason(response.cancel_reason, response.compact_revision) },
            ));
        }
        Ok(Heard { news, refused: None })
    }

    /// etcd before 3.4.22 and 3.5.6 says "permission denied" when it means the token.
    fn may_be_repeated(&self, wanted: &Wanted, reason: &str) -> bool {
        let may_mean_token = wanted.tries.is_first() && reason.contains("permission denied");
        self.auth.may_try(wanted.tries) && (status::says_token(reason) || may_mean_token)
    }

    /// Which of our watches a response is about, and what was asked if this is the answer.
    fn identify(&mut self, id: i64, created: bool, canceled: bool) -> Result<(WatchId, Option<Wanted>), Failure> {
        let watch = match u64::try_from(id) {
            Ok(id) => WatchId(id),
            Err(_) => match self.unanswered.front() {
                Some(oldest) if id == NO_WATCH && canceled => oldest.watch,
                _ => return Err(status::garbled(&self.endpoint, format_args!("news of a watch {id}"))),
            },
        };
        if created || canceled {
            match self.unanswered.iter().position(|unanswered| unanswered.watch == watch) {
                Some(at) => return Ok((watch, self.unanswered.remove(at))),
                None if created => return Err(status::foreign_watch(&self.endpoint)),
                None => {}
            }
        }
        Ok((watch, None))
    }

    fn reason(&self, words: String, compact_revision: i64) -> String {
        match (words.is_empty(), compact_revision) {
            (true, 0) => "etcd gives no reason".into(),
            (false, 0) if words.contains("permission denied") => self.auth.denied(&words, None),
            (false, 0) => self.auth.fit(&words),
            (true, _) => format!("its start is compacted; the store begins at revision {compact_revision}"),
            (false, _) => {
                format!("{}; the store begins at revision {compact_revision}", self.auth.fit(&words))
            }
        }
    }
}
