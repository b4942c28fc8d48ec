//! How long RSA keys are: ring refuses one that is too short without a reason.

use x509_cert::der::asn1::UintRef;
use x509_cert::der::{Decode, Header, SliceReader};

/// The length of the modulus of a PKCS #1 key, public or private, in bits.
pub(crate) fn modulus_bits(pkcs1: &[u8]) -> Option<usize> {
    let mut fields = SliceReader::new(pkcs1).ok()?;
    Header::decode(&mut fields).ok()?;
    let first = UintRef::decode(&mut fields).ok()?;
    // A private key begins with its version, 0 or 1.
    let modulus = if first.as_bytes().len() == 1 { UintRef::decode(&mut fields).ok()? } else { first };
    let bytes = modulus.as_bytes();
    Some(bytes.len() * 8 - bytes.first()?.leading_zeros() as usize)
}
