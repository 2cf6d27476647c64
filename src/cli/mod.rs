//! The command line: one file per noun; this one has the tree of commands and ends in an exit code.
//!
//! Results go to standard output, talk and errors to standard error. Commands are thin: they read arguments, make one
//! call (or few) through [`client::Client`] and write the answer through [`output::Out`].

pub mod access;
pub mod audit;
pub mod charter;
mod choices;
pub mod client;
pub mod config;
pub mod consent;
pub mod context;
pub mod dataset;
pub mod demo;
pub mod doctor;
pub mod enroll;
pub mod env;
pub mod failure;
mod files;
pub mod grant;
mod https;
pub mod member;
pub mod names;
pub mod output;
pub mod participant;
pub mod policy;
pub mod query;
pub mod serve;
mod upload;
pub mod witness;

use std::{ffi::OsString, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use futures::future::BoxFuture;
use uuid::Uuid;

use client::Client;
use env::Env;
use failure::{Exit, Failure};
use output::{Format, Out};

use crate::grpc::pb;

const EXIT_CODES: &str = "\
Exit codes: 0 done; 1 refused or failed; 2 the command or its input cannot be used; 3 not found or not permitted; \
4 the hub cannot be reached; 5 something is not genuine.

Environment: ODH_HOME (folder of contexts and keys), ODH_CONTEXT, ODH_GRPC, ODH_CA, ODH_CERT, ODH_KEY, ODH_BEARER; \
LANG=fr speaks French.";

/// Share and cross data under policies, consent and a verifiable audit log.
#[derive(Debug, Parser)]
#[command(name = "odh", version, after_help = EXIT_CODES, arg_required_else_help = true, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// The context to use instead of the current one.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The form of the result.
    #[arg(short, long, global = true, value_enum, default_value_t)]
    output: Format,
    /// Only names and values, no talk.
    #[arg(short, long, global = true)]
    quiet: bool,
    /// A UUID that makes repeating a change safe: under it the hub does it once.
    #[arg(long, global = true, value_name = "UUID")]
    request_id: Option<Uuid>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    /// Show and check the configuration of a hub.
    #[command(subcommand)]
    Config(config::Command),
    Doctor(doctor::Args),
    /// Become a member: makes a key, gets its certificate and stores both as a context, named by --context.
    Enroll(enroll::Args),
    Context(context::Args),
    Participant(participant::Args),
    Member(member::Args),
    Charter(charter::Args),
    #[command(visible_alias = "ds")]
    Dataset(dataset::Args),
    Policy(policy::Args),
    Access(access::Args),
    Grant(grant::Args),
    Consent(consent::Args),
    Query(query::Args),
    Audit(audit::Args),
    Witness(witness::Args),
    /// Print a script that completes commands in your shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Runs the program with these arguments, the first being its name, and the process's own streams and environment.
///
/// The future is boxed, so that the iterator, which need not be `Send`, stays outside.
pub fn run(args: impl IntoIterator<Item = OsString>) -> BoxFuture<'static, ExitCode> {
    let args: Vec<OsString> = args.into_iter().collect();
    Box::pin(async move {
        let env = Env::process();
        let mut out = Out::process(env.lang());
        ExitCode::from(run_with(args, &env, &mut out).await as u8)
    })
}

/// Runs the program with these arguments in this environment; what it writes goes to `out`.
pub async fn run_with(args: Vec<OsString>, env: &Env, out: &mut Out) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(help) => return show_help(&help, out),
    };
    (out.format, out.quiet) = (cli.global.output, cli.global.quiet);
    let request_id = cli.global.request_id.map(|id| id.as_hyphenated().to_string()).unwrap_or_default();
    let mut session = Session { env, out, context: cli.global.context.as_deref(), request_id };
    match dispatch(cli.command, &mut session).await {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            out.fail(&failure);
            failure.exit()
        }
    }
}

/// Each command is boxed: together they would make one very large future.
async fn dispatch(command: Command, session: &mut Session<'_>) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => Box::pin(serve::run(args, session.out)).await,
        Command::Demo(args) => Box::pin(demo::run(args, session.out, session.env)).await,
        Command::Config(command) => config::run(&command, session.out),
        Command::Doctor(args) => Box::pin(doctor::run(&args, session.out)).await,
        Command::Enroll(args) => Box::pin(enroll::run(args, session)).await,
        Command::Context(args) => context::run(args, session),
        Command::Participant(args) => Box::pin(participant::run(args, session)).await,
        Command::Member(args) => Box::pin(member::run(args, session)).await,
        Command::Charter(args) => Box::pin(charter::run(args, session)).await,
        Command::Dataset(args) => Box::pin(dataset::run(args, session)).await,
        Command::Policy(args) => Box::pin(policy::run(args, session)).await,
        Command::Access(args) => Box::pin(access::run(args, session)).await,
        Command::Grant(args) => Box::pin(grant::run(args, session)).await,
        Command::Consent(args) => Box::pin(consent::run(args, session)).await,
        Command::Query(args) => Box::pin(query::run(args, session)).await,
        Command::Audit(args) => Box::pin(audit::run(args, session)).await,
        Command::Witness(args) => Box::pin(witness::run(args, session)).await,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "odh", &mut script);
            session.out.bytes(&script)
        }
    }
}

/// Help and version are answers; anything else that clap says is a misuse.
fn show_help(help: &clap::Error, out: &mut Out) -> Exit {
    let text = help.render();
    if help.use_stderr() {
        out.quiet = false;
        out.say(text.to_string().trim_end(), text.to_string().trim_end());
        return Exit::Usage;
    }
    // A reader that has gone away needs no help.
    let _ = out.line(text.to_string().trim_end());
    Exit::Ok
}

