//! The configuration of an election, and every check on it that needs neither a file nor a network.
//!
//! [`Config`] is what the caller says; [`Config::validate`] turns it into [`Settings`], in which every default is
//! filled in and every value is known to be usable. Each refusal names the field, the value and the remedy. The files that a
//! configuration names are values here: the crate `etcd-leader` reads them.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, ErrorKind};

mod access;
mod endpoint;
mod host;
mod settings;
pub use access::{Access, Login, MAX_PEM_BYTES, Pem, Secret, Tls};
pub use endpoint::{Endpoint, Service};
pub use settings::{Effective, SessionSettings, Settings, Timings};

/// Which of etcd's two APIs an election lives in. They cannot see each other: all members must use the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Api {
    /// gRPC, etcd 3.4 and later; shares elections with Go's `concurrency.Election` and `etcdctl elect`.
    #[default]
    V3,
    /// HTTP, etcd 2 to 3.5 (`--enable-v2=true`); shares elections with the npm package `etcd-leader` of 2015. Entries
    /// expire by the clocks of etcd's members, which must agree within the step-down margin.
    V2,
}

/// What to do when the store turns out to have gone back in time (wiped, or restored from a backup).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnStoreReset {
    /// Report it, let nobody of ours lead for one ttl plus the step-down margin, then go on.
    #[default]
    Continue,
    /// End the election with [`ErrorKind::StoreReset`].
    Stop,
}

/// How to take part in an election. Zero (or `None`) stands for the default.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The servers of one etcd cluster, each `http://host:port`, `https://host:port`, `unix:///path` and `unixs:///path`
    /// for a unix socket, or `srv://domain` and `srvs://domain` for the servers that the DNS lists; at least one. The port may be left out (2379), and so may the scheme: then it is https if anything
    /// is said of certificates, as etcdctl takes it. One text may hold several, with commas between them.
    pub endpoints: Vec<String>,
    /// Which API of etcd to use.
    pub api: Api,
    /// The election: all who campaign for the same key on the same cluster compete. Taken byte for byte.
    pub key: String,
    /// What this candidate calls itself; followers are told the leader's name. In API v2 it should be its own: a wiped
    /// store gives keys out again.
    pub name: String,
    /// The lease in whole seconds, 1 to 300; default 10. After a crash the next in line leads once it has run out.
    pub ttl_s: u32,
    /// How often a follower renews its lease, in milliseconds; default ttl/2, at most 100,000. In API v3 the leader and the next
    /// in line renew twice as often.
    pub renew_ms: u32,
    /// How long before the lease's certain end leading ends by itself, in milliseconds; default ttl/5.
    pub step_down_ms: u32,
    /// How long a server may be silent, at most, before another one is asked too, in milliseconds. Nothing is given up for it.
    /// Default as much as fits twice between renewal and step-down, at most 5,000.
    pub request_timeout_ms: u32,
    /// How long a stop waits for the user to hear of it, and for etcd to take the key away, in milliseconds;
    /// default ttl.
    pub stop_timeout_ms: u32,
    /// What to do when the store went back in time.
    pub on_store_reset: OnStoreReset,
    /// A user of etcd's, if it asks for one.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Whom we trust: a file with CA certificates in PEM. Only these are trusted then; without one, those that the
    /// system trusts. Files are read at the start, and again for each connection.
    pub ca_file: Option<PathBuf>,
    /// The same as text.
    pub ca_pem: Option<Secret>,
    /// Our own certificate, if the server asks for one, and those between it and its CA: a file in PEM.
    pub cert_file: Option<PathBuf>,
    /// The same as text.
    pub cert_pem: Option<Secret>,
    /// The private key of our certificate, not encrypted: a file in PEM.
    pub key_file: Option<PathBuf>,
    /// The same as text.
    pub key_pem: Option<Secret>,
    /// The name that the certificates of all endpoints must hold, where it is not the endpoint's host.
    pub tls_server_name: Option<String>,
}

