//! The v2 backend on a real etcd, verb by verb, and on servers that are none.

mod access;
mod bench;
mod links;
mod strangers;
mod tls;
mod verbs;
mod watches;
