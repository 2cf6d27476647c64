"""The ADBC driver against the demo hub: every query of demo.json, parameters, lists, cancelling, each way to log in.

Run by run.sh; reads the path of demo.json from its argument. Ends with 0 only if everything was as it should be.
"""

import datetime
import decimal
import json
import sys
import time

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi as flight_sql
import adbc_driver_manager
import pyarrow

from adbc_driver_flightsql import ConnectionOptions, DatabaseOptions

RESEARCH = "scientific_research"
PURPOSE = DatabaseOptions.RPC_CALL_HEADER_PREFIX.value + "x-odh-purpose"
PURPOSE_OF_CONNECTION = ConnectionOptions.RPC_CALL_HEADER_PREFIX.value + "x-odh-purpose"

demo = json.load(open(sys.argv[1]))
uri = demo["grpc"].replace("https://", "grpc+tls://")
authority = open(demo["ca"]).read()


def certificate(persona):
    held = demo["personas"][persona]
    return {
        DatabaseOptions.TLS_ROOT_CERTS.value: authority,
        DatabaseOptions.MTLS_CERT_CHAIN.value: open(held["cert"]).read(),
        DatabaseOptions.MTLS_PRIVATE_KEY.value: open(held["key"]).read(),
    }


def bearer(persona):
    return {
        DatabaseOptions.TLS_ROOT_CERTS.value: authority,
        DatabaseOptions.AUTHORIZATION_HEADER.value: f"Bearer {demo['personas'][persona]['bearer']}",
    }


def password(persona):
    return {
        DatabaseOptions.TLS_ROOT_CERTS.value: authority,
        "username": "anybody",
        "password": demo["personas"][persona]["bearer"],
    }


def connect(login, purpose=None):
    options = dict(login)
    if purpose:
        options[PURPOSE] = purpose
    return flight_sql.connect(uri, db_kwargs=options, autocommit=True)


def fields(message):
    """The length-delimited fields of a protobuf message; those that the hub's errors have are all of that kind."""
    found, at = {}, 0
    while at < len(message):
        number, at = message[at] >> 3, at + 1
        size, shift = 0, 0
        while True:
            byte, at = message[at], at + 1
            size, shift = size | (byte & 127) << shift, shift + 7
            if byte < 128:
                break
        found.setdefault(number, message[at : at + size])
        at += size
    return found


def refusal(work):
    """The reason of the hub's refusal, from the ErrorInfo that comes with the status; else the driver's own text."""
    try:
        work()
    except adbc_driver_manager.Error as error:
        for name, value in error.details:
            if name == b"grpc-status-details-bin":
                detail = fields(value)
                if detail[1].endswith(b"/google.rpc.ErrorInfo"):
                    return fields(detail[2])[1].decode()
        return str(error)
    raise AssertionError("the hub did not refuse this")


checks = 0


