//! What the scenarios stand on: hubs that are really served, over both databases, and the checks after each test.
//!
//! A scenario is an `async fn name(hub: &mut Hub)`; `on_both_engines!(name, ..)` runs it on SQLite and on PostgreSQL.
//! After each one the hub is stopped and its world is checked: see [`sane`].

pub(crate) mod cli;
pub(crate) mod engine;
pub(crate) mod fault;
pub(crate) mod hub;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod sane;
pub(crate) mod terminal;
pub(crate) mod wait;

pub(crate) use self::{
    engine::{Engine, on_both_engines},
    hub::Hub,
    process::HubProcess,
    wait::eventually,
};

/// The id of every hub of the suite.
pub(crate) const HUB_ID: &str = "hub.test";
/// The participant that operates it.
pub(crate) const OPERATING: &str = "hub";

/// Where a hub is met: what a client needs besides an identity of its own.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// `https://127.0.0.1:port`.
    pub(crate) grpc: String,
    /// `https://127.0.0.1:port`.
    pub(crate) https: String,
    /// `http://127.0.0.1:port`.
    pub(crate) ops: String,
    /// The hub's authority.
    pub(crate) ca_pem: String,
}
