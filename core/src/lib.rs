//! Leader election on etcd.
//!
//! Many processes want one of them to lead. Each joins the election as a candidate; the one whose entry is the oldest
//! leads; the others wait, each watching only the entry just before its own. See [`Election`] for how to use it and
//! [`machine`] for the laws that hold.
//!
//! # How the code is laid out
//!
//! Data flows one way: etcd -> [`backend`] -> [`machine::Input`] -> [`machine`] -> [`member::Standing`] ->
//! [`mailbox`] -> [`Event`] -> you. Wishes flow the other way: machine -> [`machine::Request`] -> driver -> backend ->
//! etcd.
//!
//! * words: [`error`], [`config`], [`member`], [`time`]: values, no behaviour beyond themselves
//! * law: [`machine`]: everything that decides
//! * glass: [`mailbox`] (what you were told beside what is so), [`clock`] (the only file that reads one)
//! * contract, hands and tongues: [`backend`]; [`backend::tls`]; [`backend::v2`], [`backend::v3`]
//! * hands: driver (machine <-> backend), engine (one thread for all elections of the process), [`election`]

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod backend;
pub mod clock;
pub mod config;
mod crypto;
mod driver;
pub mod election;
mod engine;
pub mod error;
pub mod machine;
pub mod mailbox;
pub mod member;
mod process;
mod random;
mod rung;
mod shared;
pub mod time;
mod wake;

pub use config::{Api, Config, Effective, OnStoreReset};
pub use election::Election;
pub use error::{Error, ErrorKind};
pub use mailbox::{Ended, Event, Next};
pub use process::Process;
