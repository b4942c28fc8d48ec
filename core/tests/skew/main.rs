//! etcd's API v2 with the wall clock of one member apart from the others': its entries expire early, or late.

#![allow(clippy::print_stdout)]

// Written for the conformance tests, which use all of it.
#[allow(dead_code)]
#[path = "../conformance/candidate.rs"]
mod candidate;

mod clock;
mod leaders;
mod proof;
