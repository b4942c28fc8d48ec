//! Threads of the host's: which one calls, that one at a time takes events, and that none is cancelled inside the library.

use std::sync::atomic::{AtomicI32, Ordering};

/// Lets one thread in at a time, and no callback of its own.
#[derive(Default)]
pub(crate) struct Entrance {
    /// The thread that is inside; 0: none.
    taken_by: AtomicI32,
}

/// Inside until this goes.
pub(crate) struct Entered<'a>(&'a AtomicI32);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Release);
    }
}

impl Entrance {
    /// `None`: another thread is inside, or this one is already.
    pub(crate) fn enter(&self) -> Option<Entered<'_>> {
        let me = id();
        let take = |from| self.taken_by.compare_exchange(from, me, Ordering::Acquire, Ordering::Relaxed);
        match take(0) {
            Ok(_) => Some(Entered(&self.taken_by)),
            // A callback that has ended its thread all the same, by pthread_exit: nobody comes back from there.
            Err(owner) if !is_alive(owner) && take(owner).is_ok() => Some(Entered(&self.taken_by)),
            Err(_) => None,
        }
    }
}

/// The thread that calls, by a number that is not 0.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code)]
pub(crate) fn id() -> i32 {
    // SAFETY: it takes nothing, and cannot fail.
    unsafe { nix::libc::gettid() }
}

/// Whether this thread of the process has not ended.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[allow(unsafe_code)]
pub(crate) fn is_alive(thread: i32) -> bool {
    use nix::errno::Errno;
    use nix::libc;
    // SAFETY: signal 0 is sent to nobody; the kernel only looks the thread up.
    let found = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, 0) };
    found == 0 || Errno::last() != Errno::ESRCH
}

/// Elsewhere threads have no numbers: one that ended in a callback keeps its election.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn id() -> i32 {
    1
}

/// See [`id`].
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn is_alive(_thread: i32) -> bool {
    true
}

/// While it lives, pthread_cancel of this thread waits. It would unwind through frames of Rust, which ends the process.
pub(crate) struct Uncancelled {
    before: std::ffi::c_int,
}

#[cfg(all(unix, any(target_env = "gnu", target_env = "musl")))]
#[allow(unsafe_code)]
mod cancel {
    use std::ffi::c_int;

    /// PTHREAD_CANCEL_DISABLE of glibc and musl.
    const DISABLE: c_int = 1;

    unsafe extern "C" {
        fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    }

    fn set(state: c_int) -> c_int {
        let mut before = 0;
        // SAFETY: it changes this thread's own state, and writes the one before where it is told to.
        unsafe { pthread_setcancelstate(state, &raw mut before) };
        before
    }

    impl super::Uncancelled {
        pub(crate) fn new() -> super::Uncancelled {
            super::Uncancelled { before: set(DISABLE) }
        }
    }

    impl Drop for super::Uncancelled {
        fn drop(&mut self) {
            set(self.before);
        }
    }
}

#[cfg(not(all(unix, any(target_env = "gnu", target_env = "musl"))))]
impl Uncancelled {
    pub(crate) fn new() -> Uncancelled {
        Uncancelled { before: 0 }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_alive_until_it_has_ended() {
        assert!(is_alive(id()));
        let ended = std::thread::spawn(id).join().expect("its number");
        // The kernel may know a thread for a moment after it was joined.
        while is_alive(ended) {
            std::thread::yield_now();
        }
    }
}
