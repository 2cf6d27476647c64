//! Catalogs, schemas and tables: what the caller may query, and nothing that it may not know.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use arrow::{
    array::BinaryArray,
    datatypes::{FieldRef, Schema},
};
use arrow_flight::{
    IpcMessage,
    sql::{
        CommandGetCatalogs, CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys,
        CommandGetImportedKeys, CommandGetPrimaryKeys, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
        CommandGetXdbcTypeInfo,
    },
};
use odh::grpc::pb;
use tonic::Code;

use super::client::{Flight, Table, colleague, requester};
use crate::{
    harness::{Hub, on_both_engines},
    personas::refused,
    policies::{at_least, only, permit, policy, prefix},
    world::{self, RESEARCH},
};

on_both_engines!(
    tables_are_those_that_the_caller_may_query,
    a_table_shows_the_columns_that_exist_for_the_caller,
    patterns_narrow_a_list,
    a_list_follows_what_is_granted_and_revoked,
    what_a_policy_hides_does_not_show_in_a_list,
    what_is_the_same_for_all_is_told_to_members,
);

/// `catalog.owner.table` of a list of tables.
fn names(table: &Table) -> Vec<String> {
    let rows = table.rows();
    rows.into_iter().map(|row| row[..3].join(".")).collect()
}

async fn tables(flight: &Flight) -> Vec<String> {
    names(&flight.list(&CommandGetTables::default()).await.unwrap())
}

/// The columns of each table of a list.
fn schemas(table: &Table) -> Vec<Schema> {
    let columns = table.batches.iter().map(|batch| batch.column_by_name("table_schema").unwrap());
    let schema = |bytes: &[u8]| Schema::try_from(IpcMessage(bytes.to_vec().into())).unwrap();
    columns
        .flat_map(|column| column.as_any().downcast_ref::<BinaryArray>().unwrap().iter().map(|it| schema(it.unwrap())))
        .collect()
}

async fn tables_are_those_that_the_caller_may_query(hub: &mut Hub) {
    let world = world::small(hub).await;
    // Of the owner's three, one more is restricted, and one is a draft.
    world.steward.create_dataset("outages", pb::AccessLevel::Restricted, None).await.unwrap();
    world.steward.upload("outages", "code,minutes\n31001,5\n").await.unwrap();
    world
        .steward
        .publish(policy(&world.steward.dataset("outages"), vec![permit("all", &[pb::Action::Read], &[])]))
        .await
        .unwrap();
    world.steward.create_dataset("draft", pb::AccessLevel::Open, None).await.unwrap();
    world.steward.upload("draft", "a\n1\n").await.unwrap();
    let plain = requester(&world.requester).await.plain();
    let granted = [format!("{RESEARCH}.chu.communes"), format!("{RESEARCH}.chu.stays")];
    assert_eq!(tables(&plain).await, granted);
    let catalogs = plain.list(&CommandGetCatalogs {}).await.unwrap();
    assert_eq!(catalogs.rows(), [[RESEARCH]]);
    let owners = plain.list(&CommandGetDbSchemas::default()).await.unwrap();
    assert_eq!(owners.rows(), [[RESEARCH, "chu"]]);
    // Each of them can be asked, and what is not listed cannot.
    for table in ["chu.communes", "chu.stays"] {
        plain.query(&format!("select count(*) from {table}")).await.unwrap();
    }
    refused(plain.info("select count(*) from chu.outages").await, Code::PermissionDenied, "GRANT_REQUIRED");
    // For another purpose only the open one is there; for none that the hub knows, none.
    let marketing = plain.with("x-odh-purpose", "marketing");
    assert_eq!(tables(&marketing).await, ["marketing.chu.communes"]);
    let of = |catalog: &str| CommandGetTables { catalog: Some(catalog.to_owned()), ..Default::default() };
    assert_eq!(names(&plain.list(&of("marketing")).await.unwrap()), ["marketing.chu.communes"]);
    for none in ["nonsense", "", "No Slug"] {
        assert!(plain.list(&of(none)).await.unwrap().rows().is_empty(), "{none}");
    }
    // The owner's own come without a grant, the draft not without a policy.
    let own = colleague(&world.owner).await;
    let all = ["communes", "outages", "stays"].map(|name| format!("{RESEARCH}.chu.{name}"));
    assert_eq!(tables(&own).await, all);
    // Who may not query sees nothing.
    let steward = Flight::of(&world.steward).await;
    let status = steward.list(&CommandGetTables::default()).await;
    refused(status, Code::PermissionDenied, "ROLE_MISSING");
}

