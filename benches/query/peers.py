"""DuckDB as a peer: reads one JSON text {"sql", "rows"} a line, answers {"ms", "rows"} or {"error"}.

The time is that of the whole answer as a temporary table, so that no row is made into Python objects under the clock.
"""

import json
import sys
import time

import duckdb

connection = duckdb.connect()
connection.execute("SET threads = 2")
for line in sys.stdin:
    asked = json.loads(line)
    answer = {}
    try:
        if asked["rows"]:
            started = time.perf_counter()
            connection.execute("CREATE OR REPLACE TEMP TABLE answer AS " + asked["sql"])
            answer["ms"] = (time.perf_counter() - started) * 1000
            rows = connection.execute("SELECT * FROM answer").fetchall()
            answer["rows"] = [["" if cell is None else str(cell) for cell in row] for row in rows]
        else:
            connection.execute(asked["sql"])
    except duckdb.Error as error:
        answer = {"error": str(error)}
    print(json.dumps(answer), flush=True)
