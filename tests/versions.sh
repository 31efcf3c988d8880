#!/usr/bin/env bash
# The conformance suite on servers that this machine's Debian does not have, and on a cluster of three masters; prints a table of what
# passed on what. Not part of tests/run.sh: it takes root, Debian's apt and some 300 MB of downloads.
#
#   tests/versions.sh              all of them
#   tests/versions.sh ROW…         some: installed, cluster, or PACKAGE@SUITE (rabbitmq-server@trixie, valkey-server@sid, …)
#
# Packages are fetched by an apt of our own (its lists, nothing installed) into target/versions, unpacked there and run by chroot.
# The tests start and stop these servers as they do the installed ones; nothing is left on the machine but that folder. Run again,
# it goes on with what was fetched; remove target/versions to fetch again. What a row's tests printed is in target/versions/ROW.log.
set -euo pipefail
cd "$(dirname "$0")/.."

[ "$(id -u)" -eq 0 ] || { echo "tests/versions.sh unpacks whole systems and needs root" >&2; exit 1; }
# Mounts of our own, gone with us.
[ "${1:-}" = --mounted ] || exec unshare -m --propagation private bash "$0" --mounted "$@"
shift

rows=("$@")
[ $# -gt 0 ] || rows=(installed cluster {rabbitmq-server,redis-server,valkey-server}@{trixie,sid})
at=$PWD/target/versions
mkdir -p "$at"
export TMPDIR=/tmp
unset SSL_CERT_FILE BSFT_TEST_AMQP_URL BSFT_TEST_REDIS_URL

# A copy: a build in the meantime must not change what is tested.
suite=$at/conformance
cp "$(cargo test --test system --no-run --message-format=json-render-diagnostics |
    sed -n 's/.*"executable":"\([^"]*system-[^"]*\)".*/\1/p')" "$suite"

# What a Debian has that no package names: the shell that rabbitmq-server is written in, and its tools.
base=(base-files bash coreutils dash findutils grep gawk hostname libc-bin procps sed util-linux)

# fetch PACKAGE SUITE ROOT: the package and all that it needs, unpacked there.
fetch() {
    local apt=$at/apt-$2 root=$3 deb
    [ ! -e "$root/version" ] || return 0
    echo "fetching $1 of $2"
    rm -rf "$root" "$root.debs"
    mkdir -p "$apt"/{lists/partial,etc/apt.conf.d,etc/preferences.d} "$root.debs"/archives/partial "$root"/{tmp,proc,dev,etc}
    : >"$apt/status"
    # A mirror of sid may lag behind; what is fetched is signed all the same.
    echo "deb [check-valid-until=no signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "http://deb.debian.org/debian $2 main" >"$apt/sources.list"
    cat >"$apt/conf" <<END
Dir::State "$apt";
Dir::State::status "$apt/status";
Dir::Cache "$root.debs";
Dir::Etc "$apt/etc";
Dir::Etc::sourcelist "$apt/sources.list";
APT::Sandbox::User "root";
END
    APT_CONFIG=$apt/conf apt-get update -qq
    APT_CONFIG=$apt/conf apt-get install -qq --yes --download-only --no-install-recommends "${base[@]}" "$1" >"$root.debs/log"
    # The links from /bin to /usr/bin and the like are in the first.
    for deb in "$root.debs"/archives/base-files_*.deb "$root.debs"/archives/*.deb; do
        dpkg-deb -x "$deb" "$root"
    done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
    echo 'root:x:0:' >"$root/etc/group"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    dpkg-deb -f "$root.debs"/archives/"$1"_*.deb Version >"$root/version"
    rm -rf "$root.debs"
}

# wrap ROOT PROGRAM [AS]: a program of that root as one of the machine, in ROOT/wrapped.
wrap() {
    mkdir -p "$1/wrapped"
    local as=$1/wrapped/${3:-$(basename "$2")}
    printf '#!/bin/sh\nexec env LC_ALL=C chroot %s %s "$@"\n' "$1" "$2" >"$as"
    chmod +x "$as"
}

# run ROW VERSION ARGUMENTS…: the suite, or a part of it, and a line of the table.
run() {
    local row=$1 version=$2 result
    shift 2
    "$suite" "$@" >"$at/$row.log" 2>&1 || true
    # What a failed test prints may look like this, too; the last is the suite's own.
    result=$(sed -n 's/^test result: [A-Za-z]*\. \([0-9]* passed; [0-9]* failed\).*/\1/p' "$at/$row.log" | tail -n 1)
    printf '%-24s %-40s %s\n' "$row" "$version" "${result:-did not run}" | tee -a "$at/table"
    tac "$at/$row.log" | sed '/^failures:$/q' | sed -n 's/^    \([a-z_]*::[a-z_:0-9]*\)$/    failed: \1/p' | tee -a "$at/table"
}

