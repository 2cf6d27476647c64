//! The HTTP listeners: health and metrics for operators, public keys and checkpoints for everyone.
//!
//! Thin as the gRPC transport: a handler makes one service call. Only entries of the log need an identity here, that of
//! a bearer token; nothing else shows data about participants or datasets.

mod ops;
mod public;
mod tiles;

use std::{future::Future, io};

use axum::http::{HeaderMap, header};

pub use self::{
    ops::{OpsState, Phase, ops_router},
    public::public_router,
};

use crate::error::{Error, Reason, Result};

/// The access token of `authorization: Bearer ...` (RFC 6750 section 2.1); anything else there is refused.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let refused = || Error::new(Reason::Unauthenticated);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    if values.next().is_some() || !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() {
        return Err(refused());
    }
    Ok(Some(token))
}

/// Serves `router` without TLS, for the operations listener on loopback.
pub async fn serve_plain(
    listener: tokio::net::TcpListener,
    router: axum::Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}
