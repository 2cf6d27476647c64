//! `PolicyService`: versions of policies, checks, and what a policy decides.

use tonic::{Request, Response, Status};

use super::{
    call::Call,
    convert::{self, messages},
    idempotency::Change,
    names,
    pb::{self, decision::Outcome, policy_service_server::PolicyService},
    policy_document as document, policy_foresight as foresight, status,
};
use crate::{
    domain::{
        Clause, Digest, How, LegalBasis, Permit, Policy, PolicyState, PolicyVersion, Purpose, RuleOutcome, RuleTrace,
    },
    error::{Error, Result},
    policy::{Coverage, Covered, Finding, Severity, explain, odrl, pointer},
    service::{Explanation, UseQuestion, etag},
};

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl PolicyService for Api {
    async fn create_policy(
        &self,
        request: Request<pb::CreatePolicyRequest>,
    ) -> Result<Response<pb::CreatePolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let policy = document::policy(convert::present("policy", asked.policy.clone())?)?;
            let (version, _, committed) = call.services().create_policy(call.caller()?, policy).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::CreatePolicyResponse { policy_version: Some(version_message(version)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn get_policy(
        &self,
        request: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::GetPolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (dataset, version) = names::policy("name", &asked.name)?;
            let found = call.services().shown_policy(call.caller()?, &dataset, Some(version)).await?;
            let coverage = crate::policy::check::coverage(&found.policy).iter().map(coverage_message).collect();
            Ok(pb::GetPolicyResponse { policy_version: Some(version_message(found)), coverage })
        };
        call.answer(run).await
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let dataset = names::dataset("parent", &asked.parent)?;
            let page = call.services().policies(call.caller()?, &dataset, &list.page).await?;
            let policy_versions = page.items.into_iter().map(version_message).collect();
            Ok(pb::ListPoliciesResponse { policy_versions, next_page_token: call.next(&list, page.next)? })
        };
        call.answer(run).await
    }

    async fn publish_policy(
        &self,
        request: Request<pb::PublishPolicyRequest>,
    ) -> Result<Response<pb::PublishPolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (dataset, version) = names::policy("name", &asked.name)?;
            let etag = convert::required("etag", &asked.etag)?;
            let signature = asked.signature.clone();
            let (published, committed) = call
                .services()
                .publish_policy(call.caller()?, call.certificate()?, &dataset, version, etag, signature)
                .await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::PublishPolicyResponse { policy_version: Some(version_message(published)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn retire_policy(
        &self,
        request: Request<pb::RetirePolicyRequest>,
    ) -> Result<Response<pb::RetirePolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (dataset, version) = names::policy("name", &asked.name)?;
            let (retired, committed) =
                call.services().retire_policy(call.caller()?, &dataset, version, &asked.etag).await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::RetirePolicyResponse { policy_version: Some(version_message(retired)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn revoke_policy(
        &self,
        request: Request<pb::RevokePolicyRequest>,
    ) -> Result<Response<pb::RevokePolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (dataset, version) = names::policy("name", &asked.name)?;
            let (certificate, signature) = (call.certificate()?, asked.signature.clone());
            let (revoked, committed) = call
                .services()
                .revoke_policy(call.caller()?, certificate, (&dataset, version), &asked.reason, &asked.etag, signature)
                .await?;
            let receipt = Some(convert::receipt_of(&committed));
            Ok(pb::RevokePolicyResponse { policy_version: Some(version_message(revoked)), receipt })
        };
        call.change(Change::under(&asked.request_id), &asked, run).await
    }

    async fn check_policy(
        &self,
        request: Request<pb::CheckPolicyRequest>,
    ) -> Result<Response<pb::CheckPolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let policy = document::policy(convert::present("policy", asked.policy)?)?;
            let mut check = call.services().check_policy(call.caller()?, &policy).await?;
            check.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
            Ok(pb::CheckPolicyResponse {
                findings: check.findings.into_iter().map(finding_message).collect(),
                coverage: check.coverage.iter().map(coverage_message).collect(),
                digest: policy.digest().to_string(),
                canonical_json: canonical(&policy),
            })
        };
        call.answer(run).await
    }

    async fn compare_policies(
        &self,
        request: Request<pb::ComparePoliciesRequest>,
    ) -> Result<Response<pb::ComparePoliciesResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (old, new) = (foresight::choice("old", asked.old)?, foresight::choice("new", asked.new)?);
            let compared = call.services().compare_policies(call.caller()?, old, new).await?;
            Ok(foresight::comparison_message(compared))
        };
        call.answer(run).await
    }

    async fn simulate_policy(
        &self,
        request: Request<pb::SimulatePolicyRequest>,
    ) -> Result<Response<pb::SimulatePolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let ask = foresight::simulation(asked)?;
            let (simulated, committed) = call.services().simulate_policy(call.caller()?, ask).await?;
            Ok(foresight::simulation_message(simulated, &committed))
        };
        call.answer(run).await
    }

    async fn explain_decision(
        &self,
        request: Request<pb::ExplainDecisionRequest>,
    ) -> Result<Response<pb::ExplainDecisionResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let named = |field, name: &str| (!name.is_empty()).then(|| names::participant(field, name)).transpose();
            let purpose = |field, slug: &str| (!slug.is_empty()).then(|| convert::purpose(field, slug)).transpose();
            let question = UseQuestion {
                dataset: names::dataset("dataset", &asked.dataset)?,
                action: convert::action("action", asked.action)?,
                purpose: purpose("purpose", &asked.purpose)?,
                columns: convert::columns("columns", asked.columns)?,
                participant: named("participant", &asked.participant)?,
            };
            let explained = call.services().explain_use(call.caller()?, &question).await?;
            Ok(pb::ExplainDecisionResponse { decision: Some(decision_message(explained)) })
        };
        call.answer(run).await
    }

    async fn export_policy(
        &self,
        request: Request<pb::ExportPolicyRequest>,
    ) -> Result<Response<pb::ExportPolicyResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let (dataset, version) = names::policy("name", &asked.name)?;
            let (caller, services) = (call.caller()?, call.services());
            let (document, warnings) = match asked.format() {
                pb::PolicyFormat::Odrl => (services.policy_as_odrl(caller, &dataset, version).await?, Vec::new()),
                pb::PolicyFormat::OdrlOffers => {
                    let found = services.policy_as_offers(caller, &dataset, version).await?;
                    (found.offers.into(), found.warnings)
                }
                pb::PolicyFormat::Unspecified => return Err(Error::invalid("format", "is required")),
            };
            Ok(pb::ExportPolicyResponse {
                document: format!("{document:#}"),
                media_type: odrl::MEDIA_TYPE.to_owned(),
                warnings: warnings.into_iter().map(finding_message).collect(),
            })
        };
        call.answer(run).await
    }

    async fn list_purposes(
        &self,
        request: Request<pb::ListPurposesRequest>,
    ) -> Result<Response<pb::ListPurposesResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let list = call.list(&asked)?;
            let purposes = call.services().purposes(call.caller()?).await?;
            let (purposes, next) = list.cut(purposes, |purpose| purpose.slug.to_string());
            Ok(pb::ListPurposesResponse {
                purposes: purposes.into_iter().map(purpose_message).collect(),
                next_page_token: call.next(&list, next)?,
                vocabulary_version: call.services().vocabulary().version.clone(),
            })
        };
        call.answer(run).await
    }
}

