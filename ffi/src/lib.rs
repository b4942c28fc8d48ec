//! The C face of etcd-leader: a thin door, without a rule of its own.
//!
//! The comments on public items are C documentation: cbindgen copies them into `include/etcd_leader.h`. What holds for
//! all of them (life, threads, signals, memory, errors, fork, truth, ABI) is said once, in `cbindgen.toml`.

#![allow(unsafe_code, non_camel_case_types)]
// The contract of each function is in the header, once, for those who call it.
#![allow(clippy::missing_safety_doc)]
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

#[cfg(not(unix))]
compile_error!("libetcd_leader waits in poll(2) and needs a Unix system");

mod border;
mod config;
mod doorbell;
mod election;
mod event;
mod status;

use std::ffi::{CStr, c_char};

/// What `el_abi_version` returns for the library that this header belongs to.
pub const EL_ABI_VERSION: i32 = 1;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version without NUL"),
};

/// The version of the library, such as "1.0.0". Static memory.
#[unsafe(no_mangle)]
pub extern "C" fn el_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The version of the interface that the library has: it grows by one whenever a function, a field or a constant is
/// added. A program that was compiled for `EL_ABI_VERSION` runs with every library in which this number is not smaller.
#[unsafe(no_mangle)]
pub extern "C" fn el_abi_version() -> i32 {
    EL_ABI_VERSION
}
