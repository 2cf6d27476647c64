//! How policies, checks and decisions are shown.

use serde_json::json;

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

const COVERAGE: &[Column] =
    &[Column::new("COVERAGE", "/coverage"), Column::new("AT", "/path"), Column::new("HOW", "/text")];

const TRACE: &[Column] =
    &[Column::new("RULE", "/rule"), Column::new("OUTCOME", "/outcome"), Column::new("FAILED", "/first_failed")];

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
    let state = state.as_str_name().trim_start_matches("POLICY_STATE_").to_ascii_lowercase();
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
            Coverage::Enforced => lang.pick("enforced", "appliqué"),
            Coverage::Duty => lang.pick("duty", "obligation"),
            Coverage::Refused => lang.pick("refused", "refusé"),
        };
        let term = lang.pick(": ", " : ").to_owned() + lang.pick(&covered.term.en, &covered.term.fr);
        session.out.line(format_args!("#   {how:<10}  {}{term}", covered.path))?;
    }
    Ok(())
}

/// Shows what the hub does about each term.
pub(in crate::cli) fn covered(coverage: &[pb::TermCoverage], out: &mut Out) -> Result<(), Failure> {
    let lang = out.lang;
    let terms: Vec<_> = coverage
        .iter()
        .map(|term| {
            let coverage = term.coverage().as_str_name().trim_start_matches("COVERAGE_").to_ascii_lowercase();
            json!({"coverage": coverage, "path": term.path, "text": text(term.note.as_ref(), lang)})
        })
        .collect();
    out.rows(&terms, COVERAGE)
}

/// Shows what a check has found; fails if the policy would be refused.
pub(super) fn check(response: &pb::CheckPolicyResponse, session: &mut Session<'_>) -> Result<(), Failure> {
    let lang = session.out.lang;
    if session.out.format == Format::Json {
        session.out.show(response)?;
    } else {
        let findings: Vec<_> = response
            .findings
            .iter()
            .map(|finding| {
                let severity = finding.severity().as_str_name().trim_start_matches("FINDING_SEVERITY_");
                json!({"severity": severity.to_ascii_lowercase(), "path": finding.path,
                       "text": text(finding.message.as_ref(), lang)})
            })
            .collect();
        if !findings.is_empty() {
            session.out.rows(&findings, FINDINGS)?;
            session.out.line("")?;
        }
        covered(&response.coverage, session.out)?;
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
        format!("the policy would be refused: {errors} error(s)"),
        format!("la politique serait refusée : {errors} erreur(s)"),
    ))
}

/// Shows a decision: permitted or not, why, and what each rule had to say.
pub(super) fn decision(decision: &pb::Decision, session: &mut Session<'_>) -> Result<(), Failure> {
    if session.out.format != Format::Table {
        return session.out.show(decision);
    }
    match &decision.outcome {
        Some(pb::decision::Outcome::Permit(permit)) => {
            let lang = session.out.lang;
            let by = if permit.rule.is_empty() {
                lang.pick("permit: one's own data, under the floor", "permis : ses propres données, sous le plancher")
            } else {
                lang.pick("permit by rule ", "permis par la règle ")
            };
            session.out.line(format_args!("{by}{}", permit.rule))?;
            session.out.show(permit)?;
        }
        Some(pb::decision::Outcome::Refusal(refusal)) => {
            let reason = refusal.reason().as_str_name().trim_start_matches("ERROR_REASON_");
            let message = text(refusal.message.as_ref(), session.out.lang);
            let denied = session.out.lang.pick("deny", "refusé");
            let colon = session.out.lang.pick(":", " :");
            session.out.line(format_args!("{denied} [{reason}]{colon} {message}"))?;
        }
        None => return Err(Failure::protocol("it lacks the outcome")),
    }
    for unlock in &decision.unlocks {
        session.out.line(format_args!("- {}", text(unlock.message.as_ref(), session.out.lang)))?;
    }
    if !decision.trace.is_empty() {
        session.out.line("")?;
        session.out.list(&decision.trace, TRACE)?;
    }
    Ok(())
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
    fn terms_are_said_in_the_language_of_who_asks() {
        let (policy, version) = sample();
        for (lang, terms) in [
            (Lang::En, ["legal basis", "aggregates only, smallest group", "no re-identification"]),
            (Lang::Fr, ["base légale", "agrégats seulement, plus petit groupe", "aucune réidentification"]),
        ] {
            let (mut out, stdout, _) = Out::captured(lang);
            let env = Env::default();
            let mut session = Session { env: &env, out: &mut out, context: None, request_id: String::new() };
            self::version(&version, &mut session).unwrap();
            let text = stdout.text();
            assert!(terms.iter().all(|term| text.contains(term)), "{text}");
            let other = lang.pick("obligation", "enforced");
            assert!(!text.contains(other), "{other}: {text}");
            assert_eq!(manifest::parse(&text).unwrap(), policy, "comments in any language");
        }
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
            assert_eq!(check(&response, &mut session).err().map(|failure| failure.exit()), exit);
            assert!(stdout.text().contains("faux"));
        }
    }
}
