//! What the first candidate reaches in the place of etcd: somebody who answers garbage.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::stage::Stage;
use support::Cluster;

/// What it says to each connection once something was asked.
#[derive(Clone, Copy)]
enum Garbage {
    Status500,
    Html,
    Truncated,
    Endless,
    Hanging,
    OtherProtocol,
    RandomFrames,
}

pub(crate) fn status_500(stage: &mut Stage) {
    garbage(stage, Garbage::Status500);
}

pub(crate) fn html(stage: &mut Stage) {
    garbage(stage, Garbage::Html);
}

pub(crate) fn truncated_bodies(stage: &mut Stage) {
    garbage(stage, Garbage::Truncated);
}

pub(crate) fn endless_bodies(stage: &mut Stage) {
    garbage(stage, Garbage::Endless);
}

pub(crate) fn hanging_bodies(stage: &mut Stage) {
    garbage(stage, Garbage::Hanging);
}

pub(crate) fn other_protocol(stage: &mut Stage) {
    garbage(stage, Garbage::OtherProtocol);
}

pub(crate) fn random_frames(stage: &mut Stage) {
    garbage(stage, Garbage::RandomFrames);
}

/// One of the endpoints leads there, and the others nowhere. If all of them led there, it would be a cluster built anew.
pub(crate) fn other_cluster(stage: &mut Stage) {
    let other = Cluster::of(1, &["--enable-v2=true"]);
    stage.cut_off(0);
    go_to(stage, other.client_address(0));
    stage.mark("c0 reaches nothing but another cluster");
    stage.last(2.0);
    stage.mend();
    go_back(stage);
}

fn garbage(stage: &mut Stage, garbage: Garbage) {
    let stranger = Stranger::listen(garbage);
    go_to(stage, stranger.address);
    stage.mark("c0 reaches a stranger");
    stage.last(2.0);
    go_back(stage);
}

fn go_to(stage: &Stage, server: SocketAddr) {
    let proxy = stage.proxy.as_ref().expect("a proxy");
    proxy.redirect(server);
    proxy.reset();
}

fn go_back(stage: &mut Stage) {
    go_to(stage, stage.cluster.client_address(0));
    stage.healed();
}

struct Stranger {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
}

impl Stranger {
    fn listen(garbage: Garbage) -> Stranger {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let is_over = Arc::new(AtomicBool::new(false));
        let over = is_over.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let over = over.clone();
                thread::spawn(move || answer(client, garbage, &over));
            }
        });
        Stranger { address, is_over }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // It looks when somebody connects.
        let _ = TcpStream::connect(self.address);
    }
}

/// What HTTP/2 begins with, of which gRPC is made: an empty SETTINGS frame.
const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
/// Stream 1 answers with status 200, from HPACK's own table.
const HEADERS: [u8; 10] = [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];

fn answer(mut client: TcpStream, garbage: Garbage, is_over: &AtomicBool) -> io::Result<()> {
    client.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut asked = [0; 4096];
    let read = loop {
        match client.read(&mut asked) {
            Ok(read) => break read,
            Err(_) if !is_over.load(Ordering::SeqCst) => {}
            Err(error) => return Err(error),
        }
    };
    let is_grpc = asked[..read].starts_with(b"PRI * HTTP/2.0");
    let ok = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Etcd-Index: 7\r\n";
    match (garbage, is_grpc) {
        (Garbage::Status500, false) => client.write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno")?,
        (Garbage::Html, false) => {
            client
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>")?;
        }
        (Garbage::Truncated, false) => {
            client.write_all(&[&ok[..], b"Content-Length: 900\r\n\r\n{\"action\":\"get\",\"node\":{"].concat())?;
        }
        (Garbage::Endless, false) => {
            client.write_all(&[&ok[..], b"\r\n{\"action\":\""].concat())?;
            while !is_over.load(Ordering::SeqCst) {
                client.write_all(&[b'x'; 4096])?;
            }
        }
        (Garbage::Hanging, false) => {
            client.write_all(&[&ok[..], b"Content-Length: 900\r\n\r\n{"].concat())?;
            linger(&mut client, is_over);
        }
        // Those who expect HTTP/2 get it in the same spirit.
        (Garbage::Status500 | Garbage::Html, true) => {
            client.write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 13\r\n\r\n<html></html>")?;
        }
        (Garbage::Truncated, true) => {
            // A message of nine hundred bytes is announced, and three come.
            let data = [0, 0, 8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3, 132, 1, 2, 3];
            client.write_all(&[&SETTINGS[..], &HEADERS, &data].concat())?;
            linger(&mut client, is_over);
        }
        (Garbage::Endless, true) => {
            client.write_all(&[&SETTINGS[..], &HEADERS].concat())?;
            // A message of four gigabytes.
            let first = [0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0xff];
            client.write_all(&first)?;
            let more = [&[0, 16, 0, 0, 0, 0, 0, 0, 1][..], &[7; 4096]].concat();
            while !is_over.load(Ordering::SeqCst) {
                client.write_all(&more)?;
            }
        }
        (Garbage::Hanging, true) => {
            client.write_all(&[&SETTINGS[..], &HEADERS].concat())?;
            linger(&mut client, is_over);
        }
        (Garbage::OtherProtocol, _) => client.write_all(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n")?,
        (Garbage::RandomFrames, _) => {
            let mut seed = u64::from(client.peer_addr()?.port()) << 32 | 0x9e37_79b9;
            client.write_all(&SETTINGS)?;
            for _ in 0..64 {
                let mut frame = Vec::new();
                for _ in 0..32 {
                    seed ^= seed << 13;
                    seed ^= seed >> 7;
                    seed ^= seed << 17;
                    frame.extend_from_slice(&seed.to_le_bytes());
                }
                // A true length and stream, so that all else in it is looked at.
                frame[..3].copy_from_slice(&[0, 0, 247]);
                frame[5..9].copy_from_slice(&[0, 0, 0, u8::from(seed & 1 == 0)]);
                client.write_all(&frame)?;
            }
            linger(&mut client, is_over);
        }
    }
    client.shutdown(Shutdown::Both)
}

/// Says nothing more until the other side goes, or all is over.
fn linger(client: &mut TcpStream, is_over: &AtomicBool) {
    let mut rest = [0; 4096];
    while !is_over.load(Ordering::SeqCst) {
        match client.read(&mut rest) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}
