//! A real hub in this process, with what the personas of the integration suite need to use it.

use std::{path::Path, sync::Arc, time::Duration};

use odh::{
    app::App,
    config::{Config, SecretUrl},
    domain::{Caller, SystemClock},
    error::Result,
    grpc::{self, pb},
    server::Listeners,
    service::{OperatorIdentity, Services},
    telemetry::Metrics,
};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    caller,
    personas::{Admin, Operator, Requester, Steward},
};

/// The id of the hub of the bench.
pub(crate) const HUB_ID: &str = "hub.bench";
/// What every grant of the bench is for.
pub(crate) const PURPOSE: &str = "scientific_research";
/// Memory of one query: with less, queries of SF1 go to disk, which the peers do not.
pub(crate) const QUERY_MEMORY: usize = 4 << 30;

/// Where a hub is met.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    pub(crate) grpc: String,
    pub(crate) ca_pem: String,
}

/// A hub that is served over mutual TLS, an owner with a steward, and a lab with a requester.
pub(crate) struct Hub {
    pub(crate) services: Services,
    pub(crate) site: Site,
    pub(crate) owner: Admin,
    pub(crate) steward: Steward,
    pub(crate) requester: Requester,
    shutdown: CancellationToken,
    serving: JoinHandle<Result<()>>,
    dir: TempDir,
}

impl Hub {
    /// A fresh hub in a directory of its own below `place`; `owner` is the id of the participant that owns the data.
    pub(crate) async fn start(place: &Path, owner: &str) -> Self {
        std::fs::create_dir_all(place).unwrap();
        let dir = tempfile::tempdir_in(place).unwrap();
        let mut config = Config { data_dir: dir.path().to_owned(), ..Config::default() };
        HUB_ID.clone_into(&mut config.hub.id);
        config.database.url = SecretUrl::new("sqlite://{data_dir}/hub.db");
        for address in [&mut config.listen.grpc, &mut config.listen.https, &mut config.listen.ops] {
            address.set_port(0);
        }
        config.query.memory_bytes = QUERY_MEMORY;
        config.query.max_rows = u64::MAX;
        config.query.concurrent_per_caller = 8;
        config.query.deadline = Duration::from_mins(30);
        let listeners = Listeners::bind(&config.listen).await.unwrap();
        let addresses = listeners.addresses().unwrap();
        let operator = OperatorIdentity {
            id: "hub".parse().unwrap(),
            siren: "999000011".parse().unwrap(),
            legal_name: "Operator of the bench".to_owned(),
        };
        let metrics = Arc::new(Metrics::new(grpc::paths()));
        let app = App::open(config, addresses.https, operator, Arc::new(SystemClock), metrics);
        let app = Box::pin(app).await.unwrap();
        let (services, token) = (app.services.clone(), app.operator_token.clone().unwrap());
        let ca_pem = services.keys().authority().certificate_pem().to_owned();
        let site = Site { grpc: format!("https://{}", addresses.grpc), ca_pem };
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(app.serve(listeners, shutdown.clone()));
        let operator = Operator::first(&site, &token).await;
        let owner = operator.welcome(owner, pb::ParticipantKind::PublicBody).await;
        let steward = owner.steward().await;
        let lab = operator.welcome("lab", pb::ParticipantKind::Lab).await;
        let requester = lab.requester().await;
        Self { services, site, owner, steward, requester, shutdown, serving, dir }
    }

    /// Its data directory.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Puts a policy in force and gives the lab what it permits.
    pub(crate) async fn share(&self, id: &str, policy: pb::Policy, action: pb::Action) {
        self.steward.publish(policy).await.unwrap();
        let table = format!("{}.{id}", self.owner.participant);
        let asked = self.requester.request_access(&table, action, PURPOSE).await.unwrap();
        self.steward.approve(&asked).await.unwrap();
    }

    /// The requester as the use cases see it.
    pub(crate) fn caller(&self) -> Caller {
        caller::requester(
            self.requester.name.rsplit('/').next().unwrap().parse().unwrap(),
            self.requester.participant.parse().unwrap(),
        )
    }

    /// Ends it and removes its directory.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap().unwrap();
    }
}

/// A policy of one rule that permits `action` for the purpose of the bench, with these limits.
pub(crate) fn policy(
    steward: &Steward,
    id: &str,
    action: pb::Action,
    how: pb::How,
    basis: pb::LegalBasis,
) -> pb::Policy {
    let rule = pb::Rule {
        id: "bench".to_owned(),
        effect: pb::Effect::Permit.into(),
        actions: vec![action.into()],
        purposes: vec![PURPOSE.to_owned()],
        legal_basis: basis.into(),
        how: Some(how),
        ..pb::Rule::default()
    };
    pb::Policy { dataset: steward.dataset(id), rules: vec![rule], floor: None }
}