messages! {
    /// States of policies.
    state_message PolicyState => pb::PolicyState {
        Draft => Draft, Published => Published, Retired => Retired, Revoked => Revoked,
    }
    /// Outcomes of rules.
    outcome_message RuleOutcome => pb::RuleOutcome { Permits => Permits, Denies => Denies, Misses => Misses, Unknown => Unknown }
    /// Clauses of rules.
    clause_message Clause => pb::Clause {
        Action => Action, Organisation => Organisation, Kind => Kind, Sector => Sector, Country => Country,
        Accreditation => Accreditation, Role => Role, Columns => Columns, Purpose => Purpose, Validity => Validity,
    }
    /// Weights of findings.
    severity_message Severity => pb::FindingSeverity { Error => Error, Warning => Warning, Info => Info }
    /// What becomes of terms.
    covered_message Coverage => pb::Coverage { Enforced => Enforced, Duty => Duty, Refused => Refused }
}

fn canonical(policy: &Policy) -> String {
    String::from_utf8(policy.canonical_json()).unwrap_or_default()
}

fn version_message(version: PolicyVersion) -> pb::PolicyVersion {
    let canonical_json = canonical(&version.policy);
    let partial = Digest::of(canonical_json.as_bytes()) != version.digest;
    pb::PolicyVersion {
        name: names::policy_name(&version.policy.dataset, version.version),
        version: version.version,
        digest: version.digest.to_string(),
        canonical_json: if partial { String::new() } else { canonical_json },
        partial,
        state: state_message(version.state),
        create_time: Some(convert::timestamp(version.created_at)),
        publish_time: version.published_at.map(convert::timestamp),
        etag: etag(version.revision),
        policy: Some(document::policy_message(version.policy)),
    }
}

