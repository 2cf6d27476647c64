//! P4: whoever holds a checkpoint finds, offline, any edit, removal, reordering or roll-back of what it covers.

use odh::{
    audit::{BadExport, Checkpoint, Verified, VerifierKey, export::hash_line, verify_consistency, verify_export},
    grpc::pb::{self, export_entries_response::Part},
};
use sqlx::{Connection as _, Executor as _};

use crate::{
    harness::{Engine, Hub, on_both_engines, sane},
    personas::Persona,
    world::{self, RESEARCH},
};

on_both_engines!(
    an_export_verifies_and_every_edit_of_it_is_found,
    a_participant_can_verify_its_own_view,
    a_receipt_finds_a_roll_back,
    proofs_from_the_hub_hold,
    the_database_itself_refuses_to_change_an_entry,
    an_entry_that_was_edited_in_the_database_is_found,
    a_restored_old_database_is_not_served,
);

/// What an auditor has on its disk.
#[derive(Clone)]
struct Export {
    lines: Vec<Vec<u8>>,
    hashes: Vec<[u8; 32]>,
    checkpoint: String,
    key: VerifierKey,
}

async fn export(hub: &Hub, persona: &Persona) -> Export {
    let mut stream =
        persona.client.audit().export_entries(pb::ExportEntriesRequest::default()).await.unwrap().into_inner();
    let (mut checkpoint, mut hashes, mut lines) = (String::new(), Vec::new(), Vec::new());
    while let Some(message) = stream.message().await.unwrap() {
        match message.part.unwrap() {
            Part::Header(header) => checkpoint = header.checkpoint,
            Part::LeafHashes(bytes) => {
                hashes.extend(bytes.chunks_exact(32).map(|hash| <[u8; 32]>::try_from(hash).unwrap()));
            }
            Part::Openings(_) => {}
            Part::Lines(part) => lines.extend(part.jsonl.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec)),
        }
    }
    // Taken from another place than the export, as a verifier should.
    let (_, key) = crate::harness::raw::get_public(&hub.site(), "/log.vkey").await.unwrap();
    Export { lines, hashes, checkpoint, key: key.trim().parse().unwrap() }
}

impl Export {
    fn verify(&self) -> Result<Verified, BadExport> {
        let hashes: String = self.hashes.iter().map(hash_line).collect();
        verify_export(
            self.lines.concat().as_slice(),
            std::io::Cursor::new(&hashes),
            &self.checkpoint,
            &self.key,
            &mut |_| {},
        )
    }

    fn bad_index(&self) -> u64 {
        match self.verify() {
            Err(BadExport::Entry { index, .. }) => index,
            other => panic!("no bad entry was named: {other:?}"),
        }
    }
}

async fn an_export_verifies_and_every_edit_of_it_is_found(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let good = export(hub, &world.auditor).await;
    let verified = good.verify().unwrap();
    assert_eq!((verified.entries, verified.first_missing), (good.hashes.len() as u64, None));

    for at in [0, 5, good.lines.len() - 1] {
        let mut edited = good.clone();
        let byte = edited.lines[at].len() / 2;
        edited.lines[at][byte] ^= 1;
        assert_eq!(edited.bad_index(), at as u64, "one bit of entry {at}");
    }
    let mut removed = good.clone();
    removed.lines.remove(3);
    assert_eq!(removed.verify().unwrap().first_missing, Some(3), "the verifier says what is missing");
    removed.hashes.remove(3);
    assert!(removed.verify().is_err(), "a removal with its hash");
    let mut swapped = good.clone();
    swapped.lines.swap(2, 3);
    assert_eq!(swapped.bad_index(), 2);
    swapped.hashes.swap(2, 3);
    assert!(swapped.verify().is_err(), "a reordering with the hashes");
    let mut cut = good.clone();
    cut.lines.pop();
    cut.hashes.pop();
    assert!(cut.verify().is_err(), "a truncation");
    let mut forged = good.clone();
    forged.checkpoint = forged.checkpoint.replacen(HEAD, "hub.tesT", 1);
    assert!(forged.verify().is_err(), "another origin");
}

const HEAD: &str = crate::harness::HUB_ID;

async fn a_participant_can_verify_its_own_view(hub: &mut Hub) {
    let world = world::small(hub).await;
    let view = export(hub, &world.lab.auditor().await.0).await;
    let verified = view.verify().unwrap();
    assert!(verified.entries > 0 && verified.entries < view.hashes.len() as u64);
    for line in &view.lines {
        let text = String::from_utf8(line.clone()).unwrap();
        assert!(text.contains("lab"), "an entry that does not concern the lab: {text}");
    }
}

async fn a_receipt_finds_a_roll_back(hub: &mut Hub) {
    let world = world::small(hub).await;
    let early = export(hub, &world.auditor).await;
    let receipt = world.steward.create_dataset("late", pb::AccessLevel::Open, None).await.unwrap().receipt.unwrap();
    let held = Checkpoint::verify(&receipt.checkpoint, &early.key).unwrap();
    let shown = early.verify().unwrap().checkpoint;
    // The early export is good in itself; the member's receipt shows that it is not all there was.
    assert!(shown.size < held.size, "the log that is shown is shorter than the receipt's");
    let late = export(hub, &world.auditor).await;
    let index = usize::try_from(receipt.index).unwrap();
    assert_eq!(late.hashes[index].as_slice(), &receipt.leaf_hash[..]);
}

