//! The configuration, as JavaScript gives it: checked for its types there, for its sense in the core.

use std::path::PathBuf;
use std::time::Duration;

use etcd_leader::config::Secret;
use etcd_leader::{Api, Config, Election, OnStoreReset};
use napi_derive::napi;

use crate::{Result, thrown};

/// What `lib/options.js` and `lib/connection.js` make of the arguments. What is left out has the core's default.
#[napi(object, object_to_js = false)]
pub struct Given {
    pub endpoints: Vec<String>,
    /// 2 or 3.
    pub api: u32,
    pub key: String,
    pub name: String,
    pub ttl_s: Option<u32>,
    pub renew_ms: Option<u32>,
    pub step_down_ms: Option<u32>,
    pub request_timeout_ms: Option<u32>,
    pub stop_timeout_ms: Option<u32>,
    pub stops_on_store_reset: Option<bool>,
    pub username: Option<String>,
    pub password: Option<String>,
    pub ca_file: Option<String>,
    pub ca_pem: Option<String>,
    pub cert_file: Option<String>,
    pub cert_pem: Option<String>,
    pub key_file: Option<String>,
    pub key_pem: Option<String>,
    pub tls_server_name: Option<String>,
}

impl Given {
    pub(crate) fn into_core(self) -> Config {
        Config {
            endpoints: self.endpoints,
            api: if self.api == 2 { Api::V2 } else { Api::V3 },
            key: self.key,
            name: self.name,
            ttl_s: self.ttl_s.unwrap_or(0),
            renew_ms: self.renew_ms.unwrap_or(0),
            step_down_ms: self.step_down_ms.unwrap_or(0),
            request_timeout_ms: self.request_timeout_ms.unwrap_or(0),
            stop_timeout_ms: self.stop_timeout_ms.unwrap_or(0),
            on_store_reset: match self.stops_on_store_reset {
                Some(true) => OnStoreReset::Stop,
                _ => OnStoreReset::Continue,
            },
            username: self.username,
            password: self.password.map(Secret::new),
            ca_file: self.ca_file.map(PathBuf::from),
            ca_pem: self.ca_pem.map(Secret::new),
            cert_file: self.cert_file.map(PathBuf::from),
            cert_pem: self.cert_pem.map(Secret::new),
            key_file: self.key_file.map(PathBuf::from),
            key_pem: self.key_pem.map(Secret::new),
            tls_server_name: self.tls_server_name,
        }
    }
}

/// The settings that took effect; all in milliseconds.
#[napi(object, object_from_js = false)]
pub struct Effective {
    pub ttl_ms: u32,
    /// Not there until etcd has granted it.
    pub granted_ttl_ms: Option<u32>,
    pub renew_ms: u32,
    pub step_down_ms: u32,
    pub request_timeout_ms: u32,
    pub stop_timeout_ms: u32,
}

impl Effective {
    pub(crate) fn new(effective: &etcd_leader::Effective) -> Effective {
        let ms = |time: Duration| u32::try_from(time.as_millis()).unwrap_or(u32::MAX);
        Effective {
            ttl_ms: ms(effective.ttl),
            granted_ttl_ms: effective.granted_ttl.map(ms),
            renew_ms: ms(effective.renew_every),
            step_down_ms: ms(effective.margin),
            request_timeout_ms: ms(effective.request_timeout),
            stop_timeout_ms: ms(effective.stop_timeout),
        }
    }
}

/// Throws what is wrong with a configuration. Reads the files that it names, and touches no network.
#[napi(catch_unwind)]
pub fn check(config: Given) -> Result<()> {
    Election::check(&config.into_core()).map(drop).map_err(thrown)
}