/// Measured: with a thousand candidates, telling all of them of a delete costs the next leader 30 to 60 ms.
const FEW: usize = 32;
const DEFAULT_TTL_S: u32 = 10;
const MAX_TTL_S: u32 = 300;
/// etcd writes the remaining time of long leases down every five minutes; renewing well within that keeps them exact.
const MAX_RENEW: Duration = Duration::from_secs(100);
const MAX_ATTEMPT: Duration = Duration::from_secs(5);
/// Below this even a loopback connection misses deadlines on a busy machine.
const MIN_ATTEMPT: Duration = Duration::from_millis(20);
const MAX_STOP_TIMEOUT_MS: u32 = 3_600_000;
const MAX_KEY_BYTES: usize = 1024;
const MAX_NAME_BYTES: usize = 1024;
/// More members than this no cluster has.
pub const MAX_ENDPOINTS: usize = 64;

impl Config {
    /// Checks every field and fills in the defaults. Opens no file and touches no network: `Election::check` also
    /// reads the certificates and the key.
    pub fn validate(&self) -> Result<Settings, Error> {
        let ttl_s = if self.ttl_s == 0 { DEFAULT_TTL_S } else { self.ttl_s };
        if ttl_s > MAX_TTL_S {
            return refuse(format!(
                "ttl_s is {ttl_s}; give whole seconds from 1 to {MAX_TTL_S}, or 0 for {DEFAULT_TTL_S}"
            ));
        }
        let ttl = Duration::from_secs(u64::from(ttl_s));
        let key = self.check_key()?;
        check_text("name", &self.name, MAX_NAME_BYTES)?;
        if self.stop_timeout_ms > MAX_STOP_TIMEOUT_MS {
            return refuse(format!(
                "stop_timeout_ms is {}; give at most {MAX_STOP_TIMEOUT_MS} (one hour), or 0 for the ttl",
                self.stop_timeout_ms
            ));
        }
        let (renew_every, margin, attempt) = self.pace(ttl)?;
        let endpoints = self.check_endpoints()?;
        let access = self.check_access(&endpoints)?;
        Ok(Settings {
            key,
            name: self.name.clone(),
            stop_timeout: millis_or(self.stop_timeout_ms, ttl),
            session: SessionSettings {
                timings: Timings {
                    api: self.api,
                    endpoints: endpoints.len(),
                    checks_passwords: self.api == Api::V2 && access.login.is_some(),
                    ttl_s,
                    renew_every,
                    margin,
                    attempt,
                    few: FEW,
                    on_store_reset: self.on_store_reset,
                },
                endpoints,
                access,
            },
        })
    }

    /// Renewal period, step-down margin and attempt time, such that two whole attempts fit between renewal and
    /// step-down: one endpoint may fail without costing the lead.
    fn pace(&self, ttl: Duration) -> Result<(Duration, Duration, Duration), Error> {
        let renew_every = millis_or(self.renew_ms, (ttl / 2).min(MAX_RENEW));
        let margin = millis_or(self.step_down_ms, ttl / 5);
        if renew_every > MAX_RENEW {
            return refuse(format!("renew_ms is {}; give at most {}", self.renew_ms, MAX_RENEW.as_millis()));
        }
        let room = ttl.checked_sub(renew_every + margin).filter(|room| *room >= 2 * MIN_ATTEMPT).ok_or_else(|| {
            invalid(format!(
                "renew_ms {} and step_down_ms {} leave no room in a ttl of {} ms for two attempts of at least {} ms; \
                 lower one of them, or raise ttl_s",
                renew_every.as_millis(),
                margin.as_millis(),
                ttl.as_millis(),
                MIN_ATTEMPT.as_millis()
            ))
        })?;
        let attempt = millis_or(self.request_timeout_ms, (room / 2).min(MAX_ATTEMPT));
        if attempt < MIN_ATTEMPT {
            return refuse(format!(
                "request_timeout_ms is {}; give at least {}, or 0 for the default",
                self.request_timeout_ms,
                MIN_ATTEMPT.as_millis()
            ));
        }
        if 2 * attempt > room {
            return refuse(format!(
                "request_timeout_ms is {}; two attempts must fit between renew_ms {} and step-down at {} ms of the \
                 ttl: give at most {}, or raise ttl_s",
                self.request_timeout_ms,
                renew_every.as_millis(),
                (ttl - margin).as_millis(),
                (room / 2).as_millis()
            ));
        }
        Ok((renew_every, margin, attempt))
    }

