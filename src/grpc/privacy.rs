//! `PrivacyService`: what queries have used up of the limits of policies, and which queries are approved.

use tonic::{Request, Response, Status};

use super::{
    access::grant_id,
    call::Call,
    convert, names,
    pb::{self, privacy_service_server::PrivacyService},
    policy_document::{interval_message, template_message},
};
use crate::{
    service::{ApprovedQuery, GrantUse, PrivacyUse},
    store::privacy::Spent,
};

/// The service.
#[derive(Debug)]
pub(super) struct Api;

#[tonic::async_trait]
impl PrivacyService for Api {
    async fn get_grant_use(
        &self,
        request: Request<pb::GetGrantUseRequest>,
    ) -> Result<Response<pb::GetGrantUseResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let found = call.services().grant_use(call.caller()?, grant_id("name", &asked.name)?).await?;
            Ok(pb::GetGrantUseResponse { grant_use: Some(grant_use_message(found)) })
        };
        call.answer(run).await
    }

    async fn get_privacy_budget(
        &self,
        request: Request<pb::GetPrivacyBudgetRequest>,
    ) -> Result<Response<pb::GetPrivacyBudgetResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = names::dataset("dataset", &asked.dataset)?;
            let found = call.services().privacy_budget(call.caller()?, &id).await?;
            let budget = pb::PrivacyBudget {
                dataset: names::dataset_name(&id),
                total: Some(privacy_use_message(&found.total)),
                scopes: found.scopes.iter().map(scope_message).collect(),
            };
            Ok(pb::GetPrivacyBudgetResponse { budget: Some(budget) })
        };
        call.answer(run).await
    }

    async fn list_templates(
        &self,
        request: Request<pb::ListTemplatesRequest>,
    ) -> Result<Response<pb::ListTemplatesResponse>, Status> {
        let (call, asked) = Call::split(request)?;
        let run = async {
            let id = names::dataset("dataset", &asked.dataset)?;
            let found = call.services().approved_queries(call.caller()?, &id).await?;
            let message = |one: ApprovedQuery| pb::ApprovedQuery {
                name: format!("{}/templates/{}", names::dataset_name(&id), one.name),
                template: Some(template_message(one.template)),
                grant: one.grant.map(|grant| format!("grants/{grant}")).unwrap_or_default(),
                rule: one.rule.to_string(),
            };
            Ok(pb::ListTemplatesResponse { templates: found.into_iter().map(message).collect() })
        };
        call.answer(run).await
    }
}

fn grant_use_message(used: GrantUse) -> pb::GrantUse {
    let rates = used.rates.into_iter().map(|rate| pb::RateUse {
        per: interval_message(rate.interval),
        limit: rate.limit,
        queries: rate.queries,
        end_time: rate.until.map(convert::timestamp),
    });
    pb::GrantUse {
        grant: format!("grants/{}", used.grant),
        max_queries: used.max_queries,
        queries: used.queries,
        rates: rates.collect(),
        privacy: used.privacy.as_ref().map(privacy_use_message),
    }
}

fn privacy_use_message(used: &PrivacyUse) -> pb::PrivacyUse {
    pb::PrivacyUse { budget: used.budget.map(|budget| budget.to_string()), ..spent_message(&used.spent) }
}

fn spent_message(spent: &Spent) -> pb::PrivacyUse {
    pb::PrivacyUse {
        queries: spent.queries,
        epsilon: decimal(spent.epsilon),
        delta: decimal(spent.delta),
        budget: None,
    }
}

fn scope_message(spent: &Spent) -> pb::PrivacyScope {
    let (kind, id) = spent.scope.split_once('/').unwrap_or(("", &spent.scope));
    pb::PrivacyScope { scope: format!("{kind}s/{id}"), spent: Some(spent_message(spent)) }
}

/// A sum of billionths, which may be above what one policy may state.
fn decimal(billionths: u64) -> String {
    let (whole, part) = (billionths / 1_000_000_000, billionths % 1_000_000_000);
    if part == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{part:09}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_billionths_are_decimal_texts() {
        for (billionths, text) in [(0, "0"), (500_000_000, "0.5"), (1, "0.000000001"), (2_000_000_000_000, "2000")] {
            assert_eq!(decimal(billionths), text);
        }
    }

    #[test]
    fn a_scope_is_named_like_what_it_is_of() {
        let of =
            |scope: &str| scope_message(&Spent { scope: scope.to_owned(), queries: 0, epsilon: 0, delta: 0 }).scope;
        assert_eq!(of("grant/1"), "grants/1");
        assert_eq!(of("participant/lab"), "participants/lab");
        assert_eq!(of("purpose/scientific_research"), "purposes/scientific_research");
    }
}
