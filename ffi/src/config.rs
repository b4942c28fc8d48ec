//! The configuration, as C gives it.

use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::path::PathBuf;

use etcd_leader::config::{MAX_ENDPOINTS, Secret};
use etcd_leader::{Api, Config, Error, OnStoreReset};

use crate::border::refuse;
use crate::event::el_on_event;
use crate::queue::el_queue;

/// etcd's API v3 (gRPC, etcd 3.4 and later). Shares elections with Go's concurrency.Election and `etcdctl elect`.
pub const EL_API_V3: i32 = 3;

/// etcd's API v2 (HTTP, etcd 2 to 3.5; off unless etcd is started with --enable-v2=true). Shares elections with the
/// npm package etcd-leader of 2015. The clocks of etcd's members must agree within the step-down margin.
pub const EL_API_V2: i32 = 2;

/// Report it as an event, let nobody of ours lead for one ttl and the step-down margin, then go on. The default.
pub const EL_ON_STORE_RESET_CONTINUE: i32 = 1;
/// End the election with `EL_STORE_RESET`.
pub const EL_ON_STORE_RESET_STOP: i32 = 2;

/// How to take part in an election. Zero stands for the default in every field that has one, so start from
/// `el_config config = {0};`. The library copies what it needs: all of it may go when `el_start` has returned.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct el_config {
    /// The servers of ONE etcd cluster: `endpoint_count` texts, each `http://host:port`, `https://host:port`,
    /// `unix:///path` and `unixs:///path` (TLS) for a unix socket, or `srv://domain` and `srvs://domain` (TLS) for the
    /// servers that the DNS lists as `_etcd-client._tcp.domain` and `_etcd-client-ssl._tcp.domain`: they are looked up as
    /// the domain stands there, again when none of them takes connections, and their certificates name the domain, as etcdctl
    /// has it. The port may be left out (2379), and so may the scheme: then it is https if any field of certificates is
    /// set, else http. One text may hold several with commas between them, as etcdctl takes them. An array and its length,
    /// because a forgotten length is noticed and a forgotten NULL at the end is not.
    pub endpoints: *const *const c_char,
    /// The election: all who campaign for the same key on the same cluster compete. 1 to 1024 bytes of UTF-8, taken
    /// byte for byte; no slash at the end, no double slash.
    pub key: *const c_char,
    /// What this candidate calls itself; the others are told the leader's name. 1 to 1024 bytes of UTF-8. With API v3
    /// it need not be unique; with API v2 give each candidate its own, since a wiped store gives keys out again.
    pub name: *const c_char,
    /// Called by `el_poll` for each event. NULL if you take events with `el_next` or by a queue.
    pub on_event: el_on_event,
    /// Handed to `on_event` as it is. May be NULL.
    pub user_data: *mut c_void,
    /// How many texts `endpoints` has, 1 to 64; they may name 64 endpoints in all.
    pub endpoint_count: u32,
    /// Which API of etcd: `EL_API_V2` or `EL_API_V3`; the default is `EL_API_V3`. They cannot see each other: all who
    /// campaign for a key must use the same one.
    pub api: i32,
    /// The lease in whole seconds, 1 to 300; default 10. After a crash the next in line leads once it has run out.
    pub ttl_s: u32,
    /// How often a follower renews its lease, in milliseconds, up to 100000; default half the ttl, but at most 100000. In
    /// EL_API_V3 the leader and the next in line renew twice as often.
    pub renew_ms: u32,
    /// How long before the certain end of the lease leading ends by itself, in milliseconds; default a fifth of the
    /// ttl.
    pub step_down_ms: u32,
    /// How long a server may be silent, at most, before another one is asked too, in milliseconds, from 20. Nothing is given
    /// up for it. Twice that must fit between a renewal and stepping down; default as much as fits, but at most 5000.
    pub request_timeout_ms: u32,
    /// How long a stop waits for your leading work to end, unless that is under way (see `el_stop`), and then for etcd to delete
    /// our entry, in milliseconds, up to 3600000 (one hour); default the ttl.
    pub stop_timeout_ms: u32,
    /// What to do when the store has gone back in time (wiped, or restored from a backup): `EL_ON_STORE_RESET_...`.
    pub on_store_reset: i32,
    /// A user of etcd's, if etcd asks for one; then `password` too. In API v2 without a colon.
    pub username: *const c_char,
    /// The user's password. It appears in no message and no event.
    pub password: *const c_char,
    /// Whom to trust when the endpoints are `https://`: a file of CA certificates in PEM. Only these are trusted then;
    /// without `ca_file` and `ca_pem`, those that the system trusts. The files that are named here and below are read by
    /// `el_start` and again whenever the library turns to a member, so they may be replaced while elections run.
    pub ca_file: *const c_char,
    /// The same as a text in PEM. Give the file or the text, here and below.
    pub ca_pem: *const c_char,
    /// Our own certificate, if etcd asks for one (`--client-cert-auth`), then those between it and its CA: a file in
    /// PEM. Its key is needed too.
    pub cert_file: *const c_char,
    /// The same as a text in PEM.
    pub cert_pem: *const c_char,
    /// The private key of our certificate, not encrypted: a file in PEM.
    pub key_file: *const c_char,
    /// The same as a text in PEM. It appears in no message and no event.
    pub key_pem: *const c_char,
    /// The name that the certificates of all endpoints must hold; by default each endpoint's host. In API v2 a server is
    /// still asked for the endpoint's host (SNI).
    pub tls_server_name: *const c_char,
    /// A queue that takes the events of this election, or NULL; then `on_event` must be NULL.
    pub queue: *mut el_queue,
}

