//! A hub that is really served: writers over gRPC, and readers who verify every proof against one shared checkpoint.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Map, Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::{
    Args, HUB_ID,
    stats::{Latencies, rounded, times},
};
use crate::{
    app::App,
    audit::{Checkpoint, Hash, TlogProof, VerifierKey, verify_consistency},
    cli::{
        Session,
        client::{Client, Target},
        failure::Failure,
    },
    config::{Config, SecretUrl},
    domain::SystemClock,
    error::{Error, Result as HubResult},
    grpc::pb,
    server::Listeners,
    service::{OperatorIdentity, Services},
    telemetry::Metrics,
    trust::new_csr,
};

/// Connections of the writers together: one HTTP/2 connection is one lock.
const CONNECTIONS: u32 = 8;
/// Receipts that wait to be verified; older ones make room.
const WAITING: usize = 4_096;

/// Measures, and adds what was measured.
pub(super) async fn run(
    args: &Args,
    dir: &Path,
    session: &mut Session<'_>,
    measured: &mut Map<String, Json>,
) -> Result<(), Failure> {
    session.out.say("a hub with writers and readers", "un hub, des rédacteurs et des lecteurs");
    let hub = Hub::start(args, dir).await?;
    let (operator, auditor, key) = hub.members().await?;
    let shared = Arc::new(Shared { key, latest: Mutex::new(None), receipts: Mutex::default() });
    let stop = CancellationToken::new();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..args.readers {
        let client = Client::connect(auditor.clone()).await?;
        readers.spawn(read(client, Arc::clone(&shared), stop.clone()));
    }
    let (started, until) = (Instant::now(), args.duration());
    let mut writers = tokio::task::JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS.min(args.writers) {
        clients.push(Client::connect(operator.clone()).await?);
    }
    for client in clients.iter().cycle().take(args.writers as usize) {
        writers.spawn(write(client.clone(), Arc::clone(&shared), started, until));
    }
    let mut took = Latencies::default();
    for one in writers.join_all().await {
        took.merge(one?);
    }
    let elapsed = started.elapsed();
    stop.cancel();
    let mut verified = 0;
    for one in readers.join_all().await {
        verified += one?;
    }
    let commits = hub.commits();
    hub.stop().await?;
    let entries = took.count();
    measured.insert(
        "served".to_owned(),
        json!({
            "entries": entries, "appends_per_second": rounded(entries, elapsed), "time_to_durable_ms": took.summary(),
            "commits": commits, "entries_per_commit": times(entries, commits), "proofs_verified": verified,
        }),
    );
    Ok(())
}

/// What writers and readers have in common.
struct Shared {
    key: VerifierKey,
    /// The largest checkpoint that anybody has seen and verified.
    latest: Mutex<Option<Checkpoint>>,
    receipts: Mutex<VecDeque<(u64, Hash)>>,
}

/// Appends one entry after the other: an invitation is a small change with one entry.
async fn write(client: Client, shared: Arc<Shared>, started: Instant, until: Duration) -> Result<Latencies, Failure> {
    let mut took = Latencies::default();
    while started.elapsed() < until {
        let begun = Instant::now();
        let answer =
            client.participants().create_invitation(pb::CreateInvitationRequest::default()).await?.into_inner();
        took.add(begun.elapsed());
        let receipt = answer.receipt.ok_or_else(|| Failure::protocol("it lacks the receipt"))?;
        let mut receipts = shared.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        if receipts.len() == WAITING {
            receipts.pop_front();
        }
        receipts.push_back((receipt.index, hash(&receipt.leaf_hash)?));
    }
    Ok(took)
}

/// Verifies one proof after the other; gives how many.
async fn read(client: Client, shared: Arc<Shared>, stop: CancellationToken) -> Result<u64, Failure> {
    let mut verified = 0;
    while !stop.is_cancelled() {
        let receipt = shared.receipts.lock().unwrap_or_else(PoisonError::into_inner).pop_back();
        let Some((index, leaf)) = receipt else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let request = pb::GetInclusionProofRequest { index, tree_size: 0 };
        let proof = client.audit().get_inclusion_proof(request).await?.into_inner();
        let proof = TlogProof { index, hashes: hashes(&proof.hashes)?, checkpoint: proof.checkpoint };
        let seen = proof.verify(&leaf, &shared.key).map_err(|e| Failure::unverified(e.message_en(), e.message_fr()))?;
        continues(&client, &shared, seen).await?;
        verified += 1;
    }
    Ok(verified)
}

