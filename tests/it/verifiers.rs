//! The log of a real server before verifiers: two that others wrote, run by `tests/verifiers/run.sh`, and our own.
//!
//! What the hub shows is written to a folder: an export, receipts, consistency proofs, tiles. Each verifier must accept
//! it, after a crash as well, and refuse it with any one bit flipped.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use indicatif::ProgressBar;
use odh::{
    audit::{
        Checkpoint, Hash, TlogProof, VerifierKey,
        export::{CHECKPOINT, ENTRIES, LEAF_HASHES, VKEY},
        leaf_hash, verify_consistency, verify_export,
    },
    grpc::pb,
};

use crate::{
    harness::{Engine, Hub, process::Home},
    personas::{Auditor, Operator, Persona, Steward},
    promises::p3_no_acknowledged_write_is_lost::write_until_killed,
    world::{self, RESEARCH},
};

/// The commands of the foreign verifiers, set by `tests/verifiers/run.sh`.
const FOREIGN: [&str; 2] = ["ODH_VERIFIER_GO", "ODH_VERIFIER_PYTHON"];
/// Every how many bytes one is flipped: all of them where a verifier is fast enough.
const EVERY: [&str; 2] = ["1", "7"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_verifier_refuses_each_flipped_byte_of_a_real_log() {
    let folder = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(Engine::Sqlite, "flips").await.unwrap();
    world_on_show(&mut hub, folder.path()).await;
    hub.stop().await;
    let mut files = read(folder.path());
    accepts(&files).unwrap();
    let mut flips = 0;
    for name in files.keys().cloned().collect::<Vec<_>>() {
        for at in 0..files[&name].len() {
            let byte = &mut files.get_mut(&name).unwrap()[at];
            *byte ^= 1 << (at % 8);
            assert!(accepts(&files).is_err(), "byte {at} of {name} may be flipped unnoticed");
            files.get_mut(&name).unwrap()[at] ^= 1 << (at % 8);
            flips += 1;
        }
    }
    println!("our verifier refuses each of {flips} flips");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/verifiers/run.sh installs the verifiers and runs it"]
async fn foreign_verifiers_accept_a_log_on_sqlite_and_no_flip_of_it() {
    foreign_verifiers(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/verifiers/run.sh installs the verifiers and runs it"]
async fn foreign_verifiers_accept_a_log_on_postgresql_and_no_flip_of_it() {
    foreign_verifiers(Engine::Postgres).await;
}

async fn foreign_verifiers(engine: Engine) {
    let folder = tempfile::tempdir().unwrap();
    let Some(mut hub) = Hub::start(engine, "foreign").await else { return };
    world_on_show(&mut hub, folder.path()).await;
    hub.stop().await;
    for (verifier, every) in FOREIGN.into_iter().zip(EVERY) {
        run(verifier, folder.path(), Some(every));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/verifiers/run.sh installs the verifiers and runs it"]
async fn foreign_verifiers_accept_the_log_of_a_hub_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(Engine::Sqlite, folder.path(), "foreign_kill").await.unwrap();
    let mut hub = home.serve().await;
    let operator = Operator::first(&hub.site, &home.operator_token()).await;
    let mut auditor = operator.auditor().await;
    let mut steward = operator.welcome("chu", pb::ParticipantKind::PublicBody).await.steward().await;
    let mut older = Vec::new();
    for round in 0..3 {
        older.push(latest(&auditor).await);
        write_until_killed(&steward, round, hub).await;
        hub = home.serve().await;
        (steward, auditor) = (Steward(steward.at(&hub.site).await), Auditor(auditor.at(&hub.site).await));
    }
    let shown = folder.path().join("shown");
    show(&auditor, &older, 7, &shown).await;
    hub.terminate();
    assert!(hub.ended().await.success());
    accepts(&read(&shown)).unwrap();
    for verifier in FOREIGN {
        run(verifier, &shown, None);
    }
}

/// Builds a small world, asks a little of it, and writes what the hub shows of its log.
async fn world_on_show(hub: &mut Hub, folder: &Path) {
    let world = world::small(hub).await;
    let mut older = vec![latest(&world.auditor).await];
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    older.push(latest(&world.auditor).await);
    show(&world.auditor, &older, 13, folder).await;
}

/// The checkpoint of now.
async fn latest(persona: &Persona) -> String {
    persona.client.audit().get_checkpoint(pb::GetCheckpointRequest {}).await.unwrap().into_inner().checkpoint
}

/// Writes an export, the receipt of every `every`-th entry and proofs that the log continues the `older` checkpoints.
async fn show(auditor: &Persona, older: &[String], every: usize, folder: &Path) {
    let exported =
        auditor.client.export_audit(folder, 0, &ProgressBar::hidden()).await.unwrap_or_else(|e| panic!("{e}"));
    let key: VerifierKey = fs::read_to_string(folder.join(VKEY)).unwrap().parse().unwrap();
    for index in (0..exported.tree_size).step_by(every) {
        let request = pb::GetInclusionProofRequest { index, tree_size: 0 };
        let proof = auditor.client.audit().get_inclusion_proof(request).await.unwrap().into_inner();
        let proof = TlogProof { index, hashes: hashes(&proof.hashes), checkpoint: proof.checkpoint };
        fs::write(folder.join(format!("{index}.tlog-proof")), proof.to_string()).unwrap();
    }
    for signed in older {
        let from_size = Checkpoint::verify(signed, &key).unwrap().size;
        let request = pb::GetConsistencyProofRequest { from_size, to_size: exported.tree_size };
        let proof = auditor.client.audit().get_consistency_proof(request).await.unwrap().into_inner();
        let lines: Vec<String> = hashes(&proof.hashes).iter().map(|hash| STANDARD.encode(hash)).collect();
        fs::write(folder.join(format!("{from_size}.consistency")), format!("{}\n\n{signed}", lines.join("\n")))
            .unwrap();
    }
}

fn hashes(bytes: &[impl AsRef<[u8]>]) -> Vec<Hash> {
    bytes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect()
}

/// Runs a foreign verifier on a folder.
fn run(verifier: &str, folder: &Path, every: Option<&str>) {
    let command = std::env::var(verifier).unwrap_or_else(|_| panic!("tests/verifiers/run.sh sets {verifier}"));
    let (program, first) = command.split_once(' ').unwrap_or((&command, ""));
    let arguments = [first].into_iter().filter(|first| !first.is_empty());
    let output = Command::new(program).args(arguments).arg(folder).args(every).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{}", said.trim_end());
    assert!(output.status.success(), "{verifier}: {said}");
    assert!(said.contains("accepts") && (every.is_none() || said.contains("flips")), "{said}");
}

type Files = BTreeMap<String, Vec<u8>>;

fn read(folder: &Path) -> Files {
    let path = |entry: std::io::Result<fs::DirEntry>| -> PathBuf { entry.unwrap().path() };
    let files = fs::read_dir(folder).unwrap().map(path).filter(|path| path.is_file());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())).collect()
}

/// What the foreign verifiers check, with our own code.
fn accepts(files: &Files) -> Result<(), String> {
    let text = |name: &str| String::from_utf8(files[name].clone()).map_err(|e| e.to_string());
    let said = |e: odh::error::Error| e.message_en();
    let key_text = text(VKEY)?;
    let key: VerifierKey = key_text.parse().map_err(said)?;
    if format!("{key}\n") != key_text {
        return Err("the key is not in its one spelling".to_owned());
    }
    let (entries, listed) = (files[ENTRIES].as_slice(), files[LEAF_HASHES].as_slice());
    let verified = verify_export(entries, std::io::Cursor::new(listed), &text(CHECKPOINT)?, &key, &mut |_| {})
        .map_err(|bad| bad.to_string())?;
    if verified.first_missing.is_some() {
        return Err("an entry is missing".to_owned());
    }
    let leaves: Vec<Hash> = entries.split(|byte| *byte == b'\n').map(leaf_hash).collect();
    for name in files.keys() {
        if name.ends_with(".tlog-proof") {
            let proof: TlogProof = text(name)?.parse().map_err(said)?;
            let leaf = usize::try_from(proof.index).ok().and_then(|index| leaves.get(index)).ok_or("no such entry")?;
            proof.verify(leaf, &key).map_err(said)?;
        } else if name.ends_with(".consistency") {
            let text = text(name)?;
            let (lines, older) = text.split_once("\n\n").ok_or("no older checkpoint")?;
            let older = Checkpoint::verify(older, &key).map_err(said)?;
            let decoded = lines.split('\n').map(|line| STANDARD.decode(line).ok()?.try_into().ok());
            let proof: Vec<Hash> = decoded.collect::<Option<_>>().ok_or("not hashes")?;
            let now = &verified.checkpoint;
            if !verify_consistency(older.size, &older.root, now.size, &now.root, &proof) {
                return Err("the log does not continue the older checkpoint".to_owned());
            }
        }
    }
    Ok(())
}
