#!/usr/bin/env bash
# A real fine-tune, from the job file to a model that answers: a job is compiled on a private RabbitMQ and Redis, its LM is trained by a
# real trainer of deploy/trainers.toml, the worker that started the training is killed (-9) in the middle of it and started again.
# It has to end with exactly one training process ever started, a compiled.json that names the model, and a model that has learned:
# of 25 questions that it was not trained on, it answers none in DSPy's format before, and all but one or all after.
# What is trained is made on the spot (make_tiny.py): nothing but Python packages is downloaded. Takes some minutes and 6 GB for the
# packages, which is why the check command (tests/run.sh) does not do it.
#   tests/trainers/run.sh [--python VENV/bin/python] [--trainer trl|trl-lora|llama-factory|axolotl] [--epochs N] [--patience SECONDS] [--bin DIR] [--keep]
# --python: of an environment that has the trainer (the comment of its entry in deploy/trainers.toml shows how to make one); without it one
# with TRL is made in target/trainers-venv. --epochs: 30 by default; full weights need about 12. --patience: how long anything that
# is waited for may take, 1,800 s; a machine that does much else needs more. --bin: where bsft-worker and bsft-coordinator are; without it they are built.
# --keep: leaves the folder with everything that was made.
set -euo pipefail
cd "$(dirname "$0")/../.."
repo=$PWD
python= trainer=trl epochs=30 bin= keep=
# A slow machine takes a minute to import a trainer.
limit=1800
while [ $# -gt 0 ]; do
    case $1 in
    --python) python=$(realpath -s "$2"); shift ;;
    --trainer) trainer=$2; shift ;;
    --epochs) epochs=$2; shift ;;
    --patience) limit=$2; shift ;;
    --bin) bin=$(realpath "$2"); shift ;;
    --keep) keep=1 ;;
    *) sed -n 's/^#   //p' "$0" >&2; exit 2 ;;
    esac
    shift
done

# What the tiny model needs to learn its task; each trainer has its own names.
train="n_epochs = $epochs, learning_rate = 0.01, batch_size = 10, gradient_accumulation_steps = 1, bf16 = false"
case $trainer in
trl) train+=", use_cpu = true" ;;
trl-lora) train+=", use_cpu = true"; train=${train/0.01/0.005} ;;
llama-factory) train+=", use_cpu = true, finetuning_type = \"full\"" ;;
axolotl) ;;
*) echo "trainer $trainer is none of trl, trl-lora, llama-factory, axolotl" >&2; exit 2 ;;
esac
# At least so many of the 25 answers have to be in DSPy's format afterwards.
asked=25 enough=24

work=$(mktemp -d)
broker_pid= redis_pid= worker_pid= coordinator_pid=
ended() {
    status=$?
    trap - EXIT
    for pid in $coordinator_pid $worker_pid; do kill -9 "$pid" 2>/dev/null || true; done
    # A trainer outlives its worker, which is what is tested: it is the leader of its own group.
    for proc in "$work"/trainings/*/proc.json; do
        [ -f "$proc" ] || continue
        group=$(sed -n 's/.*"pid": *\([0-9]*\).*/\1/p' "$proc")
        [ -z "$group" ] || kill -9 -- "-$group" 2>/dev/null || true
    done
    [ -z "$redis_pid" ] || kill "$redis_pid" 2>/dev/null || true
    if [ -n "$broker_pid" ]; then
        exec {broker_in}>&-
        wait "$broker_pid" || true
    fi
    if [ -n "$keep" ] || [ "$status" -ne 0 ]; then
        echo "everything that was made is in $work" >&2
    else
        rm -rf "$work"
    fi
    exit "$status"
}
trap ended EXIT

fail() {
    echo "FAILED: $*" >&2
    for log in "$work"/*.log "$work"/trainings/*/std*.log; do
        [ -s "$log" ] && echo "--- $log" >&2 && tail -c 2000 "$log" >&2
    done
    exit 1
}
# until WHAT COMMAND…: waits until the command succeeds.
until_true() {
    what=$1
    shift
    for _ in $(seq $((limit * 5))); do
        if "$@"; then return 0; fi
        sleep 0.2
    done
    fail "waited $limit s for $what"
}
step() { echo "== $*"; }

if [ -z "$python" ]; then
    python=$repo/target/trainers-venv/bin/python
    if ! "$python" -c 'import trl, peft' 2>/dev/null; then
        step "making target/trainers-venv: torch transformers trl datasets peft accelerate"
        python3 -m venv target/trainers-venv
        "$python" -m pip install -q torch transformers trl datasets peft accelerate
    fi
fi
if [ -z "$bin" ]; then
    cargo build --quiet --bins
    bin=$(realpath "${CARGO_TARGET_DIR:-target}/debug")
fi
"$python" -m pip list --disable-pip-version-check 2>/dev/null |
    grep -E '^(torch|transformers|trl|peft|accelerate|datasets|llamafactory|axolotl) ' | tr -s ' ' | tr '\n' ',' >"$work/versions"
step "trainer $trainer, $(sed 's/,$//; s/,/, /g' "$work/versions")"

# The trainers' programs as the worker finds them: every start of a training leaves a line.
mkdir "$work/bin"
for program in python llamafactory-cli axolotl; do
    real=$(dirname "$python")/$program
    [ -x "$real" ] || continue
    cat >"$work/bin/$program" <<SHIM
