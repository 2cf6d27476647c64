//! What every call passes: identity, deadline, panic barrier, and the record of how it ended.
//!
//! It stands before the message is read, so that a stranger cannot make the hub decode anything, and around the
//! answer's body, so that tonic's own statuses get the hub's form and the code of a stream is known at its end.

use std::{
    any::Any,
    collections::HashSet,
    convert::Infallible,
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tonic::{
    Code,
    body::Body,
    codegen::{Body as HttpBody, Bytes},
};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{
    call::Call,
    deadline,
    page_token::PageTokens,
    watched::{Record, Watched, mend},
};
use crate::{
    error::{Error, Reason},
    service::Services,
    telemetry::Metrics,
};

/// The package of the hub's services.
const PACKAGE: &str = "/occitanie.datahub.v1.";
/// Services of gRPC itself, which know no identity.
const GRPC_OWN: [&str; 2] = ["/grpc.health.v1.", "/grpc.reflection."];
/// Calls that bring a file and may take as long as an upload.
const UPLOADS: [&str; 2] = ["CatalogService/UploadSnapshot", "ConsentService/ImportConsents"];

/// What the gate needs to know.
pub(super) struct Shared {
    pub(super) services: Services,
    pub(super) pages: Arc<PageTokens>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) paths: HashSet<String>,
    pub(super) message_bytes: usize,
    pub(super) call_timeout: Duration,
    pub(super) upload_timeout: Duration,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// Puts the gate before every service.
#[derive(Debug, Clone)]
pub(super) struct GateLayer(pub(super) Arc<Shared>);

impl<S> Layer<S> for GateLayer {
    type Service = Gate<S>;

    fn layer(&self, inner: S) -> Gate<S> {
        Gate { inner, shared: Arc::clone(&self.0) }
    }
}

/// The gate before a service.
#[derive(Debug, Clone)]
pub(super) struct Gate<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, B, R> Service<Request<B>> for Gate<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
    R: HttpBody<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone may not be ready, the one that was polled is.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move { Ok(shared.pass(inner, request).await) })
    }
}

impl Shared {
    async fn pass<S, B, R>(self: Arc<Self>, inner: S, request: Request<B>) -> Response<Body>
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Send,
        S::Future: Send,
        B: Send,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let method = self.method(&path);
        let (service, name) = method.split_once('/').unwrap_or((&method, ""));
        let span = tracing::info_span!(
            "rpc",
            rpc.system = "grpc",
            rpc.service = service,
            rpc.method = name,
            rpc.code = tracing::field::Empty,
            participant = tracing::field::Empty,
        );
        let asked = deadline::of(&parts.headers);
        let limit = if UPLOADS.contains(&method.as_str()) { self.upload_timeout } else { self.call_timeout };
        let call = Call::new(self.services.clone(), Arc::clone(&self.pages), method, &parts);
        let answering = self.answer(call.clone(), inner, Request::from_parts(parts, body), &span);
        let first = asked.map_or(limit, |asked| asked.min(limit));
        let response = match tokio::time::timeout(first, AssertUnwindSafe(answering).catch_unwind())
            .instrument(span.clone())
            .await
        {
            Ok(Ok(response)) => response,
            Ok(Err(panic)) => call.status(&panicked(panic.as_ref())).into_http(),
            Err(_) => call.status(&Error::new(Reason::DeadlineExceeded)).into_http(),
        };
        let record = Record { metrics: Arc::clone(&self.metrics), path, started, span };
        let left = asked.map(|asked| asked.saturating_sub(started.elapsed()));
        self.watch(response, call, record, left)
    }

    async fn answer<S, B, R>(
        &self,
        call: Call,
        mut inner: S,
        mut request: Request<B>,
        span: &tracing::Span,
    ) -> Response<Body>
    where
        S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Send,
        S::Future: Send,
        B: Send,
        R: HttpBody<Data = Bytes> + Send + 'static,
        R::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if !GRPC_OWN.iter().any(|own| request.uri().path().starts_with(own)) {
            let (parts, body) = request.into_parts();
            let call = match call.clone().identified(&parts).await {
                Ok(identified) => identified,
                Err(error) => return call.refuse(error).await.into_http(),
            };
            if let Ok(caller) = call.caller() {
                span.record("participant", caller.participant.as_str());
            }
            request = Request::from_parts(parts, body);
            request.extensions_mut().insert(call);
        }
        match inner.call(request).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        }
    }

    /// Gives a status that tonic made the hub's form, and records the end of the call when it comes.
    fn watch(&self, response: Response<Body>, call: Call, record: Record, left: Option<Duration>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        if let Some(code) = mend(&mut parts.headers, &call, self.message_bytes) {
            record.end(code);
            return Response::from_parts(parts, body);
        }
        if parts.status != http::StatusCode::OK {
            record.end(Code::Unknown);
            return Response::from_parts(parts, body);
        }
        let body = Watched::new(body, call, record, left, self.message_bytes);
        Response::from_parts(parts, Body::new(body))
    }

    /// `Service/Method`, or `other` for what the hub does not have: a caller's text goes into no log.
    fn method(&self, path: &str) -> String {
        let known = self.paths.get(path).map(|path| path.strip_prefix(PACKAGE).unwrap_or_else(|| &path[1..]));
        known.unwrap_or("other").to_owned()
    }
}

/// A panic is the failure of its call alone (P5).
fn panicked(panic: &(dyn Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    Error::internal(format_args!("a call panicked: {}", text.unwrap_or("without a text")))
}
