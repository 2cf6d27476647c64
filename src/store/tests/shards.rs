//! Half-years of the log: where one ends, what its border says, and jobs of every kind around it.

use std::{path::Path, sync::Arc};

use super::{Signer, entry, participant_named};
use crate::{
    audit::{Checkpoint, CheckpointSigner as _, LeafView, Shard, VerifierKey},
    domain::{EntryDraft, EntryKind, ManualClock},
    error::{Error, Reason},
    store::{Store, StoreConfig, WriterConfig, WriterMetrics, audit, participant, shard},
};

const DAY: std::time::Duration = std::time::Duration::from_hours(24);

async fn open(dir: &Path, signer: &Arc<Signer>, clock: &Arc<ManualClock>) -> Store {
    let config = StoreConfig {
        url: format!("sqlite://{}", dir.join("hub.db").display()),
        max_connections: 4,
        checkpoint_file: dir.join("checkpoint"),
        writer: WriterConfig::default(),
    };
    Store::open(config, Arc::clone(signer) as _, Arc::clone(clock) as _, WriterMetrics::default()).await.unwrap()
}

async fn append(store: &Store, entries: usize) -> u64 {
    let entries = vec![entry(); entries];
    let ((), done) = store.writer().submit(|_| Box::pin(async { Ok(((), entries)) })).await.unwrap();
    done.receipt().index
}

#[tokio::test]
async fn each_half_year_ends_once_with_its_last_checkpoint_also_over_restarts_and_a_clock_that_goes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, clock) = (Arc::new(Signer::new()), Arc::new(ManualClock::new("2026-06-30".parse().unwrap())));
    let first = open(dir.path(), &signer, &clock).await;
    append(&first, 3).await;
    assert_eq!(append(&first, 2).await, 3, "nothing ends while it lasts");
    let last = audit::head(&mut first.read().await.unwrap(), signer.origin()).await.unwrap();
    clock.advance(DAY);
    assert_eq!(append(&first, 1).await, 6, "the border is before what comes first");
    assert_eq!(append(&first, 1).await, 7);
    first.close().await;
    let back = Arc::new(ManualClock::new("2026-06-29".parse().unwrap()));
    let second = open(dir.path(), &signer, &back).await;
    assert_eq!(append(&second, 1).await, 8, "a clock that goes back crosses no border");
    // Over a half-year without entries.
    back.advance(400 * DAY);
    assert_eq!(append(&second, 1).await, 10);
    second.close().await;
    let third = open(dir.path(), &signer, &back).await;
    assert_eq!(append(&third, 1).await, 11);

    let key = VerifierKey::of(signer.as_ref()).unwrap();
    let mut tx = third.read().await.unwrap();
    let ended = shard::ended(&mut tx, signer.origin()).await.unwrap();
    let shape: Vec<_> = ended.iter().map(|shard| (shard.name.to_string(), shard.first, shard.size)).collect();
    assert_eq!(shape, [("2026h1".to_owned(), 0, 5), ("2026h2".to_owned(), 5, 9)]);
    assert_eq!(ended[0].checkpoint, last.checkpoint);
    let entries = audit::bundle(&mut tx, 0, 12).await.unwrap();
    let cited: Vec<_> = entries
        .iter()
        .filter_map(|entry| Shard::cited(&LeafView::parse(&entry.leaf).unwrap(), &key).unwrap())
        .map(|(shard, _)| shard)
        .collect();
    assert_eq!(cited, ended);
    for shard in &ended {
        let root = audit::root(&mut tx, signer.origin(), shard.size).await.unwrap();
        assert_eq!(Checkpoint::verify(&shard.checkpoint, &key).unwrap().root, root);
    }
    drop(tx);
    third.close().await;
}

/// At a border, too, and whatever the one before it has done.
#[tokio::test]
async fn jobs_of_every_kind_keep_what_they_did_or_leave_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (signer, clock) = (Arc::new(Signer::new()), Arc::new(ManualClock::new("2026-06-30".parse().unwrap())));
    let store = open(dir.path(), &signer, &clock).await;
    append(&store, 1).await;
    clock.advance(DAY);
    let writer = store.writer();
    // What a job does: whether it writes a row, and whether it then fails.
    let kinds =
        [(true, true), (false, false), (true, false), (false, true), (true, true), (true, false), (false, false)];
    let jobs = kinds.iter().cycle().take(21).enumerate().map(|(number, (adds, fails))| {
        let (adds, fails) = (*adds, *fails);
        writer.submit(move |tx| {
            Box::pin(async move {
                if adds {
                    participant::add(tx, &participant_named(&format!("p{number}"), &siren(number))).await?;
                }
                let parties = EntryDraft::new(EntryKind::ParticipantRegistered).concerning(&"all".parse()?);
                match (adds, fails) {
                    (true, true) => Err(Error::new(Reason::StateConflict)),
                    // It fails when its entries are placed: one is too large.
                    (false, true) => Ok(((), vec![parties, entry().fact("x", "y".repeat(20_000))])),
                    _ => Ok(((), vec![parties, entry()])),
                }
            })
        })
    });
    let done = futures::future::join_all(jobs).await;
    let mut tx = store.read().await.unwrap();
    for (number, (outcome, (adds, fails))) in done.iter().zip(kinds.iter().cycle()).enumerate() {
        assert_eq!(outcome.is_err(), *fails, "{number}");
        let found = participant::lookup(&mut tx, &format!("p{number}").parse().unwrap()).await.unwrap();
        assert_eq!(found.is_some(), *adds && !*fails, "{number}");
    }
    let size = 1 + 1 + 2 * done.iter().filter(|outcome| outcome.is_ok()).count() as u64;
    assert_eq!(audit::head(&mut tx, signer.origin()).await.unwrap().frontier.size(), size);
    assert_eq!(audit::bundle(&mut tx, 0, 256).await.unwrap().len() as u64, size);
    let counted: (i64, i64) = sqlx::query_as("SELECT COUNT(*), MAX(seq) + 1 FROM party_entry WHERE party = 'all'")
        .fetch_one(tx.conn())
        .await
        .unwrap();
    assert_eq!(counted, (12, 12), "numbers without gaps");
    assert_eq!(shard::ended(&mut tx, signer.origin()).await.unwrap().len(), 1);
    drop(tx);
    store.close().await;
}

/// One of ten check digits is right.
fn siren(number: usize) -> String {
    let mut tried = (0..10).map(|check| format!("99900{number:03}{check}"));
    tried.find(|text| text.parse::<crate::domain::Siren>().is_ok()).unwrap()
}
