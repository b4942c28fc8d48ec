//! The statuses: one for each kind of error of the core, in one table.

use std::ffi::{CStr, c_char};

use etcd_leader::ErrorKind;

/// All is well.
pub const EL_OK: i32 = 0;
/// An argument or a field of `el_config` cannot be used; `el_last_error` names it, its value and the remedy.
pub const EL_INVALID: i32 = -1;
/// The call cannot be served now: another thread is polling this election, or its callback is running.
pub const EL_BUSY: i32 = -2;
/// The election has ended, or (in `EL_EVENT_UNELECTED`) was asked to end.
pub const EL_STOPPED: i32 = -3;
/// The election was started before a fork, and this is the child; start a new one.
pub const EL_FORKED: i32 = -4;
/// The etcd member could not be reached: connection refused or reset, no such host.
pub const EL_UNREACHABLE: i32 = -5;
/// No answer came in the time that the election's deadlines leave for one.
pub const EL_TIMEOUT: i32 = -6;
/// The etcd member answers, but its cluster has no leader just now.
pub const EL_NO_QUORUM: i32 = -7;
/// etcd refused or failed a request for a reason of its own, such as "too many requests".
pub const EL_SERVER: i32 = -8;
/// etcd is out of space (the NOSPACE alarm).
pub const EL_NO_SPACE: i32 = -9;
/// The answer was not one that etcd gives: something else listens there, or stands between.
pub const EL_PROTOCOL: i32 = -10;
/// etcd does not let us use this key.
pub const EL_DENIED: i32 = -11;
/// The server does not know this API, or is `etcd grpc-proxy` or an imitation of etcd.
pub const EL_UNSUPPORTED: i32 = -12;
/// The endpoints belong to more than one etcd cluster.
pub const EL_CLUSTER_MISMATCH: i32 = -13;
/// A renewal was not confirmed in time, so leading had to end.
pub const EL_DEADLINE: i32 = -14;
/// Our key was deleted or overwritten by somebody else.
pub const EL_KEY_LOST: i32 = -15;
/// Our lease is gone: it expired or was revoked.
pub const EL_LEASE_LOST: i32 = -16;
/// The store went back in time: it was wiped, or restored from a backup.
pub const EL_STORE_RESET: i32 = -17;
/// A member of this election has a `/` in its own part of the key; elections may be nested by mistake.
pub const EL_NESTED: i32 = -18;
/// A fault in the library (please report it), or the system gave no thread or descriptor; `el_last_error` says which.
pub const EL_INTERNAL: i32 = -19;
/// In etcd's API v2 the election's key holds a value, so that no members can live under it; use another key.
pub const EL_NOT_A_DIRECTORY: i32 = -20;
/// The member's certificate is not trusted, or it does not trust ours; the message says which and why.
pub const EL_UNTRUSTED: i32 = -21;
/// The clocks of etcd's members differ so much that entries of API v2 expire early; set the clocks.
pub const EL_CLOCK_SKEW: i32 = -22;
/// `stop_timeout_ms` passed after a stop before your leading work had ended: the entry was given up meanwhile.
pub const EL_OVERRUN: i32 = -23;

const TABLE: [(ErrorKind, i32, &CStr); 23] = [
    (ErrorKind::Invalid, EL_INVALID, c"EL_INVALID"),
    (ErrorKind::Busy, EL_BUSY, c"EL_BUSY"),
    (ErrorKind::Stopped, EL_STOPPED, c"EL_STOPPED"),
    (ErrorKind::Forked, EL_FORKED, c"EL_FORKED"),
    (ErrorKind::Unreachable, EL_UNREACHABLE, c"EL_UNREACHABLE"),
    (ErrorKind::Timeout, EL_TIMEOUT, c"EL_TIMEOUT"),
    (ErrorKind::NoQuorum, EL_NO_QUORUM, c"EL_NO_QUORUM"),
    (ErrorKind::Server, EL_SERVER, c"EL_SERVER"),
    (ErrorKind::NoSpace, EL_NO_SPACE, c"EL_NO_SPACE"),
    (ErrorKind::Protocol, EL_PROTOCOL, c"EL_PROTOCOL"),
    (ErrorKind::Denied, EL_DENIED, c"EL_DENIED"),
    (ErrorKind::Unsupported, EL_UNSUPPORTED, c"EL_UNSUPPORTED"),
    (ErrorKind::ClusterMismatch, EL_CLUSTER_MISMATCH, c"EL_CLUSTER_MISMATCH"),
    (ErrorKind::Deadline, EL_DEADLINE, c"EL_DEADLINE"),
    (ErrorKind::KeyLost, EL_KEY_LOST, c"EL_KEY_LOST"),
    (ErrorKind::LeaseLost, EL_LEASE_LOST, c"EL_LEASE_LOST"),
    (ErrorKind::StoreReset, EL_STORE_RESET, c"EL_STORE_RESET"),
    (ErrorKind::Nested, EL_NESTED, c"EL_NESTED"),
    (ErrorKind::Internal, EL_INTERNAL, c"EL_INTERNAL"),
    (ErrorKind::NotADirectory, EL_NOT_A_DIRECTORY, c"EL_NOT_A_DIRECTORY"),
    (ErrorKind::Untrusted, EL_UNTRUSTED, c"EL_UNTRUSTED"),
    (ErrorKind::ClockSkew, EL_CLOCK_SKEW, c"EL_CLOCK_SKEW"),
    (ErrorKind::Overrun, EL_OVERRUN, c"EL_OVERRUN"),
];

/// The status of this kind of error.
pub(crate) fn of(kind: ErrorKind) -> i32 {
    TABLE.iter().find(|(other, ..)| *other == kind).map_or(EL_INTERNAL, |(_, status, _)| *status)
}

/// The name of a status as it is written in this header: "EL_OK", "EL_INVALID" and so on; "EL_?" for any other number.
/// Static memory, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn el_status_name(status: i32) -> *const c_char {
    let found = TABLE.iter().find(|(_, other, _)| *other == status).map(|(.., name)| *name);
    found.unwrap_or(if status == EL_OK { c"EL_OK" } else { c"EL_?" }).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_error_has_a_status_of_its_own_in_the_cores_order() {
        assert_eq!(TABLE.map(|(kind, ..)| kind), ErrorKind::ALL);
        assert!(TABLE.iter().all(|(kind, _, name)| name.to_str() == Ok(kind.name())));
        assert!(TABLE.iter().map(|(_, status, _)| *status).eq((1..=23).map(|at| -at)));
    }
}
