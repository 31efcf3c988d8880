#!/usr/bin/env bash
# A private RabbitMQ for tests: rabbitmq.sh DIR runs one in DIR, as the calling user, on ports of its own, prints its URL when it
# answers, and stops it when standard input ends or on SIGTERM. Run on the same DIR again it is the same broker, restarted.
# A file advanced.config in DIR is used; a file address names a further address of this machine to listen on. With server.pem and
# server.key in DIR/tls it listens for TLS too, and prints that URL on a second line. With more arguments: rabbitmq.sh DIR ctl
# ARGUMENTS… is its rabbitmqctl. BSFT_TEST_RABBITMQ_BIN is the folder of another rabbitmq-server than the installed one.
set -euo pipefail
mkdir -p "$1"
dir=$(realpath "$1")
server=${BSFT_TEST_RABBITMQ_BIN:-/usr/lib/rabbitmq/bin}

# Ports that a broker of ours has, each a link to its DIR: two that start at once do not choose the same, and one that is killed
# keeps its own for its restart. A link to a DIR that is gone is free.
claims=${TMPDIR:-/tmp}/bsft-test-ports-$UID
claimed() {
    ln -s "$dir" "$claims/$1" 2>/dev/null && return
    [ -e "$claims/$1" ] || rm -f "$claims/$1"
    return 1
}
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

if [ ! -f "$dir/port" ]; then
    mkdir -p "$dir"/{home,mnesia,log} "$claims"
    while :; do
        # Below the ports that systems hand out, above the ones that services have.
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 3000 * 4))
        claimed "$port" || continue
        listens "$port" || listens $((port + 1)) || listens $((port + 2)) || listens $((port + 3)) || break
    done
    echo "$port" >"$dir/port"
    head -c16 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$dir/home/.erlang.cookie"
    chmod 400 "$dir/home/.erlang.cookie"
    echo '[].' >"$dir/plugins"
    printf '%s\n' "listeners.tcp.1 = 127.0.0.1:$port" 'disk_free_limit.absolute = 50MB' \
        'vm_memory_high_watermark.absolute = 1GB' 'raft.wal_max_size_bytes = 64000000' >"$dir/rabbitmq.conf"
    if [ -d "$dir/tls" ]; then
        printf '%s\n' "listeners.ssl.1 = 127.0.0.1:$((port + 3))" "ssl_options.certfile = $dir/tls/server.pem" \
            "ssl_options.keyfile = $dir/tls/server.key" 'ssl_options.verify = verify_none' >>"$dir/rabbitmq.conf"
    fi
    if [ -f "$dir/address" ]; then
        # Other addresses are for other machines, from which the user guest may not connect by default.
        printf '%s\n' "listeners.tcp.2 = $(cat "$dir/address"):$port" 'loopback_users = none' >>"$dir/rabbitmq.conf"
    fi
    [ -f "$dir/advanced.config" ] || echo '[].' >"$dir/advanced.config"
fi
port=$(cat "$dir/port")
export HOME=$dir/home ERL_EPMD_PORT=$((port + 1)) ERL_EPMD_ADDRESS=127.0.0.1 \
    RABBITMQ_NODENAME=bsft$port@localhost RABBITMQ_NODE_PORT=$port RABBITMQ_NODE_IP_ADDRESS=127.0.0.1 \
    RABBITMQ_DIST_PORT=$((port + 2)) RABBITMQ_MNESIA_BASE=$dir/mnesia RABBITMQ_LOG_BASE=$dir/log RABBITMQ_LOGS=$dir/log/rabbit.log \
    RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_CONFIG_FILE=$dir/rabbitmq RABBITMQ_ADVANCED_CONFIG_FILE=$dir/advanced.config \
    RABBITMQ_ENABLED_PLUGINS_FILE=$dir/plugins RABBITMQ_PID_FILE=$dir/pid \
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1}"
cd "$dir"

if [ $# -gt 1 ]; then
    shift 2
    exec "$server/rabbitmqctl" -q -n "$RABBITMQ_NODENAME" "$@"
fi

# Started here, its process id is known: the one that the node would start outlives it.
epmd -port "$ERL_EPMD_PORT" -address 127.0.0.1 </dev/null >/dev/null 2>&1 &
epmd=$!
rm -f "$dir/pid"
logged=$({ wc -c <"$dir/log/rabbit.log"; } 2>/dev/null || echo 0)
setsid "$server/rabbitmq-server" </dev/null >"$dir/log/stdout" 2>"$dir/log/stderr" &
launcher=$!
stop() {
    trap - EXIT
    node=$(cat "$dir/pid" 2>/dev/null || true)
    kill "${node:-$launcher}" 2>/dev/null || true
    for _ in $(seq 100); do
        kill -0 "${node:-$launcher}" 2>/dev/null || break
        sleep 0.1
    done
    kill -9 "${node:-$launcher}" 2>/dev/null || true
    kill "$epmd" 2>/dev/null || true
}
trap stop EXIT
trap 'exit 0' TERM
# Ctrl-C reaches whole process groups, this one too. The tests end the server by closing stdin.
trap '' INT

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'AMQP\0\0\x09\x01' >&3 && [ -n "$(timeout 5 head -c1 <&3)" ]) 2>/dev/null
}
# The listener for TLS is the last to come. rabbitmqctl works only after that, when the start is complete.
is_complete() {
    [ "$(tail -c "+$((logged + 1))" "$dir/log/rabbit.log" 2>/dev/null | grep -c 'Server startup complete')" != 0 ]
}
until answers && is_complete && { [ ! -d "$dir/tls" ] || listens $((port + 3)); }; do
    if ! kill -0 "$launcher" 2>/dev/null; then
        echo "rabbitmq did not start; see $dir/log" >&2
        tail -n 20 "$dir"/log/* >&2
        exit 1
    fi
    sleep 0.1
done
echo "amqp://guest:guest@127.0.0.1:$port"
[ ! -d "$dir/tls" ] || echo "amqps://guest:guest@127.0.0.1:$((port + 3))"
exec 1>&-
while read -r _; do :; done
