//! A configuration in which anything may stand: it is refused in words, or all that is promised of it holds.

use std::time::Duration;

use etcd_leader::config::{MAX_ENDPOINTS, Secret};
use etcd_leader::{Api, Config, Election, ErrorKind};
use proptest::collection::vec;
use proptest::prelude::*;

use super::{check, without_panic};

/// In no message, wherever it was written by mistake.
const PASSWORD: &str = "Planted-Swordfish-5";
/// Of a refusal: it may quote a key, a name and a user, but not all that it was given.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

fn a_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z/._-]{0,30}",
        2 => vec(any::<u8>(), 0..60).prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        1 => "\\PC{0,40}",
        1 => prop_oneof![Just(1023), Just(1024), Just(1025), Just(100_000)].prop_map(|length| "k".repeat(length)),
        1 => prop_oneof![Just("\0"), Just("a\0b"), Just("/"), Just("//"), Just("/a/../b"), Just("\u{202e}"), Just("\n")].prop_map(str::to_string),
    ]
}

/// A URL, or nearly.
fn a_url() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![6 => Just("http://"), 3 => Just("https://"), 1 => prop_oneof![Just("HTTP://"), Just("ftp://"), Just(""), Just("://"), Just("http:/"), Just("http//")]];
    let user = prop_oneof![12 => Just(String::new()), 1 => Just(format!("root:{PASSWORD}@")), 1 => Just(format!("{PASSWORD}@:")), 1 => Just("@".into())];
    let host = prop_oneof![
        6 => "[a-zA-Z0-9._-]{1,30}",
        2 => "[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}",
        2 => "\\[[0-9a-f:%\\[\\]]{0,20}\\]?",
        1 => a_text(),
        1 => prop_oneof![Just(253), Just(254), Just(70_000)].prop_map(|length| "h".repeat(length)),
    ];
    let port = prop_oneof![
        4 => Just(String::new()), 6 => any::<u16>().prop_map(|port| format!(":{port}")),
        1 => any::<i64>().prop_map(|port| format!(":{port}")), 1 => Just(":".into()), 1 => "[:0-9+ ]{0,9}",
    ];
    let path = prop_oneof![12 => Just(String::new()), 2 => Just("/".into()), 1 => "[/?#a-z%]{0,9}"];
    prop_oneof![
        8 => (scheme, user, host, port, path).prop_map(|(scheme, user, host, port, path)| format!("{scheme}{user}{host}{port}{path}")),
        1 => a_text(),
    ]
}

fn a_number(most: u32) -> impl Strategy<Value = u32> {
    prop_oneof![6 => Just(0), 6 => 0..=most, 1 => any::<u32>(), 1 => Just(u32::MAX)]
}

fn or_not<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>> {
    (strategy, 0..4u8).prop_map(|(value, odd)| (odd == 0).then_some(value))
}

fn a_config() -> impl Strategy<Value = Config> {
    let good_key = prop_oneof![3 => Just("/jobs/nightly".to_string()), 2 => a_text()];
    let good_name = prop_oneof![3 => Just("one".to_string()), 2 => a_text()];
    let urls = prop_oneof![8 => vec(a_url(), 0..4), 1 => vec(Just("http://h".to_string()), 60..70)];
    let numbers = (a_number(310), a_number(6_000), a_number(3_000), a_number(3_000), a_number(4_000_000));
    let password = or_not(prop_oneof![Just(PASSWORD.to_string()), a_text()]);
    let pem = || or_not(prop_oneof![Just(PASSWORD.to_string()), a_text()].prop_map(Secret::new));
    let access = (or_not(a_text()), password, or_not(a_text()), pem(), pem(), pem());
    (urls, any::<bool>(), good_key, good_name, numbers, access).prop_map(
        |(endpoints, is_v2, key, name, numbers, access)| {
            let (ttl_s, renew_ms, step_down_ms, request_timeout_ms, stop_timeout_ms) = numbers;
            let (username, password, tls_server_name, ca_pem, cert_pem, key_pem) = access;
            // What has nothing to do with TLS must be accepted often enough to be looked at.
            let is_plain = endpoints.first().is_none_or(|url| !url.starts_with("https")) && key.len() % 4 != 0;
            let tls = |pem: Option<Secret>| pem.filter(|_| !is_plain);
            Config {
                endpoints,
                api: if is_v2 { Api::V2 } else { Api::V3 },
                key,
                name,
                ttl_s,
                renew_ms,
                step_down_ms,
                request_timeout_ms,
                stop_timeout_ms,
                username,
                password: password.map(Secret::new),
                ca_pem: tls(ca_pem),
                cert_pem: tls(cert_pem),
                key_pem: tls(key_pem),
                tls_server_name: tls_server_name.filter(|_| !is_plain),
                ..Config::default()
            }
        },
    )
}

