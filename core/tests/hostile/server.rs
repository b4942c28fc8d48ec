//! A server that does what it is told with each client, until it is dropped.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

pub(crate) struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves each client on a thread of its own, which ends when the client goes.
    pub(crate) fn new(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let is_over = Arc::new(AtomicBool::new(false));
        let accepting = thread::spawn({
            let (is_over, serve) = (is_over.clone(), Arc::new(serve));
            move || {
                for client in listener.incoming().flatten() {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let serve = serve.clone();
                    thread::spawn(move || serve(client));
                }
            }
        });
        Server { address, is_over, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn tls_url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // Its last client.
        let _ = TcpStream::connect(self.address);
        self.accepting.take().map(JoinHandle::join);
    }
}

/// Says nothing more, until the client goes.
pub(crate) fn wait_for_end(client: &mut TcpStream) {
    let mut scratch = [0; 4096];
    while client.read(&mut scratch).is_ok_and(|read| read > 0) {}
}

/// Serves a client of HTTP/2 with this, on a runtime of its own.
pub(crate) fn over_h2<F: Future<Output = ()>>(client: TcpStream, serve: impl FnOnce(tokio::net::TcpStream) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let served = async {
        client.set_nonblocking(true).expect("a socket");
        serve(tokio::net::TcpStream::from_std(client).expect("a socket")).await;
    };
    tokio::task::LocalSet::new().block_on(&runtime, served);
}
