//! Work that may block for long, such as a look-up or a file system that hangs, runs on a thread of its own.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

/// The threads of an engine beside its own. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Threads(Arc<Running>);

#[derive(Debug, Default)]
struct Running {
    count: Mutex<usize>,
    over: Condvar,
}

impl Threads {
    /// Runs `work`, and waits for what it gives. An error: the system gives no thread.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
        let (send, done) = oneshot::channel();
        let one = One::of(&self.0);
        thread::Builder::new().name("etcd-leader-dns".into()).spawn(move || {
            let _one = one;
            let _ = send.send(work());
        })?;
        done.await.map_err(|_| io::Error::other("it was broken off"))
    }

    /// Waits until none runs, but no longer than this: one that hangs ends by itself, some time.
    pub(crate) fn wait(&self, timeout: Duration) {
        let count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.over.wait_timeout_while(count, timeout, |count| *count > 0));
    }
}

/// A thread that is counted as long as this lives.
struct One(Arc<Running>);

impl One {
    fn of(running: &Arc<Running>) -> One {
        *running.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        One(running.clone())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.over.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn the_end_waits_for_what_runs_and_not_for_ever() {
        let threads = Threads::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        assert_eq!(runtime.block_on(threads.run(|| 7)).expect("a thread"), 7);
        threads.wait(Duration::from_secs(60));
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let hangs = threads.run(move || ended.recv());
        let given_up = runtime.block_on(async {
            tokio::select! {
                biased;
                _ = hangs => false,
                () = tokio::task::yield_now() => true,
            }
        });
        assert!(given_up);
        let begun = Instant::now();
        threads.wait(Duration::from_millis(30));
        assert!(begun.elapsed() >= Duration::from_millis(30));
        drop(end);
        threads.wait(Duration::from_secs(60));
    }
}
