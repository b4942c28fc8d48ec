//! A server is accused only of what is true (law 7): of a clock that is behind, or of a silence.

use etcd_leader_rules::error::ErrorKind;
use etcd_leader_rules::machine::Trouble;

use crate::rng::{MS, Ns};

/// The shortest silence that a user is told of.
const SILENCE_MS: u64 = 100;

/// The skew that a trouble names exists: the members' clocks were never further apart than `spread`.
pub(crate) fn a_skew_that_is_told_exists(trouble: &Trouble, spread: Ns) -> Result<(), String> {
    match (trouble.error.kind(), number_in(trouble)) {
        (ErrorKind::ClockSkew, Some(told_ms)) if told_ms * MS <= spread => Ok(()),
        (ErrorKind::ClockSkew, _) => {
            Err(format!("is told of clocks that were never more than {} ms apart: {trouble:?}", spread / MS))
        }
        _ => Ok(()),
    }
}

/// The silence that a trouble names was long enough to be one.
pub(crate) fn a_silence_that_is_told_was_one(trouble: &Trouble) -> Result<(), String> {
    match (trouble.error.kind(), number_in(trouble)) {
        (ErrorKind::Timeout, Some(told_ms)) if told_ms < SILENCE_MS => {
            Err(format!("is told of no silence: {trouble:?}"))
        }
        _ => Ok(()),
    }
}

/// The milliseconds that its text names.
fn number_in(trouble: &Trouble) -> Option<u64> {
    trouble.error.detail().split(' ').find_map(|word| word.parse().ok())
}
