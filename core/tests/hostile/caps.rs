//! Servers that send without end, or all that is allowed: how much of it is ever held.
//!
//! Each cap of the library has a test here that fails without it. What a process of these tests may hold beside what a
//! cap allows is [`BASE_KIB`].

use std::io::Write;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use etcd_leader::Api;
use prost::Message;

use super::frames::{self, END_HEADERS, Frame, kind};
use super::grpc::urls;
use super::server::{Server, wait_for_end};
use super::truth::{self, End, Manner, Payload, proto};

use super::victim::{KEY, Report, Victim};

/// A process with a few elections, in a debug build.
const BASE_KIB: u64 = 48 << 10;
const MIB: u64 = 1 << 10;
const LEAST: Duration = Duration::from_millis(300);
const MOST: Duration = Duration::from_millis(2500);

/// What elections of API v3 make of it, side by side, when calls of one name each are answered so; the others are
/// answered truly.
fn answered<const N: usize>(calls: [(&'static str, Manner); N]) -> Report {
    let names = calls.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" ");
    let servers = calls.map(|(name, manner)| {
        let short = Manner { payload: Payload::Granted(1), ..Manner::default() };
        truth::server_by(true, move |path| match path.rsplit('/').next() {
            Some(asked) if asked == name => manner.clone(),
            // Renewed soon.
            Some("LeaseGrant") => short.clone(),
            _ => Manner::default(),
        })
    });
    let good = truth::server(false, Manner::default());
    let report = Victim::default().run_until_told(Api::V3, true, LEAST, MOST, &urls(&servers), &good.url());
    println!("{names}: {} KiB, {}", report.peak_kib, report.messages);
    report
}

fn instead(message: impl Message) -> Manner {
    Manner { payload: Payload::Instead(message.encode_to_vec()), ..Manner::default() }
}

fn header() -> Option<proto::ResponseHeader> {
    Some(proto::ResponseHeader { cluster_id: 7, member_id: 8, revision: 40, raft_term: 2 })
}

#[test]
fn an_answer_of_api_v3_without_an_end_is_cut_off() {
    let endless = Manner {
        payload: Payload::Instead(vec![0x12; 1 << 20]),
        declared: Some(0x7fff_ffff),
        again: 400,
        ..Manner::default()
    };
    let names = ["Range", "Txn", "LeaseGrant", "LeaseKeepAlive", "Authenticate", "Watch"];
    let report = answered(names.map(|name| (name, endless.clone())));
    for (count, limit) in [(3, 16 << 20), (2, 64 << 10), (1, 64 << 20)] {
        let said = format!("message length too large: found 2147483647 bytes, the limit is: {limit} bytes");
        assert_eq!(report.messages.matches(&said).count(), count, "{limit}: {report:?}");
    }
    assert!(report.peak_kib < BASE_KIB, "{report:?}");
}

/// The message, its fields and what is done with it: three times its bytes.
#[test]
fn an_answer_of_api_v3_may_be_as_long_as_the_cap() {
    // Nothing that could be a field.
    let words = |bytes: usize| "\u{7}".to_string() + &"x".repeat(bytes - 100);
    let grant = proto::LeaseGrantResponse { header: header(), error: words(16 << 20), ..Default::default() };
    let report = answered([("LeaseGrant", instead(grant))]);
    assert!(report.peak_kib < BASE_KIB + 3 * 16 * MIB, "{report:?}");
    let canceled = proto::WatchResponse {
        header: header(),
        watch_id: -1,
        canceled: true,
        cancel_reason: words(64 << 20),
        ..Default::default()
    };
    let report = answered([("Watch", instead(canceled))]);
    assert!(report.peak_kib < BASE_KIB + 3 * 64 * MIB, "{report:?}");
}

/// Two bytes on the wire are a hundred in memory.
#[test]
fn an_answer_of_millions_of_things_is_refused_unread() {
    let many =
        |tag: u8, bytes: usize| Manner { payload: Payload::Instead([tag, 0].repeat(bytes / 2)), ..Manner::default() };
    let nested = |manner: Manner| {
        let Payload::Instead(entries) = manner.payload else { unreachable!() };
        // A transaction whose one answer is a read of many entries.
        let mut read = vec![0x0a];
        prost::encoding::encode_varint(entries.len() as u64, &mut read);
        read.extend(entries);
        let mut txn = vec![0x1a];
        prost::encoding::encode_varint(read.len() as u64, &mut txn);
        txn.extend(read);
        Manner { payload: Payload::Instead(txn), ..Manner::default() }
    };
    let (answer, response) = ((16 << 20) - 32, (64 << 20) - 32);
    let calls = [("Range", many(0x12, answer)), ("Txn", nested(many(0x12, answer))), ("Txn", many(0x1a, answer))];
    for (name, manner) in calls {
        let report = answered([(name, manner)]);
        assert!(report.peak_kib < BASE_KIB + 3 * 16 * MIB, "{name}: {report:?}");
    }
    let report = answered([("Watch", many(0x5a, response))]);
    assert!(report.peak_kib < BASE_KIB + 3 * 64 * MIB, "{report:?}");
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
    // Our first watches have low numbers.
    let report = answered([0, 1, 2, 3, 4, 5, 6, 7].map(|watch_id| {
        let events = vec![event.clone(); 100];
        let response = proto::WatchResponse { header: header(), watch_id, events, ..Default::default() };
        ("Watch", Manner { again: u16::MAX, ..instead(response) })
    }));
    assert!(report.peak_kib < BASE_KIB, "{report:?}");
}

/// Leases that are gone as soon as they are granted, and cannot be revoked.
fn leases_that_do_not_hold(granted_s: i64, txn: fn() -> Manner) {
    let granted = Arc::new(AtomicU32::new(0));
    let count = granted.clone();
    let bad = truth::server_by(true, move |path| match path.rsplit('/').next() {
        Some("LeaseGrant") => {
            count.fetch_add(1, Ordering::SeqCst);
            Manner { payload: Payload::Granted(granted_s), ..Manner::default() }
        }
        Some("LeaseKeepAlive") => Manner { payload: Payload::Granted(0), ..Manner::default() },
        Some("Txn") => txn(),
        Some("LeaseRevoke") => refused("13", "no"),
        _ => Manner::default(),
    });
    let good = truth::server(false, Manner::default());
    let report = Victim::default().run(Api::V3, false, Duration::from_secs(4), &[bad.url()], &good.url());
    let granted = granted.load(Ordering::SeqCst);
    println!("leases: {granted} in {} KiB, {}", report.peak_kib, report.messages);
    assert!(report.peak_kib < BASE_KIB && !report.led, "{report:?}");
    assert!(granted < 400, "{granted} leases");
}

fn refused(code: &str, said: &str) -> Manner {
    let trailers = [("grpc-status", code), ("grpc-message", said)];
    let trailers = trailers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Manner { payload: Payload::None, end: End::Trailers(trailers.to_vec()), ..Manner::default() }
}

#[test]
fn leases_that_are_granted_for_ever_and_are_not_found_do_not_pile_up() {
    leases_that_do_not_hold(i64::MAX, || refused("5", "etcdserver: requested lease not found"));
}

#[test]
fn leases_that_are_granted_for_no_time_do_not_pile_up() {
    leases_that_do_not_hold(0, Manner::default);
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
    let report = Victim::default().run_until_told(Api::V3, false, LEAST, MOST, &[bomb.url(), table.url()], &good.url());
    println!("headers: {} KiB, {}", report.peak_kib, report.messages);
    assert!(report.peak_kib < BASE_KIB && !report.led, "{report:?}");
}
