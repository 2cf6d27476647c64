//! rustls configurations, each setting stated: nothing rests on a default.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::Resumption,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::error::{Error, Result};

const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];

/// Which protocols a listener speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alpn {
    /// gRPC: HTTP/2 only.
    Grpc,
    /// Public HTTPS: HTTP/2 and HTTP/1.1.
    Web,
}

impl Alpn {
    fn protocols(self) -> Vec<Vec<u8>> {
        match self {
            Self::Grpc => vec![b"h2".to_vec()],
            Self::Web => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

/// What a listener needs to know.
#[derive(Clone, Copy)]
pub struct ServerTlsSettings<'a> {
    /// The server's certificate chain, leaf first, PEM.
    pub chain_pem: &'a str,
    /// Its private key, PEM.
    pub key_pem: &'a str,
    /// The CA whose client certificates are asked for and verified. `None`: no client certificate is asked for.
    pub client_ca_pem: Option<&'a str>,
    /// Refuses a handshake without a client certificate. A bad one is refused in any case.
    pub require_client_certificate: bool,
    /// The protocols offered.
    pub alpn: Alpn,
}

impl fmt::Debug for ServerTlsSettings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTlsSettings")
            .field("require_client_certificate", &self.require_client_certificate)
            .field("alpn", &self.alpn)
            .finish_non_exhaustive()
    }
}

/// The configuration of a listener. Clones share it; a reload reaches the next handshake of each.
#[derive(Debug, Clone)]
pub struct ServerTls(Arc<ArcSwap<ServerConfig>>);

impl ServerTls {
    /// The configuration for these settings.
    pub fn new(settings: &ServerTlsSettings<'_>) -> Result<Self> {
        Ok(Self(Arc::new(ArcSwap::from_pointee(server_config(settings)?))))
    }

    /// Replaces the configuration. If the new settings are unusable, the old one stays in force.
    pub fn reload(&self, settings: &ServerTlsSettings<'_>) -> Result<()> {
        self.0.store(Arc::new(server_config(settings)?));
        Ok(())
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

/// A client's certificate chain and private key, both PEM.
#[derive(Clone, Copy)]
pub struct ClientIdentity<'a> {
    /// The chain, leaf first.
    pub chain_pem: &'a str,
    /// The private key.
    pub key_pem: &'a str,
}

impl fmt::Debug for ClientIdentity<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientIdentity([redacted])")
    }
}

/// A client that trusts the CA of `ca_pem` only and shows its certificate if it has one. Offers HTTP/2.
pub fn client_config(ca_pem: &str, identity: Option<ClientIdentity<'_>>) -> Result<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)
        .map_err(Error::internal)?
        .with_root_certificates(roots(ca_pem)?);
    let mut config = match identity {
        Some(ClientIdentity { chain_pem, key_pem }) => builder
            .with_client_auth_cert(chain(chain_pem)?, key(key_pem)?)
            .map_err(|e| Error::invalid("certificate", format_args!("certificate and key do not fit: {e}")))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = Alpn::Grpc.protocols();
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}

fn server_config(settings: &ServerTlsSettings<'_>) -> Result<ServerConfig> {
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(VERSIONS).map_err(Error::internal)?;
    let builder = match settings.client_ca_pem {
        Some(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
            let verifier =
                if settings.require_client_certificate { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| Error::invalid("client CA", e))?)
        }
        None if settings.require_client_certificate => {
            return Err(Error::invalid("client CA", "client certificates are required but no CA is given"));
        }
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain(settings.chain_pem)?, key(settings.key_pem)?)
        .map_err(|e| Error::invalid("certificate", format_args!("certificate and key do not fit: {e}")))?;
    config.alpn_protocols = settings.alpn.protocols();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn roots(pem: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem)? {
        roots.add(certificate).map_err(|e| Error::invalid("CA", e))?;
    }
    Ok(roots)
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        _ => Err(Error::invalid("certificate", "not a PEM file with certificates")),
    }
}

fn key(pem: &str) -> Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| Error::invalid("key", "not a PEM file with a private key"))
}
