//! The client against a real listener: mutual TLS, what each call carries, and what comes back.

use std::{net::SocketAddr, pin::Pin};

use futures::{Stream, StreamExt as _, stream};
use tokio::net::TcpListener;
use tonic::{Response, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::*;
use crate::{
    cli::{failure::Exit, query::Question},
    domain::{Clock as _, SystemClock},
    grpc::pb::query_service_server::{QueryService, QueryServiceServer},
    trust::{
        KeyStore, new_csr,
        tls::{AcceptLimits, Alpn, ServerTls, ServerTlsSettings, serve_tls},
        verify_act,
    },
};

const HUB: &str = "hub.example";
const MEMBER: &str = "0190b8a0-0000-7000-8000-000000000001";

/// A hub that only answers queries: what it was asked with, or what `sql` says.
struct Fake;

#[tonic::async_trait]
impl QueryService for Fake {
    type ExecuteStream = Pin<Box<dyn Stream<Item = Result<pb::ExecuteResponse, Status>> + Send>>;

    async fn execute(&self, request: Request<pb::ExecuteRequest>) -> Result<Response<Self::ExecuteStream>, Status> {
        use pb::execute_response::Part;
        let cut = || {
            let mut details = ErrorDetails::new();
            details.set_error_info("QUERY_CUT", HUB, std::collections::HashMap::new());
            Status::with_error_details(tonic::Code::Aborted, "cut", details)
        };
        let header = pb::ExecuteResponse { part: Some(Part::Header(pb::ExecuteHeader::default())) };
        match request.get_ref().sql.as_str() {
            "cut" => Ok(Response::new(stream::iter([Ok(header), Err(cut())]).boxed())),
            _ => Ok(Response::new(stream::iter([Ok(header)]).boxed())),
        }
    }

    type DownloadStream = Pin<Box<dyn Stream<Item = Result<pb::DownloadResponse, Status>> + Send>>;

    async fn download(&self, _: Request<pb::DownloadRequest>) -> Result<Response<Self::DownloadStream>, Status> {
        Err(Status::unimplemented("not asked for here"))
    }

    async fn explain_query(
        &self,
        request: Request<pb::ExplainQueryRequest>,
    ) -> Result<Response<pb::ExplainQueryResponse>, Status> {
        let sent = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok()).unwrap_or("-");
        let peer = request.extensions().get::<crate::trust::tls::ConnectInfo>().unwrap();
        let metadata = [
            ("language", sent("accept-language").to_owned()),
            ("authorization", sent("authorization").to_owned()),
            ("certificate", peer.peer_certificate.is_some().to_string()),
            ("grants", request.get_ref().grants.join(",")),
        ];
        let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let refusal = pb::Refusal { metadata, ..pb::Refusal::default() };
        let result = Some(pb::explain_query_response::Result::Refusal(refusal));
        Ok(Response::new(pb::ExplainQueryResponse { result }))
    }
}

struct Hub {
    keys: KeyStore,
    address: SocketAddr,
    _folder: tempfile::TempDir,
    _serving: tokio_util::task::AbortOnDropHandle<()>,
}

