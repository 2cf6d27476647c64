//! Files that become snapshots, whole or not at all.

use futures::StreamExt as _;
use odh::{
    domain::Digest,
    grpc::pb::{self, LogicalType as T},
};
use tonic::Code;

use crate::{
    harness::{Hub, on_both_engines},
    personas::{Steward, metadata, reason, refused},
    world,
};

on_both_engines!(
    a_file_becomes_a_snapshot_with_its_schema,
    a_malformed_file_is_refused_with_its_line_and_leaves_nothing,
    announced_size_and_digest_are_held_against_the_bytes,
    a_broken_upload_leaves_nothing,
    an_upload_that_is_too_large_is_refused,
    a_missing_subject_key_column_is_named,
    consents_with_a_bad_line_change_nothing,
    parquet_that_is_none_is_refused,
    an_upload_makes_a_new_snapshot_and_keeps_the_old_one,
);

async fn draft(world: &world::World, id: &str) -> Steward {
    world.steward.create_dataset(id, pb::AccessLevel::Restricted, Some(("pid", "regional"))).await.unwrap();
    world.steward.clone()
}

async fn has_no_snapshot(steward: &Steward, id: &str) {
    let dataset = steward.get_dataset(id).await.unwrap();
    assert_eq!((dataset.state(), dataset.snapshot), (pb::DatasetState::Draft, None), "something was half done");
}

async fn a_file_becomes_a_snapshot_with_its_schema(hub: &mut Hub) {
    let world = world::small(hub).await;
    let snapshot = world.steward.get_dataset("stays").await.unwrap().snapshot.unwrap();
    let types: Vec<(&str, pb::LogicalType)> =
        snapshot.columns.iter().map(|c| (c.name.as_str(), c.r#type.unwrap().logical_type())).collect();
    assert_eq!(
        types,
        [
            ("pid", T::String),
            ("commune", T::Int64),
            ("age", T::Int64),
            ("diagnosis", T::String),
            ("cost", T::Decimal),
            ("admitted", T::Date)
        ]
    );
    assert_eq!(snapshot.rows, world::ROWS as u64);
    assert_eq!(snapshot.subjects, Some(world::SUBJECTS as u64));
    assert_eq!(snapshot.source_digest, Digest::of(world::stays().as_bytes()).to_string());
    assert_eq!(snapshot.columns[0].role(), pb::ColumnRole::SubjectKey);
    let uuid = snapshot.name.rsplit('/').next().unwrap();
    let object = std::fs::read(hub.dir().join("objects").join(format!("{uuid}.parquet"))).unwrap();
    assert_eq!((object.len() as u64, Digest::of(&object).to_string()), (snapshot.size_bytes, snapshot.digest));
}

async fn a_malformed_file_is_refused_with_its_line_and_leaves_nothing(hub: &mut Hub) {
    let world = world::small(hub).await;
    let steward = draft(&world, "bad").await;
    let cases: [(&str, &[u8], &str); 8] = [
        ("a field too many", b"pid,a\ns1,1\ns2,2,3\n", "3"),
        ("a field too few", b"pid,a\ns1,1\ns2\n", "3"),
        ("an open quote", b"pid,a\ns1,\"1\ns2,2\n", "2"),
        ("invalid UTF-8", b"pid,a\ns1,1\ns2,\xc3\x28\n", "3"),
        ("a name twice", b"pid,a,a\ns1,1,2\n", "1"),
        ("a name that is none", b"pid,drop table\ns1,1\n", "1"),
        ("an empty name", b"pid,\ns1,1\n", "1"),
        ("a NUL in a pseudonym", b"pid,a\ns\0,1\n", "2"),
    ];
    for (what, file, line) in cases {
        let status = steward.upload("bad", file).await.err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "UPLOAD_MALFORMED"), "{what}");
        assert_eq!(metadata(&status, "line"), line, "{what}: {status:?}");
        assert!(!status.message().contains("s2"), "{what}: the answer shows data: {status:?}");
        has_no_snapshot(&steward, "bad").await;
    }
    for (what, file) in [("nothing", &b""[..]), ("no header", b"\n\n")] {
        let status = steward.upload("bad", file).await.err().unwrap_or_else(|| panic!("{what} was taken"));
        assert_eq!(status.code(), Code::InvalidArgument, "{what}: {status:?}");
        has_no_snapshot(&steward, "bad").await;
    }
    steward.upload("bad", "pid,a\ns1,1\n").await.unwrap();
}

