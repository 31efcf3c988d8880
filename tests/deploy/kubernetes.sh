#!/usr/bin/env bash
# deploy/docker-compose.yml against the operators' notes, and deploy/kubernetes against Kubernetes' published schemas, and against the programs that they start. Takes kubernetes-validate from PyPI,
# which brings the schemas; without it nothing is checked, and it prints SKIPPED. KEDA's and the Prometheus operator's schemas are in no registry.
set -euo pipefail
cd "$(dirname "$0")/../.."

tool=kubernetes-validate==1.37.0
target="${CARGO_TARGET_DIR:-$PWD/target}"
venv="$target/kubernetes-venv"
is_there() { "$venv/bin/python" -c 'import importlib.metadata as m, sys; sys.exit(m.version("kubernetes-validate") != "1.37.0")' 2>/dev/null; }
if ! is_there; then
    echo "installing by pip into $venv: $tool"
    { python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet --retries 1 --timeout 20 \
        --disable-pip-version-check --no-input "$tool"; } || true
fi
if ! is_there; then
    echo "SKIPPED: deploy/kubernetes was not checked ($tool could not be installed)"
    exit 0
fi
"$venv/bin/python" tests/deploy/compose.py
exec "$venv/bin/python" tests/deploy/kubernetes.py --programs "$target/debug"
