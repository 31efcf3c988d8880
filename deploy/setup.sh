#!/bin/sh
# Before the first `docker compose up`, and after an upgrade: deploy/setup.sh [DIR]
#
# DIR is the folder with your jobs, in which `runs` will be written; by default the repository. Writes random passwords, and files for the
# keys of LMs and trainers, into a folder that only you can read: $XDG_CONFIG_HOME/bsft or ~/.config/bsft, or $BSFT_SECRETS. deploy/.env,
# deploy/lm.env and deploy/trainer.env are links to them, so that a container that sees the repository does not see them. What is there is
# kept; what is missing is added.
set -eu
case ${1:-} in
-*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
dir=$(cd "${1:-$(dirname "$0")/..}" && pwd -P)
cd "$(dirname "$0")"
umask 077

random() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }

# Two copies of the repository have passwords of their own.
copy=$(pwd -P | cksum | cut -d ' ' -f 1)
if [ -z "${BSFT_SECRETS:-}" ] && [ -L .env ] && [ -e .env ]; then
    secrets=$(dirname "$(readlink -f .env)")
else
    secrets=${BSFT_SECRETS:-${XDG_CONFIG_HOME:-$HOME/.config}/bsft/deploy-$copy}
fi
mkdir -p "$secrets"
secrets=$(cd "$secrets" && pwd -P)
value() { sed -n "s/^$1=//p" .env 2>/dev/null || true; }
known=$(value BSFT_DIR)
case $secrets/ in
"${known:-$dir}"/*)
    echo "$secrets is in ${known:-$dir}, so that the coordinator could read the keys: set BSFT_SECRETS to another folder, and" \
        "run this again" >&2
    exit 1
    ;;
esac

# as_link NAME: deploy/NAME is a link to the file of that name among the secrets, which is made empty where it is missing.
as_link() {
    at=$(readlink -f "$1" || true)
    if [ -f "$1" ] && [ "$at" != "$secrets/$1" ]; then
        # An earlier version of this script wrote it here, or the folder is another one now.
        mv "$at" "$secrets/$1"
        chmod 600 "$secrets/$1"
        echo "moved $at to $secrets/$1"
    fi
    [ -e "$secrets/$1" ] || : >"$secrets/$1"
    ln -sf "$secrets/$1" "$1"
}
# add NAME VALUE: adds what .env lacks.
add() {
    grep -q "^$1=" .env || printf '%s=%s\n' "$1" "$2" >>.env
}

as_link .env
is_new=$([ -s .env ] || echo yes)
add COMPOSE_PROJECT_NAME bsft
for user in "" COORDINATOR_ WORKER_; do
    add "RABBITMQ_${user}PASSWORD" "$(random)"
    add "REDIS_${user}PASSWORD" "$(random)"
done
if [ -z "$known" ]; then
    # What the coordinator writes belongs to the folder's owner.
    # shellcheck disable=SC2012
    owner=$(ls -ldn "$dir" | awk '{ print $3 ":" $4 }')
    add BSFT_DIR "$dir"
    add BSFT_UID "${owner%:*}"
    add BSFT_GID "${owner#*:}"
    if [ "${owner%:*}" = 0 ]; then
        echo "$dir belongs to root, so the coordinator will run as root in its container; give it to another user and" \
            "that user's id to BSFT_UID and BSFT_GID in .env to have it otherwise"
    fi
fi
echo "$secrets/.env has the passwords${is_new:+, which are new}; jobs are in $(value BSFT_DIR)"

as_link lm.env
[ -s lm.env ] || cat >lm.env <<END
# The LMs' keys, one NAME=value a line, under the names that jobs give as api_key_env. Only the workers have them.
# OPENAI_API_KEY=
END
as_link trainer.env
[ -s trainer.env ] || cat >trainer.env <<END
# What trainers need, one NAME=value a line, under the names in pass_env of trainers.toml. Only the service \`trainer\` has it.
# HF_TOKEN=
END
echo "$secrets/lm.env is for the LMs' keys, trainer.env beside it for what trainers need"