async fn announced_size_and_digest_are_held_against_the_bytes(hub: &mut Hub) {
    let world = world::small(hub).await;
    let steward = draft(&world, "announced").await;
    let file = b"pid,a\ns1,1\n";
    let header = pb::UploadSnapshotHeader {
        dataset: steward.dataset("announced"),
        format: pb::FileFormat::Csv.into(),
        source_digest: Digest::of(file).to_string(),
        source_size_bytes: Some(file.len() as u64),
        request_id: String::new(),
    };
    let wrong = [
        pb::UploadSnapshotHeader { source_digest: Digest::of(b"other").to_string(), ..header.clone() },
        pb::UploadSnapshotHeader { source_size_bytes: Some(5), ..header.clone() },
        pb::UploadSnapshotHeader { source_size_bytes: Some(500), ..header.clone() },
    ];
    for header in wrong {
        refused(steward.upload_as(header, file).await, Code::InvalidArgument, "UPLOAD_DIGEST_MISMATCH");
        has_no_snapshot(&steward, "announced").await;
    }
    steward.upload_as(header, file).await.unwrap();
}

async fn a_broken_upload_leaves_nothing(hub: &mut Hub) {
    use pb::upload_snapshot_request::Part;
    let world = world::small(hub).await;
    let steward = draft(&world, "broken").await;
    let header = Part::Header(pb::UploadSnapshotHeader {
        dataset: steward.dataset("broken"),
        format: pb::FileFormat::Csv.into(),
        ..Default::default()
    });
    let chunk = || Part::Chunk(b"pid,a\ns1,1\n".to_vec().into());
    // Orders that are none: no header, two headers, nothing at all.
    for parts in [vec![chunk()], vec![header.clone(), header.clone(), chunk()], vec![]] {
        let parts = parts.into_iter().map(|part| pb::UploadSnapshotRequest { part: Some(part) });
        let parts = futures::stream::iter(parts.collect::<Vec<_>>());
        let status = steward.client.uploads().upload_snapshot(parts).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        has_no_snapshot(&steward, "broken").await;
    }
    // A client that goes away in the middle; the harness asserts that no part file stays.
    let parts = futures::stream::iter([header, chunk()].map(|part| pb::UploadSnapshotRequest { part: Some(part) }));
    let endless = parts.chain(futures::stream::pending());
    let mut uploads = steward.client.uploads();
    let started = tokio::time::timeout(std::time::Duration::from_millis(300), uploads.upload_snapshot(endless)).await;
    assert!(started.is_err(), "an upload without end was answered");
    let parts = hub.dir().join("uploads");
    crate::harness::eventually("the part file is gone", std::time::Duration::from_secs(10), || async {
        (std::fs::read_dir(&parts).unwrap().count() == 0).then_some(())
    })
    .await;
    has_no_snapshot(&steward, "broken").await;
}

async fn an_upload_that_is_too_large_is_refused(hub: &mut Hub) {
    hub.end().await;
    hub.config.limits.upload_bytes = 100_000;
    hub.config.limits.upload_rows = 100;
    hub.serve().await.unwrap();
    let operator = crate::personas::Operator::first(&hub.site(), &hub.operator_token()).await;
    let steward = operator.welcome("chu", pb::ParticipantKind::PublicBody).await.steward().await;
    steward.create_dataset("large", pb::AccessLevel::Open, None).await.unwrap();
    let bytes = format!("a,b\n{}", "x".repeat(200_000));
    refused(steward.upload("large", bytes).await, Code::InvalidArgument, "UPLOAD_TOO_LARGE");
    let rows = format!("a\n{}", "1\n".repeat(101));
    refused(steward.upload("large", rows).await, Code::InvalidArgument, "UPLOAD_TOO_LARGE");
    has_no_snapshot(&steward, "large").await;
    steward.upload("large", format!("a\n{}", "1\n".repeat(100))).await.unwrap();
}

