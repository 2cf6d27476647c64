//! Lists that clients draw their trees from: catalogs, schemas, tables, types, what this server can do.
//!
//! A command of a list is its own ticket: nothing is kept, and what is seen is decided when the list is read. Each list
//! shows what a query of the caller may name, and nothing about data.

use arrow::{array::RecordBatch, datatypes::Schema};
use arrow_flight::{
    FlightDescriptor, FlightEndpoint, FlightInfo, SchemaAsIpc, SchemaResult, Ticket,
    error::FlightError,
    sql::{
        Command, CommandGetTableTypes,
        metadata::{GetCatalogsBuilder, GetDbSchemasBuilder},
    },
};

use super::{
    context::Context,
    keys, sql_info, statement, stream,
    tables::{self, TABLE},
    unimplemented, xdbc,
};
use crate::error::{Error, Result};

/// The flight of a list.
pub(super) fn info(command: &Command, descriptor: FlightDescriptor) -> Result<FlightInfo> {
    let info = FlightInfo::new().try_with_schema(&schema(command)?).map_err(Error::internal)?;
    let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(descriptor.cmd.clone()));
    Ok(info.with_endpoint(endpoint).with_descriptor(descriptor).with_ordered(true))
}

/// The columns of a list.
pub(super) fn schema_result(command: &Command) -> Result<SchemaResult> {
    SchemaAsIpc::new(&schema(command)?, &stream::options()).try_into().map_err(Error::internal)
}

/// The rows of a list, as the caller may see them.
pub(super) async fn rows(context: &Context, command: Command) -> Result<RecordBatch> {
    let built = match command {
        Command::CommandGetCatalogs(_) => {
            let mut builder = GetCatalogsBuilder::new();
            for catalog in tables::catalogs(context).await? {
                builder.append(catalog.as_str());
            }
            builder.build()
        }
        Command::CommandGetDbSchemas(asked) => {
            let (catalog, pattern) = (asked.catalog.clone(), asked.db_schema_filter_pattern.clone());
            let mut builder = asked.into_builder();
            for (catalog, schema) in tables::schemas(context, catalog.as_deref(), pattern.as_deref()).await? {
                builder.append(catalog.as_str(), schema.as_str());
            }
            builder.build()
        }
        Command::CommandGetTables(asked) => {
            let (catalog, pattern) = (asked.catalog.clone(), asked.db_schema_filter_pattern.clone());
            let mut builder = asked.into_builder();
            for (catalog, table) in tables::all(context, catalog.as_deref(), pattern.as_deref()).await? {
                let (owner, name) = (table.dataset.owner.as_str(), table.dataset.name.as_str());
                let schema = if builder.include_schema() { tables::schema(&catalog, &table) } else { Schema::empty() };
                builder.append(catalog.as_str(), owner, name, TABLE, &schema).map_err(Error::internal)?;
            }
            builder.build()
        }
        Command::CommandGetTableTypes(asked) => {
            require(context)?;
            let mut builder = asked.into_builder();
            builder.append(TABLE);
            builder.build()
        }
        Command::CommandGetSqlInfo(asked) => {
            require(context)?;
            asked.into_builder(sql_info::data()?).build()
        }
        Command::CommandGetXdbcTypeInfo(asked) => {
            require(context)?;
            asked.into_builder(xdbc::data()?).build()
        }
        Command::CommandGetPrimaryKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetExportedKeys(_)
        | Command::CommandGetCrossReference(_) => {
            require(context)?;
            Ok(RecordBatch::new_empty(schema(&command)?.into()))
        }
        other => return Err(refused(&other)),
    };
    built.map_err(|error: FlightError| Error::internal(error))
}

fn schema(command: &Command) -> Result<Schema> {
    let shared = match command {
        Command::CommandGetCatalogs(_) => GetCatalogsBuilder::new().schema(),
        Command::CommandGetDbSchemas(_) => GetDbSchemasBuilder::new(None::<String>, None::<String>).schema(),
        Command::CommandGetTables(asked) => asked.clone().into_builder().schema(),
        Command::CommandGetTableTypes(_) => CommandGetTableTypes {}.into_builder().schema(),
        Command::CommandGetSqlInfo(_) => sql_info::data()?.schema(),
        Command::CommandGetXdbcTypeInfo(_) => xdbc::data()?.schema(),
        Command::CommandGetPrimaryKeys(_) => return Ok(keys::primary()),
        Command::CommandGetImportedKeys(_)
        | Command::CommandGetExportedKeys(_)
        | Command::CommandGetCrossReference(_) => return Ok(keys::foreign()),
        other => return Err(refused(other)),
    };
    Ok(shared.as_ref().clone())
}

/// What is the same for everybody is told to whoever proves to be somebody.
fn require(context: &Context) -> Result<()> {
    context.call.caller().map(|_| ())
}

fn refused(command: &Command) -> Error {
    match command {
        Command::CommandStatementSubstraitPlan(plan) => statement::substrait(plan.plan.clone()),
        Command::CommandStatementUpdate(_) | Command::CommandPreparedStatementUpdate(_) => unimplemented("updates"),
        Command::CommandStatementIngest(_) => unimplemented("ingestion"),
        Command::CommandPreparedStatementQuery(_) | Command::CommandStatementQuery(_) => {
            unimplemented("fetching a query without the ticket of its flight")
        }
        _ => unimplemented("this command"),
    }
}
