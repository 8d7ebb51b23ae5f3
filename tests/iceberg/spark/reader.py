"""Spark as a reader of the suite: one request a line on stdin, one answer a line on stdout."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "python"))

import protocol
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

CATALOG = "spark.sql.catalog.c"
settings = {
    "spark.jars": ",".join(sorted(os.path.join(os.environ["ICEBERG_DIR"], "jars", f) for f in os.listdir(os.path.join(os.environ["ICEBERG_DIR"], "jars")))),
    "spark.sql.extensions": "org.apache.iceberg.spark.extensions.IcebergSparkSessionExtensions",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.ui.enabled": "false",
    "spark.driver.memory": "1g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    CATALOG: "org.apache.iceberg.spark.SparkCatalog",
    CATALOG + ".type": "rest",
    CATALOG + ".uri": os.environ["ICEBERG_URI"],
    CATALOG + ".cache-enabled": "false",
}
if os.environ.get("ICEBERG_S3"):
    settings |= {
        CATALOG + ".io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        CATALOG + ".s3.endpoint": os.environ["ICEBERG_S3"],
        CATALOG + ".s3.path-style-access": "true",
        CATALOG + ".s3.access-key-id": os.environ["ICEBERG_S3_KEY"],
        CATALOG + ".s3.secret-access-key": os.environ["ICEBERG_S3_SECRET"],
        CATALOG + ".client.region": "us-east-1",
    }
builder = SparkSession.builder.master("local[2]").appName("chronik")
for key, setting in settings.items():
    builder = builder.config(key, setting)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
jvm = spark._jvm
expressions = jvm.org.apache.iceberg.expressions.Expressions


def load(table):
    return jvm.org.apache.iceberg.spark.Spark3Util.loadIcebergTable(spark._jsparkSession, f"c.chronik.`{table}`")


def tables(_):
    return {"tables": sorted(row["tableName"] for row in spark.sql("SHOW TABLES IN c.chronik").collect())}


def columns(request):
    return {"columns": {f.name(): f.type().toString() for f in load(request["table"]).schema().columns()}}


def planned(request):
    """The files that Iceberg plans for the request's condition: Spark pushes it down as it stands."""
    found = load(request["table"]).newScan()
    if "snapshot" in request:
        found = found.useSnapshot(request["snapshot"])
    if "from" in request:
        found = found.filter(expressions.greaterThanOrEqual("_timestamp", request["from"])).filter(expressions.lessThan("_timestamp", request["to"]))
    for column, value in request.get("where", {}).items():
        found = found.filter(expressions.equal(column, value))
    plan = found.planFiles()
    tasks, out = plan.iterator(), []
    while tasks.hasNext():
        task = tasks.next()
        out.append({"path": task.file().location(), "records": task.file().recordCount(), "deletes": task.deletes().size()})
    plan.close()
    return out


def scan(request):
    table = f"c.chronik.`{request['table']}`"
    if "snapshot" in request:
        table += f" VERSION AS OF {request['snapshot']}"
    conditions = [f"`{c}` = '{v}'" for c, v in request.get("where", {}).items()]
    if "from" in request:
        conditions += [f"_timestamp >= timestamp_micros({request['from']})", f"_timestamp < timestamp_micros({request['to']})"]
    where = " WHERE " + " AND ".join(conditions) if conditions else ""
    # Times as numbers: Python's would be of this machine's zone.
    names = ", ".join("unix_micros(_timestamp) AS _timestamp" if c == "_timestamp" else f"`{c}`" for c in request["columns"])
    rows = spark.sql(f"SELECT {names} FROM {table}{where}").collect()
    return {"rows": [[protocol.value(v) for v in row] for row in rows], "planned": planned(request)}


class Missing(Exception):
    pass


def unless_missing(ask):
    def answer(request):
        try:
            return ask(request)
        except AnalysisException as e:
            if "TABLE_OR_VIEW_NOT_FOUND" in str(e):
                raise Missing(e) from e
            raise

    return answer


protocol.serve(spark.version, {"tables": tables, "columns": columns, "scan": unless_missing(scan)}, Missing)
