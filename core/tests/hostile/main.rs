//! Bytes from outside that nobody sends in good faith: no panic, bounded memory, no lead, and an end in time.
//!
//! What is said of the caps stands in `core/docs/hostile.md`. The same cases are made each time; `PROPTEST_RNG_SEED` makes
//! others, and `PROPTEST_CASES` more of them. A failure names its seed.

#![allow(clippy::print_stdout)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

mod caps;
mod caps_v2;
mod frames;
mod grpc;
mod http;
mod mutation;
mod pem;
mod server;
mod settings;
#[allow(unreachable_pub)]
#[path = "../support/spawn.rs"]
mod spawn;
mod truth;
mod truth_v2;
mod victim;

/// Holds a claim against as many values as `cases` says, or `PROPTEST_CASES`. Nothing is written anywhere.
pub(crate) fn check<S: Strategy>(cases: u32, values: &S, claim: impl Fn(S::Value)) {
    let seed =
        std::env::var("PROPTEST_RNG_SEED").map_or(0, |seed| seed.parse().expect("PROPTEST_RNG_SEED is a number"));
    let cases =
        std::env::var("PROPTEST_CASES").map_or(cases, |cases| cases.parse().expect("PROPTEST_CASES is a number"));
    let config = Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: 12,
        ..Config::default()
    };
    let verdict = TestRunner::new(config).run(values, |value| {
        claim(value);
        Ok(())
    });
    match verdict {
        Ok(()) => {}
        Err(TestError::Fail(why, value)) => panic!("{why}\nfor {value:?}\nPROPTEST_RNG_SEED={seed} makes it again"),
        Err(other) => panic!("{other}"),
    }
}

/// What a function gives that must not panic whatever it is given.
pub(crate) fn without_panic<T>(run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| panic!("it panicked"))
}
