//! The speed of policy decisions, each figure with its bar: `cargo bench --bench policy`.
//!
//! A word on the command line (`-- scale`) runs one part: `hub`, `usage`, `reload`, `publish`, `audited` or `scale`. The last one
//! makes a database of a million datasets, participants and grants in a temporary directory (some 4 GB, a few
//! minutes); `ODH_BENCH_LARGE` is another number of them. `docs/performance.md` has the measured table, and says what
//! the profile `quick` (`cargo bench --profile quick --bench policy`) leaves out.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that cannot go on stops, and prints its figures"
)]

mod audited;
#[path = "../support/caller.rs"]
mod caller;
mod decisions;
mod publish;
mod reload;
mod scale;
#[path = "../support/mod.rs"]
mod support;

use std::process::ExitCode;

use support::Table;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    let mut table = Table::new();
    if runs("hub") {
        decisions::hub(&mut table);
    }
    if runs("usage") {
        decisions::usage(&mut table);
    }
    if runs("reload") {
        reload::measure(&mut table);
    }
    if runs("publish") {
        publish::measure(&mut table);
    }
    if runs("audited") {
        audited::measure(&mut table);
    }
    if runs("scale") {
        scale::measure(&mut table);
    }
    table.finish("Policy decisions", "CPU time")
}