/// What a command has at hand.
#[derive(Debug)]
pub struct Session<'a> {
    /// The environment.
    pub env: &'a Env,
    /// Where it writes.
    pub out: &'a mut Out,
    /// The context that was named on the command line.
    pub context: Option<&'a str>,
    /// The request id of a change; empty if none was given.
    pub request_id: String,
}

impl Session<'_> {
    /// Connects to the hub of the chosen context.
    pub async fn client(&mut self) -> Result<Client, Failure> {
        let context = context::resolve(self.context, self.env)?;
        // Without such a folder every path comes from the environment and is absolute.
        let home = self.env.home().unwrap_or_default();
        if let Some(key) = context.key.as_ref().map(|key| home.join(key)).filter(|key| files::is_exposed(key)) {
            let key = key.display();
            self.out.say(
                format!("warning: others can read the private key `{key}`: chmod 600"),
                format!("attention : d'autres peuvent lire la clé privée `{key}` : chmod 600"),
            );
        }
        let mut target = context::target(&context, &home)?.speaking(self.out.lang);
        if let Some(bearer) = self.env.get("ODH_BEARER") {
            target = target.with_bearer(bearer);
        }
        Client::connect(target).await
    }

    /// The id of the caller's participant: from the context, or as the hub sees the caller.
    pub async fn participant(&self, client: &Client) -> Result<String, Failure> {
        let known = context::resolve(self.context, self.env).ok().and_then(|context| context.participant);
        if let Some(participant) = known {
            return Ok(participant);
        }
        let response = client.participants().who_am_i(pb::WhoAmIRequest {}).await?.into_inner();
        let participant = response.participant.ok_or_else(|| Failure::protocol("it lacks the participant"))?;
        Ok(names::short(&participant.name))
    }

    /// Says that a list was cut.
    pub fn more(&mut self, more: bool) {
        if more {
            self.out.say("there is more: raise --limit", "il y en a d'autres : augmentez --limit");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn odh(args: &[&str], vars: &[(&str, &str)]) -> (Exit, String, String) {
        let env = Env::of(vars.iter().copied());
        let (mut out, stdout, stderr) = Out::captured(env.lang());
        let args = std::iter::once(&"odh").chain(args).map(OsString::from).collect();
        let exit = run_with(args, &env, &mut out).await;
        (exit, stdout.text(), stderr.text())
    }

    #[test]
    fn the_tree_of_commands_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_argument_has_a_help_text() {
        fn walk(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no help");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{path} {} has no help", argument.get_id());
            }
            command.get_subcommands().filter(|sub| sub.get_name() != "help").for_each(|sub| walk(sub, &path));
        }
        walk(&Cli::command(), "");
    }

    #[tokio::test]
    async fn misuse_is_told_on_standard_error_with_its_exit_code() {
        let (exit, stdout, stderr) = odh(&["dataset", "shwo"], &[]).await;
        assert_eq!((exit, stdout.as_str()), (Exit::Usage, ""));
        assert!(stderr.contains("shwo") && stderr.contains("show"), "{stderr}");
        let (exit, stdout, _) = odh(&["--help"], &[]).await;
        assert_eq!(exit, Exit::Ok);
        assert!(stdout.contains("Exit codes") && stdout.contains("query"), "{stdout}");
    }

    #[tokio::test]
    async fn without_a_context_one_is_told_how_to_get_one_in_ones_language() {
        let folder = tempfile::tempdir().unwrap();
        let vars = [("ODH_HOME", folder.path().to_str().unwrap()), ("LANG", "fr_FR.UTF-8")];
        let (exit, stdout, stderr) = odh(&["dataset", "list"], &vars).await;
        assert_eq!((exit, stdout.as_str()), (Exit::Usage, ""));
        assert!(stderr.starts_with("erreur: aucun contexte n'est choisi"), "{stderr}");
    }

    #[tokio::test]
    async fn contexts_are_added_chosen_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (home, ca) = (folder.path().join("odh"), folder.path().join("ca.pem"));
        std::fs::write(&ca, "pem").unwrap();
        let vars = [("ODH_HOME", home.to_str().unwrap())];
        let ca = ca.to_str().unwrap();
        for name in ["chu", "lab"] {
            let add = ["context", "add", name, "--hub", "hub.example:1", "--ca", ca, "--participant", name];
            assert_eq!(odh(&add, &vars).await.0, Exit::Ok);
        }
        assert_eq!(odh(&["context", "use", "lab"], &vars).await.0, Exit::Ok);
        let (_, stdout, _) = odh(&["context", "list", "-o", "json"], &vars).await;
        let json: serde_json::Value = serde_json::from_str(&stdout).unwrap();
        assert_eq!((&json[1]["name"], &json[1]["current"]), (&"lab".into(), &true.into()));
        assert_eq!(json[0]["hub"], "https://hub.example:1");
        assert_eq!(odh(&["context", "list", "-q"], &vars).await.1, "chu\nlab\n");
        assert_eq!(odh(&["context", "remove", "lab"], &vars).await.0, Exit::Ok);
        let (exit, _, stderr) = odh(&["context", "use", "lab"], &vars).await;
        assert_eq!(exit, Exit::Usage);
        assert!(stderr.contains("there are: chu"), "{stderr}");
        let (exit, _, stderr) = odh(&["context", "add", "x", "--hub", "h", "--ca", "/nowhere"], &vars).await;
        assert_eq!(exit, Exit::Usage);
        assert!(stderr.contains("`/nowhere`"), "{stderr}");
    }

    #[tokio::test]
    async fn completions_name_the_commands() {
        for shell in ["bash", "zsh", "fish"] {
            assert!(odh(&["completions", shell], &[]).await.1.contains("participant"), "{shell}");
        }
    }
}