    /// The key as etcd will show it: in v2, where keys are paths, with a slash at its start.
    fn check_key(&self) -> Result<String, Error> {
        check_key(&self.key)?;
        if self.api == Api::V3 {
            return Ok(self.key.clone());
        }
        if let Some(part) = self.key.split('/').find(|part| matches!(*part, "." | "..")) {
            return refuse(format!(
                "key {:?} has the part {part:?}, which API v2 takes out of paths; rename it",
                self.key
            ));
        }
        Ok(if self.key.starts_with('/') { self.key.clone() } else { format!("/{}", self.key) })
    }

    fn check_endpoints(&self) -> Result<Vec<Endpoint>, Error> {
        if self.endpoints.is_empty() {
            return refuse("endpoints is empty; give at least one, such as http://127.0.0.1:2379".into());
        }
        let has_tls = self.tls_field().is_some();
        let count: usize = self.endpoints.iter().map(|list| list.split(',').count()).sum();
        if count > MAX_ENDPOINTS {
            return refuse(format!("endpoints has {count} entries; give at most {MAX_ENDPOINTS}"));
        }
        let mut endpoints: Vec<Endpoint> = Vec::with_capacity(count);
        for (at, list) in self.endpoints.iter().enumerate() {
            for endpoint in Endpoint::parse_list(&format!("endpoints[{at}]"), list, has_tls)? {
                if !endpoints.contains(&endpoint) {
                    endpoints.push(endpoint);
                }
            }
        }
        Ok(endpoints)
    }
}

fn check_key(key: &str) -> Result<(), Error> {
    check_text("key", key, MAX_KEY_BYTES)?;
    if key.ends_with('/') {
        return refuse(format!("key {key:?} ends with a slash; members live under the key, leave the slash out"));
    }
    if key.contains("//") {
        return refuse(format!("key {key:?} has a double slash; keys are taken byte for byte, write single ones"));
    }
    Ok(())
}

fn check_text(field: &str, value: &str, max_bytes: usize) -> Result<(), Error> {
    if value.is_empty() {
        return refuse(format!("{field} is empty; give from 1 to {max_bytes} bytes"));
    }
    if value.len() > max_bytes {
        let start: String = value.chars().take(24).collect();
        return refuse(format!("{field} {start:?}... has {} bytes; give at most {max_bytes}", value.len()));
    }
    if let Some(at) = value.find('\0') {
        return refuse(format!("{field} {value:?} has a NUL byte at {at}; leave it out"));
    }
    Ok(())
}

/// A caller's text in a message: quoted, and cut where it is too long to read.
fn shown(text: &str) -> String {
    if text.chars().count() > 80 {
        format!("{:?}...", text.chars().take(80).collect::<String>())
    } else {
        format!("{text:?}")
    }
}

fn millis_or(millis: u32, default: Duration) -> Duration {
    if millis == 0 { default } else { Duration::from_millis(u64::from(millis)) }
}

fn invalid(detail: String) -> Error {
    Error::new(ErrorKind::Invalid, detail)
}

