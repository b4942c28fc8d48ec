//! A clock is accused only of what it does (law 7, v2).

use etcd_leader::error::ErrorKind;
use etcd_leader::machine::Trouble;

use crate::rng::{MS, Ns};

/// Members whose clocks were never further apart than `spread` are not told to be.
pub(crate) fn what_is_told_of_a_clock_is_so(trouble: &Trouble, spread: Ns) -> Result<(), String> {
    if trouble.error.kind() != ErrorKind::ClockSkew {
        return Ok(());
    }
    let told_ms = trouble.error.detail().split(' ').find_map(|word| word.parse::<u64>().ok());
    match told_ms {
        Some(told_ms) if told_ms * MS <= spread => Ok(()),
        _ => Err(format!("is told of clocks that were never more than {} ms apart: {trouble:?}", spread / MS)),
    }
}
