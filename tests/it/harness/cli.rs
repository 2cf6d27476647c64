//! The command line in this process, without anything of its environment.

use odh::cli::{
    env::{Env, Lang},
    failure::Exit,
    output::Out,
    run_with,
};

/// Runs `odh` with these arguments, in English: its exit code and all that it says.
pub(crate) async fn odh(args: &[&str]) -> (Exit, String) {
    let (mut out, stdout, stderr) = Out::captured(Lang::En);
    let args = std::iter::once("odh").chain(args.iter().copied()).map(Into::into).collect();
    let exit = run_with(args, &Env::of([]), &mut out).await;
    (exit, format!("{}{}", stdout.text(), stderr.text()))
}
