//! `odh config`: what the hub can be told, and whether what it is told holds.

use std::{io::Write, path::PathBuf};

use crate::{
    config::{Config, Severity},
    error::{Error, Result},
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
pub fn run(command: &Command, out: &mut dyn Write) -> Result<()> {
    match command {
        Command::Example => write!(out, "{}", Config::example()).map_err(Error::internal),
        Command::Show { file } => {
            let config = Config::read(file.as_deref(), std::env::vars_os())?;
            write!(out, "{}", config.redacted_toml()).map_err(Error::internal)
        }
        Command::Check { file } => {
            let findings = Config::read(file.as_deref(), std::env::vars_os())?.check();
            for finding in &findings {
                let weight = match finding.severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                };
                writeln!(out, "{weight}: {}: {}", finding.key, finding.message).map_err(Error::internal)?;
            }
            match findings.iter().find(|finding| finding.severity == Severity::Error) {
                Some(finding) => Err(Error::invalid(finding.key, &finding.message)),
                None => writeln!(out, "the configuration holds").map_err(Error::internal),
            }
        }
    }
}
