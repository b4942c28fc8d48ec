//! TLS for both APIs: certificates and keys as rustls wants them, and what a failure of it means in words.
//!
//! There is no mode that trusts everybody, and nothing is remembered from one link to the next: a certificate that was
//! replaced or a CA that was taken away counts from the next link on (which in v2 is more than one connection). Session
//! tickets would skip that check, so there are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::sync::Mutex;

use super::threads::Threads;
use crate::config::{Endpoint, Pem, Tls};
use crate::crypto;
use crate::error::ErrorKind;
use crate::machine::Failure;

mod pem;
mod verifier;
mod words;
pub use pem::Credentials;
use verifier::Verifier;
pub use words::failure;

/// The protocol that is spoken inside TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// HTTP/2, for gRPC.
    Http2,
    /// HTTP/1.1.
    Http1,
}

/// Gives each connection its TLS configuration.
#[derive(Clone, Debug)]
pub struct Client {
    tls: Arc<Tls>,
    inside: Inside,
    threads: Threads,
    /// Held while files are read: a file system that hangs holds up one thread, not one for each attempt.
    reading: Arc<Mutex<()>>,
}

impl Client {
    /// For connections with these certificates and this protocol.
    pub fn new(tls: &Tls, inside: Inside, threads: &Threads) -> Client {
        Client { tls: Arc::new(tls.clone()), inside, threads: threads.clone(), reading: Arc::default() }
    }

    /// The configuration of one connection, from the files as they are now; and whether a server has asked for our certificate.
    /// Reads the files on a thread of their own; takes as long as the file system does, so the caller limits it.
    pub async fn config(&self) -> Result<(ClientConfig, Asked), Failure> {
        let turn = self.reading.clone().lock_owned().await;
        let (tls, inside) = (self.tls.clone(), self.inside);
        let read = self.threads.run(move || {
            let _turn = turn;
            client_config(&tls, inside)
        });
        // Where the system gives no thread, files are read on this one: they rarely hang.
        read.await.unwrap_or_else(|_| client_config(&self.tls, self.inside))
    }

    /// Whether we show a certificate: etcd may take its common name for our user's.
    pub fn has_identity(&self) -> bool {
        self.tls.identity.is_some()
    }

    /// What the certificates were given as, for the words of a failure.
    pub fn tls(&self) -> &Tls {
        &self.tls
    }
}

/// The name that the certificate of this endpoint must hold, as a connection asks for it.
pub fn server_name(tls: &Tls, endpoint: &Endpoint) -> Result<ServerName<'static>, Failure> {
    let name = tls.server_name.as_deref().unwrap_or(endpoint.certified_host());
    ServerName::try_from(name.to_string())
        .map_err(|_| Failure::new(ErrorKind::Invalid, format!("{name:?} cannot be the name of a server")))
}

/// Whether a server has asked for our certificate. Until one has, no alert is about it.
#[derive(Clone, Debug, Default)]
pub struct Asked(Arc<AtomicBool>);

impl Asked {
    /// Whether it has.
    pub fn is_true(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Shows our certificate, if we have one, and notes that it was asked for.
#[derive(Debug)]
struct Shown {
    identity: Option<Arc<CertifiedKey>>,
    asked: Asked,
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _issuers: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.asked.0.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        self.identity.is_some()
    }
}

fn client_config(tls: &Tls, inside: Inside) -> Result<(ClientConfig, Asked), Failure> {
    let provider = crypto::provider();
    // What was good when the election started is not our user's mistake now, and may be healed: it is tried again.
    let read = Credentials::read(tls).map_err(|error| Failure::new(ErrorKind::Untrusted, error.detail()))?;
    let mut given = Vec::new();
    let strict: Arc<dyn ServerCertVerifier> = match read.ca {
        Some(authorities) => {
            given = authorities.given;
            WebPkiServerVerifier::builder_with_provider(authorities.roots.into(), provider.clone())
                .build()
                .map_err(|error| Failure::new(ErrorKind::Untrusted, format!("{} cannot be used: {error}", ca(tls))))?
        }
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| {
            let remedy = "give the CA that signed the server's certificate in ca_file or ca_pem, or install the \
                          system's (on Debian the package ca-certificates)";
            Failure::new(
                ErrorKind::Untrusted,
                format!("the system has no CA certificates to trust ({error}); {remedy}"),
            )
        })?),
    };
    let name = tls.server_name.as_deref().map(|name| name.to_string().try_into());
    let Ok(name) = name.transpose() else {
        return Err(Failure::new(ErrorKind::Invalid, "tls_server_name cannot be the name of a server"));
    };
    let asked = Asked::default();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { name, given, strict }))
        .with_client_cert_resolver(Arc::new(Shown { identity: read.identity, asked: asked.clone() }));
    config.alpn_protocols = match inside {
        Inside::Http2 => vec![b"h2".to_vec()],
        Inside::Http1 => vec![b"http/1.1".to_vec()],
    };
    config.resumption = Resumption::disabled();
    Ok((config, asked))
}

/// The CA as the caller knows it.
fn ca(tls: &Tls) -> String {
    match &tls.ca {
        Some(Pem::File(path)) => format!("ca_file {}", path.display()),
        Some(Pem::Text(_)) => "ca_pem".into(),
        None => "the system's CA certificates".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    /// The configuration knows no TLS, and refuses a name by a rule of its own; all texts of up to five of these characters.
    #[test]
    fn a_name_is_configured_if_a_certificate_can_hold_it() {
        let mut names = vec![String::new()];
        for _ in 0..5 {
            let longer = names.iter().flat_map(|name| "a0x9-_.: ".chars().map(move |more| format!("{name}{more}")));
            names = longer.chain([String::new()]).collect();
        }
        let edges = ["::ffff:1.2.3.4", "1.2.3.4", "1.2.3.04", "0xA.0xfg", "a.0xF", "b..", "\u{e9}"].map(String::from);
        let long = [62, 63, 64].map(|length| "a".repeat(length));
        let whole = |last: usize| format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(last));
        let given = names.into_iter().chain(edges).chain(long).chain([whole(60), whole(61), whole(62)]);
        for name in given.filter(|name| !name.is_empty()) {
            let config = Config {
                endpoints: vec!["https://etcd".into()],
                key: "k".into(),
                name: "n".into(),
                tls_server_name: Some(name.clone()),
                ..Config::default()
            };
            assert_eq!(config.validate().is_ok(), ServerName::try_from(name.as_str()).is_ok(), "{name:?}");
        }
    }
}