def check(what, found, wanted):
    global checks
    checks += 1
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def rows(connection, sql, parameters=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetch_arrow_table()


# Every query of the demo, over a certificate and over a bearer.
for login in (certificate, bearer):
    for query in demo["queries"]:
        with connect(login(query["as"]), query["purpose"]) as connection:
            expected = query["expect"]
            if "rows" in expected:
                check(query["sql"], rows(connection, query["sql"]).num_rows, expected["rows"])
            else:
                check(query["sql"], refusal(lambda: rows(connection, query["sql"])), expected["reason"])

# A token as a password: the driver shakes hands and goes on with the bearer.
with connect(password("labo"), RESEARCH) as connection:
    table = rows(connection, "SELECT count(*) AS n FROM observatoire.communes")
    check("password", table.schema.types, [pyarrow.int64()])

# Without a purpose: the only one of the grants is taken, and a catalog in the query says it as well.
with connect(certificate("labo")) as connection:
    communes = rows(connection, "SELECT count(*) AS n FROM observatoire.communes")["n"][0].as_py()
    check("the only purpose", communes > 1000, True)
    catalog = rows(connection, f"SELECT count(*) AS n FROM {RESEARCH}.observatoire.communes")
    check("a catalog", catalog["n"][0].as_py(), communes)
    check("marketing", refusal(lambda: rows(connection, "SELECT count(*) FROM marketing.chu.stays")), "PURPOSE_NOT_PERMITTED")

# Parameters of each type, by `?` and by `$1`, alone and together.
with connect(certificate("labo"), RESEARCH) as connection:
    def count(where, *parameters):
        return rows(connection, f"SELECT count(*) AS n FROM observatoire.communes WHERE {where}", list(parameters))["n"][0].as_py()

    check("text", count("code_departement = ?", "31") > 100, True)
    check("hostile text", count("code_departement = ?", "31' OR '1' = '1"), 0)
    check("integer", count("population > ?", 100_000), 4)
    check("both", count("population > $2 AND code_departement = $1", "31", 100_000), 1)
    check("twice", count("code_departement = $1 OR code_departement = $1", "09"), count("code_departement = ?", "09"))
    check("null", count("code_departement = ?", None), 0)
    check("boolean", count("? AND code_departement = '31'", True), count("code_departement = '31'"))
    check("double", count("CAST(population AS DOUBLE) > ?", 100_000.5), 4)
    check("negative", count("population > ?", -1), communes)
    table = rows(connection, "SELECT ? AS d, ? AS t, ? AS m, ? AS s", [
        datetime.date(2024, 2, 29),
        datetime.datetime(2024, 2, 29, 12, 30, 15, 250_000),
        decimal.Decimal("-12.50"),
        "l'Aude — été",
    ])
    check("date", table["d"][0].as_py(), datetime.date(2024, 2, 29))
    check("timestamp", table["t"][0].as_py(), datetime.datetime(2024, 2, 29, 12, 30, 15, 250_000))
    check("decimal", table["m"][0].as_py(), decimal.Decimal("-12.50"))
    check("quotes", table["s"][0].as_py(), "l'Aude — été")
    check("too few", refusal(lambda: count("code_departement = ? AND code_departement = ?", "31")) != "", True)
    with connection.cursor() as cursor:
        schema = cursor.adbc_prepare("SELECT count(*) AS n FROM observatoire.communes WHERE population > ? AND code_departement = ?")
        check("parameter types", schema.types, [pyarrow.int64(), pyarrow.string()])

# Lists: the purposes of the grants, the owners and tables that may be queried, and their columns.
with connect(certificate("labo")) as connection:
    tree = connection.adbc_get_objects(depth="columns").read_all().to_pylist()
    check("catalogs", [catalog["catalog_name"] for catalog in tree], [RESEARCH])
    schemas = {schema["db_schema_name"]: schema["db_schema_tables"] for schema in tree[0]["catalog_db_schemas"]}
    check("schemas", sorted(schemas), ["chu", "energie", "observatoire"])
    tables = {f"{owner}.{table['table_name']}": table for owner, held in schemas.items() for table in held}
    check("tables", sorted(tables), ["chu.stays", "energie.meters", "observatoire.communes"])
    columns = [column["column_name"] for column in tables["chu.stays"]["table_columns"]]
    check("columns outside the grant do not exist", "age" in columns, False)
    schema = connection.adbc_get_table_schema("communes", db_schema_filter="observatoire")
    check("columns", "departement" in schema.names and "population" in schema.names, True)
    check("table types", connection.adbc_get_table_types(), ["TABLE"])
    info = connection.adbc_get_info()
    check("name", info["vendor_name"], "Occitanie Data hub")
    sql = "SELECT departement, count(*) AS n FROM observatoire.communes GROUP BY departement"
    with connection.cursor() as cursor:
        announced = cursor.adbc_execute_schema(sql)
    check("announced schema", announced, rows(connection, sql).schema)

# What is not for reading is not there.
with connect(certificate("labo"), RESEARCH) as connection:
    with connection.cursor() as cursor:
        refused = refusal(lambda: cursor.adbc_ingest("t", pyarrow.table({"a": [1]}), mode="create"))
        check("ingest", refused, "UNIMPLEMENTED")
    check("update", refusal(lambda: rows(connection, "DELETE FROM chu.stays")), "QUERY_REJECTED")

# A query that is given up frees its place: more of them than may run at a time.
with connect(certificate("labo"), RESEARCH) as connection:
    for _ in range(12):
        with connection.cursor() as cursor:
            cursor.execute("SELECT a.nom, b.nom FROM observatoire.communes a JOIN observatoire.communes b ON a.departement = b.departement")
            cursor.fetch_record_batch().read_next_batch()
            cursor.adbc_cancel()
        time.sleep(0.1)
    check("after cancelling", rows(connection, "SELECT count(*) AS n FROM observatoire.communes").num_rows, 1)

# Who is nobody gets nowhere, and a certificate of another authority's is not believed.
strange = {DatabaseOptions.TLS_ROOT_CERTS.value: authority, DatabaseOptions.AUTHORIZATION_HEADER.value: "Bearer nonsense"}
check("nonsense", refusal(lambda: rows(connect(strange, RESEARCH), "SELECT 1")), "UNAUTHENTICATED")
untrusting = dict(certificate("labo"))
del untrusting[DatabaseOptions.TLS_ROOT_CERTS.value]
check("authority", "certificate" in refusal(lambda: rows(connect(untrusting, RESEARCH), "SELECT 1")), True)
check("steward", refusal(lambda: rows(connect(certificate("chu"), RESEARCH), "SELECT count(*) FROM chu.stays")), "ROLE_MISSING")

print(f"ADBC {adbc_driver_flightsql.__version__}: {checks} checks passed")
