#!/usr/bin/env bash
# The alert rules, their tests, the example configuration and the dashboard's queries, read by promtool; and all of them held against the
# metrics that bsft has. Without promtool (Debian's package of that name, or `prometheus`; fetched, not installed) only the last, and it prints SKIPPED.
set -euo pipefail
cd "$(dirname "$0")/../.."

at="${CARGO_TARGET_DIR:-$PWD/target}/prometheus"
mkdir -p "$at"
python3 tests/deploy/monitoring.py --queries "$at/queries.yml" "$@"

promtool=$(command -v promtool || true)
if [ -z "$promtool" ] && [ ! -x "$at/usr/bin/promtool" ] && command -v apt-get >/dev/null; then
    # Before Debian 13 it was a part of prometheus.
    fetch() {
        local package
        for package in promtool prometheus; do
            if (cd "$at" && apt-get -qq download "$package" && dpkg-deb -x "$package"_*.deb . && rm "$package"_*.deb) 2>/dev/null; then
                return 0
            fi
        done
        return 1
    }
    echo "fetching promtool by apt into $at (nothing is installed)"
    fetch || { [ "$(id -u)" -eq 0 ] && apt-get update -qq && fetch; } || true
fi
promtool=${promtool:-$at/usr/bin/promtool}
if [ ! -x "$promtool" ]; then
    echo "SKIPPED: the alert rules were not tried (no promtool, and no package to take it from)"
    exit 0
fi

# The output of a check that fails.
quietly() { "$@" >"$at/log" 2>&1 || { cat "$at/log"; return 1; }; }
quietly "$promtool" check rules deploy/prometheus/alerts.yml
quietly "$promtool" check rules "$at/queries.yml"
quietly "$promtool" check config deploy/prometheus/prometheus.yml
quietly "$promtool" test rules tests/deploy/alerts.test.yml
echo "$("$promtool" --version 2>&1 | sed -n 's/^\(promtool, version [^ ]*\).*/\1/p'): rules, their tests, configuration and queries pass"
