//! The door: TLS 1.3 with the hub's own certificates, and nothing else.

use std::{net::SocketAddr, time::Duration};

use odh::{
    cli::client::{Client, Target},
    domain::{Clock as _, SystemClock},
    grpc::pb,
    trust::{CertificateAuthority, P256Key, new_csr},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic::Code;

use crate::{
    harness::{HUB_ID, Hub, Site, on_both_engines},
    personas::{Operator, refused},
};

on_both_engines!(
    a_certificate_of_another_authority_is_refused,
    a_certificate_outside_its_time_is_refused,
    a_server_of_another_authority_is_not_trusted,
    tls_1_2_and_plain_text_are_refused,
    a_bearer_token_bound_to_a_certificate_is_nothing_without_it,
    a_token_and_a_certificate_of_two_members_do_not_agree,
    headers_that_claim_an_identity_are_ignored,
);

async fn a_certificate_of_another_authority_is_refused(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let member = operator.name.rsplit('/').next().unwrap().parse().unwrap();
    // Same hub id, same names, another key: what a forger would make.
    let now = SystemClock.now();
    let forger = CertificateAuthority::create(HUB_ID, P256Key::generate().unwrap(), now).unwrap();
    let (key, csr) = new_csr().unwrap();
    let issued = forger.issue_client(&csr, &"hub".parse().unwrap(), member, now, Duration::from_hours(1)).unwrap();
    let target = Target::new(&site.grpc, &site.ca_pem).with_certificate(issued.chain_pem, key.to_string());
    assert!(cannot_call(target).await);
}

async fn a_certificate_outside_its_time_is_refused(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let member = operator.name.rsplit('/').next().unwrap().parse().unwrap();
    let authority = hub.services().keys().authority();
    let day = Duration::from_hours(24);
    let now = SystemClock.now();
    for issued_at in [now.minus(day), now.plus(day)] {
        let (key, csr) = new_csr().unwrap();
        let issued = authority.issue_client(&csr, &"hub".parse().unwrap(), member, issued_at, Duration::from_hours(1));
        let target = Target::new(&site.grpc, &site.ca_pem).with_certificate(issued.unwrap().chain_pem, key.to_string());
        assert!(cannot_call(target).await);
    }
}

/// A refused certificate shows at the first read in TLS 1.3: the attempt is a call.
async fn cannot_call(target: Target) -> bool {
    match Client::connect(target).await {
        Err(_) => true,
        Ok(client) => client.participants().get_hub(pb::GetHubRequest {}).await.is_err(),
    }
}

async fn a_server_of_another_authority_is_not_trusted(hub: &mut Hub) {
    let other = CertificateAuthority::create(HUB_ID, P256Key::generate().unwrap(), SystemClock.now()).unwrap();
    let failure = Client::connect(Target::new(&hub.site().grpc, other.certificate_pem())).await.unwrap_err();
    assert!(failure.to_string().contains("authority"), "{failure}");
}

async fn tls_1_2_and_plain_text_are_refused(hub: &mut Hub) {
    let site = hub.site();
    for address in [&site.grpc, &site.https] {
        let answer = say(address, &client_hello_of_tls_1_2()).await;
        // An alert record: fatal, protocol_version (70).
        assert_eq!(answer.first(), Some(&21), "{answer:?}");
        assert_eq!(&answer[5..7], &[2, 70], "{answer:?}");
        for text in ["GET / HTTP/1.1\r\nhost: hub\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let answer = say(address, text.as_bytes()).await;
            assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
        }
    }
}

/// Sends bytes and reads what comes until the other side closes.
async fn say(url: &str, bytes: &[u8]) -> Vec<u8> {
    let address: SocketAddr = url.trim_start_matches("https://").parse().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
    assert!(closed.is_ok(), "the connection stays open");
    answer
}

/// The greeting of a client that knows nothing newer than TLS 1.2 (RFC 5246), with the best it has.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions: &[u8] = &[
        0, 10, 0, 4, 0, 2, 0, 23, // supported_groups: secp256r1
        0, 11, 0, 2, 1, 0, // ec_point_formats: uncompressed
        0, 13, 0, 6, 0, 4, 4, 3, 8, 4, // signature_algorithms: ecdsa_secp256r1_sha256, rsa_pss_rsae_sha256
        0, 23, 0, 0, // extended_master_secret
    ];
    let suites: &[u8] = &[0xc0, 0x2b, 0xc0, 0x2f];
    let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(length(suites));
    hello.extend(suites);
    hello.extend([1, 0]);
    hello.extend(length(extensions));
    hello.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend(length(&hello));
    handshake.extend(&hello);
    let mut record = vec![22, 3, 1];
    record.extend(length(&handshake));
    record.extend(&handshake);
    record
}

async fn bound_token(operator: &Operator) -> String {
    let request = pb::CreateAccessTokenRequest::default();
    let minted = operator.client.participants().create_access_token(request).await.unwrap().into_inner();
    assert!(minted.certificate_bound);
    minted.access_token
}

async fn who_with(target: Target) -> Result<pb::WhoAmIResponse, tonic::Status> {
    let client = Client::connect(target).await.unwrap();
    client.participants().who_am_i(pb::WhoAmIRequest {}).await.map(tonic::Response::into_inner)
}

fn bare(site: &Site) -> Target {
    Target::new(&site.grpc, &site.ca_pem)
}

async fn a_bearer_token_bound_to_a_certificate_is_nothing_without_it(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let token = bound_token(&operator).await;
    refused(who_with(bare(&site).with_bearer(token.as_str())).await, Code::Unauthenticated, "UNAUTHENTICATED");
    let own = bare(&site).with_certificate(operator.chain_pem.as_str(), operator.key_pem.as_str());
    let seen = who_with(own.clone().with_bearer(token.as_str())).await.unwrap();
    assert_eq!(seen.credential(), pb::CredentialKind::BoundToken);
    for spoilt in [format!("{token}x"), token.replace('.', ""), String::new(), "a.b.c".to_owned()] {
        refused(who_with(own.clone().with_bearer(spoilt)).await, Code::Unauthenticated, "UNAUTHENTICATED");
    }
}

async fn a_token_and_a_certificate_of_two_members_do_not_agree(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let auditor = operator.auditor().await;
    let request = pb::CreateAccessTokenRequest { member: auditor.name.clone(), ..Default::default() };
    let minted = operator.client.participants().create_access_token(request).await.unwrap().into_inner();
    who_with(bare(&site).with_bearer(minted.access_token.as_str())).await.unwrap();
    let both = bare(&site)
        .with_certificate(operator.chain_pem.as_str(), operator.key_pem.as_str())
        .with_bearer(minted.access_token);
    refused(who_with(both).await, Code::Unauthenticated, "UNAUTHENTICATED");
}

async fn headers_that_claim_an_identity_are_ignored(hub: &mut Hub) {
    let site = hub.site();
    let operator = Operator::first(&site, &hub.operator_token()).await;
    let stranger = Client::connect(bare(&site)).await.unwrap();
    let mut request = tonic::Request::new(pb::WhoAmIRequest {});
    for (name, value) in [
        ("x-forwarded-client-cert", format!("URI=spiffe://{HUB_ID}/{}", operator.name)),
        ("x-participant", "hub".to_owned()),
        ("x-member", operator.name.clone()),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    refused(stranger.participants().who_am_i(request).await, Code::Unauthenticated, "UNAUTHENTICATED");
}
