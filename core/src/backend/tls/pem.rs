//! Certificates and keys, read strictly: once when an election starts, and again for each connection.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::oid::db::rfc5912::RSA_ENCRYPTION;
use x509_cert::der::{Decode, Encode, Reader, SliceReader};

use crate::config::{MAX_PEM_BYTES, Pem, Tls, refuse};
use crate::crypto;
use crate::error::Error;

/// What the certificates and keys of a [`Tls`] hold.
#[derive(Debug)]
pub struct Credentials {
    /// The CA certificates that we trust; the system's roots if `None`.
    pub ca: Option<Authorities>,
    /// Our certificate and its key.
    pub identity: Option<Arc<CertifiedKey>>,
}

/// The CA certificates that were given.
#[derive(Debug)]
pub struct Authorities {
    /// As roots of a chain.
    pub roots: RootCertStore,
    /// As they were given: a server may show one of them as its own.
    pub given: Vec<CertificateDer<'static>>,
}

/// One of the three things that are given as PEM, as the caller knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Ca,
    Cert,
    Key,
}

impl Credentials {
    /// Reads all that is given, from its files as they are now. May block for as long as the file system does.
    pub fn read(tls: &Tls) -> Result<Credentials, Error> {
        let ca = match &tls.ca {
            None => None,
            Some(pem) => Some(authorities(pem)?),
        };
        let identity = match &tls.identity {
            None => None,
            Some((cert, key)) => Some(Arc::new(identity(cert, key)?)),
        };
        Ok(Credentials { ca, identity })
    }
}

fn authorities(pem: &Pem) -> Result<Authorities, Error> {
    let mut roots = RootCertStore::empty();
    let given = certificates(Part::Ca, pem)?;
    for (at, certificate) in given.iter().enumerate() {
        if roots.add(certificate.clone()).is_err() {
            let which = at + 1;
            return refuse(format!(
                "{}: certificate number {which} in it cannot be used as a CA; give CA certificates in PEM",
                Part::Ca.named(pem)
            ));
        }
    }
    Ok(Authorities { roots, given })
}

fn identity(cert: &Pem, key: &Pem) -> Result<CertifiedKey, Error> {
    let chain = certificates(Part::Cert, cert)?;
    let named = (Part::Cert.named(cert), Part::Key.named(key));
    let key = private_key(key)?;
    let rsa_bits = rsa_bits(&key);
    let Ok(key) = crypto::provider().key_provider.load_private_key(key) else {
        let remedy = "give an RSA key of 2048 to 4096 bits, or a P-256, P-384, P-521 or Ed25519 key";
        return refuse(match rsa_bits {
            Some(bits) => format!("{} holds an RSA key of {bits} bits, which cannot be used; {remedy}", named.1),
            None => format!("{} holds a key that cannot be used; {remedy}", named.1),
        });
    };
    match belong_together(&chain[0], &*key) {
        Some(true) => Ok(CertifiedKey::new(chain, key)),
        Some(false) => {
            refuse(format!("{} and {} do not belong together; give the key of the first certificate", named.0, named.1))
        }
        None => refuse(format!("{}: its first certificate cannot be read; give a certificate in PEM", named.0)),
    }
}

/// Compares the public keys. The certificate is ours, so the server judges everything else in it: version 1 will do.
fn belong_together(certificate: &CertificateDer<'_>, key: &dyn SigningKey) -> Option<bool> {
    let Some(of_key) = key.public_key() else { return Some(true) };
    let certificate = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let of_certificate = certificate.tbs_certificate().subject_public_key_info().to_der().ok()?;
    Some(of_key.as_ref() == of_certificate)
}

/// How long the modulus of an RSA key is.
fn rsa_bits(key: &PrivateKeyDer<'_>) -> Option<usize> {
    match key {
        PrivateKeyDer::Pkcs1(key) => crypto::rsa_bits(key.secret_pkcs1_der()),
        PrivateKeyDer::Pkcs8(key) => {
            let info = p521::pkcs8::PrivateKeyInfoRef::from_der(key.secret_pkcs8_der()).ok()?;
            if info.algorithm.oid == RSA_ENCRYPTION { crypto::rsa_bits(info.private_key.as_bytes()) } else { None }
        }
        _ => None,
    }
}

fn certificates(part: Part, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = plainly_labelled(bytes_of(part, pem)?);
    let named = part.named(pem);
    let Ok(found) = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() else {
        return refuse(format!("{named} is damaged: its PEM cannot be read to the end; give whole certificates"));
    };
    if !found.is_empty() {
        return Ok(found.into_iter().map(without_trust_settings).collect());
    }
    if holds(&bytes, "PRIVATE KEY-----") {
        return refuse(format!("{named} holds a private key and no certificate; are certificate and key mixed up?"));
    }
    refuse(match shape_of(&bytes) {
        Shape::Empty => format!("{named} is empty; give certificates in PEM"),
        Shape::Pfx => format!(
            "{named} is a PKCS #12 (pfx) file, not PEM; convert it: openssl pkcs12 -in {} -nokeys -out cert.pem",
            part.operand(pem)
        ),
        Shape::Der => format!(
            "{named} is DER, not PEM; convert it: openssl x509 -inform der -in {} -out cert.pem",
            part.operand(pem)
        ),
        Shape::Other => {
            format!("{named} holds no certificate; give PEM, which begins with -----BEGIN CERTIFICATE-----")
        }
    })
}

