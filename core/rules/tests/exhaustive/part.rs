//! The parts of a state, which states share, and the numbers that stand for them.

use std::cell::Cell;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::rc::Rc;

/// A part of a state, which states share until one of them changes it. A number stands for it.
#[derive(Clone)]
pub(crate) struct Part<T> {
    value: Rc<T>,
    digest: Cell<Option<u64>>,
}

impl<T: Clone + Hash> Part<T> {
    pub(crate) fn new(value: T) -> Part<T> {
        Part { value: Rc::new(value), digest: Cell::new(None) }
    }

    pub(crate) fn change(&mut self) -> &mut T {
        self.digest.set(None);
        Rc::make_mut(&mut self.value)
    }

    pub(crate) fn digest(&self) -> u64 {
        let digest = self.digest.get().unwrap_or_else(|| digest(&*self.value));
        self.digest.set(Some(digest));
        digest
    }
}

impl<T> Deref for Part<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A number for a value that no other value has, as good as surely.
pub(crate) fn digest(value: &impl Hash) -> u64 {
    let mut hasher = Folding(0);
    value.hash(&mut hasher);
    hasher.finish()
}

/// Faster than the hasher of `std`, which has to withstand attacks.
struct Folding(u64);

/// Odd, and without a pattern.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for Folding {
    fn write(&mut self, bytes: &[u8]) {
        for word in bytes.chunks(8) {
            let mut whole = [0; 8];
            whole[..word.len()].copy_from_slice(word);
            self.write_u64(u64::from_le_bytes(whole));
        }
    }

    fn write_u64(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_add(1) * u128::from(FACTOR);
        self.0 = ((product >> 64) as u64 ^ product as u64).rotate_left(23).wrapping_add(FACTOR);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
