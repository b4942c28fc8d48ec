//! The election on a real etcd, on both of its APIs: succession, tampering, outages, three members with faults, and other clients.
//!
//! Candidates are processes of their own, so that they can be killed and frozen; each says what it hears, with the time
//! on the clock that all processes of the machine share. At the end of each test no two may have led at one time.

#![allow(clippy::print_stdout)]

mod candidate;
mod cluster;
mod crowds;
mod denied;
mod discovery;
mod failover;
mod handover;
mod keys;
mod lead;
mod one_of_three;
mod operations;
mod outages;
mod patience;
mod peers;
mod sessions;
mod start;
mod store;
mod stream;
mod succession;
mod v2;
