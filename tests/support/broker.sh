# Sourced: one private RabbitMQ for all tests of the queue, as BSFT_TEST_AMQP_URL, unless that names one already. It ends when this
# end of its pipe does; stop_broker ends it earlier.
stop_broker() { :; }
if [ -z "${BSFT_TEST_AMQP_URL:-}" ]; then
    broker_dir=$(mktemp -d)
    coproc BROKER { exec tests/support/rabbitmq.sh "$broker_dir"; }
    broker_pid=$BROKER_PID
    exec {broker_in}>&"${BROKER[1]}" {broker_out}<&"${BROKER[0]}"
    eval "exec ${BROKER[1]}>&- ${BROKER[0]}<&-"
    stop_broker() {
        exec {broker_in}>&-
        kill "$broker_pid" 2>/dev/null || true
        wait "$broker_pid" || true
        rm -rf "$broker_dir"
    }
    read -r BSFT_TEST_AMQP_URL <&"$broker_out" || { echo "the tests' RabbitMQ did not start" >&2; exit 1; }
    # The tests' users have the least rights, made as in docs/operations/servers.md.
    rabbitmqctl() { tests/support/rabbitmq.sh "$broker_dir" ctl "$@"; }
    eval "$(sed -n '/^## Rights of the RabbitMQ users$/,/^## /p' docs/operations/servers.md | sed -n '/^```sh$/,/^```$/p' |
        sed '/^```/d; s/PASSWORD/hunter2/')"
    export BSFT_TEST_AMQP_URL=${BSFT_TEST_AMQP_URL/guest:guest/coordinator:hunter2}
    echo "testing the queue on a RabbitMQ at $BSFT_TEST_AMQP_URL"
fi
