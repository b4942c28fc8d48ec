//! Starts processes that cannot outlive the tests.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;

use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts a process that is killed when this one ends, however it ends.
///
/// The kernel sends the signal when the *thread* that started the process ends, so one thread, which never does, starts
/// them all.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    static ORDERS: OnceLock<Mutex<mpsc::Sender<Order>>> = OnceLock::new();
    // SAFETY: both calls are async-signal-safe, and nothing else happens between fork and exec.
    #[allow(unsafe_code)]
    unsafe {
        command.pre_exec(|| {
            // A mask of ours is not the child's business.
            SigSet::empty().thread_set_mask()?;
            prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
        });
    }
    let orders = ORDERS.get_or_init(|| {
        let (orders, taken) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in taken {
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(orders)
    });
    let (reply, child) = mpsc::channel();
    orders.lock().expect("the lock").send((command, reply)).expect("the starting thread");
    child.recv().expect("the starting thread")
}
