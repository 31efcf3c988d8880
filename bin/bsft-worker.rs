//! A worker of a cluster: see `bsft-worker --help`.

use bsft::cli::{self, Exit};

fn main() -> Exit {
    cli::worker()
}