fn finding_message(finding: Finding) -> pb::Finding {
    pb::Finding {
        severity: severity_message(finding.severity),
        path: pointer(&finding.path),
        message: Some(pb::LocalizedText { fr: finding.message_fr, en: finding.message_en }),
    }
}

pub(super) fn coverage_message(covered: &Covered) -> pb::TermCoverage {
    let (fr, en) = match covered.coverage {
        Coverage::Enforced => ("le hub l'applique", "the hub enforces it"),
        Coverage::Duty => ("inscrit dans l'accord comme obligation", "recorded in the grant as a duty"),
        Coverage::Refused => {
            ("le hub ne peut ni l'appliquer ni l'inscrire", "the hub can neither enforce nor record it")
        }
    };
    let note = |text: &str| format!("{}: {text}", covered.term);
    pb::TermCoverage {
        path: pointer(&covered.path),
        coverage: covered_message(covered.coverage),
        note: Some(pb::LocalizedText { fr: note(fr), en: note(en) }),
    }
}

fn decision_message(explained: Explanation) -> pb::Decision {
    let Explanation { version, decision, participant, whole, unlocks } = explained;
    let policy = &version.policy;
    let refusal = || {
        // What would unlock it stands beside it.
        let mut refusal = status::refusal(&explain::refusal(&decision, policy, &participant, &[]));
        if whole {
            refusal.message = Some(foresight::text_message(explain::in_full(&decision, policy)));
        }
        Outcome::Refusal(refusal)
    };
    let may_see = |one: &&RuleTrace| {
        whole || policy.rule(one.rule.as_str()).is_some_and(|rule| explain::may_know(rule, &participant))
    };
    pb::Decision {
        policy: names::policy_name(&policy.dataset, version.version),
        policy_digest: decision.policy.to_string(),
        outcome: Some(decision.permit.clone().map_or_else(refusal, |permit| Outcome::Permit(permit_message(permit)))),
        trace: decision.trace.iter().filter(may_see).map(trace_message).collect(),
        unlocks: unlocks.into_iter().map(foresight::unlock_message).collect(),
    }
}

fn permit_message(permit: Permit) -> pb::Permit {
    // What the legal basis asks for is a limit like the others, and shown as one.
    let consents = permit.legal_basis == LegalBasis::Consent;
    let how = How { consent_required: permit.how.consent_required || consents, ..permit.how };
    pb::Permit {
        rule: permit.rule.to_string(),
        how: document::limits_message(how),
        duties: permit.duties.into_iter().map(convert::duty_message).collect(),
        legal_basis: convert::basis_message(permit.legal_basis),
    }
}

fn trace_message(trace: &RuleTrace) -> pb::RuleTrace {
    pb::RuleTrace {
        rule: trace.rule.to_string(),
        outcome: outcome_message(trace.outcome),
        first_failed: trace.first_failed.map(clause_message).unwrap_or_default(),
    }
}

fn purpose_message(purpose: Purpose) -> pb::Purpose {
    pb::Purpose {
        slug: purpose.slug.to_string(),
        iri: purpose.iri,
        parents: purpose.parents.iter().map(ToString::to_string).collect(),
        label: Some(pb::LocalizedText { fr: purpose.label_fr, en: purpose.label_en }),
    }
}
