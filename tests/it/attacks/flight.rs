//! The same attacks over Flight SQL, by its wire messages: what `GetFlightInfo` says, and every byte that `DoGet` streams.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow_flight::{
    FlightData, FlightDescriptor, FlightInfo,
    decode::FlightRecordBatchStream,
    flight_service_client::FlightServiceClient,
    sql::{CommandStatementQuery, ProstMessageExt as _},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use odh::trust::tls::{Connector, client_config};
use prost::Message as _;
use tokio::sync::OnceCell;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};

use super::runner::{Rows, Runner, Seen, refusal};
use crate::{personas::Requester, world::RESEARCH};

/// Flight SQL: `GetFlightInfo`, then `DoGet` of its one ticket.
#[derive(Default)]
pub(super) struct FlightSql {
    /// One connection for each hub, by its address.
    channels: tokio::sync::Mutex<std::collections::BTreeMap<String, Arc<OnceCell<Channel>>>>,
}

impl Runner for FlightSql {
    // A client of Flight SQL names purposes and parameters in ways of its own.
    const SAME_RULES: bool = false;

    async fn run(&self, requester: &Requester, sql: &str) -> Seen {
        let mut client = FlightServiceClient::new(self.channel(requester).await);
        let command = CommandStatementQuery { query: sql.to_owned(), transaction_id: None };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let info = client.get_flight_info(with_purpose(descriptor)).await.map(tonic::Response::into_inner);
        let explanation = info.as_ref().map(described).map_err(refusal);
        let answer = match info {
            Ok(info) => answer(&mut client, info).await.map_err(|status| refusal(&status)),
            Err(status) => Err(refusal(&status)),
        };
        Seen { answer, explanation }
    }
}

impl FlightSql {
    async fn channel(&self, requester: &Requester) -> Channel {
        let mut channels = self.channels.lock().await;
        let cell = Arc::clone(channels.entry(requester.site.grpc.clone()).or_default());
        drop(channels);
        let connect = || async {
            let config = client_config(&requester.site.ca_pem, Some(requester.identity())).unwrap();
            let endpoint = Endpoint::from_shared(requester.site.grpc.clone()).unwrap();
            endpoint.connect_with_connector(Connector::new(Arc::new(config))).await.unwrap()
        };
        cell.get_or_init(connect).await.clone()
    }
}

fn with_purpose<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("x-odh-purpose", RESEARCH.parse().unwrap());
    request
}

/// What is said before any data: the schema, and what else is no id.
fn described(info: &FlightInfo) -> String {
    let (schema, rows, bytes) = (&info.schema, info.total_records, info.total_bytes);
    format!(
        "{schema:?} {rows} {bytes} {} {:?}",
        info.endpoint.len(),
        info.endpoint.iter().map(|it| &it.location).collect::<Vec<_>>()
    )
}

async fn answer(client: &mut FlightServiceClient<Channel>, info: FlightInfo) -> Result<Rows, Status> {
    let ticket = info.endpoint.into_iter().next().and_then(|endpoint| endpoint.ticket).expect("one ticket");
    let messages: Vec<FlightData> = client.do_get(with_purpose(ticket)).await?.into_inner().try_collect().await?;
    let bytes = messages.iter().flat_map(|it| it.data_header.iter().chain(&it.data_body).copied()).collect();
    let decoded = FlightRecordBatchStream::new_from_flight_data(stream::iter(messages).map(Ok));
    let batches: Vec<RecordBatch> = decoded.try_collect().await.unwrap();
    let columns = batches.first().map(|it| it.schema().fields().iter().map(|field| field.name().clone()).collect());
    Ok(Rows { columns: columns.unwrap_or_default(), cells: crate::personas::cells(&batches), bytes })
}
