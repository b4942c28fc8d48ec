//! One connection to one server, made once: name, TCP or a unix socket, and TLS where the endpoint asks for it.

use std::future::{pending, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::causes::causes;
use super::resolve::Resolver;
use super::tls;
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::{Failure, Step};

/// A connection that is not taken within this time is asked for again: nothing has been received, so nothing is lost, and
/// the kernel waits ever longer between its own tries.
pub(super) const CONNECT_PATIENCE: Duration = Duration::from_secs(4);
/// A handshake is given up after this time: its server is frozen, or out of reach.
pub(super) const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(15);
/// How long one address of a host is tried alone.
pub(super) const NEXT_ADDRESS: Duration = Duration::from_millis(250);
/// How long a server may take to say whether it serves HTTP. Only words of an error depend on it.
const HTTP_PATIENCE: Duration = Duration::from_secs(1);
/// How long a server may take to speak first.
const FIRST_WORD: Duration = Duration::from_millis(200);

/// Connects once: tells `step` how far it is, tries each address of the host's, and gives up only what the transport would.
pub(super) async fn connect(
    endpoint: &Endpoint,
    tls: &tls::Client,
    resolver: &Resolver,
    step: impl Fn(Step),
) -> Result<Stream, Failure> {
    if !endpoint.is_tls() {
        let stream = connect_socket(endpoint, resolver, &step).await?;
        return Ok(Stream::new(endpoint, tls, tls::Asked::default(), Inner::Plain(stream), Vec::new()));
    }
    // First, so that no server waits for our files.
    step(Step::ReadingFiles);
    let config = tls.config().await;
    let (config, asked) =
        config.map_err(|failure| Failure::new(failure.kind, format!("{endpoint}: {}", failure.detail)))?;
    let name = tls::server_name(tls.tls(), endpoint)?;
    let stream = connect_socket(endpoint, resolver, &step).await?;
    step(Step::Handshake);
    let shaken = timeout(HANDSHAKE_PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    let broken_off = |error: &io::Error| {
        tls::failure(endpoint, tls.tls(), &asked, error).unwrap_or_else(|| {
            let remark = "if this port does not speak TLS, write http://";
            let detail = format!("{endpoint}: the server broke the TLS handshake off ({}); {remark}", causes(error));
            Failure::new(ErrorKind::Unreachable, detail)
        })
    };
    let late = |_| {
        let patience = HANDSHAKE_PATIENCE.as_millis();
        Failure::new(ErrorKind::Timeout, format!("{endpoint}: no TLS handshake within {patience} ms"))
    };
    let mut stream = shaken.map_err(late)?.map_err(|error| broken_off(&error))?;
    let first = first_word(&mut stream).await.map_err(|error| broken_off(&error))?;
    Ok(Stream::new(endpoint, tls, asked, Inner::Tls(Box::new(stream)), first))
}

/// In TLS 1.3 the handshake is over for us before the server has looked at our certificate. One that refuses it says so
/// and goes, and what it said is lost to who writes meanwhile. A server of HTTP/2 may speak first, and etcd does: that is
/// waited for, though not for long.
async fn first_word(stream: &mut TlsStream<Socket>) -> io::Result<Vec<u8>> {
    if stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(Vec::new());
    }
    let mut scratch = [0; 1024];
    let mut buffer = ReadBuf::new(&mut scratch);
    let heard = timeout(FIRST_WORD, poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer))).await;
    match heard {
        Ok(Ok(())) if buffer.filled().is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(())) => Ok(buffer.filled().to_vec()),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(Vec::new()),
    }
}

/// The transport of a connection.
trait Carrier: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Carrier for T {}
type Socket = Box<dyn Carrier>;

async fn connect_socket(endpoint: &Endpoint, resolver: &Resolver, step: &impl Fn(Step)) -> Result<Socket, Failure> {
    #[cfg(unix)]
    if let Some(path) = endpoint.socket() {
        step(Step::Connecting);
        let stream = UnixStream::connect(path).await;
        let refused = |error| Failure::new(ErrorKind::Unreachable, format!("{endpoint}: cannot connect: {error}"));
        return Ok(Box::new(stream.map_err(refused)?));
    }
    Ok(Box::new(connect_tcp(endpoint, resolver, step).await?))
}

/// The first of the host's addresses that takes a connection; the next is tried beside those before it (RFC 8305).
async fn connect_tcp(endpoint: &Endpoint, resolver: &Resolver, step: &impl Fn(Step)) -> Result<TcpStream, Failure> {
    step(Step::LookUp);
    let addresses = resolver.look_up(endpoint).await?;
    step(Step::Connecting);
    let is_only = addresses.len() == 1;
    let mut left = addresses.into_iter();
    let mut tries = FuturesUnordered::new();
    let mut refusals = Vec::new();
    loop {
        match left.next() {
            Some(address) => tries.push(async move { (address, connect_address(address).await) }),
            None if tries.is_empty() => break,
            None => {}
        }
        // Nothing follows the last.
        let next = async { if left.len() > 0 { sleep(NEXT_ADDRESS).await } else { pending().await } };
        tokio::select! {
            Some((address, result)) = tries.next() => match result {
                Ok(stream) => return Ok(stream),
                Err(error) if is_only => refusals.push(error.to_string()),
                Err(error) => refusals.push(format!("{}: {error}", address.ip())),
            },
            () = next => {}
        }
    }
    resolver.refused(endpoint);
    Err(Failure::new(ErrorKind::Unreachable, format!("{endpoint}: cannot connect: {}", refusals.join("; "))))
}

