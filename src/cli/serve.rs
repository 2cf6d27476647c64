//! `odh serve`: runs the hub until it is told to end.

use std::{fs, io::Write, path::PathBuf, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    config::Config,
    domain::{ParticipantId, Siren, SystemClock},
    error::{Error, Result},
    grpc,
    server::{self, Listeners},
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
pub async fn run(args: Args, out: &mut (dyn Write + Send)) -> Result<()> {
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
    announce(&args, &app, &addresses, &token_file, &ca_file, out)?;
    let shutdown = CancellationToken::new();
    tokio::spawn(end_on_signal(shutdown.clone()));
    server::run(app, listeners, shutdown).await
}

fn announce(
    args: &Args,
    app: &App,
    addresses: &server::Addresses,
    token_file: &std::path::Path,
    ca_file: &std::path::Path,
    out: &mut (dyn Write + Send),
) -> Result<()> {
    let said = if args.ready_json {
        let ready = serde_json::json!({
            "grpc": format!("https://{}", addresses.grpc),
            "https": format!("https://{}", addresses.https),
            "ops": format!("http://{}", addresses.ops),
        });
        writeln!(out, "{ready}")
    } else {
        let mut said = writeln!(
            out,
            "{} is serving\n  gRPC   https://{}\n  HTTPS  https://{}\n  ops    http://{}\n  CA     {}",
            app.config.hub.public_name,
            addresses.grpc,
            addresses.https,
            addresses.ops,
            ca_file.display()
        );
        if app.operator_token.is_some() {
            said = said.and_then(|()| {
                writeln!(
                    out,
                    "This hub is new. Its first operator enrols with the one-time token in {0}:\n  odh enroll --hub https://{1} --ca {2} --token \"$(cat {0})\"",
                    token_file.display(),
                    addresses.grpc,
                    ca_file.display()
                )
            });
        }
        said
    };
    said.and_then(|()| out.flush()).map_err(Error::internal)
}

fn write_private(path: &std::path::Path, text: &str) -> Result<()> {
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
