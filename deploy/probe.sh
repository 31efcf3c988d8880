#!/bin/bash
# Probes the program in this container: bsft-probe [PATH], by default /readyz. Exits with 0 after a 200. The image has no HTTP client,
# so this uses bash's /dev/tcp.
port=${BSFT_METRICS_ADDR##*:}
exec 3<>"/dev/tcp/127.0.0.1/${port:-9464}" || exit 1
printf 'GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' "${1:-/readyz}" >&3
read -r _ status _ <&3
[ "$status" = 200 ]
