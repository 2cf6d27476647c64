//! A Flight server without a hub: DataFusion's batches of one object, encoded as they come.

use std::{path::Path, pin::Pin};

use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightInfo, HandshakeRequest, HandshakeResponse,
    PollInfo, PutResult, SchemaResult, Ticket,
    encode::FlightDataEncoderBuilder,
    error::FlightError,
    flight_service_server::{FlightService, FlightServiceServer},
};
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use futures::{Stream, StreamExt as _, TryStreamExt as _};
use odh::trust::tls::{AcceptLimits, Alpn, ServerTls, ServerTlsSettings, serve_tls};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::harness::Hub;

/// The server while it runs.
pub(super) struct Bare {
    pub(super) address: String,
    shutdown: CancellationToken,
    serving: JoinHandle<()>,
}

impl Bare {
    /// Serves the object under the hub's own certificate to the hub's own members.
    pub(super) async fn start(hub: &Hub, object: &Path) -> Self {
        let keys = hub.services.keys();
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let settings = ServerTlsSettings {
            chain_pem: &keys.server_certificate(&names, hub.services.now()).unwrap().chain_pem,
            key_pem: &keys.server_key_pem(),
            client_ca_pem: Some(keys.authority().certificate_pem()),
            require_client_certificate: true,
            alpn: Alpn::Grpc,
        };
        let tls = ServerTls::new(&settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let settings = SessionConfig::new()
            .with_target_partitions(2)
            // As the hub's answers, and as clients of Flight want it: no views on the wire.
            .set_bool("datafusion.execution.parquet.schema_force_view_types", false);
        let session = SessionContext::new_with_config(settings);
        session.register_parquet("t", object.to_str().unwrap(), ParquetReadOptions::default()).await.unwrap();
        let shutdown = CancellationToken::new();
        let (incoming, ended) = (serve_tls(listener, tls, AcceptLimits::default(), None), shutdown.clone());
        let service = FlightServiceServer::new(Api(session));
        let serving = tokio::spawn(async move {
            let server = Server::builder().add_service(service);
            server.serve_with_incoming_shutdown(incoming, ended.cancelled_owned()).await.unwrap();
        });
        Self { address, shutdown, serving }
    }

    pub(super) async fn stop(self) {
        self.shutdown.cancel();
        self.serving.await.unwrap();
    }
}

struct Api(SessionContext);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl FlightService for Api {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<arrow_flight::Result>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_get(&self, _: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let rows = self.0.sql("SELECT * FROM t").await.unwrap().execute_stream().await.unwrap();
        let rows = rows.map_err(|error| FlightError::ExternalError(Box::new(error)));
        let messages = FlightDataEncoderBuilder::new().build(rows);
        Ok(Response::new(messages.map(|message| message.map_err(Status::from)).boxed()))
    }

    async fn handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(none())
    }

    async fn list_flights(&self, _: Request<Criteria>) -> Result<Response<Self::ListFlightsStream>, Status> {
        Err(none())
    }

    async fn get_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<FlightInfo>, Status> {
        Err(none())
    }

    async fn poll_flight_info(&self, _: Request<FlightDescriptor>) -> Result<Response<PollInfo>, Status> {
        Err(none())
    }

    async fn get_schema(&self, _: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        Err(none())
    }

    async fn do_put(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoPutStream>, Status> {
        Err(none())
    }

    async fn do_action(&self, _: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        Err(none())
    }

    async fn list_actions(&self, _: Request<Empty>) -> Result<Response<Self::ListActionsStream>, Status> {
        Err(none())
    }

    async fn do_exchange(&self, _: Request<Streaming<FlightData>>) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(none())
    }
}

fn none() -> Status {
    Status::unimplemented("the bare server has one stream")
}
