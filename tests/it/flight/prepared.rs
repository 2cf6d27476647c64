//! Prepared statements: their columns and parameters are told before they run, and a value is only ever a value.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
        LargeStringArray, NullArray, RecordBatch, StringArray, StringViewArray, TimestampMicrosecondArray, UInt64Array,
    },
    datatypes::DataType,
};
use arrow_flight::{
    FlightData, FlightDescriptor,
    encode::FlightDataEncoderBuilder,
    error::FlightError,
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, CommandPreparedStatementQuery,
        CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementUpdate, ProstMessageExt,
        client::PreparedStatement,
    },
};
use futures::TryStreamExt as _;
use prost::Message as _;
use tonic::{Code, Status, transport::Channel};

use super::client::{Flight, Table, colleague, requester, status_of};
use crate::{
    harness::{Hub, on_both_engines},
    personas::{metadata, refused},
    world,
};

on_both_engines!(
    columns_and_parameters_are_told_before_it_runs,
    a_value_of_each_type_is_bound,
    a_value_never_becomes_sql,
    what_is_bound_is_what_the_statement_takes,
    a_statement_is_its_members_own_until_it_is_closed,
    what_would_be_refused_is_refused_when_it_is_prepared,
    nothing_but_values_can_be_put,
);

/// Counts the rows of communes that a condition holds for, with these values.
async fn count(flight: &Flight, condition: &str, values: Vec<ArrayRef>) -> Result<i64, Status> {
    let sql = format!("select count(*) from chu.communes where {condition}");
    Ok(run(flight, &sql, values).await?.number())
}

async fn run(flight: &Flight, sql: &str, values: Vec<ArrayRef>) -> Result<Table, Status> {
    let mut statement = prepare(flight, sql).await?;
    statement.set_parameters(row(values)).unwrap();
    let info = statement.execute().await.map_err(status_of)?;
    flight.take(info).await
}

async fn prepare(flight: &Flight, sql: &str) -> Result<PreparedStatement<Channel>, Status> {
    flight.sql().prepare(sql.to_owned(), None).await.map_err(status_of)
}

