#!/usr/bin/env bash
# The checks that run no test: formatting, the English, lints. tests/run.sh and the workflow `check` call it.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --all --check
scripts/prose.py --check
cargo clippy --workspace --all-targets --features bench --quiet -- -D warnings
