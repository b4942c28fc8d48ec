//! What a failure means. Every error of this backend gets its kind and its words here.

use std::error::Error;
use std::fmt;

use tonic::{Code, Status};

use crate::backend::causes::{causes, chain};
use crate::backend::said::fit;
use crate::config::{Endpoint, Login};
use crate::error::ErrorKind;
use crate::machine::Failure;

/// An HTTP answer that is no gRPC answer: from a proxy, or from something that is not etcd.
#[derive(Debug)]
pub(super) struct NotGrpc {
    pub(super) status: http::StatusCode,
}

impl fmt::Display for NotGrpc {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "HTTP {} without a gRPC answer", self.status)
    }
}

impl Error for NotGrpc {}

/// The failure of a call or a stream.
pub(super) fn refused(endpoint: &Endpoint, login: Option<&Login>, status: &Status) -> Failure {
    // What broke on our side of the wire carries its cause; what the server said does not.
    if let Some(source) = status.source() {
        return failed(endpoint, login, source);
    }
    let said = match status.message() {
        "" => status.code().description(),
        message => message,
    };
    Failure::new(kind_of(status.code(), said), format!("{endpoint}: {}", fit(said, login)))
}

/// Whether a call, which was not applied, was refused for the token that it showed or did not show.
pub(super) fn wants_token(refusal: &Status) -> bool {
    refusal.source().is_none() && (refusal.code() == Code::Unauthenticated || says_token(refusal.message()))
}

/// Whether these words of etcd's are about the token.
pub(super) fn says_token(said: &str) -> bool {
    ["invalid auth token", "revision of auth store is old", "user name is empty"]
        .iter()
        .any(|words| said.contains(words))
}

