#!/usr/bin/env bash
# Real clients of Flight SQL against a real hub: ADBC, pyarrow and JDBC, then each example of docs/clients.md as it
# stands there. Installs what it needs, takes some minutes at most, and leaves no process.
#
# The hub is the demo's (`odh demo --serve`), of the binary named by ODH or built here.
set -euo pipefail
cd "$(dirname "$0")/../.."

JDBC=18.3.0
target=${CARGO_TARGET_DIR:-$PWD/target}
tools=$target/ci-tools/clients
jar=$tools/flight-sql-jdbc-driver-$JDBC.jar
work=$(mktemp -d)
demo=

# shellcheck disable=SC2317 # called by the trap
finish() {
    local status=$?
    if [[ -n $demo ]]; then
        kill "$demo" 2>/dev/null || true
        wait "$demo" 2>/dev/null || true
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT TERM

install_tools() {
    local missing=()
    python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    command -v javac >/dev/null || missing+=(openjdk-17-jdk-headless)
    [[ -e $jar ]] || command -v mvn >/dev/null || missing+=(maven)
    if [[ ${#missing[@]} -gt 0 ]]; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    fi
    mkdir -p "$tools"
    if ! cmp -s tests/clients/requirements.txt "$tools/requirements.txt"; then
        rm -rf "$tools/venv"
        python3 -m venv "$tools/venv"
        "$tools/venv/bin/pip" install --quiet --requirement tests/clients/requirements.txt
        cp tests/clients/requirements.txt "$tools/requirements.txt"
    fi
    [[ -e $jar ]] || mvn --batch-mode --quiet dependency:copy \
        "-Dartifact=org.apache.arrow:flight-sql-jdbc-driver:$JDBC" "-DoutputDirectory=$tools"
}

start_demo() {
    local odh=${ODH:-}
    if [[ -z $odh ]]; then
        cargo build --locked --quiet
        odh=$target/debug/odh
    fi
    "$odh" demo --serve --rows 20000 --dir "$work/demo" >"$work/demo.log" 2>&1 &
    demo=$!
    # The file is written at once and last; its end says that it is whole.
    for ((waited = 0; waited < 300; waited++)); do
        if [[ -s $work/demo/demo.json ]] && python3 -m json.tool "$work/demo/demo.json" >/dev/null 2>&1; then return; fi
        if ! kill -0 "$demo" 2>/dev/null; then break; fi
        sleep 1
    done
    cat "$work/demo.log"
    echo "the demo hub did not start"
    return 1
}

java_client() { # FILE ARGUMENTS...
    # The driver logs refusals that are expected; what it says of them is in the refusal as well.
    printf 'handlers=\n' >"$work/logging.properties"
    timeout 300 java --add-opens=java.base/java.nio=ALL-UNNAMED \
        "-Djava.util.logging.config.file=$work/logging.properties" -cp "$jar" "$@"
}

# What the examples read, of the persona that queries.
export_example() {
    eval "$("$tools/venv/bin/python" - "$work/demo/demo.json" <<'PYTHON'
import json, shlex, sys
demo = json.load(open(sys.argv[1]))
labo = demo["personas"]["labo"]
address = demo["grpc"].removeprefix("https://")
for name, value in {"ODH_HUB": address, "ODH_CA": demo["ca"], "ODH_CERT": labo["cert"], "ODH_KEY": labo["key"],
                    "ODH_TOKEN": labo["bearer"]}.items():
    print(f"export {name}={shlex.quote(value)}")
PYTHON
    )"
}

# Every fenced block of docs/clients.md that is marked `run`, as a file of its own.
examples() {
    mkdir -p "$work/examples"
    awk -v dir="$work/examples" '
        /^```/ && !inside { inside = 1; file = ""; if ($3 == "run") file = dir "/" ++n "_" $2 "." ($1 ~ /java/ ? "java" : "py"); next }
        /^```/ { inside = 0; file = ""; next }
        inside && file { print > file }
    ' docs/clients.md
    local file found=0
    for file in "$work/examples"/*; do
        found=$((found + 1))
        echo "--- $(basename "$file")"
        case $file in
            *.java) java_client "$file" ;;
            *) timeout 120 "$tools/venv/bin/python" "$file" ;;
        esac
    done
    [[ $found -ge 5 ]] || { echo "docs/clients.md has only $found examples"; return 1; }
    echo "$found examples of docs/clients.md ran"
}

install_tools
start_demo
timeout 300 "$tools/venv/bin/python" tests/clients/adbc_client.py "$work/demo/demo.json"
timeout 300 "$tools/venv/bin/python" tests/clients/pyarrow_client.py "$work/demo/demo.json"
"$tools/venv/bin/python" tests/clients/properties.py "$work/demo/demo.json" >"$work/demo.properties"
java_client tests/clients/JdbcClient.java "$work/demo.properties"
export_example
examples
