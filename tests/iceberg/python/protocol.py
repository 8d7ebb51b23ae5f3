"""What the readers of the suite have in common: how they are asked and how values are told."""

import datetime
import json
import sys

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
MICROSECOND = datetime.timedelta(microseconds=1)


def instant(microseconds):
    return (EPOCH + microseconds * MICROSECOND).isoformat()


def value(v):
    """A column's value in JSON: times in microseconds, bytes in hexadecimal digits, maps as sorted pairs."""
    if isinstance(v, datetime.datetime):
        return (v - EPOCH) // MICROSECOND
    if isinstance(v, (bytes, bytearray)):
        return v.hex()
    if isinstance(v, dict):
        v = list(v.items())
    if isinstance(v, list):
        return sorted([k, value(x)] for k, x in v)
    return v


def serve(version, requests, no_such_table):
    out = sys.stdout
    sys.stdout = sys.stderr  # whoever prints does not answer
    print(json.dumps({"version": version}), file=out, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = requests[request["ask"]](request)
        except no_such_table as e:
            answer = {"missing": str(e)}
        except Exception as e:
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), file=out, flush=True)
