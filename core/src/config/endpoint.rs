//! Where an etcd member listens, read strictly: a mistake here must not become a different cluster.

use std::fmt;

use rustls::pki_types::ServerName;

use super::{Error, refuse, shown};

/// Where one etcd member listens.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    is_tls: bool,
    host: String,
    port: u16,
}

/// Where etcd listens for clients unless told otherwise.
const DEFAULT_PORT: u16 = 2379;
/// A DNS name has at most 253 characters; an address literal has fewer.
const MAX_HOST_BYTES: usize = 253;

impl Endpoint {
    /// Reads `http://host[:port]` or `https://host[:port]`; `field` is what the caller knows it as.
    pub(crate) fn parse(field: &str, url: &str) -> Result<Endpoint, Error> {
        // What stands before an @ may be a password: it is never repeated.
        if url.contains('@') {
            return refuse(format!("{field} has a user or password in the URL; leave them out of it"));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return refuse(format!(
                "{field} {} has no scheme; write http://host:port or https://host:port",
                shown(url)
            ));
        };
        let is_tls = scheme.eq_ignore_ascii_case("https");
        if !is_tls && !scheme.eq_ignore_ascii_case("http") {
            return refuse(format!(
                "{field} has the scheme {}; write http://host:port or https://host:port",
                shown(scheme)
            ));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(at) = authority.find(['/', '?', '#']) {
            return refuse(format!(
                "{field} {} has {:?} after the port; write http://host:port",
                shown(url),
                &authority[at..at + 1]
            ));
        }
        let (host, port) = split_port(authority);
        let host = host.to_ascii_lowercase();
        if !is_host(&host) {
            return refuse(format!(
                "{field} {} has no usable host; write http://host:port, an IPv6 address in brackets",
                shown(url)
            ));
        }
        if is_tls && ServerName::try_from(host.trim_matches(['[', ']'])).is_err() {
            return refuse(format!(
                "{field} {} has a host that no certificate can name; write https://host:port",
                shown(url)
            ));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port > 0 && digits.bytes().all(|byte| byte.is_ascii_digit()) => port,
                _ => {
                    return refuse(format!(
                        "{field} {} has the port {}; give a number from 1 to 65535",
                        shown(url),
                        shown(digits)
                    ));
                }
            },
        };
        Ok(Endpoint { is_tls, host, port })
    }

    /// Whether it is spoken to over TLS (`https`).
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host as one connects to it: a name or an address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// `host:port`, or `[v6]:port`; a colon in an address without brackets leaves a host that is refused.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    let after_bracket = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after_bracket..].rfind(':') {
        Some(colon) => (&authority[..after_bracket + colon], Some(&authority[after_bracket + colon + 1..])),
        None => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty()
        && host.len() <= MAX_HOST_BYTES
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(out, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones_are_written_back_in_one_form() {
        for (given, form, host) in [
            ("http://127.0.0.1:2379", "http://127.0.0.1:2379", "127.0.0.1"),
            ("HTTP://Etcd-1.Example:4001/", "http://etcd-1.example:4001", "etcd-1.example"),
            ("http://etcd", "http://etcd:2379", "etcd"),
            ("http://[::1]:2379", "http://[::1]:2379", "::1"),
            ("http://[::1]", "http://[::1]:2379", "::1"),
            ("HTTPS://etcd", "https://etcd:2379", "etcd"),
            ("https://[::1]:1", "https://[::1]:1", "::1"),
        ] {
            let endpoint = Endpoint::parse("endpoints[0]", given).expect(given);
            assert_eq!((endpoint.to_string().as_str(), endpoint.host()), (form, host));
        }
    }

    #[test]
    fn bad_ones_are_refused_with_a_remedy() {
        for (given, part) in [
            ("", "no scheme"),
            ("127.0.0.1:2379", "no scheme"),
            ("https://a..b:2379", "no certificate can name"),
            ("https://", "no usable host"),
            ("unix:///run/etcd", "unix"),
            ("http://", "no usable host"),
            ("http://:2379", "no usable host"),
            ("http://::1:2379", "no usable host"),
            ("http://[::1:2379", "no usable host"),
            ("http://[etcd]:2379", "no usable host"),
            ("http://a b:2379", "no usable host"),
            ("http://h:0", "1 to 65535"),
            ("http://h:65536", "1 to 65535"),
            ("http://h:+1", "1 to 65535"),
            ("http://h:", "1 to 65535"),
            ("http://h:x", "1 to 65535"),
            ("http://h:1/v2", "after the port"),
            ("http://h:1?x", "after the port"),
        ] {
            let error = Endpoint::parse("endpoints[3]", given).expect_err(given);
            assert!(error.detail().contains("endpoints[3]") && error.detail().contains(part), "{given}: {error}");
        }
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        for url in ["http://root:hunter2@h:1", "root:hunter2@h:1", "hunter2@://h"] {
            let error = Endpoint::parse("endpoints[0]", url).expect_err("refused");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
