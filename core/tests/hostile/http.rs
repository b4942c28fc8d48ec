//! A server of HTTP/1.1 that is not etcd: answers of every shape, and true ones that were damaged.

use std::time::Duration;

use etcd_leader::Api;
use proptest::collection::vec;
use proptest::prelude::*;

use super::check;
use super::frames;
use super::grpc::urls;
use super::mutation::mutations;
use super::server::Server;
use super::truth_v2::{self, Body, End, Framing, Manner};
use super::victim::{KEY, PASSWORD, Victim};

/// Elections at one time.
const SIDE_BY_SIDE: usize = 6;
const A_WHILE: Duration = Duration::from_millis(150);
const MAX_KIB: u64 = 64 << 10;

fn a_number() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (1..100u64).prop_map(|number| number.to_string()),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => any::<f64>().prop_map(|number| format!("{number:e}")),
        1 => prop_oneof![
            Just("-1"), Just("0"), Just("9223372036854775807"), Just("9223372036854775806"), Just("18446744073709551615"),
            Just("99999999999999999999999"), Just("1e400"), Just("007"), Just(""), Just("\"5\""), Just("null"), Just("+5"),
        ].prop_map(str::to_string),
    ]
}

/// Something in JSON, or nearly.
fn a_value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => a_number(),
        2 => prop_oneof![
            Just("true".to_string()), Just("{}".into()), Just("[]".into()), Just("[[[]]]".into()), Just("\"\\ud800\"".into()),
            Just("\"\\u0000\"".into()), Just("[".repeat(200)), Just("{\"nodes\":[".repeat(150)), Just(format!("\"{PASSWORD}\"")),
            Just(format!("\"{KEY}\"")), Just(format!("\"{KEY}/5\"")), Just("\"/\"".into()), Just("\"\"".into()),
        ],
        1 => "[a-z\"\\\\/]{0,12}".prop_map(|text| format!("{text:?}")),
    ]
}

/// A node with everything a node has, of which some is not as it should be. It is never the one that we posted.
fn a_node(depth: u32) -> BoxedStrategy<String> {
    let right = |value: String| Just(value).boxed();
    let or_wrong = |right: BoxedStrategy<String>| prop_oneof![6 => right, 1 => a_value()];
    let key = (0..60u32).prop_map(|at| if at == 0 { format!("\"{KEY}\"") } else { format!("\"{KEY}/{at}\"") }).boxed();
    let nodes = match depth {
        0 => right("[]".into()),
        _ => vec(a_node(depth - 1), 0..4).prop_map(|nodes| format!("[{}]", nodes.join(","))).boxed(),
    };
    let fields = [
        ("key", or_wrong(if depth > 1 { right(format!("\"{KEY}\"")) } else { key })),
        ("value", or_wrong(right("\"other\"".into()))),
        ("dir", or_wrong(right(if depth > 1 { "true" } else { "false" }.into()))),
        ("createdIndex", or_wrong(a_number().boxed())),
        ("modifiedIndex", or_wrong(a_number().boxed())),
        ("ttl", or_wrong(a_number().boxed())),
        ("expiration", or_wrong(right("\"2026-01-01T00:00:00Z\"".into()))),
        ("nodes", or_wrong(nodes)),
    ];
    // Each once, now and then twice or not at all.
    let field = |(name, value)| {
        (value, prop_oneof![12 => Just(1), 1 => Just(0), 1 => Just(2)])
            .prop_map(move |(value, times)| vec![format!("\"{name}\":{value}"); times].join(","))
    };
    let fields: Vec<_> = fields.into_iter().map(field).collect();
    fields
        .prop_map(|fields: Vec<String>| {
            let fields: Vec<_> = fields.into_iter().filter(|field| !field.is_empty()).collect();
            format!("{{{}}}", fields.join(","))
        })
        .boxed()
}