async fn connect_address(address: SocketAddr) -> io::Result<TcpStream> {
    let late =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} ms", CONNECT_PATIENCE.as_millis()));
    let stream = timeout(CONNECT_PATIENCE, TcpStream::connect(address)).await.map_err(late)??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// etcd's answer to gRPC without TLS on a port that speaks TLS, or HTTP alone.
fn silence(endpoint: &Endpoint) -> Failure {
    Failure::new(ErrorKind::Unreachable, format!("{endpoint}: the server closed the connection without a word"))
}

/// Whether the server has closed the connection, on which something was still to be read or written.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

/// The failure, with its remedy where the server has closed the connection without a word.
pub(super) async fn explained(failure: Failure, endpoint: &Endpoint, resolver: &Resolver) -> Failure {
    if failure != silence(endpoint) {
        return failure;
    }
    let remedy = if let Ok(Ok(true)) = timeout(HTTP_PATIENCE, serves_http(endpoint, resolver)).await {
        "this port serves HTTP but no gRPC, as one of --listen-client-http-urls does: give one of --listen-client-urls"
    } else {
        "if this port speaks TLS, write https://"
    };
    Failure { detail: format!("{}; {remedy}", failure.detail), ..failure }
}

/// Whether the server answers HTTP/1.1, in which a port of TLS may say that it is one.
async fn serves_http(endpoint: &Endpoint, resolver: &Resolver) -> Result<bool, Failure> {
    let mut socket = connect_socket(endpoint, resolver, &|_| {}).await?;
    let broken = |error: io::Error| Failure::new(ErrorKind::Unreachable, error.to_string());
    socket.write_all(b"GET /version HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n").await.map_err(broken)?;
    let mut answer = Vec::new();
    socket.take(1024).read_to_end(&mut answer).await.map_err(broken)?;
    let answer = String::from_utf8_lossy(&answer);
    Ok(answer.starts_with("HTTP/1.") && !answer.contains("HTTP request to an HTTPS server"))
}

/// Why a connection broke. HTTP/2 keeps no error of I/O but its words.
pub(super) type Cause = Arc<OnceLock<Failure>>;

/// A connection.
pub(super) struct Stream {
    cause: Cause,
    endpoint: Endpoint,
    tls: tls::Client,
    /// Whether the server has asked for our certificate.
    asked: tls::Asked,
    /// Nothing was received yet.
    is_fresh: bool,
    /// Told of the first thing that is received.
    heard: watch::Sender<bool>,
    /// What was received and not yet read.
    received: Vec<u8>,
    inner: Inner,
}

enum Inner {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Stream {
    fn new(endpoint: &Endpoint, tls: &tls::Client, asked: tls::Asked, inner: Inner, received: Vec<u8>) -> Stream {
        Stream {
            cause: Cause::default(),
            endpoint: endpoint.clone(),
            tls: tls.clone(),
            asked,
            is_fresh: true,
            heard: watch::Sender::new(!received.is_empty()),
            received,
            inner,
        }
    }

    /// Why it broke, once it has; where we know it in better words than those who use it.
    pub(super) fn cause(&self) -> Cause {
        self.cause.clone()
    }

    /// Whether anything was received yet.
    pub(super) fn heard(&self) -> watch::Receiver<bool> {
        self.heard.subscribe()
    }

    fn note(&self, error: &io::Error) {
        if let Some(failure) = tls::failure(&self.endpoint, self.tls.tls(), &self.asked, error) {
            let _ = self.cause.set(failure);
        }
    }

    /// A server that does not take our certificate says so and goes: who writes meanwhile must still hear it.
    fn note_last_words(&mut self, cx: &mut Context<'_>, error: &io::Error) {
        if self.is_fresh && matches!(self.inner, Inner::Plain(_)) && is_gone(error) {
            return self.note_silence();
        }
        self.note(error);
        if let Inner::Tls(stream) = &mut self.inner {
            let mut scratch = [0; 1024];
            if let Poll::Ready(Err(error)) = Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut scratch)) {
                self.note(&error);
            }
        }
    }

    fn note_silence(&self) {
        let _ = self.cause.set(silence(&self.endpoint));
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.received.is_empty() {
            let length = self.received.len().min(buffer.remaining());
            buffer.put_slice(&self.received[..length]);
            self.received.drain(..length);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Inner::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        };
        let result = ready!(read);
        let was_first = std::mem::replace(&mut self.is_fresh, false);
        if was_first && buffer.filled().len() > before {
            self.heard.send_replace(true);
        }
        let was_fresh = was_first && matches!(self.inner, Inner::Plain(_));
        match &result {
            Ok(()) if was_fresh && buffer.filled().len() == before && buffer.remaining() > 0 => self.note_silence(),
            Ok(()) => {}
            Err(error) if was_fresh && is_gone(error) => self.note_silence(),
            Err(error) => self.note(error),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        });
        Poll::Ready(written.inspect_err(|error| self.note_last_words(cx, error)))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_flush(cx),
        });
        Poll::Ready(flushed.inspect_err(|error| self.note_last_words(cx, error)))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Inner::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(match &mut self.inner {
            Inner::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
            Inner::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bytes),
        });
        Poll::Ready(written.inspect_err(|error| self.note_last_words(cx, error)))
    }

    fn is_write_vectored(&self) -> bool {
        match &self.inner {
            Inner::Plain(stream) => stream.is_write_vectored(),
            Inner::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
