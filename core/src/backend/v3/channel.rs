//! One connection to one etcd member, made once. It is never mended: a link that came back by itself could come back
//! to another member, or to a store that was wiped meanwhile, without the session having looked.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderMap};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::timeout;

use super::status::{NotGrpc, failed};
use crate::backend::dial::{self, Cause, Stream};
use crate::backend::resolve::Resolver;
use crate::backend::tasks::Tasks;
use crate::backend::tls;
use crate::config::Endpoint;
use crate::machine::{Failure, Step};

/// A connection on which something is awaited and nothing arrives is asked for a sign of life, and given up if there is
/// none. etcd closes connections that ping more often than every 5 s.
const PING_EVERY: Duration = Duration::from_secs(6);
const PING_TIMEOUT: Duration = Duration::from_secs(6);

/// Of the headers of one answer, names and values together, in whichever frames they come.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// What a server may send on one stream, and on the whole connection, before we have read it.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 5 << 20;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connection = http2::Connection<TokioIo<Stream>, tonic::body::Body, Tasks>;

/// What gRPC calls are made on; clones share the connection.
#[derive(Clone)]
pub(super) struct Channel {
    sender: http2::SendRequest<tonic::body::Body>,
    cause: Cause,
    heard: watch::Receiver<bool>,
}

impl Channel {
    /// Waits until the server has said anything at all; false if it does not. One that is frozen takes connections, and says
    /// nothing; while nothing is asked on a connection, no ping notices that.
    pub(super) async fn heard(&self) -> bool {
        let mut heard = self.heard.clone();
        // An error means that the connection has ended, which calls on it say better.
        timeout(PING_EVERY + PING_TIMEOUT, heard.wait_for(|heard| *heard)).await.is_ok()
    }

    /// Why the connection broke, where that is known in better words than a call's.
    pub(super) fn cause(&self) -> Option<Failure> {
        self.cause.get().cloned()
    }
}

/// Connects once. The future beside the channel is the connection;
/// it runs as long as it is polled, and ends when the connection has.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: &tls::Client,
    resolver: &Resolver,
    tasks: Tasks,
    step: impl Fn(Step),
) -> Result<(Channel, Connection), Failure> {
    let stream = dial::connect(endpoint, tls, resolver, step).await?;
    let (cause, heard) = (stream.cause(), stream.heard());
    let (sender, connection) = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(false)
        .max_header_list_size(MAX_HEADER_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| cause.get().cloned().unwrap_or_else(|| failed(endpoint, None, &error)))?;
    Ok((Channel { sender, cause, heard }, connection))
}

impl tower_service::Service<http::Request<tonic::body::Body>> for Channel {
    type Response = http::Response<ReplyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    /// Always ready: a connection that has ended says why in the call, where the cause is not lost.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        let response = self.sender.send_request(request);
        Box::pin(async move {
            let mut response = response.await?;
            let kind = response.headers().get(CONTENT_TYPE);
            if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc")) {
                return Err(NotGrpc { status: response.status() }.into());
            }
            without_details(response.headers_mut());
            Ok(response.map(ReplyBody))
        })
    }
}

/// The body of a reply.
pub(super) struct ReplyBody(Incoming);

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_ok(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                without_details(trailers);
            }
            frame
        })
    }
}

/// tonic panics on details that are not base64, and etcd sends none.
fn without_details(headers: &mut HeaderMap) {
    headers.remove("grpc-status-details-bin");
}
