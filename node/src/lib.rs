//! The addon behind the npm package: a thin door to the core. What is public of it is said in `index.d.ts`; here is what
//! `lib/run.js` needs: start, what is due, stop, and the questions that read a clock.
//!
//! * `config`: what JavaScript says, in the core's words
//! * `told`: what the core says, in JavaScript's
//! * `handle`: one election, and how the thread of its JavaScript hears that something is due
//! * `living`: the elections of this thread, given up when it ends

// napi takes only what is `pub`.
#![allow(unreachable_pub)]
// Nor does it export anything to a test of Rust's: what the addon does is tested from JavaScript, in test/.
#![cfg_attr(test, allow(dead_code))]

mod config;
mod handle;
mod living;
mod told;

/// An error of ours for JavaScript: its `code` is the name of the kind.
type Error = napi::Error<&'static str>;
type Result<T> = std::result::Result<T, Error>;

fn thrown(error: etcd_leader::Error) -> Error {
    Error::new(error.kind().name(), error.detail())
}

/// Something of Node's own failed.
fn failed(error: napi::Error) -> Error {
    Error::new(etcd_leader::ErrorKind::Internal.name(), error.reason)
}