/// OpenSSL writes two more labels for certificates, which etcdctl does not know and other clients take.
fn plainly_labelled(bytes: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        plain.extend_from_slice(match line.trim_ascii_end() {
            b"-----BEGIN TRUSTED CERTIFICATE-----" | b"-----BEGIN X509 CERTIFICATE-----" => {
                b"-----BEGIN CERTIFICATE-----\n"
            }
            b"-----END TRUSTED CERTIFICATE-----" | b"-----END X509 CERTIFICATE-----" => b"-----END CERTIFICATE-----\n",
            _ => line,
        });
    }
    plain
}

/// In a TRUSTED CERTIFICATE, settings of OpenSSL's own follow the certificate.
fn without_trust_settings(certificate: CertificateDer<'static>) -> CertificateDer<'static> {
    let first = SliceReader::new(&certificate).and_then(|mut reader| Ok(reader.tlv_bytes()?.to_vec()));
    first.map(CertificateDer::from).unwrap_or(certificate)
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = bytes_of(Part::Key, pem)?;
    let named = Part::Key.named(pem);
    if holds(&bytes, "-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(&bytes, "Proc-Type: 4,ENCRYPTED") {
        return refuse(format!(
            "{named} is encrypted, and nobody could enter its passphrase; decrypt it, and keep it readable for this \
             user only: openssl pkey -in {} -out plain.key",
            Part::Key.operand(pem)
        ));
    }
    if let Ok(key) = PrivateKeyDer::from_pem_slice(&bytes) {
        return Ok(key);
    }
    if holds(&bytes, "PRIVATE KEY-----") {
        return refuse(format!("{named} is damaged: its PEM cannot be read to the end; give a whole private key"));
    }
    if holds(&bytes, "-----BEGIN CERTIFICATE-----") {
        return refuse(format!("{named} holds a certificate and no private key; are certificate and key mixed up?"));
    }
    refuse(match shape_of(&bytes) {
        Shape::Empty => format!("{named} is empty; give a private key in PEM"),
        Shape::Pfx => format!(
            "{named} is a PKCS #12 (pfx) file, not PEM; convert it: openssl pkcs12 -in {} -nocerts -nodes -out key.pem",
            Part::Key.operand(pem)
        ),
        Shape::Der => format!(
            "{named} is DER, not PEM; convert it: openssl pkey -inform der -in {} -out key.pem",
            Part::Key.operand(pem)
        ),
        Shape::Other => {
            format!("{named} holds no private key; give PEM, which begins with -----BEGIN PRIVATE KEY-----")
        }
    })
}

fn bytes_of(part: Part, pem: &Pem) -> Result<Vec<u8>, Error> {
    let named = part.named(pem);
    let bytes = match pem {
        Pem::Text(text) => text.expose().as_bytes().to_vec(),
        Pem::File(path) => bytes_in(path, &named)?,
    };
    if holds(&bytes, "-----\\n") {
        return refuse(format!(
            "{named} has the two characters \\n in place of line ends, as a variable of the environment may hold them; \
             put line ends in their place"
        ));
    }
    Ok(bytes)
}

fn bytes_in(path: &Path, named: &str) -> Result<Vec<u8>, Error> {
    match read(path) {
        Ok(bytes) if bytes.len() > MAX_PEM_BYTES => {
            refuse(format!("{named} has more than {MAX_PEM_BYTES} bytes; give PEM of at most that size"))
        }
        Ok(bytes) => Ok(bytes),
        Err(error) => refuse(format!("{named} cannot be read: {error}; give a file that this user may read")),
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    // A pipe would block, and could not be read a second time.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_PEM_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Ca => "ca",
            Part::Cert => "cert",
            Part::Key => "key",
        }
    }

    /// The field with its value; a text is no value to show.
    fn named(self, pem: &Pem) -> String {
        match pem {
            Pem::File(path) => format!("{}_file {path:?}", self.word()),
            Pem::Text(_) => format!("{}_pem", self.word()),
        }
    }

    /// What to write for it in a command.
    fn operand(self, pem: &Pem) -> String {
        match pem {
            Pem::File(path) => path.display().to_string(),
            Pem::Text(_) => "FILE".into(),
        }
    }
}

/// What a file is that is not the PEM it should be.
enum Shape {
    Empty,
    Pfx,
    Der,
    Other,
}

