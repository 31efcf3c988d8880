#!/usr/bin/env bash
# Makes the images that deploy/ is tested with: images.sh [--remove]
#
# No image registry can be counted on. Where this machine has rabbitmq:4.0.5-management, redis:8.0.2 or debian:trixie-slim, they are what is
# tested with. For those that it lacks stand-ins are made of Debian's packages, as bsft-stand-in:NAME-RECIPE, and kept for the next time:
# RECIPE is a digest of the files here, so that a changed one is made again. No tag that is not our own is written: run.sh lends
# them the official names for as long as it runs. Prints a line per image: the official name, and what it is to be.
# --remove takes all stand-ins away. Needs docker; for the first time apt and Debian's mirrors.
set -euo pipefail
cd "$(dirname "$0")"

if [ "${1:-}" = --remove ]; then
    # The newest first, as they are listed: none goes before those that are made of it.
    docker images --format '{{.Repository}}:{{.Tag}}' bsft-stand-in | xargs -r docker rmi >/dev/null
    exit
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
recipe=$(cat images.sh rabbitmq/* redis/* | sha256sum | cut -c1-12)
has() { docker image inspect "$1" >/dev/null 2>&1; }

# image OFFICIAL NAME COMMAND…: prints which image stands for OFFICIAL, and makes it with the command where it is missing.
image() {
    local official=$1 name=bsft-stand-in:$2-$recipe
    shift 2
    if has "$official" && ! is_lent "$official"; then
        name=$official
    elif ! has "$name"; then
        echo "making a stand-in for $official" >&2
        "$@" "$name" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    fi
    echo "$official $name"
}

# A run that was killed left the name behind.
is_lent() { [ "$(docker image inspect -f '{{ index .Config.Labels "bsft.stand-in" }}' "$1" 2>/dev/null)" = yes ]; }

debian() {
    if ! command -v mmdebstrap >/dev/null; then
        echo "installing by apt: mmdebstrap (images of Debian are made with it)" >&3
        local sudo=""
        [ "$(id -u)" -eq 0 ] || sudo=sudo
        $sudo apt-get update -qq
        DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends mmdebstrap debian-archive-keyring
    fi
    # As slim as the official one, and as careless of a power cut while it is made.
    mmdebstrap --quiet --variant=minbase --dpkgopt=force-unsafe-io --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/doc/*' trixie - http://deb.debian.org/debian |
        docker import -c 'LABEL bsft.stand-in=yes' -c 'CMD ["bash"]' - "$1" ||
        { docker rmi "$1"; return 1; }
}

built() { docker build -q --build-arg "DEBIAN=$debian" --label bsft.stand-in=yes -t "$2" "$1"; }

# Those of earlier recipes.
docker images --format '{{.Repository}}:{{.Tag}}' bsft-stand-in | grep -v -e "-$recipe\$" -e ':bsft' | xargs -r docker rmi >/dev/null 2>&1 || true

exec 3>&2
debian_line=$(image debian:trixie-slim debian debian)
debian=${debian_line#* }
echo "$debian_line"
image rabbitmq:4.0.5-management rabbitmq built rabbitmq
image redis:8.0.2 redis built redis
