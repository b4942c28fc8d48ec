//! A descriptor that is readable while there is something to do.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use etcd_leader::{Error, ErrorKind};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::border::refuse;

/// Rung by the engine's thread, silenced by the one that takes events; both hold the lock of what it is about.
pub(crate) struct Doorbell {
    read: OwnedFd,
    /// Where an eventfd is both ends at once, there is no other.
    write: Option<OwnedFd>,
    /// It is readable. Those who ring and silence do so under one lock.
    is_ringing: AtomicBool,
}

impl Doorbell {
    pub(crate) fn new() -> Result<Doorbell, Error> {
        Doorbell::open()
            .map_err(|error| Error::new(ErrorKind::Internal, format!("no descriptor is left: {}", error.desc())))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn open() -> nix::Result<Doorbell> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let both = EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Doorbell { read: both.into(), write: None, is_ringing: AtomicBool::new(false) })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn open() -> nix::Result<Doorbell> {
        use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
        let (read, write) = nix::unistd::pipe()?;
        for end in [&read, &write] {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        Ok(Doorbell { read, write: Some(write), is_ringing: AtomicBool::new(false) })
    }

    /// Makes it readable; a bell that rings already stays so.
    pub(crate) fn ring(&self) {
        if !self.is_ringing.swap(true, Ordering::Relaxed) {
            let _ = nix::unistd::write(self.write.as_ref().unwrap_or(&self.read), &1_u64.to_ne_bytes());
        }
    }

    /// Makes it unreadable until it is rung again.
    pub(crate) fn silence(&self) {
        if self.is_ringing.swap(false, Ordering::Relaxed) {
            let _ = nix::unistd::read(&self.read, &mut [0_u8; 8]);
        }
    }

    /// Waits until it rings or the time is over. False: a signal was caught.
    pub(crate) fn wait(&self, until: Option<Instant>) -> Result<bool, Error> {
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up: no spinning through the last millisecond.
            PollTimeout::try_from(left + Duration::from_nanos(999_999)).unwrap_or(PollTimeout::MAX)
        });
        match poll(&mut [PollFd::new(self.read.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(_) => Ok(true),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(Error::new(ErrorKind::Internal, format!("poll(2) failed: {}", error.desc()))),
        }
    }

    pub(crate) fn number(&self) -> i32 {
        self.read.as_raw_fd()
    }
}

/// When a call returns at the latest.
pub(crate) fn until(timeout_ms: i32) -> Result<Option<Instant>, Error> {
    match u64::try_from(timeout_ms) {
        Ok(timeout) => Ok(Some(Instant::now() + Duration::from_millis(timeout))),
        Err(_) if timeout_ms == -1 => Ok(None),
        Err(_) => refuse(format!("timeout_ms is {timeout_ms}; give milliseconds from 0, or -1 to wait for ever")),
    }
}

impl AsFd for Doorbell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(doorbell: &Doorbell) -> bool {
        let mut asked = [PollFd::new(doorbell.as_fd(), PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn rings_until_silenced_however_often_it_was_rung() {
        let doorbell = Doorbell::new().expect("a descriptor");
        assert!(!rings(&doorbell));
        for _ in 0..3 {
            (0..1000).for_each(|_| doorbell.ring());
            assert!(rings(&doorbell) && doorbell.wait(None) == Ok(true));
            doorbell.silence();
            assert!(!rings(&doorbell));
        }
    }

    #[test]
    fn waits_no_shorter_than_asked() {
        let until = Instant::now() + Duration::from_millis(20);
        assert_eq!(Doorbell::new().expect("a descriptor").wait(Some(until)), Ok(true));
        assert!(Instant::now() >= until);
    }
}
