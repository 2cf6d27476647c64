//! Contexts, as kubectl has them: which hub is meant, and as whom.

mod store;

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

pub use store::{Context, Contexts, check_name};

use super::{
    Session,
    client::Target,
    env::Env,
    failure::Failure,
    files,
    output::{Column, Format},
};

const COLUMNS: &[Column] = &[
    Column::new("CURRENT", "/current"),
    Column::new("NAME", "/name"),
    Column::new("HUB", "/hub"),
    Column::new("PARTICIPANT", "/participant"),
    Column::new("MEMBER", "/member"),
];

/// Which hubs you use, and as whom.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the contexts.
    List,
    /// Make a context the current one.
    Use {
        /// Its name.
        name: String,
    },
    /// Show a context, the current one if none is named.
    Show {
        /// Its name.
        name: Option<String>,
    },
    /// Add a context for a certificate that you have already, or change one.
    Add {
        /// Its name.
        name: String,
        /// The hub's gRPC address, https://HOST:PORT.
        #[arg(long)]
        hub: String,
        /// File of the hub's authority, PEM.
        #[arg(long, value_name = "FILE")]
        ca: PathBuf,
        /// File of your certificate chain, PEM.
        #[arg(long, value_name = "FILE", requires = "key")]
        cert: Option<PathBuf>,
        /// File of your private key, PEM.
        #[arg(long, value_name = "FILE", requires = "cert")]
        key: Option<PathBuf>,
        /// Id of your participant.
        #[arg(long)]
        participant: Option<String>,
        /// Your member id, a UUID.
        #[arg(long)]
        member: Option<String>,
    },
    /// Remove a context. Its files stay.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Runs `odh context`.
pub fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let home = session.env.home()?;
    let mut contexts = Contexts::load(&home)?;
    match args.command {
        Command::List => {
            let rows: Vec<_> = contexts
                .contexts
                .iter()
                .map(|(name, context)| {
                    let current = contexts.current.as_ref() == Some(name);
                    let mark = match session.out.format {
                        Format::Table => json!(if current { "*" } else { "" }),
                        _ => json!(current),
                    };
                    json!({"current": mark, "name": name, "hub": context.hub, "participant": context.participant,
                           "member": context.member})
                })
                .collect();
            // Quiet shows the first column, which should be the name.
            let columns = if session.out.quiet { COLUMNS.get(1..).unwrap_or_default() } else { COLUMNS };
            session.out.rows(&rows, columns)
        }
        Command::Use { name } => {
            contexts.get(&name)?;
            contexts.current = Some(name.clone());
            contexts.save(&home)?;
            session.out.say(format!("`{name}` is the current context"), format!("`{name}` est le contexte courant"));
            Ok(())
        }
        Command::Show { name } => {
            let name = name.or_else(|| chosen(session.context, session.env, &contexts)).ok_or_else(none_chosen)?;
            let mut json = serde_json::to_value(contexts.get(&name)?).map_err(|e| Failure::protocol(&e.to_string()))?;
            json["name"] = name.into();
            session.out.object(&json)
        }
        Command::Add { name, hub, ca, cert, key, participant, member } => {
            check_name(&name)?;
            let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|e| Failure::file(&path, &e));
            let hub = Target::new(&hub, "").hub().to_owned();
            let (cert, key) = (cert.map(absolute).transpose()?, key.map(absolute).transpose()?);
            let context = Context { hub, ca: absolute(ca)?, cert, key, participant, member };
            // Fails here and now if a file is missing.
            target(&context, &home)?;
            contexts.contexts.insert(name.clone(), context);
            contexts.current.get_or_insert(name);
            contexts.save(&home)
        }
        Command::Remove { name } => {
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            if contexts.current.as_ref() == Some(&name) {
                contexts.current = None;
            }
            contexts.save(&home)
        }
    }
}

/// The context that is meant: what the environment says of it stands above what the file says.
///
/// `ODH_GRPC`, `ODH_CA`, `ODH_CERT` and `ODH_KEY` replace its parts; with the first two no file is needed.
pub fn resolve(flag: Option<&str>, env: &Env) -> Result<Context, Failure> {
    // Paths of the environment start where the user stands, not at the folder of contexts.
    let from_env = |name: &str| env.get(name).map(|path| std::path::absolute(path).unwrap_or_else(|_| path.into()));
    let whole = env.get("ODH_GRPC").is_some() && env.get("ODH_CA").is_some();
    let named = flag.or_else(|| env.get("ODH_CONTEXT"));
    let mut context = if whole && named.is_none() {
        Context::default()
    } else {
        let contexts = Contexts::load(&env.home()?)?;
        let name = chosen(flag, env, &contexts).ok_or_else(none_chosen)?;
        contexts.get(&name)?.clone()
    };
    if let Some(hub) = env.get("ODH_GRPC") {
        hub.clone_into(&mut context.hub);
    }
    if let Some(ca) = from_env("ODH_CA") {
        context.ca = ca;
    }
    if let (Some(cert), Some(key)) = (from_env("ODH_CERT"), from_env("ODH_KEY")) {
        context.cert = Some(cert);
        context.key = Some(key);
        // The context's own are those of another certificate.
        (context.participant, context.member) = (None, None);
    } else if env.get("ODH_CERT").is_some() != env.get("ODH_KEY").is_some() {
        return Err(Failure::usage("set both ODH_CERT and ODH_KEY", "définissez ODH_CERT et ODH_KEY ensemble"));
    }
    Ok(context)
}

