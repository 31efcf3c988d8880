#!/usr/bin/env bash
# Measures bsft, DSPy, an AsyncOpenAI script and NeMo Data Designer against a limited LM server and prints Markdown. See README.md.
#   run.sh [--quick] [--only PART_OF_A_CASE] [--who bsft,openai,dspy,designer]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
work=${BSFT_BENCH_DIR:-$target/bench-limits}
ulimit -n 20000 2>/dev/null || ulimit -n "$(ulimit -Hn)"

if [ -n "${BSFT_BENCH_BIN:-}" ]; then
    bin=$BSFT_BENCH_BIN
else
    (cd "$root" && cargo build --release --package bsft --package bsft-limited-lm --bins >&2)
    bin=$target/release
fi
# Data Designer and DSPy pin different versions of what both use.
# venv NAME PACKAGE...: a Python with these packages; prints its path.
venv() {
    local python=$target/bench-limits-$1/bin/python
    shift
    if ! "$python" -c 'import sys, importlib.metadata as m; [m.version(p.split("==")[0]) for p in sys.argv[1:]]' "$@" 2>/dev/null; then
        python3 -m venv "$(dirname "$(dirname "$python")")"
        "$python" -m pip install --quiet --disable-pip-version-check "$@" >&2
    fi
    echo "$python"
}
export BENCH_DSPY_PYTHON=${BSFT_DSPY_PYTHON:-}
[ -n "$BENCH_DSPY_PYTHON" ] || BENCH_DSPY_PYTHON=$(venv dspy dspy==3.4.1 openai)
[ -n "${BENCH_DESIGNER_PYTHON:-}" ] || BENCH_DESIGNER_PYTHON=$(venv designer data-designer==0.9.7)
export BENCH_DESIGNER_PYTHON
mkdir -p "$work"
python3 "$here/measure.py" --bin "$bin" --work "$work" "$@"
python3 "$here/table.py" "$work/results.jsonl" | tee "$work/table.md"
