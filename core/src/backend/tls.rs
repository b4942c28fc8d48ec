//! TLS for both tongues: certificates and keys as rustls wants them, and what a failure of it means in words.
//!
//! There is no mode that trusts everybody, and nothing is remembered from one link to the next: a certificate that was
//! replaced or a CA that was taken away counts from the next link on (which in v2 is more than one connection). Session
//! tickets would skip that check, so there are none.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::sync::Mutex;

use crate::config::{Endpoint, Pem, Tls};
use crate::error::ErrorKind;
use crate::machine::Failure;

mod words;
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
    /// Held while files are read: a file system that hangs holds up one thread, not one for each attempt.
    reading: Arc<Mutex<()>>,
}

impl Client {
    /// For connections with these certificates and this protocol.
    pub fn new(tls: &Tls, inside: Inside) -> Client {
        Client { tls: Arc::new(tls.clone()), inside, reading: Arc::default() }
    }

    /// What one connection needs, from the files as they are now. Reads them on a thread of their own; takes as long
    /// as the file system does, so the caller limits it.
    pub async fn config(&self) -> Result<ClientConfig, Failure> {
        let turn = self.reading.clone().lock_owned().await;
        let (tls, inside) = (self.tls.clone(), self.inside);
        let read = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            client_config(&tls, inside)
        });
        read.await.unwrap_or_else(|_| Err(Failure::new(ErrorKind::Internal, "reading the certificates was broken off")))
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
    let name = tls.server_name.as_deref().unwrap_or(endpoint.host());
    ServerName::try_from(name.to_string())
        .map_err(|_| Failure::new(ErrorKind::Invalid, format!("{name:?} cannot be the name of a server")))
}

fn client_config(tls: &Tls, inside: Inside) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    // What was good when the election started is not our user's mistake now, and may be healed: it is tried again.
    let read = tls.read(&provider).map_err(|error| Failure::new(ErrorKind::Untrusted, error.detail()))?;
    let verifier: Arc<dyn ServerCertVerifier> = match read.ca {
        Some(roots) => WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| Failure::new(ErrorKind::Untrusted, format!("{} cannot be used: {error}", ca(tls))))?,
        None => Arc::new(rustls_platform_verifier::Verifier::new(provider.clone()).map_err(|error| {
            Failure::new(ErrorKind::Untrusted, format!("the system's CA certificates cannot be read: {error}"))
        })?),
    };
    let verifier: Arc<dyn ServerCertVerifier> = match tls.server_name.as_deref().map(|name| name.to_string().try_into())
    {
        Some(Ok(name)) => Arc::new(Renamed { name, verifier }),
        Some(Err(_)) => return Err(Failure::new(ErrorKind::Invalid, "tls_server_name cannot be the name of a server")),
        None => verifier,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::new(ErrorKind::Internal, format!("TLS cannot be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match read.identity {
        Some(identity) => config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity))),
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = match inside {
        Inside::Http2 => vec![b"h2".to_vec()],
        Inside::Http1 => vec![b"http/1.1".to_vec()],
    };
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The CA as the caller knows it.
fn ca(tls: &Tls) -> String {
    match &tls.ca {
        Some(Pem::File(path)) => format!("ca_file {}", path.display()),
        Some(Pem::Text(_)) => "ca_pem".into(),
        None => "the system's CA certificates".into(),
    }
}

/// Checks the certificate for the name that was configured, whichever host was connected to: a client of HTTP that
/// takes the name from the URL need not know of it.
#[derive(Debug)]
struct Renamed {
    name: ServerName<'static>,
    verifier: Arc<dyn ServerCertVerifier>,
}

impl ServerCertVerifier for Renamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier.verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
