//! How policies, checks and decisions are shown.

use serde_json::json;

use super::words;
use crate::{
    cli::{
        Session,
        env::Lang,
        failure::{Exit, Failure},
        output::{Column, Format, Out},
    },
    domain::{Digest, Policy},
    grpc::{pb, policy_document},
    policy::{
        check::{Coverage, coverage},
        manifest,
    },
};

const FINDINGS: &[Column] =
    &[Column::new("SEVERITY", "/severity"), Column::new("AT", "/path"), Column::new("FINDING", "/text")];

const CONSTATS: &[Column] =
    &[Column::new("GRAVITÉ", "/severity"), Column::new("OÙ", "/path"), Column::new("CONSTAT", "/text")];

const COVERAGE: &[Column] =
    &[Column::new("COVERAGE", "/coverage"), Column::new("AT", "/path"), Column::new("HOW", "/text")];

const COUVERTURE: &[Column] =
    &[Column::new("SUITE", "/coverage"), Column::new("OÙ", "/path"), Column::new("COMMENT", "/text")];

const TRACE: &[Column] =
    &[Column::new("RULE", "/rule"), Column::new("OUTCOME", "/outcome"), Column::new("FAILED", "/first_failed")];

const ISSUES: &[Column] =
    &[Column::new("RÈGLE", "/rule"), Column::new("ISSUE", "/outcome"), Column::new("MANQUE", "/first_failed")];

/// Most places of one sort of term that a summary names.
const MOST_PLACES: usize = 3;

/// The policy of a version, if the digest is that of the canonical form that the hub shows.
pub(super) fn read(version: &pb::PolicyVersion) -> Result<Policy, Failure> {
    if version.partial {
        return Err(Failure::new(
            Exit::Failed,
            "rules about other participants are left out for you, so the policy cannot be had whole",
            "les règles qui visent d'autres participants vous sont cachées : la politique n'est pas là en entier",
        ));
    }
    let policy = manifest::parse(&version.canonical_json)
        .map_err(|_| Failure::protocol("the canonical form of the policy cannot be read"))?;
    let own = policy.digest();
    if Digest::of(version.canonical_json.as_bytes()) == own && own.to_string() == version.digest {
        return Ok(policy);
    }
    Err(Failure::unverified(
        "the digest of the policy is not that of its canonical form",
        "l'empreinte de la politique n'est pas celle de sa forme canonique",
    ))
}

/// Shows a version as the manifest that it could be made from, with what the hub does about each term.
pub(super) fn version(version: &pb::PolicyVersion, session: &mut Session<'_>) -> Result<(), Failure> {
    if session.out.format != Format::Table {
        return session.out.show(version);
    }
    let policy = match version.policy.clone().filter(|_| version.partial) {
        Some(part) => policy_document::policy(part)?,
        None => read(version)?,
    };
    let state = pb::PolicyState::try_from(version.state).unwrap_or_default();
    let state = words::value(session.out, state.as_str_name(), "POLICY_STATE_");
    session.out.line(format_args!("# version {}, {state}, {}", version.version, version.digest))?;
    if version.partial {
        let part = "# without the rules about other participants, which the digest covers";
        let partie = "# sans les règles qui visent d'autres participants, que l'empreinte couvre";
        let said = session.out.lang.pick(part, partie).to_owned();
        session.out.line(said)?;
    }
    session.out.line(manifest::to_yaml(&policy)?.trim_end())?;
    let lang = session.out.lang;
    session.out.line(lang.pick(
        "# Enforced by the hub, or a duty of the user that is recorded and shown:",
        "# Appliqué par le hub, ou obligation de l'utilisateur, inscrite et montrée :",
    ))?;
    for covered in coverage(&policy) {
        let how = match covered.coverage {
            Coverage::Enforced => "enforced",
            Coverage::Duty => "duty",
            Coverage::Refused => "refused",
        };
        let how = words::word(session.out, how);
        session.out.line(format_args!("#   {how:<10}  {}: {}", covered.path, covered.term))?;
    }
    session.out.line(lang.pick(
        "# The owner's own queries need no rule; of the floor all but row filter and masks binds them, too.",
        "# Les requêtes du propriétaire se passent de règle ; le plancher les lie, sauf filtre de lignes et masques.",
    ))
}

