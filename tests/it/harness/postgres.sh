#!/usr/bin/env bash
# A throw-away PostgreSQL cluster for as long as standard input stays open.
#
# Prints one line, the URL of its superuser's database, once it accepts connections. Ends, and removes everything,
# when standard input closes: also when whoever holds it is killed. Exit code 77: no PostgreSQL is installed.
#
# The cluster listens on a loopback port (a password protects it from others on the machine) and on a socket in its
# own directory. It forgets on power loss if ODH_TEST_POSTGRES_FSYNC=off; the hub itself refuses such a server.
set -euo pipefail

bin=
for initdb in /usr/lib/postgresql/*/bin/initdb "$(command -v initdb || true)"; do
    # The last one that exists: PATH before Debian's folder, and there the newest.
    if [[ -x $initdb ]]; then bin=$(dirname "$(readlink -f "$initdb")"); fi
done
[[ -n $bin ]] || exit 77

# Not $TMPDIR: the path of a socket may have 107 bytes, and the other user must be able to reach it.
dir=$(mktemp -d /tmp/odh-postgres.XXXXXX)
server=
# shellcheck disable=SC2317 # called by the trap
finish() {
    trap '' INT TERM HUP
    if [[ -n $server ]]; then
        kill -QUIT "$server" 2>/dev/null || true # immediate shutdown
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$dir"
}
trap finish EXIT
# A signal to the whole process group must not end the cluster before those who use it.
trap '' INT HUP
trap 'exit 1' TERM

as=()
if [[ $(id -u) -eq 0 ]]; then # PostgreSQL refuses to run as root
    user=nobody
    if id postgres >/dev/null 2>&1; then user=postgres; fi
    chown "$user" "$dir"
    as=(setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups)
fi
dies_with_parent=()
if setpriv --pdeathsig QUIT true 2>/dev/null; then dies_with_parent=(setpriv --pdeathsig QUIT); fi

password=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
(umask 077 && printf '%s\n' "$password" >"$dir/password")
if [[ ${#as[@]} -gt 0 ]]; then chown "$user" "$dir/password"; fi

cd "$dir"
# `password`, not SCRAM, between client and server: 4096 rounds of an unoptimised SHA-256 cost more than most tests.
"${as[@]}" "$bin/initdb" -D "$dir/data" -U odh --pwfile="$dir/password" --auth-local=trust --auth-host=password \
    --encoding=UTF8 --locale=C --no-sync >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }

settings=(-c listen_addresses=127.0.0.1 -c "unix_socket_directories=$dir" -c max_connections=300
    -c "shared_buffers=${ODH_TEST_POSTGRES_BUFFERS:-64MB}")
if [[ ${ODH_TEST_POSTGRES_FSYNC:-on} != on ]]; then
    settings+=(-c fsync=off -c synchronous_commit=off -c full_page_writes=off)
fi

for _ in 1 2 3 4 5; do
    # Below the range that the kernel gives to clients. Should somebody take it first, the next round has another.
    port=$((15000 + RANDOM % 15000))
    "${as[@]}" "${dies_with_parent[@]}" "$bin/postgres" -D "$dir/data" -p "$port" "${settings[@]}" \
        >"$dir/server.log" 2>&1 </dev/null &
    server=$!
    for _ in $(seq 600); do
        kill -0 "$server" 2>/dev/null || break
        if "$bin/pg_isready" -q -h "$dir" -p "$port"; then
            echo "postgres://odh:$password@127.0.0.1:$port/postgres"
            cat >/dev/null # until standard input closes
            exit 0
        fi
        sleep 0.05
    done
    kill -QUIT "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=
done
cat "$dir/server.log" >&2
exit 1
