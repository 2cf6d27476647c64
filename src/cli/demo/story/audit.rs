//! Step 9: the auditor reads the log, and anybody verifies its export.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use indicatif::ProgressBar;
use serde_json::Value as Json;

use crate::{
    audit::{
        LeafView,
        export::{CHECKPOINT, ENTRIES, LEAF_HASHES, VKEY},
    },
    cli::{
        choices::pages,
        demo::{
            hub::Hub,
            offline,
            persona::{Cast, Persona},
            stage::{Stage, expect, surprise, thousands},
        },
        failure::Failure,
        files,
    },
    grpc::pb,
};

/// More entries than the story makes.
const ALL: usize = 10_000;
/// Kinds of entries that tell the story; the others are counted.
const TOLD: [&str; 9] = [
    "participant.approved",
    "policy.published",
    "access.approved",
    "access.refused",
    "consent.imported",
    "consent.withdrawn",
    "grant.revoked",
    "query.decision",
    "call.denied",
];

pub(super) async fn check(stage: &mut Stage<'_>, hub: &Hub, cast: &Cast) -> Result<(), Failure> {
    stage.step(9, "The auditor reads the log; anybody can verify it")?;
    let entries = read(&cast.auditor).await?;
    let in_order = entries.iter().zip(0..).all(|(entry, index)| entry.index == index);
    expect(in_order && !entries.is_empty(), "every entry of the log, in order and without gaps")?;
    let (permitted, denied) = decisions(&entries);
    expect(permitted > 0 && denied > 0, "permitted and denied queries in the log")?;
    let count = thousands(entries.len() as u64);
    stage.done(
        &cast.auditor.name,
        format_args!("reads {count} entries: queries permitted {permitted}, denied {denied}"),
    )?;
    let rows: Vec<Vec<String>> = entries.iter().filter(|entry| TOLD.contains(&entry.kind.as_str())).map(row).collect();
    stage.table(&["entry", "time", "who", "what", "dataset", "why", "decision"], &rows)?;
    let mut others: BTreeMap<&str, u32> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| !TOLD.contains(&entry.kind.as_str())) {
        *others.entry(entry.kind.as_str()).or_default() += 1;
    }
    let others: Vec<String> = others.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    stage.says(&format!("and {}", others.join(", ")))?;
    let own = read(&cast.chu).await?;
    let concerned = own.iter().all(|entry| entry.parties.iter().any(|party| party.as_str() == cast.chu.participant));
    expect(concerned && own.len() < entries.len(), "a member to see what concerns it and nothing else")?;
    let count = thousands(own.len() as u64);
    stage.done(&cast.chu.name, format_args!("reads the log, too: the {count} entries that concern it"))?;
    let folder = hub.dir.join("audit-export");
    let exported = cast.auditor.client.export_audit(&folder, 0, &ProgressBar::hidden()).await?;
    expect(exported.entries == exported.tree_size, "the auditor's export to be complete")?;
    let what =
        format!("exports the log: {} entries, every leaf hash, a signed checkpoint", thousands(exported.entries));
    stage.done(&cast.auditor.name, what)?;
    // Whoever verifies takes the key from elsewhere than the export.
    let key = hub.dir.join("log.vkey");
    files::write_public(&key, &hub.fetch("/log.vkey").await?)?;
    offline::verify_export(stage, &folder, &key).await?;
    let (copy, index) = tamper(&folder, hub.dir.join("audit-tampered"))?;
    offline::refuse_export(stage, &copy, &key, index).await
}

async fn read(who: &Persona) -> Result<Vec<LeafView>, Failure> {
    let (entries, more) = pages(ALL, |page_size, page_token| {
        let mut service = who.client.audit();
        async move {
            let request = pb::ListEntriesRequest { page_size, page_token, filter: String::new() };
            let page = service.list_entries(request).await?.into_inner();
            Ok((page.entries, page.next_page_token))
        }
    })
    .await?;
    expect(!more, "the whole log")?;
    Ok(entries.iter().map(|entry| LeafView::parse(&entry.leaf)).collect::<Result<_, _>>()?)
}

fn decisions(entries: &[LeafView]) -> (usize, usize) {
    let count = |wanted: &str| {
        let decided = |entry: &&LeafView| fact(entry, "decision") == wanted;
        let decisions = entries.iter().filter(|entry| entry.kind.as_str() == "query.decision").filter(decided);
        // Each owner of a crossing has a leaf of its own about it.
        decisions.map(|entry| fact(entry, "query")).collect::<BTreeSet<_>>().len()
    };
    (count("permit"), count("deny"))
}

fn row(entry: &LeafView) -> Vec<String> {
    let kind = entry.kind.as_str();
    let time = entry.at.to_string().get(11..19).unwrap_or_default().to_owned();
    let who = entry.actor.as_ref().map_or_else(|| "the hub".to_owned(), ToString::to_string);
    let purpose = entry.purpose.as_ref().map(ToString::to_string).unwrap_or_default();
    let decision = match kind {
        "query.decision" if fact(entry, "decision") == "deny" => format!("deny: {}", fact(entry, "reason")),
        "query.decision" => "permit".to_owned(),
        "access.approved" => format!("rule {}", fact(entry, "rule")),
        "participant.approved" => fact(entry, "participant"),
        "consent.imported" | "consent.withdrawn" => {
            format!("{} given, {} withdrawn", fact(entry, "given"), fact(entry, "withdrawn"))
        }
        "call.denied" => format!("deny: {}", fact(entry, "reason")),
        "policy.published" => format!("version {}", fact(entry, "version")),
        _ => String::new(),
    };
    vec![entry.index.to_string(), time, who, kind.to_owned(), datasets(entry), purpose, decision]
}

/// The dataset that an entry is about, or those that a query crossed.
fn datasets(entry: &LeafView) -> String {
    if let Some(dataset) = &entry.dataset {
        return dataset.to_string();
    }
    let crossed = entry.facts.get("datasets").and_then(Json::as_array);
    let names = crossed.into_iter().flatten().filter_map(|used| used["dataset"].as_str());
    names.collect::<Vec<_>>().join(" ")
}

fn fact(entry: &LeafView, name: &str) -> String {
    match entry.facts.get(name) {
        Some(Json::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

/// Copies an export and changes one byte of the entry in the middle: a digit of its time.
fn tamper(folder: &Path, copy: PathBuf) -> Result<(PathBuf, u64), Failure> {
    let failed = |e: &std::io::Error| Failure::file(&copy, e);
    files::private_folder(&copy)?;
    for name in [LEAF_HASHES, CHECKPOINT, VKEY] {
        fs::copy(folder.join(name), copy.join(name)).map_err(|e| failed(&e))?;
    }
    let text = fs::read_to_string(folder.join(ENTRIES)).map_err(|e| failed(&e))?;
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let middle = lines.len() / 2;
    let line = lines.get_mut(middle).ok_or_else(|| surprise("the export is empty"))?;
    let view = LeafView::parse(line.as_bytes())?;
    let time = view.at.to_string();
    let changed = match time.replacen("20", "30", 1) {
        changed if changed != time => changed,
        _ => return Err(surprise("the time of an entry is not of this century")),
    };
    *line = line.replacen(&time, &changed, 1);
    let mut file = fs::File::create(copy.join(ENTRIES)).map_err(|e| failed(&e))?;
    for line in &lines {
        writeln!(file, "{line}").map_err(|e| failed(&e))?;
    }
    Ok((copy, view.index))
}
