//! A client of a hub: mutual TLS 1.3, typed services, and the acts that its member signs.
//!
//! A library for the commands, the demo and the tests alike. Nothing is tried twice: a caller that wants to repeat a
//! change does so with its `request_id`.

use std::{fmt, sync::Arc, time::Duration};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::OnceCell;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use super::{env::Lang, failure::Failure};
use crate::{
    grpc::pb::{
        self, access_service_client::AccessServiceClient, audit_service_client::AuditServiceClient,
        catalog_service_client::CatalogServiceClient, consent_service_client::ConsentServiceClient,
        participant_service_client::ParticipantServiceClient, policy_service_client::PolicyServiceClient,
        privacy_service_client::PrivacyServiceClient, query_service_client::QueryServiceClient,
    },
    trust::{
        Act, PeerIdentity, sign_act,
        tls::{ClientIdentity, Connector, client_config},
    },
};

/// How long an ordinary call may take.
const CALL: Duration = Duration::from_secs(30);
/// How long a query or an export may take; the hub has limits of its own.
const LONG_CALL: Duration = Duration::from_mins(10);
/// How long an upload or import may take.
const UPLOAD: Duration = Duration::from_hours(2);

/// The connection that services of a client use.
pub type Wire = InterceptedService<Channel, Headers>;

/// A hub and who wants to talk to it.
#[derive(Clone)]
pub struct Target {
    hub: String,
    ca_pem: String,
    identity: Option<Identity>,
    bearer: Option<SecretString>,
    lang: Lang,
}

/// A certificate chain and its key, both PEM.
#[derive(Clone)]
struct Identity {
    chain_pem: String,
    key_pem: SecretString,
}

impl Target {
    /// The hub at `hub` (`https://host:port`, or `host:port`), whose authority is in `ca_pem`; without an identity.
    pub fn new(hub: &str, ca_pem: &str) -> Self {
        let hub = if hub.contains("://") { hub.to_owned() } else { format!("https://{hub}") };
        Self { hub, ca_pem: ca_pem.to_owned(), identity: None, bearer: None, lang: Lang::En }
    }

    /// Shows this certificate (chain and key, PEM); acts are signed with its key.
    #[must_use]
    pub fn with_certificate(self, chain_pem: impl Into<String>, key_pem: impl Into<SecretString>) -> Self {
        Self { identity: Some(Identity { chain_pem: chain_pem.into(), key_pem: key_pem.into() }), ..self }
    }

    /// Sends this access token.
    #[must_use]
    pub fn with_bearer(self, token: impl Into<SecretString>) -> Self {
        Self { bearer: Some(token.into()), ..self }
    }

    /// Asks for texts in this language.
    #[must_use]
    pub fn speaking(self, lang: Lang) -> Self {
        Self { lang, ..self }
    }

    /// The hub's address, a URL.
    pub fn hub(&self) -> &str {
        &self.hub
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target")
            .field("hub", &self.hub)
            .field("certificate", &self.identity.is_some())
            .field("bearer", &self.bearer.is_some())
            .finish_non_exhaustive()
    }
}

/// A connection to a hub. Cloning it shares the connection.
#[derive(Debug, Clone)]
pub struct Client {
    channel: Channel,
    headers: Headers,
    target: Arc<Target>,
    hub_id: Arc<OnceCell<String>>,
}

impl Client {
    /// Connects; fails at once if the hub cannot be reached, is of another authority or refuses the certificate.
    pub async fn connect(target: Target) -> Result<Self, Failure> {
        let identity = target.identity.as_ref().map(|identity| ClientIdentity {
            chain_pem: &identity.chain_pem,
            key_pem: identity.key_pem.expose_secret(),
        });
        let config = client_config(&target.ca_pem, identity)?;
        let endpoint = Endpoint::from_shared(target.hub.clone()).map_err(|_| {
            Failure::usage(
                format!("`{}` is not the address of a hub: write https://HOST:PORT", target.hub),
                format!("`{}` n'est pas l'adresse d'un hub : écrivez https://HÔTE:PORT", target.hub),
            )
        })?;
        let channel = endpoint
            .user_agent(concat!("odh/", env!("CARGO_PKG_VERSION")))?
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .connect_with_connector(Connector::new(Arc::new(config)))
            .await?;
        let headers = Headers::new(&target)?;
        Ok(Self { channel, headers, target: Arc::new(target), hub_id: Arc::default() })
    }

    /// Participants, members, certificates, the charter.
    pub fn participants(&self) -> ParticipantServiceClient<Wire> {
        ParticipantServiceClient::new(self.wire(CALL))
    }

    /// Datasets and snapshots.
    pub fn catalog(&self) -> CatalogServiceClient<Wire> {
        CatalogServiceClient::new(self.wire(CALL))
    }