fn shape_of(bytes: &[u8]) -> Shape {
    match bytes {
        [] => Shape::Empty,
        // A sequence; in PKCS #12 it begins with the version 3.
        [0x30, 0x82, _, _, 0x02, 0x01, 0x03, ..] | [0x30, 0x80, 0x02, 0x01, 0x03, ..] => Shape::Pfx,
        [0x30, 0x20..=0x84, ..] => Shape::Der,
        _ => Shape::Other,
    }
}

fn holds(bytes: &[u8], words: &str) -> bool {
    bytes.windows(words.len()).any(|window| window == words.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{Config, Secret};
    use crate::error::ErrorKind;

    fn good() -> Config {
        Config {
            endpoints: vec!["https://etcd".into()],
            key: "/jobs/nightly".into(),
            name: "one".into(),
            ..Config::default()
        }
    }

    /// A certificate and its key, in PEM.
    fn pair() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["etcd".into()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn secret(text: &str) -> Option<Secret> {
        Some(Secret::new(text))
    }

    fn read(config: &Config) -> Result<Credentials, Error> {
        Credentials::read(&config.validate().expect("all is well but for what they hold").session.access.tls)
    }

    /// Refused, with all of these in the message and nothing secret.
    fn refused(config: &Config, parts: &[&str]) {
        let error = read(config).expect_err(parts[0]);
        assert_eq!(error.kind(), ErrorKind::Invalid);
        for part in parts {
            assert!(error.detail().contains(part), "{:?} should say {part:?}", error.detail());
        }
        for hidden in ["MII", "MHc", "MIG"] {
            assert!(!format!("{error:?} {config:?}").contains(hidden), "{error:?} {config:?}");
        }
    }

    #[test]
    fn what_is_no_pem_is_refused_with_the_command_that_helps() {
        let (cert, key) = pair();
        let as_key = |text: &str| Config { cert_pem: secret(&cert), key_pem: secret(text), ..good() };
        let as_ca = |text: &str| Config { ca_pem: secret(text), ..good() };
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIx\n-----END ENCRYPTED PRIVATE KEY-----\n";
        refused(&as_key(encrypted), &["key_pem", "encrypted", "openssl pkey -in FILE -out plain.key"]);
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nMIIx\n";
        refused(&as_key(old), &["key_pem", "encrypted", "openssl pkey"]);
        refused(&as_key(&key[..key.len() / 2]), &["key_pem", "damaged", "whole private key"]);
        refused(&as_key(&cert), &["key_pem", "holds a certificate", "mixed up"]);
        refused(&as_key("x"), &["key_pem", "no private key", "BEGIN PRIVATE KEY"]);
        refused(&as_key(""), &["key_pem", "empty"]);
        refused(&as_ca(&key), &["ca_pem", "private key and no certificate", "mixed up"]);
        refused(&as_ca(&cert[..cert.len() / 2]), &["ca_pem", "damaged"]);
        refused(&as_ca(&cert.replace("MII", "AAA")), &["ca_pem", "number 1", "cannot be used"]);
        refused(
            &Config { cert_pem: secret(&cert), key_pem: secret(&pair().1), ..good() },
            &["cert_pem and key_pem", "do not belong"],
        );
        refused(&as_ca("certificate"), &["ca_pem", "holds no certificate", "BEGIN CERTIFICATE"]);
    }

    #[test]
    fn files_that_cannot_be_used_are_refused_with_their_path() {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, bytes: &[u8]| {
            let path = directory.path().join(name);
            std::fs::write(&path, bytes).expect("written");
            path
        };
        let as_ca = |path: PathBuf| Config { ca_file: Some(path), ..good() };
        refused(&as_ca("/no such file".into()), &["ca_file \"/no such file\"", "No such file", "may read"]);
        refused(&as_ca(directory.path().into()), &["ca_file", "not a regular file"]);
        refused(&as_ca(write("empty", b"")), &["ca_file", "is empty"]);
        refused(&as_ca(write("large", &vec![b'x'; MAX_PEM_BYTES + 1])), &["ca_file", "1048576 bytes"]);
        let pfx = [0x30, 0x82, 0x09, 0x00, 0x02, 0x01, 0x03, 0x30];
        refused(&as_ca(write("a.pfx", &pfx)), &["ca_file", "PKCS #12", "openssl pkcs12 -in", "a.pfx"]);
        let der = [0x30, 0x82, 0x01, 0x00, 0x30, 0x81];
        refused(&as_ca(write("a.der", &der)), &["ca_file", "DER", "openssl x509 -inform der -in", "a.der"]);
        let as_key = Config { cert_pem: secret(&pair().0), key_file: Some(write("k.der", &der)), ..good() };
        refused(&as_key, &["key_file", "DER", "openssl pkey -inform der -in", "k.der"]);
        assert!(read(&as_ca(write("ca.pem", pair().0.as_bytes()))).is_ok());
    }
}
