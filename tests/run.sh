#!/usr/bin/env bash
# The one check command: formatting, lints, tests, documentation. Installs what the tests need on Debian and Ubuntu, says so
# first, and leaves nothing running; elsewhere it names what is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v python3 >/dev/null || missing+=(python3)
python3 -c 'import ensurepip' >/dev/null 2>&1 || missing+=(python3-venv)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v openssl >/dev/null || missing+=(openssl)
command -v redis-server >/dev/null || missing+=(redis-server)
[ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] || missing+=(rabbitmq-server)
if [ ${#missing[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null; then
        echo "installing by apt: ${missing[*]} (the tests' LM server is written in Python; a C compiler links Rust programs; queue" \
            "and store are tested on servers of their own, and those that the packages start can be stopped)"
        sudo=""
        [ "$(id -u)" -eq 0 ] || sudo=sudo
        $sudo apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}"
    else
        echo "missing: ${missing[*]}; install them with your package manager and run this again" >&2
        exit 1
    fi
fi
for component in fmt clippy; do
    cargo "$component" --version >/dev/null 2>&1 || {
        echo "missing: cargo $component; run: rustup component add rustfmt clippy" >&2
        exit 1
    }
done

# Without PyPI nothing is compared with the real DSPy, and this says so.
. tests/parity/python.sh

# Images for the last step, beside everything else: they take minutes, mostly of waiting, where they are not there yet.
if docker info >/dev/null 2>&1; then
    images_log=$(mktemp)
    setsid tests/compose/images.sh >"$images_log" 2>&1 &
    images=$!
fi
stop_broker() { :; }
leave() {
    # Those that are made by now stay.
    [ -z "${images:-}" ] || { kill -- -"$images" 2>/dev/null || true; rm -f "$images_log"; }
    stop_broker
}
trap leave EXIT

. tests/support/broker.sh

step() {
    echo
    echo "== $*"
    "$@"
}

step cargo fmt --all --check
step cargo clippy --all-targets --features bench --quiet -- -D warnings
if cargo nextest --version >/dev/null 2>&1; then
    # Most of them wait for servers, for leases to run out, or for waits between tries.
    step cargo nextest run --no-fail-fast --test-threads $(($(nproc) * 2))
else
    step cargo test --no-fail-fast
fi
if [ -n "${BSFT_DSPY_PYTHON:-}" ]; then
    differential=("$BSFT_DSPY_PYTHON" tests/parity/differential.py --bsft "${CARGO_TARGET_DIR:-target}/debug/bsft-coordinator")
    step "${differential[@]}" --cases tests/parity/cases.json
    step "${differential[@]}" -n 300 --seed 1
fi
step tests/deploy/kubernetes.sh
step tests/deploy/monitoring.sh
step env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --quiet
# A failure is told by the step, which tries again.
[ -z "${images:-}" ] || wait "$images" || cat "$images_log"
step tests/compose/run.sh
echo
if [ -z "${BSFT_DSPY_PYTHON:-}" ]; then
    echo "SKIPPED: nothing was compared with the real DSPy ($dspy could not be installed)"
fi
echo "all checks passed"
