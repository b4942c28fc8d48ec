//! Which handles have rung since the engine last looked: a set of small numbers that may be added to from a signal handler.
//! Adding is three atomic operations, taking costs as much as was added, however many handles there are.

use std::sync::atomic::{AtomicU64, Ordering};

const BITS: usize = 64;
const CAPACITY: usize = BITS * BITS * BITS;

/// See the module. Numbers are taken modulo its capacity: two that meet are both looked at.
pub(crate) struct Rung {
    numbers: Box<[AtomicU64]>,
    /// Which words of `numbers` are not 0.
    words: Box<[AtomicU64]>,
    /// Which words of `words` are not 0.
    top: AtomicU64,
}

impl Default for Rung {
    fn default() -> Rung {
        let zeros = |count| (0..count).map(|_| AtomicU64::new(0)).collect();
        Rung { numbers: zeros(CAPACITY / BITS), words: zeros(BITS), top: AtomicU64::new(0) }
    }
}

impl Rung {
    /// The number that stands for this one.
    pub(crate) fn slot(number: usize) -> usize {
        number % CAPACITY
    }

    /// Adds a slot. Async-signal-safe.
    pub(crate) fn add(&self, slot: usize) {
        let (word, bit) = (slot / BITS, slot % BITS);
        // The lowest level first: whoever finds a bit above finds what it stands for.
        self.numbers[word].fetch_or(1 << bit, Ordering::SeqCst);
        self.words[word / BITS].fetch_or(1 << (word % BITS), Ordering::SeqCst);
        self.top.fetch_or(1 << (word / BITS), Ordering::SeqCst);
    }

    /// Takes all that were added.
    pub(crate) fn take(&self) -> Vec<usize> {
        let mut taken = Vec::new();
        for upper in ones(self.top.swap(0, Ordering::SeqCst)) {
            for lower in ones(self.words[upper].swap(0, Ordering::SeqCst)) {
                let word = upper * BITS + lower;
                taken.extend(ones(self.numbers[word].swap(0, Ordering::SeqCst)).map(|bit| word * BITS + bit));
            }
        }
        taken
    }
}

impl std::fmt::Debug for Rung {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Rung").finish_non_exhaustive()
    }
}

/// Where a word has ones.
fn ones(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (at < BITS).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_taken_once() {
        let rung = Rung::default();
        let added = [0, 63, 64, 4095, 4096, CAPACITY - 1];
        added.iter().for_each(|slot| rung.add(*slot));
        rung.add(64);
        assert_eq!(rung.take(), added);
        assert!(rung.take().is_empty());
    }

    #[test]
    fn nothing_is_missed_while_it_is_taken() {
        const EACH: usize = 2_000;
        let rung = Rung::default();
        let mut taken = std::thread::scope(|scope| {
            let adding: Vec<_> = (0..4)
                .map(|thread| {
                    let rung = &rung;
                    scope.spawn(move || (0..EACH).for_each(|at| rung.add(thread * EACH + at)))
                })
                .collect();
            let mut taken = Vec::new();
            while !adding.iter().all(|thread| thread.is_finished()) {
                taken.extend(rung.take());
            }
            taken
        });
        taken.extend(rung.take());
        taken.sort_unstable();
        assert_eq!(taken, (0..4 * EACH).collect::<Vec<_>>());
    }
}
