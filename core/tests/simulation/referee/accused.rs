//! A server is accused only of what it does (law 7): a clock of being behind, and the server of being silent.

use etcd_leader::error::ErrorKind;
use etcd_leader::machine::Trouble;

use crate::rng::{MS, Ns};

/// The shortest silence that is worth telling.
const SILENCE_MS: u64 = 50;

/// Members whose clocks were never further apart than `spread` are not told to be; and one that answers is not told to be silent.
pub(crate) fn what_is_told_of_a_server_is_so(trouble: &Trouble, spread: Ns) -> Result<(), String> {
    let told_ms = trouble.error.detail().split(' ').find_map(|word| word.parse::<u64>().ok());
    match (trouble.error.kind(), told_ms) {
        (ErrorKind::ClockSkew, told_ms) if told_ms.is_none_or(|told_ms| told_ms * MS > spread) => {
            Err(format!("is told of clocks that were never more than {} ms apart: {trouble:?}", spread / MS))
        }
        (ErrorKind::Timeout, Some(told_ms)) if told_ms < SILENCE_MS => {
            Err(format!("is told of no silence: {trouble:?}"))
        }
        _ => Ok(()),
    }
}