impl Hub {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyStore::init(&folder.path().join("keys"), HUB, &SystemClock).unwrap();
        let names = ["127.0.0.1".to_owned()];
        let tls = ServerTls::new(&ServerTlsSettings {
            chain_pem: &keys.server_certificate(&names, SystemClock.now()).unwrap().chain_pem,
            key_pem: &keys.server_key_pem(),
            client_ca_pem: Some(keys.authority().certificate_pem()),
            require_client_certificate: false,
            alpn: Alpn::Grpc,
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = serve_tls(listener, tls.unwrap(), AcceptLimits::default(), None);
        let serving = tokio::spawn(async move {
            Server::builder().add_service(QueryServiceServer::new(Fake)).serve_with_incoming(incoming).await.unwrap();
        });
        Self { keys, address, _folder: folder, _serving: tokio_util::task::AbortOnDropHandle::new(serving) }
    }

    fn target(&self) -> Target {
        Target::new(&self.address.to_string(), self.keys.authority().certificate_pem())
    }

    /// A member's chain and key.
    fn member(&self) -> (String, String) {
        let (key, csr) = new_csr().unwrap();
        let (participant, member, hour) = ("chu".parse().unwrap(), MEMBER.parse().unwrap(), Duration::from_hours(1));
        let issued = self.keys.authority().issue_client(&csr, &participant, member, SystemClock.now(), hour).unwrap();
        (issued.chain_pem, key.to_string())
    }
}

async fn seen(client: &Client) -> std::collections::BTreeMap<String, String> {
    let explained = client.explain(&Question::sql("SELECT 1"), "statistics", &[MEMBER.to_owned()]).await.unwrap();
    let Some(pb::explain_query_response::Result::Refusal(refusal)) = explained.result else { panic!("{explained:?}") };
    refusal.metadata
}

#[tokio::test]
async fn a_call_goes_over_mutual_tls_with_its_certificate_token_and_language() {
    let hub = Hub::start().await;
    let (chain, key) = hub.member();
    let target = hub.target().with_certificate(chain, key).with_bearer("abc").speaking(Lang::Fr);
    let seen_by_hub = seen(&Client::connect(target).await.unwrap()).await;
    assert_eq!(seen_by_hub["certificate"], "true");
    assert_eq!(seen_by_hub["authorization"], "Bearer abc");
    assert_eq!(seen_by_hub["language"], "fr");
    assert_eq!(seen_by_hub["grants"], format!("grants/{MEMBER}"));
    let anonymous = seen(&Client::connect(hub.target()).await.unwrap()).await;
    assert_eq!((anonymous["certificate"].as_str(), anonymous["authorization"].as_str()), ("false", "-"));
}

#[tokio::test]
async fn an_answer_that_is_cut_is_a_failure_with_its_reason() {
    let hub = Hub::start().await;
    let client = Client::connect(hub.target()).await.unwrap();
    let failure = client.query("cut", "statistics", &[]).await.unwrap_err();
    assert_eq!((failure.exit(), failure.reason()), (Exit::Failed, Some("QUERY_CUT")));
    let failure = client.query("short", "statistics", &[]).await.unwrap_err();
    assert!(failure.to_string().contains("without a receipt"), "{failure}");
}

#[tokio::test]
async fn an_act_is_signed_for_the_member_of_the_certificate_and_this_hub_only() {
    let hub = Hub::start().await;
    let (chain, key) = hub.member();
    let client = Client::connect(hub.target().with_certificate(chain.clone(), key)).await.unwrap();
    client.hub_id.set(HUB.to_owned()).unwrap();
    let jws = client.sign("charter.sign", "sha256:00").await.unwrap();
    let act = Act {
        act: "charter.sign".to_owned(),
        hub: HUB.to_owned(),
        member: MEMBER.parse().unwrap(),
        object: "sha256:00".to_owned(),
        participant: "chu".parse().unwrap(),
    };
    verify_act(&jws, &act, &CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()).unwrap();

    let (chain, key) = hub.member();
    let lied_to = Client::connect(hub.target().with_certificate(chain, key)).await.unwrap();
    lied_to.hub_id.set("other.example".to_owned()).unwrap();
    assert!(lied_to.sign("charter.sign", "sha256:00").await.unwrap_err().to_string().contains("other.example"));
    let anonymous = Client::connect(hub.target()).await.unwrap();
    anonymous.hub_id.set(HUB.to_owned()).unwrap();
    assert!(anonymous.sign("charter.sign", "x").await.unwrap_err().to_string().contains("needs a certificate"));
}

#[tokio::test]
async fn a_hub_of_another_authority_is_not_talked_to() {
    let (hub, other) = (Hub::start().await, Hub::start().await);
    let target = Target::new(&hub.address.to_string(), other.keys.authority().certificate_pem());
    let failure = Client::connect(target).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreachable);
    assert!(failure.to_string().contains("not of the authority in the CA file"), "{failure}");
}

#[test]
fn an_address_without_scheme_is_https() {
    assert_eq!(Target::new("hub.example:8443", "").hub(), "https://hub.example:8443");
    assert_eq!(Target::new("https://hub.example", "").hub(), "https://hub.example");
}

#[test]
fn secrets_are_not_shown() {
    let target = Target::new("hub", "").with_certificate("chain", "very secret").with_bearer("very secret");
    assert!(!format!("{target:?} {:?}", Headers::new(&target).unwrap()).contains("very secret"));
}

#[test]
fn each_call_carries_the_token_the_language_and_a_deadline() {
    let target = Target::new("hub", "").with_bearer("abc\n").speaking(Lang::Fr);
    let request = Headers::new(&target).unwrap().call(Request::new(())).unwrap();
    assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer abc");
    assert_eq!(request.metadata().get("accept-language").unwrap(), "fr");
    assert!(request.metadata().contains_key("grpc-timeout"));
    assert_eq!(Headers::new(&Target::new("hub", "").with_bearer("a\nb")).unwrap_err().exit(), Exit::Usage);
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_unreachable_and_the_cause_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeyStore::init(&folder.path().join("keys"), "hub.example", &SystemClock).unwrap();
    let ca = keys.authority();
    // Bound and dropped: nobody listens there.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let failure = Client::connect(Target::new(&free.to_string(), ca.certificate_pem())).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Unreachable);
    assert!(failure.to_string().contains("refused"), "{failure}");
    let failure = Client::connect(Target::new("https://a b", ca.certificate_pem())).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
    let failure = Client::connect(Target::new("hub", "no pem")).await.unwrap_err();
    assert_eq!(failure.exit(), Exit::Usage);
}
