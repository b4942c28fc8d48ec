//! The one keepalive stream of a link.
//!
//! etcd answers in the order of the requests and names the lease only, so a reply belongs to the oldest request that
//! waits.

use std::collections::VecDeque;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::metadata::MetadataValue;

use super::channel::Channel;
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
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    replies: BoxStream<'static, Result<LeaseKeepAliveResponse, Status>>,
    waiting: VecDeque<(RequestId, LeaseId)>,
}

impl Renewals {
    pub(super) fn open(endpoint: Endpoint, channel: Channel, origin: http::Uri) -> Renewals {
        let (requests, outgoing) = mpsc::channel(MAX_QUEUED);
        let mut client = LeaseClient::with_origin(channel, origin);
        let request = led(ReceiverStream::new(outgoing));
        // etcd sends the head of its answer with the first reply, so opening is a part of reading.
        let opening = async move { client.lease_keep_alive(request).await.map(tonic::Response::into_inner) };
        let replies = stream::once(opening).try_flatten().boxed();
        Renewals { endpoint, requests, replies, waiting: VecDeque::new() }
    }

    /// Asks to renew a lease. On failure the stream is of no more use.
    pub(super) fn renew(&mut self, request: RequestId, lease: LeaseId) -> Result<(), Failure> {
        self.waiting.push_back((request, lease));
        self.requests.try_send(LeaseKeepAliveRequest { id: lease }).map_err(|_| status::stuck(&self.endpoint))
    }

    /// Waits for the next reply; a failure is the end of the stream. May be dropped and called again.
    pub(super) async fn next(&mut self) -> Result<(RequestId, Reply), Failure> {
        let reply = match self.replies.next().await {
            Some(Ok(reply)) => reply,
            Some(Err(refusal)) => return Err(status::refused(&self.endpoint, &refusal)),
            None => return Err(status::ended(&self.endpoint, "keepalive")),
        };
        let stamp = words::stamp(reply.header).map_err(|what| status::garbled(&self.endpoint, what))?;
        match self.waiting.front() {
            Some((request, lease)) if *lease == reply.id => {
                let request = *request;
                self.waiting.pop_front();
                Ok((request, Reply { stamp, answer: Answer::Renewed { ttl_s: reply.ttl } }))
            }
            _ => Err(status::garbled(&self.endpoint, "a keepalive for a lease that does not wait for one")),
        }
    }

    /// The requests that will have no answer.
    pub(super) fn abandon(self) -> impl Iterator<Item = RequestId> {
        self.waiting.into_iter().map(|(request, _)| request)
    }
}

/// A streaming request which etcd ends when its member has lost the cluster's leader, rather than leave it silent.
pub(super) fn led<T>(requests: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(requests);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    request
}
