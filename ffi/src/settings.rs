//! The settings that took effect.

use std::time::Duration;

use etcd_leader::{Effective, Election};

use crate::border::{guard, guard_blocking, remember, silence_panics};
use crate::config::{copy, el_config};
use crate::election::known;
use crate::handle::el_election;
use crate::place::Place;
use crate::status::EL_OK;

/// The settings that took effect of an `el_config`, with every default filled in; all in milliseconds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct el_effective {
    /// The lease that was asked for.
    pub ttl_ms: u32,
    /// The lease that etcd has granted: so long a crash keeps the next in line from leading. 0 until etcd has said so. etcd
    /// raises it to one and a half times its election timeout.
    pub granted_ttl_ms: u32,
    /// How often a follower renews.
    pub renew_ms: u32,
    /// How long before the certain end of the lease leading ends.
    pub step_down_ms: u32,
    /// How long a server may be silent, at most, before another one is asked too.
    pub request_timeout_ms: u32,
    /// How long a stop waits.
    pub stop_timeout_ms: u32,
}

impl el_effective {
    fn new(effective: &Effective) -> el_effective {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        el_effective {
            ttl_ms: ms(effective.ttl),
            granted_ttl_ms: effective.granted_ttl.map_or(0, ms),
            renew_ms: ms(effective.renew_every),
            step_down_ms: ms(effective.margin),
            request_timeout_ms: ms(effective.request_timeout),
            stop_timeout_ms: ms(effective.stop_timeout),
        }
    }
}

/// Writes the settings that took effect into `*effective`. `effective_size` is `sizeof(el_effective)`: by it the
/// library knows how many fields the caller was compiled with; those that it does not know become 0. May be called from
/// any thread and from the callback.
///
/// Returns `EL_OK`, `EL_INVALID` or `EL_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_settings(
    election: *const el_election,
    effective: *mut el_effective,
    effective_size: usize,
) -> i32 {
    guard(remember, || {
        // SAFETY: the caller's promise.
        let handle = unsafe { known(election) }?;
        handle.check_fork()?;
        // SAFETY: the place is as large as the caller says.
        let place = unsafe { Place::new("effective", "el_effective", effective, effective_size) }?;
        place.fill(el_effective::new(&handle.election.settings()));
        Ok(EL_OK)
    })
}

/// Checks a configuration as `el_start` does, and writes the settings that would take effect into `*effective`: for a
/// program that has times of its own to fit into them, or that wants to refuse a configuration early. Starts nothing and
/// touches no network; reads the files of certificates. `granted_ttl_ms` becomes 0. The sizes are as for `el_start` and
/// `el_settings`. May be called from any thread and from the callback, and in a forked child.
///
/// Returns `EL_OK`; `EL_INVALID` if something in the configuration cannot be used: then `*effective` stays as it is.
/// `on_event`, `user_data` and `queue` are not looked at. `el_start` may still refuse a key that lies inside that of a running
/// election, or around it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_config_settings(
    config: *const el_config,
    config_size: usize,
    effective: *mut el_effective,
    effective_size: usize,
) -> i32 {
    guard_blocking(remember, || {
        silence_panics();
        // SAFETY: the caller gave a configuration and its size, and its pointers are as the header demands.
        let given = unsafe { copy(config, config_size)?.to_core()? };
        // SAFETY: the place is as large as the caller says.
        let place = unsafe { Place::new("effective", "el_effective", effective, effective_size) }?;
        place.fill(el_effective::new(&Election::check(&given)?));
        Ok(EL_OK)
    })
}
