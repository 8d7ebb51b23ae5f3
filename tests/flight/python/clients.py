"""ADBC's Python driver and pyarrow.flight against a server with the suite's topic."""

import datetime
import json
import os
import sys
import threading
import urllib.error
import urllib.request

import adbc_driver_flightsql
import adbc_driver_flightsql.dbapi
import adbc_driver_manager
import pyarrow
import pyarrow.flight
import pyarrow.ipc

ADDRESS = os.environ["FLIGHT_ADDRESS"]
ROWS = int(os.environ["FLIGHT_ROWS"])
URI = f"grpc://{ADDRESS}"
# One column of each type that JSON brings, and the system's.
WIDE = "SELECT * FROM orders"


def say(client, version, check, ok, detail):
    print(json.dumps({"client": client, "version": version, "check": check, "ok": ok, "detail": str(detail)}), flush=True)


def run(client, version, checks):
    for name, check in checks.items():
        try:
            say(client, version, name, True, check() or "")
        except Exception as e:
            say(client, version, name, False, f"{type(e).__name__}: {e}")


def same(got, want):
    if got != want:
        raise AssertionError(f"{got!r}, not {want!r}")
    return got


def refused(kind, text, do):
    try:
        do()
    except kind as e:
        if text not in str(e):
            raise AssertionError(f"{text!r} is not in {e}") from e
        return f"{type(e).__name__}"
    raise AssertionError("it was not refused")


def values_of_types(fetch):
    """Asks for a value of each type, and for none of each."""
    with open("../types.tsv", encoding="utf-8") as f:
        lines = [line.rstrip("\n").split("\t") for line in f]
    table = fetch(f"SELECT * FROM (SELECT {', '.join(line[0] for line in lines)}) UNION ALL SELECT {', '.join('NULL' for _ in lines)}")
    same(table.num_rows, 2)
    wrong = []
    for (expression, want, *_), column in zip(lines, table.columns, strict=True):
        # Python's own times end at microseconds.
        value = column[0].value if column.type == pyarrow.timestamp("ns") else column[0].as_py()
        if f"{column.type}={value!r}" != want or column[1].as_py() is not None:
            wrong.append(f"{expression}: {column.type}={value!r}, {column[1]}, not {want}")
    same(wrong, [])
    return f"{len(lines)} types"


