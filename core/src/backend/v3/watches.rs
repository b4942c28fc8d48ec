//! The one watch stream of a link, shared by all its watches.
//!
//! The ids are ours: etcd takes them since 3.4. A watch that could not be made is answered with the id -1; as etcd
//! answers creations in their order, it is the oldest that waits.

use std::collections::{HashSet, VecDeque};

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::channel::Channel;
use super::proto::watch_client::WatchClient;
use super::proto::watch_request::RequestUnion;
use super::proto::{WatchCancelRequest, WatchCreateRequest, WatchRequest, WatchResponse};
use super::renewals::led;
use super::{status, words};
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::{Failure, WatchId, WatchNews};
use crate::member::Revision;

/// Requests that wait to be sent. Enough for every election of a process to watch anew at once.
const MAX_QUEUED: usize = 1 << 16;
/// Far above what the narrow ranges of an election give; a response holds at most a thousand revisions.
const MAX_RESPONSE_BYTES: usize = 64 << 20;
/// What etcd calls a watch that could not be made.
const NO_WATCH: i64 = -1;

pub(super) struct Watches {
    endpoint: Endpoint,
    requests: mpsc::Sender<WatchRequest>,
    responses: BoxStream<'static, Result<WatchResponse, Status>>,
    /// Those that were asked for and are not over.
    wanted: HashSet<WatchId>,
    /// Those that etcd has not said anything of, in the order in which they were asked for.
    unanswered: VecDeque<WatchId>,
}

/// News in the order in which they are to be told.
pub(super) type News = Vec<(WatchId, WatchNews)>;

impl Watches {
    pub(super) fn open(endpoint: Endpoint, channel: Channel, origin: http::Uri) -> Watches {
        let (requests, outgoing) = mpsc::channel(MAX_QUEUED);
        let mut client = WatchClient::with_origin(channel, origin).max_decoding_message_size(MAX_RESPONSE_BYTES);
        let request = led(ReceiverStream::new(outgoing));
        // etcd sends the head of its answer with the first response, so opening is a part of reading.
        let opening = async move { client.watch(request).await.map(tonic::Response::into_inner) };
        let responses = stream::once(opening).try_flatten().boxed();
        Watches { endpoint, requests, responses, wanted: HashSet::new(), unanswered: VecDeque::new() }
    }

    /// Asks for a watch. On failure the stream is of no more use.
    pub(super) fn watch(&mut self, watch: WatchId, from: Vec<u8>, to: Vec<u8>, start: Revision) -> Result<(), Failure> {
        let Some(watch_id) = i64::try_from(watch.0).ok().filter(|id| *id > 0) else {
            return Err(Failure::new(ErrorKind::Internal, format!("{} cannot be the id of a watch", watch.0)));
        };
        self.wanted.insert(watch);
        self.unanswered.push_back(watch);
        let start_revision = words::number(start);
        self.send(RequestUnion::CreateRequest(WatchCreateRequest {
            key: from,
            range_end: to,
            start_revision,
            watch_id,
        }))
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

    /// Waits for the next response; a failure is the end of the stream. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<News, Failure> {
        match self.responses.next().await {
            Some(Ok(response)) => self.read(response),
            Some(Err(refusal)) => Err(status::refused(&self.endpoint, &refusal)),
            None => Err(status::ended(&self.endpoint, "watch")),
        }
    }

    fn read(&mut self, response: WatchResponse) -> Result<News, Failure> {
        let garbled = |what| status::garbled(&self.endpoint, what);
        let revision = words::stamp(response.header).map_err(garbled)?.revision;
        let changes = response.events.into_iter().map(words::change).collect::<Result<Vec<_>, _>>().map_err(garbled)?;
        let canceled = response.canceled || response.compact_revision != 0;
        let watch = self.identify(response.watch_id, response.created, canceled)?;

        let mut news = Vec::new();
        if !self.wanted.contains(&watch) {
            return Ok(news);
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
                WatchNews::Canceled { reason: reason(response.cancel_reason, response.compact_revision) },
            ));
        }
        Ok(news)
    }

    /// Which of our watches a response is about.
    fn identify(&mut self, id: i64, created: bool, canceled: bool) -> Result<WatchId, Failure> {
        let watch = match u64::try_from(id) {
            Ok(id) => WatchId(id),
            Err(_) => match self.unanswered.front() {
                Some(oldest) if id == NO_WATCH && canceled => *oldest,
                _ => return Err(status::garbled(&self.endpoint, format_args!("news of a watch {id}"))),
            },
        };
        if created || canceled {
            match self.unanswered.iter().position(|unanswered| *unanswered == watch) {
                Some(at) => drop(self.unanswered.remove(at)),
                None if created => return Err(status::foreign_watch(&self.endpoint)),
                None => {}
            }
        }
        Ok(watch)
    }
}

fn reason(words: String, compact_revision: i64) -> String {
    match (words.is_empty(), compact_revision) {
        (true, 0) => "etcd gives no reason".into(),
        (false, 0) => words,
        (true, _) => format!("its start is compacted; the store begins at revision {compact_revision}"),
        (false, _) => format!("{words}; the store begins at revision {compact_revision}"),
    }
}
