//! Real connections over loopback: what the handshake lets through, and what it costs nobody else.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::StreamExt as _;
use rustls::{ClientConfig, HandshakeKind, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;
use tower::Service as _;

use super::*;
use crate::{
    domain::{Clock as _, SystemClock, Timestamp},
    trust::{CertificateAuthority, P256Key, PeerIdentity, new_csr},
};

const HUB: &str = "hub.example";
const SOON: Duration = Duration::from_secs(10);

/// A hub's authority and server certificate, and what clients need to meet it.
struct Site {
    ca: CertificateAuthority,
    server_key: P256Key,
}

struct Identity {
    chain: String,
    key: String,
}

impl Site {
    fn new() -> Self {
        let now = SystemClock.now();
        let ca = CertificateAuthority::create(HUB, P256Key::generate().unwrap(), now).unwrap();
        Self { ca, server_key: P256Key::generate().unwrap() }
    }

    fn tls(&self, require_client_certificate: bool) -> ServerTls {
        self.with_settings(require_client_certificate, |settings| ServerTls::new(settings).unwrap())
    }

    fn with_settings<T>(&self, require: bool, act: impl FnOnce(&ServerTlsSettings<'_>) -> T) -> T {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let issued = self.ca.issue_server(&self.server_key, &names, SystemClock.now()).unwrap();
        act(&ServerTlsSettings {
            chain_pem: &issued.chain_pem,
            key_pem: &self.server_key.to_pem(),
            client_ca_pem: Some(self.ca.certificate_pem()),
            require_client_certificate: require,
            alpn: Alpn::Grpc,
        })
    }

    fn member(&self) -> Identity {
        self.member_at(SystemClock.now(), Duration::from_mins(10))
    }

    fn member_at(&self, now: Timestamp, lifetime: Duration) -> Identity {
        let (key, csr) = new_csr().unwrap();
        let member = "0190b8a0-0000-7000-8000-000000000001".parse().unwrap();
        let issued = self.ca.issue_client(&csr, &"chu".parse().unwrap(), member, now, lifetime).unwrap();
        Identity { chain: issued.chain_pem, key: key.to_string() }
    }

    fn client(&self, identity: Option<&Identity>) -> ClientConfig {
        let identity = identity.map(|i| ClientIdentity { chain_pem: &i.chain, key_pem: &i.key });
        client_config(self.ca.certificate_pem(), identity).unwrap()
    }
}

async fn listen(tls: ServerTls, limits: AcceptLimits) -> (SocketAddr, TlsIncoming) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    (listener.local_addr().unwrap(), serve_tls(listener, tls, limits, None))
}

/// Accepts until dropped and greets whoever gets in with one byte.
async fn greet(tls: ServerTls, limits: AcceptLimits) -> (SocketAddr, tokio_util::task::AbortOnDropHandle<()>) {
    let (address, mut incoming) = listen(tls, limits).await;
    let task = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(connection) = incoming.next().await {
            let mut connection = connection.unwrap();
            let _ = connection.write_all(b"!").await;
            let _ = connection.flush().await;
            kept.push(connection);
        }
    });
    (address, tokio_util::task::AbortOnDropHandle::new(task))
}

/// Connects and waits for the greeting, since TLS 1.3 tells a client only with the first read that it is refused.
async fn meet(address: SocketAddr, config: ClientConfig) -> std::io::Result<ClientStream> {
    let uri = format!("https://{address}").parse().unwrap();
    let mut stream = Connector::new(Arc::new(config)).call(uri).await?.into_inner();
    timeout(SOON, stream.read_u8()).await.expect("neither greeted nor refused")?;
    Ok(stream)
}

async fn refusal(address: SocketAddr, config: ClientConfig) -> String {
    meet(address, config).await.expect_err("was let in").to_string()
}

#[tokio::test]
async fn a_member_is_known_by_its_certificate() {
    let site = Site::new();
    let member = site.member();
    let (address, mut incoming) = listen(site.tls(true), AcceptLimits::default()).await;
    let config = site.client(Some(&member));
    let client = tokio::spawn(async move { meet(address, config).await });
    let mut connection = timeout(SOON, incoming.next()).await.unwrap().unwrap().unwrap();
    let info = tonic::transport::server::Connected::connect_info(&connection);
    let identity = PeerIdentity::from_der(&info.peer_certificate.unwrap(), HUB).unwrap();
    assert_eq!(identity.participant.as_str(), "chu");
    assert!(info.peer_addr.ip().is_loopback());
    connection.write_all(b"!").await.unwrap();
    connection.flush().await.unwrap();
    client.await.unwrap().unwrap();
}

