#!/usr/bin/env bash
# Builds the image: deploy/build-image.sh [--binaries DIR] [--tag NAME] [BUILD ARGUMENTS OF DOCKER…]
#
#   --binaries DIR   packs bsft, bsft-coordinator and bsft-worker of DIR (built for Linux, with a glibc no newer than Debian 13's) instead of
#                    building them: no Rust and no crates.io needed, as for target/release
#   --tag NAME       default: bsft
#
# Works with BuildKit and with the legacy builder. Behind a proxy or a mirror: --network host, --build-arg DEBIAN=…
set -euo pipefail

binaries="" tag=bsft more=()
while [ $# -gt 0 ]; do
    case $1 in
    --binaries) binaries=$(cd "${2:?--binaries needs a folder}" && pwd); shift 2 ;;
    --tag) tag=${2:?--tag needs a name}; shift 2 ;;
    -h | --help) sed -n '2,/^set/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) more+=("$1"); shift ;;
    esac
done
cd "$(dirname "$0")/.."

labels=(
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
    --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)"
)
if [ -z "$binaries" ]; then
    docker build -f deploy/Dockerfile -t "$tag" "${labels[@]}" "${more[@]}" .
    exit
fi
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
install -m 755 "$binaries/bsft" "$binaries/bsft-coordinator" "$binaries/bsft-worker" "$context"
docker build -f deploy/Dockerfile --target runtime -t "$tag-runtime" "${more[@]}" .
docker build -f deploy/Dockerfile.binaries -t "$tag" --build-arg "RUNTIME=$tag-runtime" "${labels[@]}" "$context"
