//! A worker of a cluster: see `bsft-worker --help`.

use bsft::cli::{self, Exit};

/// Thousands of tasks give back on one thread what they took on another, which costs glibc a fifth of the worker's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    cli::worker()
}
