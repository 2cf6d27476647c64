//! For everyone, over HTTPS: the keys that verify grants, the hub's CA, the log's checkpoint and its key.

use axum::{
    Router,
    extract::{DefaultBodyLimit, Query, RawQuery, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::tiles::{refused, tile};
use crate::{audit::VerifierKey, error::Result, service::Services};

/// Bytes of a checkpoint with many cosignatures.
const LARGEST_NOTE: usize = 16 * 1_024;

/// `/.well-known/jwks.json`, `/ca.crt`, `/log.vkey`, `/checkpoint`, `/checkpoint/witnessed`, `/cosignature` and
/// `/tile/...`.
pub fn public_router(services: Services) -> Router {
    Router::new()
        .route("/.well-known/jwks.json", get(jwks))
        .route("/ca.crt", get(ca))
        .route("/log.vkey", get(log_key))
        .route("/checkpoint", get(checkpoint))
        .route("/checkpoint/witnessed", get(witnessed))
        .route("/cosignature", post(cosignature).layer(DefaultBodyLimit::max(LARGEST_NOTE)))
        .route("/tile/{*path}", get(tile))
        .with_state(services)
}

/// RFC 7517. Keys change rarely, so a verifier may keep the document for five minutes.
async fn jwks(State(services): State<Services>) -> Response {
    document("application/jwk-set+json", "max-age=300", services.keys().tokens().jwks().to_json())
}

async fn ca(State(services): State<Services>) -> Response {
    document("application/x-pem-file", "max-age=300", Ok(services.keys().authority().certificate_pem().to_owned()))
}

/// The verifier key of the log (C2SP signed-note).
async fn log_key(State(services): State<Services>) -> Response {
    let key = VerifierKey::of(services.keys().log_signer().as_ref()).map(|key| format!("{key}\n"));
    document("text/plain; charset=utf-8", "max-age=300", key)
}

/// A reader's wish to be answered once there is something new.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Beyond {
    /// The size of the log that it knows.
    after: u64,
}

/// C2SP tlog-tiles section "Checkpoints": never cached, so that a reader sees the newest.
///
/// With `?after=SIZE` the answer waits, for two seconds at most, until the log has more entries than that.
async fn checkpoint(State(services): State<Services>, RawQuery(query): RawQuery, uri: Uri) -> Response {
    let text = "text/plain; charset=utf-8";
    if query.is_none() {
        return document(text, "no-cache", services.checkpoint().await);
    }
    match Query::<Beyond>::try_from_uri(&uri) {
        Ok(Query(Beyond { after })) => document(text, "no-cache", services.checkpoint_beyond(after).await),
        Err(_) => (StatusCode::BAD_REQUEST, "the only parameter is `after`, a number").into_response(),
    }
}

/// The largest checkpoint that the required number of witnesses have cosigned.
async fn witnessed(State(services): State<Services>) -> Response {
    match services.witnessed_checkpoint().await {
        Ok(None) => {
            (StatusCode::NOT_FOUND, "no checkpoint is cosigned by as many witnesses as it takes").into_response()
        }
        Ok(Some(note)) => document("text/plain; charset=utf-8", "no-cache", Ok(note)),
        Err(error) => refused(&error),
    }
}

/// Takes a checkpoint of this log that a known witness has cosigned.
async fn cosignature(State(services): State<Services>, note: String) -> Response {
    match services.add_cosignatures(&note).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => refused(&error),
    }
}

fn document(content_type: &'static str, cache: &'static str, body: Result<String>) -> Response {
    match body {
        Ok(body) => ([(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, cache)], body).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.message_en()).into_response(),
    }
}
