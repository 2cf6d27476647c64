//! Who uses a hub. Each persona is a type with what it does; all of them are [`Persona`]s with typed clients.

mod act;
mod answer;
pub(crate) mod operator;
mod requester;
mod steward;

use std::ops::Deref;

use odh::{
    cli::client::{Client, Target},
    grpc::pb,
    trust::{new_csr, tls::ClientIdentity},
};
use tonic::{Code, Response, Status};
use tonic_types::StatusExt as _;

use crate::harness::Site;

pub(crate) use self::{
    act::Sign,
    answer::{Answer, cells, receive, receive_download},
    operator::{Admin, Operator},
    requester::{Requester, ask},
    steward::{Steward, access_day},
};

/// A member with its certificate, connected.
#[derive(Clone)]
pub(crate) struct Persona {
    /// Its connection.
    pub(crate) client: Client,
    /// Its participant's id.
    pub(crate) participant: String,
    /// Its name, `participants/{participant}/members/{uuid}`.
    pub(crate) name: String,
    /// Its certificate and those above it, PEM.
    pub(crate) chain_pem: String,
    /// Its private key, PEM.
    pub(crate) key_pem: String,
    /// Where its hub is.
    pub(crate) site: Site,
}

impl Persona {
    /// Connects the member that this certificate was issued to.
    pub(crate) async fn connect(site: &Site, member: &pb::Member, chain_pem: &str, key_pem: &str) -> Self {
        let target = Target::new(&site.grpc, &site.ca_pem).with_certificate(chain_pem, key_pem);
        Self {
            client: Client::connect(target).await.unwrap(),
            participant: member.name.split('/').nth(1).unwrap().to_owned(),
            name: member.name.clone(),
            chain_pem: chain_pem.to_owned(),
            key_pem: key_pem.to_owned(),
            site: site.clone(),
        }
    }

    /// The same member at another address: after a restart, or over a second connection.
    pub(crate) async fn at(&self, site: &Site) -> Self {
        let member = pb::Member { name: self.name.clone(), ..pb::Member::default() };
        Self::connect(site, &member, &self.chain_pem, &self.key_pem).await
    }

    /// `participants/{participant}` of its own.
    pub(crate) fn parent(&self) -> String {
        format!("participants/{}", self.participant)
    }

    /// What it shows in a handshake.
    pub(crate) fn identity(&self) -> ClientIdentity<'_> {
        ClientIdentity { chain_pem: &self.chain_pem, key_pem: &self.key_pem }
    }

    /// As whom the hub sees it.
    pub(crate) async fn who_am_i(&self) -> Result<pb::WhoAmIResponse, Status> {
        self.client.participants().who_am_i(pb::WhoAmIRequest {}).await.map(Response::into_inner)
    }

    /// The entries that it may read, parsed, of this filter.
    pub(crate) async fn entries(&self, filter: &str) -> Vec<(u64, serde_json::Value)> {
        let mut entries = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::ListEntriesRequest { page_size: 1_000, page_token, filter: filter.to_owned() };
            let page = self.client.audit().list_entries(request).await.unwrap().into_inner();
            entries.extend(page.entries.iter().map(|e| (e.index, serde_json::from_slice(&e.leaf).unwrap())));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return entries;
            }
        }
    }
}

/// Declares personas that are nothing but a role's name for a [`Persona`].
macro_rules! personas {
    ($($(#[$meta:meta])* $name:ident;)+) => {$(
        $(#[$meta])*
        #[derive(Clone)]
        pub(crate) struct $name(pub(crate) Persona);

        impl Deref for $name {
            type Target = Persona;

            fn deref(&self) -> &Persona {
                &self.0
            }
        }
    )+};
}
use personas;

personas! {
    /// Reads and verifies the whole log; a member of the operating participant.
    Auditor;
}

/// Somebody without an identity.
pub(crate) struct Stranger {
    /// A connection without certificate and token.
    pub(crate) client: Client,
    site: Site,
}

impl Stranger {
    /// Connects.
    pub(crate) async fn at(site: &Site) -> Self {
        let client = Client::connect(Target::new(&site.grpc, &site.ca_pem)).await.unwrap();
        Self { client, site: site.clone() }
    }

    /// Enrols with a one-time token and comes back as a member.
    pub(crate) async fn enrol(&self, token: &str) -> Result<Persona, Status> {
        let (key, csr) = new_csr().unwrap();
        let request = pb::EnrolMemberRequest {
            enrolment_token: token.to_owned(),
            csr_pem: csr.into_bytes().into(),
            request_id: String::new(),
        };
        let enrolled = self.client.participants().enrol_member(request).await?.into_inner();
        Ok(Persona::connect(&self.site, &enrolled.member.unwrap(), &enrolled.certificate_chain_pem, &key).await)
    }
}

/// The reason of a refusal, from its `google.rpc.ErrorInfo`; the hub's id must be its domain.
pub(crate) fn reason(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no ErrorInfo in {status:?}"));
    assert_eq!(info.domain, crate::harness::HUB_ID, "{status:?}");
    info.reason
}

/// All that a refusal says, in an order of its own: code, reason, metadata, text.
pub(crate) fn all_of(status: &Status) -> String {
    let info = status.get_details_error_info().unwrap();
    let metadata: std::collections::BTreeMap<_, _> = info.metadata.into_iter().collect();
    let text = status.get_details_localized_message().unwrap();
    format!("{:?} {} {metadata:?} {} {text:?}", status.code(), info.reason, status.message())
}

/// One value of the metadata of a refusal.
pub(crate) fn metadata(status: &Status, key: &str) -> String {
    status.get_details_error_info().unwrap().metadata.get(key).cloned().unwrap_or_default()
}

/// Asserts that a call was refused with this code and reason, and gives the refusal.
#[track_caller]
pub(crate) fn refused<T>(answer: Result<T, Status>, code: Code, expected: &str) -> Status {
    let Err(status) = answer else { panic!("it should have been refused with {expected}") };
    assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "{status:?}");
    status
}
