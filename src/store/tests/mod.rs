//! The writer over a real SQLite file: many jobs per commit, a failed job alone, a head that follows its entries.

mod shards;
mod tiles;

use std::{path::Path, sync::Arc};

use super::{Store, StoreConfig, WriterConfig, WriterMetrics, audit, participant};
use crate::{
    audit::{Checkpoint, CheckpointSigner, Frontier, Hash, VerifierKey, verify_inclusion},
    domain::{EntryDraft, EntryKind, Kind, Participant, ParticipantState, SystemClock, Timestamp},
    error::{Error, Reason},
};

/// A log key made for one test; `trust` is another layer.
#[derive(Debug)]
struct Signer(aws_lc_rs::signature::Ed25519KeyPair);

impl Signer {
    fn new() -> Self {
        Self(aws_lc_rs::signature::Ed25519KeyPair::generate().unwrap())
    }
}

impl CheckpointSigner for Signer {
    fn origin(&self) -> &'static str {
        "test.example/audit"
    }

    fn public_key(&self) -> [u8; 32] {
        use aws_lc_rs::signature::KeyPair as _;
        self.0.public_key().as_ref().try_into().unwrap()
    }

    fn sign(&self, message: &[u8]) -> crate::error::Result<[u8; 64]> {
        Ok(self.0.sign(message).as_ref().try_into().unwrap())
    }
}

async fn store(dir: &Path, signer: &Arc<Signer>) -> crate::error::Result<Store> {
    let config = StoreConfig {
        url: format!("sqlite://{}", dir.join("hub.db").display()),
        max_connections: 4,
        checkpoint_file: dir.join("checkpoint"),
        writer: WriterConfig::default(),
    };
    Store::open(config, Arc::clone(signer) as _, Arc::new(SystemClock), WriterMetrics::default()).await
}

fn participant_named(id: &str, siren: &str) -> Participant {
    Participant {
        id: id.parse().unwrap(),
        siren: siren.parse().unwrap(),
        legal_name: "A (fictional)".to_owned(),
        kind: Kind::Lab,
        sector: None,
        country: "FR".to_owned(),
        accreditations: Vec::new(),
        state: ParticipantState::Registered,
        charter_version: None,
        created_at: Timestamp::from_micros(0),
        revision: 1,
    }
}

async fn leaf_hashes(store: &Store, size: u64) -> Vec<Hash> {
    let mut tx = store.read().await.unwrap();
    let entries = audit::bundle(&mut tx, 0, size).await.unwrap();
    assert_eq!(entries.len() as u64, size);
    entries.into_iter().map(|entry| entry.leaf_hash).collect()
}

fn entry() -> EntryDraft {
    EntryDraft::new(EntryKind::ParticipantRegistered)
}

#[tokio::test]
async fn receipts_verify_under_the_signed_checkpoint_of_their_commit() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new());
    let store = store(dir.path(), &signer).await.unwrap();
    let writer = store.writer();
    let submitted = (0..40).map(|_| writer.submit(|_| Box::pin(async { Ok(((), vec![entry(), entry()])) })));
    let receipts = futures::future::try_join_all(submitted).await.unwrap();
    let key = VerifierKey::of(signer.as_ref()).unwrap();
    let hashes = leaf_hashes(&store, 80).await;
    for ((), committed) in receipts {
        let receipt = committed.receipt();
        let checkpoint = Checkpoint::verify(&receipt.checkpoint, &key).unwrap();
        let subtrees = crate::audit::subtrees_of(&hashes);
        let proof = crate::audit::inclusion_proof(receipt.index, checkpoint.size, subtrees).unwrap();
        assert!(verify_inclusion(&receipt.leaf_hash, receipt.index, checkpoint.size, &proof, &checkpoint.root));
    }
    let head = audit::head(&mut store.read().await.unwrap(), signer.origin()).await.unwrap();
    assert_eq!(head.frontier, Frontier::from_leaf_hashes(&hashes));
    store.close().await;
}