fn row(values: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_from_iter(values.into_iter().enumerate().map(|(at, value)| (format!("p{at}"), value))).unwrap()
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn number(value: i64) -> ArrayRef {
    Arc::new(Int64Array::from(vec![value]))
}

fn types(schema: &arrow::datatypes::Schema) -> Vec<DataType> {
    schema.fields().iter().map(|field| field.data_type().clone()).collect()
}

async fn columns_and_parameters_are_told_before_it_runs(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let sql = "select pid, cost from chu.stays where age > ? and diagnosis = ? and cost < ? limit ?";
    let statement = prepare(&flight, sql).await.unwrap();
    let parameters = statement.parameter_schema().unwrap();
    let cost = statement.dataset_schema().unwrap().field(1).data_type().clone();
    assert_eq!(types(parameters), [DataType::Int64, DataType::Utf8, cost.clone(), DataType::Int64]);
    assert_eq!(types(statement.dataset_schema().unwrap()), [DataType::Utf8, cost]);
    // Without parameters there are none, and it runs as it is.
    let mut plain = prepare(&flight, "select name from chu.communes").await.unwrap();
    assert!(plain.parameter_schema().unwrap().fields().is_empty());
    let info = plain.execute().await.unwrap();
    assert_eq!(flight.take(info).await.unwrap().rows().len(), world::PLACES);
    // Where nothing tells the type it is a text, or a number where a text does not fit.
    let open = prepare(&flight, "select upper($2), round(1.234, $1), $3 from chu.communes limit 1").await.unwrap();
    assert_eq!(types(open.parameter_schema().unwrap()), [DataType::Int64, DataType::Utf8, DataType::Utf8]);
}

async fn a_value_of_each_type_is_bound(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let all = i64::try_from(world::PLACES).unwrap();
    let decimal = Decimal128Array::from(vec![3_100_350]).with_precision_and_scale(10, 2).unwrap();
    let instant = TimestampMicrosecondArray::from(vec![1_709_208_000_000_000]);
    for (condition, value, wanted) in [
        ("code = ?", number(31_001), 1),
        ("code < ?", Arc::new(Int32Array::from(vec![31_003])) as ArrayRef, 2),
        ("code < ?", Arc::new(UInt64Array::from(vec![u64::MAX])), all),
        ("code > ?", number(i64::MIN), all),
        ("code > ?", number(-1), all),
        ("cast(code as double) < ?", Arc::new(Float64Array::from(vec![31_002.5])), 2),
        ("cast(code as decimal(10, 2)) < ?", Arc::new(decimal), 3),
        ("name = ?", text("Commune 3"), 1),
        ("name = ?", Arc::new(LargeStringArray::from(vec!["Commune 3"])), 1),
        ("name = ?", Arc::new(StringViewArray::from(vec!["Commune 3"])), 1),
        ("name like ?", text("%3"), 1),
        ("(code = 31001) = ?", Arc::new(BooleanArray::from(vec![true])), 1),
        ("date '2024-02-29' = ?", Arc::new(Date32Array::from(vec![19_782])), all),
        ("timestamp '2024-02-29T12:00:00' = ?", Arc::new(instant.clone()), all),
        ("timestamp '2024-02-29T12:00:00' = ?", Arc::new(instant.with_timezone("+00:00")), all),
        ("name = ?", Arc::new(NullArray::new(1)), 0),
        ("code = ?", Arc::new(Int64Array::from(vec![None])), 0),
    ] {
        let shown = format!("{condition} {value:?}");
        assert_eq!(count(&flight, condition, vec![value]).await.unwrap(), wanted, "{shown}");
    }
    assert_eq!(count(&flight, "code > $2 and code < $1", vec![number(31_005), number(31_002)]).await.unwrap(), 2);
    assert_eq!(count(&flight, "code in (?, ?, ?)", vec![number(31_001), number(31_002), number(7)]).await.unwrap(), 2);
}

async fn a_value_never_becomes_sql(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    for hostile in [
        "' or '1' = '1",
        "\\' or 1 = 1 --",
        "''; drop table chu.communes; --",
        "?",
        "$1",
        "'",
        "''",
        "\\",
        "$$",
        "/*",
        "--",
        "é'ß\u{2028}\n\t\0",
    ] {
        assert_eq!(count(&flight, "name = ?", vec![text(hostile)]).await.unwrap(), 0, "{hostile:?}");
        let answer = run(&flight, "select ? as t from chu.communes limit 1", vec![text(hostile)]).await.unwrap();
        let column = answer.batches[0].column(0).as_any().downcast_ref::<StringArray>().unwrap().value(0).to_owned();
        assert_eq!(column, hostile);
    }
    // Nor is it more than a value where the policy would refuse SQL: masks and filters hold.
    let masked = run(&flight, "select count(*) from chu.stays where diagnosis = ?", vec![text("J45")]).await.unwrap();
    assert_eq!(masked.number(), 0);
}

async fn what_is_bound_is_what_the_statement_takes(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let wrong = |values| count(&flight, "code = ? and name = ?", values);
    let two: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"x"[..]]));
    let infinite: ArrayRef = Arc::new(Float64Array::from(vec![f64::INFINITY]));
    let long = text(&"x".repeat(9_000));
    for values in [
        vec![number(1)],
        vec![number(1), text("a"), text("b")],
        vec![two, Arc::new(StringArray::from(vec!["a", "b"]))],
        vec![bytes, text("a")],
        vec![infinite, text("a")],
    ] {
        refused(wrong(values).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    // What the text may not hold is refused as a text that was written out.
    let status = refused(wrong(vec![number(1), long]).await, Code::InvalidArgument, "QUERY_REJECTED");
    assert_eq!(metadata(&status, "rule"), "too_complex");
    let mut unbound = prepare(&flight, "select name from chu.communes where code = ?").await.unwrap();
    refused(unbound.execute().await.map_err(status_of), Code::InvalidArgument, "INVALID_ARGUMENT");
}

async fn a_statement_is_its_members_own_until_it_is_closed(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let handle = handle(&flight, "select name from chu.communes").await;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle.clone() };
    let colleague = colleague(&world.lab).await;
    refused(colleague.info_of(&command).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    let close = ActionClosePreparedStatementRequest { prepared_statement_handle: handle }.as_any().encode_to_vec();
    colleague.act("ClosePreparedStatement", close.clone()).await.unwrap();
    // Twice from one statement, as two answers.
    for _ in 0..2 {
        let info = flight.info_of(&command).await.unwrap();
        assert_eq!(flight.take(info).await.unwrap().rows().len(), world::PLACES);
    }
    flight.act("ClosePreparedStatement", close.clone()).await.unwrap();
    flight.act("ClosePreparedStatement", close).await.unwrap();
    refused(flight.info_of(&command).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
}

async fn what_would_be_refused_is_refused_when_it_is_prepared(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    for (sql, rule) in [
        ("select admitted from chu.stays where age = ?", "unknown_column"),
        ("select * from chu.nothing where a = ?", "unknown_table"),
        ("delete from chu.stays where age = ?", "only_select"),
        ("select ? from", "syntax"),
        ("select ?, $1 from chu.communes", "placeholder"),
        ("select repeat(?, 10) from chu.communes", "function"),
        ("select * from ?", "syntax"),
    ] {
        let status = refused(prepare(&flight, sql).await.map(|_| ()), Code::InvalidArgument, "QUERY_REJECTED");
        assert_eq!(metadata(&status, "rule"), rule, "{sql}");
    }
    let marketing = flight.plain().with("x-odh-purpose", "marketing");
    let status = prepare(&marketing, "select 1 from chu.stays where age = ?").await.map(|_| ());
    refused(status, Code::PermissionDenied, "PURPOSE_NOT_PERMITTED");
    // A grant that ends later ends the statement's use as well.
    let mut statement = prepare(&flight, "select count(*) from chu.stays where age > ?").await.unwrap();
    statement.set_parameters(row(vec![number(30)])).unwrap();
    statement.execute().await.unwrap();
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    refused(statement.execute().await.map_err(status_of), Code::PermissionDenied, "GRANT_REVOKED");
}

async fn nothing_but_values_can_be_put(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let update = CommandStatementUpdate { query: "delete from chu.stays".to_owned(), transaction_id: None };
    refused(put(&flight, &update).await, Code::Unimplemented, "UNIMPLEMENTED");
    let update = CommandPreparedStatementUpdate { prepared_statement_handle: b"x".to_vec().into() };
    refused(put(&flight, &update).await, Code::Unimplemented, "UNIMPLEMENTED");
    refused(put(&flight, &CommandStatementIngest::default()).await, Code::Unimplemented, "UNIMPLEMENTED");
    let unknown = CommandPreparedStatementQuery { prepared_statement_handle: b"guess".to_vec().into() };
    refused(put(&flight, &unknown).await, Code::NotFound, "NOT_FOUND_OR_DENIED");
    for data in [
        vec![],
        vec![FlightData::default()],
        vec![FlightData { data_header: vec![255; 64].into(), ..FlightData::default() }],
    ] {
        let answer = flight.bare().do_put(flight.request(futures::stream::iter(data))).await.map(|_| ());
        refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    // A statement and then no Arrow at all.
    let handle = handle(&flight, "select name from chu.communes where code = ?").await;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: handle };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let garbage =
        FlightData { flight_descriptor: Some(descriptor), data_header: vec![7; 200].into(), ..Default::default() };
    let answer = flight.bare().do_put(flight.request(futures::stream::iter([garbage]))).await.map(|_| ());
    refused(answer, Code::InvalidArgument, "INVALID_ARGUMENT");
}

async fn handle(flight: &Flight, sql: &str) -> prost::bytes::Bytes {
    let request = ActionCreatePreparedStatementRequest { query: sql.to_owned(), transaction_id: None };
    let (results, _) = flight.act("CreatePreparedStatement", request.as_any().encode_to_vec()).await.unwrap();
    let any = arrow_flight::sql::Any::decode(results[0].as_slice()).unwrap();
    let result: arrow_flight::sql::ActionCreatePreparedStatementResult = any.unpack().unwrap().unwrap();
    result.prepared_statement_handle
}

async fn put(flight: &Flight, command: &impl ProstMessageExt) -> Result<(), Status> {
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let batches = futures::stream::iter([Ok::<_, FlightError>(row(vec![number(1)]))]);
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor)).build(batches);
    let data: Vec<FlightData> = encoder.try_collect().await.unwrap();
    flight.bare().do_put(flight.request(futures::stream::iter(data))).await.map(|_| ())
}
