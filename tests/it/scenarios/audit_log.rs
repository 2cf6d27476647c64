//! The log as its readers use it: search, tail, complete exports, mirrors, checks and pruning.

use std::{fs, path::Path, time::Duration};

use indicatif::ProgressBar;
use odh::{
    audit::{Checkpoint, VerifierKey, verify_inclusion},
    cli::failure::Exit,
    grpc::pb,
};
use sqlx::{Connection as _, Executor as _};
use tonic::Code;

use crate::{
    harness::{Engine, Hub, cli::odh, eventually, on_both_engines, raw, sane},
    personas::{Steward, refused},
    world::{self, RESEARCH},
};

on_both_engines!(
    a_query_over_two_datasets_is_found_under_each,
    entries_come_as_they_are_written,
    a_participant_proves_that_nothing_about_it_is_missing,
    a_database_is_checked_against_itself,
);

async fn log_key(hub: &Hub) -> String {
    raw::get_public(&hub.site(), "/log.vkey").await.unwrap().1.trim().to_owned()
}

async fn a_query_over_two_datasets_is_found_under_each(hub: &mut Hub) {
    let world = world::small(hub).await;
    let sql = "select c.name, count(*) from chu.stays s join chu.communes c on c.code = s.commune group by c.name";
    world.requester.query(RESEARCH, sql).await.unwrap();
    for dataset in ["stays", "communes"] {
        let filter = format!("type = \"query\" AND dataset = \"participants/chu/datasets/{dataset}\"");
        let found = world.auditor.entries(&filter).await;
        let kinds: Vec<&str> = found.iter().map(|(_, leaf)| leaf["t"].as_str().unwrap()).collect();
        assert!(kinds.contains(&"query.decision") && kinds.contains(&"query.outcome"), "{dataset}: {kinds:?}");
    }
    let of_the_lab = world.auditor.entries("participant = \"participants/lab\"").await;
    assert!(of_the_lab.iter().all(|(_, leaf)| leaf["parties"].to_string().contains("lab")) && !of_the_lab.is_empty());
}

async fn entries_come_as_they_are_written(hub: &mut Hub) {
    let world = world::small(hub).await;
    let mut audit = world.steward.client.audit();
    let request = pb::TailEntriesRequest { first_index: None, filter: "type = \"dataset.created\"".to_owned() };
    let mut stream = audit.tail_entries(request).await.unwrap().into_inner();
    for name in ["one", "two"] {
        world.steward.create_dataset(name, pb::AccessLevel::Open, None).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(5), stream.message()).await.unwrap().unwrap().unwrap();
        let leaf: serde_json::Value = serde_json::from_slice(&next.entries[0].leaf).unwrap();
        assert_eq!((&leaf["t"], &leaf["ds"]), (&"dataset.created".into(), &format!("chu.{name}").into()));
        let key: VerifierKey = log_key(hub).await.parse().unwrap();
        assert!(Checkpoint::verify(&next.checkpoint, &key).unwrap().size > next.entries[0].index);
    }
    let request = pb::TailEntriesRequest { first_index: Some(0), filter: String::new() };
    let all = audit.tail_entries(request.clone()).await.unwrap().into_inner().message().await.unwrap().unwrap();
    assert!(all.entries.len() > 3);
    refused(world.requester.client.audit().tail_entries(request).await, Code::PermissionDenied, "ROLE_MISSING");

    world.owner.revoke_member(&world.steward.name).await;
    let cut = async { while let Ok(Some(_)) = stream.message().await {} };
    tokio::time::timeout(Duration::from_secs(5), cut).await.expect("a revoked member's tail ends");
}