packaged() {
    local package=${1%@*} root=$at/$1
    fetch "$package" "${1#*@}" "$root"
    for dir in tmp proc dev; do mount --rbind "/$dir" "$root/$dir"; done
    case $package in
    rabbitmq-server)
        wrap "$root" /usr/lib/rabbitmq/bin/rabbitmq-server
        wrap "$root" /usr/lib/rabbitmq/bin/rabbitmqctl
        BSFT_TEST_RABBITMQ_BIN=$root/wrapped run "$1" "$(cat "$root/version")" conformance:: --skip ::redis:: --skip ::embedded::
        ;;
    *)
        wrap "$root" "/usr/bin/$package" redis-server
        PATH=$root/wrapped:$PATH run "$1" "$(cat "$root/version")" conformance:: --skip ::amqp:: --skip ::embedded::
        ;;
    esac
    for dir in tmp proc dev; do umount -R -l "$root/$dir"; done
}

# Three masters, made by redis-cli, for the cases that every store has to pass.
cluster() {
    local dir ports=() pids=() port
    dir=$(mktemp -d)
    while [ ${#ports[@]} -lt 3 ]; do
        port=$((20000 + RANDOM % 10000))
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && continue
        mkdir -p "$dir/$port"
        redis-server --port "$port" --bind 127.0.0.1 --dir "$dir/$port" --save '' --appendonly yes --appendfsync always \
            --cluster-enabled yes >"$dir/$port/log" 2>&1 &
        pids+=($!)
        ports+=("$port")
    done
    stop_cluster() { kill "${pids[@]}" 2>/dev/null || true; wait "${pids[@]}" 2>/dev/null || true; rm -rf "$dir"; }
    trap stop_cluster EXIT
    for port in "${ports[@]}"; do
        until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done
    done
    redis-cli --cluster create "${ports[@]/#/127.0.0.1:}" --cluster-yes >"$dir/created"
    for port in "${ports[@]}"; do
        until redis-cli -p "$port" cluster info | grep -q cluster_state:ok; do sleep 0.1; done
    done
    mapfile -t cases < <("$suite" --list | sed -n 's/^\(conformance::redis::[a-z_]*\): test$/\1/p' | grep -v every_case_holds)
    # A case's keys are on one master: two of the three addresses lead to another one.
    for n in 0 1 2; do
        BSFT_TEST_REDIS_URL=redis://127.0.0.1:${ports[n]} run "cluster-$((n + 1))" "three masters, given the address of one" \
            --exact "${cases[@]}"
    done
    stop_cluster
    trap - EXIT
}

# Read whole before it runs: an edit in the meantime must not change it.
all() {
    : >"$at/table"
    for row in "${rows[@]}"; do
        case $row in
        installed)
            run installed "$(dpkg-query -W -f '${Package} ${Version} ' rabbitmq-server redis-server | sed 's/-server//g')" conformance::
            ;;
        cluster) cluster ;;
        *@*) packaged "$row" ;;
        *) echo "no such row: $row" >&2; exit 2 ;;
        esac
    done
    echo
    cat "$at/table"
    ! grep -Eq '[1-9][0-9]* failed|did not run' "$at/table"
}
all; exit
