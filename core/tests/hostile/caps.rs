//! Servers that send without end, or all that is allowed: how much of it is ever held.
//!
//! Each cap of the library has a test here that fails without it. What a process of these tests may hold beside what a
//! cap allows is [`BASE_KIB`].

use std::io::Write;

use std::time::Duration;

use etcd_leader::Api;
use prost::Message;

use super::frames::{self, END_HEADERS, Frame, kind};
use super::server::{Server, wait_for_end};
use super::truth::{self, End, Manner, Payload, proto};

use super::victim::{KEY, Report, Victim};

/// A process with a few elections, in a debug build.
const BASE_KIB: u64 = 48 << 10;
const MIB: u64 = 1 << 10;
const LONG_ENOUGH: Duration = Duration::from_millis(1500);

/// What an election of API v3 makes of it when calls of this name are answered so; the others are answered truly.
fn answered(name: &'static str, manner: Manner) -> Report {
    let bad = truth::server_by(true, move |path| if path.ends_with(name) { manner.clone() } else { Manner::default() });
    let good = truth::server(false, Manner::default());
    let report = Victim::default().run(Api::V3, true, LONG_ENOUGH, &[bad.url()], &good.url());
    eprintln!("{name}: {} KiB, {}", report.peak_kib, report.messages);
    report
}

fn instead(message: impl Message) -> Manner {
    Manner { payload: Payload::Instead(message.encode_to_vec()), ..Manner::default() }
}

fn header() -> Option<proto::ResponseHeader> {
    Some(proto::ResponseHeader { cluster_id: 7, member_id: 8, revision: 40, raft_term: 2 })
}

fn kvs(count: usize) -> Vec<proto::KeyValue> {
    vec![proto::KeyValue::default(); count]
}

#[test]
fn an_answer_of_api_v3_without_an_end_is_cut_off() {
    let endless = |again| Manner {
        payload: Payload::Instead(vec![0x12; 1 << 20]),
        declared: Some(0x7fff_ffff),
        again,
        ..Manner::default()
    };
    for name in ["Range", "Txn", "LeaseGrant", "LeaseKeepAlive", "Authenticate", "Watch"] {
        let report = answered(name, endless(400));
        assert!(report.peak_kib < BASE_KIB, "{name}: {report:?}");
    }
}

#[test]
fn an_answer_of_api_v3_may_be_as_long_as_the_cap() {
    let long = "x".repeat((16 << 20) - 100);
    let report = answered(
        "LeaseGrant",
        instead(proto::LeaseGrantResponse { header: header(), error: long, ..Default::default() }),
    );
    assert!(report.peak_kib < BASE_KIB + 48 * MIB, "{report:?}");
    let reason = "x".repeat((64 << 20) - 100);
    let canceled = proto::WatchResponse {
        header: header(),
        watch_id: -1,
        canceled: true,
        cancel_reason: reason,
        ..Default::default()
    };
    let report = answered("Watch", instead(canceled));
    assert!(report.peak_kib < BASE_KIB + 192 * MIB, "{report:?}");
}

/// Two bytes on the wire are a hundred in memory.
#[test]
fn an_answer_of_millions_of_things_is_refused_unread() {
    let range = proto::RangeResponse { header: header(), kvs: kvs(7 << 20), ..Default::default() };
    let report = answered("Range", instead(range.clone()));
    assert!(report.peak_kib < BASE_KIB + 48 * MIB, "{report:?}");
    let range = proto::response_op::Response::ResponseRange(range);
    let txn = proto::TxnResponse {
        header: header(),
        succeeded: true,
        responses: vec![proto::ResponseOp { response: Some(range) }],
    };
    let report = answered("Txn", instead(txn));
    assert!(report.peak_kib < BASE_KIB + 48 * MIB, "{report:?}");
    let events = vec![proto::Event::default(); 30 << 20];
    let report = answered("Watch", instead(proto::WatchResponse { header: header(), events, ..Default::default() }));
    assert!(report.peak_kib < BASE_KIB + 192 * MIB, "{report:?}");
}

#[test]
fn watch_responses_without_an_end_are_not_kept() {
    let kv = proto::KeyValue {
        key: KEY.into(),
        create_revision: 5,
        mod_revision: 50,
        value: vec![b'x'; 1 << 10],
        ..Default::default()
    };
    let event = proto::Event { kv: Some(kv), ..Default::default() };
    for watch_id in 0..8 {
        let response =
            proto::WatchResponse { header: header(), watch_id, events: vec![event.clone(); 100], ..Default::default() };
        let report = answered("Watch", Manner { again: u16::MAX, ..instead(response) });
        assert!(report.peak_kib < BASE_KIB, "{watch_id}: {report:?}");
    }
}

/// A server that grants leases for ever and then knows none of them.
#[test]
fn leases_that_are_granted_and_gone_do_not_pile_up() {
    let refused = |code: &str, said: &str| {
        let trailers = [("grpc-status", code), ("grpc-message", said)];
        End::Trailers(trailers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).to_vec())
    };
    let bad = truth::server_by(true, move |path| match path.rsplit('/').next() {
        Some("LeaseGrant") => Manner { payload: Payload::Granted(i64::MAX), ..Manner::default() },
        Some("Txn") => Manner {
            payload: Payload::None,
            end: refused("5", "etcdserver: requested lease not found"),
            ..Manner::default()
        },
        Some("LeaseRevoke") => Manner { payload: Payload::None, end: refused("13", "no"), ..Manner::default() },
        _ => Manner::default(),
    });
    let good = truth::server(false, Manner::default());
    let report = Victim::default().run(Api::V3, false, Duration::from_secs(6), &[bad.url()], &good.url());
    eprintln!("leases: {} KiB", report.peak_kib);
    assert!(report.peak_kib < BASE_KIB && !report.led, "{report:?}");
}

/// A header list may have 16 KiB, in whichever frames it comes.
#[test]
fn headers_of_api_v3_without_an_end_are_not_kept() {
    let one = [&[0x40, 10][..], b"x-etcd-foo", &[0x7f, 0x81, 0x1f], &[b'y'; 4096]].concat();
    let bomb = Server::new(move |mut client| {
        let Some(()) = frames::hear_request(&mut client) else { return };
        let _ = client.write_all(&Frame::new(kind::SETTINGS, 0, 0, &[]).bytes());
        let _ = client.write_all(&Frame::new(kind::HEADERS, 0, 1, &frames::grpc_head()).bytes());
        for _ in 0..20_000 {
            if client.write_all(&Frame::new(kind::CONTINUATION, 0, 1, &one).bytes()).is_err() {
                break;
            }
        }
        wait_for_end(&mut client);
    });
    // One entry of the table, again and again: a byte each.
    let table = Server::new(|mut client| {
        let Some(()) = frames::hear_request(&mut client) else { return };
        let _ = client.write_all(&Frame::new(kind::SETTINGS, 0, 0, &[]).bytes());
        let entry = [&[0x40, 1, b'a', 0x7f, 0x81, 0x1e][..], &[b'y'; 3968]].concat();
        let first = [frames::grpc_head(), entry, vec![0xbe; 10_000]].concat();
        let _ = client.write_all(&Frame::new(kind::HEADERS, END_HEADERS, 1, &first).bytes());
        wait_for_end(&mut client);
    });
    let good = truth::server(false, Manner::default());
    let report = Victim::default().run(Api::V3, false, LONG_ENOUGH, &[bomb.url(), table.url()], &good.url());
    eprintln!("headers: {} KiB, {}", report.peak_kib, report.messages);
    assert!(report.peak_kib < BASE_KIB && !report.led, "{report:?}");
}