    /// Uploads of snapshots.
    pub fn uploads(&self) -> CatalogServiceClient<Wire> {
        CatalogServiceClient::new(self.wire(UPLOAD))
    }

    /// Policies and decisions.
    pub fn policies(&self) -> PolicyServiceClient<Wire> {
        PolicyServiceClient::new(self.wire(CALL))
    }

    /// Access requests and grants.
    pub fn access(&self) -> AccessServiceClient<Wire> {
        AccessServiceClient::new(self.wire(CALL))
    }

    /// Consents of subjects, with time enough for an import.
    pub fn consents(&self) -> ConsentServiceClient<Wire> {
        ConsentServiceClient::new(self.wire(UPLOAD))
    }

    /// Queries.
    pub fn queries(&self) -> QueryServiceClient<Wire> {
        QueryServiceClient::new(self.wire(LONG_CALL))
    }

    /// What queries have used up of the limits of policies.
    pub fn privacy(&self) -> PrivacyServiceClient<Wire> {
        PrivacyServiceClient::new(self.wire(CALL))
    }

    /// The audit log, with time enough for an export.
    pub fn audit(&self) -> AuditServiceClient<Wire> {
        AuditServiceClient::new(self.wire(LONG_CALL))
    }

    /// What this client talks to and as whom.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What hub this is. Needs no identity.
    pub async fn hub(&self) -> Result<pb::Hub, Failure> {
        let response = self.participants().get_hub(pb::GetHubRequest {}).await?.into_inner();
        response.hub.ok_or_else(|| Failure::protocol("it lacks the hub"))
    }

    /// Who the client's certificate says it is.
    ///
    /// Its trust domain must be the id that the hub states, so that a hub cannot obtain an act for another one.
    pub async fn identity(&self) -> Result<PeerIdentity, Failure> {
        let hub_id = self.hub_id().await?;
        let identity = self.target.identity.as_ref().ok_or_else(no_certificate)?;
        let certificate = CertificateDer::from_pem_slice(identity.chain_pem.as_bytes())
            .map_err(|_| Failure::usage("the certificate is not PEM", "le certificat n'est pas au format PEM"))?;
        PeerIdentity::from_der(&certificate, hub_id).map_err(|_| {
            Failure::usage(
                format!("the certificate is not that of a member of the hub `{hub_id}`"),
                format!("le certificat n'est pas celui d'un membre du hub `{hub_id}`"),
            )
        })
    }

    /// Signs an act with the certificate's key: a detached JWS (see `common.proto`).
    pub async fn sign(&self, act: &str, object: &str) -> Result<String, Failure> {
        let PeerIdentity { participant, member, .. } = self.identity().await?;
        let key = &self.target.identity.as_ref().ok_or_else(no_certificate)?.key_pem;
        let hub = self.hub_id().await?.to_owned();
        let act = Act { act: act.to_owned(), hub, member, object: object.to_owned(), participant };
        Ok(sign_act(key.expose_secret(), &act)?)
    }

    async fn hub_id(&self) -> Result<&str, Failure> {
        let read = || async { Ok::<_, Failure>(self.hub().await?.hub_id) };
        Ok(self.hub_id.get_or_try_init(read).await?)
    }

    fn wire(&self, timeout: Duration) -> Wire {
        InterceptedService::new(self.channel.clone(), Headers { timeout, ..self.headers.clone() })
    }
}

/// What goes with every call: the access token, the language and the deadline.
#[derive(Clone)]
pub struct Headers {
    authorization: Option<MetadataValue<Ascii>>,
    language: MetadataValue<Ascii>,
    timeout: Duration,
}

impl Headers {
    fn new(target: &Target) -> Result<Self, Failure> {
        let bearer = target.bearer.as_ref().map(|token| {
            let mut value = MetadataValue::try_from(format!("Bearer {}", token.expose_secret().trim()))
                .map_err(|_| Failure::usage("the access token is not one", "le jeton d'accès n'en est pas un"))?;
            value.set_sensitive(true);
            Ok::<_, Failure>(value)
        });
        let language = MetadataValue::from_static(target.lang.tag());
        Ok(Self { authorization: bearer.transpose()?, language, timeout: CALL })
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Headers").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

impl Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request.metadata_mut().insert("accept-language", self.language.clone());
        request.set_timeout(self.timeout);
        Ok(request)
    }
}

fn no_certificate() -> Failure {
    Failure::usage(
        "this binds its member, who signs it: it needs a certificate and its key, a token is not enough",
        "cet acte engage son membre, qui le signe : il faut un certificat et sa clé, un jeton ne suffit pas",
    )
}

#[cfg(test)]
mod tests;
