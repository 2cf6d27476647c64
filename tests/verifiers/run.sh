#!/usr/bin/env bash
# Runs two verifiers that others wrote on logs that the real server makes: golang.org/x/mod/sumdb/{note,tlog} and, from
# PyPI, tlog-scales. Installs what is missing; what it builds lies in the target directory.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=${CARGO_TARGET_DIR:-$PWD/target}/verifiers
mkdir -p "$tools"

if ! command -v go >/dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends golang-go
fi
(cd tests/verifiers/go && go build -mod=readonly -o "$tools/verify" .)

# The newest Python there is; tlog-scales needs 3.11.
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends python3 python3-venv
fi
if ! cmp -s tests/verifiers/python/requirements.txt "$tools/python/requirements.txt"; then
    rm -rf "$tools/python"
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check -r tests/verifiers/python/requirements.txt
    cp tests/verifiers/python/requirements.txt "$tools/python/"
fi

ODH_VERIFIER_GO=$tools/verify
ODH_VERIFIER_PYTHON="$tools/python/bin/python $PWD/tests/verifiers/python/verify.py"
export ODH_VERIFIER_GO ODH_VERIFIER_PYTHON
cargo test --locked --test it verifiers::foreign -- --ignored --nocapture --test-threads=1
