//! Step 7: the lab crosses three datasets, and tries what must be refused.

use crate::{
    cli::{
        demo::{
            persona::{Cast, Persona},
            queries::{Answer, BEHIND_THE_MASK, BY_DEPARTEMENT, BY_HEATING, MASKED, PURPOSE, REFUSED, ask},
            stage::{Stage, expect, surprise, thousands},
        },
        failure::Failure,
        query::Question,
    },
    grpc::pb,
};

/// What the lab saw before anybody withdrew.
pub(super) struct Seen {
    /// Patients in all départements together.
    pub(super) patients: u64,
}

pub(super) async fn cross(stage: &mut Stage<'_>, cast: &Cast) -> Result<Seen, Failure> {
    stage.step(7, "The lab crosses three owners' data in place; what is not permitted is refused")?;
    let labo = &cast.labo;
    terms(stage, labo).await?;
    let answer = tell(stage, labo, "crosses all three", BY_DEPARTEMENT).await?;
    let patients = answer.sum(1)?;
    expect(
        answer.records.rows() == 13 && patients > 0,
        format_args!("13 départements, not {}", answer.records.rows()),
    )?;
    let answer = tell(stage, labo, "compares circulatory (I) and respiratory (J) stays by heating", BY_HEATING).await?;
    expect(answer.records.rows() == 8, format_args!("8 groups, not {}", answer.records.rows()))?;
    let answer = tell(stage, labo, "looks at masked columns: it gets their masks", MASKED).await?;
    let masked = answer.records.text()?;
    let all_masked = masked.iter().all(|row| {
        row.first().is_some_and(|letter| letter.len() == 1) && row.get(1).is_some_and(|day| day.ends_with("-01-01"))
    });
    expect(all_masked && !masked.is_empty(), "one letter and a first of January in each row")?;
    let answer = ask(labo, BEHIND_THE_MASK, PURPOSE).await?;
    expect(answer.records.rows() == 0, "nothing to be found behind the mask")?;
    stage.done(&labo.name, "asks for diagnosis = 'J18.9': no rows, since the mask is all there is")?;
    stage.says("And then it tries what it should not:")?;
    for refused in &REFUSED {
        let outcome = ask(labo, refused.sql, refused.purpose).await;
        let refusal = stage.refused(&labo.name, refused.what, outcome, &[refused.reason])?;
        let rule = refusal.metadata().get("rule").map_or("", String::as_str);
        expect(rule == refused.rule, format_args!("the rule `{}`, not `{rule}`", refused.rule))?;
    }
    let outcome = ask(&cast.operator, "SELECT count(*) AS communes FROM observatoire.communes", PURPOSE).await;
    stage.refused(&cast.operator.name, "queries: whoever runs the hub sees no data", outcome, &["ROLE_MISSING"])?;
    Ok(Seen { patients })
}

/// What would apply, before anything is read.
async fn terms(stage: &mut Stage<'_>, labo: &Persona) -> Result<(), Failure> {
    use pb::explain_query_response::Result as Explained;
    let explained = labo.client.explain(&Question::sql(BY_DEPARTEMENT), PURPOSE, &[]).await?.result;
    let Some(Explained::Explanation(explanation)) = explained else {
        return Err(surprise(format_args!("expected an explanation, not {explained:?}")));
    };
    stage.done(&labo.name, "asks what would apply to its query")?;
    let rows: Vec<Vec<String>> = explanation
        .datasets
        .iter()
        .map(|terms| {
            let used = terms.dataset_use.as_ref();
            let table = used.map(|used| used.table.clone()).unwrap_or_default();
            let right = used.map_or("", |used| if used.grant.is_empty() { "open" } else { "grant" });
            let masks: Vec<&str> = terms.masks.keys().map(String::as_str).collect();
            let k = terms.k.map(|k| k.to_string()).unwrap_or_default();
            let consent = if terms.consent_filter { "required" } else { "" };
            [&table, right, &k, consent, &terms.row_filter, &masks.join(", ")].map(dash).to_vec()
        })
        .collect();
    stage.table(&["dataset", "by", "k", "consent", "row filter", "masked"], &rows)
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

async fn tell(stage: &mut Stage<'_>, labo: &Persona, what: &str, sql: &str) -> Result<Answer, Failure> {
    let bar = stage.spinner("querying");
    let answer = ask(labo, sql, PURPOSE).await;
    bar.finish_and_clear();
    let answer = answer?;
    let rows = thousands(answer.records.rows() as u64);
    let (decision, outcome) = (answer.decision, answer.outcome);
    stage.done(
        &labo.name,
        format_args!("{what}: {rows} rows in {} ms, audit entries {decision} and {outcome}", answer.milliseconds),
    )?;
    stage.block(sql)?;
    let header: Vec<&str> = answer.records.schema.fields().iter().map(|field| field.name().as_str()).collect();
    stage.table(&header, &answer.records.text()?)?;
    Ok(answer)
}
