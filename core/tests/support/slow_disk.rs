//! A disk that takes its time: each fdatasync of an etcd is held back for a while, and then made. That of the write-ahead log
//! makes a raft commit take so long; those of the database hold reads up besides. The kernel asks us about each (seccomp's user
//! notification, seccomp_unotify(2)): no further program is needed.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nix::libc;
use nix::sys::prctl;

/// The number in the child of the descriptor at which the kernel asks: one that etcd has not reached when we take ours from it.
const LISTENER: RawFd = 900;

/// The disk of one etcd. It takes no time of ours to begin with.
#[derive(Default)]
pub struct SlowDisk {
    log_ms: Arc<AtomicU64>,
    database_ms: Arc<AtomicU64>,
}

impl SlowDisk {
    /// From now on each fdatasync of the write-ahead log takes this much longer.
    pub fn takes(&self, delay: Duration) {
        self.log_ms.store(delay.as_millis().try_into().expect("not for ever"), Ordering::SeqCst);
    }

    /// From now on each fdatasync of the database takes this much longer.
    pub fn takes_for_the_database(&self, delay: Duration) {
        self.database_ms.store(delay.as_millis().try_into().expect("not for ever"), Ordering::SeqCst);
    }

    /// Makes this the disk of the process that the command will be; [`SlowDisk::serve`] must follow the start.
    pub(super) fn under(&self, command: &mut Command) {
        // SAFETY: only system calls are made between fork and exec.
        #[allow(unsafe_code)]
        unsafe {
            command.pre_exec(ask_about_fdatasync);
        }
    }

    /// Serves the process that was started, for as long as it lives.
    pub(super) fn serve(&self, pid: u32) {
        let listener = take_listener(pid).expect("pidfd_getfd needs Linux 5.6 and the right to trace a child");
        let (listener, log_ms, database_ms) = (Arc::new(listener), self.log_ms.clone(), self.database_ms.clone());
        thread::spawn(move || answer_all(&listener, &log_ms, &database_ms));
    }
}

fn descriptor(result: libc::c_long) -> io::Result<OwnedFd> {
    let number = RawFd::try_from(result).expect("a descriptor is a small number");
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system has just given it to us.
    #[allow(unsafe_code)]
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// In the child: has the kernel ask about each fdatasync from now on.
fn ask_about_fdatasync() -> io::Result<()> {
    let step = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        // The number of the call; if it is that one, ask, and else allow.
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_fdatasync as u32, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    prctl::set_no_new_privs()?;
    let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
    // SAFETY: the program outlives the call.
    #[allow(unsafe_code)]
    let listener = descriptor(unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &program) })?;
    // SAFETY: it takes numbers only. The copy outlives exec.
    #[allow(unsafe_code)]
    match unsafe { libc::dup2(listener.as_raw_fd(), LISTENER) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The child's descriptor, as one of ours.
fn take_listener(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: they take numbers only.
    #[allow(unsafe_code)]
    unsafe {
        let process = descriptor(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        descriptor(libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), LISTENER, 0))
    }
}

fn answer_all(listener: &Arc<OwnedFd>, log_ms: &AtomicU64, database_ms: &AtomicU64) {
    loop {
        let mut source = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: it is one, and ours.
        #[allow(unsafe_code)]
        let polled = unsafe { libc::poll(&mut source, 1, -1) };
        if polled == 1 && source.revents & libc::POLLHUP != 0 {
            return; // Nobody is left who could ask.
        }
        // SAFETY: all of it is numbers, and zeros are what the kernel wants.
        #[allow(unsafe_code)]
        let mut question: libc::seccomp_notif = unsafe { std::mem::zeroed() };
        // SAFETY: it is what the request takes.
        #[allow(unsafe_code)]
        let received = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &mut question) };
        if received != 0 {
            continue; // The one who asked is gone.
        }
        let file = std::fs::read_link(format!("/proc/{}/fd/{}", question.pid, question.data.args[0]));
        let is_log = file.is_ok_and(|file| file.extension().is_some_and(|extension| extension == "wal"));
        let delay = Duration::from_millis(if is_log { log_ms } else { database_ms }.load(Ordering::SeqCst));
        let listener = listener.clone();
        thread::spawn(move || {
            thread::sleep(delay);
            let flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
            let answer = libc::seccomp_notif_resp { id: question.id, val: 0, error: 0, flags };
            // SAFETY: it is what the request takes. It may say that the one who asked is gone.
            #[allow(unsafe_code)]
            let _ = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &answer) };
        });
    }
}