/// Reads the files of a context.
pub fn target(context: &Context, home: &Path) -> Result<Target, Failure> {
    let target = Target::new(&context.hub, &files::read_text(&home.join(&context.ca))?);
    match (&context.cert, &context.key) {
        (Some(cert), Some(key)) => {
            let (chain, key) = (files::read_text(&home.join(cert))?, files::read_text(&home.join(key))?);
            Ok(target.with_certificate(chain, key))
        }
        _ => Ok(target),
    }
}

pub(super) fn chosen(flag: Option<&str>, env: &Env, contexts: &Contexts) -> Option<String> {
    flag.or_else(|| env.get("ODH_CONTEXT")).map(str::to_owned).or_else(|| contexts.current.clone())
}

pub(super) fn none_chosen() -> Failure {
    Failure::usage(
        "no context is chosen: `odh enroll` makes one, `odh context use NAME` chooses one",
        "aucun contexte n'est choisi : `odh enroll` en crée un, `odh context use NOM` en choisit un",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(current: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let context = |name: &str| {
            let context = Context {
                hub: format!("https://{name}.example"),
                ca: "ca.pem".into(),
                cert: Some("cert.pem".into()),
                key: Some("key.pem".into()),
                participant: Some(name.to_owned()),
                member: None,
            };
            (name.to_owned(), context)
        };
        let contexts = [context("chu"), context("lab")].into();
        Contexts { current: current.map(str::to_owned), contexts }.save(folder.path()).unwrap();
        folder
    }

    fn hub(current: Option<&str>, flag: Option<&str>, vars: &[(&str, &str)]) -> Result<Context, Failure> {
        let folder = home(current);
        let dir = folder.path().to_str().unwrap();
        resolve(flag, &Env::of(vars.iter().copied().chain([("ODH_HOME", dir)])))
    }

    #[test]
    fn flag_then_variable_then_current_decides() {
        let name = |context: Result<Context, Failure>| context.unwrap().participant.unwrap();
        let var = [("ODH_CONTEXT", "lab")];
        assert_eq!(name(hub(Some("lab"), Some("chu"), &var)), "chu");
        assert_eq!(name(hub(Some("chu"), None, &var)), "lab");
        assert_eq!(name(hub(Some("chu"), None, &[])), "chu");
        assert!(hub(None, None, &[]).unwrap_err().to_string().contains("no context is chosen"));
        assert!(hub(None, Some("x"), &[]).unwrap_err().to_string().contains("there are: chu, lab"));
    }

    #[test]
    fn variables_replace_parts_and_need_no_file_if_they_say_enough() {
        let context = hub(Some("chu"), None, &[("ODH_GRPC", "https://other")]).unwrap();
        assert_eq!((context.hub.as_str(), context.participant.as_deref()), ("https://other", Some("chu")));
        let identity = [("ODH_CERT", "/c"), ("ODH_KEY", "/k")];
        let context = hub(Some("chu"), None, &identity).unwrap();
        assert_eq!((context.cert.unwrap(), context.participant), (PathBuf::from("/c"), None));
        let alone = Env::of([("ODH_GRPC", "https://h"), ("ODH_CA", "/ca")]);
        assert_eq!(resolve(None, &alone).unwrap().hub, "https://h");
        assert!(hub(Some("chu"), None, &identity[..1]).unwrap_err().to_string().contains("ODH_KEY"));
    }

    #[test]
    fn a_path_of_the_environment_starts_where_the_user_stands() {
        let context = resolve(None, &Env::of([("ODH_GRPC", "h"), ("ODH_CA", "ca.pem")])).unwrap();
        assert_eq!(context.ca, std::env::current_dir().unwrap().join("ca.pem"));
    }

    #[test]
    fn a_file_of_a_context_that_is_missing_is_named() {
        let context = Context { hub: "h".to_owned(), ca: "chu/ca.pem".into(), ..Context::default() };
        let failure = target(&context, Path::new("/contexts")).unwrap_err();
        assert!(failure.to_string().contains("`/contexts/chu/ca.pem`"));
    }
}