async fn a_missing_subject_key_column_is_named(hub: &mut Hub) {
    let world = world::small(hub).await;
    let steward = draft(&world, "keyless").await;
    let status = refused(steward.upload("keyless", "a,b\n1,2\n").await, Code::InvalidArgument, "COLUMN_UNKNOWN");
    assert_eq!(metadata(&status, "column"), "pid");
    has_no_snapshot(&steward, "keyless").await;
}

async fn consents_with_a_bad_line_change_nothing(hub: &mut Hub) {
    let world = world::small(hub).await;
    let count = "select count(*) from chu.stays";
    let before = world.requester.query(world::RESEARCH, count).await.unwrap().number();
    let head = "subject,purpose,status\ns00001,scientific_research,withdrawn\n";
    let cases = [
        ("a status that is none", format!("{head}s00002,scientific_research,perhaps\n"), "3"),
        ("a purpose that is none", format!("{head}s00002,world_domination,given\n"), "3"),
        ("a field too few", format!("{head}s00002,scientific_research\n"), "3"),
        ("no subject", format!("{head},scientific_research,given\n"), "3"),
        ("another header", "who,why,what\na,b,c\n".to_owned(), "1"),
    ];
    for (what, file, line) in cases {
        let status = world.steward.import_consents("stays", file).await.unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (Code::InvalidArgument, "CONSENTS_MALFORMED"), "{what}");
        assert_eq!(metadata(&status, "line"), line, "{what}");
        assert!(!status.message().contains("s0000"), "{what}: the answer shows a pseudonym");
    }
    assert_eq!(world.requester.query(world::RESEARCH, count).await.unwrap().number(), before);
    let file = "subject,purpose,status,recipient,expires\n\
                s00001,scientific_research,given,lab,2020-01-01T00:00:00Z\nnobody,scientific_research,given,,\n";
    let done = world.steward.import_consents("stays", file).await.unwrap();
    assert_eq!((done.given, done.unknown_subjects), (1, 1));
}

async fn parquet_that_is_none_is_refused(hub: &mut Hub) {
    let world = world::small(hub).await;
    let steward = draft(&world, "parquet").await;
    let header = pb::UploadSnapshotHeader {
        dataset: steward.dataset("parquet"),
        format: pb::FileFormat::Parquet.into(),
        ..Default::default()
    };
    let object = std::fs::read_dir(hub.dir().join("objects")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(object).unwrap();
    let mut flipped = whole.clone();
    let near_the_end = flipped.len() - 60;
    flipped[near_the_end] ^= 0xff;
    for file in [b"PAR1".to_vec(), b"pid,a\n1,2\n".to_vec(), whole[..whole.len() / 2].to_vec(), flipped] {
        let status = steward.upload_as(header.clone(), file).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        has_no_snapshot(&steward, "parquet").await;
    }
}

async fn an_upload_makes_a_new_snapshot_and_keeps_the_old_one(hub: &mut Hub) {
    let world = world::small(hub).await;
    let names = "select count(*) from chu.communes";
    assert_eq!(world.requester.query(world::RESEARCH, names).await.unwrap().number(), 10);
    let new = world.steward.upload("communes", "code,name\n31001,Une\n31002,Deux\n").await.unwrap();
    let answer = world.requester.query(world::RESEARCH, names).await.unwrap();
    assert_eq!((answer.number(), answer.header.datasets[0].snapshot.as_str()), (2, new.name.as_str()));
    let request = pb::ListSnapshotsRequest { parent: world.steward.dataset("communes"), ..Default::default() };
    let listed = world.requester.client.catalog().list_snapshots(request).await.unwrap().into_inner().snapshots;
    assert_eq!(listed.iter().map(|s| s.rows).collect::<Vec<_>>(), [2, 10], "the newest first");
}
