//! The signs that the writes of an entry carry in etcd's API v3: an even version says that its author leads.

use etcd_leader_rules::machine::Sign;
use etcd_leader_rules::member::LeaseId;

/// The sign of an entry's last write: none if the entry is not named after its lease.
pub(crate) fn sign(key: &[u8], lease: LeaseId, version: u64, is_quiet: bool) -> Sign {
    if is_quiet || !key.ends_with(format!("/{lease:x}").as_bytes()) {
        Sign::Nothing
    } else if version.is_multiple_of(2) {
        Sign::Leads
    } else {
        Sign::Waits
    }
}

/// Writes an entry, as often as its sign needs it: all writes but the last say nothing. `put` is one write, which is quiet or not;
/// it gives the version that it made, and the sign.
pub(crate) fn touch([shows, sign]: [Sign; 2], mut put: impl FnMut(bool) -> (u64, Sign)) {
    let mut is_last = sign == Sign::Nothing || ![sign, Sign::Nothing].contains(&shows);
    loop {
        let (version, shown) = put(!is_last);
        if [shown, Sign::Nothing].contains(&sign) || (is_last && shown == Sign::Nothing) {
            return;
        }
        is_last = (version % 2 == 1) == (sign == Sign::Leads);
    }
}
