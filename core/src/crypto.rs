//! The cryptography of TLS: ring, and what etcd's own certificates need beyond it.
//!
//! ring knows P-256 and P-384, each with SHA-256 and SHA-384. `etcd --auto-tls` makes P-521 certificates, and OpenSSL signs
//! with SHA-512 on any curve. The RustCrypto crates fill these gaps in Rust alone, so the build needs no C compiler for
//! another curve; ring stays the provider of everything else.

use std::sync::Arc;

use once_cell::race::OnceBox;
use rustls::SignatureScheme;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::SignatureVerificationAlgorithm;

mod rsa;
mod sign;
mod verify;

pub(crate) use rsa::modulus_bits as rsa_bits;

type Verifiers = &'static [&'static dyn SignatureVerificationAlgorithm];

// Two threads may make these at once. No lock guards them: a child that is forked while another thread holds one would wait in it
// for ever.
static ALL: OnceBox<Vec<&'static dyn SignatureVerificationAlgorithm>> = OnceBox::new();
static MAPPING: OnceBox<Vec<(SignatureScheme, Verifiers)>> = OnceBox::new();

fn all() -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    let of_ring = ring::default_provider().signature_verification_algorithms.all;
    of_ring.iter().chain(verify::ALL).copied().collect()
}

/// Of every scheme the verifiers in order of preference; TLS 1.3 tries the first alone.
fn mapping() -> Vec<(SignatureScheme, Verifiers)> {
    let of_ring = ring::default_provider().signature_verification_algorithms.mapping;
    let with_more = |(scheme, of_ring): &(SignatureScheme, Verifiers)| -> (SignatureScheme, Verifiers) {
        match verify::beyond_ring(*scheme) {
            [] => (*scheme, *of_ring),
            // Made once for the life of the process: rustls wants it to live as long.
            more => (*scheme, Box::leak([*of_ring, more].concat().into_boxed_slice())),
        }
    };
    let p521 = SignatureScheme::ECDSA_NISTP521_SHA512;
    of_ring.iter().map(with_more).chain([(p521, verify::beyond_ring(p521))]).collect()
}

/// The provider of every connection. It is passed explicitly: no default of the process is read or set.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        signature_verification_algorithms: WebPkiSupportedAlgorithms {
            all: ALL.get_or_init(|| Box::new(all())),
            mapping: MAPPING.get_or_init(|| Box::new(mapping())),
        },
        key_provider: &sign::KeyLoader,
        ..ring::default_provider()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scheme_of_ring_stays_and_p521_is_added() {
        let ours = provider().signature_verification_algorithms.supported_schemes();
        let of_ring = ring::default_provider().signature_verification_algorithms.supported_schemes();
        assert_eq!(ours[..of_ring.len()], of_ring);
        assert_eq!(ours[of_ring.len()..], [SignatureScheme::ECDSA_NISTP521_SHA512]);
    }
}