#[tokio::test]
async fn without_a_certificate_one_gets_in_only_where_it_is_optional() {
    let site = Site::new();
    let (optional, _greeter) = greet(site.tls(false), AcceptLimits::default()).await;
    meet(optional, site.client(None)).await.unwrap();
    let (required, _greeter) = greet(site.tls(true), AcceptLimits::default()).await;
    assert!(refusal(required, site.client(None)).await.contains("requires a client certificate"));
    meet(required, site.client(Some(&site.member()))).await.unwrap();
}

#[tokio::test]
async fn red_team_11_a_bad_certificate_is_refused_even_where_none_is_needed() {
    let site = Site::new();
    let (address, _greeter) = greet(site.tls(false), AcceptLimits::default()).await;
    let hour = Duration::from_hours(1);
    let now = SystemClock.now();
    let before = Timestamp::from_micros(now.micros() - 2 * 3_600 * 1_000_000);
    // A client certificate of another hub of the same name.
    let foreign = Site::new().member();
    let expired = site.member_at(before, hour);
    let not_yet = site.member_at(now.plus(hour), hour);
    let names = ["localhost".to_owned()];
    let server = Identity {
        chain: site.ca.issue_server(&site.server_key, &names, now).unwrap().chain_pem,
        key: site.server_key.to_pem().to_string(),
    };
    let own = P256Key::generate().unwrap();
    let self_signed = Identity {
        chain: rcgen::CertificateParams::default().self_signed(&own).unwrap().pem(),
        key: own.to_pem().to_string(),
    };
    for (what, identity) in
        [("foreign", foreign), ("not yet", not_yet), ("server", server), ("self-signed", self_signed)]
    {
        let text = refusal(address, site.client(Some(&identity))).await;
        assert!(text.contains("refused the client certificate"), "{what}: {text}");
    }
    assert!(refusal(address, site.client(Some(&expired))).await.contains("has expired"));
    // And after all of these the listener still serves.
    meet(address, site.client(Some(&site.member()))).await.unwrap();
}

#[tokio::test]
async fn a_client_refuses_a_server_of_another_authority_or_name_and_says_so() {
    let site = Site::new();
    let (address, _greeter) = greet(site.tls(false), AcceptLimits::default()).await;
    assert!(refusal(address, Site::new().client(None)).await.contains("not of the authority in the CA file"));
    let other = Connector::new(Arc::new(site.client(None)))
        .with_server_name(ServerName::try_from("other.example").unwrap())
        .call(format!("https://{address}").parse().unwrap())
        .await;
    assert!(other.unwrap_err().to_string().contains("not acceptable"));
}

