#!/usr/bin/env bash
# Measures bsft, DSPy and bare clients side by side on this machine and prints Markdown. See README.md.
#   run.sh [--quick] [--no-million]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=${BSFT_BENCH_DIR:-$target/bench}
quick=no million=yes
for flag in "$@"; do
    case $flag in
        --quick) quick=yes million=no ;;
        --no-million) million=no ;;
        *) sed -n 2,3p "$0" >&2; exit 2 ;;
    esac
done
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"
export LITELLM_LOCAL_MODEL_COST_MAP=true PYTHONPATH=$here

if [ -n "${BSFT_BENCH_BIN:-}" ]; then
    bin=$BSFT_BENCH_BIN
else
    (cd "$root" && cargo build --release --features bench --bins >&2)
    bin=$target/release
fi
python=${BSFT_BENCH_PYTHON:-$target/bench-venv/bin/python}
if ! "$python" -c 'import aiohttp, dspy' 2>/dev/null; then
    if [ -n "${BSFT_BENCH_PYTHON:-}" ]; then echo "$python has no dspy or no aiohttp" >&2; exit 2; fi
    python3 -m venv "$target/bench-venv"
    "$python" -m pip install --quiet 'dspy==3.4.1' aiohttp >&2
fi

mkdir -p "$work"
results=$work/results.jsonl
: >"$results"
servers=()
trap 'kill "${servers[@]}" 2>/dev/null || true' EXIT

port=0 server=0
# serve LATENCY_MS: a server of its own for each latency; sets port and server (its process id).
serve() {
    if [ "$server" != 0 ]; then kill "$server"; wait "$server" 2>/dev/null || true; fi
    "$bin/bench-lm-server" --port 0 --latency-ms "$1" >"$work/server" &
    server=$!
    servers=("$server")
    until grep -q http "$work/server"; do sleep 0.05; done
    port=$(sed 's/.*:\([0-9]*\).*/\1/' "$work/server")
    latency=$1
}
measure() { python3 "$here/measure.py" "$results" "$@"; }
job() { python3 "$here/jobs.py" "$work" "$1" "$2" "$port"; }
out() { echo "$work/run-$1"; }

# bsft EXAMPLES IN_FLIGHT: a run from nothing, as a user starts it.
bsft() {
    local path; path=$(job "$1" openai/bench)
    rm -rf "$(out bsft)"
    measure what=bsft examples="$1" latency="$latency" in_flight="$2" server="$server" run_json="$(out bsft)/run.json" -- \
        "$bin/bsft-coordinator" compile "$path" --out "$(out bsft)" --concurrency "$2" 2>>"$work/log" || failed bsft "$@"
}
dspy() {
    job "$1" openai/bench >/dev/null
    measure what=dspy examples="$1" latency="$latency" in_flight=100 server="$server" -- \
        "$python" "$here/dspy_bootstrap.py" "$work/train-$1.jsonl" "http://127.0.0.1:$port/v1" 100 2>>"$work/log" || failed dspy "$@"
}
aiohttp() {
    measure what=aiohttp examples="$1" latency="$latency" in_flight="$2" server="$server" -- \
        "$python" "$here/aiohttp_calls.py" "$1" "$2" "http://127.0.0.1:$port/v1" "$(out bsft)/traces.jsonl" \
        2>>"$work/log" || failed aiohttp "$@"
}
bare() {
    measure what=bare examples="$1" latency="$latency" in_flight="$2" server="$server" -- \
        "$bin/bench-lm-server" --drive "http://127.0.0.1:$port/v1" --requests "$1" --in-flight "$2" --body-bytes 1300 \
        2>>"$work/log" || failed bare "$@"
}
failed() { echo "failed: $*; the end of $work/log says why" >&2; tail -3 "$work/log" >&2; }
# prepare EXAMPLES: the training files alone. The run is there; only data/ is made again. Both write the same bytes, or it is said.
prepare() {
    bsft "$1" 1024
    rm -f "$(out bsft)"/data/*
    measure what=bsft-prepare examples="$1" run_json="$(out bsft)/run.json" -- \
        "$bin/bsft-coordinator" compile "$(job "$1" openai/bench)" --out "$(out bsft)" 2>>"$work/log"
    rm -rf "$work/dspy-data"
    measure what=dspy-prepare examples="$1" -- "$python" "$here/dspy_prepare.py" "$1" "$work/dspy-data" 2>>"$work/log"
    if cmp -s "$(out bsft)"/data/teacher.jsonl "$work"/dspy-data/*; then same=yes; else same=no; fi
    echo "{\"what\": \"same-bytes\", \"examples\": $1, \"same\": \"$same\"}" >>"$results"
}
simulated() {
    rm -rf "$(out simulated)"
    measure what=simulated examples="$1" in_flight=64 run_json="$(out simulated)/run.json" -- \
        "$bin/bsft-coordinator" compile "$(job "$1" simulated/teacher)" --out "$(out simulated)" 2>>"$work/log"
    rm -rf "$(out simulated)"
}
: >"$work/log"

if [ $quick = yes ]; then
    serve 0
    bsft 2000 256; bsft 20000 256; aiohttp 20000 256; bare 100000 256; dspy 2000
    prepare 20000
    serve 200
    bsft 20480 1024; bare 20480 1024; dspy 2000
    simulated 100000
else
    serve 0
    for _ in 1 2 3; do bsft 2000 256; bsft 20000 256; bsft 100000 256; bare 100000 256; done
    bsft 100000 1024; bsft 100000 8192; bare 100000 8192
    aiohttp 20000 100; aiohttp 20000 256; aiohttp 20000 8192
    dspy 2000; dspy 20000
    if [ $million = yes ]; then bsft 1000000 256; fi
    for _ in 1 2 3; do prepare 100000; done
    serve 50
    bsft 20000 256; bsft 50000 1024; bare 50000 1024
    serve 200
    for _ in 1 2 3; do bsft 2000 256; bsft 51200 1024; bsft 204800 8192; bare 204800 8192; done
    bare 51200 1024; aiohttp 51200 1024; dspy 2000
    if [ $million = yes ]; then simulated 1000000; else simulated 100000; fi
fi
rm -rf "$(out bsft)" "$work/dspy-data"
python3 "$here/table.py" "$results" | tee "$work/table.md"
