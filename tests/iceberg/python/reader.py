"""PyIceberg as a reader of the suite: one request a line on stdin, one answer a line on stdout."""

import os

import pyiceberg
from pyiceberg.catalog import load_catalog
from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.expressions import AlwaysTrue, And, EqualTo, GreaterThanOrEqual, LessThan

import protocol

catalog = load_catalog("chronik", **{"type": "rest", "uri": os.environ["ICEBERG_URI"], "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
                                     "s3.endpoint": os.environ.get("ICEBERG_S3", ""), "s3.region": "us-east-1",
                                     "s3.access-key-id": os.environ.get("ICEBERG_S3_KEY", ""),
                                     "s3.secret-access-key": os.environ.get("ICEBERG_S3_SECRET", "")})


def load(name):
    return catalog.load_table(("chronik", name))


def tables(_):
    return {"tables": sorted(name for _, name in catalog.list_tables("chronik"))}


def columns(request):
    return {"columns": {f.name: str(f.field_type) for f in load(request["table"]).schema().fields}}


def scan(request):
    condition = AlwaysTrue()
    if "from" in request:
        condition = And(GreaterThanOrEqual("_timestamp", protocol.instant(request["from"])), LessThan("_timestamp", protocol.instant(request["to"])))
    for column, value in request.get("where", {}).items():
        condition = And(condition, EqualTo(column, value))
    found = load(request["table"]).scan(row_filter=condition, selected_fields=tuple(request["columns"]), snapshot_id=request.get("snapshot"))
    planned = [{"path": task.file.file_path, "records": task.file.record_count, "deletes": len(task.delete_files)} for task in found.plan_files()]
    rows = [[protocol.value(row[c]) for c in request["columns"]] for row in found.to_arrow().to_pylist()]
    return {"rows": rows, "planned": planned}


protocol.serve(pyiceberg.__version__, {"tables": tables, "columns": columns, "scan": scan}, NoSuchTableError)
