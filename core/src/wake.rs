//! A bell that anyone may ring, also a signal handler; the engine listens.

use crate::rung::Rung;

/// The ringing side. Ringing is async-signal-safe: one write to a descriptor, no lock, no allocation.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Bell {
    write: std::os::fd::OwnedFd,
    /// The listener may be gone before the last who rings: to write into a pipe that nobody can read raises SIGPIPE.
    _read: std::os::fd::OwnedFd,
    rung: Rung,
}

impl Bell {
    /// Rings, and says for which handle.
    pub(crate) fn ring_for(&self, slot: usize) {
        self.rung.add(slot);
        self.ring();
    }

    /// For which handles it was rung since this was last asked.
    pub(crate) fn take_rung(&self) -> Vec<usize> {
        self.rung.take()
    }
}

/// The listening side. Needs a tokio runtime.
#[cfg(unix)]
pub(crate) struct Listener {
    read: tokio::net::unix::pipe::Receiver,
}

#[cfg(unix)]
impl Bell {
    /// A bell, and the end of its pipe that [`Listener::new`] takes.
    pub(crate) fn new() -> std::io::Result<(Bell, std::os::fd::OwnedFd)> {
        let (read, write) = std::io::pipe()?;
        let (read, write) = (std::os::fd::OwnedFd::from(read), std::os::fd::OwnedFd::from(write));
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        fcntl(&write, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok((Bell { write, _read: read.try_clone()?, rung: Rung::default() }, read))
    }

    /// Rings. A bell that is ringing already stays so.
    pub(crate) fn ring(&self) {
        // A signal handler must leave errno as it was.
        let errno = nix::errno::Errno::last_raw();
        let _ = nix::unistd::write(&self.write, &[1]);
        nix::errno::Errno::set_raw(errno);
    }
}

#[cfg(unix)]
impl Listener {
    /// Listens on this runtime.
    pub(crate) fn new(read: std::os::fd::OwnedFd) -> std::io::Result<Listener> {
        Ok(Listener { read: tokio::net::unix::pipe::Receiver::from_owned_fd(read)? })
    }

    /// Returns when the bell was rung since the last time.
    pub(crate) async fn rung(&mut self) {
        if self.read.readable().await.is_err() {
            return std::future::pending().await;
        }
        while self.read.try_read(&mut [0_u8; 64]).is_ok_and(|read| read > 0) {}
    }
}

/// Where there are no signal handlers to ring from, the runtime's own bell will do.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Bell {
    notify: std::sync::Arc<tokio::sync::Notify>,
    rung: Rung,
}

/// The listening side.
#[cfg(not(unix))]
pub(crate) struct Listener {
    notify: std::sync::Arc<tokio::sync::Notify>,
}

#[cfg(not(unix))]
impl Bell {
    /// A bell, and what [`Listener::new`] takes.
    pub(crate) fn new() -> std::io::Result<(Bell, std::sync::Arc<tokio::sync::Notify>)> {
        let notify = std::sync::Arc::new(tokio::sync::Notify::new());
        Ok((Bell { notify: notify.clone(), rung: Rung::default() }, notify))
    }

    /// Rings.
    pub(crate) fn ring(&self) {
        self.notify.notify_one();
    }
}

#[cfg(not(unix))]
impl Listener {
    /// Listens.
    pub(crate) fn new(notify: std::sync::Arc<tokio::sync::Notify>) -> std::io::Result<Listener> {
        Ok(Listener { notify })
    }

    /// Returns when the bell was rung since the last time.
    pub(crate) async fn rung(&mut self) {
        self.notify.notified().await;
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_bell_may_be_rung_when_nobody_listens_any_more() {
        let (bell, end) = Bell::new().expect("a bell");
        drop(end);
        // With EPIPE comes SIGPIPE, which ends a host that does not ignore it.
        assert_eq!(nix::unistd::write(&bell.write, &[1]), Ok(1));
    }
}
