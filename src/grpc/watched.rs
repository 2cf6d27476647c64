//! The body of an answer, watched to its end: its status, its deadline, and whether the caller went away.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::HeaderMap;
use hyper::body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Body as HttpBody, Bytes},
};

use super::{call::Call, status};
use crate::{
    error::{Error, Reason},
    telemetry::Metrics,
};

/// What is recorded of a call.
pub(super) struct Record {
    pub(super) metrics: Arc<Metrics>,
    pub(super) path: String,
    pub(super) started: Instant,
    pub(super) span: tracing::Span,
}

impl Record {
    /// The call ended with this code.
    pub(super) fn end(self, code: Code) {
        let (name, took) = (status::code_name(code), self.started.elapsed());
        self.metrics.rpc(&self.path, name, took);
        self.span.record("rpc.code", name);
        self.span.in_scope(|| tracing::debug!(code = name, ?took, "call"));
    }
}

/// Gives a status that tonic made by itself the hub's form. Returns the code, if there is a status at all.
pub(super) fn mend(headers: &mut HeaderMap, call: &Call, message_bytes: usize) -> Option<Code> {
    let status = Status::from_header_map(headers)?;
    let code = status.code();
    if code == Code::Ok || headers.contains_key(Status::GRPC_STATUS_DETAILS) {
        return Some(code);
    }
    let Some(error) = status::of_transport(&status, message_bytes) else { return Some(code) };
    let mended = call.status(&error);
    headers.remove(Status::GRPC_MESSAGE);
    // Only a text that is no header value could fail; the old status then stands.
    if mended.add_header(headers).is_err() {
        return Some(code);
    }
    Some(mended.code())
}

/// An answer's body. The call is recorded when it ends, also when it is dropped.
pub(super) struct Watched {
    inner: Body,
    call: Call,
    record: Option<Record>,
    deadline: Option<Pin<Box<Sleep>>>,
    message_bytes: usize,
}

impl Watched {
    /// Watches `inner`, which must end within `left`.
    pub(super) fn new(inner: Body, call: Call, record: Record, left: Option<Duration>, message_bytes: usize) -> Self {
        let deadline = left.map(|left| Box::pin(tokio::time::sleep(left)));
        Self { inner, call, record: Some(record), deadline, message_bytes }
    }

    fn end(&mut self, code: Code) {
        if let Some(record) = self.record.take() {
            record.end(code);
        }
    }

    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Ok(mut frame))) => {
                if let Some(trailers) = frame.trailers_mut() {
                    let code = mend(trailers, &self.call, self.message_bytes).unwrap_or(Code::Unknown);
                    self.end(code);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(status))) => {
                self.end(status.code());
                Poll::Ready(Some(Err(status)))
            }
            Poll::Ready(None) => {
                self.end(Code::Unknown);
                Poll::Ready(None)
            }
            Poll::Pending => match self.deadline.as_mut().map(|deadline| deadline.as_mut().poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(self.cut().map(|trailers| Ok(Frame::trailers(trailers)))),
                _ => Poll::Pending,
            },
        }
    }

    /// Drops what is left of the answer and says why it ends.
    fn cut(&mut self) -> Option<HeaderMap> {
        self.record.as_ref()?;
        self.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        let status = self.call.status(&Error::new(Reason::DeadlineExceeded));
        self.end(status.code());
        status.add_header(&mut trailers).ok()?;
        Some(trailers)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let span = self.record.as_ref().map(|record| record.span.clone());
        let _entered = span.as_ref().map(tracing::Span::enter);
        self.next(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}
