//! The long name of `bsft worker`, for the workers of a cluster.

use bsft::cli::{self, Exit};

/// With glibc's allocator a worker spends a fifth of its CPU time on freeing memory that another thread allocated.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    cli::worker()
}