#!/bin/sh
case "\$0 \$*" in
*" trl.scripts.sft "* | */llamafactory-cli\ train\ * | */axolotl\ train\ *) echo \$\$ >>"$work/starts" ;;
esac
exec "$real" "\$@"
SHIM
    chmod +x "$work/bin/$program"
done
# One thread: the model is so small that two wait for each other.
export BSFT_LOG_FORMAT=human PATH=$work/bin:$PATH HF_HUB_OFFLINE=1 HF_HOME=$work/hf CUDA_VISIBLE_DEVICES= OMP_NUM_THREADS=1
: >"$work/starts"

"$python" tests/trainers/make_tiny.py "$work/tiny" 2>"$work/make_tiny.log" || fail "the tiny model could not be made"
sed "s#^dir = .*#dir = \"$work/trainings\"#" deploy/trainers.toml >"$work/trainers.toml"

# job TRAINSET FINETUNE: a job whose teacher is always right.
job() {
    cat <<JOB
name = "tiny"

[data]
trainset = "$1"
inputs = ["text"]

[[program.predictors]]
name = "sort"
module = "Predict"
signature = "text -> label"

[lm.teacher]
model = "simulated/teacher"
simulate = { accuracy = 1.0 }

[lm.student]
model = "openai/$work/tiny/model"
[lm.student.finetune]
$2

[student]
lm = "student"

[[teacher]]
lm = "teacher"

[metric]
exact_match = "label"
JOB
}
job tiny/train.jsonl "provider = \"command\"
trainer = \"$trainer\"
train = { $train }" >"$work/job.toml"
job tiny/held.jsonl 'provider = "export"' >"$work/held.toml"

# The questions before and after the training, as the same program asks them: the rows of held-out examples.
"$bin/bsft-coordinator" compile "$work/held.toml" --out "$work/held" 2>"$work/held.log" || fail "the held-out rows were not written"
evaluate() { "$python" tests/trainers/evaluate.py "$1" "$work/held/data/student.jsonl" --limit "$asked" 2>"$work/evaluate.log"; }
field() { "$python" -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$1" "$2"; }
before=$(evaluate "$work/tiny/model") || fail "the tiny model cannot be asked"
step "before: $(field "$before" well_formed) of $(field "$before" asked) well-formed"

coproc BROKER { exec tests/support/rabbitmq.sh "$work/rabbitmq"; }
broker_pid=$BROKER_PID
exec {broker_in}>&"${BROKER[1]}" {broker_out}<&"${BROKER[0]}"
eval "exec ${BROKER[1]}>&- ${BROKER[0]}<&-"
read -r amqp <&"$broker_out" || fail "RabbitMQ did not start"
mkdir "$work/redis"
port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --dir "$work/redis" --save "" --appendonly yes >"$work/redis.log" &
redis_pid=$!
answers() { [ "$(redis-cli -p "$port" ping 2>/dev/null)" = PONG ]; }
until_true "Redis" answers
urls=(--amqp-url "$amqp" --redis-url "redis://127.0.0.1:$port")

start_worker() {
    "$bin/bsft-worker" "${urls[@]}" --trainers "$work/trainers.toml" >>"$work/worker.log" 2>&1 {broker_in}>&- &
    worker_pid=$!
}
start_worker
"$bin/bsft-coordinator" compile "$work/job.toml" --out "$work/out" "${urls[@]}" >"$work/coordinator.log" 2>&1 {broker_in}>&- &
coordinator_pid=$!

is_training() {
    kill -0 "$coordinator_pid" 2>/dev/null || fail "the run ended before the training began"
    grep -qs "'loss'" "$work"/trainings/*/stdout.log
}
until_true "the first steps of the training" is_training
kill -9 "$worker_pid"
wait "$worker_pid" 2>/dev/null || true
read -r training_pid <"$work/starts"
kill -0 "$training_pid" 2>/dev/null || fail "the trainer ended with its worker, or before it"
at=$(grep -ho "'epoch': '\?[0-9.]*" "$work"/trainings/*/stdout.log | tail -n1 | grep -o '[0-9.]*$')
step "killed the worker at epoch $at of $epochs; the trainer goes on as process $training_pid"
start_worker

is_over() { ! kill -0 "$coordinator_pid" 2>/dev/null; }
until_true "the end of the run" is_over
code=0
wait "$coordinator_pid" || code=$?
coordinator_pid=
[ "$code" -eq 0 ] || fail "the coordinator ended with $code"

starts=$(wc -l <"$work/starts")
[ "$starts" -eq 1 ] || fail "the training was started $starts times"
model=$("$python" - "$work/out/compiled.json" <<'PY'
import json, sys
print(json.load(open(sys.argv[1]))["sort"]["lm"]["model"])
PY
) || fail "compiled.json names no model"
folder=${model#openai/}
[ -d "$folder" ] || fail "compiled.json names $model, which is no folder"
after=$(evaluate "$folder") || fail "the trained model cannot be asked"

echo
echo "trainer             $trainer ($(sed 's/,$//; s/,/, /g' "$work/versions"))"
echo "worker killed at    epoch $at of $epochs"
echo "trainings started   $starts"
echo "model               $model"
echo "before              $(field "$before" well_formed) of $asked well-formed, $(field "$before" exact) right"
echo "after               $(field "$after" well_formed) of $asked well-formed, $(field "$after" exact) right"
[ "$(field "$before" well_formed)" -eq 0 ] || fail "the model knew the format before it was trained"
[ "$(field "$after" well_formed)" -ge "$enough" ] || fail "the model has not learned: $(field "$after" first)"
echo "all is well"