/// An error of the configuration, with these words.
pub fn refuse<T>(detail: String) -> Result<T, Error> {
    Err(invalid(detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Config {
        Config {
            endpoints: vec!["http://127.0.0.1:2379".into()],
            key: "/jobs/nightly".into(),
            name: "one".into(),
            ..Config::default()
        }
    }

    #[test]
    fn defaults_follow_the_ttl() {
        let settings = good().validate().expect("a good config");
        assert_eq!(settings.stop_timeout, Duration::from_secs(10));
        let timings = settings.session.timings;
        assert_eq!(
            (timings.ttl_s, timings.renew_every, timings.margin),
            (10, Duration::from_secs(5), Duration::from_secs(2))
        );
        assert_eq!(timings.attempt, Duration::from_millis(1500));
    }

    #[test]
    fn two_attempts_fit_for_every_ttl() {
        for ttl_s in 1..=MAX_TTL_S {
            let timings = Config { ttl_s, ..good() }.validate().expect("any ttl in range").session.timings;
            assert!(timings.renew_every + 2 * timings.attempt + timings.margin <= timings.ttl(), "ttl {ttl_s}");
            assert!(timings.renew_every <= MAX_RENEW && timings.attempt <= MAX_ATTEMPT, "ttl {ttl_s}");
        }
    }

    #[test]
    fn every_refusal_names_field_value_and_remedy() {
        let long = "k".repeat(MAX_KEY_BYTES + 1);
        let many = vec!["http://h:1".to_string(); MAX_ENDPOINTS + 1];
        #[rustfmt::skip]
        let table: Vec<(Config, [&str; 3])> = vec![
            (Config { endpoints: vec![], ..good() }, ["endpoints", "empty", "at least one"]),
            (Config { endpoints: many, ..good() }, ["endpoints", "65", "at most 64"]),
            (Config { endpoints: vec!["ftp://h:1".into()], ..good() }, ["endpoints[0]", "ftp", "http://"]),
            (Config { key: "".into(), ..good() }, ["key", "empty", "1 to 1024"]),
            (Config { key: "/".into(), ..good() }, ["key", "\"/\"", "leave the slash out"]),
            (Config { key: "/a/".into(), ..good() }, ["key", "/a/", "leave the slash out"]),
            (Config { key: "/a//b".into(), ..good() }, ["key", "/a//b", "single"]),
            (Config { key: "/a/../b".into(), api: Api::V2, ..good() }, ["key", "..", "rename"]),
            (Config { key: "/a\0b".into(), ..good() }, ["key", "\\0", "leave it out"]),
            (Config { key: long, ..good() }, ["key", "1025", "at most 1024"]),
            (Config { name: "".into(), ..good() }, ["name", "empty", "1 to 1024"]),
            (Config { name: "a\0".into(), ..good() }, ["name", "NUL", "leave it out"]),
            (Config { name: "n".repeat(1025), ..good() }, ["name", "1025", "at most 1024"]),
            (Config { ttl_s: 301, ..good() }, ["ttl_s", "301", "1 to 300"]),
            (Config { renew_ms: 9_000, ..good() }, ["renew_ms", "9000", "lower"]),
            (Config { renew_ms: 100_001, ttl_s: 300, ..good() }, ["renew_ms", "100001", "at most 100000"]),
            (Config { step_down_ms: 9_999, ..good() }, ["step_down_ms", "9999", "lower"]),
            (Config { request_timeout_ms: 1_501, ..good() }, ["request_timeout_ms", "1501", "at most 1500"]),
            (Config { request_timeout_ms: 19, ..good() }, ["request_timeout_ms", "19", "at least 20"]),
            (Config { stop_timeout_ms: 3_600_001, ..good() }, ["stop_timeout_ms", "3600001", "at most"]),
        ];
        for (config, parts) in table {
            let error = config.validate().expect_err(parts[0]);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            for part in parts {
                assert!(error.detail().contains(part), "{:?} should say {part:?}", error.detail());
            }
        }
    }

    #[test]
    fn a_key_is_a_path_in_v2_only() {
        let key = |key: &str, api| Config { key: key.into(), api, ..good() }.validate().expect("a good key").key;
        assert_eq!([key("jobs", Api::V2), key("/jobs", Api::V2), key("jobs", Api::V3)], ["/jobs", "/jobs", "jobs"]);
        assert_eq!(key("/a/../b", Api::V3), "/a/../b");
    }

    #[test]
    fn endpoints_named_twice_count_once() {
        let twice = vec!["http://h:2379".into(), "http://H".into(), "http://other".into()];
        let session = Config { endpoints: twice, ..good() }.validate().expect("fine").session;
        assert_eq!((session.endpoints.len(), session.timings.endpoints), (2, 2));
    }
}
