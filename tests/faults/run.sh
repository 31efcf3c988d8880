#!/usr/bin/env bash
# The fault tests at length: a compile on three workers, RabbitMQ, Redis and an LM server that fails one first call in five, through so
# many faults at moments that the seed decides; then, with --cut, a worker that is cut off from the network for so many seconds
# (as root). Prints the faults, and fails when a byte differs from a run without faults.
#   tests/faults/run.sh [--faults 300] [--seed 7] [--examples 5000] [--cut 60]
set -euo pipefail
cd "$(dirname "$0")/../.."
export BSFT_FAULTS=300 BSFT_FAULTS_SEED=7 BSFT_FAULTS_EXAMPLES=5000
cut=
while [ $# -gt 0 ]; do
    case $1 in
    --faults) BSFT_FAULTS=$2 ;;
    --seed) BSFT_FAULTS_SEED=$2 ;;
    --examples) BSFT_FAULTS_EXAMPLES=$2 ;;
    --cut) cut=$2 ;;
    *)
        sed -n 's/^#   //p' "$0" >&2
        exit 2
        ;;
    esac
    shift 2
done
cargo test --test system -- --nocapture faults::chaos
if [ -n "$cut" ]; then
    BSFT_FAULTS_CUT_SECS=$cut cargo test --test system -- --nocapture faults::network
fi
