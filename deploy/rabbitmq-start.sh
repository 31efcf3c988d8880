#!/bin/bash
# Starts RabbitMQ with the users of rabbitmq-definitions.json, whose passwords come from the environment. Every start sets them again, so
# a changed password takes effect with the new container. No password is an argument: other users of the machine see those.
set -euo pipefail
umask 077
definitions=$(</etc/bsft/rabbitmq-definitions.json)
for variable in $(compgen -A export RABBITMQ_); do
    user=${variable#RABBITMQ_} user=${user%_PASSWORD}
    definitions=${definitions//\"${user}_PASSWORD\"/\"${!variable}\"}
done
printf '%s\n' "$definitions" >/tmp/rabbitmq-definitions.json
# The management page is for people. It listens in their network alone, and not where the programs are.
if [ -n "${MANAGEMENT_HOST:-}" ]; then
    address=$(getent ahostsv4 "$MANAGEMENT_HOST" | { read -r address _ && echo "$address"; })
    printf 'management.tcp.port = 15672\nmanagement.tcp.ip = %s\n' "$address" >/etc/rabbitmq/conf.d/60-management.conf
    chmod 644 /etc/rabbitmq/conf.d/60-management.conf
fi
exec rabbitmq-server