fn an_event() -> impl Strategy<Value = String> {
    let action = prop_oneof![
        Just("\"get\"".to_string()),
        Just("\"expire\"".into()),
        Just("\"delete\"".into()),
        Just("\"set\"".into()),
        a_value(),
    ];
    let refusal = (a_value(), a_value(), a_value()).prop_map(|(code, message, cause)| {
        format!(r#"{{"errorCode":{code},"message":{message},"cause":{cause},"index":4}}"#)
    });
    let event = (action, a_node(2), any::<bool>()).prop_map(|(action, node, with_tail)| {
        let tail = if with_tail { r#","prevNode":{}"# } else { "" };
        format!(r#"{{"action":{action},"node":{node}{tail}}}"#)
    });
    prop_oneof![4 => event, 1 => refusal, 1 => a_value()]
}

fn any_headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let own = |name: &'static str, value: BoxedStrategy<Vec<u8>>| (Just(name.to_string()), value);
    let bytes = || a_number().prop_map(String::into_bytes).boxed();
    let date = prop_oneof![
        Just("Fri, 31 Dec 9999 23:59:60 GMT".to_string()),
        Just("Thu, 01 Jan 1970 00:00:00 GMT".into()),
        Just("Sun, 00 Foo 0000 99:99:99 GMT".into()),
        "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT",
    ]
    .prop_map(String::into_bytes)
    .boxed();
    let location = prop_oneof![
        Just(format!("/v2/keys{KEY}")),
        Just(format!("http://127.0.0.1:1/v2/keys{KEY}")),
        Just("".into()),
        Just("//".into()),
        Just("http://[::1".into()),
        Just(format!("http://u:{PASSWORD}@h/")),
        Just("x".repeat(3_000)),
        "[ -~]{0,40}",
    ]
    .prop_map(String::into_bytes)
    .boxed();
    let any = ("[A-Za-z-]{1,12}", vec(prop_oneof![9 => 0x20..=0xffu8, 1 => any::<u8>()], 0..60).boxed());
    let one = prop_oneof![
        4 => own("X-Etcd-Index", bytes()),
        3 => own("X-Etcd-Cluster-Id", prop_oneof![bytes(), Just(b"cdf818194e3a8c32".to_vec()).boxed()].boxed()),
        1 => own("X-Raft-Term", bytes()),
        2 => own("Date", date),
        2 => own("Location", location),
        1 => own("Connection", prop_oneof![Just(b"close".to_vec()), Just(b"upgrade".to_vec())].boxed()),
        1 => own("Content-Encoding", Just(b"gzip".to_vec()).boxed()),
        1 => any,
    ];
    vec(one, 0..7)
}

fn a_framing() -> impl Strategy<Value = Framing> {
    let announced = prop_oneof![
        3 => Just(None),
        1 => vec(any::<u8>(), 0..8).prop_map(Some),
        1 => prop_oneof![
            Just("ffffffffffffffff"), Just("-1"), Just("0"), Just("5;x=y"), Just("g"), Just(""),
        ].prop_map(|text| Some(text.as_bytes().to_vec())),
    ];
    prop_oneof![
        4 => Just(Framing::True),
        2 => a_number().prop_map(Framing::Length),
        2 => (1..50usize, announced).prop_map(|(size, announced)| Framing::Chunks(size, announced)),
        1 => Just(Framing::Close),
    ]
}

fn an_end() -> impl Strategy<Value = End> {
    prop_oneof![2 => Just(End::True), 2 => Just(End::Close), 1 => Just(End::Hang)]
}

fn a_manner() -> impl Strategy<Value = Manner> {
    let status = prop_oneof![
        6 => Just(Some(200)), 2 => prop_oneof![Just(307), Just(301), Just(404), Just(412), Just(500), Just(401), Just(100), Just(101)].prop_map(Some),
        1 => (0..1000u16).prop_map(Some),
    ];
    let body = prop_oneof![6 => an_event().prop_map(String::into_bytes), 1 => vec(any::<u8>(), 0..300)]
        .prop_map(Body::Instead);
    let headers = prop_oneof![2 => Just(Vec::new()), 1 => any_headers()];
    (status, headers, body, a_framing(), an_end()).prop_map(|(status, headers, body, framing, end)| Manner {
        status,
        headers,
        body,
        framing,
        end,
    })
}

#[test]
fn answers_that_are_none_of_etcds() {
    let (victim, good) = (Victim::default(), truth_v2::server(false, |_| Manner::default()));
    // Some methods are answered truly now and then, so that the others are asked for at all.
    let true_methods = prop_oneof![Just(""), Just("GET"), Just("POST"), Just("GET POST")];
    check(28, &(vec((a_manner(), true_methods), SIDE_BY_SIDE), any::<bool>()), |(manners, with_login)| {
        let servers: Vec<_> =
            manners
                .into_iter()
                .map(|(manner, truly): (Manner, &str)| {
                    truth_v2::server(true, move |request| {
                        if truly.contains(&request.method) { Manner::default() } else { manner.clone() }
                    })
                })
                .collect();
        let report = victim.run(Api::V2, with_login, A_WHILE, &urls(&servers), &good.url());
        assert!(!report.led, "led on such answers: {report:?}");
        assert!(report.peak_kib < MAX_KIB, "{report:?}");
    });
}

/// Who can write what etcd says can make a leader: what is damaged may be a lie that holds.
#[test]
fn true_answers_that_were_damaged() {
    let (victim, good) = (Victim::default(), truth_v2::server(false, |_| Manner::default()));
    let manner = (mutations(3).prop_map(Body::Mutated), a_framing(), an_end(), any_headers(), 0..4u8).prop_map(
        |(body, framing, end, headers, odd)| Manner {
            status: None,
            headers: if odd == 0 { headers } else { Vec::new() },
            body,
            framing: if odd == 1 { framing } else { Framing::True },
            end: if odd == 2 { end } else { End::True },
        },
    );
    let method = prop_oneof![Just(""), Just("GET"), Just("POST"), Just("PUT"), Just("DELETE")];
    check(24, &(vec((manner, method), SIDE_BY_SIDE), any::<bool>()), |(manners, with_login)| {
        let serve = |(manner, method): (Manner, &'static str)| {
            truth_v2::server(true, move |request| {
                if method.is_empty() || method == request.method { manner.clone() } else { Manner::default() }
            })
        };
        let servers: Vec<_> = manners.into_iter().map(serve).collect();
        let report = victim.run(Api::V2, with_login, A_WHILE, &urls(&servers), &good.url());
        assert!(report.peak_kib < MAX_KIB, "{report:?}");
    });
}

#[test]
fn bytes_that_are_no_http() {
    let (victim, good) = (Victim::default(), truth_v2::server(false, |_| Manner::default()));
    let line = prop_oneof![
        vec(any::<u8>(), 0..40),
        prop_oneof![
            Just("HTTP/1.1 200 OK\r\n"),
            Just("HTTP/1.1 200\r\n"),
            Just("HTTP/9.9 200 OK\r\n"),
            Just("HTTP/1.1 100 Continue\r\n\r\n"),
            Just("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"),
            Just("X-Etcd-Index: 4\r\n"),
            Just(" folded\r\n"),
            Just(": none\r\n"),
            Just("Transfer-Encoding: chunked\r\n"),
            Just("Content-Length: 5\r\nContent-Length: 6\r\n"),
            Just("\r\n"),
            Just("\n"),
        ]
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let says = (vec(line, 0..12), prop_oneof![3 => Just(1usize), 1 => Just(2_000)])
        .prop_map(|(lines, times)| lines.concat().repeat(times));
    check(16, &vec((says, any::<bool>()), SIDE_BY_SIDE), |noises| {
        let (noises, are_tls): (Vec<_>, Vec<_>) = noises.into_iter().unzip();
        let servers: Vec<_> = noises.into_iter().map(frames::raw_server).collect();
        let url = |(server, is_tls): (&Server, bool)| if is_tls { server.tls_url() } else { server.url() };
        let urls: Vec<_> = servers.iter().zip(are_tls).map(url).collect();
        let report = victim.run(Api::V2, false, A_WHILE, &urls, &good.url());
        assert!(!report.led && report.peak_kib < MAX_KIB, "{report:?}");
    });
}
