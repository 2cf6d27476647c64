//! A small client of public HTTPS: whole answers of bounded size, errors that name what was asked.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{client::legacy, rt::TokioExecutor};

use super::failure::{Exit, Failure};
use crate::trust::tls::{Connector, client_config};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);
/// No document that is asked for here is larger: a full bundle of entries of 16 KiB each.
const LARGEST: usize = 5 * 1_024 * 1_024;

/// A site and the authority that its certificate must come from.
#[derive(Debug, Clone)]
pub(super) struct Https {
    base: String,
    client: legacy::Client<Connector, Full<Bytes>>,
}

impl Https {
    /// The site at `base`, an `https://` URL, with this authority (PEM).
    pub(super) fn new(base: &str, ca_pem: &str) -> Result<Self, Failure> {
        if !base.starts_with("https://") {
            let (en, fr) = ("the address must begin with https://", "l'adresse doit commencer par https://");
            return Err(Failure::usage(en, fr));
        }
        let connector = Connector::new(Arc::new(client_config(ca_pem, None)?));
        let client = legacy::Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { base: base.trim_end_matches('/').to_owned(), client })
    }

    /// GET of a path that must exist.
    pub(super) async fn get(&self, path: &str) -> Result<Bytes, Failure> {
        let request = Request::get(format!("{}{path}", self.base)).body(Full::default());
        match self.send(path, request).await? {
            (StatusCode::OK, body) => Ok(body),
            (status, body) => Err(self.refused(path, status, &body)),
        }
    }

    /// POST of a text; its answer must be a success.
    pub(super) async fn post(&self, path: &str, text: String) -> Result<(), Failure> {
        let request = Request::post(format!("{}{path}", self.base))
            .header(http::header::CONTENT_TYPE, "text/plain; charset=utf-8")
            .body(Full::from(text));
        match self.send(path, request).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, body) => Err(self.refused(path, status, &body)),
        }
    }

    async fn send(
        &self,
        path: &str,
        request: Result<Request<Full<Bytes>>, http::Error>,
    ) -> Result<(StatusCode, Bytes), Failure> {
        let request = request.map_err(|e| Failure::usage(e.to_string(), e.to_string()))?;
        let answer = async {
            let answer = self.client.request(request).await.map_err(|e| self.unreachable(path, &deepest(&e)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await;
            Ok((status, body.map_err(|e| self.unreachable(path, &e.to_string()))?.to_bytes()))
        };
        tokio::time::timeout(ANSWER, answer).await.map_err(|_| self.unreachable(path, "no answer in time"))?
    }

    fn unreachable(&self, path: &str, detail: &str) -> Failure {
        let url = format!("{}{path}", self.base);
        Failure::new(Exit::Unreachable, format!("{url}: {detail}"), format!("{url} : {detail}"))
    }

    fn refused(&self, path: &str, status: StatusCode, body: &Bytes) -> Failure {
        let text: String = String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(200).collect();
        let detail = format!("{}{path}: {status} {text}", self.base);
        Failure::new(Exit::Failed, detail.clone(), detail)
    }
}

/// What the innermost cause says: the outer ones only say that there is one.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
