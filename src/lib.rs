//! The Occitanie Data hub: a trusted exchange where participants share and cross data under policies and consent.
//!
//! Data flows one way; a layer uses only what stands to its right:
//!
//! ```text
//! main, cli -> app -> server -> {grpc, http} -> service -> {store, query, policy, trust} -> audit -> domain
//! ```
//!
//! `tests/it/layering.rs` holds this. `docs/architecture.md` follows one call on its way.

pub mod app;
pub mod audit;
pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod grpc;
pub mod http;
pub mod policy;
pub mod query;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod trust;
