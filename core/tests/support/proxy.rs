//! Stands between a client and a member, and breaks what goes through it.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::port::{Port, listen_on};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

#[derive(Clone, Copy, Debug)]
struct Mode {
    refuse: bool,
    hold_to_server: bool,
    hold_to_client: bool,
    delay: Duration,
    /// Counted up for each reset: connections made under another count are reset.
    resets: usize,
    /// Where new connections go.
    server: SocketAddr,
    ended: bool,
}

impl Mode {
    fn passes(server: SocketAddr, resets: usize) -> Mode {
        Mode {
            refuse: false,
            hold_to_server: false,
            hold_to_client: false,
            delay: Duration::ZERO,
            resets,
            server,
            ended: false,
        }
    }

    fn holds(&self, way: Way) -> bool {
        match way {
            Way::ToServer => self.hold_to_server,
            Way::ToClient => self.hold_to_client,
        }
    }
}

/// A TCP proxy that can be told to misbehave. It passes everything to begin with.
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    connections: Arc<AtomicUsize>,
    /// How often bytes to the server were there and were held.
    held: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    /// Ours also while new connections are refused.
    _port: Port,
}

impl Proxy {
    /// A proxy before this server, on loopback.
    pub fn before(server: SocketAddr) -> Proxy {
        Proxy::at("127.0.0.1", server)
    }

    /// A proxy before this server, at this address of the machine.
    pub fn at(ip: &str, server: SocketAddr) -> Proxy {
        let port = Port::at(ip.parse().expect("an address"));
        let address = port.address();
        let listener = TcpListener::bind(address).expect("its port");
        let (mode, watched) = watch::channel(Mode::passes(server, 0));
        let (connections, held) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (counted, of_held) = (connections.clone(), held.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(serve(listener, watched, counted, of_held));
        });
        Proxy { address, mode, connections, held, thread: Some(thread), _port: port }
    }

    /// Where clients are to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as an endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections clients have made so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Whether clients have sent something that is held.
    pub fn has_held(&self) -> bool {
        self.held.load(Ordering::SeqCst) > 0
    }

    /// Passes everything again. Bytes that were held go on as if nothing had been.
    pub fn pass(&self) {
        self.held.store(0, Ordering::SeqCst);
        self.mode.send_modify(|mode| *mode = Mode::passes(mode.server, mode.resets));
    }

    /// New connections go to this server.
    pub fn redirect(&self, server: SocketAddr) {
        self.mode.send_modify(|mode| mode.server = server);
    }

    /// Refuses new connections; those there are go on.
    pub fn refuse(&self) {
        self.mode.send_modify(|mode| mode.refuse = true);
    }

    /// Keeps all bytes that go this way, as a cut cable does; connections stay.
    pub fn hold(&self, way: Way) {
        self.mode.send_modify(|mode| match way {
            Way::ToServer => mode.hold_to_server = true,
            Way::ToClient => mode.hold_to_client = true,
        });
    }

    /// Keeps all bytes, both ways: a black hole.
    pub fn hold_all(&self) {
        self.mode.send_modify(|mode| (mode.hold_to_server, mode.hold_to_client) = (true, true));
    }

    /// Lets everything that goes through take this much longer.
    pub fn delay(&self, delay: Duration) {
        self.mode.send_modify(|mode| mode.delay = delay);
    }

    /// Ends all connections there are with a reset (RST).
    pub fn reset(&self) {
        self.mode.send_modify(|mode| mode.resets += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mode.send_modify(|mode| mode.ended = true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, mode: watch::Receiver<Mode>, counted: Arc<AtomicUsize>, held: Arc<AtomicUsize>) {
    let address = listener.local_addr().expect("its address");
    let mut listener = Some(listener);
    let mut listening = None;
    let mut connections = JoinSet::new();
    let mut changed = mode.clone();
    loop {
        let now = *changed.borrow_and_update();
        if now.ended {
            return;
        }
        if now.refuse {
            listening = None;
        } else if listening.is_none() {
            let open = listener.take().unwrap_or_else(|| listen_on(address));
            open.set_nonblocking(true).expect("not blocking");
            listening = Some(tokio::net::TcpListener::from_std(open).expect("a listener"));
        }
        let accepted = async {
            match &listening {
                Some(listening) => listening.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Ok((client, _)) = accepted => {
                // Before it is counted: who has counted a connection may count on its being reset.
                let begun = *mode.borrow();
                counted.fetch_add(1, Ordering::SeqCst);
                connections.spawn(carry(client, begun, mode.clone(), held.clone()));
            }
            _ = changed.changed() => {}
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(mut client: TcpStream, begun: Mode, mode: watch::Receiver<Mode>, held: Arc<AtomicUsize>) {
    let mut control = mode.clone();
    let broken = |mode: &Mode| mode.resets != begun.resets || mode.ended;
    let upstream = tokio::select! {
        upstream = TcpStream::connect(begun.server) => upstream,
        () = until(&mut control, broken) => Err(io::ErrorKind::ConnectionReset.into()),
    };
    let Ok(mut server) = upstream else {
        let _ = client.set_zero_linger();
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let reset = {
        let uncounted = AtomicUsize::new(0);
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, Way::ToServer, mode.clone(), &held);
        let down = pump(from_server, to_client, Way::ToClient, mode, &uncounted);
        tokio::select! {
            ended = both(up, down) => ended.is_err(),
            () = until(&mut control, broken) => true,
        }
    };
    if reset {
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn until(mode: &mut watch::Receiver<Mode>, holds: impl FnMut(&Mode) -> bool) {
    let _ = mode.wait_for(holds).await;
}

async fn both(
    one: impl Future<Output = io::Result<()>>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    // When one side has ended there is nothing more to expect of the other: etcd and its clients do not half-close.
    tokio::select! {
        ended = one => ended,
        ended = other => ended,
    }
}

async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    way: Way,
    mut mode: watch::Receiver<Mode>,
    held: &AtomicUsize,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        from.readable().await?;
        if mode.borrow().holds(way) {
            held.fetch_add(1, Ordering::SeqCst);
            until(&mut mode, |mode| !mode.holds(way)).await;
        }
        let read = match from.try_read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        };
        let delay = mode.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            to.writable().await?;
            match to.try_write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
