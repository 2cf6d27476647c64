//! A client of Flight SQL: `arrow-flight`'s own, over the hub's TLS, with the hub's statuses left whole.

use std::sync::Arc;

use arrow::{
    array::RecordBatch,
    datatypes::SchemaRef,
    util::display::{ArrayFormatter, FormatOptions},
};
use arrow_flight::{
    Action, FlightData, FlightDescriptor, FlightInfo, Ticket,
    decode::FlightRecordBatchStream,
    error::FlightError,
    flight_service_client::FlightServiceClient,
    sql::{CommandStatementQuery, ProstMessageExt, client::FlightSqlServiceClient},
};
use futures::TryStreamExt as _;
use odh::trust::tls::{ClientIdentity, Connector, client_config};
use prost::Message as _;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    harness::Site,
    personas::{Admin, Persona, Requester},
    world::RESEARCH,
};

/// A connection with headers of its own.
#[derive(Clone)]
pub(super) struct Flight {
    channel: Channel,
    headers: Vec<(String, String)>,
}

/// An answer to its end.
#[derive(Debug, PartialEq)]
pub(super) struct Table {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
}

impl Flight {
    /// Over a member's certificate, for the purpose that its grants are for.
    pub(super) async fn of(persona: &Persona) -> Self {
        Self::connect(&persona.site, Some(persona.identity())).await.with("x-odh-purpose", RESEARCH)
    }

    /// Without a header.
    pub(super) async fn connect(site: &Site, identity: Option<ClientIdentity<'_>>) -> Self {
        let config = client_config(&site.ca_pem, identity).unwrap();
        let endpoint = Endpoint::from_shared(site.grpc.clone()).unwrap();
        let channel = endpoint.connect_with_connector(Connector::new(Arc::new(config))).await.unwrap();
        Self { channel, headers: Vec::new() }
    }

    /// The same connection with one header more.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut with = self.clone();
        with.headers.push((name.to_owned(), value.to_owned()));
        with
    }

    /// The same connection without headers.
    pub(super) fn plain(&self) -> Self {
        Self { channel: self.channel.clone(), headers: Vec::new() }
    }

    /// The client of `arrow-flight` for SQL.
    pub(super) fn sql(&self) -> FlightSqlServiceClient<Channel> {
        let mut client = FlightSqlServiceClient::new(self.channel.clone());
        for (name, value) in &self.headers {
            client.set_header(name, value);
        }
        client
    }

    /// The bare client.
    pub(super) fn bare(&self) -> FlightServiceClient<Channel> {
        FlightServiceClient::new(self.channel.clone())
    }

    /// A request with the headers.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for (name, value) in &self.headers {
            let name: tonic::metadata::MetadataKey<tonic::metadata::Ascii> = name.parse().unwrap();
            request.metadata_mut().append(name, value.parse().unwrap());
        }
        request
    }

    /// The flight of a query.
    pub(super) async fn info(&self, sql: &str) -> Result<FlightInfo, Status> {
        self.info_of(&CommandStatementQuery { query: sql.to_owned(), transaction_id: None }).await
    }

    /// The flight of a command.
    pub(super) async fn info_of(&self, command: &impl ProstMessageExt) -> Result<FlightInfo, Status> {
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        self.bare().get_flight_info(self.request(descriptor)).await.map(Response::into_inner)
    }

    /// The messages of a ticket, as they come, and what the call said before them.
    pub(super) async fn fetch(&self, ticket: &Ticket) -> Result<Response<Streaming<FlightData>>, Status> {
        self.bare().do_get(self.request(ticket.clone())).await
    }

    /// The answer of a ticket.
    pub(super) async fn get(&self, ticket: &Ticket) -> Result<Table, Status> {
        let messages = self.fetch(ticket).await?.into_inner();
        let mut stream = FlightRecordBatchStream::new_from_flight_data(messages.map_err(FlightError::from));
        let mut batches = Vec::new();
        while let Some(batch) = stream.try_next().await.map_err(status_of)? {
            batches.push(batch);
        }
        let schema = Arc::clone(stream.schema().expect("an answer without rows has its columns"));
        Ok(Table { schema, batches })
    }

    /// The answer of a flight, whose columns are those that it announced.
    pub(super) async fn take(&self, info: FlightInfo) -> Result<Table, Status> {
        let announced = info.clone().try_decode_schema().unwrap();
        let [endpoint] = info.endpoint.as_slice() else { panic!("not one endpoint: {info:?}") };
        assert!(endpoint.location.is_empty() && endpoint.expiration_time.is_none(), "{endpoint:?}");
        let table = self.get(endpoint.ticket.as_ref().unwrap()).await?;
        assert_eq!(*table.schema, announced);
        Ok(table)
    }

    /// Asks and takes the whole answer.
    pub(super) async fn query(&self, sql: &str) -> Result<Table, Status> {
        self.take(self.info(sql).await?).await
    }

    /// The rows of a list.
    pub(super) async fn list(&self, command: &impl ProstMessageExt) -> Result<Table, Status> {
        self.take(self.info_of(command).await?).await
    }

    /// The results of an action, and the cookie that came with them.
    pub(super) async fn act(&self, r#type: &str, body: Vec<u8>) -> Result<(Vec<Vec<u8>>, Option<String>), Status> {
        let action = Action { r#type: r#type.to_owned(), body: body.into() };
        let response = self.bare().do_action(self.request(action)).await?;
        let cookie = response.metadata().get("set-cookie").map(|it| it.to_str().unwrap().to_owned());
        let results: Vec<_> = response.into_inner().try_collect().await?;
        Ok((results.into_iter().map(|result| result.body.to_vec()).collect(), cookie))
    }
}

impl Table {
    /// The rows as text; a missing value is `-`.
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let options = FormatOptions::default().with_null("-");
        let mut rows = Vec::new();
        for batch in &self.batches {
            let columns: Vec<_> =
                batch.columns().iter().map(|it| ArrayFormatter::try_new(it, &options).unwrap()).collect();
            let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect();
            rows.extend((0..batch.num_rows()).map(row));
        }
        rows
    }

    /// The values of one column, as text.
    pub(super) fn column(&self, name: &str) -> Vec<String> {
        let at = self.schema.index_of(name).unwrap();
        self.rows().into_iter().map(|mut row| row.swap_remove(at)).collect()
    }

    /// The only value.
    pub(super) fn number(&self) -> i64 {
        let rows = self.rows();
        assert!(rows.len() == 1 && rows[0].len() == 1, "{rows:?}");
        rows[0][0].parse().unwrap()
    }
}

/// The ticket of a flight.
pub(super) fn ticket(info: &FlightInfo) -> Ticket {
    info.endpoint[0].ticket.clone().unwrap()
}

/// The status that `arrow-flight` wraps.
pub(super) fn status_of(error: FlightError) -> Status {
    match error {
        FlightError::Tonic(status) => *status,
        other => panic!("not a status: {other}"),
    }
}

/// The world's requester over Flight.
pub(super) async fn requester(requester: &Requester) -> Flight {
    Flight::of(requester).await
}

/// A new requester of the same participant over Flight.
pub(super) async fn colleague(admin: &Admin) -> Flight {
    let colleague = admin.requester().await;
    Flight::of(&colleague).await
}
