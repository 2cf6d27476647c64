//! Half-years of the log: each ends with a final checkpoint that the next begins by citing, in one tree.

use std::{fs, time::Duration};

use indicatif::ProgressBar;
use odh::{
    audit::{Checkpoint, VerifierKey, verify_consistency},
    cli::failure::Exit,
    grpc::pb,
};
use sqlx::{Connection as _, Executor as _};

use crate::{
    harness::{Engine, Hub, cli::odh, raw, sane},
    personas::{Auditor, Steward},
    world::{self, World},
};

/// More than half a year and less than the year for which entries are kept.
const EARLIER: Duration = Duration::from_hours(200 * 24);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_year_ends_with_a_checkpoint_that_the_next_one_cites_on_sqlite() {
    Box::pin(half_years(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_year_ends_with_a_checkpoint_that_the_next_one_cites_on_postgres() {
    Box::pin(half_years(Engine::Postgres)).await;
}

async fn half_years(engine: Engine) {
    let Some(mut hub) = Hub::start(engine, "shards").await else { return };
    let world = world::small(&mut hub).await;
    let key: VerifierKey = log_key(&hub).await.parse().unwrap();
    let none = world.auditor.client.audit().list_shards(pb::ListShardsRequest {}).await.unwrap().into_inner();
    assert!(none.shards.is_empty(), "no half-year ends while it lasts");
    set_back(&mut hub).await;
    let end = checkpoint(&hub, &key).await;

    hub.serve().await.unwrap();
    let (auditor, steward) = moved(&hub, &world).await;
    for name in ["after", "long_after"] {
        steward.create_dataset(name, pb::AccessLevel::Open, None).await.unwrap();
    }
    let listed = auditor.client.audit().list_shards(pb::ListShardsRequest {}).await.unwrap().into_inner();
    let [shard] = listed.shards.as_slice() else { panic!("{listed:?}") };
    let signed = Checkpoint::verify(&shard.checkpoint, &key).unwrap();
    assert_eq!((signed.size, signed.root), (end.size, end.root), "what was last signed is what is final");
    assert_eq!((shard.first_index, shard.tree_size), (0, end.size));
    let borders = auditor.entries("type = \"audit.shard\"").await;
    let [(index, border)] = borders.as_slice() else { panic!("{borders:?}") };
    assert_eq!((*index, &border["f"]["checkpoint"]), (end.size, &shard.checkpoint.as_str().into()));
    assert_eq!(border["f"]["ends"].as_str().unwrap(), shard.name);

    let request = pb::GetConsistencyProofRequest { from_size: end.size, to_size: 0 };
    let proof = auditor.client.audit().get_consistency_proof(request).await.unwrap().into_inner();
    let now = Checkpoint::verify(&proof.checkpoint, &key).unwrap();
    let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect();
    assert!(verify_consistency(end.size, &end.root, now.size, &now.root, &hashes), "a proof across the border");
    files(&auditor, shard, &key.to_string()).await;

    let mut db = sane::connect(&hub.database_url()).await;
    for sql in ["UPDATE shard SET size = size + 1", "DELETE FROM shard"] {
        assert!(db.execute(sql).await.is_err(), "{sql}");
    }
    db.close().await.unwrap();
    hub.end().await;
}

/// A half-year as a unit, from files alone; and the border in an export of everything.
async fn files(auditor: &Auditor, shard: &pb::Shard, key: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [whole, part, saved] = ["whole", "part", "saved"].map(path);
    let unit = pb::ExportEntriesRequest { first_index: shard.first_index, tree_size: shard.tree_size };
    let exported = auditor.client.export_as(part.as_ref(), unit, &ProgressBar::hidden()).await.unwrap();
    assert_eq!((exported.tree_size, exported.entries), (shard.tree_size, shard.tree_size));
    auditor.client.export_audit(whole.as_ref(), 0, &ProgressBar::hidden()).await.unwrap();
    for folder in [&part, &whole] {
        let (exit, said) = odh(&["audit", "verify", folder, "--key", key]).await;
        assert_eq!(exit, Exit::Ok, "{said}");
    }
    let (exit, said) = odh(&["audit", "shards", "--from", &whole, "--key", key, "--save", &saved]).await;
    assert_eq!(exit, Exit::Ok, "{said}");
    assert!(said.contains(&shard.name), "{said}");
    let held = format!("{saved}/{}.checkpoint", shard.name);
    assert_eq!(fs::read_to_string(&held).unwrap(), shard.checkpoint);
    let (exit, said) = odh(&["audit", "verify", &whole, "--key", key, "--checkpoint", &held]).await;
    assert_eq!(exit, Exit::Ok, "{said}");
    let (exit, said) = odh(&["audit", "diff", &part, &whole, "--key", key]).await;
    assert_eq!(exit, Exit::Ok, "{said}");
    let wrong = pb::ExportEntriesRequest { first_index: 0, tree_size: shard.tree_size - 1 };
    let refused = auditor.client.export_as(part.as_ref(), wrong, &ProgressBar::hidden()).await;
    assert!(refused.is_err(), "only the end of a half-year has a checkpoint to export with");
}

/// Ends the hub and lets all of its entries be of the half-year before.
async fn set_back(hub: &mut Hub) {
    hub.end().await;
    let mut db = sane::connect(&hub.database_url()).await;
    db.execute(match hub.engine {
        Engine::Sqlite => "DROP TRIGGER entry_is_never_changed",
        Engine::Postgres => "ALTER TABLE entry DISABLE TRIGGER entry_is_never_changed",
    })
    .await
    .unwrap();
    let micros = i64::try_from(EARLIER.as_micros()).unwrap();
    sqlx::query("UPDATE entry SET at = at - $1").bind(micros).execute(&mut db).await.unwrap();
    db.close().await.unwrap();
}

/// The checkpoint that the hub has signed last.
async fn checkpoint(hub: &Hub, key: &VerifierKey) -> Checkpoint {
    let mut db = sane::connect(&hub.database_url()).await;
    let text: String = sqlx::query_scalar("SELECT checkpoint FROM log_head").fetch_one(&mut db).await.unwrap();
    db.close().await.unwrap();
    Checkpoint::verify(&text, key).unwrap()
}

async fn log_key(hub: &Hub) -> String {
    raw::get_public(&hub.site(), "/log.vkey").await.unwrap().1.trim().to_owned()
}

async fn moved(hub: &Hub, world: &World) -> (Auditor, Steward) {
    let site = hub.site();
    (Auditor(world.auditor.at(&site).await), Steward(world.steward.at(&site).await))
}