async fn a_table_shows_the_columns_that_exist_for_the_caller(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    let ask = CommandGetTables {
        include_schema: true,
        table_name_filter_pattern: Some("stays".to_owned()),
        ..Default::default()
    };
    let schema = schemas(&flight.list(&ask).await.unwrap()).remove(0);
    let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(columns, ["pid", "commune", "age", "diagnosis", "cost"], "`admitted` is outside the grant");
    let answer = flight.query("select * from chu.stays limit 1").await.unwrap();
    for (told, seen) in schema.fields().iter().zip(answer.schema.fields()) {
        assert_eq!((told.name(), told.data_type()), (seen.name(), seen.data_type()));
    }
    let about = |column: &str, key: &str| schema.field_with_name(column).unwrap().metadata()[key].clone();
    assert_eq!(about("age", "ARROW:FLIGHT:SQL:TYPE_NAME"), "BIGINT");
    assert_eq!(about("age", "ARROW:FLIGHT:SQL:TABLE_NAME"), "stays");
    assert_eq!(
        (about("age", "odh:role"), about("pid", "odh:role")),
        ("dimension".to_owned(), "subject_key".to_owned())
    );
    assert_eq!(about("diagnosis", "ARROW:FLIGHT:SQL:IS_READ_ONLY"), "1");
    assert_eq!(schema.metadata()["odh:aggregate_only"], "");
}

async fn patterns_narrow_a_list(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    for (schema, table, found) in [
        (None, Some("st%"), vec!["stays"]),
        (None, Some("_ommunes"), vec!["communes"]),
        (Some("chu"), None, vec!["communes", "stays"]),
        (Some("ch_"), Some("%"), vec!["communes", "stays"]),
        (Some("lab"), None, vec![]),
        (Some("No Owner"), None, vec![]),
        (Some("c%"), Some("communes"), vec!["communes"]),
    ] {
        let ask = CommandGetTables {
            db_schema_filter_pattern: schema.map(str::to_owned),
            table_name_filter_pattern: table.map(str::to_owned),
            ..Default::default()
        };
        assert_eq!(flight.list(&ask).await.unwrap().column("table_name"), found, "{schema:?} {table:?}");
    }
    let views = CommandGetTables { table_types: vec!["VIEW".to_owned()], ..Default::default() };
    assert!(flight.list(&views).await.unwrap().rows().is_empty());
    let owners = CommandGetDbSchemas { catalog: None, db_schema_filter_pattern: Some("x%".to_owned()) };
    assert!(flight.list(&owners).await.unwrap().rows().is_empty());
}

async fn a_list_follows_what_is_granted_and_revoked(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = requester(&world.requester).await;
    assert_eq!(tables(&flight).await.len(), 2);
    world.steward.revoke_grant(&world.grant.name).await.unwrap();
    assert_eq!(tables(&flight).await, [format!("{RESEARCH}.chu.communes")]);
    assert!(flight.plain().list(&CommandGetCatalogs {}).await.unwrap().rows().is_empty());
    let asked = world.requester.request_access(world::STAYS, pb::Action::Aggregate, RESEARCH).await.unwrap();
    world.steward.approve(&asked).await.unwrap();
    let ask = CommandGetTables { include_schema: true, ..Default::default() };
    let list = flight.plain().list(&ask).await.unwrap();
    assert_eq!(names(&list).len(), 2);
    let stays = &schemas(&list)[1];
    assert!(stays.field_with_name("diagnosis").is_err(), "the aggregate rule has fewer columns");
    assert_eq!(stays.metadata()["odh:aggregate_only"], world::K.to_string());
}