/// The failure of the connection. A server may say why it closes one.
pub(super) fn failed(endpoint: &Endpoint, login: Option<&Login>, error: &(dyn Error + 'static)) -> Failure {
    let kind = kind_of_transport(error);
    let remark = if kind == ErrorKind::Protocol { "the server does not speak HTTP/2 as etcd does: " } else { "" };
    Failure::new(kind, format!("{endpoint}: {remark}{}", fit(&causes(error), login)))
}

/// An answer that etcd does not give.
pub(super) fn garbled(endpoint: &Endpoint, what: impl fmt::Display) -> Failure {
    Failure::new(ErrorKind::Protocol, format!("{endpoint}: an answer that etcd does not give: {what}"))
}

/// A stream that the server ended without a word.
pub(super) fn ended(endpoint: &Endpoint, stream: &str) -> Failure {
    Failure::new(ErrorKind::Unreachable, format!("{endpoint}: the server ended the {stream} stream"))
}

/// A connection that was closed by the other side without a word.
pub(super) fn closed(endpoint: &Endpoint) -> Failure {
    Failure::new(ErrorKind::Unreachable, format!("{endpoint}: the connection was closed"))
}

/// A server that does not take what we send.
pub(super) fn stuck(endpoint: &Endpoint) -> Failure {
    Failure::new(ErrorKind::Unreachable, format!("{endpoint}: the server does not take our requests"))
}

/// A server that gives watches ids of its own: they could not be told apart.
pub(super) fn foreign_watch(endpoint: &Endpoint) -> Failure {
    let detail = format!(
        "{endpoint}: the server does not take our ids for watches: it is `etcd grpc-proxy`, or not etcd 3.4 or later; give \
         the endpoints of etcd's own servers"
    );
    Failure::new(ErrorKind::Unsupported, detail)
}

/// A server that gives leases ids of its own: a grant whose answer is lost could not be told from another's.
pub(super) fn foreign_lease(endpoint: &Endpoint) -> Failure {
    let detail = format!(
        "{endpoint}: the server grants leases under ids of its own: it is not etcd but an imitation such as kine, which \
         cannot hold an election"
    );
    Failure::new(ErrorKind::Unsupported, detail)
}

/// A proxy, through which no renewal can be confirmed.
pub(super) fn grpc_proxy(endpoint: &Endpoint) -> Failure {
    let detail = format!(
        "{endpoint}: this is `etcd grpc-proxy`, which answers renewals and watches in the name of many clients, so that none \
         can be confirmed; give the endpoints of etcd's own servers"
    );
    Failure::new(ErrorKind::Unsupported, detail)
}

/// By what the server says: etcd's codes alone do not tell its errors apart.
fn kind_of(code: Code, said: &str) -> ErrorKind {
    const BY_WORDS: [(&str, ErrorKind); 20] = [
        ("no leader", ErrorKind::NoQuorum),
        ("leader changed", ErrorKind::NoQuorum),
        ("not leader", ErrorKind::NoQuorum),
        ("unhealthy cluster", ErrorKind::NoQuorum),
        ("previous leader failure", ErrorKind::NoQuorum),
        ("raft proposal dropped", ErrorKind::NoQuorum),
        ("request timed out", ErrorKind::Timeout),
        ("deadline exceeded", ErrorKind::Timeout),
        ("context canceled", ErrorKind::Unreachable),
        // It may be promoted. Its code differs from version to version.
        ("rpc not supported for learner", ErrorKind::Unreachable),
        ("database space exceeded", ErrorKind::NoSpace),
        ("too many requests", ErrorKind::Server),
        ("requested lease not found", ErrorKind::LeaseLost),
        ("user name is empty", ErrorKind::Denied),
        ("permission denied", ErrorKind::Denied),
        ("authentication failed", ErrorKind::Denied),
        // The users were changed meanwhile: the same request again may well be served.
        ("revision of auth store is old", ErrorKind::Server),
        // Said by tonic, of what it was sent. An answer may lose its end to a proxy or a dying server.
        ("missing grpc-status", ErrorKind::Unreachable),
        ("failed to decode Protobuf", ErrorKind::Protocol),
        ("decoded message length too large", ErrorKind::Protocol),
    ];
    if code == Code::Ok {
        return ErrorKind::Protocol;
    }
    if let Some((_, kind)) = BY_WORDS.iter().find(|(words, _)| said.contains(words)) {
        return *kind;
    }
    match code {
        Code::PermissionDenied | Code::Unauthenticated => ErrorKind::Denied,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::InvalidArgument => ErrorKind::Invalid,
        Code::DeadlineExceeded => ErrorKind::Timeout,
        Code::Unavailable | Code::Cancelled => ErrorKind::Unreachable,
        _ => ErrorKind::Server,
    }
}

fn kind_of_transport(error: &(dyn Error + 'static)) -> ErrorKind {
    for cause in chain(error) {
        if cause.is::<NotGrpc>() {
            return ErrorKind::Protocol;
        }
        // Found by the library in what the peer sent: not HTTP/2, or not as it should be.
        if cause.downcast_ref::<h2::Error>().is_some_and(|error| error.is_library()) {
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
            (Code::Unavailable, "etcdserver: no leader", ErrorKind::NoQuorum),
            (Code::Unavailable, "etcdserver: leader changed", ErrorKind::NoQuorum),
            (Code::Unavailable, "etcdserver: request timed out, possibly due to previous leader failure", ErrorKind::NoQuorum),
            (Code::Unavailable, "etcdserver: request timed out", ErrorKind::Timeout),
            (Code::Unknown, "context deadline exceeded", ErrorKind::Timeout),
            (Code::Unavailable, "etcdserver: server stopped", ErrorKind::Unreachable),
            (Code::Unavailable, "etcdserver: rpc not supported for learner", ErrorKind::Unreachable),
            (Code::FailedPrecondition, "etcdserver: rpc not supported for learner", ErrorKind::Unreachable),
            (Code::Cancelled, "", ErrorKind::Unreachable),
            (Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded", ErrorKind::NoSpace),
            (Code::ResourceExhausted, "etcdserver: too many requests", ErrorKind::Server),
            (Code::InvalidArgument, "etcdserver: user name is empty", ErrorKind::Denied),
            (Code::InvalidArgument, "etcdserver: revision of auth store is old", ErrorKind::Server),
            (Code::PermissionDenied, "etcdserver: permission denied", ErrorKind::Denied),
            (Code::Unauthenticated, "etcdserver: invalid auth token", ErrorKind::Denied),
            (Code::NotFound, "etcdserver: requested lease not found", ErrorKind::LeaseLost),
            (Code::FailedPrecondition, "etcdserver: lease already exists", ErrorKind::Server),
            (Code::Unimplemented, "unknown service etcdserverpb.KV", ErrorKind::Unsupported),
            (Code::InvalidArgument, "etcdserver: request is too large", ErrorKind::Invalid),
            (Code::Internal, "failed to decode Protobuf message: invalid tag value: 0", ErrorKind::Protocol),
            (Code::Ok, "", ErrorKind::Protocol),
        ];
        for (code, said, kind) in table {
            assert_eq!(kind_of(code, said), kind, "{code:?} {said:?}");
        }
    }
}
