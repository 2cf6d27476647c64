//! `odh doctor`: looks at everything a hub needs on this machine before it is started, and says what to do.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{failure::Failure, output::Out};
use crate::{
    config::{Config, Severity},
    domain::SystemClock,
    error::{Error, Reason},
    store::{Store, StoreConfig, WriterConfig, WriterMetrics},
    trust::KeyStore,
};

/// Check that this machine is fit to run the hub.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without one the defaults hold.
    #[arg(long, env = "ODH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Prints one line per check; fails if one failed.
pub(super) async fn run(args: &Args, out: &mut Out) -> Result<(), Failure> {
    let config = Config::read(args.config.as_deref(), std::env::vars_os())?;
    let mut checks = vec![
        ("configuration", configuration(&config)),
        ("data directory", data_directory(&config.data_dir)),
        ("keys", keys(&config)),
    ];
    for (name, address) in [
        ("gRPC address", config.listen.grpc),
        ("HTTPS address", config.listen.https),
        ("ops address", config.listen.ops),
    ] {
        checks.push((
            name,
            TcpListener::bind(address).map(|_| address.to_string()).map_err(|e| format!("{address}: {e}")),
        ));
    }
    checks.push(("database", database(&config).await));
    let failures = checks.iter().filter(|(_, found)| found.is_err()).count();
    for (name, found) in checks {
        let (mark, text) = match &found {
            Ok(text) => ("ok  ", text),
            Err(text) => ("FAIL", text),
        };
        out.line(format_args!("{mark} {name}: {text}"))?;
    }
    if failures == 0 {
        Ok(())
    } else {
        Err(Error::new(Reason::StateConflict)
            .with("object", "this machine")
            .with("state", format_args!("not fit: {failures} checks failed"))
            .with("wanted", "fit")
            .into())
    }
}

type Check = std::result::Result<String, String>;

fn configuration(config: &Config) -> Check {
    let findings = config.check();
    let listed = |severity| {
        let of_it = findings.iter().filter(|finding| finding.severity == severity);
        of_it.map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    let errors = listed(Severity::Error);
    if !errors.is_empty() {
        return Err(errors);
    }
    match listed(Severity::Warning) {
        none if none.is_empty() => Ok("holds".to_owned()),
        warnings => Ok(format!("holds, but {warnings}")),
    }
}

fn data_directory(dir: &Path) -> Check {
    // The last ancestor of a relative path is the empty one, which stands for the working directory.
    let here = |place: &Path| place.as_os_str().is_empty();
    let place = dir.ancestors().find(|place| here(place) || place.exists()).unwrap_or(dir);
    let place = if here(place) { Path::new(".") } else { place };
    let probe = place.join(format!(".odh-doctor-{}", std::process::id()));
    fs::write(&probe, b"probe").map_err(|e| format!("`{}` cannot be written: {e}", place.display()))?;
    fs::remove_file(&probe).map_err(|e| e.to_string())?;
    Ok(format!("`{}` {}", dir.display(), if dir.exists() { "is writable" } else { "will be made" }))
}

fn keys(config: &Config) -> Check {
    let dir = config.data_dir.join("keys");
    if !dir.exists() {
        return Ok("will be made at the first start".to_owned());
    }
    let keys = KeyStore::open(&dir).map_err(|e| e.message_en())?;
    if keys.hub_id() == config.hub.id {
        Ok(format!("of hub `{}`, private", keys.hub_id()))
    } else {
        Err(format!("of hub `{}`, but hub.id is `{}`", keys.hub_id(), config.hub.id))
    }
}

async fn database(config: &Config) -> Check {
    let dir = config.data_dir.join("keys");
    let url = config.database_url();
    if url.scheme() == "sqlite" && !dir.exists() {
        return Ok("SQLite, will be made at the first start".to_owned());
    }
    let signer = match KeyStore::open(&dir) {
        Ok(keys) => Arc::clone(keys.log_signer()),
        Err(_) => return Ok("not tried before the keys are there".to_owned()),
    };
    let opened = Store::open(
        StoreConfig {
            url: url.expose().to_owned(),
            max_connections: 2,
            checkpoint_file: dir.with_extension("checkpoint"),
            writer: WriterConfig::default(),
        },
        signer,
        Arc::new(SystemClock),
        WriterMetrics::default(),
    );
    let store = tokio::time::timeout(Duration::from_secs(10), opened)
        .await
        .map_err(|_| "no answer within 10 seconds".to_owned())?
        .map_err(|e| e.message_en())?;
    store.close().await;
    Ok(format!("{} answers, is durable, and its log agrees with the last checkpoint", url.scheme()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_that_is_not_there_yet_will_be_made_where_one_may_write() {
        let folder = tempfile::tempdir().unwrap();
        assert!(data_directory(&folder.path().join("a/b")).unwrap().contains("will be made"));
        assert!(data_directory(folder.path()).unwrap().contains("is writable"));
        // Relative to the working directory, which for tests is the package's.
        assert!(data_directory(Path::new("odh-data-of-nobody")).unwrap().contains("will be made"));
        assert!(data_directory(Path::new("/proc/odh")).unwrap_err().contains("/proc"));
    }
}
