//! A server of HTTP/2 that is not etcd: replies of every shape, and true ones that were damaged.

use std::time::Duration;

use etcd_leader::Api;
use proptest::collection::vec;
use proptest::prelude::*;

use super::check;
use super::frames::{self, Talk};
use super::mutation::mutations;
use super::server::Server;
use super::truth::{self, End, Manner, Payload};
use super::victim::{PASSWORD, Victim};

/// Elections at one time.
const SIDE_BY_SIDE: usize = 6;
const A_WHILE: Duration = Duration::from_millis(150);
/// What the process of these tests may ever hold. Their servers send little, but for what the frames flood.
const MAX_KIB: u64 = 96 << 10;

fn any_headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        3 => Just("grpc-status".to_string()),
        2 => Just("grpc-message".to_string()),
        1 => Just("grpc-status-details-bin".to_string()),
        1 => Just("grpc-encoding".to_string()),
        1 => Just("content-type".to_string()),
        1 => Just("content-length".to_string()),
        1 => "[a-z-]{1,20}(-bin)?",
    ];
    let value = prop_oneof![
        3 => (0..20u32).prop_map(|code| code.to_string().into_bytes()),
        2 => prop_oneof![
            Just("etcdserver: requested lease not found"), Just("etcdserver: invalid auth token"),
            Just("etcdserver: permission denied"), Just("%00%0a%zz%e2%82"), Just("etcdserver: no leader"),
            Just(PASSWORD), Just("99999999999999999999"), Just("-1"), Just("gzip"), Just("text/html"), Just(""),
        ].prop_map(|text| text.as_bytes().to_vec()),
        1 => vec(0x20..=0xffu8, 0..200),
    ];
    vec((name, value), 0..6)
}

fn an_end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::True),
        3 => any_headers().prop_map(End::Trailers),
        1 => Just(End::Bare),
        1 => Just(End::Never),
        1 => (0..20u32).prop_map(End::Reset),
    ]
}

/// A message that is none of etcd's: no header of a store in it.
fn noise() -> impl Strategy<Value = Payload> {
    prop_oneof![
        vec(any::<u8>(), 0..200),
        // Fields without an end, and lengths beyond all bounds.
        Just([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f].repeat(20)),
        Just(vec![0x0b; 5_000]),
        Just([0x12, 0x00].repeat(3_000)),
        Just([0x5a, 0x02, 0x12, 0x00].repeat(3_000)),
    ]
    .prop_map(Payload::Instead)
}

fn a_manner(payload: impl Strategy<Value = Payload>, twisted: bool) -> impl Strategy<Value = Manner> {
    let odd = if twisted { 1 } else { 0 };
    let status = prop_oneof![9 => Just(None), odd => (200..600u16).prop_map(Some)];
    let flag = prop_oneof![9 => Just(0), odd => any::<u8>()];
    let declared = prop_oneof![9 => Just(None), odd => any::<u32>().prop_map(Some), odd => (0..60u32).prop_map(Some)];
    let again = prop_oneof![5 => Just(0), 1 => 1..50u16];
    (status, any_headers(), payload, flag, declared, again, an_end()).prop_map(
        |(status, headers, payload, flag, declared, again, end)| Manner {
            status,
            headers,
            payload,
            flag,
            declared,
            again,
            end,
        },
    )
}

#[test]
fn replies_that_are_none_of_etcds() {
    let (victim, good) = (Victim::default(), truth::server(false, Manner::default()));
    let manners = vec(a_manner(noise(), true), SIDE_BY_SIDE);
    check(24, &(manners, any::<bool>()), |(manners, with_login)| {
        let servers: Vec<_> = manners.into_iter().map(|manner| truth::server(true, manner)).collect();
        let report = victim.run(Api::V3, with_login, A_WHILE, &urls(&servers), &good.url());
        assert!(!report.led, "led on noise: {report:?}");
        assert!(report.peak_kib < MAX_KIB, "{report:?}");
    });
}

/// Who can write what etcd says can make a leader: what is damaged may be a lie that holds.
#[test]
fn true_replies_that_were_damaged() {
    let (victim, good) = (Victim::default(), truth::server(false, Manner::default()));
    let quiet = |manner: Manner, end| Manner { headers: Vec::new(), end, ..manner };
    let damaged = mutations(3).prop_map(Payload::Mutated);
    let manners =
        vec((a_manner(damaged, false), an_end()).prop_map(move |(manner, end)| quiet(manner, end)), SIDE_BY_SIDE);
    // Those of one path only, so that the others lead there.
    let path = prop_oneof![
        Just(""),
        Just("Txn"),
        Just("LeaseGrant"),
        Just("LeaseKeepAlive"),
        Just("Watch"),
        Just("Authenticate")
    ];
    check(24, &(manners, path, any::<bool>()), |(manners, path, with_login)| {
        let serve = |manner: Manner| {
            truth::server_by(true, move |asked| match asked.rsplit('/').next() {
                Some(name) if name.ends_with(path) => manner.clone(),
                Some("LeaseGrant") => Manner { payload: Payload::Granted(1), ..Manner::default() },
                _ => Manner::default(),
            })
        };
        let servers: Vec<_> = manners.into_iter().map(serve).collect();
        // A lease of a second is renewed after half of one.
        let a_while = if path == "LeaseKeepAlive" { 5 * A_WHILE } else { A_WHILE };
        let report = victim.run(Api::V3, with_login, a_while, &urls(&servers), &good.url());
        assert!(report.peak_kib < MAX_KIB, "{report:?}");
    });
}

#[test]
fn frames_that_nobody_sends() {
    let (victim, good) = (Victim::default(), truth::server(false, Manner::default()));
    check(16, &vec(frames::a_talk(), SIDE_BY_SIDE), |talks: Vec<Talk>| {
        let servers: Vec<_> = talks.into_iter().map(frames::server).collect();
        let report = victim.run(Api::V3, false, A_WHILE, &urls(&servers), &good.url());
        assert!(!report.led, "led on frames: {report:?}");
        assert!(report.peak_kib < MAX_KIB, "{report:?}");
    });
}

#[test]
fn noise_instead_of_tls() {
    let (victim, good) = (Victim::default(), truth::server(false, Manner::default()));
    check(8, &vec(frames::tls_noise(), SIDE_BY_SIDE), |noises| {
        let servers: Vec<_> = noises.into_iter().map(frames::raw_server).collect();
        let urls: Vec<_> = servers.iter().map(Server::tls_url).collect();
        let report = victim.run(Api::V3, false, A_WHILE, &urls, &good.url());
        assert!(!report.led && report.peak_kib < MAX_KIB, "{report:?}");
    });
}

pub(crate) fn urls(servers: &[Server]) -> Vec<String> {
    servers.iter().map(Server::url).collect()
}