/// Shows what the hub does about each term.
pub(in crate::cli) fn covered(coverage: &[pb::TermCoverage], out: &mut Out) -> Result<(), Failure> {
    let lang = out.lang;
    let terms: Vec<_> = coverage
        .iter()
        .map(|term| {
            let coverage = words::value(out, term.coverage().as_str_name(), "COVERAGE_");
            json!({"coverage": coverage, "path": term.path, "text": text(term.note.as_ref(), lang)})
        })
        .collect();
    out.rows(&terms, words::titles(out, COVERAGE, COUVERTURE))
}

/// The same in short: what becomes of each sort of term, with the first places at which it stands.
fn summary(coverage: &[pb::TermCoverage], out: &mut Out) -> Result<(), Failure> {
    let lang = out.lang;
    let mut sorts: Vec<(String, String, Vec<&str>)> = Vec::new();
    for term in coverage {
        let (what, said) =
            (words::value(out, term.coverage().as_str_name(), "COVERAGE_"), text(term.note.as_ref(), lang));
        match sorts.iter_mut().find(|(known, text, _)| *known == what && *text == said) {
            Some((_, _, places)) => places.push(&term.path),
            None => sorts.push((what, said, vec![term.path.as_str()])),
        }
    }
    let row = |(what, said, places): &(String, String, Vec<&str>)| {
        let more = places.len().saturating_sub(MOST_PLACES);
        let mut path = places.iter().take(MOST_PLACES).copied().collect::<Vec<_>>().join(", ");
        if more > 0 {
            path.push_str(&lang.pick(" and {} more", " et {} de plus").replace("{}", &more.to_string()));
        }
        json!({"coverage": what, "path": path, "text": said})
    };
    let rows: Vec<_> = sorts.iter().map(row).collect();
    out.rows(&rows, words::titles(out, COVERAGE, COUVERTURE))
}

/// Shows what a check has found; fails if the policy would be refused.
pub(super) fn check(
    response: &pb::CheckPolicyResponse,
    verbose: bool,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let lang = session.out.lang;
    if session.out.format == Format::Json {
        session.out.show(response)?;
    } else {
        let findings: Vec<_> = response
            .findings
            .iter()
            .map(|finding| {
                let severity = words::value(session.out, finding.severity().as_str_name(), "FINDING_SEVERITY_");
                json!({"severity": severity, "path": finding.path, "text": text(finding.message.as_ref(), lang)})
            })
            .collect();
        if !findings.is_empty() {
            session.out.rows(&findings, words::titles(session.out, FINDINGS, CONSTATS))?;
            session.out.line("")?;
        }
        if verbose || session.out.format != Format::Table {
            covered(&response.coverage, session.out)?;
        } else {
            summary(&response.coverage, session.out)?;
        }
    }
    let errors = response.findings.iter().filter(|f| f.severity() == pb::FindingSeverity::Error).count();
    if errors == 0 {
        let digest = &response.digest;
        session.out.say(
            format!("the policy would be accepted; its digest is {digest}"),
            format!("la politique serait acceptée ; son empreinte est {digest}"),
        );
        return Ok(());
    }
    Err(Failure::new(
        Exit::Failed,
        format!("the policy would be refused: {}", words::counted(errors, "error", "errors")),
        format!("la politique serait refusée : {}", words::counted(errors, "erreur", "erreurs")),
    ))
}