#[tokio::test]
async fn a_job_that_fails_or_panics_leaves_nothing_and_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new());
    let store = store(dir.path(), &signer).await.unwrap();
    let writer = store.writer();
    let good = writer.submit(|tx| {
        Box::pin(async move {
            participant::add(tx, &participant_named("good", "999000011")).await?;
            Ok(((), vec![entry()]))
        })
    });
    let bad = writer.submit(|tx| {
        Box::pin(async move {
            participant::add(tx, &participant_named("bad", "999000029")).await?;
            Err::<((), Vec<EntryDraft>), _>(Error::new(Reason::StateConflict))
        })
    });
    let same = writer.submit(|tx| {
        Box::pin(async move {
            participant::add(tx, &participant_named("other", "999000011")).await?;
            Ok(((), vec![entry()]))
        })
    });
    let mad = writer.submit(|_| {
        Box::pin(async move {
            assert!(std::hint::black_box(false), "deliberate");
            Ok(((), vec![entry()]))
        })
    });
    let (good, bad, same, mad) = futures::join!(good, bad, same, mad);
    assert!(good.is_ok());
    assert_eq!(bad.unwrap_err().reason(), Reason::StateConflict);
    assert_eq!(same.unwrap_err().reason(), Reason::AlreadyExists);
    assert_eq!(mad.unwrap_err().reason(), Reason::Internal);
    let mut tx = store.read().await.unwrap();
    assert!(participant::lookup(&mut tx, &"good".parse().unwrap()).await.unwrap().is_some());
    assert!(participant::lookup(&mut tx, &"bad".parse().unwrap()).await.unwrap().is_none());
    assert_eq!(audit::head(&mut tx, signer.origin()).await.unwrap().frontier.size(), 1);
    drop(tx);
    store.close().await;
}

#[tokio::test]
async fn a_change_without_an_entry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), &Arc::new(Signer::new())).await.unwrap();
    let outcome = store.writer().submit(|_| Box::pin(async { Ok(((), Vec::new())) })).await;
    assert_eq!(outcome.unwrap_err().reason(), Reason::Internal);
    store.close().await;
}

#[tokio::test]
async fn p4_a_database_that_was_rolled_back_is_not_signed_for() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new());
    let append = async |store: &Store| {
        store.writer().submit(|_| Box::pin(async { Ok(((), vec![entry()])) })).await.unwrap();
    };
    let first = store(dir.path(), &signer).await.unwrap();
    append(&first).await;
    first.close().await;
    std::fs::copy(dir.path().join("hub.db"), dir.path().join("backup")).unwrap();
    let second = store(dir.path(), &signer).await.unwrap();
    append(&second).await;
    second.close().await;
    std::fs::copy(dir.path().join("backup"), dir.path().join("hub.db")).unwrap();
    for suffix in ["hub.db-wal", "hub.db-shm"] {
        let _ = std::fs::remove_file(dir.path().join(suffix));
    }
    let refused = store(dir.path(), &signer).await.unwrap_err();
    assert!(refused.message_en().contains("refuses to sign"), "{refused}");
}

#[tokio::test]
async fn an_entry_is_neither_changed_nor_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new());
    let store = store(dir.path(), &signer).await.unwrap();
    store.writer().submit(|_| Box::pin(async { Ok(((), vec![entry()])) })).await.unwrap();
    let mut tx = store.read().await.unwrap();
    for sql in ["UPDATE entry SET kind = 'x'", "DELETE FROM entry"] {
        assert!(sqlx::query(sql).execute(tx.conn()).await.is_err(), "{sql}");
    }
    drop(tx);
    store.close().await;
}

#[tokio::test]
async fn a_request_id_is_remembered_for_days_and_then_forgotten() {
    use super::request;
    let dir = tempfile::tempdir().unwrap();
    let signer = Arc::new(Signer::new());
    let store = store(dir.path(), &signer).await.unwrap();
    let writer = store.writer();
    let ids = [1_u128, 2, 3].map(|n| uuid::Uuid::from_u128(n).to_string().parse().unwrap());
    let hour = |hours: u64| Timestamp::from_micros(0).plus(std::time::Duration::from_hours(hours));
    for (id, at) in ids.iter().zip([1, 40, 50]) {
        let id = *id;
        let now = hour(at);
        writer
            .stage(move |tx| Box::pin(async move { request::claim(tx, "someone", id, "digest", now).await }))
            .await
            .unwrap();
    }
    let mut tx = store.read().await.unwrap();
    let mut known = Vec::new();
    for id in ids {
        known.push(request::lookup(&mut tx, "someone", id).await.unwrap().is_some());
    }
    assert_eq!(known, [false, true, true]);
}
