//! What a failure means. Every error of this backend gets its kind and its words here.

use std::error::Error;
use std::{fmt, io};

use http::StatusCode;

use super::keys::Key;
use super::words::Refusal;
use crate::backend::causes::{causes, chain, root};
use crate::backend::said::{brief, fit};
use crate::backend::shell::quoted;
use crate::config::{Endpoint, Login};
use crate::error::ErrorKind;
use crate::machine::Failure;

/// etcd's codes that are answers, not failures.
pub(super) const NOT_FOUND: u32 = 100;
pub(super) const COMPARE_FAILED: u32 = 101;
pub(super) const NOT_A_FILE: u32 = 102;

const NO_V2: &str =
    "the server does not know API v2: start etcd with --enable-v2=true, or use API v3 (etcd 3.6 has no v2)";

/// Why a request has no answer, and what that says of the link.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) failure: Failure,
    pub(super) extent: Extent,
}

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// No connection could be made.
    Unconnected,
    /// A connection broke: the link with it.
    Wire,
    /// Only this request: there was an answer.
    Answer,
}

/// The member that a request was sent to, and the login that the request has shown.
#[derive(Clone, Copy)]
pub(super) struct Peer<'a> {
    pub(super) endpoint: &'a Endpoint,
    pub(super) login: Option<&'a Login>,
}

impl Fault {
    /// There was an answer, and it says this.
    pub(super) fn answered(failure: Failure) -> Fault {
        Fault { failure, extent: Extent::Answer }
    }
}

