//! The one keepalive stream of a link.
//!
//! etcd answers in the order of the requests and names the lease only, so a reply belongs to the oldest request that
//! waits.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::auth::{Auth, Token, Tries, shown};
use super::channel::Channel;
use super::codec::MAX_SHORT_BYTES;
use super::proto::lease_client::LeaseClient;
use super::proto::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use super::status;
use super::words;
use crate::config::Endpoint;
use crate::machine::{Answer, Failure, Reply, RequestId};
use crate::member::LeaseId;

/// Requests that wait to be sent. One is under way at a time; more only if the link does not take them.
const MAX_QUEUED: usize = 64;

pub(super) struct Renewals {
    endpoint: Endpoint,
    auth: Auth,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    replies: BoxStream<'static, Result<LeaseKeepAliveResponse, Status>>,
    waiting: VecDeque<Renewal>,
    /// What the stream was opened with.
    token: Option<Token>,
}

/// A keepalive that was asked for.
#[derive(Clone, Copy)]
pub(super) struct Renewal {
    pub(super) request: RequestId,
    pub(super) lease: LeaseId,
    pub(super) tries: Tries,
}

/// Why a stream has ended.
pub(super) enum End {
    /// etcd did not take its token: nothing that was asked on it and not answered was done.
    Token(Failure),
    /// etcd does not renew this lease for our user, for the sake of a key that hangs on it. The connection is as good as before.
    Denied(Failure),
    /// It broke.
    Broken(Failure),
}

impl End {
    pub(super) fn of(auth: &Auth, refusal: &Status) -> End {
        let failure = auth.failure(refusal, None);
        match status::wants_token(refusal) {
            true => End::Token(failure),
            false if failure.is_of_key => End::Denied(failure),
            false => End::Broken(failure),
        }
    }
}

impl Renewals {
    pub(super) fn open(endpoint: Endpoint, auth: Auth, channel: Channel, origin: http::Uri) -> Renewals {
        let (requests, mut outgoing) = mpsc::channel(MAX_QUEUED);
        let mut client = LeaseClient::with_origin(channel, origin).max_decoding_message_size(MAX_SHORT_BYTES);
        let token = auth.token();
        let request = led(stream::poll_fn(move |cx| outgoing.poll_recv(cx)), token.as_ref());
        // etcd sends the head of its answer with the first reply, so opening is a part of reading.
        let opening = async move { client.lease_keep_alive(request).await.map(tonic::Response::into_inner) };
        let replies = stream::once(opening).try_flatten().boxed();
        Renewals { endpoint, auth, requests, replies, waiting: VecDeque::new(), token }
    }

    /// Asks to renew a lease. On failure the stream is of no more use.
    pub(super) fn renew(&mut self, renewal: Renewal) -> Result<(), Failure> {
        self.waiting.push_back(renewal);
        self.requests.try_send(LeaseKeepAliveRequest { id: renewal.lease }).map_err(|_| status::stuck(&self.endpoint))
    }

    /// Waits for the next reply; a failure is the end of the stream.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<(RequestId, Reply), End>> {
        Poll::Ready(match ready!(self.replies.poll_next_unpin(cx)) {
            Some(Ok(reply)) => self.read(reply),
            Some(Err(refusal)) => Err(End::of(&self.auth, &refusal)),
            None => Err(End::Broken(status::ended(&self.endpoint, "keepalive"))),
        })
    }

    fn read(&mut self, reply: LeaseKeepAliveResponse) -> Result<(RequestId, Reply), End> {
        let stamp = words::stamp(reply.header).map_err(|what| End::Broken(status::garbled(&self.endpoint, what)))?;
        match self.waiting.front() {
            Some(Renewal { request, lease, .. }) if *lease == reply.id => {
                let request = *request;
                self.waiting.pop_front();
                Ok((request, Reply { stamp, answer: Answer::Renewed { ttl_s: reply.ttl } }))
            }
            _ => {
                let what = "a keepalive for a lease that does not wait for one";
                Err(End::Broken(status::garbled(&self.endpoint, what)))
            }
        }
    }

    /// The token that the stream was opened with.
    pub(super) fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// What this stream will not answer.
    pub(super) fn abandon(self) -> impl Iterator<Item = Renewal> {
        self.waiting.into_iter()
    }
}

/// A streaming request which etcd ends when its member has lost the cluster's leader, rather than leave it silent.
pub(super) fn led<T>(requests: T, token: Option<&Token>) -> tonic::Request<T> {
    let mut request = shown(tonic::Request::new(requests), token);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    request
}