/// More than this is no size of a configuration that any version will have.
const MAX_SIZE: usize = 4096;
const SIZE: usize = size_of::<el_config>();

/// Copies a configuration of any version, as Linux' clone3 does: what is missing is zero, what we do not know must be.
///
/// # Safety
///
/// `config` is NULL or points to `size` readable bytes, which are an [`el_config`] of some version.
pub(crate) unsafe fn copy(config: *const el_config, size: usize) -> Result<el_config, Error> {
    if config.is_null() {
        return refuse("config is NULL; give a pointer to an el_config".into());
    }
    if size == 0 || size > MAX_SIZE || !size.is_multiple_of(align_of::<el_config>()) {
        return refuse(format!("config_size is {size}; give sizeof(el_config), which is {SIZE} in this version"));
    }
    // SAFETY: there are `size` readable bytes, says the caller.
    let given = unsafe { std::slice::from_raw_parts(config.cast::<u8>(), size) };
    if let Some(at) = (SIZE..size).find(|at| given[*at] != 0) {
        return refuse(format!(
            "config has a value in a field at byte {at} that this version ({}, {SIZE} bytes) does not know; leave that \
             field zero, or use a newer libetcd_leader",
            env!("CARGO_PKG_VERSION")
        ));
    }
    let mut copy = MaybeUninit::<el_config>::zeroed();
    let known = size.min(SIZE);
    // SAFETY: `known` bytes are readable there and fit here. Zero is a value of every field: NULL, no function, 0; and
    // what C wrote into a field is one too.
    unsafe {
        std::ptr::copy_nonoverlapping(given.as_ptr(), copy.as_mut_ptr().cast::<u8>(), known);
        Ok(copy.assume_init())
    }
}

impl el_config {
    /// In the core's words.
    ///
    /// # Safety
    ///
    /// The pointers are NULL or as the header demands.
    pub(crate) unsafe fn to_core(self) -> Result<Config, Error> {
        // SAFETY: see above, for each of them.
        let (endpoints, key, name, access) =
            unsafe { (self.endpoint_texts()?, text("key", self.key)?, text("name", self.name)?, self.access()?) };
        Ok(Config {
            endpoints,
            key,
            name,
            api: match self.api {
                0 | EL_API_V3 => Api::V3,
                EL_API_V2 => Api::V2,
                other => {
                    return refuse(format!(
                        "api is {other}; give EL_API_V2 (2) or EL_API_V3 (3), or 0 for the default"
                    ));
                }
            },
            ttl_s: self.ttl_s,
            renew_ms: self.renew_ms,
            step_down_ms: self.step_down_ms,
            request_timeout_ms: self.request_timeout_ms,
            stop_timeout_ms: self.stop_timeout_ms,
            on_store_reset: match self.on_store_reset {
                0 | EL_ON_STORE_RESET_CONTINUE => OnStoreReset::Continue,
                EL_ON_STORE_RESET_STOP => OnStoreReset::Stop,
                other => {
                    return refuse(format!(
                        "on_store_reset is {other}; give EL_ON_STORE_RESET_CONTINUE (1) or EL_ON_STORE_RESET_STOP (2), \
                         or 0 for the default"
                    ));
                }
            },
            ..access
        })
    }

    /// The fields about users and certificates.
    unsafe fn access(&self) -> Result<Config, Error> {
        // SAFETY: each is NULL or a text.
        unsafe {
            Ok(Config {
                username: optional(self.username, |given| text("username", given))?,
                password: optional(self.password, |given| secret("password", given))?,
                ca_file: optional(self.ca_file, |given| path("ca_file", given))?,
                ca_pem: optional(self.ca_pem, |given| secret("ca_pem", given))?,
                cert_file: optional(self.cert_file, |given| path("cert_file", given))?,
                cert_pem: optional(self.cert_pem, |given| secret("cert_pem", given))?,
                key_file: optional(self.key_file, |given| path("key_file", given))?,
                key_pem: optional(self.key_pem, |given| secret("key_pem", given))?,
                tls_server_name: optional(self.tls_server_name, |given| text("tls_server_name", given))?,
                ..Config::default()
            })
        }
    }