/// Whoever exports for the owner verifies it offline; an entry that is left out is a gap.
async fn a_participant_proves_that_nothing_about_it_is_missing(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("export");
    world.steward.client.export_audit(&path, 0, &ProgressBar::hidden()).await.unwrap();
    let (shown, key) = (path.to_str().unwrap(), log_key(hub).await);
    let (exit, said) = odh(&["audit", "verify", shown, "--key", &key, "-o", "json"]).await;
    assert_eq!(exit, Exit::Ok, "{said}");
    let said = said.replace(' ', "");
    assert!(said.contains(r#""complete_for":"chu""#) && said.contains(r#""first_number":0"#), "{said}");
    assert!(!said.contains("somethingmaybemissing"), "{said}");

    let openings = fs::read_to_string(path.join("openings.jsonl")).unwrap();
    assert!(!openings.contains("\"tseq/lab\"") && !openings.contains("\"sql\""), "what only the lab may open");
    let entries = fs::read_to_string(path.join("entries.jsonl")).unwrap();
    let decision = entries.lines().find(|line| line.contains("query.decision")).unwrap();
    let leaf: serde_json::Value = serde_json::from_str(decision).unwrap();
    let of_it = format!("\"i\":{}", leaf["i"]);
    let without = |text: &str, drop: &dyn Fn(&str) -> bool| -> String {
        text.split_inclusive('\n').filter(|line| !drop(line.trim_end())).collect()
    };
    fs::write(path.join("entries.jsonl"), without(&entries, &|line| line == decision)).unwrap();
    fs::write(path.join("openings.jsonl"), without(&openings, &|line| line.contains(&of_it))).unwrap();
    let (exit, said) = odh(&["audit", "verify", shown, "--key", &key]).await;
    assert_eq!(exit, Exit::Unverified, "{said}");
    assert!(said.contains("1 entries are missing"), "{said}");
}

async fn a_database_is_checked_against_itself(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let key: VerifierKey = log_key(hub).await.parse().unwrap();
    let findings = async || odh::store::fsck(&hub.database_url(), &key, &mut |_| {}).await.unwrap().findings;
    assert_eq!(findings().await, Vec::<String>::new());
    let mut db = sane::connect(&hub.database_url()).await;
    let triggers: &[&str] = match hub.engine {
        Engine::Sqlite => &["DROP TRIGGER entry_is_never_changed"],
        Engine::Postgres => &["ALTER TABLE entry DISABLE TRIGGER USER"],
    };
    for sql in triggers {
        db.execute(*sql).await.unwrap();
    }
    for (change, undo, expected) in [
        ("UPDATE entry SET kind = 'x' WHERE idx = 4", "", "entry 4: its columns"),
        (
            "UPDATE party_entry SET seq = seq + 1000 WHERE idx = 9",
            "UPDATE party_entry SET seq = seq - 1000 WHERE idx = 9",
            "has a gap",
        ),
        ("UPDATE opening SET value = value || '0' WHERE idx = 9", "", "opens none of its commitments"),
    ] {
        db.execute(change).await.unwrap();
        let found = findings().await;
        assert!(found.iter().any(|finding| finding.contains(expected)), "{change}: {found:?}");
        if !undo.is_empty() {
            db.execute(undo).await.unwrap();
        }
    }
    db.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_time_is_pruned_and_proofs_stay_on_sqlite() {
    Box::pin(pruned(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_past_its_time_is_pruned_and_proofs_stay_on_postgres() {
    Box::pin(pruned(Engine::Postgres)).await;
}

/// Sets back the clock of the first entries, as if they were old, and starts again.
async fn pruned(engine: Engine) {
    let Some(mut hub) = Hub::start(engine, "pruned").await else { return };
    let hub = &mut hub;
    let world = world::small(hub).await;
    let key: VerifierKey = log_key(hub).await.parse().unwrap();
    loop {
        let denied = world.requester.client.audit().list_entries(pb::ListEntriesRequest::default()).await;
        refused(denied, Code::PermissionDenied, "ROLE_MISSING");
        let (_, note) = raw::get_public(&hub.site(), "/checkpoint").await.unwrap();
        if Checkpoint::verify(&note, &key).unwrap().size > 330 {
            break;
        }
    }
    hub.end().await;
    let mut db = sane::connect(&hub.database_url()).await;
    let triggers: &[&str] = match hub.engine {
        Engine::Sqlite => &["DROP TRIGGER entry_is_never_changed"],
        Engine::Postgres => &["ALTER TABLE entry DISABLE TRIGGER entry_is_never_changed"],
    };
    for sql in triggers.iter().copied().chain(["UPDATE entry SET at = 0 WHERE idx < 300"]) {
        db.execute(sql).await.unwrap();
    }
    hub.serve().await.unwrap();
    let auditor = crate::personas::Auditor(world.auditor.at(&hub.site()).await);
    let left = eventually("old entries are pruned", Duration::from_secs(20), || async {
        let left = auditor.entries("").await;
        (left.first()?.0 == 256).then_some(left)
    })
    .await;
    let pruned = left.iter().find(|(_, leaf)| leaf["t"] == "audit.pruned").unwrap();
    assert_eq!(pruned.1["f"]["below"], "256");
    let openings: i64 =
        sqlx::query_scalar("SELECT COUNT(*) FROM opening WHERE idx < 256").fetch_one(&mut db).await.unwrap();
    assert_eq!(openings, 0);
    let refused = db.execute("DELETE FROM entry WHERE idx = 290").await.unwrap_err().to_string();
    assert!(refused.contains("never"), "{refused}");

    let (_, note) = raw::get_public(&hub.site(), "/checkpoint").await.unwrap();
    let now = Checkpoint::verify(&note, &key).unwrap();
    for index in [0, 100, 255, 256, 300] {
        let request = pb::GetInclusionProofRequest { index, tree_size: now.size };
        let proof = auditor.client.audit().get_inclusion_proof(request).await.unwrap().into_inner();
        let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect();
        let leaf = proof.leaf_hash.as_ref().try_into().unwrap();
        assert!(verify_inclusion(&leaf, index, now.size, &hashes, &now.root), "{index}");
    }
    hub.end().await;
    hub.serve().await.unwrap();
    let steward = Steward(world.steward.at(&hub.site()).await);
    steward.create_dataset("counters_go_on", pb::AccessLevel::Open, None).await.unwrap();
    let gaps: i64 = sqlx::query_scalar(
        "SELECT COUNT(*) FROM (SELECT party FROM party_entry GROUP BY party HAVING COUNT(*) <> MAX(seq) + 1) gaps",
    )
    .fetch_one(&mut db)
    .await
    .unwrap();
    assert_eq!(gaps, 0);
    db.close().await.unwrap();
    hub.end().await;
}

/// Mirror, check, make a proof offline, verify it, compare: all from files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_can_be_checked_from_files() {
    let mut hub = Hub::start(Engine::Sqlite, "files").await.unwrap();
    let world = world::small(&mut hub).await;
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let [ca, tiles, one, two, proof, leaf] = ["ca", "tiles", "one", "two", "proof", "leaf"].map(path);
    let (key, site) = (log_key(&hub).await, hub.site());
    let (key, https) = (key.as_str(), site.https.as_str());
    fs::write(&ca, &site.ca_pem).unwrap();
    let mirror: &[&str] = &["audit", "mirror", &tiles, "--hub", https, "--ca", &ca, "--key", key];
    let (exit, said) = odh(mirror).await;
    assert_eq!(exit, Exit::Ok, "{said}");
    let export = async |folder: &str| {
        world.auditor.client.export_audit(folder.as_ref(), 0, &ProgressBar::hidden()).await.unwrap()
    };
    export(&one).await;
    world.steward.create_dataset("more", pb::AccessLevel::Open, None).await.unwrap();
    export(&two).await;
    assert_eq!(odh(mirror).await.0, Exit::Ok, "brought up to date");

    let checkpoint = format!("{one}/checkpoint");
    let good: [&[&str]; 4] = [
        &["audit", "fsck", &tiles, "--key", key],
        &["audit", "fsck", &one, "--key", key],
        &["audit", "diff", &one, &two, "--key", key],
        &["audit", "diff", &checkpoint, &two, "--key", key],
    ];
    for good in good {
        let (exit, said) = odh(good).await;
        assert_eq!(exit, Exit::Ok, "{good:?}: {said}");
    }
    let (exit, text) = odh(&["audit", "prove", "5", "--from", &two, "--key", key]).await;
    assert_eq!(exit, Exit::Ok, "{text}");
    let entries = fs::read_to_string(dir.path().join("two/entries.jsonl")).unwrap();
    fs::write(&proof, &text).unwrap();
    fs::write(&leaf, entries.lines().nth(5).unwrap()).unwrap();
    let verify: &[&str] = &["audit", "verify", &proof, "--leaf", &leaf, "--key", key];
    assert_eq!(odh(verify).await.0, Exit::Ok);
    fs::write(&leaf, entries.lines().nth(6).unwrap()).unwrap();
    assert_eq!(odh(verify).await.0, Exit::Unverified);

    flip_a_hash(dir.path(), "two/leaf-hashes", 7);
    let (exit, said) = odh(&["audit", "diff", &one, &two, "--key", key]).await;
    assert_eq!((exit, said.contains("entry 7 is the first")), (Exit::Unverified, true), "{said}");
    for tile in fs::read_dir(dir.path().join("tiles/tile/0/000.p")).unwrap() {
        let tile = tile.unwrap().path();
        let mut bytes = fs::read(&tile).unwrap();
        bytes[40] ^= 1;
        fs::write(&tile, bytes).unwrap();
    }
    let (exit, said) = odh(&["audit", "fsck", &tiles, "--key", key]).await;
    assert_eq!(exit, Exit::Unverified, "{said}");
    hub.stop().await;
}

/// Changes one digit of the hash of an entry.
fn flip_a_hash(dir: &Path, name: &str, index: usize) {
    let text = fs::read_to_string(dir.join(name)).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let digit = if lines[index].starts_with('0') { "1" } else { "0" };
    lines[index].replace_range(..1, digit);
    fs::write(dir.join(name), lines.join("\n") + "\n").unwrap();
}
