//! The client's side: a connector for tonic channels and hyper clients, with errors a person can act on.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{AlertDescription, CertificateError, ClientConfig};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

/// How long connecting and the handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens TLS connections to hubs. Give tonic's `Endpoint` an `http://` or `https://` URI: it is TLS either way.
#[derive(Debug, Clone)]
pub struct Connector {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl Connector {
    /// Connects with this configuration; the server must be named as in the URI.
    pub const fn new(config: Arc<ClientConfig>) -> Self {
        Self { config, server_name: None }
    }

    /// Expects this name in the server's certificate instead of the URI's, for tunnels and port forwards.
    #[must_use]
    pub fn with_server_name(self, name: ServerName<'static>) -> Self {
        Self { server_name: Some(name), ..self }
    }

    async fn connect(self, uri: Uri) -> io::Result<ClientStream> {
        let invalid = |detail: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("`{uri}` {detail}"));
        let host = uri.host().ok_or_else(|| invalid("names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(443);
        let name = match self.server_name {
            Some(name) => name,
            None => {
                ServerName::try_from(host.to_owned()).map_err(|_| invalid("names a host that TLS cannot verify"))?
            }
        };
        let connect = async {
            let tcp = TcpStream::connect((host, port))
                .await
                .map_err(|e| io::Error::new(e.kind(), format!("no connection to {host}:{port}: {e}")))?;
            tcp.set_nodelay(true)?;
            TlsConnector::from(self.config).connect(name, tcp).await.map_err(explain)
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, connect).await {
            Ok(stream) => Ok(ClientStream { stream: stream? }),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer from {host}:{port} within 10 s"))),
        }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<ClientStream>;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connect = self.clone().connect(uri);
        Box::pin(async move { connect.await.map(TokioIo::new) })
    }
}

/// A client's connection. In TLS 1.3 the server's refusal of a certificate arrives with the first read.
#[derive(Debug)]
pub struct ClientStream {
    stream: TlsStream<TcpStream>,
}

impl Connection for ClientStream {
    fn connected(&self) -> Connected {
        let connected = Connected::new();
        if self.stream.get_ref().1.alpn_protocol() == Some(b"h2") { connected.negotiated_h2() } else { connected }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf).map_err(explain)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf).map_err(explain)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx).map_err(explain)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Says in words what a TLS error means. Kept as text: HTTP/2 passes on the words of an error, not its type.
fn explain(error: io::Error) -> io::Error {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else { return error };
    let detail = match tls {
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "the hub requires a client certificate: enrol first".to_owned()
        }
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the hub refused the client certificate: it has expired, renew it or enrol again".to_owned()
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRevoked
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied),
        ) => format!("the hub refused the client certificate ({alert:?}): it is not of this hub's authority"),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "the server does not speak TLS 1.3: it is not a hub".to_owned()
        }
        // A hub that was set up anew keeps its name: the old CA file then fails on the signature.
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "the server's certificate is not of the authority in the CA file".to_owned()
        }
        rustls::Error::InvalidCertificate(reason) => {
            format!("the server's certificate is not acceptable: {reason}")
        }
        rustls::Error::InvalidMessage(_) => "the server does not speak TLS: it is not a hub".to_owned(),
        other => format!("TLS failed: {other}"),
    };
    io::Error::new(error.kind(), detail)
}
