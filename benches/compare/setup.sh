# Sourced, with `bash -euo pipefail`, by the scripts that measure. They set `here` (their folder), `folder` (of the work, under
# target/) and `packages` (what Python needs beside dspy and aiohttp; may be empty) before, and call `prepare_tools`.
compare=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$compare/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=${BSFT_BENCH_DIR:-$target/$folder}
results=$work/results.jsonl
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
export LITELLM_LOCAL_MODEL_COST_MAP=true PYTHONPATH=$here:$compare BSFT_LOG_FORMAT=human

# Binaries in `bin`, a Python in `python`, an empty folder of results.
prepare_tools() {
    if [ -n "${BSFT_BENCH_BIN:-}" ]; then
        bin=$BSFT_BENCH_BIN
    else
        (cd "$root" && cargo build --release --features bench --bins >&2)
        bin=$target/release
    fi
    python=${BSFT_BENCH_PYTHON:-$target/bench-venv/bin/python}
    if ! "$python" -c "import aiohttp, dspy${packages:+, ${packages// /, }}" 2>/dev/null; then
        if [ -n "${BSFT_BENCH_PYTHON:-}" ]; then echo "$python lacks one of: dspy aiohttp $packages" >&2; exit 2; fi
        python3 -m venv "$target/bench-venv"
        # shellcheck disable=SC2086 # a list
        "$python" -m pip install --quiet 'dspy==3.4.1' aiohttp $packages >&2
    fi
    mkdir -p "$work"
    : >"$results"
    : >"$work/log"
}

port=0 server=0 latency=0
# serve LATENCY_MS: an LM server of its own for each latency; sets port, server (its process id) and latency.
serve() {
    stop_server
    "$bin/bench-lm-server" --port 0 --latency-ms "$1" >"$work/server" &
    server=$!
    until grep -q http "$work/server"; do sleep 0.05; done
    port=$(sed 's/.*:\([0-9]*\).*/\1/' "$work/server")
    latency=$1
}
stop_server() {
    if [ "$server" != 0 ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    server=0
}

measure() { python3 "$compare/measure.py" "$results" "$@"; }
job() { python3 "$compare/jobs.py" "$work" "$1" "$2" "$port"; }
out() { echo "$work/run-$1"; }
failed() { echo "failed: $*; the end of $work/log says why" >&2; tail -3 "$work/log" >&2; }

# bsft EXAMPLES IN_FLIGHT: a run from nothing in one process, as a user starts it.
bsft() {
    local path; path=$(job "$1" openai/bench)
    rm -rf "$(out bsft)"
    measure what=bsft examples="$1" latency="$latency" in_flight="$2" server="$server" run_json="$(out bsft)/run.json" -- \
        "$bin/bsft-coordinator" compile "$path" --out "$(out bsft)" --concurrency "$2" 2>>"$work/log" || failed bsft "$@"
}
# dspy EXAMPLES: DSPy's own bootstrap.
dspy() {
    job "$1" openai/bench >/dev/null
    measure what=dspy examples="$1" latency="$latency" in_flight=100 server="$server" -- \
        "$python" "$compare/dspy_bootstrap.py" "$work/train-$1.jsonl" "http://127.0.0.1:$port/v1" 100 2>>"$work/log" || failed dspy "$@"
}