#[test]
fn any_configuration_is_refused_in_words_or_keeps_its_promises() {
    let accepted = std::cell::Cell::new(0);
    check(3_000, &a_config(), |config| {
        match without_panic(|| Election::check(&config).and_then(|_| config.validate())) {
            Err(error) => {
                let said = format!("{error} {error:?}");
                assert_eq!(error.kind(), ErrorKind::Invalid);
                assert!(!said.contains(PASSWORD), "the password is told");
                assert!(
                    !error.detail().is_empty() && said.len() <= MAX_MESSAGE_BYTES,
                    "{} bytes: {said:.400}",
                    said.len()
                );
                assert!(!error.detail().contains(char::is_control), "{:?}", error.detail());
            }
            Ok(settings) => {
                accepted.set(accepted.get() + 1);
                let (session, timings) = (&settings.session, &settings.session.timings);
                assert!((1..=300).contains(&timings.ttl_s));
                let twice = timings.renew_every + 2 * timings.attempt + timings.margin;
                assert!(twice <= timings.ttl(), "two attempts do not fit: {timings:?}");
                assert!(
                    timings.attempt >= Duration::from_millis(20) && timings.renew_every <= Duration::from_secs(100)
                );
                assert!(!timings.margin.is_zero() && !timings.renew_every.is_zero());
                assert!(settings.stop_timeout > Duration::ZERO && settings.stop_timeout <= Duration::from_secs(3600));
                assert!((1..=MAX_ENDPOINTS).contains(&session.endpoints.len()));
                for endpoint in &session.endpoints {
                    let written = Config {
                        endpoints: vec![endpoint.to_string()],
                        key: "k".into(),
                        name: "n".into(),
                        ..Config::default()
                    };
                    let again = written.validate().expect("an endpoint is written as it is read");
                    assert_eq!(again.session.endpoints, std::slice::from_ref(endpoint));
                    endpoint.to_string().parse::<http::Uri>().expect("a URL");
                    assert!(endpoint.port() > 0 && !endpoint.host().is_empty());
                }
                let (key, name) = (&settings.key, &settings.name);
                assert!(
                    (1..=1025).contains(&key.len())
                        && !key.ends_with('/')
                        && !key.contains("//")
                        && !key.contains('\0')
                );
                assert!((1..=1024).contains(&name.len()) && !name.contains('\0'));
                assert!(!format!("{settings:?}").contains(PASSWORD));
            }
        }
    });
    assert!(accepted.get() > 0, "nothing was accepted");
}

#[test]
fn any_url_is_refused_in_words_or_is_an_endpoint() {
    check(6_000, &a_url(), |url| {
        let config = Config { endpoints: vec![url.clone()], key: "k".into(), name: "n".into(), ..Config::default() };
        match without_panic(|| config.validate()) {
            Err(error) => {
                assert!(!format!("{error:?}").contains(PASSWORD), "the password is told");
                assert!(error.detail().contains("endpoints[0]") && error.detail().len() < 1_000, "{error}");
                assert!(!error.detail().contains(char::is_control), "{:?}", error.detail());
            }
            Ok(settings) => {
                let endpoint = &settings.session.endpoints[0];
                let (given, read) = (url.to_ascii_lowercase(), endpoint.host().to_ascii_lowercase());
                assert!(given.contains(&read), "{url} became {endpoint}");
            }
        }
    });
}
