//! Where an etcd server listens, read strictly: a mistake here must not become a different cluster.

use std::fmt;
use std::path::{Path, PathBuf};

use super::host::{MAX_HOST_BYTES, host_of, is_certifiable, is_domain, split_port, without_zone};
use super::{Error, refuse, shown};

/// Where one etcd server listens.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    is_tls: bool,
    place: Place,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Place {
    /// A name or an address, without brackets; an IPv6 address may have a zone.
    Host { host: String, port: u16 },
    /// A unix socket, by an absolute path.
    Socket(PathBuf),
    /// One of the servers that the DNS lists for a domain.
    Service { domain: String, turn: usize },
}

/// The DNS lists several servers for a domain; an endpoint stands for one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name of the SRV records, as etcd's documentation has it.
    pub records: String,
    /// The place in the list at which to begin, counted from 0; after the last comes the first.
    pub turn: usize,
}

/// Where etcd listens for clients unless told otherwise.
const DEFAULT_PORT: u16 = 2379;
/// The system keeps the path of a socket in 108 bytes, the last of which is NUL.
const MAX_SOCKET_BYTES: usize = 107;
/// The name of a server behind a socket in HTTP and TLS, as in Go.
const SOCKET_HOST: &str = "localhost";
const FORMS: &str = "write http://host:port, https://host:port, unix:///path or srv://domain";
/// How many endpoints stand for a domain: enough to have another server at hand while one is frozen, of five, too. One
/// that does not take connections is passed over anyway.
const SERVERS_OF_A_DOMAIN: usize = 3;
/// The name of a domain's SRV records begins with the first of these without TLS, and with the second over TLS.
const SERVICES: [&str; 2] = ["_etcd-client._tcp.", "_etcd-client-ssl._tcp."];

impl Endpoint {
    /// Reads a list as etcdctl takes it: endpoints with commas between them, spaces around them, and none after the last
    /// comma. One without a scheme is spoken to over TLS if `has_tls`. `field` is what the caller knows the list as.
    pub fn parse_list(field: &str, list: &str, has_tls: bool) -> Result<Vec<Endpoint>, Error> {
        // What stands before an @ may be a password: it is never repeated.
        if list.contains('@') {
            return refuse(format!("{field} has a user or password in the URL; leave them out of it"));
        }
        let given = list.split(',').map(str::trim).filter(|one| !one.is_empty());
        let mut endpoints = Vec::new();
        for one in given {
            endpoints.extend(Endpoint::parse(field, one, has_tls)?.servers());
        }
        if endpoints.is_empty() {
            return refuse(format!("{field} {} names no server; {FORMS}", shown(list)));
        }
        Ok(endpoints)
    }

