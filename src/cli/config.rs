//! `odh config`: what the hub can be told, and whether what it is told holds.

use std::path::PathBuf;

use super::{failure::Failure, output::Out};
use crate::{
    config::{Config, Severity},
    error::Error,
};

/// Show and check the configuration.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the default configuration, commented.
    Example,
    /// Check a file together with the environment.
    Check {
        /// The file; without one the defaults and the environment are checked.
        #[arg(env = "ODH_CONFIG", value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Print the configuration in effect, secrets replaced.
    Show {
        /// The file; without one the defaults and the environment are shown.
        #[arg(env = "ODH_CONFIG", value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Runs the command; an error finding of `check` is a failure.
pub(super) fn run(command: &Command, out: &mut Out) -> Result<(), Failure> {
    match command {
        Command::Example => out.bytes(Config::example().as_bytes()),
        Command::Show { file } => {
            let config = Config::read(file.as_deref(), std::env::vars_os())?;
            out.bytes(config.redacted_toml().as_bytes())
        }
        Command::Check { file } => {
            let findings = Config::read(file.as_deref(), std::env::vars_os())?.check();
            for finding in &findings {
                let weight = match finding.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                };
                out.line(format_args!("{weight}: {}: {}", finding.key, finding.message))?;
            }
            match findings.iter().find(|finding| finding.severity == Severity::Error) {
                Some(finding) => Err(Error::invalid(finding.key, &finding.message).into()),
                None => out.line("the configuration holds"),
            }
        }
    }
}
