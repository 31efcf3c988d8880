//! The long name of `bsft`, for the head node of a cluster.

use bsft::cli::{self, Exit};

fn main() -> Exit {
    cli::bsft()
}
