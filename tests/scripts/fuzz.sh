#!/usr/bin/env bash
# Fuzzes what reads bytes of others, guided by coverage: every target in turn, from the seeds in tests/fuzz/corpus.
#
#   tests/scripts/fuzz.sh SECONDS [TARGET …]    so long for each of the targets; none named: all
#
# What is learnt is kept in target/fuzz/corpus and serves the next run. What breaks a law is left in target/fuzz/found: once it is mended,
# put it into tests/fuzz/corpus/TARGET, where `cargo test` replays it.
set -euo pipefail
cd "$(dirname "$0")/../.."

seconds=$1
shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(identifiers keys requests event_streams usage configuration_deltas client_addresses tokens answers wire_requests)
target=${CARGO_TARGET_DIR:-$PWD/target}
found=$target/fuzz/found
mkdir -p "$found"

# Only this workspace's crates are instrumented: everything else is shared with other builds of programs, which ask for the whole workspace too.
RUSTC_WORKSPACE_WRAPPER=$PWD/tests/fuzz/instrumented \
    cargo build --locked --quiet --workspace --features bailiwick-fuzz/libfuzzer "${targets[@]/#/--bin=}"

fuzz() {
    local name=$1 learnt=$target/fuzz/corpus/$1 log=$target/fuzz/$1.log
    mkdir -p "$learnt"
    # An input that takes longer, or more memory, than these is a finding too.
    if ! "$target/debug/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -print_final_stats=1 \
        -artifact_prefix="$found/$name-" "$learnt" "tests/fuzz/corpus/$name" >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "$name: a law is broken; the input is in $found, everything that was said in $log" >&2
        return 1
    fi
    printf '  %-22s %9s inputs, %s places covered\n' "$name" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" "$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)"
}

# Each on a core of its own.
export -f fuzz
export target found seconds
printf '%s\0' "${targets[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'fuzz "$1"' fuzz
