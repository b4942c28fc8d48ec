//! Numbers that nobody can foresee, and that a process and its forks do not share.
//!
//! They come from the generator of the TLS provider, which is inside anyway.

/// The next number; `None` if the system has no generator.
pub(crate) fn number() -> Option<u64> {
    let mut bytes = [0; 8];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).ok()?;
    Some(u64::from_ne_bytes(bytes))
}
