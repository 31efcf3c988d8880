#!/bin/sh
# Once before the first `docker compose up`: deploy/setup.sh [DIR]
#
# DIR is the folder with your jobs, in which `runs` will be written; by default the repository. Writes deploy/.env with random
# passwords and deploy/lm.env for the LMs' keys. Only you can read them, and existing files are never changed.
set -eu
case ${1:-} in
-*)
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
dir=$(cd "${1:-$(dirname "$0")/..}" && pwd)
cd "$(dirname "$0")"
umask 077

random() { od -An -tx1 -N24 /dev/urandom | tr -d ' \n'; }

if [ -e .env ]; then
    echo "$PWD/.env is there already and stays as it is; jobs are in $(sed -n 's/^BSFT_DIR=//p' .env)"
else
    # What the coordinator writes belongs to the folder's owner.
    # shellcheck disable=SC2012
    owner=$(ls -ldn "$dir" | awk '{ print $3 ":" $4 }')
    # Complete, or not there.
    cat >.env.tmp <<END
COMPOSE_PROJECT_NAME=bsft
RABBITMQ_PASSWORD=$(random)
REDIS_PASSWORD=$(random)
BSFT_DIR=$dir
BSFT_UID=${owner%:*}
BSFT_GID=${owner#*:}
END
    mv .env.tmp .env
    echo "wrote $PWD/.env: random passwords, and jobs in $dir"
    if [ "${owner%:*}" = 0 ]; then
        echo "$dir belongs to root, so the coordinator will run as root in its container; give it to another user and" \
            "that user's id to BSFT_UID and BSFT_GID in .env to have it otherwise"
    fi
fi
if [ ! -e lm.env ]; then
    cat >lm.env <<END
# The LMs' keys, one NAME=value a line, under the names that jobs give as api_key_env. Only the workers have them.
# OPENAI_API_KEY=
END
    echo "wrote $PWD/lm.env: the LMs' keys go there"
fi