def adbc_checks():
    def connect(**options):
        return adbc_driver_flightsql.dbapi.connect(URI, db_kwargs=options, autocommit=True)

    def rows(query, parameters=None, **options):
        with connect(**options) as connection, connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall()

    def whole():
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute(WIDE)
            table = cursor.fetch_arrow_table()
        same(table.num_rows, ROWS)
        same(sorted(table["id"].to_pylist()), list(range(ROWS)))
        same(str(table.schema.field("_timestamp").type), "timestamp[us, tz=UTC]")
        same(str(table.schema.field("made").type), "timestamp[us, tz=UTC]")
        same(str(table.schema.field("amount").type), "double")
        same(str(table.schema.field("_headers").type), "map<string, binary>")
        return f"{table.num_rows} rows, {table.num_columns} columns"

    def fetched(query):
        with connect() as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

    def parameters():
        same(rows("SELECT count(*) FROM orders WHERE id >= ? AND city = ?", (ROWS // 2, "Rome")),
             [(sum(1 for i in range(ROWS // 2, ROWS) if i % 3 == 1),)])
        when = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
        same(rows("SELECT count(*) FROM orders WHERE made = ? AND ok = ?", (when, True)), [(ROWS // 2,)])
        same(rows("SELECT ?::BLOB, ?::DOUBLE, ?::BIGINT", (b"\xff\x00", 1.5, 2**60)), [(b"\xff\x00", 1.5, 2**60)])
        return "int, text, time, bool, binary, double"

    def prepared():
        with connect() as connection, connection.cursor() as cursor:
            cursor.adbc_prepare("SELECT id FROM orders WHERE id = ?")
            for i in (3, 5, 8):
                cursor.execute("SELECT id FROM orders WHERE id = ?", (i,))
                same(cursor.fetchall(), [(i,)])

    def objects():
        with connect() as connection:
            catalogs = connection.adbc_get_objects(depth="all").read_all().to_pylist()
            schema = connection.adbc_get_table_schema("orders", catalog_filter="chronik", db_schema_filter="topics")
            types = connection.adbc_get_table_types()
        same([c["catalog_name"] for c in catalogs], ["chronik"])
        schemas = catalogs[0]["catalog_db_schemas"]
        same([s["db_schema_name"] for s in schemas], ["topics"])
        table = next(t for t in schemas[0]["db_schema_tables"] if t["table_name"] == "orders")
        same(table["table_type"], "TABLE")
        names = [c["column_name"] for c in table["table_columns"]]
        same([n for n in ("_offset", "city", "amount") if n not in names], [])
        same(schema.field("amount").type, pyarrow.float64())
        same(types, ["TABLE"])
        return f"{len(names)} columns"

    def info():
        with connect() as connection:
            got = connection.adbc_get_info()
        same(got["vendor_name"], "Chronik")
        return got["vendor_version"]

    def cancel():
        with connect() as connection, connection.cursor() as cursor:
            timer = threading.Timer(0.5, cursor.adbc_cancel)
            timer.start()
            try:
                def forever():
                    cursor.execute("SELECT * FROM range(1000000000000)")
                    for _ in cursor.fetch_record_batch():
                        pass
                return refused(Exception, "ancel", forever)
            finally:
                timer.cancel()

    def timeout():
        option = {"adbc.flight.sql.rpc.timeout_seconds.fetch": "0.5"}
        return refused(adbc_driver_manager.Error, "", lambda: rows("SELECT count(*) FROM range(1000000000000) a, range(1000)", **option))

    def freshness():
        header = "adbc.flight.sql.rpc.call_header.x-chronik-freshness"
        same(rows("SELECT count(*) FROM orders", **{header: "latest"}), [(ROWS,)])
        return refused(adbc_driver_manager.ProgrammingError, "freshness", lambda: rows("SELECT 1", **{header: "stale"}))

    def update():
        with connect() as connection, connection.cursor() as cursor:
            return refused(adbc_driver_manager.Error, "only SELECT", lambda: cursor.execute("DELETE FROM orders"))

    def ingest():
        with connect() as connection, connection.cursor() as cursor:
            return refused(adbc_driver_manager.Error, "updates are not available",
                           lambda: cursor.adbc_ingest("orders", pyarrow.table({"a": [1]}), mode="append"))

    return {
        "every row and type": whole,
        "values of every type": lambda: values_of_types(fetched),
        "no rows": lambda: same(rows("SELECT * FROM orders WHERE id < 0"), []) and "",
        "parameters": parameters,
        "prepared": prepared,
        "catalog": objects,
        "server info": info,
        "errors": lambda: refused(adbc_driver_manager.ProgrammingError, "nothing", lambda: rows("SELECT nothing FROM orders")),
        "unknown table": lambda: refused(adbc_driver_manager.Error, "nowhere", lambda: rows("SELECT * FROM nowhere")),
        "cancel": cancel,
        "deadline": timeout,
        "freshness by header": freshness,
        "log in": lambda: same(rows("SELECT 1", username="ann", password="x"), [(1,)]) and "",
        "updates are refused": update,
        "ingestion is refused": ingest,
    }


def pyarrow_checks():
    flight = pyarrow.flight
    client = flight.connect(URI)

    def ticket(query):
        return flight.Ticket(f"sql:{query}".encode())

    def whole():
        table = client.do_get(ticket(WIDE)).read_all()
        same(table.num_rows, ROWS)
        coverage = json.loads(table.schema.metadata[b"chronik.coverage"])
        same(coverage["orders"]["lag_records"], 0)
        same(sum(p["to"] - p["from"] for p in coverage["orders"]["partitions"].values()), ROWS)
        return f"{table.nbytes} bytes"

    def described():
        info = client.get_flight_info(flight.FlightDescriptor.for_command(b"sql:SELECT city, count(*) AS n FROM orders GROUP BY city"))
        same(info.schema.names, ["city", "n"])
        table = client.do_get(info.endpoints[0].ticket).read_all()
        same(sum(table["n"].to_pylist()), ROWS)
        same(table.schema.equals(info.schema), True)

    def options():
        cold = flight.FlightCallOptions(headers=[(b"x-chronik-freshness", b"cold")])
        n = client.do_get(ticket("SELECT count(*) AS n FROM orders"), cold).read_all()["n"][0].as_py()
        same(n <= ROWS, True)
        hurried = flight.FlightCallOptions(headers=[(b"x-chronik-timeout-secs", b"0.5")])
        return refused(flight.FlightTimedOutError, "not done within 500ms", lambda: client.do_get(
            ticket("SELECT count(*) FROM range(1000000000000) a, range(1000)"), hurried).read_all())

    def log_in():
        header = client.authenticate_basic_token("ann", "x")
        same(header[0], b"authorization")
        same(header[1].startswith(b"Bearer "), True)
        client.do_get(ticket("SELECT 1"), flight.FlightCallOptions(headers=[header])).read_all()

    class Message(flight.ClientAuthHandler):
        token = None

        def authenticate(self, outgoing, incoming):
            outgoing.write(flight.BasicAuth("ann", "x").serialize())
            self.token = incoming.read()

        def get_token(self):
            return self.token

    def log_in_by_message():
        other = flight.connect(URI)
        other.authenticate(Message())
        same(other.do_get(ticket("SELECT 1 AS one")).read_all()["one"].to_pylist(), [1])
        other.close()

    def left():
        reader = client.do_get(ticket("SELECT * FROM range(1000000000000)"))
        reader.read_chunk()
        reader.cancel()

    def actions():
        names = [a.type for a in client.list_actions()]
        same("CancelFlightInfo" in names and "CreatePreparedStatement" in names, True)
        return len(names)

    def post(query):
        request = urllib.request.Request(f"http://{ADDRESS}/_arrow/query", json.dumps({"query": query}).encode())
        return urllib.request.urlopen(request)

    def http():
        table = pyarrow.ipc.open_stream(post(WIDE)).read_all()
        same(table.num_rows, ROWS)
        same(table.schema.equals(client.do_get(ticket(WIDE + " LIMIT 1")).read_all().schema), True)
        return refused(urllib.error.HTTPError, "400", lambda: post("SELECT nothing FROM orders"))

    return {
        "every row, with coverage": whole,
        "values of every type": lambda: values_of_types(lambda query: client.do_get(ticket(query)).read_all()),
        "described before it runs": described,
        "headers and deadlines": options,
        "log in": log_in,
        "log in by message": log_in_by_message,
        "leaving in the middle": left,
        "actions": actions,
        "a ticket of vectors without a question": lambda: refused(pyarrow.ArrowInvalid, "query, or vector, is required", lambda: client.do_get(flight.Ticket(b"vector:orders:{}")).read_all()),
        "errors": lambda: refused(pyarrow.ArrowInvalid, "nothing", lambda: client.do_get(ticket("SELECT nothing FROM orders")).read_all()),
        "Arrow over HTTP": http,
    }


run("adbc-python", adbc_driver_flightsql.__version__, adbc_checks())
run("pyarrow.flight", pyarrow.__version__, pyarrow_checks())
sys.stdout.flush()
