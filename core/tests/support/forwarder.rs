//! Stands between a client and a member as an HTTP proxy does: it knows requests, and does to them what a test wants.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// It passes, and so does its answer.
    Pass,
    /// It reaches the member, whose answer is lost with the connection.
    LoseAnswer,
    /// An answer whose head has come has this long for its body; then it ends, complete and empty.
    EndEmpty(Duration),
}

type Judge = dyn Fn(&str) -> Treatment + Send + Sync;

/// A proxy on loopback for HTTP/1.1; each request gets a connection of its own.
pub struct Forwarder {
    address: SocketAddr,
    /// The lines of the requests that were not just passed.
    treated: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Forwarder {
    /// Before this member; `judge` sees the head and the body of each request.
    pub fn before(member: SocketAddr, judge: impl Fn(&str) -> Treatment + Send + Sync + 'static) -> Forwarder {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (treated, is_over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (noted, over): (_, Arc<AtomicBool>) = (treated.clone(), is_over.clone());
        let judge: Arc<Judge> = Arc::new(judge);
        let thread = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (judge, noted) = (judge.clone(), noted.clone());
                thread::spawn(move || forward(client, member, &*judge, &noted));
            }
        });
        Forwarder { address, treated, is_over, thread: Some(thread) }
    }

    /// Where clients are to connect.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first lines of the requests that were not just passed, in their order.
    pub fn treated(&self) -> Vec<String> {
        self.treated.lock().expect("the list").clone()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It looks when somebody connects.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Ends when either side has closed, without a word: the client sees that for itself.
fn forward(mut client: TcpStream, member: SocketAddr, judge: &Judge, treated: &Mutex<Vec<String>>) -> Option<()> {
    let (head, body) = request(&mut client)?;
    let treatment = judge(&format!("{head}{}", String::from_utf8_lossy(&body)));
    if treatment != Treatment::Pass {
        treated.lock().expect("the list").extend(head.lines().next().map(str::to_string));
    }
    let mut server = TcpStream::connect(member).ok()?;
    // So that the end of an answer is the end of its connection.
    let head = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    server.write_all(&[head.as_bytes(), &body].concat()).ok()?;
    match treatment {
        Treatment::Pass => {
            // A client that goes away takes its request with it.
            let (mut gone, both) = (client.try_clone().ok()?, server.try_clone().ok()?);
            thread::spawn(move || {
                let _ = io::copy(&mut gone, &mut io::sink());
                let _ = both.shutdown(Shutdown::Both);
            });
            let _ = io::copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
        }
        Treatment::LoseAnswer => drop(server.read_to_end(&mut Vec::new())),
        Treatment::EndEmpty(patience) => {
            let answer = until_empty_line(&mut server)?;
            client.write_all(answer.as_bytes()).ok()?;
            server.set_read_timeout(Some(patience)).ok()?;
            let mut rest = vec![0; 64 << 10];
            match server.read(&mut rest) {
                Ok(read) => {
                    client.write_all(&rest[..read]).ok()?;
                    server.set_read_timeout(None).ok()?;
                    let _ = io::copy(&mut server, &mut client);
                }
                // The last chunk.
                Err(_) => client.write_all(b"0\r\n\r\n").ok()?,
            }
        }
    }
    Some(())
}

fn request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let head = until_empty_line(client)?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn until_empty_line(from: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte).ok()?;
        read.push(byte[0]);
    }
    String::from_utf8(read).ok()
}
