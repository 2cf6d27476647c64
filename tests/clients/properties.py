"""demo.json as Java properties on standard output: what JdbcClient.java reads without a library for JSON."""

import json
import sys

demo = json.load(open(sys.argv[1]))
flat = {"grpc": demo["grpc"], "ca": demo["ca"]}
for name, persona in demo["personas"].items():
    flat |= {f"{name}.{key}": persona[key] for key in ("cert", "key", "bearer")}
for at, query in enumerate(demo["queries"]):
    flat |= {f"query.{at}.sql": query["sql"], f"query.{at}.purpose": query["purpose"], f"query.{at}.as": query["as"]}
    flat |= {f"query.{at}.{key}": str(value) for key, value in query["expect"].items()}
for key, value in flat.items():
    escaped = "".join(f"\\u{ord(c):04x}" if c in "\\\r\n" or not " " < c < "\x7f" else c for c in value)
    print(f"{key}={escaped}")