/// P6: two datasets that differ only in what the policy hides in both look the same in every list.
async fn what_a_policy_hides_does_not_show_in_a_list(hub: &mut Hub) {
    let world = world::small(hub).await;
    for (id, hidden) in [("near_a", 3), ("near_b", 300)] {
        let mut csv = "pid,age,diagnosis,cost,secret\n".to_owned();
        for row in 0..40 {
            writeln!(csv, "{},{},J4{},{},{hidden}", world::subject(row), 20 + row, row % 9, 100 + row).unwrap();
        }
        for row in 0..hidden {
            writeln!(csv, "{},0,ZZ{row},{},7", world::subject(row), -row_cost(row)).unwrap();
        }
        let steward = &world.steward;
        steward.create_noted(id, &[("age", pb::ColumnRole::Dimension)]).await;
        steward.upload(id, csv).await.unwrap();
        let rule = pb::Rule {
            columns: Some(only(&["pid", "age", "diagnosis", "cost"])),
            how: Some(pb::How {
                row_filter: Some(at_least("cost", 100)),
                masks: [("diagnosis".to_owned(), prefix(1))].into(),
                ..Default::default()
            }),
            legal_basis: pb::LegalBasis::PublicInterest.into(),
            ..permit("near", &[pb::Action::Read], &[RESEARCH])
        };
        steward.publish(policy(&steward.dataset(id), vec![rule])).await.unwrap();
        let asked = world.requester.request_access(&format!("chu.{id}"), pb::Action::Read, RESEARCH).await.unwrap();
        steward.approve(&asked).await.unwrap();
    }
    let flight = requester(&world.requester).await;
    let mut seen = Vec::new();
    for id in ["near_a", "near_b"] {
        let ask = CommandGetTables {
            include_schema: true,
            table_name_filter_pattern: Some(id.to_owned()),
            ..Default::default()
        };
        let list = flight.list(&ask).await.unwrap();
        let sql = format!("select * from chu.{id} order by pid");
        let info = flight.info(&sql).await.unwrap();
        let shown: Vec<String> = schemas(&list).iter().flat_map(fields).chain(names(&list)).collect();
        let shown = shown.join("\n").replace(id, "near");
        seen.push((shown, info.schema.clone(), info.total_records, flight.take(info).await.unwrap()));
    }
    assert_eq!(seen[0], seen[1]);
}

/// All that a schema says, in an order of its own.
fn fields(schema: &Schema) -> Vec<String> {
    let sorted = |metadata: &HashMap<String, String>| metadata.clone().into_iter().collect::<BTreeMap<_, _>>();
    let field = |field: &FieldRef| format!("{} {:?} {:?}", field.name(), field.data_type(), sorted(field.metadata()));
    schema.fields().iter().map(field).chain([format!("{:?}", sorted(schema.metadata()))]).collect()
}

fn row_cost(row: usize) -> i64 {
    i64::try_from(row).unwrap()
}

async fn what_is_the_same_for_all_is_told_to_members(hub: &mut Hub) {
    let world = world::small(hub).await;
    let flight = Flight::of(&world.steward).await;
    assert_eq!(flight.list(&CommandGetTableTypes {}).await.unwrap().rows(), [["TABLE"]]);
    let info = flight.list(&CommandGetSqlInfo { info: vec![0, 3, 8] }).await.unwrap();
    assert_eq!(info.column("info_name"), ["0", "3", "8"]);
    assert!(info.rows()[0][1].contains("Occitanie Data hub"), "{info:?}");
    assert!(flight.list(&CommandGetSqlInfo { info: vec![] }).await.unwrap().rows().len() > 70);
    let types = flight.list(&CommandGetXdbcTypeInfo { data_type: None }).await.unwrap();
    assert_eq!(types.column("type_name").len(), 7);
    let (catalog, db_schema, table) = (Some(RESEARCH.to_owned()), Some("chu".to_owned()), "stays".to_owned());
    let keys = [
        flight
            .list(&CommandGetPrimaryKeys {
                catalog: catalog.clone(),
                db_schema: db_schema.clone(),
                table: table.clone(),
            })
            .await,
        flight
            .list(&CommandGetImportedKeys {
                catalog: catalog.clone(),
                db_schema: db_schema.clone(),
                table: table.clone(),
            })
            .await,
        flight.list(&CommandGetExportedKeys { catalog, db_schema, table }).await,
        flight.list(&CommandGetCrossReference::default()).await,
    ];
    for list in keys {
        assert!(list.unwrap().rows().is_empty());
    }
    let nobody = Flight::connect(&world.requester.site, None).await;
    refused(nobody.list(&CommandGetSqlInfo { info: vec![0] }).await, Code::Unauthenticated, "UNAUTHENTICATED");
}
