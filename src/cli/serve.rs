//! `odh serve`: runs the hub until it is told to end.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use super::{failure::Failure, output::Out};
use crate::{
    app::App,
    config::Config,
    domain::{ParticipantId, Siren, SystemClock},
    error::{Error, Result},
    grpc,
    server::{Addresses, Listeners},
    service::OperatorIdentity,
    telemetry::{self, Metrics},
};

/// Run the hub.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file; without one the defaults hold.
    #[arg(long, env = "ODH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Id of the participant that operates the hub; used at the first start only.
    #[arg(long, default_value = "hub", value_name = "ID")]
    pub operator_id: ParticipantId,
    /// SIREN of the participant that operates the hub; used at the first start only.
    #[arg(long, default_value = "999000011", value_name = "SIREN")]
    pub operator_siren: Siren,
    /// Legal name of the participant that operates the hub; used at the first start only.
    #[arg(long, default_value = "Operator of this hub (to be named with --operator-name)", value_name = "NAME")]
    pub operator_name: String,
    /// Print the addresses as one line of JSON once the hub answers.
    #[arg(long)]
    pub ready_json: bool,
}

/// Serves until SIGTERM or Ctrl-C.
pub(super) async fn run(args: Args, out: &mut Out) -> Result<(), Failure> {
    let config = Config::load(args.config.as_deref(), std::env::vars_os())?;
    let _telemetry = telemetry::init(&config.telemetry, &config.hub.id)?;
    let listeners = Listeners::bind(&config.listen).await?;
    let addresses = listeners.addresses()?;
    let token_file = config.data_dir.join("operator.token");
    let operator =
        OperatorIdentity { id: args.operator_id, siren: args.operator_siren, legal_name: args.operator_name };
    let metrics = Arc::new(Metrics::new(grpc::paths()));
    let app = App::open(config, addresses.https, operator, Arc::new(SystemClock), metrics).await?;
    if let Some(token) = &app.operator_token {
        write_private(&token_file, token)?;
    }
    let ca_file = app.config.data_dir.join("ca.crt");
    fs::write(&ca_file, app.services.keys().authority().certificate_pem()).map_err(Error::internal)?;
    announce(args.ready_json, &app, &addresses, &token_file, &ca_file, out)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(end_on_signal(shutdown.clone()));
    Ok(app.serve(listeners, shutdown).await?)
}

fn announce(
    ready_json: bool,
    app: &App,
    addresses: &Addresses,
    token_file: &Path,
    ca_file: &Path,
    out: &mut Out,
) -> Result<(), Failure> {
    let (grpc, https, ops) = (addresses.grpc, addresses.https, addresses.ops);
    if ready_json {
        return out.line(serde_json::json!({
            "grpc": format!("https://{grpc}"),
            "https": format!("https://{https}"),
            "ops": format!("http://{ops}"),
        }));
    }
    out.line(format_args!("{} is serving", app.config.hub.public_name))?;
    out.line(format_args!("  gRPC   https://{grpc}"))?;
    out.line(format_args!("  HTTPS  https://{https}"))?;
    out.line(format_args!("  ops    http://{ops}"))?;
    out.line(format_args!("  CA     {}", ca_file.display()))?;
    if app.operator_token.is_some() {
        let (ca, token) = (ca_file.display(), token_file.display());
        out.line(format_args!("This hub is new. Its first operator enrols with the one-time token in {token}:"))?;
        out.line(format_args!("  odh enroll --hub https://{grpc} --ca {ca} --token \"$(cat {token})\""))?;
    }
    Ok(())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    written
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|e| Error::invalid("data_dir", format_args!("`{}`: {e}", path.display())))
}

/// Cancels `shutdown` at SIGTERM or Ctrl-C.
pub async fn end_on_signal(shutdown: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    shutdown.cancel();
}
