//! Which library this is.

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
/// added. A program that was compiled for `EL_ABI_VERSION` runs with every libetcd_leader.so.1 in which this number is
/// not smaller.
#[unsafe(no_mangle)]
pub extern "C" fn el_abi_version() -> i32 {
    EL_ABI_VERSION
}
