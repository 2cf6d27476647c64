//! Verification by somebody else: this program once more, as a process of its own that has files and public keys only.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
    process::{Command, Stdio},
};

use super::stage::{Stage, expect, surprise};
use crate::cli::failure::{Exit, Failure};

/// A grant is genuine.
pub(super) async fn verify_grant(stage: &mut Stage<'_>, keys: &Path, form: &Path, hub: &str) -> Result<(), Failure> {
    let told = odh(&grant(keys, form, hub), Exit::Ok).await?;
    stage.done("anybody", "odh grant verify, with the public keys and no identity:")?;
    stage.block(&told.last())
}

/// A grant is not genuine.
pub(super) async fn refuse_grant(stage: &mut Stage<'_>, keys: &Path, form: &Path, hub: &str) -> Result<(), Failure> {
    let told = odh(&grant(keys, form, hub), Exit::Unverified).await?;
    stage.unverified("anybody", "the same grant, rewritten for somebody else", &told.last())
}

/// An export of the log is genuine.
pub(super) async fn verify_export(stage: &mut Stage<'_>, folder: &Path, key: &Path) -> Result<(), Failure> {
    let told = odh(&export(folder, key), Exit::Ok).await?;
    stage.done("anybody", "odh audit verify, with the export and the log's public key alone:")?;
    stage.block(&told.all())
}

/// An export is not genuine, and the entry that is to blame is named.
pub(super) async fn refuse_export(stage: &mut Stage<'_>, folder: &Path, key: &Path, index: u64) -> Result<(), Failure> {
    let told = odh(&export(folder, key), Exit::Unverified).await?;
    let named = told.all().contains(&format!("entry {index} "));
    expect(named, format_args!("entry {index} to be named, not: {}", told.all()))?;
    stage.unverified("anybody", &format!("a copy with one byte changed in entry {index}"), &told.last())
}

fn grant<'a>(keys: &'a Path, form: &'a Path, hub: &'a str) -> [&'a OsStr; 7] {
    let word = OsStr::new;
    [word("grant"), word("verify"), form.as_os_str(), word("--jwks"), keys.as_os_str(), word("--hub"), word(hub)]
}

fn export<'a>(folder: &'a Path, key: &'a Path) -> [&'a OsStr; 5] {
    let word = OsStr::new;
    [word("audit"), word("verify"), folder.as_os_str(), word("--key"), key.as_os_str()]
}

/// What the other process said.
struct Told {
    stdout: String,
    stderr: String,
}

impl Told {
    /// Its last line.
    fn last(&self) -> String {
        self.all().lines().last().unwrap_or_default().to_owned()
    }

    fn all(&self) -> String {
        format!("{}\n{}", self.stdout.trim_end(), self.stderr.trim_end()).trim().to_owned()
    }
}

/// Runs `odh` with these arguments, in English and without anything of this process's environment. It must end so.
async fn odh(arguments: &[&OsStr], expected: Exit) -> Result<Told, Failure> {
    let program = std::env::current_exe().map_err(surprise)?;
    let mut command = Command::new(program);
    command.args(arguments.iter().map(|argument| OsString::from(*argument))).env_clear().stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.map_err(surprise)?.map_err(surprise)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let told = Told { stdout: text(&output.stdout), stderr: text(&output.stderr) };
    let code = output.status.code();
    let shown = arguments.iter().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let wanted = expected as i32;
    expect(code == Some(wanted), format_args!("`odh {shown}` to exit with {wanted}, not {code:?}: {}", told.all()))?;
    expect(!told.all().is_empty(), format_args!("`odh {shown}` to say what it has found"))?;
    Ok(told)
}
