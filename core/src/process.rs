//! Whether this process is a fork of the one that started an election.
//!
//! A child inherits memory but no threads: what was started before the fork cannot go on in it, and must not touch a
//! descriptor it shares with its parent. `getpid` would tell, but costs as much as everything else in `is_leader`
//! together; a handler that `fork` runs in the child costs nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The process in which something was made. A fork's child is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    generation: u32,
}

impl Process {
    /// The one that runs this.
    pub fn this() -> Process {
        count_forks();
        Process { generation: generation() }
    }
}

/// How often this process and its ancestors have forked since the library was first used.
pub(crate) fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

#[cfg(unix)]
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Makes [`generation`] count, from the first call on.
#[cfg(unix)]
#[allow(unsafe_code)]
pub(crate) fn count_forks() {
    static IS_COUNTED: AtomicBool = AtomicBool::new(false);
    // Not a `Once`: a child that is forked while another thread is inside one would wait in it for ever. Two threads may
    // register at once: then each fork counts as two, which is as good.
    if !IS_COUNTED.load(Ordering::Acquire) {
        // SAFETY: the handler touches one atomic only, which any context may; it lives as long as the process, since
        // the shared library is never unloaded (`-z nodelete`).
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
        IS_COUNTED.store(true, Ordering::Release);
    }
}

/// There is no fork here.
#[cfg(not(unix))]
pub(crate) fn count_forks() {}
