//! A call of Flight with what its headers say: the purpose, the grants, the session.

use std::collections::BTreeSet;

use tonic::{
    Request, Status,
    metadata::{MetadataMap, MetadataValue},
};

use super::session;
use crate::{
    domain::{GrantId, PurposeSlug},
    error::{Error, Reason, Result},
    grpc::{call::Call, convert, names},
    service::{PurposeChoice, QueryRequest},
};

/// Names the purpose of a query for clients that name no catalog.
pub(super) const PURPOSE: &str = "x-odh-purpose";
/// Picks among several grants that fit; may be given more than once.
const GRANT: &str = "x-odh-grant";
/// Most grants that a call may name.
const MOST_GRANTS: usize = 16;

/// A call in progress.
#[derive(Debug, Clone)]
pub(super) struct Context {
    pub(super) call: Call,
    headers: MetadataMap,
}

impl Context {
    /// Takes a request apart: the call with its headers, and the message.
    pub(super) fn split<T>(request: Request<T>) -> Result<(Self, T), Status> {
        let headers = request.metadata().clone();
        let (call, message) = Call::split(request)?;
        Ok((Self { call, headers }, message))
    }

    /// The headers as they were sent.
    pub(super) const fn headers(&self) -> &MetadataMap {
        &self.headers
    }

    /// The purpose of a query with this text, and the grants to use.
    pub(super) async fn query(&self, sql: String) -> Result<QueryRequest> {
        convert::required("sql", &sql)?;
        let grants = self.grants()?;
        let purpose = self.call.services().purpose_of(self.call.caller()?, &sql, &self.choice()?).await?;
        Ok(QueryRequest { sql, purpose, grants })
    }

    /// The purpose that the headers name, and that of the session.
    pub(super) fn choice(&self) -> Result<PurposeChoice> {
        let named = match self.one(PURPOSE)? {
            Some(named) => Some(purpose(named)?),
            None => None,
        };
        let usual = match session::catalog(&self.headers) {
            Some(usual) => Some(purpose(usual)?),
            None => None,
        };
        Ok(PurposeChoice { named, usual })
    }

    /// The grants that the headers name; none lets the hub choose.
    pub(super) fn grants(&self) -> Result<BTreeSet<GrantId>> {
        let values = self.headers.get_all(GRANT).iter().map(|value| text(GRANT, value));
        let mut grants = BTreeSet::new();
        for value in values {
            for name in value?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let name = if name.starts_with("grants/") { name.to_owned() } else { format!("grants/{name}") };
                grants.insert(names::id(GRANT, "grants", &name)?);
            }
        }
        if grants.len() > MOST_GRANTS {
            return Err(Error::invalid(GRANT, format_args!("more than {MOST_GRANTS}")));
        }
        Ok(grants)
    }

    fn one(&self, name: &'static str) -> Result<Option<&str>> {
        let mut values = self.headers.get_all(name).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => text(name, value).map(Some),
            _ => Err(Error::invalid(name, "it is there more than once")),
        }
    }
}

/// A purpose by its slug; whether the hub knows it is decided with the query.
pub(super) fn purpose(slug: &str) -> Result<PurposeSlug> {
    slug.parse().map_err(|_| Error::new(Reason::PurposeUnknown).with("purpose", slug.escape_debug()))
}

fn text<'a>(name: &'static str, value: &'a MetadataValue<tonic::metadata::Ascii>) -> Result<&'a str> {
    value.to_str().map_err(|_| Error::invalid(name, "it is not plain text"))
}
