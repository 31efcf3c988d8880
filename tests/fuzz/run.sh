#!/usr/bin/env bash
# Fuzzes one target with coverage feedback, on stable Rust: tests/fuzz/run.sh TARGET [SECONDS]. Needs cargo-afl
# (cargo install cargo-afl && cargo afl config --build). Inputs that crash or hang are in target/fuzz/TARGET/default/.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${1:?"usage: tests/fuzz/run.sh TARGET [SECONDS]; targets: signature literal json_repair chat_answer json_answer xml_answer chat_types json_types xml_types reply message manifest trainers_file job_file state_file trainset trainset_csv trainset_json"}
seconds=${2:-600}
out=$PWD/target/fuzz/$target
seeds=$out.seeds
rm -rf "$out" "$seeds"
mkdir -p "$out" "$seeds"
python3 - "$target" "$seeds" <<'PYTHON'
import json, pathlib, sys
target, out = sys.argv[1], pathlib.Path(sys.argv[2])
vectors = {
    "signature": ("signature/signature", "sig"), "literal": ("python/literal", "in"),
    "json_repair": ("python/repair", "in"), "chat_answer": ("adapter/chat_parse", "in"),
    "json_answer": ("adapter/json_parse", "in"), "xml_answer": ("adapter/xml_parse", "completion"),
}
files = {
    "job_file": "job.toml", "state_file": "state.json", "trainset": "train.jsonl", "trainset_csv": "train.csv",
    "trainset_json": "train.json", "trainers_file": "trainers.toml",
}
if target in files:
    seeds = [pathlib.Path("tests/fuzz/seeds", files[target]).read_text()]
elif target not in vectors:
    seeds = [json.loads(line) for line in pathlib.Path("tests/fuzz/seeds", target + ".jsonl").read_text().splitlines()]
else:
    name, key = vectors[target]
    rows = map(json.loads, pathlib.Path("tests/vectors", name + ".jsonl").read_text().splitlines())
    seeds = [row[key] for row in rows if isinstance(row.get(key), str)][:300]
for number, seed in enumerate(seeds):
    (out / f"{number:03}").write_text(seed, errors="replace")
PYTHON
export BSFT_FUZZ_TARGET=$target AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_SKIP_CPUFREQ=1 AFL_NO_UI=${AFL_NO_UI:-1}
CARGO_TARGET_DIR=$PWD/target/afl cargo afl build --release --manifest-path tests/fuzz/Cargo.toml
cargo afl fuzz -i "$seeds" -o "$out" -V "$seconds" target/afl/release/bsft-fuzz
crashes=$(find "$out/default/crashes" "$out/default/hangs" -name 'id:*' | wc -l)
echo "$target: $crashes inputs crash or hang"
[ "$crashes" -eq 0 ]
