//! `odh policy simulate`: who would gain or lose what if a policy were published, from what was asked before.

use clap::Args as ClapArgs;
use serde_json::{Value as Json, json};

use super::{diff::Side, show::text, words};
use crate::{
    cli::{
        Session, choices,
        env::Lang,
        failure::Failure,
        names,
        output::{Column, Format, Out},
    },
    domain::{Clock as _, SystemClock, Timestamp},
    grpc::pb,
};

const BASCULES: &[Column] = &[
    Column::new("PARTICIPANT", "/participant"),
    Column::new("EFFET", "/kind"),
    Column::new("ACTION", "/action"),
    Column::new("FINALITÉ", "/purpose"),
    Column::new("QUAND", "/when"),
    Column::new("QUOI", "/what"),
];

const FLIPS: &[Column] = &[
    Column::new("PARTICIPANT", "/participant"),
    Column::new("WOULD", "/kind"),
    Column::new("ACTION", "/action"),
    Column::new("PURPOSE", "/purpose"),
    Column::new("WHEN", "/when"),
    Column::new("WHAT", "/what"),
];

/// What to simulate.
#[derive(Debug, ClapArgs)]
pub(super) struct Args {
    /// The policy to try: OWNER.DATASET@VERSION; or give a manifest with -f.
    #[arg(required_unless_present = "file", conflicts_with = "file")]
    policy: Option<String>,
    /// The manifest, YAML or JSON, or the policy in ODRL.
    #[arg(short, long)]
    file: Option<String>,
    /// Replay this long until now, for example 30d.
    #[arg(long, default_value = "30d", value_parser = choices::duration)]
    since: prost_types::Duration,
    /// Ask everything again as of this day or instant instead of now.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
}

/// Replays the past against a policy.
pub(super) async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    let policy = Side::read(args.policy.as_deref().or(args.file.as_deref()).unwrap_or_default())?.into_choice();
    let at: Option<Timestamp> = args.at.as_deref().map(str::parse).transpose()?;
    let since = std::time::Duration::from_secs(u64::try_from(args.since.seconds).unwrap_or_default());
    let request = pb::SimulatePolicyRequest {
        policy: Some(policy),
        since_time: Some(instant(SystemClock.now().minus(since))),
        until_time: None,
        evaluate_time: at.map(instant),
    };
    let response = session.client().await?.policies().simulate_policy(request).await?.into_inner();
    show(&response, session)
}

fn show(response: &pb::SimulatePolicyResponse, session: &mut Session<'_>) -> Result<(), Failure> {
    if session.out.format == Format::Json {
        return session.out.show(response);
    }
    let lang = session.out.lang;
    let rows: Vec<Json> = response.flips.iter().map(|flip| row(flip, session.out)).collect();
    if !rows.is_empty() {
        session.out.rows(&rows, words::titles(session.out, FLIPS, BASCULES))?;
    }
    session.out.say(
        format!(
            "replayed: {}, {} in force, {}; {} would come out otherwise, {} the same",
            counted(response.access_requests, "request", "requests"),
            counted(response.grants, "grant", "grants"),
            counted(response.queries, "query", "queries"),
            words::counted(response.flips.len(), "use", "uses"),
            response.unchanged,
        ),
        format!(
            "rejoué : {}, {} en vigueur, {} ; {} autrement, {} à l'identique",
            counted(response.access_requests, "demande", "demandes"),
            counted(response.grants, "accord", "accords"),
            counted(response.queries, "requête", "requêtes"),
            words::counted(response.flips.len(), "usage finirait", "usages finiraient"),
            response.unchanged,
        ),
    );
    for assumption in &response.assumptions {
        let said = text(Some(assumption), lang);
        session.out.say(format!("- {said}"), format!("- {said}"));
    }
    if response.truncated {
        session.out.say("- there was more: take a shorter time", "- il y en avait plus : prenez une durée plus courte");
    }
    session.out.recorded(response.receipt.as_ref());
    Ok(())
}

fn counted(count: impl TryInto<usize>, one: &str, many: &str) -> String {
    words::counted(count.try_into().unwrap_or(usize::MAX), one, many)
}

fn row(flip: &pb::Flip, out: &Out) -> Json {
    let lang = out.lang;
    let short = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_ascii_lowercase();
    let when = flip.effective_time.as_ref().map_or_else(
        || lang.pick("at once", "tout de suite").to_owned(),
        |at| {
            let at = Timestamp::from_micros(at.seconds.saturating_mul(1_000_000));
            let day: String = at.to_string().chars().take(10).collect();
            lang.pick("after the grant ends, ", "à la fin de l'accord, ").to_owned() + day.as_str()
        },
    );
    json!({
        "participant": names::short(&flip.participant),
        "kind": words::value(out, flip.kind().as_str_name(), "FLIP_KIND_"),
        "action": short(flip.action().as_str_name(), "ACTION_"),
        "purpose": flip.purpose,
        "when": when,
        "what": what(flip, lang),
    })
}

/// Rules, columns, rows and terms that differ, in one line.
fn what(flip: &pb::Flip, lang: Lang) -> String {
    let mut said = Vec::new();
    match (flip.rule_before.as_str(), flip.rule_after.as_str()) {
        ("", "") => {}
        ("", after) => said.push(format!("`{after}`")),
        (before, "") => said.push(format!("`{before}`")),
        (before, after) if before == after => said.push(format!("`{after}`")),
        (before, after) => said.push(format!("`{before}` → `{after}`")),
    }
    let columns =
        |columns: &[String], sign: &str| columns.iter().map(|name| format!("{sign}{name}")).collect::<Vec<_>>();
    // Of a use that is gained or lost as a whole the columns go without saying.
    if flip.kind() == pb::FlipKind::Changes {
        said.extend(columns(&flip.columns_gained, "+"));
        said.extend(columns(&flip.columns_lost, "-"));
    }
    let count = |rows: Option<u64>| rows.map_or_else(|| "?".to_owned(), |rows| rows.to_string());
    if flip.rows_before.is_some() || flip.rows_after.is_some() {
        let (before, after) = (count(flip.rows_before), count(flip.rows_after));
        let rows = lang.pick("rows", "lignes");
        said.push(match flip.kind() {
            pb::FlipKind::Gains => format!("{after} {rows}"),
            pb::FlipKind::Loses => format!("{before} {rows}"),
            _ => format!("{before} → {after} {rows}"),
        });
    }
    said.extend(flip.terms.iter().map(|term| text(term.message.as_ref(), lang)));
    said.join("; ")
}

fn instant(at: Timestamp) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.micros().rem_euclid(1_000_000) * 1_000).unwrap_or_default();
    prost_types::Timestamp { seconds: at.seconds(), nanos }
}