/// There is no connection.
pub(super) fn unconnected(endpoint: &Endpoint, is_late: bool, cause: &(dyn Error + 'static)) -> Failure {
    if is_late {
        return Failure::new(ErrorKind::Timeout, format!("{endpoint}: no connection in time"));
    }
    let is_end = |cause: &io::Error| {
        matches!(
            cause.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
        )
    };
    let is_cut = chain(cause).filter_map(<dyn Error>::downcast_ref).any(is_end);
    // What etcd does with TLS on a port that does not speak it: it answers, and closes, which resets what is unread.
    let remark = if is_cut && endpoint.is_tls() { "; if this port does not speak TLS, write http://" } else { "" };
    Failure::new(kind_of_transport(cause), format!("{endpoint}: cannot connect: {}{remark}", root(cause)))
}

/// The connection broke.
pub(super) fn broken(endpoint: &Endpoint, cause: &(dyn Error + 'static)) -> Failure {
    let kind = kind_of_transport(cause);
    let remark = if kind == ErrorKind::Protocol { "the server does not speak HTTP as etcd does: " } else { "" };
    Failure::new(kind, format!("{endpoint}: {remark}{}", causes(cause)))
}

/// The commands that give a user the least that an election of API v2 needs: to read and write its key and what is below
/// it. The role is named after the user.
pub fn role_recipe(user: &str, key: &str) -> [String; 4] {
    let role = quoted(&format!("{user}-election"));
    let grant = |path: &str| format!("ETCDCTL_API=2 etcdctl role grant {role} --readwrite --path {}", quoted(path));
    [
        format!("ETCDCTL_API=2 etcdctl role add {role}"),
        grant(key),
        grant(&format!("{key}/*")),
        format!("ETCDCTL_API=2 etcdctl user grant {} --roles {role}", quoted(user)),
    ]
}

/// The failure that etcd itself tells of.
pub(super) fn refused(peer: Peer<'_>, key: &Key, status: StatusCode, refusal: &Refusal) -> Failure {
    let Peer { endpoint, login } = peer;
    let kind = kind_of(status, refusal);
    let said = match refusal.cause.as_str() {
        "" => fit(&refusal.message, login),
        cause => format!("{}: {}", fit(&refusal.message, login), fit(cause, login)),
    };
    let detail = match kind {
        ErrorKind::Denied => denied(peer, key, &said),
        ErrorKind::NotADirectory => return not_a_directory(endpoint, key, &said),
        _ => format!("{endpoint}: {said}"),
    };
    Failure::new(kind, detail)
}

/// The key holds a value, so that nothing can live under it.
pub(super) fn not_a_directory(endpoint: &Endpoint, key: &Key, said: &str) -> Failure {
    let key = key.text();
    let remedy = "delete that value, or choose another key";
    Failure::new(ErrorKind::NotADirectory, format!("{endpoint}: {key} cannot be a directory: {said}; {remedy}"))
}

/// An HTTP answer that is none of etcd's: from a proxy, or from something that is not etcd.
pub(super) fn foreign(peer: Peer<'_>, key: &Key, status: StatusCode, body: &[u8]) -> Failure {
    let Peer { endpoint, login } = peer;
    let text = brief(&String::from_utf8_lossy(body));
    let kind = kind_of_foreign(status, &text);
    // A proxy's page may repeat what it was sent, and with it our password.
    let text = if login.is_some() { "(its text is not shown, as we sent a password)".into() } else { text };
    let detail = match kind {
        ErrorKind::Unsupported => format!("{endpoint}: {NO_V2}"),
        ErrorKind::Denied => denied(peer, key, &format!("HTTP {status}: {text}")),
        _ => format!("{endpoint}: HTTP {status} without an answer of etcd's: {text}"),
    };
    Failure::new(kind, detail)
}

/// A redirect that is not followed: it is not one of etcd's, or it leads to where nobody sent us.
pub(super) fn redirected(Peer { endpoint, login }: Peer<'_>, target: &str) -> Failure {
    let target = fit(target, login);
    let remark = "only etcd's own redirects (307) to configured endpoints are followed";
    Failure::new(ErrorKind::Protocol, format!("{endpoint}: the server redirects to {target}; {remark}"))
}

/// An answer that etcd does not give.
pub(super) fn garbled(endpoint: &Endpoint, what: impl fmt::Display) -> Failure {
    Failure::new(ErrorKind::Protocol, format!("{endpoint}: an answer that etcd does not give: {what}"))
}

/// The member answers from another store than before: it was restarted, and links are never mended.
pub(super) fn another_store(endpoint: &Endpoint) -> Failure {
    Failure::new(ErrorKind::Unreachable, format!("{endpoint}: the store behind this connection is not the one it was"))
}

/// Somebody else wrote the entry between two steps of ours.
pub(super) fn overtaken(endpoint: &Endpoint, key: &Key) -> Failure {
    Failure::new(ErrorKind::Server, format!("{endpoint}: {} was written meanwhile", key.text()))
}

/// A wrong password and a missing permission are the same to etcd's API v2.
fn denied(peer: Peer<'_>, key: &Key, said: &str) -> String {
    let (endpoint, key) = (peer.endpoint, key.election());
    let may = format!("may read and write {key} and {key}/*");
    match peer.login.map(|login| login.username.as_str()) {
        Some(user) => format!(
            "{endpoint}: etcd does not let the user {user:?} use {key}: {said}; check the password, and give the user \
             a role that {may}: {}",
            role_recipe(user, &key).join(" && ")
        ),
        None => format!(
            "{endpoint}: etcd does not let us use {key}: {said}; give the username and password of a user that {may}"
        ),
    }
}

/// By etcd's code; those of raft are told apart by what is said.
fn kind_of(status: StatusCode, refusal: &Refusal) -> ErrorKind {
    const OF_RAFT: [(&str, ErrorKind); 6] = [
        ("previous leader failure", ErrorKind::NoQuorum),
        ("request timed out", ErrorKind::Timeout),
        ("deadline exceeded", ErrorKind::Timeout),
        ("too many requests", ErrorKind::Server),
        ("stopped", ErrorKind::Unreachable),
        ("context canceled", ErrorKind::Unreachable),
    ];
    match refusal.error_code {
        104 => ErrorKind::NotADirectory,
        110 => ErrorKind::Denied,
        // The root cannot be written; a field is not as it should be.
        107 | 200..=299 => ErrorKind::Invalid,
        300 | 301 => {
            let said = |(words, _): &&(&str, ErrorKind)| refusal.cause.contains(words);
            OF_RAFT.iter().find(said).map_or(ErrorKind::NoQuorum, |(_, kind)| *kind)
        }
        0 if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => ErrorKind::Denied,
        0 if status == StatusCode::SERVICE_UNAVAILABLE => ErrorKind::NoQuorum,
        _ => ErrorKind::Server,
    }
}

/// By what HTTP says.
fn kind_of_foreign(status: StatusCode, text: &str) -> ErrorKind {
    match status.as_u16() {
        401 | 403 => ErrorKind::Denied,
        404 if text.starts_with("404 page not found") => ErrorKind::Unsupported,
        408 | 504 => ErrorKind::Timeout,
        502 | 503 => ErrorKind::Unreachable,
        429 | 500..=599 => ErrorKind::Server,
        _ => ErrorKind::Protocol,
    }
}

fn kind_of_transport(error: &(dyn Error + 'static)) -> ErrorKind {
    for cause in chain(error) {
        if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return ErrorKind::Protocol;
        }
    }
    ErrorKind::Unreachable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn etcd_errors_are_told_apart() {
        #[rustfmt::skip]
        let table = [
            (403, 104, "Not a directory", "/a", ErrorKind::NotADirectory),
            (412, 105, "Key already exists", "/a", ErrorKind::Server),
            (403, 107, "Root is read only", "/", ErrorKind::Invalid),
            (401, 110, "The request requires user authentication", "Insufficient credentials", ErrorKind::Denied),
            (401, 0, "Insufficient credentials", "", ErrorKind::Denied),
            (400, 202, "The given TTL in POST form is not a number", "", ErrorKind::Invalid),
            (400, 209, "Invalid field", "invalid value for \"quorum\"", ErrorKind::Invalid),
            (500, 300, "Raft Internal Error", "etcdserver: no leader", ErrorKind::NoQuorum),
            (500, 300, "Raft Internal Error", "etcdserver: request timed out", ErrorKind::Timeout),
            (500, 300, "Raft Internal Error", "etcdserver: request timed out, possibly due to previous leader failure", ErrorKind::NoQuorum),
            (500, 300, "Raft Internal Error", "etcdserver: request timed out, possibly due to connection lost", ErrorKind::Timeout),
            (500, 300, "Raft Internal Error", "etcdserver: server stopped", ErrorKind::Unreachable),
            (500, 300, "Raft Internal Error", "etcdserver: too many requests", ErrorKind::Server),
            (500, 301, "During Leader Election", "", ErrorKind::NoQuorum),
            (503, 0, "During election", "", ErrorKind::NoQuorum),
            (400, 400, "watcher is cleared due to etcd recovery", "", ErrorKind::Server),
            (400, 401, "The event in requested index is outdated and cleared", "", ErrorKind::Server),
            (500, 0, "Internal Server Error", "", ErrorKind::Server),
        ];
        for (status, error_code, message, cause, kind) in table {
            let refusal = Refusal { error_code, message: message.into(), cause: cause.into() };
            assert_eq!(kind_of(StatusCode::from_u16(status).expect("a status"), &refusal), kind, "{refusal:?}");
        }
    }

    #[test]
    fn answers_of_others_are_told_apart() {
        for (status, text, kind) in [
            (404, "404 page not found", ErrorKind::Unsupported),
            (404, "<html>not here</html>", ErrorKind::Protocol),
            (401, "<html>", ErrorKind::Denied),
            (403, "", ErrorKind::Denied),
            (400, "Client sent an HTTP request to an HTTPS server.", ErrorKind::Protocol),
            (405, "Method Not Allowed", ErrorKind::Protocol),
            (429, "", ErrorKind::Server),
            (500, "", ErrorKind::Server),
            (502, "<html>", ErrorKind::Unreachable),
            (503, "", ErrorKind::Unreachable),
            (504, "", ErrorKind::Timeout),
            (204, "", ErrorKind::Protocol),
        ] {
            assert_eq!(kind_of_foreign(StatusCode::from_u16(status).expect("a status"), text), kind, "{status} {text}");
        }
    }

    #[test]
    fn only_what_was_certainly_not_done_settles_a_request() {
        for status in [400, 404, 405, 408, 429, 500, 502, 503, 504] {
            let kind = kind_of_foreign(StatusCode::from_u16(status).expect("a status"), "<html>");
            assert!(!kind.is_definite_refusal(), "{status}");
        }
        for cause in ["etcdserver: no leader", "etcdserver: request timed out", "etcdserver: server stopped", "new"] {
            let refusal = Refusal { error_code: 300, message: "Raft Internal Error".into(), cause: cause.into() };
            assert!(!kind_of(StatusCode::INTERNAL_SERVER_ERROR, &refusal).is_definite_refusal(), "{cause}");
        }
    }
}
