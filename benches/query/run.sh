#!/usr/bin/env bash
# Measures governed queries beside their peers: sets the peers up, runs `cargo bench --bench query`, removes it all.
#
#   benches/query/run.sh [PART]..        # tpch, consent, groups, small, export; without a word all of them
#
# DuckDB and the generator of TPC-H come from PyPI, PostgreSQL is the one that is installed; what is missing is left out
# and said so. ODH_BENCH_DIR is where everything goes (3 GB, 6 with the 60 million rows); it is kept for the next run if
# it is named. Ratios are of one run with its ways in turn, so other work on the machine counts little, but it counts.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
if [[ -n ${ODH_BENCH_DIR:-} ]]; then
    dir=$ODH_BENCH_DIR
    mkdir -p "$dir"
else
    dir=$(mktemp -d)
fi
server=
finish() {
    if [[ -n $server ]]; then
        exec {hold}>&- || true # the cluster ends, and removes itself, when its standard input closes
        wait "$server" 2>/dev/null || true
    fi
    if [[ -z ${ODH_BENCH_DIR:-} ]]; then rm -rf "$dir"; fi
}
trap finish EXIT

if [[ ! -x $dir/venv/bin/tpchgen-cli ]]; then
    python3 -m venv "$dir/venv"
    "$dir/venv/bin/pip" install --quiet 'duckdb==1.5.*' 'tpchgen-cli==4.*'
fi
if [[ ! -f $dir/tpch/lineitem.parquet ]]; then
    "$dir/venv/bin/tpchgen-cli" parquet -s 1 --output-dir="$dir/tpch"
fi
export ODH_BENCH_DATA=$dir ODH_BENCH_PYTHON=$dir/venv/bin/python

if [[ $# -eq 0 || " $* " == *" tpch "* ]]; then
    mkfifo "$dir/hold.$$" "$dir/url.$$"
    # As much memory as a server of PostgreSQL would be given here; nothing of it needs to outlive the bench.
    ODH_TEST_POSTGRES_FSYNC=off ODH_TEST_POSTGRES_BUFFERS=4GB \
        tests/it/harness/postgres.sh <"$dir/hold.$$" >"$dir/url.$$" &
    server=$!
    exec {hold}>"$dir/hold.$$"
    if IFS= read -r url <"$dir/url.$$"; then
        export ODH_BENCH_POSTGRES=$url
    else
        echo "PostgreSQL is not installed: measured without it" >&2
    fi
    rm -f "$dir/hold.$$" "$dir/url.$$"
fi

cargo bench --locked --bench query -- "$@"
