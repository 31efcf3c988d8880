#!/usr/bin/env bash
# The one check command: formatting, lints, tests, documentation. It installs what the tests need on Debian and Ubuntu, after printing
# what, and leaves nothing running; elsewhere it names what is missing. No result depends on the speed of the machine.
#
# Steps that do not need each other run side by side: what runs beside the tests prints its output when the tests have ended.
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
        echo "installing by apt: ${missing[*]} (the tests' LM server is written in Python; a C compiler links Rust programs; broker" \
            "and store are tested on private servers; you can stop those that the packages start)"
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

logs=$(mktemp -d)
groups=() titles=()
stop_broker() { :; }
leave() {
    local group
    for group in "${groups[@]}"; do
        # A step that was just started is not a group yet.
        kill -- "-$group" 2>/dev/null || kill "$group" 2>/dev/null || true
    done
    stop_broker
    rm -rf "$logs"
}
trap leave EXIT

step() {
    echo
    echo "== $*"
    local began=$SECONDS code=0
    "$@" || code=$?
    echo "-- $((SECONDS - began)) s"
    return $code
}

# beside TITLE COMMAND…: starts a step in the background, as a process group of its own.
beside() {
    local number=${#groups[@]}
    titles+=("$1")
    shift
    # Each line of its log is complete when the next step is printed.
    setsid bash -c 'began=$SECONDS; code=0; "$@" || code=$?; echo "-- $((SECONDS - began)) s"; exit $code' beside "$@" \
        >"$logs/$number" 2>&1 </dev/null &
    groups+=($!)
}

# Waits for what runs in the background and prints it. Fails if one of them failed.
together() {
    local number code=0
    for number in "${!groups[@]}"; do
        wait "${groups[$number]}" || code=1
        [ -n "${titles[$number]}" ] || continue
        echo
        echo "== ${titles[$number]}"
        cat "$logs/$number"
    done
    groups=() titles=()
    return $code
}

# Both wait for the network most of the time: the real DSPy to compare with, and images for the last step.
beside "" bash -c '. tests/parity/python.sh'
install=${groups[0]}
if docker info >/dev/null 2>&1; then
    # A failure is reported by the step itself, which tries again.
    beside "" tests/compose/images.sh
    images=${groups[1]}
fi

step cargo fmt --all --check
nextest=
! cargo nextest --version >/dev/null 2>&1 || nextest=yes
if [ -n "$nextest" ]; then
    step cargo nextest run --workspace --no-run --cargo-quiet
    # With these the tests start while cargo documents.
    cargo metadata --format-version 1 --all-features >"$logs/cargo.json"
    cargo nextest list --workspace --cargo-quiet --list-type binaries-only --message-format json >"$logs/binaries.json"
    built=(--cargo-metadata "$logs/cargo.json" --binaries-metadata "$logs/binaries.json")
else
    step cargo test --workspace --no-run --quiet
fi
if cargo deny --version >/dev/null 2>&1; then
    step cargo deny --all-features check bans licenses sources
    # The database of advisories is fetched from the network.
    if cargo deny fetch db >/dev/null 2>&1; then
        step cargo deny --all-features check advisories
    else
        echo "SKIPPED: advisories were not checked (cargo deny could not fetch their database)"
    fi
else
    echo "SKIPPED: licences and advisories were not checked (cargo deny is not installed)"
fi

wait "$install" || true
grep -v '^-- ' "$logs/0" || true
dspy_tried=yes
. tests/parity/python.sh
[ -z "${images:-}" ] || wait "$images" || true
groups=() titles=()

. tests/support/broker.sh

# Everything is built. Most tests wait for servers, for leases to expire or for the time between retries. What runs beside them must not
# build: cargo would make it wait for the lints.
programs="${CARGO_TARGET_DIR:-target}/debug"
beside "scripts/lint.sh" scripts/lint.sh
beside "tests/compose/run.sh" tests/compose/run.sh --programs "$programs"
beside "tests/deploy/image.py" tests/deploy/image.py
beside "tests/deploy/kubernetes.sh" tests/deploy/kubernetes.sh
beside "tests/deploy/monitoring.sh" tests/deploy/monitoring.sh
beside "cargo doc" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
beside "cargo test --doc" cargo test --doc --workspace --quiet
if [ -n "${BSFT_DSPY_PYTHON:-}" ]; then
    differential=("$BSFT_DSPY_PYTHON" tests/parity/differential.py --bsft "$programs/bsft-coordinator")
    beside "the real DSPy on written jobs" "${differential[@]}" --cases tests/parity/cases.json
    beside "the real DSPy on random jobs" "${differential[@]}" -n 300 --seed 1
fi
failed=0
if [ -n "$nextest" ]; then
    step cargo nextest run "${built[@]}" --no-fail-fast --test-threads $(($(nproc) * 3)) || failed=1
else
    step cargo test --workspace --lib --tests --no-fail-fast || failed=1
fi
together || failed=1

echo
[ -n "${BSFT_DSPY_PYTHON:-}" ] || echo "SKIPPED: nothing was compared with the real DSPy ($dspy could not be installed)"
[ $failed -eq 0 ] || { echo "FAILED: see above" >&2; exit 1; }
echo "all checks passed in $SECONDS s"
