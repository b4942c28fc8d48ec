//! Another Rust library inside the same C program, with panics and a hook of its own.

use std::ffi::c_int;
use std::panic::{catch_unwind, set_hook};
use std::sync::atomic::{AtomicI32, Ordering};

static PANICS: AtomicI32 = AtomicI32::new(0);

/// Panics, and catches it; how often its hook has heard of a panic.
#[unsafe(no_mangle)]
pub extern "C" fn other_panics() -> c_int {
    set_hook(Box::new(|_| {
        PANICS.fetch_add(1, Ordering::Relaxed);
    }));
    let caught = catch_unwind(|| panic!("on purpose"));
    if caught.is_err() { PANICS.load(Ordering::Relaxed) } else { -1 }
}
