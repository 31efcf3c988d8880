//! The long name of `bsft`, for the head node of a cluster.

use bsft::cli::{self, Exit};

/// It has the memory of `bsft`: glibc's allocator keeps what long answers have returned.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Exit {
    cli::bsft()
}
