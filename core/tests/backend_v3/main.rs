//! The v3 backend on a real etcd, verb by verb, and on servers that are none.

mod bench;
mod links;
mod strangers;
mod verbs;
mod watches;
