//! One call: who makes it, in which language, and how its errors become answers.
//!
//! [`Call`] is made once per call, before its message is read, and travels in the request's extensions. Each refusal
//! leaves through [`Call::refuse`], so that no denial goes unlogged.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, header, request::Parts};
use tonic::{Request, Response, Status};

use super::{
    flight,
    page_token::PageTokens,
    status::{self, Language},
};
use crate::{
    domain::{Caller, Timestamp},
    error::{Error, Reason, Result},
    service::{Denied, Services},
    trust::tls::ConnectInfo,
};

/// Calls that need no identity.
const OPEN: [&str; 5] = [
    "ParticipantService/GetHub",
    "ParticipantService/GetCharter",
    "ParticipantService/RegisterParticipant",
    "ParticipantService/EnrolMember",
    "AccessService/GetJwks",
];

/// A call in progress; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Call(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    services: Services,
    pages: Arc<PageTokens>,
    /// `Service/Method` of a call that the hub knows, or `other`.
    method: String,
    language: Language,
    authority: String,
    identity: Option<Identity>,
}

#[derive(Debug)]
struct Identity {
    caller: Caller,
    certificate: Option<Arc<[u8]>>,
    token_expires: Option<Timestamp>,
}

impl Call {
    /// A call without identity so far.
    pub(super) fn new(services: Services, pages: Arc<PageTokens>, method: String, parts: &Parts) -> Self {
        let authority = parts.uri.authority().map_or("", http::uri::Authority::as_str);
        Self(Arc::new(Inner {
            services,
            pages,
            method,
            language: Language::of(&parts.headers),
            authority: authority.to_owned(),
            identity: None,
        }))
    }

    /// The same call with the identity that its connection and metadata prove, unless it needs none.
    pub(super) async fn identified(self, parts: &Parts) -> Result<Self> {
        if OPEN.contains(&self.method()) {
            return Ok(self);
        }
        let password;
        let bearer = if self.method() == flight::HANDSHAKE {
            password = flight::credential(&parts.headers)?;
            password.as_deref()
        } else {
            bearer(&parts.headers)?
        };
        let certificate = parts.extensions.get::<ConnectInfo>().and_then(|info| info.peer_certificate.clone());
        let caller = self.services().identify(certificate.as_deref(), bearer).await?;
        let identity = Identity { caller, certificate, token_expires: bearer.and_then(expiry) };
        Ok(Self(Arc::new(Inner {
            services: self.0.services.clone(),
            pages: Arc::clone(&self.0.pages),
            method: self.0.method.clone(),
            language: self.0.language,
            authority: self.0.authority.clone(),
            identity: Some(identity),
        })))
    }

    /// Takes a request apart: its call and its message.
    pub(super) fn split<T>(request: Request<T>) -> Result<(Self, T), Status> {
        let (_, mut extensions, message) = request.into_parts();
        // Only a server that was built without the hub's own layer gets here without one.
        let call = extensions.remove::<Self>().ok_or_else(|| Status::internal("the call was not identified"))?;
        Ok((call, message))
    }

    /// The use cases.
    pub(super) fn services(&self) -> &Services {
        &self.0.services
    }

    /// The page tokens.
    pub(super) fn pages(&self) -> &PageTokens {
        &self.0.pages
    }

    /// `Service/Method`.
    pub(super) fn method(&self) -> &str {
        &self.0.method
    }

    /// Host and port under which the caller has reached the hub.
    pub(super) fn authority(&self) -> &str {
        &self.0.authority
    }

    /// Who calls.
    pub(super) fn caller(&self) -> Result<&Caller> {
        self.0.identity.as_ref().map(|identity| &identity.caller).ok_or_else(|| Error::new(Reason::Unauthenticated))
    }

    /// The client certificate in use, DER; a call that needs one is refused without it.
    pub(super) fn certificate(&self) -> Result<&[u8]> {
        self.0
            .identity
            .as_ref()
            .and_then(|identity| identity.certificate.as_deref())
            .ok_or_else(|| Error::new(Reason::Unauthenticated))
    }

    /// From when on the access token in use is refused.
    pub(super) fn token_expires(&self) -> Option<Timestamp> {
        self.0.identity.as_ref().and_then(|identity| identity.token_expires)
    }

    /// Answers with what `run` yields.
    pub(super) async fn answer<T>(&self, run: impl Future<Output = Result<T>> + Send) -> Result<Response<T>, Status> {
        match Box::pin(run).await {
            Ok(reply) => Ok(Response::new(reply)),
            Err(error) => Err(self.refuse(error).await),
        }
    }

    /// The one way out for errors: a denial is durable in the log before its answer leaves, or the answer is that the
    /// log is not available (P1).
    pub(super) async fn refuse(&self, error: Error) -> Status {
        let caller = self.0.identity.as_ref().map(|identity| &identity.caller);
        let denied = Denied { caller, call: self.method(), error: &error };
        match self.services().log_denial(&denied).await {
            Ok(()) => self.status(&error),
            Err(_) => self.status(&Error::new(Reason::AuditUnavailable)),
        }
    }

    /// The status of an error that is no denial.
    pub(super) fn status(&self, error: &Error) -> Status {
        status::status(error, &self.services().settings().hub_id, self.0.language)
    }
}

/// The access token of `authorization: Bearer ...` (RFC 6750 section 2.1); anything else there is refused.
pub(super) fn bearer(headers: &HeaderMap) -> Result<Option<&str>> {
    let refused = || Error::new(Reason::Unauthenticated);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(refused());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
    if !scheme.eq_ignore_ascii_case("bearer") || !is_token(token) {
        return Err(refused());
    }
    Ok(Some(token))
}

/// Whether a text has the form of a bearer token: `b64token` of RFC 6750.
pub(super) fn is_token(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    !text.is_empty() && text.bytes().all(allowed)
}

/// When a token ends that has been verified already: the claim `exp` of its payload.
fn expiry(token: &str) -> Option<Timestamp> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Some(Timestamp::from_micros(claims.get("exp")?.as_i64()?.checked_mul(1_000_000)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_bearer_is_read_and_its_absence_is_no_error() {
        assert_eq!(bearer(&headers(&["Bearer a.b-c_d"])).unwrap(), Some("a.b-c_d"));
        assert_eq!(bearer(&headers(&["bearer x"])).unwrap(), Some("x"));
        assert_eq!(bearer(&headers(&[])).unwrap(), None);
    }

    #[test]
    fn malformed_credentials_are_refused_and_not_overlooked() {
        for bad in [vec!["Basic eDp5"], vec!["Bearer"], vec!["Bearer "], vec!["Bearer a b"], vec!["a"], vec![""]] {
            assert_eq!(bearer(&headers(&bad)).unwrap_err().reason(), Reason::Unauthenticated, "{bad:?}");
        }
        assert!(bearer(&headers(&["Bearer a", "Bearer b"])).is_err());
    }

    #[test]
    fn the_expiry_of_a_token_is_read() {
        let token = format!("h.{}.s", URL_SAFE_NO_PAD.encode(r#"{"exp":1795419000}"#));
        assert_eq!(expiry(&token).unwrap().seconds(), 1_795_419_000);
        assert_eq!(expiry("nonsense"), None);
    }
}
