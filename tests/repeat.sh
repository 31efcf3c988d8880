#!/usr/bin/env bash
# Shows that the tests are stable: builds once, then runs them again and again, without retries, and prints one line per round.
#
#   tests/repeat.sh                                  one round of all tests
#   tests/repeat.sh --times 5                        five rounds
#   tests/repeat.sh --busy 4                         beside four processes that use all the CPU time they get
#   tests/repeat.sh --one-core                       on the first core alone
#   tests/repeat.sh --only-waiting --times 20        only tests that start a process, talk to a server or wait for something
#   tests/repeat.sh --threads 4 -- -E 'test(/drain/)'   another number of tests at once, and any arguments of cargo nextest run
#
# It covers what tests/run.sh runs by cargo-nextest, and nothing else: no lints, no documentation, no docker. The output of round N is
# in target/repeat/N.log. The exit code is 1 if a test failed in any round.
set -euo pipefail
cd "$(dirname "$0")/.."

# Integration tests, and the unit tests that start a process, open a connection or run on a clock.
waiting='binary(system) | test(/^account::|^finetune::command::|^finetune::http::|^lm::openai::|^telemetry::|^worker::|^metrics::|^broker::|^store::|^coordinator::/)'

usage() {
    sed -n 's/^#   //p' "$0" >&2
    exit 2
}
times=1 busy=0 threads=$(($(nproc) * 2)) arguments=() one_core=
while [ $# -gt 0 ]; do
    case $1 in
    --times) times=${2:?}; shift ;;
    --busy) busy=${2:?}; shift ;;
    --threads) threads=${2:?}; shift ;;
    --one-core) one_core=yes ;;
    --only-waiting) arguments+=(-E "$waiting") ;;
    --) shift; arguments+=("$@"); break ;;
    *) usage ;;
    esac
    shift
done
cargo nextest --version >/dev/null 2>&1 || { echo "missing: cargo-nextest (cargo install cargo-nextest --locked)" >&2; exit 1; }

cargo nextest run --workspace --no-run --cargo-quiet
# What is started from here on stays there.
[ -z "$one_core" ] || taskset -cp 0 $$ >/dev/null

stop_broker() { :; }
spinning=()
leave() {
    [ ${#spinning[@]} -eq 0 ] || kill "${spinning[@]}" 2>/dev/null || true
    stop_broker
}
trap leave EXIT
. tests/support/broker.sh
for _ in $(seq "$busy"); do
    (while :; do :; done) &
    spinning+=($!)
done

logs="${CARGO_TARGET_DIR:-target}/repeat"
mkdir -p "$logs"
rm -f "$logs"/*.log
failed=0
for round in $(seq "$times"); do
    log=$logs/$round.log began=$SECONDS
    cargo nextest run --workspace --no-fail-fast --retries 0 --test-threads "$threads" --status-level fail --final-status-level fail \
        --cargo-quiet "${arguments[@]}" >"$log" 2>&1 || failed=1
    summary=$(sed -n 's/.*Summary \[ *[0-9.]*s\] *[0-9/]* tests run: *//p' "$log" | tail -n 1)
    printf 'round %d of %d: %s, %d s\n' "$round" "$times" "${summary:-did not run, see $log}" $((SECONDS - began))
    sed -nE 's/^ *(FAIL|SIGABRT|SIGSEGV|TIMEOUT|LEAK) *\[[^]]*\] *(\( *[0-9]+\/[0-9]+\))? */    failed: /p' "$log" | sort -u
done
exit $failed