async fn proofs_from_the_hub_hold(hub: &mut Hub) {
    let world = world::small(hub).await;
    let key = export(hub, &world.auditor).await.key;
    let old = world.auditor.client.audit().get_checkpoint(pb::GetCheckpointRequest {}).await.unwrap().into_inner();
    world.steward.create_dataset("more", pb::AccessLevel::Open, None).await.unwrap();
    let request = pb::GetConsistencyProofRequest { from_size: old.tree_size, to_size: 0 };
    let proof = world.auditor.client.audit().get_consistency_proof(request).await.unwrap().into_inner();
    let (old, new) =
        (Checkpoint::verify(&old.checkpoint, &key).unwrap(), Checkpoint::verify(&proof.checkpoint, &key).unwrap());
    let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect();
    assert!(verify_consistency(old.size, &old.root, new.size, &new.root, &hashes));
    let request = pb::GetInclusionProofRequest { index: 4, tree_size: 0 };
    let proof = world.auditor.client.audit().get_inclusion_proof(request).await.unwrap().into_inner();
    let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect();
    let leaf_hash: [u8; 32] = proof.leaf_hash.as_ref().try_into().unwrap();
    let covering = Checkpoint::verify(&proof.checkpoint, &key).unwrap();
    assert!(odh::audit::verify_inclusion(&leaf_hash, 4, covering.size, &hashes, &covering.root));
    assert!(!odh::audit::verify_inclusion(&leaf_hash, 5, covering.size, &hashes, &covering.root));
}

async fn the_database_itself_refuses_to_change_an_entry(hub: &mut Hub) {
    let mut db = sane::connect(&hub.database_url()).await;
    for sql in ["UPDATE entry SET kind = 'x' WHERE idx = 0", "DELETE FROM entry WHERE idx = 0"] {
        let refused = db.execute(sql).await.unwrap_err().to_string();
        assert!(refused.contains("never"), "{refused}");
    }
    db.close().await.unwrap();
}

async fn an_entry_that_was_edited_in_the_database_is_found(hub: &mut Hub) {
    let world = world::small(hub).await;
    let auditor = world.auditor;
    let mut db = sane::connect(&hub.database_url()).await;
    without_triggers(hub.engine, &mut db).await;
    let leaf: Vec<u8> = sqlx::query_scalar("SELECT leaf FROM entry WHERE idx = 4").fetch_one(&mut db).await.unwrap();
    let mut forged = leaf.clone();
    let byte = forged.len() / 2;
    forged[byte] ^= 1;
    set_leaf(&mut db, &forged).await;
    assert_eq!(export(hub, &auditor).await.bad_index(), 4);
    // Put it back: the harness checks the world that a scenario leaves.
    set_leaf(&mut db, &leaf).await;
    export(hub, &auditor).await.verify().unwrap();
    db.close().await.unwrap();
}

async fn without_triggers(engine: Engine, db: &mut sqlx::AnyConnection) {
    let sqlite: &[&str] = &["DROP TRIGGER entry_is_never_changed"];
    let postgres: &[&str] = &["ALTER TABLE entry DISABLE TRIGGER USER"];
    for sql in if engine == Engine::Sqlite { sqlite } else { postgres } {
        db.execute(*sql).await.unwrap();
    }
}

async fn set_leaf(db: &mut sqlx::AnyConnection, leaf: &[u8]) {
    sqlx::query("UPDATE entry SET leaf = $1 WHERE idx = 4").bind(leaf.to_vec()).execute(db).await.unwrap();
}

async fn a_restored_old_database_is_not_served(hub: &mut Hub) {
    let world = world::small(hub).await;
    hub.end().await;
    let backup = backup(hub).await;
    hub.serve().await.unwrap();
    let steward = crate::personas::Steward(world.steward.at(&hub.site()).await);
    steward.create_dataset("after_the_backup", pb::AccessLevel::Open, None).await.unwrap();
    hub.end().await;

    let newest = std::mem::replace(&mut hub.config.database.url, backup);
    let refused = hub.serve().await.unwrap_err().message_en();
    assert!(refused.contains("older than the last checkpoint"), "{refused}");
    hub.config.database.url = newest;
    hub.serve().await.unwrap();
    let steward = crate::personas::Steward(steward.at(&hub.site()).await);
    steward.get_dataset("after_the_backup").await.unwrap();
}

/// A copy of the database of a hub that has ended.
async fn backup(hub: &Hub) -> odh::config::SecretUrl {
    let url = hub.database_url();
    match hub.engine {
        Engine::Sqlite => {
            std::fs::copy(hub.dir().join("hub.db"), hub.dir().join("backup.db")).unwrap();
            odh::config::SecretUrl::new("sqlite://{data_dir}/backup.db")
        }
        Engine::Postgres => {
            let (base, name) = url.rsplit_once('/').unwrap();
            let mut db = sane::connect(&format!("{base}/postgres")).await;
            let copy = format!("{name}_backup");
            db.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {copy} TEMPLATE {name}"))).await.unwrap();
            db.close().await.unwrap();
            odh::config::SecretUrl::new(format!("{base}/{copy}"))
        }
    }
}
