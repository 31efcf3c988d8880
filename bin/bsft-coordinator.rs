//! The head node: see `bsft-coordinator --help`.

use bsft::cli::{self, Exit};

fn main() -> Exit {
    cli::coordinator()
}
