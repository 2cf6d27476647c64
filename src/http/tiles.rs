//! The log for everyone who wants to check it (C2SP tlog-tiles): hash tiles in public, entries for who may read all.
//!
//! Hash tiles tell nothing about entries, since each leaf has a nonce. A tile never changes: caches may keep it.

use axum::{
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};

use crate::{
    audit::{TilePath, tile::TILE_WIDTH},
    error::{Code, Error, Result},
    service::Services,
};

/// For a full tile, which is the same for ever.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
/// For a partial tile: it is the same for ever, too, but nobody asks for it once it is full.
const FOR_A_WHILE: &str = "public, max-age=300";
/// For entries, which not everyone may read.
const PRIVATE: &str = "private, no-store";

/// `/tile/...`: a path is one of the specification, letter for letter, or unknown.
pub(super) async fn tile(State(services): State<Services>, uri: Uri, headers: HeaderMap) -> Response {
    if uri.query().is_some() {
        return unknown();
    }
    let Ok(path) = uri.path().trim_start_matches('/').parse::<TilePath>() else { return unknown() };
    if format!("/{path}") != uri.path() {
        return unknown();
    }
    match path {
        TilePath::Hashes { id, width } => {
            let cache = if width == TILE_WIDTH { FOR_EVER } else { FOR_A_WHILE };
            answer(services.hash_tile(id, width).await, cache)
        }
        TilePath::Entries { n, width } => answer(entries(&services, &headers, n, width).await, PRIVATE),
    }
}

async fn entries(services: &Services, headers: &HeaderMap, n: u64, width: u64) -> Result<Option<Vec<u8>>> {
    let caller = services.identify(None, super::bearer(headers)?).await?;
    services.entry_bundle(&caller, n, width).await
}

fn answer(found: Result<Option<Vec<u8>>>, cache: &'static str) -> Response {
    match found {
        Ok(Some(bytes)) => {
            ([(header::CONTENT_TYPE, "application/octet-stream"), (header::CACHE_CONTROL, cache)], bytes)
                .into_response()
        }
        Ok(None) => unknown(),
        Err(error) => refused(&error),
    }
}

fn unknown() -> Response {
    (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, "no-cache")], "the log has no such tile").into_response()
}

/// The answer to a refusal or failure.
pub(super) fn refused(error: &Error) -> Response {
    let status = match error.code() {
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::InvalidArgument | Code::FailedPrecondition => StatusCode::BAD_REQUEST,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Cancelled | Code::Unimplemented | Code::DeadlineExceeded | Code::Unavailable | Code::Internal => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    let mut response = (status, [(header::CACHE_CONTROL, "no-store")], error.message_en()).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
    }
    response
}
