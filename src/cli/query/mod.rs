//! `odh query`: SQL across datasets, for one purpose.

mod answer;
mod template;

use std::path::Path;

use clap::Args as ClapArgs;

pub use answer::{Answer, Question};

use super::{
    Session,
    failure::{Exit, Failure},
    files, names,
    output::{Format, Out, to_json},
    upload,
};
use crate::grpc::pb;

/// Ask a question in SQL across datasets, for one purpose.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Example: odh query \"SELECT commune, count(*) FROM chu.stays GROUP BY commune\" \
                        --purpose scientific_research -o csv")]
pub struct Args {
    /// One SELECT statement; a dataset is OWNER.DATASET. `-` reads it from standard input.
    #[arg(required_unless_present_any = ["template", "templates"], conflicts_with_all = ["template", "templates"])]
    sql: Option<String>,
    /// The purpose, a slug of `odh policy purposes`.
    #[arg(short, long, required_unless_present = "templates", default_value = "", hide_default_value = true)]
    purpose: String,
    /// An approved query to run, OWNER.DATASET/NAME.
    #[arg(long, value_name = "NAME")]
    template: Option<String>,
    /// A value of the approved query; can be repeated.
    #[arg(long = "param", value_name = "NAME=VALUE", requires = "template")]
    parameters: Vec<String>,
    /// List the approved queries of a dataset, OWNER.DATASET, that you may run.
    #[arg(long, value_name = "DATASET", conflicts_with = "template")]
    templates: Option<String>,
    /// A grant to use, a UUID; can be repeated. By default the hub chooses.
    #[arg(long = "grant", value_name = "ID")]
    grants: Vec<String>,
    /// Say what the query would do or why it would be refused, and run nothing.
    #[arg(long)]
    explain: bool,
}

/// Runs `odh query`.
pub async fn run(args: Args, session: &mut Session<'_>) -> Result<(), Failure> {
    if let Some(dataset) = &args.templates {
        return template::list(dataset, session).await;
    }
    let question = match (&args.template, args.sql.as_deref()) {
        (Some(name), _) => template::question(name, &args.parameters)?,
        (None, Some("-")) => Question::sql(files::read_text(Path::new("-"))?),
        (None, sql) => Question::sql(sql.unwrap_or_default()),
    };
    let client = session.client().await?;
    if args.explain {
        let response = client.explain(&question, &args.purpose, &args.grants).await?;
        return explained(&response, session.out);
    }
    let progress = upload::bytes_received(session.out);
    let answer = client.query_with(&question, &args.purpose, &args.grants, &progress).await;
    progress.finish_and_clear();
    write(answer?, session.out)
}

/// Writes an answer, and tells by what right it was read.
pub(super) fn write(answer: Answer, out: &mut Out) -> Result<(), Failure> {
    let Answer { header, records, receipt } = answer;
    records.write(out)?;
    tell(&header, &receipt, out);
    Ok(())
}

/// By what right the data was read, and where it is recorded.
fn tell(header: &pb::ExecuteHeader, receipt: &pb::QueryReceipt, out: &mut Out) {
    for used in &header.datasets {
        let right = match (used.grant.as_str(), used.rule.as_str()) {
            ("", "") => out.lang.pick("your own", "le vôtre").to_owned(),
            ("", rule) => format!("{} {rule}", out.lang.pick("open, rule", "ouvert, règle")),
            (grant, rule) => {
                let names = out.lang.pick("grant {}, rule {}", "accord {}, règle {}");
                names.replacen("{}", &names::short(grant), 1).replacen("{}", rule, 1)
            }
        };
        out.say(format!("{}: {right}", used.table), format!("{} : {right}", used.table));
    }
    let entry = |receipt: &Option<pb::Receipt>| receipt.as_ref().map_or_else(String::new, |r| r.index.to_string());
    let (rows, id) = (receipt.rows, &receipt.query_id);
    let (decision, outcome) = (entry(&receipt.decision), entry(&receipt.outcome));
    out.say(
        format!("{rows} rows; query {id}; decision in audit entry {decision}, outcome in {outcome}"),
        format!("{rows} lignes ; requête {id} ; décision inscrite à l'entrée {decision}, issue à l'entrée {outcome}"),
    );
}

