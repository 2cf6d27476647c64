//! The governed query engine: the only home of DataFusion.
//!
//! A query goes through four gates, and each can only narrow what the next one sees:
//!
//! 1. [`Engine::admit`] reads the text alone: size, depth, one `Query`, the datasets that it names.
//! 2. [`Engine::plan`] gets exactly these datasets with what the caller may do with them, checks every node and
//!    expression against allow-lists (`guard`), makes what is left total (`totalise`), adds the suppression of
//!    small groups (`rewrite`, `suppress`), and asserts that the physical plan reads only through the barrier (`scan`).
//! 3. [`Engine::execute`] wants evidence that the decision is in the audit log, by value.
//! 4. [`Answer`] counts, caps, re-chunks and cuts.
//!
//! Nothing that depends on data reaches an error: a caller gets `QUERY_REJECTED` with a rule decided by the text and
//! the visible schema, or `QUERY_FAILED` without a cause. This module knows no caller, no grant and no purpose.

mod admit;
mod answer;
mod at_least_k;
mod barrier;
mod bounded;
mod check;
mod consent;
mod dataset;
mod engine;
mod failure;
mod french;
mod functions;
mod guard;
pub mod ingest;
mod ipc;
mod lane;
mod lineage;
mod mask;
mod number;
mod pairs;
mod parameters;
mod predicate;
mod privacy;
mod pushed;
mod rewrite;
mod scan;
mod session;
mod suppress;
mod template;
mod total;
mod totalise;
mod weight;

pub use admit::{Admitted, TextLimits, limits};
pub use answer::{Answer, Counters, DatasetCounters};
pub use check::check_how;
pub use consent::ConsentBits;
pub use dataset::{GovernedDataset, ORDINAL_COLUMN, arrow_type};
pub use engine::{Engine, EngineConfig, Planned};
pub use functions::scalar_function_names;
pub use ipc::IpcEncoder;
pub use number::number;
pub use parameters::{Literal, Parameterised, parameter_guesses, parameter_schema};
pub use privacy::PrivacyLoss;

/// What an answer is made of and how it is laid out, for those who pass it on without looking inside.
pub use arrow::{
    array::RecordBatch,
    datatypes::{DataType, SchemaRef},
};

#[cfg(test)]
mod tests;