#[tokio::test]
async fn red_team_14_older_protocols_and_other_applications_are_refused() {
    let site = Site::new();
    let (address, _greeter) = greet(site.tls(false), AcceptLimits::default()).await;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(site.ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let tls12 = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert!(refusal(address, tls12).await.contains("TLS"));
    let mut http1 = site.client(None);
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    assert!(refusal(address, http1).await.contains("NoApplicationProtocol"));

    let mut plain = TcpStream::connect(address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(SOON, plain.read_to_end(&mut answer)).await.expect("plain text was not refused");
    assert!(!answer.contains(&b'!'));
}

#[tokio::test]
async fn red_team_12_no_session_is_ever_resumed() {
    let site = Site::new();
    let (address, _greeter) = greet(site.tls(false), AcceptLimits::default()).await;
    let mut config = site.client(Some(&site.member()));
    config.resumption = Resumption::in_memory_sessions(8);
    let connector = TlsConnector::from(Arc::new(config));
    for _ in 0..2 {
        let tcp = TcpStream::connect(address).await.unwrap();
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap();
        stream.read_u8().await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn red_team_16_a_silent_peer_is_closed_and_holds_up_nobody() {
    let site = Site::new();
    let limits = AcceptLimits { handshake_timeout: Duration::from_secs(2), ..AcceptLimits::default() };
    let (address, _greeter) = greet(site.tls(false), limits).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    // Half a record header, as a slow-loris sends it.
    silent.write_all(&[22, 3, 1]).await.unwrap();
    let started = std::time::Instant::now();
    meet(address, site.client(None)).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(1_900), "the silent peer held up another");
    let closed = timeout(SOON, silent.read_to_end(&mut Vec::new())).await;
    let _ = closed.expect("the silent peer was not closed");
    assert!(started.elapsed() >= Duration::from_millis(1_900));
}

#[tokio::test]
async fn red_team_17_a_peer_has_no_more_connections_than_its_share() {
    let site = Site::new();
    let limits = AcceptLimits { connections_per_peer: 2, ..AcceptLimits::default() };
    let (address, mut incoming) = listen(site.tls(false), limits).await;
    let connector = TlsConnector::from(Arc::new(site.client(None)));
    let connect = || async {
        let tcp = TcpStream::connect(address).await?;
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
    };
    let _first = connect().await.unwrap();
    let _second = connect().await.unwrap();
    let kept = [incoming.next().await.unwrap().unwrap(), incoming.next().await.unwrap().unwrap()];
    assert!(connect().await.is_err());
    drop(kept);
    connect().await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_free_place() {
    let site = Site::new();
    let limits = AcceptLimits { connections: 1, ..AcceptLimits::default() };
    let (address, mut incoming) = listen(site.tls(false), limits).await;
    let connector = TlsConnector::from(Arc::new(site.client(None)));
    let connect = async || {
        let tcp = TcpStream::connect(address).await.unwrap();
        connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await
    };
    let _first = connect().await.unwrap();
    let held = incoming.next().await.unwrap().unwrap();
    let waiting = connect();
    tokio::pin!(waiting);
    assert!(timeout(Duration::from_millis(200), &mut waiting).await.is_err());
    drop(held);
    timeout(SOON, waiting).await.unwrap().unwrap();
}

#[tokio::test]
async fn red_team_15_a_reload_reaches_the_next_handshake_and_a_bad_one_changes_nothing() {
    let (old, new) = (Site::new(), Site::new());
    let tls = old.tls(false);
    let (address, _greeter) = greet(tls.clone(), AcceptLimits::default()).await;
    meet(address, old.client(None)).await.unwrap();
    new.with_settings(false, |good| {
        let half = &good.chain_pem[..good.chain_pem.len() / 2];
        tls.reload(&ServerTlsSettings { chain_pem: half, ..*good }).unwrap_err();
        let other_key = P256Key::generate().unwrap().to_pem();
        tls.reload(&ServerTlsSettings { key_pem: &other_key, ..*good }).unwrap_err();
    });
    meet(address, old.client(None)).await.unwrap();
    new.with_settings(false, |good| tls.reload(good)).unwrap();
    refusal(address, old.client(None)).await;
    meet(address, new.client(Some(&new.member()))).await.unwrap();
}

#[tokio::test]
async fn a_certificate_cannot_be_required_without_an_authority() {
    let site = Site::new();
    site.with_settings(true, |settings| {
        ServerTls::new(&ServerTlsSettings { client_ca_pem: None, ..*settings }).unwrap_err();
    });
}

#[tokio::test]
async fn the_port_is_free_again_when_the_stream_is_dropped() {
    let site = Site::new();
    let (address, incoming) = listen(site.tls(false), AcceptLimits::default()).await;
    drop(incoming);
    for _ in 0..50 {
        if TcpStream::connect(address).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("still accepting");
}

#[tokio::test]
async fn tonic_serves_and_calls_over_it() {
    let site = Site::new();
    let (address, incoming) = listen(site.tls(true), AcceptLimits::default()).await;
    let (_, health) = tonic_health::server::health_reporter();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming_shutdown(
        incoming,
        async {
            let _ = stopped.await;
        },
    ));
    let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{address}")).unwrap();
    let channel = async |identity: Option<&Identity>| {
        let connector = Connector::new(Arc::new(site.client(identity)));
        endpoint.connect_with_connector(connector).await
    };
    let request = tonic_health::pb::HealthCheckRequest::default();
    let member = channel(Some(&site.member())).await.unwrap();
    tonic_health::pb::health_client::HealthClient::new(member.clone()).check(request.clone()).await.unwrap();

    // The refusal may show when connecting or with the first call; either way its words come through.
    let refused: Box<dyn std::error::Error> = match channel(None).await {
        Ok(anyone) => {
            let answer = tonic_health::pb::health_client::HealthClient::new(anyone).check(request).await;
            Box::new(answer.unwrap_err())
        }
        Err(error) => Box::new(error),
    };
    let mut texts = vec![refused.to_string()];
    let mut source = refused.source();
    while let Some(error) = source {
        texts.push(error.to_string());
        source = error.source();
    }
    assert!(texts.iter().any(|text| text.contains("requires a client certificate")), "{texts:?}");
    drop(member);
    stop.send(()).unwrap();
    timeout(SOON, server).await.unwrap().unwrap().unwrap();
}
