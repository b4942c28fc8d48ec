//! Mixed fleets on etcd's API v2: ours and members of the npm package of 2015 (PEERS.md) in one election.
//!
//! The package is installed beside this file, by `npm ci`; `.ci/test` does so. A member of 2015 looks at no clock before
//! it says that it leads: here it is killed and stopped, never frozen.

#![allow(clippy::print_stdout)]

// Written for the conformance tests, which use all of it.
#[allow(dead_code)]
#[path = "../conformance/candidate.rs"]
mod candidate;

mod fleet;
mod stories;
