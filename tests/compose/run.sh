#!/usr/bin/env bash
# deploy/ as its users have it: the image around the programs of this build, deploy/setup.sh, deploy/docker-compose.yml, three workers and a
# compile. One worker is drained, one killed, RabbitMQ stopped for half a minute; the files must have the bytes that one process alone
# makes. Then what the containers may and may not do is looked at.
#
# Where it cannot be tried it prints SKIPPED, and why.
#
# RabbitMQ, Redis and Debian are the official images where this machine has them, and stand-ins otherwise (images.sh), which have the official
# names while this runs. Project, folders, ports and tags are our own; nothing is left but the stand-ins, for the next time.
#
#   tests/compose/run.sh                   builds the programs first
#   tests/compose/run.sh --programs DIR    with programs that are built already
set -euo pipefail
cd "$(dirname "$0")/../.."

programs=
if [ $# -gt 0 ]; then
    [ "$1" = --programs ] || { sed -n 's/^#   //p' "$0" >&2; exit 2; }
    programs=${2:?--programs needs a folder}
fi

skip() {
    echo "SKIPPED: deploy/ was not tried with docker ($1)"
    exit 0
}
command -v docker >/dev/null || skip "there is no docker"
docker info >/dev/null 2>&1 || skip "no docker engine answers"
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    skip "there is neither docker compose nor docker-compose"
fi
# Two at once would take the names from each other.
exec 9>"${TMPDIR:-/tmp}/bsft-compose.lock"
flock 9
images=$(tests/compose/images.sh) || skip "the images of RabbitMQ and Redis could not be made"

unset RABBITMQ_{,COORDINATOR_,WORKER_}PASSWORD REDIS_{,COORDINATOR_,WORKER_}PASSWORD
unset RABBITMQ_IMAGE REDIS_IMAGE COMPOSE_FILE COMPOSE_PROFILES
unset BSFT_DIR BSFT_UID BSFT_GID BSFT_NAMESPACE BSFT_LOG BSFT_LOG_FORMAT BSFT_DRAIN BSFT_STOP_GRACE
scratch=$(mktemp -d)
image=bsft-stand-in:bsft lent=()
export COMPOSE_PROJECT_NAME=bsft-test-$$ BSFT_IMAGE=$image BSFT_SECRETS=$scratch/secrets
ours=(--filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME")

clean() {
    local code=$?
    trap - EXIT
    if [ $code -ne 0 ]; then
        echo "last log lines:"
        tail -n 15 "$scratch"/*.log 2>/dev/null || true
        docker ps -a "${ours[@]}" --format '{{.Names}}: {{.Status}}'
        for container in $(docker ps -aq "${ours[@]}"); do docker logs --tail 15 "$container" 2>&1 || true; done
    fi
    {
        docker ps -aq "${ours[@]}" | xargs -r docker rm -fv
        docker volume ls -q "${ours[@]}" | xargs -r docker volume rm
        docker network ls -q "${ours[@]}" | xargs -r docker network rm
        for name in "${lent[@]}" "$image"; do docker rmi "$name"; done
        rm -rf "$scratch"
    } >/dev/null 2>&1 || true
    exit $code
}
trap clean EXIT
trap 'exit 130' INT TERM

while read -r official name; do
    echo "$official: $name"
    [ "$official" = "$name" ] && continue
    docker tag "$name" "$official"
    lent+=("$official")
done <<<"$images"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}
log() { printf '%4d s  %s\n' $((SECONDS)) "$*"; }
# until_true SECONDS WHAT COMMAND…: waits for a command to succeed, so long at most.
until_true() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        [ $SECONDS -lt $end ] || fail "waited in vain for $what"
        sleep 0.2
    done
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
containers() { docker ps -q "${ours[@]}" --filter "label=com.docker.compose.service=$1"; }
dc() { "${compose[@]}" -f "$scratch/deploy/docker-compose.yml" "$@"; }

# --- the image ------------------------------------------------------------------------------------------------------------------
if [ -z "$programs" ]; then
    cargo build --quiet --bins
    programs=${CARGO_TARGET_DIR:-target}/debug
fi
deploy/build-image.sh --binaries "$programs" --tag "$image" >"$scratch/build.log" 2>&1 || fail "the image could not be built"
docker run --rm "$image" bsft-worker --version >"$scratch/version.log" 2>&1 ||
    skip "programs that are built here do not run on Debian 13: $(tail -n 1 "$scratch/version.log")"
log "the image is built: $(cat "$scratch/version.log"), $(($(docker image inspect -f '{{.Size}}' "$image") / 1000000)) MB"

# --- the folder of a user's -----------------------------------------------------------------------------------------------------
mkdir -p "$scratch/home/job"
cp -r deploy "$scratch/deploy"
rm -f "$scratch"/deploy/{.env,lm.env,trainer.env}
cp tests/compose/job.toml "$scratch/home/job/job.toml"
for n in $(seq 600); do echo "{\"question\": \"What is $n plus $n?\", \"answer\": \"$((n + n))\"}"; done >"$scratch/home/job/train.jsonl"
user=12345
if [ "$(id -u)" -eq 0 ]; then
    chown -R "$user:$user" "$scratch/home"
    chmod 755 "$scratch"
else
    user=$(id -u)
fi

# Without passwords nothing starts.
if (cd "$scratch/deploy" && touch .env lm.env trainer.env && dc config) >"$scratch/config.log" 2>&1; then
    fail "without passwords the compose file is taken"
fi
grep -q 'run deploy/setup.sh' "$scratch/config.log" || fail "no message names deploy/setup.sh"
rm "$scratch"/deploy/{.env,lm.env,trainer.env}

"$scratch/deploy/setup.sh" "$scratch/home" >"$scratch/setup.log"
dc --profile gpu --profile lm config >/dev/null || fail "the profiles gpu and lm cannot be read"
[ "$(stat -Lc %a "$scratch"/deploy/{.env,lm.env,trainer.env} | sort -u)" = 600 ] || fail "others can read the passwords"
[ "$(stat -c %a "$BSFT_SECRETS")" = 700 ] || fail "others can look into the folder of the passwords"
cp "$scratch/deploy/.env" "$scratch/first"
"$scratch/deploy/setup.sh" "$scratch/home" >>"$scratch/setup.log"
cmp "$scratch/first" "$scratch/deploy/.env" || fail "deploy/setup.sh wrote other passwords over the first"
mapfile -t passwords < <(sed -n 's/^.*_PASSWORD=//p' "$scratch/first")
[ "${#passwords[0]}" -ge 32 ] && [ "$(printf '%s\n' "${passwords[@]}" | sort -u | wc -l)" -eq 6 ] || fail "these are no passwords"
key=sk-test-$RANDOM$RANDOM
echo "TEST_LM_KEY=$key" >>"$scratch/deploy/lm.env"

# An installation of version 0.1, whose files were in the repository: they move, and what is missing is added.
mkdir -p "$scratch/old"
cp -r deploy "$scratch/old/deploy"
rm -f "$scratch"/old/deploy/{.env,lm.env,trainer.env}
printf '%s\n' RABBITMQ_PASSWORD=first REDIS_PASSWORD=second "BSFT_DIR=$scratch/old" BSFT_UID=1 BSFT_GID=1 >"$scratch/old/deploy/.env"
echo "OLD_KEY=$key" >"$scratch/old/deploy/lm.env"
if BSFT_SECRETS=$scratch/old/secrets "$scratch/old/deploy/setup.sh" >>"$scratch/setup.log" 2>&1; then
    fail "deploy/setup.sh leaves the passwords where the coordinator sees them"
fi
BSFT_SECRETS=$scratch/older "$scratch/old/deploy/setup.sh" >>"$scratch/setup.log"
grep -qx RABBITMQ_PASSWORD=first "$scratch/old/deploy/.env" && grep -q '^REDIS_WORKER_PASSWORD=.' "$scratch/old/deploy/.env" ||
    fail "deploy/setup.sh loses a password of an earlier version"
# A container with the repository sees links that lead nowhere.
for file in .env lm.env trainer.env; do
    ! docker run --rm -v "$scratch/old:/jobs" --entrypoint cat "$image" "/jobs/deploy/$file" >/dev/null 2>&1 || fail "a container can read $file"
done

# --- one process alone, and the cluster -----------------------------------------------------------------------------------------
env -u BSFT_AMQP_URL -u BSFT_REDIS_URL "$programs/bsft-coordinator" compile "$scratch/home/job/job.toml" --out "$scratch/alone" \
    --concurrency 600 >"$scratch/alone.log" 2>&1 || fail "one process alone did not compile it"
log "one process alone has compiled it"

for port in RABBITMQ_PORT RABBITMQ_MANAGEMENT_PORT REDIS_PORT; do export "$port=$(free_port)"; done
export BSFT_CONCURRENCY=8
dc up -d --no-build --scale worker=3 >"$scratch/up.log" 2>&1 || fail "docker compose up"
# So often has a worker begun to take tasks.
ready() {
    local container times=0
    for container in $(containers worker); do
        times=$((times + $(docker logs "$container" 2>&1 | grep -c 'ready for tasks')))
    done
    [ $times -ge "$1" ]
}
until_true 300 "three workers" ready 3
healthy() { [ "$(docker ps -q "${ours[@]}" --filter label=com.docker.compose.service=worker --filter health=healthy | wc -l)" -eq "$1" ]; }
until_true 300 "three healthy workers" healthy 3
log "RabbitMQ, Redis and three workers are up"

# --- what the containers are ----------------------------------------------------------------------------------------------------
# confined CONTAINER: it can do no more than it needs.
confined() {
    local container=$1 status
    [ "$(docker inspect -f '{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}' "$container")" = "true [ALL]" ] ||
        fail "a container may write to its system"
    # Of tini and of the program.
    status=$(docker exec "$container" sh -c 'cat /proc/1/comm /proc/[0-9]*/status')
    head -n 1 <<<"$status" | grep -qx tini || fail "process 1 is not tini"
    ! grep -Eq '^Uid:.*\b0\b' <<<"$status" || fail "a program runs as root"
    ! grep -E '^Cap(Prm|Eff|Bnd):' <<<"$status" | grep -qv '0000000000000000$' || fail "a program has capabilities"
    ! grep -E '^NoNewPrivs:' <<<"$status" | grep -qv 1 || fail "a program can gain privileges"
    ! docker exec "$container" touch /usr/local/bin/x 2>/dev/null || fail "the system can be written to"
    docker exec "$container" touch /tmp/x || fail "/tmp cannot be written to"
}
for container in $(containers worker); do confined "$container"; done
docker exec "$(containers worker | head -n 1)" printenv TEST_LM_KEY | grep -qx "$key" || fail "the workers do not have the key in lm.env"
for container in $(docker ps -q "${ours[@]}"); do
    ! docker inspect -f '{{range .NetworkSettings.Ports}}{{range .}}{{.HostIp}}{{"\n"}}{{end}}{{end}}' "$container" |
        grep -v '^$' | grep -qv '^127\.0\.0\.1$' || fail "a port is open to the world"
done
docker exec "$(containers redis)" sh -c 'for of in appendonly appendfsync maxmemory-policy; do redis-cli config get $of; done' |
    tr '\n' ' ' | grep -q 'appendonly yes appendfsync everysec maxmemory-policy noeviction' || fail "Redis is not set as docs/operations/servers.md says"
docker exec "$(containers redis)" env -u REDISCLI_AUTH redis-cli ping 2>&1 | grep -q NOAUTH || fail "Redis answers without a password"
users=$(docker exec "$(containers rabbitmq)" rabbitmqctl -q list_users | sort | tr '\t\n' ' ;')
[ "$users" = 'bsft [administrator];coordinator [];user tags;worker [];' ] || fail "RabbitMQ has other users: $users"
docker exec "$(containers rabbitmq)" rabbitmqctl -q list_policies | grep -q bsft-dead-letters || fail "RabbitMQ keeps dead letters for ever"
docker exec "$(containers redis)" sh -c 'redis-cli --user worker -a "$REDIS_WORKER_PASSWORD" --no-auth-warning flushall' 2>&1 |
    grep -q NOPERM || fail "a worker may empty Redis"
# reaches NETWORK HOST PORT: whether a container in that network can connect.
reaches() {
    docker run --rm --network "${COMPOSE_PROJECT_NAME}_$1" --entrypoint bash "$image" -c "timeout 5 bash -c '</dev/tcp/$2/$3'" 2>/dev/null
}
reaches services rabbitmq 5672 || fail "programs do not reach RabbitMQ"
! reaches services rabbitmq 15672 || fail "programs reach RabbitMQ's management"
for place in "rabbitmq 5672" "rabbitmq 15672" "redis 6379"; do
    # shellcheck disable=SC2086
    ! reaches models $place || fail "an LM server reaches $place"
done
page=$(python3 -c "import http.client as h; c = h.HTTPConnection('127.0.0.1', $RABBITMQ_MANAGEMENT_PORT); c.request('GET', '/api/overview'); print(c.getresponse().status)")
[ "$page" = 401 ] || fail "the management page is not there for people: $page"
settings='{ok, Wal} = application:get_env(ra, wal_max_size_bytes), {Wal, rabbit_disk_monitor:get_disk_free_limit(), erlang:system_info(port_limit)}.'
[ "$(docker exec "$(containers rabbitmq)" rabbitmqctl -q eval "$settings")" = '{64000000,2000000000,65536}' ] ||
    fail "RabbitMQ is not set as docs/operations/servers.md says"
log "the containers may do no more than they need"

# --- what goes wrong ------------------------------------------------------------------------------------------------------------
dc run --rm -T coordinator compile job/job.toml </dev/null >"$scratch/compile.log" 2>&1 &
compile=$!
dir=$scratch/home/runs/sums
reached() {
    kill -0 $compile 2>/dev/null || fail "the compile has ended too early"
    [ "$(cat "$dir/traces.jsonl" 2>/dev/null | wc -l)" -ge "$1" ]
}
until_true 300 "the first traces" reached 30
coordinator=$(containers coordinator)

confined "$coordinator"
[ "$(docker exec "$coordinator" id -u)" = "$user" ] || fail "the coordinator is not the folder's owner"
! docker exec "$coordinator" printenv TEST_LM_KEY >/dev/null || fail "the coordinator has the LMs' keys"
docker exec "$coordinator" printenv BSFT_AMQP_URL BSFT_REDIS_URL | grep -c //coordinator: | grep -qx 2 || fail "the coordinator has another user's URL"
docker exec "$(containers worker | head -n 1)" printenv BSFT_AMQP_URL BSFT_REDIS_URL | grep -c //worker: | grep -qx 2 ||
    fail "a worker has another user's URL"
victims=($(containers worker))
docker stop "${victims[0]}" >/dev/null
[ "$(docker inspect -f '{{.State.ExitCode}}' "${victims[0]}")" = 0 ] || fail "a worker that was told to stop did not exit with 0"
docker logs "${victims[0]}" 2>&1 | grep -q stopped || fail "a worker that was told to stop was killed"
log "a worker has drained: $(docker logs "${victims[0]}" 2>&1 | tail -n 1)"
until_true 300 "more traces" reached 100
docker kill -s KILL "${victims[1]}" >/dev/null
log "a worker is killed"
dc up -d --no-build --no-recreate --scale worker=3 >>"$scratch/up.log" 2>&1
until_true 300 "three workers again" ready 5
until_true 300 "more traces" reached 200
docker stop "$(containers rabbitmq)" >/dev/null
log "RabbitMQ is stopped, with $(wc -l <"$dir/traces.jsonl") of 600 traces there"
sleep 30 # how long it is away
kill -0 $compile || fail "the compile has ended without RabbitMQ"
dc start rabbitmq >>"$scratch/up.log" 2>&1
log "RabbitMQ is started"
ended() { ! kill -0 $compile 2>/dev/null; }
until_true 300 "the end of the compile" ended
wait $compile || fail "the compile has ended with $?"
log "compiled"

# --- what came of it ------------------------------------------------------------------------------------------------------------
cmp "$scratch/alone/compiled.json" "$dir/compiled.json" && cmp "$scratch/alone/traces.jsonl" "$dir/traces.jsonl" &&
    diff -r "$scratch/alone/data" "$dir/data" || fail "the files are not those of one process alone"
[ "$(find "$scratch/home" ! -user "$user" | wc -l)" -eq 0 ] || fail "not everything belongs to the folder's owner"
grep -q 'compiled.json' "$scratch/compile.log" || fail "the log does not name compiled.json"
log "compiled.json, traces.jsonl and data/ are byte for byte those of one process alone"

dc stop worker >>"$scratch/up.log" 2>&1
for container in $(docker ps -aq "${ours[@]}" --filter label=com.docker.compose.service=worker); do
    [ "$(docker inspect -f '{{.State.ExitCode}}' "$container")" = 0 ] || fail "a worker that was told to stop did not exit with 0"
done
for container in $(docker ps -aq "${ours[@]}"); do docker logs "$container" >>"$scratch/logs" 2>&1; done
for secret in "${passwords[@]}" "$key"; do
    ! grep -qF "$secret" "$scratch/logs" "$scratch"/*.log || fail "a password is in a log"
    ! docker history --no-trunc "$image" | grep -qF "$secret" || fail "a password is in the image"
    ! docker inspect -f '{{.Path}} {{.Args}}' $(docker ps -aq "${ours[@]}") | grep -qF "$secret" || fail "a password is an argument"
    ! grep -rqF "$secret" "$scratch/home" || fail "a password is in DIR"
done
log "no password is in the image, an argument, a log or DIR; all workers ended with 0"
