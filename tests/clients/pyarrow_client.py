"""pyarrow's bare Flight client against the demo hub: what the protocol needs, spelled out.

Run by run.sh; reads the path of demo.json from its argument. Ends with 0 only if everything was as it should be.
"""

import json
import sys

import pyarrow
import pyarrow.flight as flight

RESEARCH = "scientific_research"
COMMUNES = "SELECT code_insee, nom, population FROM observatoire.communes"

demo = json.load(open(sys.argv[1]))
authority = open(demo["ca"]).read()
uri = demo["grpc"].replace("https://", "grpc+tls://")
checks = 0


def check(what, found, wanted):
    global checks
    checks += 1
    assert found == wanted, f"{what}: {found!r} instead of {wanted!r}"


def field(number, body):
    """A length-delimited field of protobuf."""
    size, length = bytearray(), len(body)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2]) + bytes(size) + bytes([length]) + body


def command(name, *fields):
    """A command of Flight SQL, packed into an Any."""
    url = f"type.googleapis.com/arrow.flight.protocol.sql.{name}".encode()
    return field(1, url) + field(2, b"".join(fields))


def statement(sql):
    return flight.FlightDescriptor.for_command(command("CommandStatementQuery", field(1, sql.encode())))


def connect(persona=None):
    if persona is None:
        return flight.connect(uri, tls_root_certs=authority)
    held = demo["personas"][persona]
    return flight.connect(
        uri, tls_root_certs=authority, cert_chain=open(held["cert"]).read(), private_key=open(held["key"]).read()
    )


def options(purpose=RESEARCH, *headers):
    return flight.FlightCallOptions(headers=[(b"x-odh-purpose", purpose.encode()), *headers])


def rows(client, descriptor, how):
    info = client.get_flight_info(descriptor, how)
    check("endpoints", [len(endpoint.locations) for endpoint in info.endpoints], [0])
    table = client.do_get(info.endpoints[0].ticket, how).read_all()
    check("the schema that was announced", table.schema, info.schema)
    return table


def refusal(work):
    """The English text of the hub's refusal."""
    try:
        work()
    except (flight.FlightError, pyarrow.ArrowException, NotImplementedError) as error:
        return str(error)
    raise AssertionError("the hub did not refuse this")


# What the texts of the reasons say.
SAYS = {
    "PURPOSE_NOT_PERMITTED": "is not covered by your grants",
    "GRANT_REQUIRED": "no active grant covers",
    "QUERY_REJECTED": "the query was rejected",
}

client = connect("labo")
for query in demo["queries"]:
    how, expected = options(query["purpose"]), query["expect"]
    if "rows" in expected:
        check(query["sql"], rows(client, statement(query["sql"]), how).num_rows, expected["rows"])
    else:
        said = refusal(lambda: rows(client, statement(query["sql"]), how))
        check(query["sql"], SAYS[expected["reason"]] in said, True)

# A token as a password, and from then on as a bearer.
stranger = connect()
bearer = stranger.authenticate_basic_token("anybody", demo["personas"]["labo"]["bearer"])
check("bearer", rows(stranger, statement(COMMUNES), options(RESEARCH, bearer)).num_rows > 1000, True)
check("nobody", "identity" in refusal(lambda: rows(stranger, statement(COMMUNES), options())), True)
check("a wrong password", "identity" in refusal(lambda: stranger.authenticate_basic_token("anybody", "nonsense")), True)

# A ticket is good once, and for nobody else.
info = client.get_flight_info(statement(COMMUNES), options())
ticket = info.endpoints[0].ticket
check("a foreign ticket", "ticket" in refusal(lambda: connect("chu").do_get(ticket).read_all()), True)
check("a ticket", client.do_get(ticket).read_all().num_rows > 1000, True)
check("a used ticket", "ticket" in refusal(lambda: client.do_get(ticket).read_all()), True)

# Cancelling by the flight, before it was fetched; by the stream's reset, while it is.
info = client.get_flight_info(statement(COMMUNES), options())
cancelled = list(client.do_action(("CancelFlightInfo", field(1, info.serialize()))))
check("cancelled", cancelled[0].body.to_pybytes(), b"\x08\x01")
check("a cancelled ticket", "ticket" in refusal(lambda: client.do_get(info.endpoints[0].ticket).read_all()), True)
pairs = "SELECT a.nom, b.nom AS other FROM observatoire.communes a JOIN observatoire.communes b ON a.departement = b.departement"
for _ in range(12):
    info = client.get_flight_info(statement(pairs), options())
    reader = client.do_get(info.endpoints[0].ticket)
    reader.read_chunk()
    reader.cancel()
check("after cancelling", rows(client, statement(COMMUNES), options()).num_rows > 1000, True)

# Lists and what is not there.
tables = client.get_flight_info(flight.FlightDescriptor.for_command(command("CommandGetTables")))
listed = client.do_get(tables.endpoints[0].ticket).read_all()
check("tables", listed["table_name"].to_pylist(), ["stays", "meters", "communes"])
check("catalogs", set(listed["catalog_name"].to_pylist()), {RESEARCH})
check("schema", client.get_schema(statement(COMMUNES), options()).schema.names, ["code_insee", "nom", "population"])
actions = {action.type for action in client.list_actions()}
check("actions", {"CreatePreparedStatement", "CancelFlightInfo", "SetSessionOptions"} <= actions, True)
check("by path", "does not do this" in refusal(lambda: client.get_flight_info(flight.FlightDescriptor.for_path("x"))), True)
check("flights", "does not do this" in refusal(lambda: list(client.list_flights())), True)
check("nonsense", "command" in refusal(lambda: client.get_flight_info(flight.FlightDescriptor.for_command(b"\xff"))), True)

print(f"pyarrow {pyarrow.__version__}: {checks} checks passed")