/// Whether a checkpoint and the latest one that anybody has seen are of one log; the larger is the latest from then on.
async fn continues(client: &Client, shared: &Shared, seen: Checkpoint) -> Result<(), Failure> {
    let latest = shared.latest.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (old, new) = match latest {
        Some(latest) if latest.size <= seen.size => (latest, seen.clone()),
        Some(latest) => (seen.clone(), latest),
        None => (seen.clone(), seen.clone()),
    };
    if old.size < new.size {
        let request = pb::GetConsistencyProofRequest { from_size: old.size, to_size: new.size };
        let proof = client.audit().get_consistency_proof(request).await?.into_inner();
        if !verify_consistency(old.size, &old.root, new.size, &new.root, &hashes(&proof.hashes)?) {
            let sizes = format!("{} {}", old.size, new.size);
            return Err(Failure::unverified(
                format!("the log was forked: {sizes}"),
                format!("le journal a bifurqué : {sizes}"),
            ));
        }
    } else if old != new {
        return Err(Failure::unverified(
            "two checkpoints of one size differ",
            "deux points d'une même taille diffèrent",
        ));
    }
    let mut latest = shared.latest.lock().unwrap_or_else(PoisonError::into_inner);
    if latest.as_ref().is_none_or(|latest| latest.size < seen.size) {
        *latest = Some(seen);
    }
    Ok(())
}

fn hash(bytes: &[u8]) -> Result<Hash, Failure> {
    bytes.try_into().map_err(|_| Failure::protocol("a hash is not 32 bytes"))
}

fn hashes(bytes: &[bytes::Bytes]) -> Result<Vec<Hash>, Failure> {
    bytes.iter().map(|one| hash(one)).collect()
}

/// The hub of this run, in this process, on loopback.
struct Hub {
    site: Target,
    services: Services,
    metrics: Arc<Metrics>,
    operator_token: String,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<HubResult<()>>,
}

impl Hub {
    async fn start(args: &Args, dir: &Path) -> Result<Self, Failure> {
        let mut config = Config { data_dir: dir.join("hub"), ..Config::default() };
        HUB_ID.clone_into(&mut config.hub.id);
        if let Some(url) = &args.database {
            config.database.url = SecretUrl::new(url.as_str());
        }
        let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        (config.listen.grpc, config.listen.https, config.listen.ops) = (any_port, any_port, any_port);
        let listeners = Listeners::bind(&config.listen).await?;
        let addresses = listeners.addresses()?;
        let operator = OperatorIdentity {
            id: "hub_hammer".parse()?,
            siren: "999000011".parse()?,
            legal_name: "Hammer (fictional)".to_owned(),
        };
        let metrics = Arc::new(Metrics::new(crate::grpc::paths()));
        let app = App::open(config, addresses.https, operator, Arc::new(SystemClock), Arc::clone(&metrics));
        let app = Box::pin(app).await?;
        let operator_token = app.operator_token.clone().ok_or_else(|| {
            Failure::usage("the database holds a hub already", "la base de données contient déjà un hub")
        })?;
        let services = app.services.clone();
        let site = Target::new(&format!("https://{}", addresses.grpc), services.keys().authority().certificate_pem());
        let stop = CancellationToken::new();
        let server = tokio::spawn(Box::pin(app.serve(listeners, stop.clone())));
        Ok(Self { site, services, metrics, operator_token, stop, server })
    }

    /// The operator, who writes; an auditor, who reads; and the log's key.
    async fn members(&self) -> Result<(Target, Target, VerifierKey), Failure> {
        let operator = self.enrol(self.operator_token.clone()).await?;
        let client = Client::connect(operator.clone()).await?;
        let who = client.participants().who_am_i(pb::WhoAmIRequest {}).await?.into_inner();
        let request = pb::CreateMemberRequest {
            parent: who.participant.ok_or_else(|| Failure::protocol("it lacks the participant"))?.name,
            display_name: "reader".to_owned(),
            roles: vec![pb::Role::Auditor.into()],
            ..Default::default()
        };
        let invited = client.participants().create_member(request).await?.into_inner();
        let auditor = self.enrol(invited.enrolment_token).await?;
        Ok((operator, auditor, VerifierKey::of(self.services.keys().log_signer().as_ref())?))
    }

    async fn enrol(&self, token: String) -> Result<Target, Failure> {
        let (key, csr) = new_csr()?;
        let request = pb::EnrolMemberRequest {
            enrolment_token: token,
            csr_pem: csr.into_bytes().into(),
            request_id: String::new(),
        };
        let stranger = Client::connect(self.site.clone()).await?;
        let enrolled = stranger.participants().enrol_member(request).await?.into_inner();
        Ok(self.site.clone().with_certificate(&enrolled.certificate_chain_pem, key.as_str()))
    }

    /// Commits so far, by the hub's own metrics.
    fn commits(&self) -> u64 {
        let text = self.metrics.render();
        let count = text.lines().find_map(|line| line.strip_prefix("odh_audit_commit_seconds_count "));
        count.and_then(|count| count.parse().ok()).unwrap_or_default()
    }

    async fn stop(self) -> Result<(), Failure> {
        self.stop.cancel();
        Ok(self.server.await.map_err(Error::internal)??)
    }
}
