//! What the record of a decision costs: 64 clients decide without pause, with a durable entry before each answer and
//! without one.
//!
//! A decision is what `scale` measures, through the hub's own store on SQLite. Only this bench can leave the entry out:
//! no reading of a decision that gives nothing away is recorded, so the bench appends the entry of a query's decision to a
//! log of its own beside the hub's, through the hub's own sequencer. In the product a decision that releases something
//! and its entry are one call that nothing can part.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use odh::{
    audit::CheckpointSigner,
    domain::{Clock as _, EntryDraft, EntryKind, MemberId, SystemClock},
    error::Result,
    service::Services,
    store::{Store, StoreConfig, WriterConfig, WriterMetrics},
};

use crate::{scale, support::Table};

const CLIENTS: usize = 64;
const SIZE: usize = 1_000;
const ROUNDS: usize = 4;
const ROUND: Duration = Duration::from_secs(4);

pub(crate) fn measure(table: &mut Table) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (mut with, mut without) = (Vec::new(), Vec::new());
    runtime.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let services = scale::hub(dir.path(), SIZE).await;
        let log = open(dir.path()).await;
        load(&services, None, ROUND / 4).await;
        for round in 0..ROUNDS {
            for audited in [round % 2 == 0, round % 2 == 1] {
                let rate = load(&services, audited.then_some(&log), ROUND).await;
                if audited { with.push(rate) } else { without.push(rate) }
            }
        }
        log.close().await;
        services.close().await;
    });
    let [with, without] = [with, without].map(|mut rates| {
        rates.sort_by(f64::total_cmp);
        f64::midpoint(rates[ROUNDS / 2 - 1], rates[ROUNDS / 2])
    });
    let note = format!("{with:.0} over {without:.0} a second, {CLIENTS} clients, clock on the wall");
    table.at_least("decisions with a durable entry, over those without", with / without, 0.9, &note);
}

/// Decisions a second.
async fn load(services: &Services, log: Option<&Store>, how_long: Duration) -> f64 {
    let started = Instant::now();
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let (services, log) = (services.clone(), log.cloned());
        clients.spawn(async move {
            let mut done = 0_u32;
            while started.elapsed() < how_long {
                let index = (client * 7_919 + usize::try_from(done).unwrap() * 104_729) % SIZE;
                scale::decide(&services, SIZE, index).await;
                if let Some(log) = &log {
                    let entry = entry(index);
                    log.writer().submit(move |_| Box::pin(async move { Ok(((), vec![entry])) })).await.unwrap();
                }
                done += 1;
            }
            done
        });
    }
    let done: u32 = clients.join_all().await.into_iter().sum();
    f64::from(done) / started.elapsed().as_secs_f64()
}

/// The record of a query's decision.
fn entry(index: usize) -> EntryDraft {
    let requester = format!("p{:07}", (index + 1) % SIZE).parse().unwrap();
    let mut draft = EntryDraft::new(EntryKind::QueryDecision)
        .about(&format!("p{index:07}.d").parse().unwrap())
        .concerning(&requester)
        .purpose(&"scientific_research".parse().unwrap())
        .fence(1)
        .fact("query", "0190b8a0-0000-7000-8000-000000000001")
        .fact("decision", "permit")
        .secret("sql", "SELECT month, sum(kwh) FROM readings GROUP BY month");
    draft.actor = Some(requester);
    draft.member = Some(MemberId::generate(SystemClock.now()));
    draft
}

async fn open(dir: &Path) -> Store {
    let config = StoreConfig {
        url: format!("sqlite://{}/log.db", dir.display()),
        max_connections: 4,
        checkpoint_file: dir.join("log.checkpoint"),
        writer: WriterConfig::default(),
    };
    let signer = Signer(Ed25519KeyPair::generate().unwrap());
    Store::open(config, Arc::new(signer), Arc::new(SystemClock), WriterMetrics::default()).await.unwrap()
}

#[derive(Debug)]
struct Signer(Ed25519KeyPair);

impl CheckpointSigner for Signer {
    fn origin(&self) -> &'static str {
        "hub.bench/decisions"
    }

    fn public_key(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<[u8; 64]> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}
