//! For operators, on loopback: is it started, alive, ready; metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    service::Services,
    telemetry::{Metrics, OPENMETRICS},
};

/// Where the server is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Not serving yet.
    Starting = 0,
    /// Serving.
    Serving = 1,
    /// Ending what runs, taking nothing new.
    Draining = 2,
}

/// What the probes and metrics are answered from.
#[derive(Debug, Clone)]
pub struct OpsState {
    phase: Arc<AtomicU8>,
    services: Services,
    metrics: Arc<Metrics>,
}

impl OpsState {
    /// State of a server that is starting.
    pub fn new(services: Services, metrics: Arc<Metrics>) -> Self {
        Self { phase: Arc::new(AtomicU8::new(Phase::Starting as u8)), services, metrics }
    }

    /// Moves on.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) == phase as u8
    }
}

/// `/health/started`, `/health/live`, `/health/ready` and `/metrics`.
pub fn ops_router(state: OpsState) -> Router {
    Router::new()
        .route("/health/started", get(started))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn started(State(state): State<OpsState>) -> Response {
    answer(!state.is_in(Phase::Starting), "started", "starting")
}

/// Alive as long as it can answer at all: a database that is away is no reason for a restart.
async fn live() -> Response {
    answer(true, "live", "")
}

async fn ready(State(state): State<OpsState>) -> Response {
    if !state.is_in(Phase::Serving) {
        return answer(false, "", "not serving");
    }
    answer(state.services.is_ready().await, "ready", "the database does not answer")
}

async fn metrics(State(state): State<OpsState>) -> Response {
    ([(header::CONTENT_TYPE, OPENMETRICS)], state.metrics.render()).into_response()
}

fn answer(good: bool, yes: &'static str, no: &'static str) -> Response {
    if good { (StatusCode::OK, yes).into_response() } else { (StatusCode::SERVICE_UNAVAILABLE, no).into_response() }
}
