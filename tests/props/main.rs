//! Properties over seeded random input, and a short run of every fuzz target.
//!
//! `BSFT_PROPTEST_SEED` chooses another seed, `PROPTEST_CASES` another number of cases.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on panics; clippy spares functions marked as tests only"
)]

mod complexity;
mod fuzz;
#[path = "../fuzz/src/limits.rs"]
mod limits;
#[path = "../fuzz/src/mutations.rs"]
mod mutations;
#[path = "../fuzz/src/replies.rs"]
mod replies;
mod row_index;
mod shuffle;
mod split;
#[path = "../fuzz/src/targets.rs"]
mod targets;
mod wire;

use proptest::test_runner::{Config, RngSeed};

/// The cases of a property: the same in every run, unless the environment asks for others.
fn config() -> Config {
    let seed = std::env::var("BSFT_PROPTEST_SEED").map_or(7, |seed| seed.parse().expect("a number"));
    Config {
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    }
}
