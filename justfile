# The daily commands. `just` lists them; each is also what you would type by hand.

default:
    @just --list --unsorted

# The whole story, on a throw-away hub.
demo *ARGS:
    cargo run -- demo {{ARGS}}

# Everything that must pass, on SQLite and, if a server is found, on PostgreSQL.
test *ARGS:
    cargo test {{ARGS}}

# The fast part of what CI checks.
check:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    cargo test --test it layering

# Formats the code.
fmt:
    cargo fmt

# Everything that CI checks.
ci:
    .ci/run

# The documentation of the crate, private items included.
doc:
    cargo doc --no-deps --document-private-items --open

# A throw-away PostgreSQL; prints its URL and lives until you press Ctrl-D.
postgres:
    tests/it/harness/postgres.sh

# Records new migrations as landed. It never touches a line that is there: a landed migration does not change.
seal-migrations:
    cd migrations && touch CHECKSUMS && for f in */*.sql; do grep -qF "  $f" CHECKSUMS || sha256sum "$f" >> CHECKSUMS; done

# The production binary.
release:
    cargo build --release --locked
