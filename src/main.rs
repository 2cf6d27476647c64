//! The `odh` program: runs the command line on a multi-threaded runtime and ends with its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic's message can hold values of a query or an upload: the place is enough to find its cause.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
        eprintln!("odh: a panic at {place}: this is a defect of the program");
    }));
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return ExitCode::FAILURE;
    };
    let arguments: Vec<_> = std::env::args_os().collect();
    runtime.block_on(odh::cli::run(arguments))
}
