//! Judges a server's certificate as webpki does, and in two cases as Go does, whose judgement etcd's users know from etcdctl.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode;
use x509_cert::der::oid::db::rfc5280::{ANY_EXTENDED_KEY_USAGE, ID_KP_SERVER_AUTH};
use x509_cert::der::oid::db::rfc5912::RSA_ENCRYPTION;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{ExtendedKeyUsage, SubjectAltName};

use crate::crypto;

/// The judge of the certificates of an election's servers.
#[derive(Debug)]
pub(super) struct Verifier {
    /// The name that was configured: it is checked whichever host was connected to. A client of HTTP that takes the name
    /// from the URL need not know of it.
    pub(super) name: Option<ServerName<'static>>,
    /// The CA certificates that were given, if any were.
    pub(super) given: Vec<CertificateDer<'static>>,
    pub(super) strict: Arc<dyn ServerCertVerifier>,
}

/// A key that is too short to be trusted: ring takes its signatures for wrong ones.
#[derive(Debug)]
pub(super) struct ShortKey {
    bits: usize,
}

/// The shortest RSA key that counts, in bits.
const SHORTEST_RSA: usize = 2048;

impl fmt::Display for ShortKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "the server's certificate, or its CA's, has an RSA key of {} bits, which is too short to be trusted; make one \
             with {SHORTEST_RSA} bits or more",
            self.bits
        )
    }
}

impl std::error::Error for ShortKey {}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let name = self.name.as_ref().unwrap_or(host);
        let judged = self.strict.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match &judged {
            // The name is judged last, so everything else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if has_wildcard_for(end_entity, name) => Ok(ServerCertVerified::assertion()),
            // A chain of one, of which both ends are the same certificate.
            Err(Error::InvalidCertificate(CertificateError::Other(error)))
                if error.to_string().contains("CaUsedAsEndEntity") && self.given.contains(end_entity) =>
            {
                its_own_ca(end_entity, name, now).map(|()| ServerCertVerified::assertion())
            }
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                let signers = self.given.iter().chain(intermediates);
                signers.filter_map(short_key).next().map_or(judged, Err)
            }
            _ => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, cert, signature).map_err(|error| short_key(cert).unwrap_or(error))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, cert, signature).map_err(|error| short_key(cert).unwrap_or(error))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// The error that names the key of this certificate, if it is an RSA key that is too short.
fn short_key(certificate: &CertificateDer<'_>) -> Option<Error> {
    let certificate = parsed(certificate).ok()?;
    let key = certificate.tbs_certificate().subject_public_key_info();
    if key.algorithm.oid != RSA_ENCRYPTION {
        return None;
    }
    let bits = crypto::rsa_bits(key.subject_public_key.raw_bytes())?;
    let error = CertificateError::Other(OtherError(Arc::new(ShortKey { bits })));
    (bits < SHORTEST_RSA).then_some(Error::InvalidCertificate(error))
}

fn parsed(certificate: &CertificateDer<'_>) -> Result<CertificateInner<Raw>, Error> {
    CertificateInner::from_der(certificate).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

/// Checks what webpki would have checked in a certificate that we were told to trust: its time, its use, its name. The
/// server proves in the handshake that it has the key.
fn its_own_ca(certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = parsed(certificate)?;
    let tbs = parsed.tbs_certificate();
    let (begin, end) = (tbs.validity().not_before, tbs.validity().not_after);
    let (not_before, not_after) = (begin.to_unix_duration(), end.to_unix_duration());
    let time = std::time::Duration::from_secs(now.as_secs());
    let wrong = if time < not_before {
        let not_before = UnixTime::since_unix_epoch(not_before);
        Some(CertificateError::NotValidYetContext { time: now, not_before })
    } else if time > not_after {
        let not_after = UnixTime::since_unix_epoch(not_after);
        Some(CertificateError::ExpiredContext { time: now, not_after })
    } else {
        match tbs.get_extension::<ExtendedKeyUsage>() {
            Ok(None) => None,
            Ok(Some((_, usage))) if usage.0.iter().any(|u| [ID_KP_SERVER_AUTH, ANY_EXTENDED_KEY_USAGE].contains(u)) => {
                None
            }
            Ok(Some(_)) => Some(CertificateError::InvalidPurpose),
            Err(_) => Some(CertificateError::BadEncoding),
        }
    };
    if let Some(wrong) = wrong {
        return Err(Error::InvalidCertificate(wrong));
    }
    if has_wildcard_for(certificate, name) {
        return Ok(());
    }
    verify_server_name(&ParsedCertificate::try_from(certificate)?, name)
}

/// webpki wants two labels behind a wildcard; Go is content with one, as in `*.local`.
fn has_wildcard_for(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> bool {
    let ServerName::DnsName(host) = name else { return false };
    let Ok(certificate) = parsed(certificate) else { return false };
    let Ok(Some((_, names))) = certificate.tbs_certificate().get_extension::<SubjectAltName>() else { return false };
    names.0.iter().any(|name| match name {
        GeneralName::DnsName(pattern) => wildcard_matches(pattern.as_str(), host.as_ref()),
        _ => false,
    })
}

/// The first label stands for one label of the host's; the others are the same (Go's matchHostnames).
fn wildcard_matches(pattern: &str, host: &str) -> bool {
    let Some(rest) = pattern.strip_prefix("*.").filter(|rest| !rest.is_empty()) else { return false };
    let host = host.strip_suffix('.').unwrap_or(host);
    host.split_once('.').is_some_and(|(first, others)| !first.is_empty() && others.eq_ignore_ascii_case(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (pattern, host, matches) in [
            ("*.local", "etcd.local", true),
            ("*.Example.com", "etcd.example.COM", true),
            ("*.local", "etcd.local.", true),
            ("*.local", "local", false),
            ("*.local", "a.etcd.local", false),
            ("*.local", ".local", false),
            ("*", "local", false),
            ("*.", "local.", false),
            ("etcd-*.local", "etcd-1.local", false),
            ("etcd.local", "etcd.local", false),
        ] {
            assert_eq!(wildcard_matches(pattern, host), matches, "{pattern} {host}");
        }
    }
}
