//! What certificates and keys hold, read strictly: once when an election starts, and anew for each connection.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::access::{Pem, Tls};
use super::{Error, refuse};

/// Far above any bundle of certificates; the system's own has a quarter of it.
pub(super) const MAX_PEM_BYTES: usize = 1 << 20;

/// What the certificates and keys of a [`Tls`] hold.
#[derive(Debug)]
pub struct Credentials {
    /// Whom we trust; the system's roots if `None`.
    pub ca: Option<RootCertStore>,
    /// Our certificate and its key.
    pub identity: Option<Arc<CertifiedKey>>,
}

/// One of the three things that are given as PEM, as the caller knows it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Ca,
    Cert,
    Key,
}

impl Tls {
    /// Reads all that is given, from its files as they are now. May block for as long as the file system does.
    pub fn read(&self, provider: &CryptoProvider) -> Result<Credentials, Error> {
        let ca = match &self.ca {
            None => None,
            Some(pem) => Some(roots(pem)?),
        };
        let identity = match &self.identity {
            None => None,
            Some((cert, key)) => Some(Arc::new(identity(cert, key, provider)?)),
        };
        Ok(Credentials { ca, identity })
    }
}

fn roots(pem: &Pem) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for (at, certificate) in certificates(Part::Ca, pem)?.into_iter().enumerate() {
        if roots.add(certificate).is_err() {
            let which = at + 1;
            return refuse(format!(
                "{}: certificate number {which} in it cannot be used as a CA; give CA certificates in PEM",
                Part::Ca.named(pem)
            ));
        }
    }
    Ok(roots)
}

fn identity(cert: &Pem, key: &Pem, provider: &CryptoProvider) -> Result<CertifiedKey, Error> {
    let chain = certificates(Part::Cert, cert)?;
    let named = (Part::Cert.named(cert), Part::Key.named(key));
    let key = private_key(key)?;
    let Ok(key) = provider.key_provider.load_private_key(key) else {
        return refuse(format!(
            "{} holds a key that cannot be used; give an RSA, P-256, P-384 or Ed25519 key",
            named.1
        ));
    };
    let pair = CertifiedKey::new(chain, key);
    match pair.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(pair),
        Err(rustls::Error::InconsistentKeys(_)) => {
            refuse(format!("{} and {} do not belong together; give the key of the first certificate", named.0, named.1))
        }
        Err(_) => refuse(format!("{}: its first certificate cannot be read; give a certificate in PEM", named.0)),
    }
}

fn certificates(part: Part, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = bytes_of(part, pem)?;
    let named = part.named(pem);
    let Ok(found) = CertificateDer::pem_slice_iter(&bytes).collect::<Result<Vec<_>, _>>() else {
        return refuse(format!("{named} is damaged: its PEM cannot be read to the end; give whole certificates"));
    };
    if !found.is_empty() {
        return Ok(found);
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
    let path = match pem {
        Pem::Text(text) => return Ok(text.expose().as_bytes().to_vec()),
        Pem::File(path) => path,
    };
    let named = part.named(pem);
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
