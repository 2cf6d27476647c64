//! The HTTP listeners: health and metrics for operators, public keys and checkpoints for everyone.
//!
//! Thin as the gRPC transport: a handler makes one service call. Nothing here needs an identity, so nothing here
//! shows data about participants or datasets.

mod ops;
mod public;

use std::{future::Future, io};

pub use self::{
    ops::{OpsState, Phase, ops_router},
    public::public_router,
};

/// Serves `router` without TLS, for the operations listener on loopback.
pub async fn serve_plain(
    listener: tokio::net::TcpListener,
    router: axum::Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}
