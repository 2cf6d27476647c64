//! Policy decisions: hub roles and usage rules by casbin behind two functions, vocabulary, manifests, checks.
//!
//! [`HubPolicy::authorise`] says whether a member may do an act of the hub at all; [`decide`] says whether a
//! policy permits a use of its dataset, and under which obligations. Both deny by default, deny wins, and an
//! engine that fails denies, with an alert ([`Fault`]). Only this layer knows casbin; it knows no store, no transport
//! and no clock.
//! `policies/` holds the models, role templates, vocabulary, policy templates and charter that it embeds.

mod analysis;
pub mod assets;
pub mod check;
pub mod diff;
pub mod explain;
mod fault;
mod hub;
pub mod manifest;
pub mod odrl;
mod path;
mod skew;
pub mod suite;
#[cfg(test)]
mod testing;
mod usage;
pub mod vocabulary;

use casbin::{CoreApi, DefaultModel, Enforcer, Model};
use futures::FutureExt;

pub use analysis::Surroundings;
pub use check::{Coverage, Covered, Finding, Severity, check, check_among, coverage, require_no_error};
pub use diff::{Difference, DifferenceKind, diff};
pub use fault::Fault;
pub use hub::{Act, Domain, Family, HubPolicy, Membership, Permit};
pub use path::pointer;
pub use skew::{ClockGuard, MOST_BACK};
pub use usage::{Attributes, CompiledPolicy, Question, UsagePolicies, decide};

use crate::error::{Error, Result};

/// Reads a casbin model. The engine's loaders are async by signature only: on a string they never wait.
fn read_model(text: &str) -> Result<DefaultModel> {
    DefaultModel::from_str(text)
        .now_or_never()
        .ok_or_else(|| Error::internal("the policy engine waited while it read a model"))?
        .map_err(|e| Error::internal(format!("policy model: {e}")))
}

/// Refuses a row that does not have the columns of the model: the engine would fail on every request that reaches it.
fn require_arity(model: &DefaultModel, row: &[String]) -> Result<()> {
    let columns = model.get_model().get("p").and_then(|section| section.get("p")).map_or(0, |p| p.tokens.len());
    if columns == row.len() {
        return Ok(());
    }
    Err(Fault::ModelMismatch.raise(format_args!("a row of {} cells for {columns} columns", row.len())))
}

/// An enforcer over `model` and the rules that were put into it.
fn enforcer(model: DefaultModel) -> Result<Enforcer> {
    let mut enforcer = Enforcer::new_raw(model, ())
        .now_or_never()
        .ok_or_else(|| Error::internal("the policy engine waited while it was made"))?
        .map_err(|e| Error::internal(format!("policy engine: {e}")))?;
    enforcer.build_role_links().map_err(|e| Error::internal(format!("role links: {e}")))?;
    Ok(enforcer)
}
