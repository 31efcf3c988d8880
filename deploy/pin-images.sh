#!/usr/bin/env bash
# Pins the images to the byte: deploy/pin-images.sh [IMAGE…]
#
# Pulls each image of docker-compose.yml and of the Dockerfiles, or those that are named, and prints it with its digest. The first lines go
# into deploy/.env, the others to the builds: docker build --build-arg DEBIAN=…@sha256:…. For Kubernetes write the digest into `images` of
# kustomization.yaml. The digests are those of the registry that you pull from, at this moment: run it where you trust that registry, and
# again for every update. Needs docker.
set -euo pipefail
case ${1:-} in
-*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
cd "$(dirname "$0")"

# digest IMAGE: the image by its digest.
digest() {
    docker pull --quiet "$1" >&2
    docker image inspect --format '{{index .RepoDigests 0}}' "$1"
}

if [ $# -gt 0 ]; then
    for image; do digest "$image"; done
    exit
fi
# ${NAME:-IMAGE} in the compose file, but for the images that are built here.
grep -o '\${[A-Z_]*_IMAGE:-[^}]*}' docker-compose.yml | tr -d '${}' | while IFS= read -r line; do
    name=${line%%:-*} image=${line#*:-}
    case $image in
    bsft*) ;;
    *) echo "$name=$(digest "$image")" ;;
    esac
done
sed -n 's/^ARG \(DEBIAN\|RUST\)=/\1 /p' Dockerfile | while read -r name image; do
    echo "--build-arg $name=$(digest "$image")"
done
