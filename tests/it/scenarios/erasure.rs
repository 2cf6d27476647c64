//! Erasing a person or a subject: nothing of them is left that could be read or opened, and every proof stays.

use std::{fs, path::Path};

use indicatif::ProgressBar;
use odh::{
    audit::{Checkpoint, VerifierKey, verify_consistency},
    cli::failure::Exit,
    grpc::pb::{self, erase_request::Whom},
};
use tonic::{Code, Status};

use crate::{
    harness::{Engine, Hub, cli::odh, on_both_engines, raw},
    personas::{Auditor, Persona, Requester, Stranger, refused},
    world::{self, RESEARCH},
};

on_both_engines!(who_may_erase_whom, what_is_erased_is_not_opened_any_more);

/// What only this person's name and query hold.
const NAME: &str = "Hypatia of Alexandria";
const LITERAL: &str = "Synesius";

async fn erase(persona: &Persona, whom: Whom) -> Result<pb::EraseResponse, Status> {
    let request = pb::EraseRequest { whom: Some(whom), request_id: String::new() };
    persona.client.audit().erase(request).await.map(tonic::Response::into_inner)
}

fn subject(number: usize) -> Whom {
    let dataset = "participants/chu/datasets/stays".to_owned();
    Whom::Subject(pb::ErasedSubject { dataset, pseudonym: world::subject(number) })
}

/// A requester of the lab whose name and text can be recognised.
async fn person(world: &world::World) -> Requester {
    let request = pb::CreateMemberRequest {
        parent: world.lab.parent(),
        display_name: NAME.to_owned(),
        roles: vec![pb::Role::Requester.into()],
        request_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        ..Default::default()
    };
    let invited = world.lab.client.participants().create_member(request).await.unwrap().into_inner();
    let person = Requester(Stranger::at(&world.lab.site).await.enrol(&invited.enrolment_token).await.unwrap());
    let sql = format!("select count(*) from chu.stays where diagnosis = '{LITERAL}'");
    person.query(RESEARCH, &sql).await.unwrap();
    person
}

/// How often each text stands in the files of the database.
fn in_the_files(dir: &Path, texts: &[&str]) -> Vec<usize> {
    let files = ["hub.db", "hub.db-wal"].map(|name| fs::read(dir.join(name)).unwrap_or_default());
    let count = |text: &str| {
        files.iter().map(|bytes| bytes.windows(text.len()).filter(|part| *part == text.as_bytes()).count()).sum()
    };
    texts.iter().map(|text| count(text)).collect()
}

