//! The gRPC transport: parse, call one service, convert.
//!
//! A call passes `gate`, which says who makes it, then one method of one file per service; an error leaves through
//! `call` as the status that `status` makes of it. Nothing here decides: what may be done is `service`'s business.

mod access;
mod audit;
mod call;
mod catalog;
pub mod codec;
mod column_type;
mod consent;
mod convert;
mod deadline;
pub mod filter;
mod flight;
mod gate;
mod idempotency;
mod names;
mod page;
mod page_token;
mod participant;
mod participant_message;
pub mod pb;
mod policy;
pub mod policy_document;
mod policy_foresight;
mod privacy;
mod query;
mod status;
mod tail;
mod upload;
mod watched;

use std::sync::Arc;

use prost::Message as _;
use secrecy::ExposeSecret as _;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

use self::{
    gate::{GateLayer, Shared},
    page_token::PageTokens,
    pb::{
        access_service_server::AccessServiceServer, audit_service_server::AuditServiceServer,
        catalog_service_server::CatalogServiceServer, consent_service_server::ConsentServiceServer,
        participant_service_server::ParticipantServiceServer, policy_service_server::PolicyServiceServer,
        privacy_service_server::PrivacyServiceServer, query_service_server::QueryServiceServer,
    },
};
use crate::{
    config::Limits,
    error::{Error, Result},
    service::Services,
    telemetry::Metrics,
};

/// What the health service says (`grpc.health.v1`).
#[derive(Debug, Clone)]
pub struct Health(HealthReporter);

impl Health {
    /// The hub takes no more calls: load balancers look elsewhere while the last ones end.
    pub async fn drain(&self) {
        for name in service_names() {
            self.0.set_service_status(name, ServingStatus::NotServing).await;
        }
    }
}

/// Every service of the gRPC listener behind the gate, with health and reflection (v1 and v1alpha), and the handle
/// of the former. Its status is `SERVING` from the start.
pub async fn routes(services: Services, limits: &Limits, metrics: Arc<Metrics>) -> Result<(Routes, Health)> {
    let most = limits.message_bytes;
    let shared = Shared {
        pages: Arc::new(PageTokens::new(services.keys().page_secret().expose_secret())?),
        services,
        metrics,
        paths: paths().into_iter().collect(),
        message_bytes: most,
        call_timeout: limits.call_timeout,
        upload_timeout: limits.upload_timeout,
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    for name in service_names() {
        reporter.set_service_status(name, ServingStatus::Serving).await;
    }
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    macro_rules! limited {
        ($server:ident, $api:expr) => {
            $server::new($api).max_decoding_message_size(most).max_encoding_message_size(most)
        };
    }
    let mut routes = Routes::new(limited!(ParticipantServiceServer, participant::Api))
        .add_service(limited!(CatalogServiceServer, catalog::Api))
        .add_service(limited!(PolicyServiceServer, policy::Api))
        .add_service(limited!(AccessServiceServer, access::Api))
        .add_service(limited!(ConsentServiceServer, consent::Api))
        .add_service(limited!(QueryServiceServer, query::Api))
        .add_service(limited!(PrivacyServiceServer, privacy::Api))
        .add_service(limited!(AuditServiceServer, audit::Api))
        .add_service(flight::server(most))
        .add_service(health)
        .add_service(reflection().build_v1().map_err(Error::internal)?)
        .add_service(reflection().build_v1alpha().map_err(Error::internal)?);
    let open = std::mem::take(routes.axum_router_mut());
    *routes.axum_router_mut() = open.layer(GateLayer(Arc::new(shared)));
    Ok((routes.prepare(), Health(reporter)))
}

/// The path of each method of the API and of Flight, `/package.Service/Method`, for the labels of metrics.
pub fn paths() -> Vec<String> {
    let descriptors = prost_types::FileDescriptorSet::decode(pb::FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut found: Vec<String> = flight::METHODS.map(|method| format!("/{}/{method}", flight::SERVICE)).to_vec();
    for file in &descriptors.file {
        for service in &file.service {
            for method in &service.method {
                found.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    found
}

/// The names of the API's services, and the empty one, which stands for the whole server.
fn service_names() -> Vec<String> {
    let mut names: Vec<String> =
        paths().iter().filter_map(|path| Some(path[1..].split_once('/')?.0.to_owned())).collect();
    names.dedup();
    names.push(String::new());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptors_name_every_method_once() {
        let paths = super::paths();
        assert!(paths.contains(&"/occitanie.datahub.v1.QueryService/Execute".to_owned()));
        let distinct: std::collections::BTreeSet<_> = paths.iter().collect();
        assert_eq!(distinct.len(), paths.len());
        assert_eq!(service_names().len(), 10);
    }
}
