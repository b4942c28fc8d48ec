//! What can go wrong, in one table.
//!
//! [`ErrorKind`] corresponds one to one to the `el_status` constants of the C header. Whether a kind may end an
//! election, and whether it settles the fate of a request, is decided here and nowhere else.

use std::fmt;

/// What went wrong, as a program may ask. The message beside it ([`Error::detail`]) is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A value in the configuration or an argument cannot be used; the message names field, value and remedy.
    Invalid,
    /// The call cannot be served now: another thread is inside this election, or its callback is running.
    Busy,
    /// The election has ended, or was asked to end.
    Stopped,
    /// This election was started before a fork, and this is the child; start a new one.
    Forked,
    /// The member could not be reached: refused, reset, no such host.
    Unreachable,
    /// No answer in the time that the election's deadlines leave for one.
    Timeout,
    /// The etcd member answers, but its cluster has no leader just now.
    NoQuorum,
    /// etcd refused or failed a request for a reason of its own, for instance "too many requests".
    Server,
    /// etcd is out of space (the NOSPACE alarm).
    NoSpace,
    /// The answer was not one that etcd gives.
    Protocol,
    /// etcd does not let us use this key.
    Denied,
    /// The server does not know this API.
    Unsupported,
    /// The endpoints belong to more than one etcd cluster.
    ClusterMismatch,
    /// A renewal was not confirmed in time, so leading had to end.
    Deadline,
    /// Our key was deleted or overwritten by somebody else.
    KeyLost,
    /// Our lease is gone: it expired or was revoked.
    LeaseLost,
    /// The store went back in time: it was wiped, or restored from a backup.
    StoreReset,
    /// A member of this election has a `/` in its own part of the key; elections may be nested by mistake.
    Nested,
    /// A fault in this library; please report it.
    Internal,
    /// In etcd's API v2 the election's key holds a value, so that no members can live under it.
    NotADirectory,
    /// The member's certificate is not trusted, or it does not trust ours.
    Untrusted,
    /// The clocks of etcd's members differ so much that entries of API v2 expire early.
    ClockSkew,
    /// `stop_timeout_ms` passed after a stop before the leading work had ended: the entry was given up meanwhile.
    Overrun,
}

impl ErrorKind {
    /// Every kind, in the order of the C constants.
    pub const ALL: [ErrorKind; 23] = {
        use ErrorKind::*;
        [
            Invalid,
            Busy,
            Stopped,
            Forked,
            Unreachable,
            Timeout,
            NoQuorum,
            Server,
            NoSpace,
            Protocol,
            Denied,
            Unsupported,
            ClusterMismatch,
            Deadline,
            KeyLost,
            LeaseLost,
            StoreReset,
            Nested,
            Internal,
            NotADirectory,
            Untrusted,
            ClockSkew,
            Overrun,
        ]
    };

    /// Its name in every language but Rust: that of the constant in the C header.
    pub fn name(self) -> &'static str {
        use ErrorKind::*;
        match self {
            Invalid => "EL_INVALID",
            Busy => "EL_BUSY",
            Stopped => "EL_STOPPED",
            Forked => "EL_FORKED",
            Unreachable => "EL_UNREACHABLE",
            Timeout => "EL_TIMEOUT",
            NoQuorum => "EL_NO_QUORUM",
            Server => "EL_SERVER",
            NoSpace => "EL_NO_SPACE",
            Protocol => "EL_PROTOCOL",
            Denied => "EL_DENIED",
            Unsupported => "EL_UNSUPPORTED",
            ClusterMismatch => "EL_CLUSTER_MISMATCH",
            Deadline => "EL_DEADLINE",
            KeyLost => "EL_KEY_LOST",
            LeaseLost => "EL_LEASE_LOST",
            StoreReset => "EL_STORE_RESET",
            Nested => "EL_NESTED",
            Internal => "EL_INTERNAL",
            NotADirectory => "EL_NOT_A_DIRECTORY",
            Untrusted => "EL_UNTRUSTED",
            ClockSkew => "EL_CLOCK_SKEW",
            Overrun => "EL_OVERRUN",
        }
    }

    /// Whether this may end an election that never joined, once every reachable endpoint says the same (law 7).
    pub fn is_fatal_before_join(self) -> bool {
        matches!(
            self,
            ErrorKind::Denied | ErrorKind::Unsupported | ErrorKind::ClusterMismatch | ErrorKind::NotADirectory
        )
    }

    /// Whether a request that was answered so is known not to have been applied (law 7). Everything else is in doubt.
    pub fn is_definite_refusal(self) -> bool {
        matches!(self, ErrorKind::Denied | ErrorKind::Invalid | ErrorKind::LeaseLost | ErrorKind::NotADirectory)
    }

    /// Whether the connection itself is to blame, so that another endpoint should be tried.
    pub fn blames_link(self) -> bool {
        use ErrorKind::*;
        matches!(
            self,
            Unreachable
                | Timeout
                | NoQuorum
                | Protocol
                | Unsupported
                | ClusterMismatch
                | Denied
                | NotADirectory
                | Untrusted
                | ClockSkew
        )
    }
}

/// An error: its kind for programs, and a message for people that names what is concerned.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Error {
    kind: ErrorKind,
    detail: String,
}

impl Error {
    /// Leading ended by our own clock.
    pub fn deadline() -> Error {
        Error::new(ErrorKind::Deadline, "a renewal was not confirmed in time")
    }

    /// An error of this kind with this message.
    pub fn new(kind: ErrorKind, detail: impl Into<String>) -> Error {
        Error { kind, detail: detail.into() }
    }

    /// What went wrong, as a program may ask.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What went wrong, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.kind, self.detail)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_that_settles_a_request_is_one_of_law_sevens_list() {
        let definite: Vec<_> = ErrorKind::ALL.into_iter().filter(|kind| kind.is_definite_refusal()).collect();
        assert_eq!(definite, [ErrorKind::Invalid, ErrorKind::Denied, ErrorKind::LeaseLost, ErrorKind::NotADirectory]);
    }

    #[test]
    fn running_out_of_space_leaves_a_request_in_doubt() {
        assert!(!ErrorKind::NoSpace.is_definite_refusal());
    }
}
