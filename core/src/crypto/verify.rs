//! Checks ECDSA signatures on the curves and with the hashes that ring does not combine.

use p256::ecdsa::signature::hazmat::PrehashVerifier;
use rustls::SignatureScheme;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// The bytes of a number below the order of P-521. A shorter hash is padded to it with leading zeros, which is the same
/// number; the crate refuses a hash of less than half of that.
const P521_BYTES: usize = 66;

#[derive(Clone, Copy, Debug)]
enum Curve {
    P256,
    P384,
    P521,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug)]
struct Ecdsa(Curve, Hash);

const P256_SHA512: &dyn SignatureVerificationAlgorithm = &Ecdsa(Curve::P256, Hash::Sha512);
const P384_SHA512: &dyn SignatureVerificationAlgorithm = &Ecdsa(Curve::P384, Hash::Sha512);
const P521_SHA256: &dyn SignatureVerificationAlgorithm = &Ecdsa(Curve::P521, Hash::Sha256);
const P521_SHA384: &dyn SignatureVerificationAlgorithm = &Ecdsa(Curve::P521, Hash::Sha384);
const P521_SHA512: &dyn SignatureVerificationAlgorithm = &Ecdsa(Curve::P521, Hash::Sha512);

/// The combinations that ring does not verify.
pub(super) const ALL: super::Verifiers = &[P256_SHA512, P384_SHA512, P521_SHA256, P521_SHA384, P521_SHA512];

/// The other meanings of a scheme, beside ring's: TLS 1.2 names the hash and leaves the curve open.
pub(super) fn beyond_ring(scheme: SignatureScheme) -> super::Verifiers {
    match scheme {
        SignatureScheme::ECDSA_NISTP256_SHA256 => &[P521_SHA256],
        SignatureScheme::ECDSA_NISTP384_SHA384 => &[P521_SHA384],
        SignatureScheme::ECDSA_NISTP521_SHA512 => &[P521_SHA512, P384_SHA512, P256_SHA512],
        _ => &[],
    }
}

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let hash = match self.1 {
            Hash::Sha256 => Sha256::digest(message).to_vec(),
            Hash::Sha384 => Sha384::digest(message).to_vec(),
            Hash::Sha512 => Sha512::digest(message).to_vec(),
        };
        macro_rules! verify {
            ($curve:ident, $hash:expr) => {{
                let key = $curve::ecdsa::VerifyingKey::from_sec1_bytes(public_key);
                let signature = $curve::ecdsa::Signature::from_der(signature);
                matches!((key, signature), (Ok(key), Ok(signature)) if key.verify_prehash($hash, &signature).is_ok())
            }};
        }
        let is_valid = match self.0 {
            Curve::P256 => verify!(p256, &hash),
            Curve::P384 => verify!(p384, &hash),
            Curve::P521 => {
                let mut padded = [0; P521_BYTES];
                padded[P521_BYTES - hash.len()..].copy_from_slice(&hash);
                verify!(p521, &padded)
            }
        };
        if is_valid { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self.0 {
            Curve::P256 => alg_id::ECDSA_P256,
            Curve::P384 => alg_id::ECDSA_P384,
            Curve::P521 => alg_id::ECDSA_P521,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.1 {
            Hash::Sha256 => alg_id::ECDSA_SHA256,
            Hash::Sha384 => alg_id::ECDSA_SHA384,
            Hash::Sha512 => alg_id::ECDSA_SHA512,
        }
    }
}
