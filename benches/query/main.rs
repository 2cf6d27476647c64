//! What governance costs a query, each figure with its bar: `benches/query/run.sh`, or `cargo bench --bench query`.
//!
//! A word on the command line runs one part: `tpch`, `consent`, `groups`, `small` or `export`. `ODH_BENCH_DATA` is a
//! directory with the Parquet files of TPC-H in `tpch/`, where everything else is put, too, and removed at the end.
//! With `ODH_BENCH_PYTHON` (a Python that has DuckDB) and `ODH_BENCH_POSTGRES` (the URL of an empty database) other
//! engines run beside. `run.sh` sets all of that up. Answers are compared before anything is timed, ways alternate A B
//! B A in one run, and figures are medians on the clock, so that a ratio means more than a time.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and prints its figures"
)]

#[path = "../support/caller.rs"]
mod caller;
mod consent;
mod export;
mod groups;
mod harness;
#[expect(dead_code, unused_imports, reason = "the personas of the integration suite, of whom the bench needs a few")]
#[path = "../../tests/it/personas/mod.rs"]
mod personas;
mod rows;
mod small;
#[expect(dead_code, reason = "shared with the other benches")]
#[path = "../support/mod.rs"]
mod support;
mod timing;
mod tpch;

use std::{path::PathBuf, process::ExitCode};

use support::Table;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    let data = std::env::var_os("ODH_BENCH_DATA").map(PathBuf::from).expect("ODH_BENCH_DATA, as run.sh sets it");
    // As many threads as the engine has of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut table = Table::new();
    runtime.block_on(async {
        if runs("tpch") {
            Box::pin(tpch::measure(&mut table, &data)).await;
        }
        if runs("consent") {
            Box::pin(consent::measure(&mut table, &data)).await;
        }
        if runs("groups") {
            Box::pin(groups::measure(&mut table, &data)).await;
        }
        if runs("small") {
            Box::pin(small::measure(&mut table, &data)).await;
        }
        if runs("export") {
            Box::pin(export::measure(&mut table, &data)).await;
        }
    });
    table.finish("Governed queries", "medians on the clock")
}