/// Shows a decision: permitted or not, why, and what each rule had to say.
pub(super) fn decision(decision: &pb::Decision, session: &mut Session<'_>) -> Result<(), Failure> {
    if session.out.format != Format::Table {
        return session.out.show(decision);
    }
    match &decision.outcome {
        Some(pb::decision::Outcome::Permit(permit)) => {
            session.out.line(self::permit(permit, session.out.lang)?.trim_end())?;
        }
        Some(pb::decision::Outcome::Refusal(refusal)) => {
            let reason = refusal.reason().as_str_name().trim_start_matches("ERROR_REASON_");
            let message = text(refusal.message.as_ref(), session.out.lang);
            let denied = session.out.lang.pick("denied: ", "refusé : ").to_owned();
            session.out.line(format_args!("{denied}{message} [{reason}]"))?;
        }
        None => return Err(Failure::protocol("it lacks the outcome")),
    }
    for unlock in &decision.unlocks {
        session.out.line(format_args!("- {}", text(unlock.message.as_ref(), session.out.lang)))?;
    }
    if !decision.trace.is_empty() {
        session.out.line("")?;
        let row = |one: &pb::RuleTrace| {
            let failed = match one.first_failed() {
                pb::Clause::Unspecified => String::new(),
                clause => words::value(session.out, clause.as_str_name(), "CLAUSE_"),
            };
            let outcome = words::value(session.out, one.outcome().as_str_name(), "RULE_OUTCOME_");
            json!({"rule": one.rule, "outcome": outcome, "first_failed": failed})
        };
        let rows: Vec<_> = decision.trace.iter().map(row).collect();
        session.out.rows(&rows, words::titles(session.out, TRACE, ISSUES))?;
    }
    Ok(())
}

/// What is permitted on which terms, these as a manifest has them.
fn permit(permit: &pb::Permit, lang: Lang) -> Result<String, Failure> {
    let rule = pb::Rule {
        id: permit.rule.clone(),
        effect: pb::Effect::Permit.into(),
        actions: vec![pb::Action::Read.into()],
        legal_basis: permit.legal_basis,
        how: permit.how.clone(),
        duties: permit.duties.clone(),
        ..pb::Rule::default()
    };
    // The terms are read as those of any policy.
    let dataset = "participants/a/datasets/b".to_owned();
    let policy = policy_document::policy(pb::Policy { dataset, rules: vec![rule], floor: None })?;
    let Some(read) = policy.rules.first() else { return Err(Failure::protocol("it lacks the rule")) };
    let said = lang.pick("permitted by rule `{}`, on these terms:", "permis par la règle `{}`, à ces conditions :");
    let terms = manifest::terms_to_yaml(&read.how, read.legal_basis, &read.duties)?;
    Ok(format!("{}\n{terms}", said.replace("{}", &permit.rule)))
}

