//! One connection to one etcd member, made once. It is never mended: a link that came back by itself could come back
//! to another member, or to a store that was wiped meanwhile, without the session having looked.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http_body::Frame;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::status::{NotGrpc, failed};
use crate::backend::hosts::look_up;
use crate::backend::tasks::Tasks;
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::Failure;

/// etcd closes connections that ping more often than every 5 s. The session's own deadlines are shorter than this.
const PING_EVERY: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Connection = http2::Connection<TokioIo<TcpStream>, tonic::body::Body, Tasks>;

/// What gRPC calls are made on; clones share the connection.
#[derive(Clone)]
pub(super) struct Channel {
    sender: http2::SendRequest<tonic::body::Body>,
}

/// Connects once, trying each address of the host's within `limit`. The future beside the channel is the connection;
/// it runs as long as it is polled, and ends when the connection has.
pub(super) async fn connect(
    endpoint: &Endpoint,
    limit: Duration,
    tasks: Tasks,
) -> Result<(Channel, Connection), Failure> {
    let stream = connect_tcp(endpoint, limit).await?;
    let (sender, connection) = http2::Builder::new(tasks)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(false)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(endpoint, &error))?;
    Ok((Channel { sender }, connection))
}

async fn connect_tcp(endpoint: &Endpoint, limit: Duration) -> Result<TcpStream, Failure> {
    let late =
        || Failure::new(ErrorKind::Timeout, format!("{endpoint}: no connection within {} ms", limit.as_millis()));
    let deadline = Instant::now() + limit;
    let addresses = timeout(limit, look_up(endpoint)).await.map_err(|_| late())??;
    let mut refusals = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        // An address that swallows everything must leave time for those after it.
        let share = deadline.saturating_duration_since(Instant::now()) / (addresses.len() - at) as u32;
        match timeout(share, connect_address(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if addresses.len() == 1 => refusals.push(error.to_string()),
            Ok(Err(error)) => refusals.push(format!("{}: {error}", address.ip())),
            Err(_) => {}
        }
    }
    if refusals.is_empty() {
        return Err(late());
    }
    Err(Failure::new(ErrorKind::Unreachable, format!("{endpoint}: cannot connect: {}", refusals.join("; "))))
}

async fn connect_address(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
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

impl http_body::Body for ReplyBody {
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