/// What a query would do; a refusal is told as the query itself would be refused.
fn explained(response: &pb::ExplainQueryResponse, out: &mut Out) -> Result<(), Failure> {
    use pb::explain_query_response::Result as Explained;
    if out.format != Format::Table {
        out.show(response)?;
    }
    match &response.result {
        Some(Explained::Explanation(explanation)) if out.format == Format::Table => {
            for terms in &explanation.datasets {
                let mut json = to_json(terms)?;
                if let Some(used) = json.as_object_mut().and_then(|fields| fields.remove("dataset_use")) {
                    out.line(used["table"].as_str().unwrap_or_default())?;
                    json["grant"] = used["grant"].clone();
                    json["rule"] = used["rule"].clone();
                    json["legal_basis"] = used["legal_basis"].clone();
                    json["snapshot"] = used["snapshot"].clone();
                }
                out.object(&json)?;
                out.line("")?;
            }
            let (k, rows) = (explanation.k.map_or_else(|| "-".to_owned(), |k| k.to_string()), explanation.max_rows);
            out.line(format_args!("k {k}; max_rows {rows}"))
        }
        Some(Explained::Explanation(_)) => Ok(()),
        Some(Explained::Refusal(refusal)) => {
            let reason = refusal.reason().as_str_name().trim_start_matches("ERROR_REASON_").to_owned();
            let message = refusal.message.clone().unwrap_or_default();
            let failure = Failure::new(Exit::Failed, message.en, message.fr);
            Err(failure.because(reason, refusal.metadata.clone()))
        }
        None => Err(Failure::protocol("it lacks the result")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::env::Lang;

    #[test]
    fn what_was_read_and_where_it_is_recorded_is_told_beside_the_answer() {
        let used = |table: &str, grant: &str, rule: &str| pb::DatasetUse {
            table: table.to_owned(),
            grant: grant.to_owned(),
            rule: rule.to_owned(),
            ..pb::DatasetUse::default()
        };
        let header = pb::ExecuteHeader {
            datasets: vec![
                used("chu.stays", "grants/7", "research"),
                used("region.communes", "", "open"),
                used("lab.own", "", ""),
            ],
            ..pb::ExecuteHeader::default()
        };
        let at = |index| Some(pb::Receipt { index, ..pb::Receipt::default() });
        let receipt = pb::QueryReceipt { rows: 3, decision: at(41), outcome: at(42), ..pb::QueryReceipt::default() };
        let (mut out, stdout, stderr) = Out::captured(Lang::En);
        tell(&header, &receipt, &mut out);
        let told = stderr.text();
        assert!(stdout.bytes().is_empty());
        for part in [
            "chu.stays: grant 7, rule research",
            "region.communes: open, rule open",
            "lab.own: your own",
            "3 rows",
            "audit entry 41",
            "outcome in 42",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn an_explained_refusal_is_told_like_the_refusal_itself() {
        let refusal = pb::Refusal {
            reason: pb::ErrorReason::GrantRequired.into(),
            metadata: [("dataset".to_owned(), "chu.stays".to_owned())].into(),
            message: Some(pb::LocalizedText { fr: "aucun accord".to_owned(), en: "no grant".to_owned() }),
        };
        let response = pb::ExplainQueryResponse { result: Some(pb::explain_query_response::Result::Refusal(refusal)) };
        let (mut out, _, _) = Out::captured(Lang::Fr);
        let failure = explained(&response, &mut out).unwrap_err();
        assert_eq!((failure.exit(), failure.reason()), (Exit::Denied, Some("GRANT_REQUIRED")));
        assert!(failure.render(Lang::Fr).contains("aucun accord [GRANT_REQUIRED]"));
        assert!(failure.hint(Lang::Fr).unwrap().contains("chu.stays"));
    }
}
