"""What the Python drivers share: the contract with the suite (../README.md), and
the records whose content every capability checks."""

import concurrent.futures
import json
import os
import sys
import threading
import time
import traceback
import uuid

TIMEOUT = 60  # of one wait
TOGETHER = 6

BOOTSTRAP = os.environ.get("COMPAT_BOOTSTRAP", "")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
HOUR = 3_600_000


class Wrong(Exception):
    """What a capability found."""


def equal(got, want, what):
    if got != want:
        raise Wrong(f"{what}: {got!r:.400}, want {want!r:.400}")


def true(ok, what):
    if not ok:
        raise Wrong(what)


def until(wrong):
    """Waits until wrong() returns nothing; what it returned last is the error."""
    deadline = time.monotonic() + TIMEOUT
    while problem := wrong():
        if time.monotonic() > deadline:
            raise Wrong(f"after {TIMEOUT} s: {problem}")
        time.sleep(0.05)


def now():
    return int(time.time() * 1000)


def numbered(n, first=0):
    """Records as (key, value), which tell which they are."""
    return [(b"key-%d" % i, b"value-%d-" % i + b"chronik " * 20) for i in range(first, first + n)]


def interchange_records(client):
    client = client.encode()
    return [(b"%s-%d" % (client, i), b"%s-%d-" % (client, i) + b"x" * 200, [("compat", client)]) for i in range(100)]


def check_interchange(read):
    """read: (key, value, headers) of a whole topic. Returns the clients seen."""
    by = {}
    for key, value, headers in read:
        headers = [(k, bytes(v)) for k, v in headers or []]
        equal([k for k, _ in headers], ["compat"], f"headers of {key}")
        by.setdefault(headers[0][1].decode(), []).append((key, value, headers))
    for client in filter(None, os.environ.get("COMPAT_INTERCHANGE", "").split(",")):
        true(client in by, f"nothing of {client}")
    for client, records in by.items():
        equal(records, interchange_records(client), f"records of {client}")
    return sorted(by)


class Driver:
    def __init__(self, client, version):
        self.client, self.version, self.capabilities = client, version, {}

    def capability(self, name):
        """Decorates a check, which gets a function that makes unique names."""

        def add(check):
            self.capabilities[name] = check
            return check

        return add

    def unique(self, name):
        prefix = os.environ.get("COMPAT_PREFIX") or "compat"
        return f"{prefix}-{self.client}-{name}-{uuid.uuid4().hex[:8]}"

    def main(self):
        if not BOOTSTRAP:
            sys.exit("COMPAT_BOOTSTRAP is not set: this is run by tests/compat")
        asked = os.environ.get("COMPAT_CAPABILITIES")
        todo = [n for n in self.capabilities if asked is None or n in asked.split()]
        lock = threading.Lock()

        def attempt(name):
            try:
                ok, detail = True, str(self.capabilities[name](lambda: self.unique(name)))
            except BaseException as e:  # a client may raise anything
                if not isinstance(e, Wrong):
                    traceback.print_exc(file=sys.stderr)
                ok, detail = False, f"{e}" if isinstance(e, Wrong) else f"{type(e).__name__}: {e}"
            with lock:
                print(json.dumps({"client": self.client, "version": self.version, "capability": name, "ok": ok, "detail": detail}), flush=True)

        with concurrent.futures.ThreadPoolExecutor(TOGETHER) as pool:
            list(pool.map(attempt, todo))
        sys.stdout.flush()
        os._exit(0)  # clients leave threads behind
