//! What is so at this moment: do we lead, in which term, for how long, and if not we, who.
//!
//! The first three are for signal handlers too: no message is made for them, since that takes memory.

use std::ffi::c_char;
use std::time::Duration;

use crate::border::{c_text, guard, refuse, remember};
use crate::election::{handle_of, known};
use crate::handle::el_election;
use crate::status::EL_INVALID;

/// Whether we lead at this moment: 1 or 0. Reads the clock but takes no lock, so that it is cheap enough to ask before
/// every write, and a process that was stopped or asleep hears the truth from its first call on. It may turn 1 before
/// `EL_EVENT_ELECTED` is delivered. It is 0 before `EL_EVENT_UNELECTED` is, and stays 0 while that is delivered, even if we
/// lead again by then: work for the old term never takes the new term for its own. 0 for NULL and after a fork. May be
/// called from any thread, from the callback and from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_is_leader(election: *const el_election) -> i32 {
    guard(
        |_| 0,
        || {
            // SAFETY: the caller's promise.
            Ok(unsafe { handle_of(election) }.map_or(0, |handle| i32::from(handle.election.is_leader())))
        },
    )
}

/// The token of our term if we lead at this moment, else 0. `el_token(e) == t`, with t from `EL_EVENT_ELECTED`, asks
/// "am I still in that term?". Otherwise as `el_is_leader`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_token(election: *const el_election) -> u64 {
    guard(
        |_| 0,
        || {
            // SAFETY: the caller's promise.
            Ok(unsafe { handle_of(election) }.and_then(|handle| handle.election.token()).unwrap_or(0))
        },
    )
}

/// For how many milliseconds from now leading is certain even if nothing more is heard of etcd, rounded down; 0 if we
/// do not lead. Otherwise as `el_is_leader`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_time_left_ms(election: *const el_election) -> i64 {
    guard(
        |_| 0,
        || {
            // SAFETY: the caller's promise.
            let left = unsafe { handle_of(election) }.map_or(Duration::ZERO, |handle| handle.election.time_left());
            Ok(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
        },
    )
}

/// Who leads, as far as is known now: ourselves while we do. Copies the name (UTF-8) into `buffer` of `size` bytes and
/// ends it with NUL; `*token` becomes the leader's token, 0 if nobody is known to lead. `token` may be NULL, and so may
/// `buffer` if `size` is 0. May be called from any thread and from the callback.
///
/// Returns the length of the name in bytes, without the NUL. If it is not smaller than `size`, the name was cut, at the
/// end of a character. Or `EL_INVALID`, or `EL_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn el_leader(
    election: *const el_election,
    buffer: *mut c_char,
    size: usize,
    token: *mut u64,
) -> i32 {
    guard(remember, || {
        // SAFETY: the caller's promise.
        let handle = unsafe { known(election) }?;
        handle.check_fork()?;
        if buffer.is_null() && size > 0 {
            return refuse(format!("buffer is NULL and size is {size}; give a buffer of that many bytes"));
        }
        let leader = handle.election.leader();
        let name = c_text(leader.as_ref().map_or("", |leader| &leader.name)).into_string().unwrap_or_default();
        if size > 0 {
            let kept = name.floor_char_boundary(size - 1);
            // SAFETY: there are `size` bytes, says the caller, and this writes `kept + 1 <= size` of them.
            unsafe {
                std::ptr::copy_nonoverlapping(name.as_ptr(), buffer.cast::<u8>(), kept);
                buffer.add(kept).write(0);
            }
        }
        if !token.is_null() {
            // SAFETY: the caller gave a place for it.
            unsafe { token.write(leader.map_or(0, |leader| leader.token)) };
        }
        Ok(i32::try_from(name.len()).unwrap_or(EL_INVALID))
    })
}
