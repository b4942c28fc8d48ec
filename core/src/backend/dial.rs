//! One connection to one member, made once: name, TCP, and TLS where the endpoint is `https`.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::ProtocolVersion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::hosts::look_up;
use super::tls;
use crate::config::Endpoint;
use crate::error::ErrorKind;
use crate::machine::Failure;

/// Connects once within `limit`, trying each address of the host's.
pub(super) async fn connect(endpoint: &Endpoint, tls: &tls::Client, limit: Duration) -> Result<Stream, Failure> {
    let deadline = Instant::now() + limit;
    let late =
        |what: &str| Failure::new(ErrorKind::Timeout, format!("{endpoint}: {what} within {} ms", limit.as_millis()));
    if !endpoint.is_tls() {
        let stream = connect_tcp(endpoint, deadline).await?.ok_or_else(|| late("no connection"))?;
        return Ok(Stream::new(endpoint, tls, Inner::Plain(stream), Vec::new()));
    }
    // First, so that no server waits for our files.
    let config = timeout_at(deadline, tls.config()).await;
    let config = config.map_err(|_| late("the certificate files could not be read"))?;
    let config = config.map_err(|failure| Failure::new(failure.kind, format!("{endpoint}: {}", failure.detail)))?;
    let name = tls::server_name(tls.tls(), endpoint)?;
    let stream = connect_tcp(endpoint, deadline).await?.ok_or_else(|| late("no connection"))?;
    let shaken = timeout_at(deadline, TlsConnector::from(Arc::new(config)).connect(name, stream)).await;
    let broken_off = |error: &io::Error| {
        tls::failure(endpoint, tls.tls(), error).unwrap_or_else(|| {
            let remark = "if this port does not speak TLS, write http://";
            let detail = format!("{endpoint}: the server broke the TLS handshake off ({error}); {remark}");
            Failure::new(ErrorKind::Unreachable, detail)
        })
    };
    let mut stream = shaken.map_err(|_| late("no TLS handshake"))?.map_err(|error| broken_off(&error))?;
    let first = first_word(&mut stream, limit / 8).await.map_err(|error| broken_off(&error))?;
    Ok(Stream::new(endpoint, tls, Inner::Tls(Box::new(stream)), first))
}

/// In TLS 1.3 the handshake is over for us before the server has looked at our certificate. One that refuses it says so
/// and goes, and what it said is lost to who writes meanwhile. A server of HTTP/2 may speak first, and etcd does: that is
/// waited for, though not for long.
async fn first_word(stream: &mut TlsStream<TcpStream>, patience: Duration) -> io::Result<Vec<u8>> {
    if stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(Vec::new());
    }
    let mut scratch = [0; 1024];
    let mut buffer = ReadBuf::new(&mut scratch);
    let heard = timeout(patience, poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buffer))).await;
    match heard {
        Ok(Ok(())) if buffer.filled().is_empty() => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(())) => Ok(buffer.filled().to_vec()),
        Ok(Err(error)) => Err(error),
        Err(_) => Ok(Vec::new()),
    }
}

/// `None` if it took too long.
async fn connect_tcp(endpoint: &Endpoint, deadline: Instant) -> Result<Option<TcpStream>, Failure> {
    let Ok(addresses) = timeout_at(deadline, look_up(endpoint)).await else { return Ok(None) };
    let addresses = addresses?;
    let mut refusals = Vec::new();
    for (at, address) in addresses.iter().enumerate() {
        // An address that swallows everything must leave time for those after it.
        let share = deadline.saturating_duration_since(Instant::now()) / (addresses.len() - at) as u32;
        match timeout(share, connect_address(*address)).await {
            Ok(Ok(stream)) => return Ok(Some(stream)),
            Ok(Err(error)) if addresses.len() == 1 => refusals.push(error.to_string()),
            Ok(Err(error)) => refusals.push(format!("{}: {error}", address.ip())),
            Err(_) => {}
        }
    }
    if refusals.is_empty() {
        return Ok(None);
    }
    Err(Failure::new(ErrorKind::Unreachable, format!("{endpoint}: cannot connect: {}", refusals.join("; "))))
}

async fn connect_address(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why a connection broke. HTTP/2 keeps no error of I/O but its words.
pub(super) type Cause = Arc<OnceLock<Failure>>;

/// A connection.
pub(super) struct Stream {
    cause: Cause,
    endpoint: Endpoint,
    tls: tls::Client,
    /// Nothing was received yet.
    is_fresh: bool,
    /// What was received and not yet read.
    received: Vec<u8>,
    inner: Inner,
}

enum Inner {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn new(endpoint: &Endpoint, tls: &tls::Client, inner: Inner, received: Vec<u8>) -> Stream {
        Stream {
            cause: Cause::default(),
            endpoint: endpoint.clone(),
            tls: tls.clone(),
            is_fresh: true,
            received,
            inner,
        }
    }

    /// Why it broke, once it has; where we know it in better words than those who use it.
    pub(super) fn cause(&self) -> Cause {
        self.cause.clone()
    }

    fn note(&self, error: &io::Error) {
        if let Some(failure) = tls::failure(&self.endpoint, self.tls.tls(), error) {
            let _ = self.cause.set(failure);
        }
    }

    /// A server that does not take our certificate says so and goes: who writes meanwhile must still hear it.
    fn note_last_words(&mut self, cx: &mut Context<'_>, error: &io::Error) {
        self.note(error);
        if let Inner::Tls(stream) = &mut self.inner {
            let mut scratch = [0; 1024];
            if let Poll::Ready(Err(error)) = Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut scratch)) {
                self.note(&error);
            }
        }
    }

    /// etcd's answer on a port of its that speaks TLS to somebody who does not.
    fn note_silence(&self) {
        let detail = format!(
            "{}: the server closed the connection without a word; if this port speaks TLS, write https://",
            self.endpoint
        );
        let _ = self.cause.set(Failure::new(ErrorKind::Unreachable, detail));
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
        let was_fresh = std::mem::replace(&mut self.is_fresh, false) && matches!(self.inner, Inner::Plain(_));
        match &result {
            Ok(()) if was_fresh && buffer.filled().len() == before && buffer.remaining() > 0 => self.note_silence(),
            Ok(()) => {}
            Err(error) if was_fresh && error.kind() == io::ErrorKind::ConnectionReset => self.note_silence(),
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
