//! Step 4: the owners check and publish policies.

use super::participants::short;
use crate::{
    cli::{
        demo::{
            persona::{Cast, Persona},
            stage::{Stage, expect, part},
        },
        failure::Failure,
    },
    grpc::pb,
    policy::manifest,
};

pub(super) const COMMUNES: &str = include_str!("../../../../policies/demo/communes.yaml");
pub(super) const STAYS: &str = include_str!("../../../../policies/demo/stays.yaml");
pub(super) const METERS: &str = include_str!("../../../../policies/demo/meters.yaml");
pub(super) const OUTAGES: &str = include_str!("../../../../policies/demo/outages.yaml");

pub(super) async fn publish(stage: &mut Stage<'_>, cast: &Cast) -> Result<(), Failure> {
    stage.step(4, "The owners publish policies: who, why, which columns, how, until when")?;
    put_in_force(stage, &cast.observatoire, COMMUNES).await?;
    let mut careless = manifest::parse(STAYS)?;
    for rule in &mut careless.rules {
        rule.how.masks.remove("diagnosis");
        if rule.id.as_str() == "research" {
            rule.how.masks.insert("diagnoses".to_owned(), crate::domain::Mask::Prefix(1));
        }
    }
    let outcome = match cast.chu.client.create_policy(&careless, "").await {
        // A hub may keep a faulty draft; it never publishes one.
        Ok(draft) => cast.chu.client.publish_policy(&part(draft.policy_version, "version")?, "").await.map(|_| ()),
        Err(refusal) => Err(refusal),
    };
    let what = "mistypes a masked column: no term is ever ignored";
    stage.refused(&cast.chu.name, what, outcome, &["POLICY_INVALID", "COLUMN_UNKNOWN"])?;
    stage.says("The policy of chu.stays, as its owner writes it:")?;
    stage.block(&without_texts(STAYS))?;
    put_in_force(stage, &cast.chu, STAYS).await?;
    put_in_force(stage, &cast.energie, METERS).await?;
    put_in_force(stage, &cast.energie, OUTAGES).await
}

async fn put_in_force(stage: &mut Stage<'_>, owner: &Persona, text: &str) -> Result<(), Failure> {
    let policy = manifest::parse(text)?;
    let check = owner.client.check_policy(&policy).await?;
    let errors = check.findings.iter().filter(|finding| finding.severity() == pb::FindingSeverity::Error).count();
    expect(errors == 0, format_args!("no error in the policy of {}: {:?}", policy.dataset, check.findings))?;
    let count = |wanted: pb::Coverage| check.coverage.iter().filter(|term| term.coverage() == wanted).count();
    let refused = count(pb::Coverage::Refused);
    expect(refused == 0 && !check.coverage.is_empty(), "every term to be enforced or a duty")?;
    let draft = part(owner.client.create_policy(&policy, "").await?.policy_version, "version")?;
    let published = owner.client.publish_policy(&draft, "").await?;
    let version = part(published.policy_version, "version")?;
    expect(version.state() == pb::PolicyState::Published, "the policy to be published")?;
    let what = format!(
        "signs and publishes the policy of {}: {} terms enforced, {} recorded as duties, {}",
        policy.dataset,
        count(pb::Coverage::Enforced),
        count(pb::Coverage::Duty),
        short(&version.digest),
    );
    stage.done(&owner.name, what)?;
    if policy.dataset.name.as_str() == "stays" {
        let rows: Vec<Vec<String>> = check.coverage.iter().map(term).collect();
        stage.table(&["term", "coverage"], &rows)?;
    }
    Ok(())
}

fn term(term: &pb::TermCoverage) -> Vec<String> {
    let coverage = term.coverage().as_str_name().trim_start_matches("COVERAGE_").to_lowercase();
    vec![term.path.clone(), coverage]
}

/// A manifest without comments and without the rules in words.
fn without_texts(manifest: &str) -> String {
    let kept = |line: &&str| !["#", "text:", "fr:", "en:"].iter().any(|start| line.trim_start().starts_with(start));
    manifest.lines().filter(kept).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_of_the_demo_can_be_read_and_is_for_its_dataset() {
        for (text, dataset) in [
            (COMMUNES, "observatoire.communes"),
            (STAYS, "chu.stays"),
            (METERS, "energie.meters"),
            (OUTAGES, "energie.outages"),
        ] {
            assert_eq!(manifest::parse(text).unwrap().dataset.to_string(), dataset);
        }
    }

    #[test]
    fn a_manifest_is_shown_without_comments_and_words() {
        let shown = without_texts(STAYS);
        assert!(shown.starts_with("dataset: chu.stays\n") && shown.contains("aggregate_only: 11"), "{shown}");
        assert!(!shown.contains('#') && !shown.contains("fr:"), "{shown}");
    }
}
