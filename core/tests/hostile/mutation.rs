//! Bytes that were right once.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// One thing done to bytes, at a place that fits any length.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Flip(Index, u8),
    Truncate(Index),
    Insert(Index, Vec<u8>),
    Overwrite(Index, Vec<u8>),
    Duplicate(Index, Index),
    Remove(Index, Index),
}

pub(crate) fn mutations(most: usize) -> impl Strategy<Value = Vec<Mutation>> {
    let at = any::<Index>;
    let bytes = || {
        prop_oneof![
            vec(any::<u8>(), 1..12),
            Just(vec![0xff; 10]),
            Just(b"-1".to_vec()),
            Just(b"99999999999999999999".to_vec())
        ]
    };
    let one = prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        1 => at().prop_map(Mutation::Truncate),
        2 => (at(), bytes()).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        2 => (at(), bytes()).prop_map(|(at, bytes)| Mutation::Overwrite(at, bytes)),
        1 => (at(), at()).prop_map(|(from, to)| Mutation::Duplicate(from, to)),
        1 => (at(), at()).prop_map(|(from, to)| Mutation::Remove(from, to)),
    ];
    vec(one, 1..=most)
}

/// The bytes after all of these.
pub(crate) fn mutated(mut bytes: Vec<u8>, mutations: &[Mutation]) -> Vec<u8> {
    for mutation in mutations {
        let place = |at: &Index| at.index(bytes.len() + 1);
        let range = |from: &Index, to: &Index| place(from).min(place(to))..place(from).max(place(to));
        match mutation {
            Mutation::Flip(at, bit) => {
                let at = place(at);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Mutation::Truncate(at) => bytes.truncate(place(at)),
            Mutation::Insert(at, with) => {
                let at = place(at);
                bytes.splice(at..at, with.iter().copied());
            }
            Mutation::Overwrite(at, with) => {
                let at = place(at);
                bytes.splice(at..(at + with.len()).min(bytes.len()).max(at), with.iter().copied());
            }
            Mutation::Duplicate(from, to) => {
                let (copy, end) = (bytes[range(from, to)].to_vec(), range(from, to).end);
                bytes.splice(end..end, copy);
            }
            Mutation::Remove(from, to) => {
                bytes.drain(range(from, to));
            }
        }
    }
    bytes
}
