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

// In the order in which the header has their functions and constants.
pub mod handle;

pub mod election;

pub mod poll;

pub mod queue;

pub mod truth;

pub mod settings;

pub mod status;

pub mod event;

pub mod config;

pub mod border;

pub mod version;

mod doorbell;

mod place;

mod thread;

#[cfg(test)]
mod hostile;