/// The text in the user's language.
pub(super) fn text(text: Option<&pb::LocalizedText>, lang: Lang) -> String {
    text.map(|text| lang.pick(&text.en, &text.fr).to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::env::Env;

    fn sample() -> (Policy, pb::PolicyVersion) {
        let manifest = "dataset: chu.stays\nrules:\n- {id: r, effect: permit, actions: [aggregate], legal_basis: \
                        consent, how: {aggregate_only: 10}, duties: [no_reidentification]}\n";
        let policy = manifest::parse(manifest).unwrap();
        let version = pb::PolicyVersion {
            version: 3,
            state: pb::PolicyState::Published.into(),
            digest: policy.digest().to_string(),
            canonical_json: String::from_utf8(policy.canonical_json()).unwrap(),
            ..pb::PolicyVersion::default()
        };
        (policy, version)
    }

    #[test]
    fn a_version_is_shown_as_a_manifest_with_its_coverage() {
        let (policy, version) = sample();
        let (mut out, stdout, _) = Out::captured(Lang::En);
        let env = Env::default();
        let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
        self::version(&version, &mut session).unwrap();
        let text = stdout.text();
        assert!(text.starts_with("# version 3, published, sha256:"), "{text}");
        assert!(text.contains("#   enforced") && text.contains("#   duty"), "{text}");
        assert_eq!(manifest::parse(&text).unwrap(), policy);
    }

    #[test]
    fn a_digest_that_is_not_that_of_the_text_is_not_believed() {
        let (_, version) = sample();
        let other = pb::PolicyVersion { digest: Digest::of(b"x").to_string(), ..version.clone() };
        assert_eq!(read(&other).unwrap_err().exit(), Exit::Unverified);
        let spaced = pb::PolicyVersion { canonical_json: version.canonical_json.replace(',', ", "), ..version };
        assert_eq!(read(&spaced).unwrap_err().exit(), Exit::Unverified);
    }

    #[test]
    fn a_check_with_an_error_fails() {
        let finding = |severity: pb::FindingSeverity| pb::Finding {
            severity: severity.into(),
            path: "/rules/0".to_owned(),
            message: Some(pb::LocalizedText { fr: "faux".to_owned(), en: "wrong".to_owned() }),
        };
        for (severity, exit) in [(pb::FindingSeverity::Warning, None), (pb::FindingSeverity::Error, Some(Exit::Failed))]
        {
            let (mut out, stdout, _) = Out::captured(Lang::Fr);
            let env = Env::default();
            let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
            let response =
                pb::CheckPolicyResponse { findings: vec![finding(severity)], ..pb::CheckPolicyResponse::default() };
            assert_eq!(check(&response, false, &mut session).err().map(|failure| failure.exit()), exit);
            assert!(stdout.text().contains("faux"));
        }
    }

    #[test]
    fn a_summary_names_few_places_and_a_list_all() {
        let term = |index: usize| pb::TermCoverage {
            path: format!("/rules/{index}/actions"),
            coverage: pb::Coverage::Enforced.into(),
            note: Some(pb::LocalizedText { fr: "le hub l'applique".to_owned(), en: "the hub enforces it".to_owned() }),
        };
        let response =
            pb::CheckPolicyResponse { coverage: (0..200).map(term).collect(), ..pb::CheckPolicyResponse::default() };
        for (verbose, lines, said) in [(false, 2, "et 197 de plus"), (true, 201, "/rules/199/actions")] {
            let (mut out, stdout, _) = Out::captured(Lang::Fr);
            let env = Env::default();
            let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
            check(&response, verbose, &mut session).unwrap();
            let text = stdout.text();
            assert!(text.lines().count() == lines && text.contains(said) && text.contains("appliqué"), "{text}");
        }
    }

    #[test]
    fn a_permit_is_shown_with_its_terms_as_a_manifest_has_them_and_a_denial_in_ones_language() {
        let permit = pb::Permit {
            rule: "r".to_owned(),
            how: Some(pb::How {
                masks: [("admitted".to_owned(), pb::Mask { mask: Some(pb::mask::Mask::Year(pb::YearMask {})) })].into(),
                max_rows: Some(7),
                ..pb::How::default()
            }),
            duties: Vec::new(),
            legal_basis: pb::LegalBasis::Contract.into(),
        };
        let trace = pb::RuleTrace {
            rule: "r".to_owned(),
            outcome: pb::RuleOutcome::Misses.into(),
            first_failed: pb::Clause::Purpose.into(),
        };
        let shown = |outcome, lang| {
            let (mut out, stdout, _) = Out::captured(lang);
            let env = Env::default();
            let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
            let decision =
                pb::Decision { outcome: Some(outcome), trace: vec![trace.clone()], ..pb::Decision::default() };
            self::decision(&decision, &mut session).unwrap();
            stdout.text()
        };
        let text = shown(pb::decision::Outcome::Permit(permit), Lang::En);
        assert!(text.starts_with("permitted by rule `r`, on these terms:\n"), "{text}");
        assert!(text.contains("    admitted: year\n") && text.contains("  max_rows: 7\n"), "{text}");
        let text = shown(pb::decision::Outcome::Refusal(pb::Refusal::default()), Lang::Fr);
        assert!(
            text.starts_with("refusé : ") && text.contains("ne s'applique pas") && text.contains("finalité"),
            "{text}"
        );
    }
}
