//! HTTP/2 by hand: frames in any order, of any length, as often as one likes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::server::{Server, wait_for_end};

/// How long a flood lasts at most.
const FLOOD: Duration = Duration::from_millis(120);

pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}
pub(crate) const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
    /// What it says that its length is, if not the truth.
    pub(crate) declared: Option<u32>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Frame {
        Frame { kind, flags, stream, payload: payload.to_vec(), declared: None }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let length = self.declared.unwrap_or(u32::try_from(self.payload.len()).expect("short"));
        let head = [&length.to_be_bytes()[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }
}

/// What a server says once the client has begun.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    /// Whether it begins as HTTP/2 does.
    is_polite: bool,
    frames: Vec<Frame>,
    /// Whether it says the same again and again.
    is_flood: bool,
    /// Whether it closes the connection at the end.
    is_closed: bool,
}

/// `:status 200` and `content-type: application/grpc`, for HPACK.
pub(crate) fn grpc_head() -> Vec<u8> {
    [&[0x88, 0x5f, 16][..], b"application/grpc"].concat()
}

fn a_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => vec(any::<u8>(), 0..40),
        1 => Just(Vec::new()),
        1 => Just(vec![0; 8]),
        1 => Just([0, 0, 0, 0, 0, 0, 0, 2].to_vec()),
        2 => Just(grpc_head()),
        // Settings: the largest of each.
        1 => (0..8u16, any::<u32>()).prop_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()),
        // An empty gRPC message, and one of four gigabytes.
        1 => Just(vec![0; 5]),
        1 => Just(vec![0, 0xff, 0xff, 0xff, 0xff]),
        1 => Just([0x40, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f].to_vec()),
        1 => vec(any::<u8>(), 16_300..16_400),
    ]
}

fn a_frame() -> impl Strategy<Value = Frame> {
    let kind = prop_oneof![8 => 0..10u8, 1 => any::<u8>()];
    let flags = prop_oneof![2 => Just(0), 2 => Just(END_HEADERS), 1 => Just(5u8), 1 => any::<u8>()];
    let stream = prop_oneof![3 => Just(1), 2 => Just(0), 1 => Just(3), 1 => Just(2), 1 => any::<u32>()];
    let declared = prop_oneof![12 => Just(None), 1 => (0..1u32 << 24).prop_map(Some)];
    (kind, flags, stream, a_payload(), declared).prop_map(|(kind, flags, stream, payload, declared)| Frame {
        kind,
        flags,
        stream,
        payload,
        declared,
    })
}

/// One frame that servers flood with.
fn a_flood() -> impl Strategy<Value = Vec<Frame>> {
    let head = Frame::new(kind::HEADERS, END_HEADERS, 1, &grpc_head());
    let one = |kind, flags, stream, payload: &[u8]| vec![head.clone(), Frame::new(kind, flags, stream, payload)];
    prop_oneof![
        Just(vec![Frame::new(kind::SETTINGS, 0, 0, &[])]),
        Just(vec![Frame::new(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])]),
        Just(vec![Frame::new(kind::PING, 0, 0, &[7; 8])]),
        Just(vec![Frame::new(kind::GOAWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])]),
        Just(vec![Frame::new(kind::WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])]),
        Just(vec![Frame::new(kind::PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2, 0x82])]),
        Just(vec![Frame::new(kind::RST_STREAM, 0, 1, &[0, 0, 0, 8])]),
        Just(vec![Frame::new(kind::HEADERS, END_HEADERS, 1, &[0x48, 3, b'1', b'0', b'3'])]),
        Just(one(kind::DATA, 0, 1, &[])),
        Just(one(kind::DATA, 0, 1, &[0; 5])),
        Just(vec![Frame::new(kind::HEADERS, 0, 1, &grpc_head()), Frame::new(kind::CONTINUATION, 0, 1, &[])]),
        Just(vec![Frame::new(kind::HEADERS, 0, 1, &[0x88]), Frame::new(kind::CONTINUATION, 0, 1, b"\x00\x01a\x01b")]),
        Just(vec![Frame::new(0xbe, 0, 0, &[0; 100])]),
    ]
}

pub(crate) fn a_talk() -> impl Strategy<Value = Talk> {
    let some = (prop_oneof![5 => Just(true), 1 => Just(false)], vec(a_frame(), 0..12), any::<bool>(), any::<bool>())
        .prop_map(|(is_polite, frames, is_flood, is_closed)| Talk { is_polite, frames, is_flood, is_closed });
    let flood = a_flood().prop_map(|frames| Talk { is_polite: true, frames, is_flood: true, is_closed: false });
    prop_oneof![1 => some, 1 => flood]
}

pub(crate) fn server(talk: Talk) -> Server {
    Server::new(move |mut client| {
        let Some(()) = hear_request(&mut client) else { return };
        // The client may go at any moment.
        let _ = talk.say(&mut client);
        if !talk.is_closed {
            wait_for_end(&mut client);
        }
    })
}

/// Reads what a client begins with: it sends its first request with it, or right after.
pub(crate) fn hear_request(client: &mut TcpStream) -> Option<()> {
    client.set_read_timeout(Some(Duration::from_millis(20))).ok()?;
    let mut scratch = [0; 4096];
    let mut heard = 0;
    while let Ok(read @ 1..) = client.read(&mut scratch) {
        heard += read;
    }
    client.set_read_timeout(None).ok()?;
    (heard > 0).then_some(())
}

impl Talk {
    fn say(&self, client: &mut TcpStream) -> std::io::Result<()> {
        if self.is_polite {
            client.write_all(&Frame::new(kind::SETTINGS, 0, 0, &[]).bytes())?;
            client.write_all(&Frame::new(kind::SETTINGS, 1, 0, &[]).bytes())?;
        }
        let mut said: Vec<u8> = self.frames.iter().flat_map(Frame::bytes).collect();
        client.write_all(&said)?;
        if let (true, Some(last)) = (self.is_flood, self.frames.last()) {
            said = last.bytes().repeat(1 + 4096 / last.bytes().len());
            client.set_write_timeout(Some(FLOOD))?;
            let begun = Instant::now();
            while begun.elapsed() < FLOOD {
                client.write_all(&said)?;
            }
        }
        Ok(())
    }
}

/// What stands in the place of a TLS handshake.
pub(crate) fn tls_noise() -> impl Strategy<Value = Vec<u8>> {
    let record = (prop_oneof![20..24u8, any::<u8>()], any::<u16>(), vec(any::<u8>(), 0..300)).prop_map(
        |(kind, length, body)| {
            let body_length = u16::try_from(body.len()).expect("short");
            let length = if length % 3 == 0 { length } else { body_length };
            [&[kind, 3, 3][..], &length.to_be_bytes(), &body].concat()
        },
    );
    prop_oneof![
        vec(any::<u8>(), 0..2_000),
        vec(record, 0..20).prop_map(|records| records.concat()),
        // Parts of a message of sixteen megabytes; alerts that only warn.
        Just([&[22, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff][..], &[0; 16_380]].concat().repeat(200)),
        Just([21, 3, 3, 0, 2, 1, 0].repeat(20_000)),
    ]
}

/// Says this, whatever the client begins with.
pub(crate) fn raw_server(says: Vec<u8>) -> Server {
    Server::new(move |mut client| {
        let _ = client.read(&mut [0; 1024]);
        let _ = client.write_all(&says);
        wait_for_end(&mut client);
    })
}
