//! What an auditor makes of the log: a report from an export, and a measurement of the log itself.

use std::{ffi::OsString, path::Path};

use indicatif::ProgressBar;
use odh::{
    cli::{
        env::{Env, Lang},
        failure::Exit,
        output::Out,
        run_with,
    },
    grpc::pb,
};
use serde_json::Value as Json;
use tonic::Code;

use crate::{
    harness::{Engine, Hub, on_both_engines},
    personas::refused,
    world::{self, RESEARCH},
};

on_both_engines!(an_auditor_reports_on_an_export_offline);

async fn an_auditor_reports_on_an_export_offline(hub: &mut Hub) {
    let world = world::small(hub).await;
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    world.requester.query(RESEARCH, "select count(*) from chu.stays").await.unwrap();
    let nobodys = world.requester.query(RESEARCH, "select count(*) from chu.nothing").await;
    refused(nobodys, Code::InvalidArgument, "QUERY_REJECTED");
    let asked = world.requester.request_access(world::STAYS, pb::Action::Aggregate, RESEARCH).await.unwrap();
    let unused = world.steward.approve(&asked).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    world.auditor.client.export_audit(folder.path(), 0, &ProgressBar::hidden()).await.unwrap_or_else(|e| panic!("{e}"));
    hub.end().await;

    let page = folder.path().join("report.html");
    let report = report(folder.path(), &["--html", page.to_str().unwrap(), "-o", "json"]).await;
    let report: Json = serde_json::from_str(&report).unwrap();
    let list = |topic: &str| report["findings"][topic].as_array().unwrap().clone();
    assert!(list("denials").iter().any(|one| one["participant"] == "lab" && one["what"] == "QUERY_REJECTED"));
    let [first] = list("first_purposes").try_into().unwrap();
    assert_eq!((&first["participant"], &first["what"], &first["count"]), (&"lab".into(), &RESEARCH.into(), &2.into()));
    let [grant] = list("unused_grants").try_into().unwrap();
    assert!(grant["note"].as_str().unwrap().contains(unused.name.trim_start_matches("grants/")), "{grant}");

    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("QUERY_REJECTED") && page.matches("<svg").count() == 3);
    let text = self::report(folder.path(), &[]).await;
    assert!(text.contains("Grants never used (1)") && text.contains("Denials by reason"), "{text}");

    // Nobody reports on what is not genuine.
    let entries = folder.path().join("entries.jsonl");
    let edited = std::fs::read_to_string(&entries).unwrap().replacen("QUERY_REJECTED", "QUERY_REJECTeD", 1);
    std::fs::write(&entries, edited).unwrap();
    assert_eq!(odh(&["audit", "report", folder.path().to_str().unwrap()]).await.0, Exit::Unverified);
}

async fn report(folder: &Path, more: &[&str]) -> String {
    let (exit, text) = odh(&[&["audit", "report", folder.to_str().unwrap()], more].concat()).await;
    assert_eq!(exit, Exit::Ok, "{text}");
    text
}

/// Runs the command line in this process; gives what it wrote.
async fn odh(args: &[&str]) -> (Exit, String) {
    let (mut out, stdout, stderr) = Out::captured(Lang::En);
    let args = std::iter::once(&"odh").chain(args).map(OsString::from).collect();
    let exit = run_with(args, &Env::of([]), &mut out).await;
    (exit, format!("{}{}", stdout.text(), if exit == Exit::Ok { String::new() } else { stderr.text() }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hammered_hub_proves_every_entry_while_it_grows_on_sqlite() {
    hammer(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hammered_hub_proves_every_entry_while_it_grows_on_postgresql() {
    hammer(Engine::Postgres).await;
}

async fn hammer(engine: Engine) {
    for direct in [false, true] {
        let Some(url) = engine.database("hammer").await else { return };
        let mut args = vec!["hammer", "--seconds", "1", "--writers", "16", "-o", "json"];
        if engine == Engine::Postgres {
            args.extend(["--database", &url]);
        }
        if direct {
            args.extend(["--direct", "--preload", "300"]);
        }
        let (exit, text) = odh(&args).await;
        assert_eq!(exit, Exit::Ok, "{text}");
        println!("{text}");
        let json: Json = serde_json::from_str(&text).unwrap();
        assert!(json["disk"]["fdatasync_per_second"].as_u64().unwrap() > 0);
        if direct {
            let (grouped, each) = (&json["group_commit"], &json["one_commit_each"]);
            assert_eq!(each["commits"], each["entries"]);
            assert!(grouped["commits"].as_u64() < grouped["entries"].as_u64(), "commits are shared");
            assert_eq!(json["preload"]["entries"], 300);
        } else {
            assert!(json["served"]["proofs_verified"].as_u64().unwrap() > 0);
            assert!(json["served"]["entries"].as_u64().unwrap() > 16);
        }
    }
}
