"""Rows of a topic, over Arrow Flight SQL.

    pip install adbc-driver-flightsql adbc-driver-manager pyarrow
    python query.py "SELECT * FROM orders LIMIT 10"
"""

import os
import sys

import adbc_driver_flightsql.dbapi
import pyarrow.flight

address = os.environ.get("CHRONIK", "localhost:6092")
query = sys.argv[1] if len(sys.argv) > 1 else "SELECT 42 AS answer"

# As a database: parameters, tables and columns, pandas and polars.
with adbc_driver_flightsql.dbapi.connect(f"grpc://{address}", autocommit=True) as connection:
    with connection.cursor() as cursor:
        cursor.execute(query)
        for batch in cursor.fetch_record_batch():  # as they come: an answer may be larger than memory
            print(batch.to_pylist())

# As a stream, with pyarrow alone, and what the answer covers.
client = pyarrow.flight.connect(f"grpc://{address}")
options = pyarrow.flight.FlightCallOptions(headers=[(b"x-chronik-freshness", b"latest")])  # or available, cold
reader = client.do_get(pyarrow.flight.Ticket(f"sql:{query}"), options)
print(reader.read_all())
print(reader.schema.metadata[b"chronik.coverage"].decode())
