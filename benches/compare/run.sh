#!/usr/bin/env bash
# Measures bsft, DSPy and bare clients side by side on this machine and prints Markdown. See README.md.
#   run.sh [--quick] [--no-million]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
quick=no million=yes
for flag in "$@"; do
    case $flag in
        --quick) quick=yes million=no ;;
        --no-million) million=no ;;
        *) sed -n 2,3p "$0" >&2; exit 2 ;;
    esac
done
folder=bench packages=
# shellcheck source=SCRIPTDIR/setup.sh
source "$here/setup.sh"
prepare_tools
trap stop_server EXIT

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
# prepare EXAMPLES: the training files alone. The run is there; only data/ is made again. Reports any difference between the bytes of both.
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
