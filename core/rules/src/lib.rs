//! The rules of an election on etcd. They make all decisions of the crate `etcd-leader`, which carries them out.
//!
//! Nothing here opens a file or a socket, reads a clock or starts a thread, and no other crate is used. So the simulation and the
//! exhaustive search run what the product runs.
//!
//! * values: [`error`], [`config`], [`member`], [`time`]
//! * machine: [`machine`] decides everything; it holds no password, no certificate and no address
//! * events: [`mailbox`] keeps what you were told beside what is so

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod config;
pub mod error;
pub mod machine;
pub mod mailbox;
pub mod member;
pub mod time;

pub use config::{Api, Config, Effective, OnStoreReset};
pub use error::{Error, ErrorKind};
pub use mailbox::{Ended, Event, Next};
