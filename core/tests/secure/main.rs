//! TLS, users and passwords on a real etcd: each test is a user's story, from what went wrong to how it was healed.
//!
//! Whatever an election says here is searched for planted passwords, keys and tokens.
#![allow(clippy::print_stdout)]

mod auth;
mod candidate;
mod certificates;
mod endpoints;
mod guarded;
mod house;
mod pki;
mod tls;
mod tokens;
mod v2;
