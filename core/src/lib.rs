//! Leader election on etcd.
//!
//! Many processes want one of them to lead. Each joins the election as a candidate; the one whose entry is the oldest
//! leads; the others wait, each watching only the entry just before its own. See [`Election`] for how to use it and
//! [`machine`] for the laws that hold.
//!
//! # How the code is laid out
//!
//! Data flows one way: etcd -> [`backend`] -> [`machine::Input`] -> [`machine`] -> [`machine::Report`] -> [`mailbox`] ->
//! [`Event`] -> you. Requests flow the other way: machine -> [`machine::Request`] -> driver -> backend -> etcd.
//!
//! Each layer uses only those before it, which `tests/layering` checks. The first three are the crate [`etcd_leader_rules`],
//! which uses nothing but the standard library.
//!
//! * values: [`error`], [`config`], [`member`], [`time`]; they open no file and no connection
//! * machine: [`machine`] decides everything; it holds no password, no certificate and no address
//! * events: [`mailbox`] keeps what you were told beside what is so
//! * clock: [`clock`] is what the machines' time comes from
//! * backend: [`backend`] is the trait and what both APIs share, of which [`backend::tls`] reads certificates and keys;
//!   [`backend::v2`] and [`backend::v3`] translate
//! * runtime: the driver stands between a machine and a backend; the engine is one thread for all elections of the process, and
//!   chooses the backend
//! * election: [`Election`], its events as a stream, and its `lead`, which runs a future for one term

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod backend;
pub mod clock;
mod crypto;
mod driver;
pub mod election;
mod engine;
mod process;
mod random;
mod rung;
mod shared;
mod wake;
mod wall;

pub use election::{Election, Events, Term};
#[doc(inline)]
pub use etcd_leader_rules::{
    Api, Config, Effective, Ended, Error, ErrorKind, Event, Next, OnStoreReset, config, error, machine, mailbox,
    member, time,
};
pub use process::Process;
