//! What a statement would answer, said before it runs: its purpose, its columns, the types of its parameters.
//!
//! Nothing here reads a row. What would refuse the query refuses here as well, and a refusal is a decision that is
//! recorded in the same words; a permission is decided anew, and recorded, when the query runs.

use std::collections::BTreeSet;

use super::{QueryRequest, Services, with_id};
use crate::{
    domain::{Caller, Grant, PageRequest, PurposeSlug, QueryId},
    error::{Error, Reason, Result},
    policy::{Act, Family},
    query::{Parameterised, SchemaRef, parameter_guesses, parameter_schema},
    store::access,
};

/// Grants that are read at a time.
const PAGE: u32 = 500;

/// Where a purpose may come from when the query does not name one.
#[derive(Debug, Clone, Default)]
pub struct PurposeChoice {
    /// The one that was named for this call; a query may not contradict it.
    pub named: Option<PurposeSlug>,
    /// The one of the session, for queries that name none.
    pub usual: Option<PurposeSlug>,
}

/// A statement that was planned, with places for values.
#[derive(Debug, Clone)]
pub struct PreparedQuery {
    /// Its text and places.
    pub statement: Parameterised,
    /// A column for each parameter, with the type that it wants.
    pub parameters: SchemaRef,
    /// The columns of its answer.
    pub schema: SchemaRef,
}

impl Services {
    /// The purpose of a query: the one that was named for it; else the catalog of its tables; else the session's;
    /// else the only one that the caller's grants are for. Recorded as a refusal if there is none.
    pub async fn purpose_of(&self, caller: &Caller, sql: &str, choice: &PurposeChoice) -> Result<PurposeSlug> {
        let found = match &choice.named {
            Some(named) => Ok(named.clone()),
            None => self.find_purpose(caller, sql, choice.usual.as_ref()).await,
        };
        self.or_refused(caller, sql, None, found).await
    }

    /// The columns of a query's answer, without touching data. What would refuse the query is recorded as its refusal.
    pub async fn plan_query(&self, caller: &Caller, ask: &QueryRequest) -> Result<SchemaRef> {
        let planned = self.try_plan(caller, ask).await;
        self.or_refused(caller, &ask.sql, Some(&ask.purpose), planned).await
    }

    /// The columns and parameters of a statement with places for values, without touching data.
    pub async fn prepare_query(&self, caller: &Caller, ask: &QueryRequest) -> Result<PreparedQuery> {
        let prepared = self.try_prepare(caller, ask).await;
        self.or_refused(caller, &ask.sql, Some(&ask.purpose), prepared).await
    }

    /// The purposes that the caller's grants in force are for.
    pub async fn granted_purposes(&self, caller: &Caller) -> Result<BTreeSet<PurposeSlug>> {
        let _permit = self.authorise(caller, &caller.participant, Family::Query, Act::Explain).await?;
        Ok(self.grants_in_force(caller).await?.into_iter().map(|grant| grant.purpose).collect())
    }

    /// The grants of the caller's participant that are in force.
    pub(super) async fn grants_in_force(&self, caller: &Caller) -> Result<Vec<Grant>> {
        let (now, mut tx) = (self.now(), self.read().await?);
        let mut page = PageRequest { size: PAGE, after: None };
        let mut grants = Vec::new();
        loop {
            let found = access::list_grants(&mut tx, &caller.participant, &page).await?;
            let mine = |grant: &Grant| grant.grantee == caller.participant && grant.require_in_force(now).is_ok();
            grants.extend(found.items.into_iter().filter(mine));
            match found.next {
                Some(next) => page.after = Some(next),
                None => return Ok(grants),
            }
        }
    }

    async fn find_purpose(&self, caller: &Caller, sql: &str, usual: Option<&PurposeSlug>) -> Result<PurposeSlug> {
        let admitted = self.inner.engine.admit_parameterised(&Parameterised::parse(sql)?).await?;
        let mut catalogs = admitted.catalogs.iter();
        match (catalogs.next(), catalogs.next()) {
            (Some(catalog), None) => {
                return catalog.parse().map_err(|_| Error::new(Reason::PurposeUnknown).with("purpose", catalog));
            }
            (Some(_), Some(_)) => {
                return Err(Error::new(Reason::QueryRejected).with("rule", "one_purpose").with_words(
                    "detail",
                    "its tables name more than one catalog, and a query has one purpose",
                    "ses tables nomment plus d'un catalogue, et une requête a une seule finalité",
                ));
            }
            (None, _) => {}
        }
        if let Some(usual) = usual {
            return Ok(usual.clone());
        }
        let purposes = self.granted_purposes(caller).await?;
        let mut each = purposes.iter();
        if let (Some(only), None) = (each.next(), each.next()) {
            return Ok(only.clone());
        }
        let known: Vec<&str> = purposes.iter().map(PurposeSlug::as_str).collect();
        Err(Error::new(Reason::PurposeRequired).with("purposes", known.join(", ")))
    }

    async fn try_plan(&self, caller: &Caller, ask: &QueryRequest) -> Result<SchemaRef> {
        let _permit = self.authorise(caller, &caller.participant, Family::Query, Act::Run).await?;
        let (_, planned) = self.prepare(caller, ask).await?;
        Ok(SchemaRef::clone(planned.schema()))
    }

    async fn try_prepare(&self, caller: &Caller, ask: &QueryRequest) -> Result<PreparedQuery> {
        let _permit = self.authorise(caller, &caller.participant, Family::Query, Act::Run).await?;
        let statement = Parameterised::parse(&ask.sql)?;
        let guesses =
            if statement.count() == 0 { vec![Vec::new()] } else { self.guess(caller, ask, &statement).await? };
        let mut refusal = None;
        for types in guesses {
            let sample = QueryRequest { sql: statement.with_samples(&types)?, ..ask.clone() };
            match self.prepare(caller, &sample).await {
                Ok((_, planned)) => {
                    let (parameters, schema) = (parameter_schema(&types), SchemaRef::clone(planned.schema()));
                    return Ok(PreparedQuery { statement, parameters, schema });
                }
                Err(error) => refusal = refusal.or(Some(error)),
            }
        }
        Err(refusal.unwrap_or_else(|| Error::internal("a statement was planned with no types")))
    }

    async fn guess(
        &self,
        caller: &Caller,
        ask: &QueryRequest,
        statement: &Parameterised,
    ) -> Result<Vec<Vec<crate::query::DataType>>> {
        self.inner.vocabulary.require(&ask.purpose)?;
        let admitted = self.inner.engine.admit_parameterised(statement).await?;
        let resolved = self.resolve(caller, &admitted.tables, ask).await?;
        let found = self.inner.engine.parameter_types(admitted, resolved.governed, statement.count()).await?;
        Ok(parameter_guesses(&found))
    }

    async fn or_refused<T>(
        &self,
        caller: &Caller,
        sql: &str,
        purpose: Option<&PurposeSlug>,
        result: Result<T>,
    ) -> Result<T> {
        let Err(error) = result else { return result };
        let id = QueryId::generate(self.now());
        let error = with_id(error, id);
        self.record_refusal(caller, sql, purpose, id, &error).await?;
        Err(error)
    }
}
