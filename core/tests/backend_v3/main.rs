//! The v3 backend on a real etcd, verb by verb, and on servers that are none.

mod bench;
mod links;
mod strangers;
#[path = "../support/mod.rs"]
mod support;
mod verbs;
mod watches;
