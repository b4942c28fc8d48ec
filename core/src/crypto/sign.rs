//! Private keys: those that ring loads, and P-521.

use std::sync::Arc;

use p521::ecdsa::signature::Signer as _;
use p521::ecdsa::{DerSignature, SigningKey as P521Key};
use p521::pkcs8::{DecodePrivateKey, EncodePublicKey};
use rustls::crypto::{KeyProvider, ring};
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use rustls::sign::{Signer, SigningKey};
use rustls::{Error, SignatureAlgorithm, SignatureScheme};

#[derive(Debug)]
pub(super) struct KeyLoader;

impl KeyProvider for KeyLoader {
    fn load_private_key(&self, key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, Error> {
        if let Some(key) = p521_key(&key) {
            return Ok(Arc::new(P521(Arc::new(key))));
        }
        ring::default_provider().key_provider.load_private_key(key)
    }
}

fn p521_key(key: &PrivateKeyDer<'_>) -> Option<P521Key> {
    let secret = match key {
        PrivateKeyDer::Pkcs8(der) => p521::SecretKey::from_pkcs8_der(der.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Sec1(der) => p521::SecretKey::from_sec1_der(der.secret_sec1_der()).ok(),
        _ => None,
    };
    secret.map(P521Key::from)
}

/// A key on P-521. It is never shown.
#[derive(Clone)]
struct P521(Arc<P521Key>);

impl std::fmt::Debug for P521 {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("P521(***)")
    }
}

const SCHEME: SignatureScheme = SignatureScheme::ECDSA_NISTP521_SHA512;

impl SigningKey for P521 {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered.contains(&SCHEME).then(|| Box::new(self.clone()) as Box<dyn Signer>)
    }

    fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'_>> {
        let der = self.0.verifying_key().to_public_key_der().ok()?;
        Some(SubjectPublicKeyInfoDer::from(der.into_vec()))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for P521 {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature: Result<DerSignature, _> = self.0.try_sign(message);
        signature.map(|signature| signature.as_bytes().to_vec()).map_err(|_| Error::General("P-521 cannot sign".into()))
    }

    fn scheme(&self) -> SignatureScheme {
        SCHEME
    }
}