    fn parse(field: &str, url: &str, has_tls: bool) -> Result<Endpoint, Error> {
        let (scheme, rest) = url.split_once("://").unwrap_or((if has_tls { "https" } else { "http" }, url));
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            "unix" => return socket(field, url, rest, false),
            "unixs" => return socket(field, url, rest, true),
            "srv" => return service(field, url, rest, false),
            "srvs" => return service(field, url, rest, true),
            _ => return refuse(format!("{field} has the scheme {}; {FORMS}", shown(scheme))),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(at) = authority.find(['/', '?', '#']) {
            return refuse(format!(
                "{field} {} has {:?} after the port; write http://host:port",
                shown(url),
                &authority[at..at + 1]
            ));
        }
        let (host, port) = split_port(authority);
        let Some(host) = host_of(host) else {
            return refuse(format!(
                "{field} {} has no usable host; write http://host:port, an IPv6 address in brackets",
                shown(url)
            ));
        };
        if is_tls && !is_certifiable(without_zone(&host)) {
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
        Ok(Endpoint { is_tls, place: Place::Host { host, port } })
    }

    /// The endpoints that stand for it: several for a domain, else itself.
    fn servers(self) -> Vec<Endpoint> {
        let Place::Service { domain, .. } = self.place else { return vec![self] };
        let server = |turn| Place::Service { domain: domain.clone(), turn };
        (0..SERVERS_OF_A_DOMAIN).map(|turn| Endpoint { is_tls: self.is_tls, place: server(turn) }).collect()
    }

    /// Whether it is spoken to over TLS (`https`, `unixs`, `srvs`).
    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// The host as one connects to it: a name or an address, without brackets, with its zone; `localhost` for a socket, and
    /// the domain for servers that the DNS lists: anybody may answer for the DNS, so that, as etcdctl has it, the
    /// certificate names what was configured.
    pub fn host(&self) -> &str {
        match &self.place {
            Place::Host { host, .. } => host,
            Place::Service { domain, .. } => domain,
            Place::Socket(_) => SOCKET_HOST,
        }
    }

    /// The host as a certificate names it: an address has no zone there (RFC 4007).
    pub fn certified_host(&self) -> &str {
        without_zone(self.host())
    }

    /// The port; 0 for a socket, and for a server that is still to be looked up.
    pub fn port(&self) -> u16 {
        match self.place {
            Place::Host { port, .. } => port,
            Place::Socket(_) | Place::Service { .. } => 0,
        }
    }

    /// The server that the DNS knows, if it is one of those.
    pub fn service(&self) -> Option<Service> {
        let Place::Service { domain, turn } = &self.place else { return None };
        Some(Service { records: format!("{}{domain}", SERVICES[usize::from(self.is_tls)]), turn: *turn })
    }

    /// This endpoint with the port that a look-up has found; one with a port of its own keeps that.
    pub fn at(&self, port: u16) -> Endpoint {
        let Place::Service { domain, .. } = &self.place else { return self.clone() };
        Endpoint { is_tls: self.is_tls, place: Place::Host { host: domain.clone(), port } }
    }

    /// The path of the unix socket, if it is one.
    pub fn socket(&self) -> Option<&Path> {
        match &self.place {
            Place::Host { .. } | Place::Service { .. } => None,
            Place::Socket(path) => Some(path),
        }
    }

    /// Whether its host is an address that counts on one interface only.
    pub fn has_zone(&self) -> bool {
        self.host().contains('%')
    }

    /// The host in the URL of an HTTP request. A URL has neither sockets nor zones: `localhost` stands for them.
    pub fn url_host(&self) -> &str {
        if self.has_zone() { SOCKET_HOST } else { self.host() }
    }

    /// The beginning of the URL of an HTTP request.
    pub fn base_url(&self) -> String {
        let (scheme, host) = (if self.is_tls { "https" } else { "http" }, self.url_host());
        match &self.place {
            Place::Socket(_) | Place::Service { .. } => format!("{scheme}://{host}"),
            Place::Host { port, .. } if host.contains(':') => format!("{scheme}://[{host}]:{port}"),
            Place::Host { port, .. } => format!("{scheme}://{host}:{port}"),
        }
    }
}

/// `unix:///path`, or `unix://path` below the current folder, as etcd listens there.
fn socket(field: &str, url: &str, path: &str, is_tls: bool) -> Result<Endpoint, Error> {
    let no_use = |why: &str| refuse(format!("{field} {} {why}; write unix:///path", shown(url)));
    if !cfg!(unix) {
        return refuse(format!(
            "{field} {} is a unix socket, which this system has not; write http://host:port",
            shown(url)
        ));
    }
    if path.is_empty() || path.ends_with('/') || path.contains('\0') {
        return no_use("has no usable path");
    }
    match std::path::absolute(path) {
        Ok(path) if path.as_os_str().len() <= MAX_SOCKET_BYTES => Ok(Endpoint { is_tls, place: Place::Socket(path) }),
        Ok(path) => {
            let bytes = path.as_os_str().len();
            no_use(&format!("has a path of {bytes} bytes, and a socket's has at most {MAX_SOCKET_BYTES}"))
        }
        Err(_) => no_use("has no usable path"),
    }
}

/// `srv://domain`: the DNS knows the servers and their ports.
fn service(field: &str, url: &str, rest: &str, is_tls: bool) -> Result<Endpoint, Error> {
    let domain = rest.strip_suffix('/').unwrap_or(rest).trim_end_matches('.').to_ascii_lowercase();
    let fits = domain.len() + SERVICES[usize::from(is_tls)].len() <= MAX_HOST_BYTES;
    if !fits || !is_domain(&domain) || (is_tls && !is_certifiable(&domain)) {
        let scheme = if is_tls { "srvs" } else { "srv" };
        return refuse(format!(
            "{field} {} has no domain that the DNS can know; write {scheme}://domain, without a port",
            shown(url)
        ));
    }
    Ok(Endpoint { is_tls, place: Place::Service { domain, turn: 0 } })
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tls = if self.is_tls { "s" } else { "" };
        match &self.place {
            Place::Socket(path) => write!(out, "unix{tls}://{}", path.display()),
            Place::Service { domain, .. } => write!(out, "srv{tls}://{domain}"),
            Place::Host { host, port } if host.contains(':') => write!(out, "http{tls}://[{host}]:{port}"),
            Place::Host { host, port } => write!(out, "http{tls}://{host}:{port}"),
        }
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

    fn one(url: &str) -> Result<Endpoint, Error> {
        Endpoint::parse_list("endpoints[3]", url, false).map(|mut list| list.remove(0))
    }

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
            ("127.0.0.1:4001", "http://127.0.0.1:4001", "127.0.0.1"),
            ("etcd", "http://etcd:2379", "etcd"),
            ("[::1]:4001", "http://[::1]:4001", "::1"),
            ("http://[fe80::1%25eth0]:1", "http://[fe80::1%eth0]:1", "fe80::1%eth0"),
            ("https://[FE80::1%Eth0]", "https://[fe80::1%Eth0]:2379", "fe80::1%Eth0"),
            ("unix:///run/etcd/client.sock", "unix:///run/etcd/client.sock", "localhost"),
            ("UNIXS:///run/etcd/localhost:1", "unixs:///run/etcd/localhost:1", "localhost"),
        ] {
            let endpoint = one(given).expect(given);
            assert_eq!((endpoint.to_string().as_str(), endpoint.host()), (form, host));
        }
        assert_eq!(one("https://[fe80::1%eth0]").expect("a zone").certified_host(), "fe80::1");
        let relative = one("unix://localhost:m10").expect("below the current folder");
        assert!(relative.socket().is_some_and(|path| path.is_absolute() && path.ends_with("localhost:m10")));
    }

    #[test]
    fn a_request_begins_with_a_url() {
        for (given, base) in [
            ("http://etcd", "http://etcd:2379"),
            ("https://[::1]:1", "https://[::1]:1"),
            ("http://[fe80::1%eth0]:1", "http://localhost:1"),
            ("unix:///run/etcd", "http://localhost"),
            ("unixs:///run/etcd", "https://localhost"),
        ] {
            assert_eq!(one(given).expect(given).base_url(), base);
        }
    }

    #[test]
    fn a_list_is_taken_as_etcdctl_takes_it() {
        let list = |text: &str, has_tls| {
            let list = Endpoint::parse_list("endpoints[0]", text, has_tls).expect(text);
            list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(list("http://a, https://b:1,c:2,", false), "http://a:2379 https://b:1 http://c:2");
        assert_eq!(list("a:1,http://b", true), "https://a:1 http://b:2379");
    }

    #[test]
    fn a_domain_stands_for_several_servers() {
        for (given, form, records) in [
            ("srv://example.com", "srv://example.com", "_etcd-client._tcp.example.com"),
            ("SRVS://Example.com./", "srvs://example.com", "_etcd-client-ssl._tcp.example.com"),
        ] {
            let list = Endpoint::parse_list("endpoints[0]", given, false).expect(given);
            let service = |turn| Some(Service { records: records.into(), turn });
            assert_eq!(list.iter().map(Endpoint::service).collect::<Vec<_>>(), [service(0), service(1), service(2)]);
            assert!(list.iter().all(|one| one.to_string() == form && one.certified_host() == "example.com"));
            assert_eq!(list[1].at(7).base_url().rsplit(':').next(), Some("7"));
        }
        assert_eq!(one("http://etcd:1").expect("a host").at(7).port(), 1);
    }

    #[test]
    fn bad_ones_are_refused_with_a_remedy() {
        for (given, part) in [
            ("", "names no server"),
            (" , ", "names no server"),
            ("https://a..b:2379", "no certificate can name"),
            ("https://", "no usable host"),
            ("ftp://etcd", "scheme"),
            ("unix://", "no usable path"),
            ("unix:///run/", "no usable path"),
            ("http://", "no usable host"),
            ("http://:2379", "no usable host"),
            ("http://::1:2379", "no usable host"),
            ("http://[::1:2379", "no usable host"),
            ("http://[etcd]:2379", "no usable host"),
            ("http://[127.0.0.1%eth0]:2379", "no usable host"),
            ("http://[fe80::1%]:2379", "no usable host"),
            ("http://[fe80::1%a b]:2379", "no usable host"),
            ("http://a b:2379", "no usable host"),
            ("http://h:0", "1 to 65535"),
            ("http://h:65536", "1 to 65535"),
            ("http://h:+1", "1 to 65535"),
            ("http://h:", "1 to 65535"),
            ("http://h:x", "1 to 65535"),
            ("http://h:1/v2", "after the port"),
            ("http://h:1?x", "after the port"),
            ("h:1/v2", "after the port"),
            ("srv://", "write srv://domain"),
            ("srv://example.com:2379", "without a port"),
            ("srv://127.0.0.1", "no domain that the DNS can know"),
            ("srvs://a..b", "write srvs://domain"),
            ("srv://a/b", "write srv://domain"),
        ] {
            let error = one(given).expect_err(given);
            assert!(error.detail().contains("endpoints[3]") && error.detail().contains(part), "{given}: {error}");
        }
        let long = format!("unix:///{}", "a".repeat(200));
        let error = one(&long).expect_err("too long");
        assert!(error.detail().contains("201 bytes") && error.detail().contains("at most 107"), "{error}");
    }

    #[test]
    fn a_password_in_an_endpoint_is_not_repeated() {
        for url in ["http://root:hunter2@h:1", "root:hunter2@h:1", "hunter2@://h", "http://a,http://root:hunter2@h:1"] {
            let error = one(url).expect_err("refused");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
