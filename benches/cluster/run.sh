#!/usr/bin/env bash
# Measures bsft on RabbitMQ and Redis beside DSPy and beside Celery on this machine and prints Markdown. See README.md.
#   run.sh [--quick] [--million]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
quick=no million=no
for flag in "$@"; do
    case $flag in
        --quick) quick=yes ;;
        --million) million=yes ;;
        *) sed -n 2,3p "$0" >&2; exit 2 ;;
    esac
done
folder=bench-cluster packages="celery redis"
# shellcheck source=SCRIPTDIR/../compare/setup.sh
source "$here/../compare/setup.sh"
prepare_tools
cores=$(nproc)

workers=()
stop_workers() {
    local pid
    for pid in "${workers[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${workers[@]}"; do wait "$pid" 2>/dev/null || true; done
    workers=()
}
broker=0 redis=0
stop() {
    stop_workers
    stop_server
    if [ "$redis" != 0 ]; then kill "$redis" 2>/dev/null || true; fi
    if [ "$broker" != 0 ]; then kill "$broker" 2>/dev/null || true; wait "$broker" 2>/dev/null || true; fi
}
trap stop EXIT

# Private services, new ones each time: RabbitMQ's and Redis's data lie in the work folder. RabbitMQ ends with its standard input.
rm -rf "$work/rabbitmq" "$work/redis"
mkdir -p "$work/redis"
"$root/tests/support/rabbitmq.sh" "$work/rabbitmq" < <(exec tail -f /dev/null --pid=$$) >"$work/amqp" 2>>"$work/log" &
broker=$!
redis_port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$redis_port" --dir "$work/redis" --save '' \
    --appendonly yes --appendfsync everysec --maxmemory-policy noeviction >>"$work/log" &
redis=$!
until grep -q amqp "$work/amqp"; do
    kill -0 "$broker" 2>/dev/null || { tail -5 "$work/log" >&2; exit 1; }
    sleep 0.1
done
until redis-cli -p "$redis_port" ping >/dev/null 2>&1; do sleep 0.1; done
redis_url=redis://127.0.0.1:$redis_port
services=(--amqp-url "$(cat "$work/amqp")" --redis-url "$redis_url" --namespace bench)
beam=$(cat "$work/rabbitmq/pid")
empty_redis() { redis-cli -p "$redis_port" flushall >/dev/null; }
consumers() { "$root/tests/support/rabbitmq.sh" "$work/rabbitmq" ctl list_queues name consumers | awk '/bootstrap/ { n += $2 } END { print n + 0 }'; }
joined() { local IFS=+; echo "$*"; }

# cluster EXAMPLES IN_FLIGHT WORKERS [SAMPLES]: a run from nothing, with workers that wait for it; IN_FLIGHT is of all workers together.
cluster() {
    local path extra=() each=$(($2 / $3)) i
    path=$(job "$1" openai/bench)
    rm -rf "$(out cluster)"
    empty_redis
    for ((i = 0; i < $3; i++)); do
        "$bin/bsft-worker" "${services[@]}" --concurrency "$each" 2>>"$work/log" &
        workers+=($!)
    done
    until [ "$(consumers)" = "$3" ]; do kill -0 "${workers[@]}" || { failed cluster "$@"; return; }; done
    if [ $# = 4 ]; then extra=(samples="$4" redis="$redis_port"); fi
    measure what=cluster examples="$1" latency="$latency" in_flight="$2" workers="$3" server="$server" run_json="$(out cluster)/run.json" \
        parts="workers:$(joined "${workers[@]}"),rabbitmq:$beam,redis:$redis" "${extra[@]}" -- \
        "$bin/bsft-coordinator" compile "$path" --out "$(out cluster)" "${services[@]}" 2>>"$work/log" || failed cluster "$@"
    stop_workers
}

# celery TASK EXAMPLES WORKERS POOL CONCURRENCY: the task for each example, with workers that are warm.
celery() {
    local i
    job "$2" openai/bench >/dev/null
    job 200 openai/bench >/dev/null
    empty_redis
    export BENCH_REDIS=$redis_url BENCH_LM=http://127.0.0.1:$port/v1
    for ((i = 0; i < $3; i++)); do
        "$python" -m celery -A celery_app worker -n "w$i@%h" --pool "$4" --concurrency "$5" \
            --without-gossip --without-mingle --without-heartbeat --loglevel WARNING >>"$work/log" 2>&1 &
        workers+=($!)
    done
    "$python" "$here/celery_drive.py" "$1" "$work/train-200.jsonl" >/dev/null 2>>"$work/log" || failed celery "$@"
    measure what="celery-$1" examples="$2" latency="$latency" in_flight=$(($3 * $5)) workers="$3" pool="$4" server="$server" \
        parts="workers:$(joined "${workers[@]}"),redis:$redis" -- \
        "$python" "$here/celery_drive.py" "$1" "$work/train-$2.jsonl" 2>>"$work/log" || failed celery "$@"
    stop_workers
}

# The services' first run is their slowest.
serve 0
cluster 2000 256 1
: >"$results"
if [ $quick = yes ]; then
    cluster 20000 256 1; cluster 20000 256 2; cluster 50000 1024 "$cores"; bsft 20000 256
    celery classify 2000 "$cores" threads 100; celery nothing 5000 "$cores" threads 100; dspy 2000
    serve 50
    cluster 20000 1024 1
    serve 200
    cluster 81920 4096 1
    celery classify 2000 "$cores" threads 100; dspy 2000
else
    for _ in 1 2 3; do
        cluster 20000 256 1; cluster 100000 256 1; cluster 100000 256 2; cluster 100000 1024 1; cluster 100000 1024 2; bsft 100000 256
        celery classify 2000 "$cores" threads 100; dspy 2000
    done
    celery classify 2000 1 prefork $((2 * cores)); celery nothing 10000 "$cores" threads 100; celery nothing 10000 1 prefork "$cores"
    serve 50
    for _ in 1 2 3; do cluster 50000 1024 1; cluster 50000 1024 2; done
    celery classify 2000 "$cores" threads 100; dspy 2000
    serve 200
    for _ in 1 2 3; do
        cluster 2000 256 1; cluster 204800 4096 1; cluster 204800 4096 2
        celery classify 2000 "$cores" threads 100; dspy 2000
    done
fi
if [ $million = yes ]; then
    serve 0
    cluster 1000000 1024 "$cores" "$work/samples.jsonl"
fi
rm -rf "$(out cluster)" "$(out bsft)"
python3 "$here/table.py" "$results" "$work/samples.jsonl" | tee "$work/table.md"