    unsafe fn endpoint_texts(&self) -> Result<Vec<String>, Error> {
        let count = self.endpoint_count as usize;
        if count > MAX_ENDPOINTS {
            return refuse(format!("endpoint_count is {count}; give at most {MAX_ENDPOINTS}"));
        }
        if self.endpoints.is_null() && count > 0 {
            return refuse(format!("endpoints is NULL; give an array of {count} texts, as endpoint_count says"));
        }
        if !self.endpoints.is_null() && count == 0 {
            return refuse("endpoint_count is 0; give the number of endpoints".into());
        }
        // SAFETY: the array has as many entries as the caller says, and each is NULL or a text.
        (0..count).map(|at| unsafe { text(&format!("endpoints[{at}]"), *self.endpoints.add(at)) }).collect()
    }
}

/// Reads a text of C's.
///
/// # Safety
///
/// `text` is NULL or ends with a NUL byte.
unsafe fn text(field: &str, text: *const c_char) -> Result<String, Error> {
    if text.is_null() {
        return refuse(format!("{field} is NULL; give a text"));
    }
    // SAFETY: it ends with a NUL byte, says the caller.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_string()),
        Err(error) => {
            let at = error.valid_up_to();
            refuse(format!("{field} is not UTF-8: byte {at} is 0x{:02x}; write it in UTF-8", bytes[at]))
        }
    }
}

fn optional<T>(given: *const c_char, read: impl FnOnce(*const c_char) -> Result<T, Error>) -> Result<Option<T>, Error> {
    if given.is_null() { Ok(None) } else { read(given).map(Some) }
}

/// Reads a text of C's of which no byte may be shown.
///
/// # Safety
///
/// `text` ends with a NUL byte.
unsafe fn secret(field: &str, text: *const c_char) -> Result<Secret, Error> {
    // SAFETY: says the caller.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Secret::new(text)),
        Err(error) => refuse(format!("{field} is not UTF-8 from byte {} on; write it in UTF-8", error.valid_up_to())),
    }
}

/// Reads a path of C's, which on Unix is any bytes.
///
/// # Safety
///
/// `text` ends with a NUL byte.
#[cfg(unix)]
unsafe fn path(_field: &str, text: *const c_char) -> Result<PathBuf, Error> {
    use std::os::unix::ffi::OsStrExt;
    // SAFETY: says the caller.
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes())))
}

#[cfg(not(unix))]
unsafe fn path(field: &str, given: *const c_char) -> Result<PathBuf, Error> {
    // SAFETY: says the caller.
    unsafe { text(field, given) }.map(PathBuf::from)
}

/// The layout is a promise: no padding, and nothing moves.
#[cfg(target_pointer_width = "64")]
const _: () = {
    use std::mem::offset_of;

    use crate::event::el_event;

    assert!(SIZE == 152 && align_of::<el_config>() == 8);
    assert!(offset_of!(el_config, on_event) == 24 && offset_of!(el_config, endpoint_count) == 40);
    assert!(offset_of!(el_config, ttl_s) == 48 && offset_of!(el_config, on_store_reset) == 68);
    assert!(offset_of!(el_config, username) == 72 && offset_of!(el_config, tls_server_name) == 136);
    assert!(offset_of!(el_config, queue) == 144);
    assert!(size_of::<el_event>() == 56 && offset_of!(el_event, token) == 16);
    assert!(offset_of!(el_event, election) == 24 && offset_of!(el_event, message) == 48);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration as a later version has it.
    #[repr(C)]
    struct Later {
        known: el_config,
        new: u64,
    }

    fn later(new: u64) -> Later {
        // SAFETY: zero is a value of every field.
        let mut known: el_config = unsafe { std::mem::zeroed() };
        known.ttl_s = 7;
        known.on_store_reset = 2;
        Later { known, new }
    }

    #[test]
    fn a_larger_configuration_is_taken_if_what_we_do_not_know_is_zero() {
        // SAFETY: as many bytes as there are.
        let copied = |given: &Later| unsafe { copy((&raw const *given).cast(), size_of::<Later>()) };
        assert_eq!(copied(&later(0)).expect("zero").ttl_s, 7);
        let Err(error) = copied(&later(1 << 40)) else { panic!("taken") };
        assert!(error.detail().contains("byte 157") && error.detail().contains("newer libetcd_leader"), "{error}");
    }

    #[test]
    fn a_smaller_configuration_has_defaults_in_what_is_missing() {
        // SAFETY: fewer bytes than there are.
        let copied = unsafe { copy(&later(0).known, 56) }.expect("an older one");
        assert_eq!((copied.ttl_s, copied.on_store_reset), (7, 0));
    }

    #[test]
    fn a_size_that_is_none_is_refused() {
        for size in [0, 1, 13, MAX_SIZE + 8, usize::MAX] {
            // SAFETY: it is refused before it is read.
            let Err(error) = (unsafe { copy(&later(0).known, size) }) else { panic!("taken: {size}") };
            assert!(error.detail().contains(&format!("config_size is {size}; give sizeof(el_config)")), "{error}");
        }
    }
}
