//! The border to C: no panic crosses it, and what went wrong is kept for `el_last_error`.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::atomic::{AtomicBool, Ordering};

use etcd_leader::{Error, ErrorKind};

use crate::status;
use crate::thread::Uncancelled;

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// Runs the body of one function. What it refuses, and what it panics with, becomes `failed`'s answer.
pub(crate) fn guard<T>(failed: impl FnOnce(Error) -> T, body: impl FnOnce() -> Result<T, Error>) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => failed(error),
        Err(panic) => failed(Error::new(ErrorKind::Internal, said(&*panic))),
    }
}

/// The same for a body that may wait: POSIX would let the thread be cancelled there.
pub(crate) fn guard_blocking<T>(failed: impl FnOnce(Error) -> T, body: impl FnOnce() -> Result<T, Error>) -> T {
    let _uncancelled = Uncancelled::new();
    guard(failed, body)
}

/// An argument that cannot be used: the message names it, its value and the remedy.
pub(crate) fn refuse<T>(detail: String) -> Result<T, Error> {
    Err(Error::new(ErrorKind::Invalid, detail))
}

/// Keeps the message for [`el_last_error`]; gives the status.
pub(crate) fn remember(error: Error) -> i32 {
    let message = c_text(error.detail());
    // A thread that is ending has no place for it any more.
    let _ = LAST_ERROR.try_with(|last| last.replace(message));
    status::of(error.kind())
}

/// A panic is told as a status, never printed: standard error belongs to the host.
pub(crate) fn silence_panics() {
    static IS_SILENT: AtomicBool = AtomicBool::new(false);
    // Not a `Once`: a child that is forked while another thread is inside one would wait in it for ever.
    if !IS_SILENT.swap(true, Ordering::Relaxed) {
        // The library has its own copy of the standard library: this hook is nobody else's.
        set_hook(Box::new(|_| {}));
    }
}

/// Text as C takes it. A name in etcd may hold any byte, also the one that ends a text in C.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a fault in the library, please report it: {}", text.unwrap_or("no message"))
}

/// Why the last call that failed on this thread failed: one line in English for people, which names the field, the
/// value and the remedy where there are such. Empty if none has failed yet; never NULL. Valid until the next call that
/// fails on this thread. `el_is_leader`, `el_token`, `el_time_left_ms` and `el_stop` never change it.
#[unsafe(no_mangle)]
pub extern "C" fn el_last_error() -> *const c_char {
    const NOTHING: &CStr = c"";
    guard(|_| NOTHING.as_ptr(), || Ok(LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(NOTHING.as_ptr())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        // SAFETY: the text is this thread's, and nothing fails meanwhile.
        unsafe { CStr::from_ptr(el_last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn a_panic_becomes_a_status_and_a_message() {
        silence_panics();
        assert_eq!(last(), "");
        assert_eq!(guard(remember, || panic!("lost {}", "count")), status::EL_INTERNAL);
        assert!(last().ends_with("please report it: lost count"), "{}", last());
    }

    #[test]
    fn a_refusal_is_remembered_by_its_own_thread() {
        assert_eq!(guard(remember, || Err(Error::new(ErrorKind::Busy, "in\0use"))), status::EL_BUSY);
        assert_eq!(last(), "in\u{fffd}use");
        std::thread::spawn(|| assert_eq!(last(), "")).join().expect("no panic");
    }
}
