//! A port that stays ours while nobody listens there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use tokio::net::TcpSocket;

/// A free port that the system gives to nobody else while this lives. It is bound and not listened on: a connection is
/// refused, and who binds it by name and with SO_REUSEADDR, as etcd and the standard library do, may listen there.
pub struct Port(TcpSocket);

impl Port {
    /// One of loopback's.
    pub fn new() -> Port {
        Port::at(Ipv4Addr::LOCALHOST.into())
    }

    /// One at this address of the machine.
    pub fn at(ip: IpAddr) -> Port {
        Port::held(SocketAddr::new(ip, 0)).expect("a free port")
    }

    /// This one, unless somebody has it.
    pub fn held(address: SocketAddr) -> Option<Port> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.expect("a socket");
        socket.set_reuseaddr(true).expect("may be bound again");
        socket.bind(address).ok()?;
        Some(Port(socket))
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("its address")
    }

    /// The same as an endpoint.
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

/// Listens on a port of ours, where a listener of before may have been closed just now: a process that a test beside this
/// one is starting has that one until it runs its program. The standard library sets SO_REUSEADDR, so that connections of
/// before do not stand in the way.
pub fn listen_on(address: SocketAddr) -> TcpListener {
    let give_up = Instant::now() + Duration::from_secs(10);
    loop {
        match TcpListener::bind(address) {
            Ok(listener) => return listener,
            Err(error) => assert!(Instant::now() < give_up, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
