#!/usr/bin/env bash
# Compares bsft with the real DSPy on random jobs and prints the score:
#   bash tests/parity/run.sh -n 5000 --seed 7        any arguments of differential.py
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/parity/python.sh
[ -n "${BSFT_DSPY_PYTHON:-}" ] || exit 1
cargo build --release --quiet --bin bsft-coordinator
exec "$BSFT_DSPY_PYTHON" tests/parity/differential.py --bsft "${CARGO_TARGET_DIR:-target}/release/bsft-coordinator" "$@"
