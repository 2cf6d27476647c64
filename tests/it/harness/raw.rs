//! Requests that no well-behaved client sends, and plain GET: bytes in, status and bytes out.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use odh::trust::tls::{ClientIdentity, Connector, client_config};

use super::Site;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// GET over plain HTTP.
pub(crate) async fn get(url: &str) -> Result<(u16, String), Failed> {
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(HttpConnector::new());
    let answer = client.get(url.parse()?).await?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await?.to_bytes();
    Ok((status, String::from_utf8(body.to_vec())?))
}

/// GET over the hub's public HTTPS.
pub(crate) async fn get_public(site: &Site, path: &str) -> Result<(u16, String), Failed> {
    let answer = fetch_public(site, path, None).await?;
    let status = answer.status().as_u16();
    Ok((status, String::from_utf8(answer.into_body().to_vec())?))
}

/// GET over the hub's public HTTPS, with a bearer token if there is one: all of the answer.
pub(crate) async fn fetch_public(
    site: &Site,
    path: &str,
    bearer: Option<&str>,
) -> Result<http::Response<Bytes>, Failed> {
    let connector = Connector::new(Arc::new(client_config(&site.ca_pem, None)?));
    let client = Client::builder(TokioExecutor::new()).build::<_, Full<Bytes>>(connector);
    let mut request = http::Request::get(format!("{}{path}", site.https));
    if let Some(token) = bearer {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let (head, body) = client.request(request.body(Full::default())?).await?.into_parts();
    Ok(http::Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// What a raw call was answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawAnswer {
    /// The HTTP status.
    pub(crate) http: u16,
    /// `grpc-status`, if there was one.
    pub(crate) grpc: Option<i32>,
    /// `grpc-message`, as it was sent.
    pub(crate) message: String,
    /// The body, frames included.
    pub(crate) body: Bytes,
}

/// Posts `body` as it is to a method of the hub's API, for example `ParticipantService/GetHub`.
pub(crate) async fn post(
    site: &Site,
    identity: Option<ClientIdentity<'_>>,
    method: &str,
    body: impl Into<Bytes>,
) -> Result<RawAnswer, Failed> {
    post_to(site, identity, &format!("/occitanie.datahub.v1.{method}"), body).await
}

/// Posts `body` as it is to a path of the gRPC listener.
pub(crate) async fn post_to(
    site: &Site,
    identity: Option<ClientIdentity<'_>>,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<RawAnswer, Failed> {
    let connector = Connector::new(Arc::new(client_config(&site.ca_pem, identity)?));
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build::<_, Full<Bytes>>(connector);
    let request = http::Request::post(format!("{}{path}", site.grpc))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body.into()))?;
    let (head, answer) = client.request(request).await?.into_parts();
    let collected = answer.collect().await?;
    let mut fields = head.headers;
    fields.extend(collected.trailers().cloned().unwrap_or_default());
    let text = |name: &str| fields.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    Ok(RawAnswer {
        http: head.status.as_u16(),
        grpc: text("grpc-status").parse().ok(),
        message: text("grpc-message"),
        body: collected.to_bytes(),
    })
}

/// One gRPC frame around `message`, uncompressed.
pub(crate) fn frame(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0][..], &length.to_be_bytes(), message].concat()
}