async fn who_may_erase_whom(hub: &mut Hub) {
    let world = world::small(hub).await;
    let person = person(&world).await;
    let member = Whom::Member(person.name.clone());
    refused(erase(&world.lab, member.clone()).await, Code::FailedPrecondition, "STATE_CONFLICT");
    world.lab.revoke_member(&person.name).await;
    for other in [&world.requester.0, &world.auditor.0, &world.lab.steward().await.0] {
        let answer = erase(other, member.clone()).await.unwrap_err();
        assert!(matches!(answer.code(), Code::PermissionDenied | Code::NotFound), "{answer:?}");
    }
    let answer = erase(&world.owner, member.clone()).await.unwrap_err();
    assert!(matches!(answer.code(), Code::PermissionDenied | Code::NotFound), "{answer:?}");
    for other in [&world.requester.0, &world.lab.0, &world.owner.0, &world.auditor.0] {
        let answer = erase(other, subject(3)).await.unwrap_err();
        assert!(matches!(answer.code(), Code::PermissionDenied | Code::NotFound), "{answer:?}");
    }
    erase(&world.operator, member).await.unwrap();
    erase(&world.operator, subject(3)).await.unwrap();
    erase(&world.steward, subject(4)).await.unwrap();
    refused(erase(&world.steward, subject(4)).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    let erased = world.auditor.entries("type = \"audit.erased\"").await;
    assert_eq!(erased.len(), 3);
    for (_, leaf) in erased {
        assert!(leaf["f"]["what"] == "member" || leaf["f"]["what"] == "subject");
        assert!(!leaf.to_string().contains("s0000"), "{leaf}");
    }
}

async fn what_is_erased_is_not_opened_any_more(hub: &mut Hub) {
    let world = world::small(hub).await;
    let person = person(&world).await;
    let count = "select count(*) from chu.stays";
    let before = world.requester.query(RESEARCH, count).await.unwrap().number();
    world.steward.withdraw("stays", &[world::subject(7), world::subject(8)]).await;
    world.lab.revoke_member(&person.name).await;
    assert!(erase(&world.lab, Whom::Member(person.name.clone())).await.unwrap().openings >= 3);
    assert_eq!(erase(&world.steward, subject(7)).await.unwrap().openings, 1, "the list of those who withdrew");
    erase(&world.steward, subject(1)).await.unwrap();
    let after = world.requester.query(RESEARCH, count).await.unwrap().number();
    assert_eq!(before - after, 3 * 4, "two withdrew, and who is erased does not consent any more");
    let name = person.name.clone();
    let member = world.lab.client.participants().get_member(pb::GetMemberRequest { name }).await.unwrap().into_inner();
    assert_eq!(member.member.unwrap().display_name, "");
}

/// The test greps the files as they are on the disk, while the hub goes on serving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_the_erased_is_left_in_the_files_and_every_proof_holds() {
    let mut hub = Hub::start(Engine::Sqlite, "grep").await.unwrap();
    let world = world::small(&mut hub).await;
    let person = person(&world).await;
    let pseudonym = world::subject(7);
    world.steward.withdraw("stays", std::slice::from_ref(&pseudonym)).await;
    let sql = format!("select count(*) from chu.stays where diagnosis = '{pseudonym}'");
    world.requester.query(RESEARCH, &sql).await.unwrap();
    let texts = [NAME, LITERAL, &pseudonym];
    assert!(in_the_files(hub.dir(), &texts).iter().all(|count| *count > 0), "the test looks in the right place");

    let folder = tempfile::tempdir().unwrap();
    let early = folder.path().join("early");
    world.auditor.client.export_audit(&early, 0, &ProgressBar::hidden()).await.unwrap();
    world.lab.revoke_member(&person.name).await;
    let by_member = erase(&world.lab, Whom::Member(person.name.clone())).await.unwrap();
    let by_subject = erase(&world.steward, subject(7)).await.unwrap();
    assert!(by_member.purged && by_subject.purged);
    assert_eq!(in_the_files(hub.dir(), &texts), [0, 0, 0]);

    let late = folder.path().join("late");
    world.auditor.client.export_audit(&late, 0, &ProgressBar::hidden()).await.unwrap();
    let (_, key) = raw::get_public(&hub.site(), "/log.vkey").await.unwrap();
    for export in [&early, &late] {
        let (exit, said) = odh(&["audit", "verify", export.to_str().unwrap(), "--key", key.trim()]).await;
        assert_eq!(exit, Exit::Ok, "{said}");
    }
    consistent(&world.auditor, &early, &key).await;
    let report = odh::store::fsck(&hub.database_url(), &key.trim().parse().unwrap(), &mut |_| {}).await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    hub.stop().await;
}

/// The log that the early export is of is the beginning of the log of now.
async fn consistent(auditor: &Auditor, early: &Path, key: &str) {
    let key: VerifierKey = key.trim().parse().unwrap();
    let old = Checkpoint::verify(&fs::read_to_string(early.join("checkpoint")).unwrap(), &key).unwrap();
    let request = pb::GetConsistencyProofRequest { from_size: old.size, to_size: 0 };
    let proof = auditor.client.audit().get_consistency_proof(request).await.unwrap().into_inner();
    let new = Checkpoint::verify(&proof.checkpoint, &key).unwrap();
    let hashes: Vec<[u8; 32]> = proof.hashes.iter().map(|hash| hash.as_ref().try_into().unwrap()).collect();
    assert!(verify_consistency(old.size, &old.root, new.size, &new.root, &hashes));
}
